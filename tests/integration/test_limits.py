"""What a machine or a sender has too little or too much of: files, memory, disk for logs; bad records, one employee's events.

Rows A6, E13 and E15 of the fault catalogue.
"""

from __future__ import annotations

import itertools
import json
import resource
import time
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
from faults import SMALL, Rigged, finish, finished, laid_out
from harness import PARTITIONS, wait
from office import Event, Office
from oracle import all_delivered, assert_delivered_up_to_the_committed_offsets, assert_exact, delivered, home, truth

from detector.config import moment
from detector.kafka.consumer import Consumer
from detector.lag import STUCK, Lag
from detector.metrics import Metrics

pytestmark = pytest.mark.broker


def limit(service: Rigged, what: int, most: int) -> None:
    """Of a process that runs."""
    resource.prlimit(service.process.pid, what, (most, resource.prlimit(service.process.pid, what)[1]))


def memory(service: Rigged) -> int:
    """Bytes of its address space."""
    return int(Path(f"/proc/{service.process.pid}/statm").read_text().split()[0]) * resource.getpagesize()


def test_A6_while_no_file_can_be_opened_it_waits_or_ends_and_no_event_is_blamed(office, broker, tmp_path, unique):
    """A failure in a transaction makes it want a new connection, which it cannot have for a while."""
    stand, expected = laid_out(office, broker, tmp_path, unique, 4000)
    with Rigged(stand, failpoint="after_send:60:raise") as service:
        usual = resource.prlimit(service.process.pid, resource.RLIMIT_NOFILE)[0]
        service.until_at_work()
        assert not service.times_at("after_send"), "it was too fast for this test"
        limit(service, resource.RLIMIT_NOFILE, 3)
        with pytest.raises(AssertionError, match="in vain"):
            wait(lambda: all_delivered(stand, expected), 6, "it goes on")
        if service.process.poll() is None:
            assert service.times_at("after_send")
            limit(service, resource.RLIMIT_NOFILE, usual)
            finished(stand, expected)
            assert service.stop() == 0
    assert service.process.returncode in (0, 6, 70)
    finish(stand, expected)


def test_A6_without_memory_it_ends_or_goes_on_and_no_event_is_blamed(office, broker, tmp_path, unique):
    stand = office.stand(broker, tmp_path, unique, **{**SMALL, "input": {"max_age": 1e10}})
    stand.feed(office.live[:500])
    with Rigged(stand) as service:
        service.until_at_work(500)
        limit(service, resource.RLIMIT_AS, memory(service))
        stand.feed(office.live[500:])
        expected = truth(stand, office.starts)
        wait(lambda: service.process.poll() is not None or all_delivered(stand, expected), 120, "it ends or goes on")
    assert_delivered_up_to_the_committed_offsets(stand, expected)
    finish(stand, expected)


def test_A6_an_event_that_finds_no_memory_is_no_dead_letter(office, broker, tmp_path, unique):
    stand = office.stand(broker, tmp_path, unique, **SMALL)
    stand.feed((key, value.replace(b'"event_id":"', b'"event_id":"starved-', 1)) for key, value in office.live[:500])
    expected = truth(stand, office.starts)
    with Rigged(stand, starved=True) as service:
        wait(lambda: service.process.poll() is not None or all_delivered(stand, expected), 120, "it ends or goes on")
        if service.process.poll() is not None:
            assert service.process.returncode == 70
    assert_delivered_up_to_the_committed_offsets(stand, expected)
    finish(stand, expected)


def test_A6_with_a_full_disk_for_its_logs_it_works_on(office, broker, tmp_path, unique):
    stand, expected = laid_out(office, broker, tmp_path, unique, 1500)
    with Rigged(stand, failpoint="after_send:20:raise", stderr=Path("/dev/full")) as service:
        finished(stand, expected)
        assert service.metric("detector_doubts_total") > 0, "there was nothing to log"
        assert service.stop() == 0


BAD = 4000
RUN = 1000


def bad() -> Iterator[tuple[bytes | None, bytes | None]]:
    """All of it goes to partition 0."""
    for number in range(BAD):
        yield None, b"a bad deployment upstream, record %d" % number


def test_E13_nothing_but_bad_input_halts_its_partition_and_the_others_go_on(office, broker, tmp_path, unique):
    stand = office.stand(broker, tmp_path, unique, input={"max_age": 1e10, "batch_limit": 100, "dead_letter_run": RUN})
    stand.feed(office.live[:1000])
    with Rigged(stand) as service:
        service.until_at_work(1000)
        stand.feed(bad())
        stand.feed(office.live[1000:2000])
        wait(lambda: service.metric("detector_halted_partitions") == 1, 120, "the partition is halted")
        elsewhere = sum(home(key.decode()) != 0 for key, _ in office.live[1000:2000])
        wait(lambda: service.metric("detector_events_total") == 1000 + elsewhere, 120, "the others go on")
        status, why = service.get("/readyz")
        assert status == 503 and "partition 0 is halted" in why and "dead_letter_run" in why
        assert service.get("/livez")[0] == 200
        assert RUN <= service.metric("detector_dead_letters_total") <= RUN + 100, "at most one batch more than the limit"
        assert service.stop() == 0
    expected = truth(stand, office.starts)
    assert_delivered_up_to_the_committed_offsets(stand, expected)
    assert RUN <= sum(map(len, delivered(stand).dead_letters.values())) <= RUN + 100
    stand.sections["input"]["dead_letter_run"] = 2 * BAD  # who knows what these are lets them go
    finish(stand, expected)


def test_E13_half_of_the_input_being_bad_halts_too(office, broker, tmp_path, unique):
    given = {"max_age": 1e10, "batch_limit": 2000, "dead_letter_share": 0.3}
    stand = office.stand(broker, tmp_path, unique, input=given)
    mine = [event for event in office.live if home(event[0].decode()) == 0]
    stand.feed(pair for number in range(12_000) for pair in (mine[number % len(mine)], (None, b"bad %d" % number)))
    with Rigged(stand) as service:
        wait(lambda: service.metric("detector_halted_partitions") == 1, 120, "the partition is halted")
        assert "dead_letter_share" in service.get("/readyz")[1]
        assert service.stop() == 0
    assert_delivered_up_to_the_committed_offsets(stand, truth(stand, office.starts))


SLOWER = 3.0
"""How much longer an event may take where half of them are one employee's, on a busy machine."""


def shifted(office: Office, days: int, whose: bytes | None) -> Iterator[Event]:
    """The live days again, `days` later; every second event is one of those that `whose` has, at that moment."""
    own = itertools.cycle([json.loads(value) for key, value in office.live if key == whose])
    for number, (_, value) in enumerate(office.live):
        said = json.loads(value)
        later = moment(str(said["time"])) + days * 86_400_000
        if whose is not None and number % 2:
            said = next(own)
        said = {**said, "time": later, "event_id": f"{days}-{number}"}
        yield said["actor"].encode(), json.dumps(said).encode()


def test_E15_one_employee_with_half_of_the_traffic_is_no_trouble(office, broker, tmp_path, unique):
    stand = office.stand(broker, tmp_path, unique)
    busiest, costs = Counter(key for key, _ in office.live).most_common(1)[0][0], []
    with Rigged(stand) as service:
        service.until_ready()
        for whose, rounds in ((None, range(3)), (busiest, range(3, 6))):
            seconds, events = service.metric("detector_batch_seconds_sum"), service.metric("detector_events_total")
            sent = sum(stand.feed(shifted(office, days, whose)) for days in rounds)
            wait(partial(_has_scored, service, events + sent), 120, "all is scored")
            costs.append((service.metric("detector_batch_seconds_sum") - seconds) / sent)
        expected = truth(stand, office.starts)
        finished(stand, expected)
        assert service.stop() == 0
    assert_exact(stand, expected)
    assert costs[1] < SLOWER * costs[0], f"an event took {costs[0] * 1e6:.1f} us, and {costs[1] * 1e6:.1f} us with half of them one's"


BACKLOG, LIMIT = 60_000, 10_000
TURN = 6.0
"""Seconds, by the clock of the test, that a machine with much else to do takes for as many records as come at once."""


def test_E15_partitions_that_wait_their_turn_in_a_backlog_worked_off_slowly_are_not_taken_for_forgotten(
    office, broker, tmp_path, unique, monkeypatch
):
    """The client hands out one partition's answer after the other."""
    stand = office.stand(broker, tmp_path, unique)
    stand.feed(itertools.islice(itertools.cycle(office.live), BACKLOG))
    clock = [0.0]
    monkeypatch.setattr("detector.lag.time", SimpleNamespace(monotonic=lambda: clock[0], time=time.time))
    lag, tasks, read, fewest = Lag(Metrics()), {p: idle_task() for p in range(PARTITIONS)}, 0, LIMIT
    consumer = Consumer(stand.events, stand.group, stand.settings)
    try:
        end = time.monotonic() + 120
        while read < BACKLOG:
            assert time.monotonic() < end, f"{read} records of {BACKLOG} were read"
            runs = consumer.poll(0.1, LIMIT)
            for p in (p for what, partitions in consumer.changes() if what == "assigned" for p in partitions):
                consumer.seek(p, 0)
                consumer.resume([p])
            for run in runs:
                tasks[run.partition].position = int(run.offset[-1]) + 1
            if runs:
                read, clock[0] = read + sum(map(len, runs)), clock[0] + TURN
                fewest = min(fewest, sum(map(len, runs)) if read < BACKLOG else LIMIT)
            lag.look(consumer, runs, LIMIT, tasks)  # type: ignore[arg-type]
    finally:
        consumer.close(5.0)
    assert fewest < LIMIT, "it was handed out to the record: that is not what is hard"
    assert clock[0] > 2 * STUCK


def idle_task() -> SimpleNamespace:
    """As much of a task as lag looks at."""
    state = type("State", (), {"__len__": lambda _: 0, "evicted": 0, "max_keys": 0, "capacity": 0, "bytes_per_key": 0})()
    return SimpleNamespace(position=0, halted="", pipeline=SimpleNamespace(tracker=SimpleNamespace(state=state)))


def _has_scored(service: Rigged, events: float) -> bool:
    return service.metric("detector_events_total") >= events
