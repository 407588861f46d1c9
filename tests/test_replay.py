"""Replay plays recorded events as Kafka would have partitioned them; how they were read changes nothing."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from functools import cache
from itertools import pairwise

import numpy as np
import pytest
import world
from hypothesis import given, settings
from hypothesis import strategies as st
from laws import frozen
from mutation import mutate

from detector import replay
from detector.core import refresh
from detector.core.daily import Daily
from detector.core.events import EventBatch
from detector.core.frame import DAY
from detector.core.pipeline import Pipeline

Tasks = list[Pipeline]


def java_partition(key: str, partitions: int) -> int:
    """Kafka's default: murmur2 as in org.apache.kafka.common.utils.Utils, without its sign, modulo the number of partitions."""
    data, m, low = key.encode(), 0x5BD1E995, 0xFFFFFFFF
    h = 0x9747B28C ^ len(data)
    whole = len(data) // 4 * 4
    for at in range(0, whole, 4):
        k = int.from_bytes(data[at : at + 4], "little") * m & low
        k = (k ^ k >> 24) * m & low
        h = (h * m & low) ^ k
    if rest := data[whole:]:
        h = (h ^ int.from_bytes(rest, "little")) * m & low
    h = (h ^ h >> 13) * m & low
    return ((h ^ h >> 15) & 0x7FFFFFFF) % partitions


def events() -> EventBatch:
    return world.history().take(slice(-2500, None))


def played(batches: list[EventBatch], partitions: int, nightly: bool = True) -> tuple[list[replay.Replayed], Tasks]:
    tasks: Tasks = []

    def task() -> Pipeline:
        tasks.append(world.pipeline())
        return tasks[-1]

    return list(replay.replay(batches, task, "events", partitions, nightly)), tasks


def check_partitions(partitions: int) -> None:
    batch = events()
    parts, tasks = played([batch], partitions)
    assert len(tasks) == partitions
    placed = defaultdict(list)
    for part in parts:
        assert part.batch.topic == "events" and 0 <= part.batch.partition < partitions
        placed[part.batch.partition] += list(zip(part.batch.offset.tolist(), part.batch.rows, part.batch.time.tolist(), strict=True))
    expected = defaultdict(list)
    for row, time in zip(batch.rows, batch.time.tolist(), strict=True):
        home = expected[java_partition(row.actor, partitions)]
        home.append((len(home), row, time))
    assert placed == expected


@pytest.mark.parametrize("partitions", [1, 3, 8])
def test_events_go_where_kafka_puts_them_and_offsets_are_counted_in_each_partition(partitions: int) -> None:
    check_partitions(partitions)


@pytest.mark.parametrize(
    ("key", "partition"), [("21", 10), ("foobar", 6), ("a-little-bit-long-string", 1), ("a-little-bit-longer-string", 9), ("abc", 6)]
)
def test_the_slow_partitioner_is_that_of_java(key: str, partition: int) -> None:
    """Hashes from Kafka's own UtilsTest: -973932308, -790332482, -985981536, -1486304829, 479470107; here modulo 11."""
    hashes = {"21": -973932308, "foobar": -790332482, "a-little-bit-long-string": -985981536, "a-little-bit-longer-string": -1486304829,
              "abc": 479470107}  # fmt: skip
    assert java_partition(key, 11) == (hashes[key] & 0x7FFFFFFF) % 11
    assert java_partition(key, 2**31) == hashes[key] & 0x7FFFFFFF


def outcome(batches: list[EventBatch], partitions: int = 3, nightly: bool = True) -> tuple[dict[int, list[bytes]], list[object]]:
    """Alerts of each partition, and the states at the end."""
    parts, tasks = played(batches, partitions, nightly)
    alerts = defaultdict(list)
    for part in parts:
        alerts[part.batch.partition] += [value for _, value in part.outcome.alerts]
    return dict(alerts), [frozen(task.snapshot()) for task in tasks]


@settings(derandomize=True, deadline=None, max_examples=8, database=None)
@given(st.lists(st.integers(0, 2500), max_size=12))
def test_how_the_events_were_chunked_changes_nothing(cuts: list[int]) -> None:
    edges = [0, *sorted(cuts), 2500]
    assert outcome([events().take(slice(a, b)) for a, b in pairwise(edges)]) == outcome([events()])


@pytest.mark.parametrize("size", [1, 100, 1 << 20])
def test_nor_does_how_many_are_processed_at_once(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    some = events().take(slice(-900, None))
    expected = outcome([some])
    monkeypatch.setattr(replay, "BATCH", size)
    assert outcome([some]) == expected
    assert any(expected[0].values())


def test_one_partition_without_a_refresh_is_the_pipeline_itself() -> None:
    batch, task = events(), world.pipeline()
    log = EventBatch("events", 0, np.arange(len(batch)), batch.broker_time, batch.time, batch.rows)
    assert outcome([batch], 1, nightly=False) == ({0: [value for _, value in task.process(log).alerts]}, [frozen(task.snapshot())])


# --- The nightly refresh


@cache
def a_task() -> tuple[list[bytes], set[str]]:
    """One task, slowly: where the log comes to a new day the model is what refresh makes of all records so far.

    Returns its alerts and the versions it went through.
    """
    task, days, told, versions = world.pipeline(), list[Daily](), list[bytes](), set[str]()
    log = EventBatch("events", 0, np.arange(len(whole())), whole().broker_time, whole().time, whole().rows)
    open_day = np.maximum.accumulate(log.time // DAY)
    for day in sorted(set(open_day.tolist())):
        if (ended := task.turn(day)) is not None:
            days.append(ended)
            task.adopt(refresh.refresh(task.model, days))
        versions.add(task.model.version)
        told += [value for _, value in task.process(log.take(np.flatnonzero(open_day == day))).alerts]
    return told, versions


@cache
def whole() -> EventBatch:
    """All of the company's days, some events late."""
    batch, rng = world.history(), np.random.default_rng(4)
    moved = rng.integers(0, 2 * DAY, len(batch)) * (rng.random(len(batch)) < 0.01)
    return EventBatch(batch.topic, 0, batch.offset, batch.broker_time, batch.time - moved, batch.rows)


def check_refreshes() -> None:
    told, versions = a_task()
    assert len(versions) >= 4 and len(told) > 20
    assert outcome([whole()], 1)[0] == {0: told}


def test_at_each_days_turn_the_model_is_refreshed_from_all_days_before() -> None:
    check_refreshes()
    assert outcome([whole()], 1)[0] != outcome([whole()], 1, nightly=False)[0]


def check_partitions_refresh_alike() -> None:
    """All partitions have one model, made of all their records: an employee is scored alike however many partitions there are."""

    def scores(partitions: int) -> tuple[dict[str, tuple[bytes, bytes]], set[str]]:
        parts, tasks = played([whole()], partitions)
        said = {}
        for part in parts:
            for s in part.outcome.scores:
                rows = [part.batch.rows[row].event_id for row in s.row.tolist()]
                said.update(zip(rows, zip(s.score.tobytes("C")[i * 4 : i * 4 + 4] for i in range(len(rows))), strict=True))
        return said, {task.model.sha256 for task in tasks}

    one, three = scores(1), scores(3)
    assert len(one[1]) == 1 and one == three


def test_how_many_partitions_there_are_changes_no_score() -> None:
    check_partitions_refresh_alike()


def check_chunks() -> None:
    expected = outcome([whole()])
    assert outcome([whole().take(slice(a, a + 3777)) for a in range(0, len(whole()), 3777)]) == expected
    assert outcome([whole()]) == expected, "and it is always the same"
    assert sum(map(len, expected[0].values())) > 20


def test_nor_does_chunking_with_refreshes() -> None:
    check_chunks()


def check_the_past_alone() -> None:
    """Events of later days change nothing that was said before them."""
    batch = whole()
    day = np.maximum.accumulate(batch.time // DAY)
    for cut in (int(day[-1]) - 3, int(day[-1]) - 1):
        before = np.flatnonzero(day < cut)
        rng = np.random.default_rng(cut)
        after = rng.permutation(np.flatnonzero(day >= cut))
        other = batch.take(np.concatenate([before, after[: len(after) // 2]]))
        first = other.take(slice(0, len(before)))
        said = outcome([first])[0]
        for log in (batch, other):
            found = outcome([log])[0]
            assert any(said.values()) and all(found[home][: len(values)] == values for home, values in said.items())


def test_later_days_change_nothing_that_was_said_before_them() -> None:
    check_the_past_alone()


def test_evidence_is_found_under_partition_and_offset() -> None:
    parts, _ = played([events()], 3)
    log = {(p.batch.partition, int(o)): row for p in parts for o, row in zip(p.batch.offset, p.batch.rows, strict=True)}
    found = [alert for part in parts for alert, _ in part.outcome.alerts]
    assert len(found) > 5
    assert all(log[e.partition, e.offset].actor == alert.actor for alert in found for e in alert.evidence)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("ends[partition] += len(rows)", "ends[partition] += 0"),
        ("ends[partition] + np.arange(", "np.arange("),
        ("range(0, len(batch), BATCH)", "range(0, len(batch) - BATCH, BATCH)"),
        ("np.flatnonzero(home == partition)", "np.flatnonzero(home == partition)[::-1]"),
        ("kafka_partitions(actor.values, partitions)", "np.arange(len(actor.values), dtype=np.int32) % partitions"),
        ("topic, partition, ends[partition]", "topic, 0 * partition, ends[partition]"),
    ],
)
def test_a_change_is_noticed(old: str, new: str, monkeypatch: pytest.MonkeyPatch) -> None:
    mutate(monkeypatch, replay, old, new)
    monkeypatch.setattr(replay, "BATCH", 400)
    with pytest.raises(AssertionError):
        check_partitions(3)


@pytest.mark.parametrize(
    ("check", "old", "new"),
    [
        (check_refreshes, "if day <= self._day:", "if day <= self._day + 1:"),
        (check_refreshes, "recent([*self._days, *ended])", "recent(ended)"),
        (check_refreshes, "            for task in self._tasks:\n", "            for task in self._tasks[1:]:\n"),
        (check_refreshes, "int(some.time.max()) // DAY)", "int(some.time.min()) // DAY)"),
        (check_refreshes, "(one := task.turn(day)) is not None]", "(one := task.turn(day - 1)) is not None]"),
        (check_partitions_refresh_alike, "            for task in self._tasks:\n", "            for task in self._tasks[:1]:\n"),
        (check_partitions_refresh_alike, "for task in self._tasks if (one", "for task in self._tasks[:1] if (one"),
        (check_chunks, "[0, *(np.flatnonzero(np.diff(day)) + 1).tolist(), len(batch)]", "[0, len(batch)]"),
    ],
)
def test_a_change_of_the_nights_is_noticed(check: Callable[[], None], old: str, new: str, monkeypatch: pytest.MonkeyPatch) -> None:
    a_task()
    mutate(monkeypatch, replay, old, new)
    with pytest.raises((AssertionError, KeyError)):
        check()
