"""Checkpoints: snapshots on their way into the state topic, so that a takeover need not begin with the oldest event.

The state of one task at a time is copied at one offset; its chunks follow with the next transactions, the manifest last. The transaction
after that names it as the newest, and only then does a takeover use it; until then there is the one before.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from detector import failpoints
from detector.core.snapshots import TOGETHER, Snapshot, chunk_key, manifest_key
from detector.delivery import Delivery, Plan
from detector.tasks import Saved, Task

log = logging.getLogger("detector.checkpoints")

SHARE = 0.1
"""Of the loop's time, at most, that snapshots take in the long run."""
SMALL = ("chain", "notables")


@dataclass(slots=True)
class _UnderWay:
    task: Task
    snapshot: Snapshot
    spent: float
    """Seconds."""
    size: int = 0
    sent: int = 0
    """Chunks that are delivered for certain."""
    taken: int = 0
    """Chunks that are in the transaction that comes."""


@dataclass(slots=True)
class Checkpoints:
    interval: float
    """Seconds between two snapshots of a task, at least."""
    basis: str
    saved: Callable[[float, int], None] = lambda seconds, size: None
    """Told of each that is complete: seconds that it cost, bytes."""
    _under_way: _UnderWay | None = None
    _due: dict[int, float] = field(default_factory=dict)

    @property
    def under_way(self) -> bool:
        return self._under_way is not None

    def wanted(self, task: Task, now: float | None = None) -> bool:
        """Whether there is anything new, and its time has come; `now` None: whatever the time."""
        if task.restoring or len(task.backlog) or task.position <= task.saved.offset or task.committed is None:
            return False
        due = self._due.setdefault(task.partition, time.monotonic() + self.interval * random.uniform(0.1, 1.0))
        return now is None or now >= due

    def begin(self, tasks: Iterable[Task], now: float | None, end_of_state: Callable[[int], int]) -> None:
        """Copies the state of one task, if one is wanted. Its outputs up to its position go before, or with the first chunk."""
        task = next((task for task in tasks if self.wanted(task, now)), None)
        if self._under_way is not None or task is None:
            return
        since, began = end_of_state(task.partition), time.perf_counter()
        origin, generation = task.backlog.origin, task.saved.generation + 1
        snapshot = Snapshot(origin, generation, task.position, since, task.pipeline.snapshot(), SMALL)
        self._under_way = _UnderWay(task, snapshot, time.perf_counter() - began)

    def of(self, task: Task) -> bool:
        """Whether its snapshot is under way."""
        return self._under_way is not None and self._under_way.task is task

    def add(self, delivery: Delivery, plan: Plan) -> None:
        """As many chunks as go together, behind what the delivery holds; with the last, the manifest."""
        at = self._under_way
        if at is None or delivery.tasks.get(at.task.partition) is not at.task:
            self._under_way = None  # its partition is another's now
            return
        began = time.perf_counter()
        end = min(at.sent + TOGETHER, at.snapshot.chunks)
        chunks = [(chunk_key(at.snapshot.generation, i), at.snapshot.chunk(i)) for i in range(at.sent, end)]
        if end == at.snapshot.chunks:
            chunks.append((manifest_key(at.snapshot.generation), at.snapshot.manifest()))
        delivery.state(at.task, chunks, end == at.snapshot.chunks, plan)
        at.taken, at.size = end, at.size + sum(len(value) for _, value in chunks)
        at.spent += time.perf_counter() - began

    def delivered(self, manifest: int | None, seconds: float) -> None:
        """The transaction happened, and took so long. `manifest`: where the manifest lies, if it was in it and that is known."""
        at = self._under_way
        if at is None:
            return
        failpoints.at("mid_snapshot")
        at.sent, at.spent = at.taken, at.spent + (seconds if at.taken else 0.0)
        if at.sent < at.snapshot.chunks:
            return
        self._under_way = None
        pause = max(self.interval, at.spent / SHARE)
        self._due[at.task.partition] = time.monotonic() + pause * random.uniform(0.9, 1.1)
        if manifest is not None:  # else it is there, but nobody knows where: the next one takes its place
            at.task.snapshot_complete(Saved(manifest, at.snapshot.generation, at.snapshot.offset), self.basis)
            self.saved(at.spent, at.size)

    def forget(self) -> None:
        """The connection is made anew."""
        self._under_way = None
