"""Lag: how far behind this process is, and whether the client has silently stopped to read a partition."""

from __future__ import annotations

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
        self.seconds = 0.0
        """Age of the newest record that was processed, while there are others behind it; else 0."""
        self._newest = time.time()
        """When that record came to the broker, or nothing was behind."""

    def forget(self) -> None:
        """The client is made anew."""
        self._yielded.clear()

    def look(self, source: Source, runs: Sequence[Records], limit: int, tasks: Mapping[int, Task]) -> None:
        """Now and then. `runs`: what the client has just yielded, `limit` records at most. Raises BrokerError where it has forgotten a
        partition.
        """
        now = time.monotonic()
        if 2 * sum(map(len, runs)) >= limit:  # what is yielded ends with a whole batch: it is seldom the limit to the record
            self._yielded = dict.fromkeys(tasks, now)  # others have to wait their turn
        for run in runs:
            self._yielded[run.partition] = now
            self._newest = float(run.timestamp[-1]) / 1000
            self.seconds = max(time.time() - self._newest, 0.0)
        if now - self._looked < LOOK:
            return
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

    def _tell(self, source: Source, tasks: Mapping[int, Task], ends: Mapping[int, int], at: Mapping[int, int]) -> None:
        """What unfinished transactions of others hold up counts as lag too."""
        records = sum(max(end, source.written(p)) - min(at[p], end) for p, end in ends.items())
        if not records:
            self._newest = time.time()
        self.seconds = max(time.time() - self._newest, 0.0)
        self._figures.lag(records, self.seconds)
        states = [task.pipeline.tracker.state for task in tasks.values()]
        self._figures.keys(sum(map(len, states)), sum(state.evicted for state in states))
