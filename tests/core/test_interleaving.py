"""A topic's partitions as one log: each in its order, between them by time, however they were read."""

from __future__ import annotations

import json
import random

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from detector.core.events import Records
from detector.core.formats.native import Limits
from detector.core.interleaving import Interleaving

MINUTE = 60_000
LOGS = st.lists(
    st.lists(st.tuples(st.integers(0, 9), st.sampled_from(["event", "event", "event", "peek", "none"])), max_size=12),
    min_size=1,
    max_size=4,
)
"""Partitions, each with its records: half-minutes, and whether it is an event, says what no event may say, or is nothing at all."""


def value(partition: int, offset: int, time: int, kind: str) -> bytes:
    if kind == "none":
        return b"%d-%d %d" % (partition, offset, time)
    event = {"time": time * MINUTE // 2, "actor": "e", "action": "read" if kind == "event" else kind, "resource": f"{partition}-{offset}"}
    return json.dumps(event).encode()


def run(partition: int, some: list[tuple[int, str]], first: int = 0) -> Records:
    return Records.of([value(partition, first + i, *one) for i, one in enumerate(some)], "t", partition, first)


def said(records: Records | None) -> list[tuple[int, bytes | None]]:
    return [] if records is None else [(int(records.offset[row]), records.part(records.value, row)) for row in range(len(records))]


def obvious(logs: list[list[tuple[int, str]]]) -> list[tuple[int, bytes | None]]:
    """Each record with the latest time so far, sorted: slow, and plainly right."""
    placed = []
    for partition, some in enumerate(logs):
        latest = -(10**9)
        for offset, (time, kind) in enumerate(some):
            far = time * MINUTE // 2 - latest > MINUTE
            if kind == "event" or (kind == "peek" and not far):
                latest = max(latest, time * MINUTE // 2)
            placed.append((latest, partition, offset, value(partition, offset, time, kind)))
    return [(place, value) for place, (*_, value) in enumerate(sorted(placed))]


@settings(deadline=None)
@given(LOGS, st.integers(0, 10_000))
def test_how_it_was_read_changes_nothing(logs: list[list[tuple[int, str]]], seed: int) -> None:
    chance = random.Random(seed)
    log, at = Interleaving(range(len(logs)), Limits()), [0] * len(logs)
    found = []
    left = set(range(len(logs)))
    while left:
        partition = chance.choice(sorted(left))
        n = chance.randint(0, 4)
        log.add(run(partition, logs[partition][at[partition] : at[partition] + n], at[partition]))
        at[partition] += n
        if at[partition] >= len(logs[partition]):
            log.end(partition)
            left.discard(partition)
        if chance.random() < 0.7:
            found += said(log.ready())
    found += said(log.ready())
    assert found == obvious(logs)


def events(*times: int) -> list[tuple[int, str]]:
    return [(time, "event") for time in times]


def places(records: Records | None) -> list[str]:
    return [json.loads(value or b"")["resource"] for _, value in said(records)]


def test_nothing_waits_that_need_not() -> None:
    log = Interleaving([0, 1], Limits())
    log.add(run(0, events(1, 2, 3)))
    assert log.ready() is None and log.waiting(0) > 3 * 40
    log.add(run(1, events(2, 9)))
    assert places(log.ready()) == ["0-0", "0-1", "1-0", "0-2"]
    assert log.waiting(0) == 0 and log.waiting(1) == len(value(1, 1, 9, "event"))
    log.end(0)
    assert places(log.ready()) == ["1-1"]


def test_what_is_no_event_does_not_carry_others_away() -> None:
    log = Interleaving([0, 1], Limits())
    log.add(run(0, [(1, "event"), (10**6, "peek"), (3, "event")]))
    log.add(run(1, events(2, 4)))
    log.end(0)
    log.end(1)
    assert places(log.ready()) == ["0-0", "0-1", "1-0", "0-2", "1-1"]


def test_what_happened_outside_the_range_is_left_out_and_counts_for_nothing() -> None:
    log = Interleaving([0, 1], Limits(), 2 * MINUTE, 4 * MINUTE)
    log.add(run(0, [(3, "event"), (9, "event"), (5, "event"), (0, "none")]))
    log.add(run(1, events(4, 6, 8)))
    log.end(0)
    log.end(1)
    assert [value for _, value in said(log.ready())] == [
        value(1, 0, 4, "event"), value(0, 2, 5, "event"), value(0, 3, 0, "none"), value(1, 1, 6, "event"),
    ]  # fmt: skip


def test_keys_and_times_of_the_broker_stay_with_their_records() -> None:
    log = Interleaving([0, 1], Limits())
    for partition, times in ((0, (5, 7)), (1, (6, 6))):
        some = run(partition, events(*times))
        stamp = np.array(times) * MINUTE + 100
        key = some.value + np.array([[0, 0]])
        key[:] = [[at := int(some.value[row, 0]) + some.data[some.value[row, 0] :].index(b'"e"') + 1, at + 1] for row in range(2)]
        log.add(Records("t", partition, some.data, some.offset, stamp, key, some.value, some.headers, some.broken))
        log.end(partition)
    records = log.ready()
    assert records is not None and (records.timestamp // MINUTE).tolist() == [5, 6, 6, 7]
    assert [records.part(records.key, row) for row in range(4)] == [b"e"] * 4
