"""Replay: recorded events through the live pipeline, without Kafka. The same events give the same alerts, whatever they were read from."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import numpy as np

from detector.core.events import EventBatch
from detector.core.pipeline import Outcome, Pipeline
from detector.core.strings import kafka_partitions

BATCH = 10_000


class Replayed(NamedTuple):
    """A batch of one partition, and what it led to."""

    batch: EventBatch
    outcome: Outcome


def replay(batches: Iterable[EventBatch], pipeline: Callable[[], Pipeline], topic: str, partitions: int) -> Iterator[Replayed]:
    """Plays events in log order; each goes to the partition that Kafka's default partitioner chooses for its actor.

    Offsets are counted for each partition in the order of the events; a refused record is in none, for nobody knows its key.
    """
    tasks = [pipeline() for _ in range(partitions)]
    ends = np.zeros(partitions, np.int64)
    for batch in batches:
        for start in range(0, len(batch), BATCH):
            some = batch.take(slice(start, start + BATCH))
            actor = some.strings("actor")
            home = actor.spread(kafka_partitions(actor.values, partitions), np.int32(0))
            for partition, task in enumerate(tasks):
                rows = np.flatnonzero(home == partition)
                if len(rows):
                    part = some.take(rows).placed(topic, partition, ends[partition] + np.arange(len(rows), dtype=np.int64))
                    ends[partition] += len(rows)
                    yield Replayed(part, task.process(part))
