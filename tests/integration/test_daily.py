"""Daily records on a real broker: of many employees, so that a day does not fit into a transaction; with a service that is killed
between the blocks of a day. What stands in the topic in the end is what the same pipeline gives offline, each block once, in order.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import pytest
from harness import PARTITIONS, Serving, Stand, wait
from kafka import KafkaConsumer, OffsetAndMetadata, TopicPartition
from oracle import all_delivered, assert_delivered_up_to_the_committed_offsets, assert_exact, committed, delivered, home, truth

from detector.core.daily_blocks import LIMIT, TOGETHER, collect
from detector.core.events import Records
from detector.kafka.reader import Reader

pytestmark = pytest.mark.broker
DAY = 86_400_000
FIRST, DAYS, CROWD = 20_500, 6, 14_000
"""The first day, since 1970; how many there are, with a day that closes the last; employees at work on each."""


def crowd() -> Iterator[tuple[bytes, bytes]]:
    dice = random.Random(1)
    for day in range(FIRST, FIRST + DAYS):
        for employee in dice.sample(range(CROWD), CROWD):
            yield event(employee, day * DAY + dice.randrange(DAY), dice)
    done = set[int]()
    while len(done) < PARTITIONS:
        employee = dice.randrange(CROWD)
        if (partition := home(f"e{employee}")) not in done:
            done.add(partition)
            yield event(employee, (FIRST + DAYS) * DAY, dice)


def event(employee: int, time: int, dice: random.Random) -> tuple[bytes, bytes]:
    said = {"time": time, "actor": f"e{employee}", "action": "read", "resource": dice.choice("abc"), "subject": f"u{dice.randrange(99)}"}
    return said["actor"].encode(), json.dumps(said).encode()  # type: ignore[attr-defined]


@pytest.fixture
def crowded(office: Any, broker: Any, tmp_path: Any, unique: Callable[[str], str]) -> Stand:
    """All events are there already; none raises an alert, for alerts are not the point."""
    stand: Stand = office.stand(
        broker, tmp_path, unique, alerts={"start": str(2 * FIRST * DAY)}, input={"max_age": 1e10, "batch_limit": 2000}
    )
    stand.feed(crowd())
    return stand


def blocks(stand: Stand) -> Iterator[Records]:
    with Reader(stand.settings, stand.daily) as reader:
        yield from reader.read()


def test_a_day_larger_than_a_transaction_is_spread_and_a_service_killed_amid_it_goes_on(crowded: Stand):
    expected, dice = truth(crowded, 2 * FIRST * DAY), random.Random(2)
    sizes = {p: [len(value) for _, value in values] for p, values in expected.daily.items()}
    assert max(map(max, sizes.values())) <= LIMIT
    assert min(len(values) // DAYS for values in sizes.values()) > 4, "too few blocks to be killed amid"
    total, amid, kills = sum(map(len, expected.daily.values())), 0, 0
    while amid < 2 and sum(map(len, delivered(crowded).daily.values())) < total * 2 // 3:
        with Serving(crowded) as service:
            wait(_more_than(service, dice.randrange(20)), 60, "it sends records", pause=0.0)
        kills += 1
        assert_delivered_up_to_the_committed_offsets(crowded, expected)
        sent = {p: (at[1].day, at[1].blocks) for p, at in committed(crowded).items() if at}
        amid += any((day, chunk) == sent[p] for p, values in expected.daily.items() for (day, chunk), _ in values if chunk)
    assert amid, f"none of {kills} kills met a day that was partly sent"
    with Serving(crowded, 1) as service:  # somebody else, who finds no new events
        wait(lambda: all_delivered(crowded, expected), 90, "all is delivered")
        assert service.stop() == 0
    assert_exact(crowded, expected)
    assert_spread(crowded)
    days, missing = collect((value for values in crowded.read(crowded.daily).values() for value in values), "employee", crowded.events)
    assert not missing
    assert [daily.day for daily in days] == [day for day in range(FIRST, FIRST + DAYS) for _ in range(PARTITIONS)]
    assert sum(map(len, days)) == DAYS * CROWD


def _more_than(service: Serving, blocks: int) -> Callable[[], bool]:
    return lambda: service.metric("detector_daily_blocks_total") > blocks


def assert_spread(stand: Stand) -> None:
    """Between two ends of transactions, which leave a gap in the offsets, are no more blocks than may go together."""
    for run in blocks(stand):
        ends = [-1, *(i for i, (a, b) in enumerate(pairwise(run.offset.tolist())) if b > a + 1), len(run) - 1]
        assert max(b - a for a, b in pairwise(ends)) <= TOGETHER


def test_what_an_older_version_committed_is_understood_and_all_retained_days_are_sent(crowded: Stand):
    expected = truth(crowded, 2 * FIRST * DAY)
    middle = {p: len(values) // 2 for p, values in crowded.read(crowded.events).items()}
    old = json.dumps({"alerts_start": 2 * FIRST * DAY, "seq": 0, "head": "0" * 64})
    client = KafkaConsumer(**crowded.settings, group_id=crowded.group, enable_auto_commit=False)
    client.commit({TopicPartition(crowded.events, p): OffsetAndMetadata(at, old, -1) for p, at in middle.items()})
    client.close()
    with Serving(crowded) as service:
        wait(lambda: all_delivered(crowded, expected), 90, "all is delivered")
        assert service.stop() == 0
    assert_exact(crowded, expected)
