"""Holdings: the partitions of this process. Each is being taken over, read by a task, or refused; what was lost is kept a while."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

from detector.core.events import Records
from detector.errors import StateError
from detector.metrics import Metrics
from detector.restore import Found, Making, take_over
from detector.takeovers import Takeovers
from detector.tasks import Task

log = logging.getLogger("detector.holdings")

KEPT = 120.0
"""Seconds for which a task that was taken away is kept, in case it comes back."""
AGAIN = 30.0
"""Seconds after which a partition that was refused is tried again: what was wrong may have been mended."""


class Source(Protocol):
    """The events."""

    def poll(self, timeout: float, limit: int) -> list[Records]: ...
    def membership(self) -> Any: ...
    def changes(self) -> Sequence[tuple[str, frozenset[int]]]: ...
    def committed(self, partitions: Iterable[int]) -> Mapping[int, tuple[int, str] | None]: ...
    def bounds(self, partitions: Iterable[int]) -> Mapping[int, tuple[int, int]]: ...
    def position(self, partition: int) -> int: ...
    def written(self, partition: int) -> int: ...
    def topic_id(self) -> str: ...
    def seek(self, partition: int, offset: int) -> None: ...
    def pause(self, partitions: Iterable[int]) -> None: ...
    def resume(self, partitions: Iterable[int]) -> None: ...
    def close(self, timeout: float) -> None: ...


class Holdings:
    def __init__(self, takeovers: Callable[[], Takeovers], making: Making, starts: int | None, figures: Metrics) -> None:
        """`starts`: ms from which on alerts are raised; None: when a partition is taken for the first time ever."""
        self._connect, self._making, self._starts, self._figures = takeovers, making, starts, figures
        self._takeovers: Takeovers | None = None
        self._kept: dict[int, tuple[float, Task]] = {}
        self._careful: dict[int, int] = {}
        self._began: dict[int, float] = {}
        self.tasks: dict[int, Task] = {}
        self.refused: dict[int, tuple[float, str]] = {}
        """When to try again, and why it was."""

    @property
    def taking(self) -> bool:
        return bool(self._takeovers)

    def why_not_ready(self) -> list[str]:
        tasks, refused = self.tasks.copy(), self.refused.copy()  # this is asked by another thread
        return [
            *(f"partition {p} is being taken over" for p in sorted(self._began.copy()) if p not in refused and p not in tasks),
            *(f"partition {p} is being restored" for p, task in sorted(tasks.items()) if task.restoring),
            *(f"partition {p} is halted: {task.halted}" for p, task in sorted(tasks.items()) if task.halted),
            *(f"partition {p} is refused: {why}" for p, (_, why) in sorted(refused.items())),
        ]

    def open(self) -> None:
        """Before the first partition comes."""
        self._takeovers = self._connect()

    def apply(self, source: Source) -> None:
        """What became of the partitions since the last poll."""
        assert self._takeovers is not None
        for what, partitions in source.changes():
            log.info("partitions %s", what, extra={"partitions": sorted(partitions)})
            for p in partitions:
                self._takeovers.cancel(p)
                self.refused.pop(p, None)
                self._began.pop(p, None)
                if (task := self.tasks.pop(p, None)) is not None:
                    self._keep(task)
            if what == "assigned":
                self._take(source, partitions)
            self._figures.rebalance()
        for p in [p for p in self._began if p in self.tasks and not self.tasks[p].restoring]:
            self._figures.taken_over(self.tasks[p].source, time.monotonic() - self._began.pop(p))
        tasks, coming = self.tasks.values(), len(self._takeovers)
        restoring, halted = sum(task.restoring for task in tasks), sum(bool(task.halted) for task in tasks)
        self._figures.held(len(tasks) + coming, restoring + coming, len(self.refused), halted)

    def step(self, source: Source, timeout: float) -> set[int]:
        """Takeovers go a step further. Returns those that are tasks now: they are to be read from elsewhere."""
        assert self._takeovers is not None
        now = time.monotonic()
        if again := [p for p, (at, _) in self.refused.items() if at <= now]:
            for p in again:
                del self.refused[p]
            self._take(source, again)
        self._follow()
        done = self._takeovers.step(timeout)
        for p, outcome in done.items():
            if isinstance(outcome, StateError):
                self.refuse(source, p, outcome)
            else:
                self._hold(source, p, outcome)
        return {p for p in done if p in self.tasks}

    def refuse(self, source: Source, partition: int, error: StateError) -> None:
        """Others go on."""
        log.error("partition refused", extra={"partition": partition, "error": str(error), "pause": AGAIN, "audit": True})
        self.tasks.pop(partition, None)
        self._began.pop(partition, None)
        source.pause([partition])
        self.refused[partition] = time.monotonic() + AGAIN, str(error)

    def retake(self, source: Source, partition: int, careful_until: int) -> None:
        """The task's state is not to be trusted: it is restored, and then goes with care up to that offset."""
        del self.tasks[partition]
        source.pause([partition])
        self._careful[partition] = careful_until
        self._take(source, [partition])

    def resume(self, source: Source) -> None:
        """Every partition that may be read is read on."""
        source.resume([p for p, task in self.tasks.items() if not task.halted])
        source.pause([p for p, task in self.tasks.items() if task.halted])

    def end_of_state(self, partition: int) -> int:
        """What is written to the state topic from now on lies there or behind it."""
        assert self._takeovers is not None
        return self._takeovers.bounds(partition)[1]

    def leave(self) -> None:
        """Nothing is held any more. What is kept is used again where the committed offset allows it."""
        for task in self.tasks.values():
            self._keep(task)
        self.tasks.clear()
        self.refused.clear()
        self._began.clear()
        if self._takeovers is not None:
            self._takeovers.close()
            self._takeovers = None

    def _take(self, source: Source, partitions: Iterable[int]) -> None:
        assert self._takeovers is not None
        committed, bounds = source.committed(partitions), source.bounds(partitions)
        starts = self._starts if self._starts is not None else time.time_ns() // 1_000_000
        for p in sorted(partitions):
            kept, at, first = self._kept.pop(p, (0.0, None))[1], committed[p], bounds[p][0]
            if at is not None and at[0] < first:
                log.error("records were deleted before they were read", extra={"partition": p, "from": at[0], "to": first, "audit": True})
            self._began[p] = time.monotonic()
            try:
                found = Found(p, at, *bounds[p], self._takeovers.bounds(p), source.topic_id(), starts)
            except StateError as error:
                self.refuse(source, p, error)
                continue
            self._takeovers.begin(p, take_over(found, kept, self._making))

    def _follow(self) -> None:
        """Every task that is live goes on with the model and the context that are served now; others do when they are."""
        served = self._making.served
        served.look()
        for task in self.tasks.values():
            if not task.restoring and not task.goes_by(served.now):
                task.adopt(served.now)

    def _hold(self, source: Source, partition: int, task: Task) -> None:
        self.tasks[partition] = task
        task.careful_until = max(task.careful_until, self._careful.pop(partition, -1))
        source.seek(partition, task.position)
        source.resume([] if task.halted else [partition])
        log.info("partition taken over", extra={"partition": partition, "by": task.source, "from": task.position, "to": task.live_from})

    def _keep(self, task: Task) -> None:
        now = time.monotonic()
        self._kept = {p: (end, t) for p, (end, t) in self._kept.items() if end > now}
        self._kept[task.partition] = (now + KEPT, task)
