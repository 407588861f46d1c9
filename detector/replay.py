"""Replay: recorded events through the live pipeline, without Kafka. The same events give the same alerts, whatever they were read from.

The nightly refresh is played where the log comes to a new day, from the records of the days before it; without it the model stays as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple, TypeAlias

import numpy as np

from detector.core.daily import Daily, recent
from detector.core.events import EventBatch
from detector.core.frame import DAY
from detector.core.pipeline import InForce, Outcome, Pipeline
from detector.core.refresh import refresh
from detector.core.strings import kafka_partitions

BATCH = 10_000


Changes: TypeAlias = Sequence[tuple[int, InForce]]
"""What was in force, each with the offset from which on; offsets ascend."""


class Replayed(NamedTuple):
    """A batch of one partition, and what it led to."""

    batch: EventBatch
    outcome: Outcome


def replay(
    batches: Iterable[EventBatch], pipeline: Callable[[], Pipeline], topic: str, partitions: int, nightly: bool = True,
    changes: Mapping[int, Changes] = {},
) -> Iterator[Replayed]:  # fmt: skip
    """Plays events in log order; each goes to the partition that Kafka's default partitioner chooses for its actor.

    Offsets are counted for each partition in the order of the events; a refused record is in none, for nobody knows its key. `nightly`: at
    each day's turn the model is refreshed for all partitions. `changes`: by partition, what a live service went over to.
    """
    tasks = [pipeline() for _ in range(partitions)]
    ends = np.zeros(partitions, np.int64)
    night = _Night(tasks)
    for some in _by_day(batches) if nightly else _even(batches):
        if nightly:
            night.falls(int(some.time.max()) // DAY)
        actor = some.strings("actor")
        home = actor.spread(kafka_partitions(actor.values, partitions), np.int32(0))
        for partition, task in enumerate(tasks):
            rows = np.flatnonzero(home == partition)
            if len(rows):
                part = some.take(rows).placed(topic, partition, ends[partition] + np.arange(len(rows), dtype=np.int64))
                ends[partition] += len(rows)
                for piece, what in _cut(part, changes.get(partition, ())):
                    if what is not None and (what.model is not task.model or what.context is not task.context):
                        task.adopt(what.model, what.framer)
                    yield Replayed(piece, task.process(piece))


def _cut(part: EventBatch, changes: Changes) -> Iterator[tuple[EventBatch, InForce | None]]:
    """Pieces, each with what was last changed to at its first event or before it."""
    at = [offset for offset, _ in changes]
    for start, stop in pairwise(sorted({0, len(part), *np.searchsorted(part.offset, at).tolist()})):
        piece = part.take(slice(start, stop))
        yield piece, next((what for offset, what in reversed(changes) if offset <= piece.offset[0]), None)


class _Night:
    """The refresh that a nightly job would make, at once."""

    def __init__(self, tasks: list[Pipeline]) -> None:
        self._tasks, self._day = tasks, -1
        self._days: list[Daily] = []

    def falls(self, day: int) -> None:
        """The log has come to a day: if it is a later one, all tasks go on with what the days before it say."""
        if day <= self._day:
            return
        self._day = day
        if ended := [one for task in self._tasks if (one := task.turn(day)) is not None]:
            self._days = recent([*self._days, *ended])
            model = refresh(self._tasks[0].model, self._days)
            for task in self._tasks:
                task.adopt(model)


def _even(batches: Iterable[EventBatch]) -> Iterator[EventBatch]:
    for batch in batches:
        for start in range(0, len(batch), BATCH):
            yield batch.take(slice(start, start + BATCH))


def _by_day(batches: Iterable[EventBatch]) -> Iterator[EventBatch]:
    """Cut where the log comes to a later day than any before."""
    latest = -1
    for batch in _even(batches):
        day = np.maximum.accumulate(np.maximum(batch.time // DAY, latest))
        latest = int(day[-1])
        for start, stop in pairwise([0, *(np.flatnonzero(np.diff(day)) + 1).tolist(), len(batch)]):
            yield batch.take(slice(start, stop))
