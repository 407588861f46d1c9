"""Lag: how far behind this process is, and whether the client has silently stopped to read a partition."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence

from detector.core.events import Records
from detector.errors import BrokerError
from detector.holdings import Source
from detector.metrics import Metrics
from detector.tasks import Task

LOOK = 5.0
"""Seconds between two looks at how far the partitions reach."""
STUCK = 15.0
"""Seconds after which a partition that has records, but yields none, is taken for forgotten by the client."""


class Lag:
    def __init__(self, figures: Metrics) -> None:
        self._figures = figures
        self._looked = 0.0
        self._yielded: dict[int, float] = {}
        self._newest: dict[int, float] = {}
        """Of each partition: when the record came to the broker that was processed last, or nothing was behind."""

    @property
    def seconds(self) -> float:
        """Of the partition that is farthest behind."""
        return max(time.time() - min(self._newest.copy().values(), default=math.inf), 0.0)  # this is asked by another thread

    def forget(self) -> None:
        """The client is made anew."""
        self._yielded.clear()
        self._newest = {}
        self._figures.lag({})

    def look(self, source: Source, runs: Sequence[Records], limit: int, tasks: Mapping[int, Task]) -> bool:
        """Now and then; gives whether it was now. `runs`: what the client has just yielded, `limit` records at most. Raises BrokerError
        where it has forgotten a partition.
        """
        now = time.monotonic()
        if 2 * sum(map(len, runs)) >= limit:  # what is yielded ends with a whole batch: it is seldom the limit to the record
            self._yielded = dict.fromkeys(tasks, now)  # others have to wait their turn
        for run in runs:
            self._yielded[run.partition] = now
            self._newest[run.partition] = float(run.timestamp[-1]) / 1000
        if now - self._looked < LOOK:
            return False
        self._looked = now
        ends = {p: end for p, (_, end) in source.bounds(tasks).items()}
        at = {p: max(source.position(p), tasks[p].position) for p in ends}
        self._tell(source, tasks, ends, at)
        for p, end in ends.items():
            if at[p] >= end or tasks[p].halted:
                self._yielded[p] = now
            elif now - self._yielded.setdefault(p, now) > STUCK:
                self._figures.consumer_rebuilt()
                raise BrokerError(f"partition {p} has {end - at[p]} records that the client does not read; connecting anew")
        return True

    def _tell(self, source: Source, tasks: Mapping[int, Task], ends: Mapping[int, int], at: Mapping[int, int]) -> None:
        """What unfinished transactions of others hold up counts as lag too."""
        now = time.time()
        records = {p: max(end, source.written(p)) - min(at[p], end) for p, end in ends.items()}
        self._newest = {p: self._newest.get(p, now) if behind else now for p, behind in records.items()}
        self._figures.lag({p: (behind, now - self._newest[p]) for p, behind in records.items()})
        states = [task.pipeline.tracker.state for task in tasks.values()]
        self._figures.state(
            sum(map(len, states)), sum(state.max_keys for state in states), sum(state.evicted for state in states),
            sum(state.capacity * state.bytes_per_key for state in states),
        )  # fmt: skip
