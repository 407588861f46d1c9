"""The live service: poll, process, one transaction; partitions come and go meanwhile. One thread does all of it.

Exactly once rests on three facts. Alerts, notables, dead letters, daily records and consumed offsets go into one transaction. What a
batch leads to is a function of the log, so it can be delivered again, or computed again, and is the same. And after any doubt the committed
offset and its metadata decide: if they are the batch's, it was delivered; if they are those before it, the same outputs are sent once more;
if they are others, somebody else took over, and the task is restored when it comes back.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

from detector.core.daily_blocks import TOGETHER
from detector.core.events import EventBatch, Records
from detector.core.pipeline import Pipeline
from detector.delivery import Delivery, Plan
from detector.errors import BrokerError
from detector.metrics import Metrics
from detector.restore import Task, take_over

log = logging.getLogger("detector.service")

POLL = 0.1
KEPT = 120.0
"""Seconds for which a task that was taken away is kept, in case it comes back."""
LOOK = 5.0
"""Seconds between two looks at how far the partitions reach."""
STUCK = 15.0
"""Seconds after which a partition that has records, but yields none, is taken for forgotten by the client."""
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 10.0


class Source(Protocol):
    def poll(self, timeout: float, limit: int) -> list[Records]: ...
    def membership(self) -> Any: ...
    def changes(self) -> Sequence[tuple[str, frozenset[int]]]: ...
    def committed(self, partitions: Iterable[int]) -> Mapping[int, tuple[int, str] | None]: ...
    def bounds(self, partitions: Iterable[int]) -> Mapping[int, tuple[int, int]]: ...
    def position(self, partition: int) -> int: ...
    def seek(self, partition: int, offset: int) -> None: ...
    def pause(self, partitions: Iterable[int]) -> None: ...
    def resume(self, partitions: Iterable[int]) -> None: ...
    def close(self, timeout: float) -> None: ...


class Sink(Protocol):
    def deliver(
        self, messages: Sequence[tuple[str, bytes | None, bytes]], offsets: Mapping[tuple[str, int], tuple[int, str]], membership: Any
    ) -> None: ...
    def settle(self, deadline: float) -> None: ...
    def close(self) -> None: ...


class Service:
    """Drives the tasks of one process. `doubt` is the exception by which the sink says that an outcome is unknown."""

    def __init__(
        self, source: Callable[[], Source], sink: Sink, doubt: type[Exception], decode: Callable[[Records], EventBatch],
        pipeline: Callable[[int], Pipeline], figures: Metrics, plan: Plan,
    ) -> None:  # fmt: skip
        self._connect, self._sink, self._doubt, self._decode = source, sink, doubt, decode
        self._pipeline, self._figures, self._plan = pipeline, figures, plan
        self._source: Source | None = None
        self._tasks: dict[int, Task] = {}
        self._kept: dict[int, tuple[float, Task]] = {}
        self._looked = 0.0
        self._yielded: dict[int, float] = {}
        self._joined = False
        self.tick = time.monotonic()
        """When the loop last turned, on the monotonic clock."""
        self.lag_seconds = 0.0
        self.stopping = False

    def run(self) -> None:
        """Until `stopping` is set. Raises BrokerError for what waiting does not mend, any DetectorError for what a person must."""
        try:
            self._sink.settle(60.0)
            self._source = self._connect()
            pause = FIRST_PAUSE
            while not self.stopping:
                try:
                    self._turn()
                    pause = FIRST_PAUSE
                except BrokerError as error:
                    log.warning("broker trouble, reconnecting", extra={"pause": pause, "error": str(error)})
                    self._leave()
                    self._wait(pause)
                    pause = min(2 * pause, LONGEST_PAUSE)
        finally:
            self._leave()
            self._sink.close()

    def ready(self) -> tuple[bool, list[str]]:
        """Whether every partition that this process holds is live, and what keeps it from being so."""
        why = [f"partition {p} is being restored" for p, t in sorted(self._tasks.copy().items()) if t.restoring]
        if not self._joined:
            why.append("not a stable member of the group")
        return not why, why

    def _turn(self) -> None:
        self.tick = time.monotonic()
        if self._source is None:
            self._source = self._connect()
        runs = self._source.poll(POLL, self._plan.batch_limit)
        taken = self._apply(self._source)
        began = time.perf_counter()
        delivery = self._process([run for run in runs if run.partition not in taken])  # read before its task knew where to begin
        if self._source.membership() is not None:
            self._mark(delivery)
        self._deliver(self._source, delivery, time.perf_counter() - began)
        self._relieve(self._source)
        self._look(self._source, runs)

    def _process(self, runs: Sequence[Records]) -> Delivery:
        """Every task takes in its records; outputs before its committed offset are dropped."""
        delivery = Delivery()
        for run in runs:
            task = self._tasks.get(run.partition)
            if task is None or not len(run):
                continue
            began = max(task.position, task.live_from)
            for batch, outcome in task.process(run, self._decode):
                delivery.add(batch, outcome, self._plan)
            if task.position > began:
                delivery.end(task, self._plan)
        return delivery

    def _mark(self, delivery: Delivery) -> None:
        """Adds partitions without events: when their alerts begin must not wait for the first one, nor daily records for the next."""
        for p, task in self._tasks.items():
            waiting = delivery.blocks < TOGETHER and len(task.backlog)
            if p not in delivery.offsets and (task.committed is None or waiting):
                delivery.end(task, self._plan)

    def _relieve(self, source: Source) -> None:
        """While the log is caught up with, days end faster than their records go out: these first, for memory is bounded."""
        while not self.stopping and any(task.backlog.full for task in self._tasks.values()):
            self.tick = time.monotonic()
            delivery = Delivery()
            self._mark(delivery)
            self._deliver(source, delivery, 0.0)

    def _deliver(self, source: Source, delivery: Delivery, seconds: float) -> None:
        """Until it is certain that the delivery happened, or that its partitions are somebody else's."""
        pause = FIRST_PAUSE
        membership = source.membership()
        while delivery.offsets and not self.stopping:
            began = time.perf_counter()
            try:
                offsets = {(self._plan.events, p): to for p, to in delivery.offsets.items()}
                self._sink.deliver(delivery.messages, offsets, membership)
            except self._doubt as doubt:
                self._figures.doubt(getattr(doubt, "phase", "unknown"))
                log.warning("transaction in doubt", extra={"error": str(doubt), "partitions": sorted(delivery.offsets)})
                self._sink.settle(60.0)
                if self._happened(source, delivery):
                    break
                membership = self._linger(source, delivery, pause)
                pause = min(2 * pause, LONGEST_PAUSE)
            else:
                self._figures.transaction(time.perf_counter() - began)
                break
        else:
            return
        for p, task in delivery.tasks.items():
            task.delivered(delivery.offsets[p], delivery.sent[p])
        self._count(delivery, seconds)
        source.resume(self._tasks)

    def _happened(self, source: Source, delivery: Delivery) -> bool:
        """The committed offsets tell. Raises BrokerError if one is neither before nor behind the batch: somebody else took over."""
        committed = source.committed(delivery.offsets)
        if all(committed[p] == to for p, to in delivery.offsets.items()):
            return True
        if gone := [p for p, task in delivery.tasks.items() if committed[p] != task.committed]:
            raise BrokerError(f"partitions {gone} have moved on without this process; taking over anew")
        return False

    def _linger(self, source: Source, delivery: Delivery, pause: float) -> Any:
        """Waits while staying a member of the group. If a partition of the delivery is taken away, everything is taken over anew."""
        end = time.monotonic() + pause
        while True:
            self.tick = time.monotonic()
            source.pause(self._tasks)
            for run in source.poll(POLL, self._plan.batch_limit):
                source.seek(run.partition, int(run.offset[0]))
            self._apply(source)
            if any(self._tasks.get(p) is not task for p, task in delivery.tasks.items()):  # even if they came back since
                raise BrokerError("partitions were taken away while their batch waited for delivery; taking over anew")
            if time.monotonic() >= end and (membership := source.membership()) is not None:
                return membership
            if self.stopping:
                return source.membership()

    def _apply(self, source: Source) -> set[int]:
        """What became of the partitions since the last poll. Returns those that were taken, and are to be read from elsewhere now."""
        taken: set[int] = set()
        for what, partitions in source.changes():
            log.info("partitions " + what, extra={"partitions": sorted(partitions)})
            for p in partitions:
                if (task := self._tasks.pop(p, None)) is not None:
                    self._keep(task)
            if what == "assigned":
                self._take(source, partitions)
                taken |= partitions
            self._figures.rebalance(len(self._tasks))
        self._figures.restoring(sum(t.restoring for t in self._tasks.values()))
        self._joined = source.membership() is not None
        return taken

    def _take(self, source: Source, partitions: Iterable[int]) -> None:
        committed, bounds = source.committed(partitions), source.bounds(partitions)
        for p in sorted(partitions):
            kept = self._kept.pop(p, (0.0, None))[1]
            starts = self._plan.starts if self._plan.starts is not None else time.time_ns() // 1_000_000
            task = self._tasks[p] = take_over(self._plan.events, p, committed[p], bounds[p][0], kept, self._pipeline, starts)
            at = committed[p]
            if at is not None and at[0] < bounds[p][0]:
                log.error("records were deleted before they were read", extra={"partition": p, "from": at[0], "to": bounds[p][0]})
            source.seek(p, task.position)
            source.resume([p])

    def _keep(self, task: Task) -> None:
        now = time.monotonic()
        self._kept = {p: (end, t) for p, (end, t) in self._kept.items() if end > now}
        self._kept[task.partition] = (now + KEPT, task)

    def _leave(self) -> None:
        """Gives the partitions back. What is kept of them is used again where the committed offset allows it."""
        if self._source is not None:
            self._source.close(5.0)
            self._source, self._joined = None, False
        for task in self._tasks.values():
            self._keep(task)
        self._tasks.clear()
        self._yielded.clear()

    def _wait(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end and not self.stopping:
            self.tick = time.monotonic()
            time.sleep(0.05)

    def _count(self, delivery: Delivery, seconds: float) -> None:
        now = time.time()
        self._figures.batch(seconds, delivery.events, delivery.late, delivery.refused)
        self._figures.notables(delivery.notables, delivery.dropped)
        self._figures.daily(delivery.blocks)
        for severity, arrived in delivery.raised:
            self._figures.alert(severity, now - arrived / 1000)

    def _look(self, source: Source, runs: Sequence[Records]) -> None:
        """Now and then: how far behind this process is, and whether the client has silently stopped to read a partition."""
        now = time.monotonic()
        for run in runs:
            self._yielded[run.partition] = now
            self.lag_seconds = max(time.time() - float(run.timestamp[-1]) / 1000, 0.0)
        if now - self._looked < LOOK:
            return
        self._looked = now
        ends = {p: end for p, (_, end) in source.bounds(self._tasks).items()}
        lag = {p: max(end - max(source.position(p), self._tasks[p].position), 0) for p, end in ends.items()}
        if not any(lag.values()):
            self.lag_seconds = 0.0
        self._figures.lag(sum(lag.values()), self.lag_seconds)
        states = [task.pipeline.tracker.state for task in self._tasks.values()]
        self._figures.keys(sum(map(len, states)), sum(state.evicted for state in states))
        for p, behind in lag.items():
            if not behind:
                self._yielded[p] = now
            elif now - self._yielded.setdefault(p, now) > STUCK:
                self._figures.consumer_rebuilt()
                raise BrokerError(f"partition {p} has {behind} records that the client does not read; connecting anew")
