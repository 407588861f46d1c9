"""Checkpoints: snapshots on their way into the state topic, so that a takeover need not begin with the oldest event.

The state of one task at a time is copied at one offset; its chunks follow with the next transactions, the manifest last. The transaction
after that names it as the newest, and only then does a takeover use it; until then there is the one before.

The copies share one piece of memory, which is kept: a process needs as much again as its largest task.
"""

from __future__ import annotations

import logging
import math
import random
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import numpy as np

from detector import failpoints
from detector.core.pipeline import SMALL
from detector.core.snapshots import TOGETHER, Snapshot, chunk_key, manifest_key
from detector.delivery import Delivery, Plan
from detector.tasks import Saved, Task

log = logging.getLogger("detector.checkpoints")

SHARE = 0.1
"""Of the loop's time, at most, that snapshots take in the long run."""
TOUCH = 0.05
"""Seconds of a turn of the loop in which memory is made ready."""
PIECE, PAGE = 1 << 20, 4096
"""Bytes."""
REFUSED = 600.0
"""Seconds for which no snapshot is begun after the broker did not take a chunk."""
QUICK = 0.5
"""Seconds that a last snapshot may take at the end, in any case; ..."""
WRITTEN, REPLAYED = 100e6, 20_000.0
"""... or as long as a replay would without it: bytes of state that are written in a second, events that are replayed in one."""


class _Room:
    """Memory for one copy of a state. Memory that was never used is slow, on some machines slower than a disk: it is touched before it
    counts, a little at a time, and then kept.
    """

    def __init__(self) -> None:
        self.memory = np.zeros(0, np.uint8)
        self._touched = 0

    def ready(self, size: int, seconds: float) -> bool:
        """Whether there is room for so many bytes; if not, it is worked at for so many seconds."""
        if len(self.memory) < size:
            self.memory, self._touched = np.zeros(0, np.uint8), 0
            self.memory = np.zeros(size + size // 8, np.uint8)  # the state may grow meanwhile
        end = time.perf_counter() + seconds
        while self._touched < len(self.memory) and time.perf_counter() < end:
            self.memory[self._touched : self._touched + PIECE : PAGE] = 0
            self._touched += PIECE
        return self._touched >= len(self.memory)


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
    """Seconds between two snapshots of a task, at least; inf: there are none."""
    basis: str
    saved: Callable[[float, int], None] = lambda seconds, size: None
    """Told of each that is complete: seconds that it cost, bytes."""
    _under_way: _UnderWay | None = None
    _room: _Room = field(default_factory=_Room)
    _spent: float = 0.0
    """Seconds, on making room for the next one."""
    _due: dict[int, float] = field(default_factory=dict)
    _rest: float = 0.0
    """Until when none is begun, on the monotonic clock."""

    @property
    def under_way(self) -> bool:
        return self._under_way is not None

    def wanted(self, task: Task, now: float | None = None) -> bool:
        """Whether there is anything new, and its time has come; `now` None: at the end, when it must be worth its time."""
        if math.isinf(self.interval) or task.restoring or len(task.backlog) or task.position <= task.saved.offset or task.committed is None:
            return False
        due = self._due.setdefault(task.partition, time.monotonic() + self.interval * random.uniform(0.1, 1.0))
        if now is None:
            return task.pipeline.tracker.state.snapshot_bytes() / WRITTEN <= max(QUICK, (task.position - task.saved.offset) / REPLAYED)
        return now >= max(due, self._rest)

    def begin(self, tasks: Iterable[Task], now: float | None, end_of_state: Callable[[int], int]) -> None:
        """Copies the state of one task, if one is wanted and there is room. Its outputs up to its position go before, or with the first
        chunk.
        """
        if self._under_way is not None or not (wanted := [task for task in tasks if self.wanted(task, now)]):
            return
        task = min(wanted, key=lambda task: self._due[task.partition])
        began, size = time.perf_counter(), task.pipeline.tracker.state.snapshot_bytes()
        if ready := self._room.ready(size, TOUCH if now is not None else math.inf):
            since, origin, generation = end_of_state(task.partition), task.backlog.origin, task.saved.generation + 1
            snapshot = Snapshot(origin, generation, task.position, since, task.pipeline.snapshot(self._room.memory), SMALL)
        self._spent += time.perf_counter() - began
        if ready:
            self._under_way, self._spent = _UnderWay(task, snapshot, self._spent), 0.0

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
        now = time.monotonic()
        self._rest = now + at.spent / SHARE
        self._due[at.task.partition] = now + self.interval * random.uniform(0.9, 1.1)
        if manifest is not None:  # else it is there, but nobody knows where: the next one takes its place
            at.task.snapshot_complete(Saved(manifest, at.snapshot.generation, at.snapshot.offset, time.time()), self.basis)
            self.saved(at.spent, at.size)

    def refused(self) -> bool:
        """A record was too large for its topic. Gives whether it can have been a chunk: then there are none for a while."""
        if self._under_way is None:
            return False
        self._under_way, self._rest = None, time.monotonic() + REFUSED
        return True

    def oldest(self, tasks: Iterable[Task]) -> float | None:
        """When the oldest of the tasks' last snapshots was made, in seconds since 1970; None where there is no task, or none is to be made.
        Of a task without one it is when the task came to be, and one that has seen nothing since its last is as good as made now.
        """
        if math.isinf(self.interval):
            return None
        live = [task for task in tasks if not task.restoring]
        return min((time.time() if t.position <= t.saved.offset else t.saved.time or t.made for t in live), default=None)

    def forget(self) -> None:
        """The connection is made anew."""
        self._under_way = None
