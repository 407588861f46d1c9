"""The live service: poll, process, one transaction; partitions come and go meanwhile. One thread does all of it.

Exactly once rests on three facts. Alerts, notables, dead letters, daily records, state and consumed offsets go into one transaction. What a
batch leads to is a function of the log, so it can be delivered again, or computed again, and is the same. And after any doubt the committed
offset and its metadata decide: if they are the batch's, it was delivered; if they are those before it, the same outputs are sent once more;
if they are others, somebody else took over, and the task is restored when it comes back.
"""

from __future__ import annotations

import gc
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from detector import failpoints
from detector.checkpoints import Checkpoints
from detector.core.daily_blocks import TOGETHER
from detector.core.events import EventBatch, Records
from detector.counting import count
from detector.delivery import Delivery, Message, Plan
from detector.doubts import Doubts
from detector.drift import Drift
from detector.errors import BrokerError, IdentityError, StateError
from detector.holdings import Holdings, Source
from detector.lag import Lag
from detector.metrics import Metrics

log = logging.getLogger("detector.service")

POLL = 0.1
SMALL, PACE = 1000, 0.05
"""After a batch of fewer records, the next transaction begins so many seconds after the last: what comes meanwhile goes together."""
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 10.0
SETTLE = 60.0
FINISH = 10.0
"""Seconds for the last snapshots when the service is asked to stop."""


class Sink(Protocol):
    def deliver(
        self, messages: Sequence[Message], offsets: Mapping[tuple[str, int], tuple[int, str]], membership: Any
    ) -> Sequence[int]: ...  # fmt: skip
    def settle(self, deadline: float) -> bool: ...
    def close(self) -> None: ...


class Service:
    """Drives the tasks of one process. `doubt` is the exception by which the sink says that an outcome is unknown."""

    def __init__(
        self, source: Callable[[], Source], sink: Sink, doubt: type[Exception], decode: Callable[[Records], EventBatch],
        holdings: Holdings, checkpoints: Checkpoints, figures: Metrics, plan: Plan,
    ) -> None:  # fmt: skip
        self._connect, self._sink, self._doubt, self._decode = source, sink, doubt, decode
        self._holdings, self._checkpoints, self._figures, self._plan = holdings, checkpoints, figures, plan
        self._source: Source | None = None
        self._lag, self._doubts, self._drift = Lag(figures), Doubts(figures, checkpoints, plan.writer), Drift(figures)
        self._beat_at = 0.0
        self._joined = False
        self.tick = time.monotonic()
        """When the loop last turned, on the monotonic clock."""
        self.stopping = False

    def run(self) -> None:
        """Until `stopping` is set. Raises BrokerError for what waiting does not mend, any DetectorError for what a person must."""
        try:
            self._settle()
            self._open()
            pause = FIRST_PAUSE
            while not self.stopping:
                try:
                    self._turn(self._source or self._open())
                    pause = FIRST_PAUSE
                except IdentityError:
                    raise
                except BrokerError as error:
                    log.warning("broker trouble, reconnecting", extra={"pause": pause, "error": str(error)})
                    self._leave()
                    gc.collect()  # as each heartbeat does, of which there is none meanwhile
                    self._wait(pause)
                    pause = min(2 * pause, LONGEST_PAUSE)
            self._finish()
        finally:
            self._leave()
            self._sink.close()

    def ready(self) -> tuple[bool, list[str]]:
        """Whether every partition that this process holds is live, and what keeps it from being so."""
        why = self._holdings.why_not_ready()
        if not self._joined:
            why.append("not a stable member of the group")
        return not why, why

    @property
    def lag_seconds(self) -> float:
        return self._lag.seconds

    def _open(self) -> Source:
        self._source = source = self._connect()
        self._holdings.open()
        return source

    def _turn(self, source: Source) -> None:
        self.tick = time.monotonic()
        hurried = self._checkpoints.under_way or self._holdings.taking
        runs = source.poll(0.0 if hurried else POLL, self._plan.batch_limit)
        failpoints.at("after_poll")
        self._apply(source)
        taken = self._holdings.step(source, 0.0 if runs else POLL)
        began = time.perf_counter()
        delivery, moved = self._process(source, [run for run in runs if run.partition not in taken])  # read before its task was there
        if source.membership() is not None:
            self._complete(delivery, moved, self.tick)
        self._deliver(source, delivery, time.perf_counter() - began)
        self._relieve(source)
        if self._lag.look(source, runs, self._plan.batch_limit, self._holdings.tasks):
            self._figures.oldest_snapshot(self._checkpoints.oldest(self._holdings.tasks.values()))
        if 0 < sum(map(len, runs)) < min(SMALL, self._plan.batch_limit):
            self._wait(PACE - (time.monotonic() - self.tick))

    def _apply(self, source: Source) -> None:
        self._holdings.apply(source)
        self._joined = source.membership() is not None
        self._figures.connected(self._joined and not self._doubts.open)

    def _process(self, source: Source, runs: Sequence[Records]) -> tuple[Delivery, set[int]]:
        """Every task takes in its records. Gives the outputs behind their committed offsets, and the partitions that have come there."""
        delivery, moved = Delivery(), set()
        for run in runs:
            task = self._holdings.tasks.get(run.partition)
            if task is None or not len(run):
                continue
            began, made = max(task.position, task.live_from), Delivery()
            try:
                for batch, outcome in task.process(run, self._decode):
                    made.add(batch, outcome, self._plan)
                    self._drift.ended(task.partition, outcome.daily, task.pipeline.model, self._holdings.tasks)
            except StateError as error:
                self._holdings.refuse(source, task.partition, error)
            except (MemoryError, OSError):
                raise  # of this machine, not of a record
            except Exception:
                if task.position < task.careful_until:
                    raise  # even with care
                log.exception("processing failed; the batch is taken apart", extra={"partition": task.partition})
                self._figures.processing_failed()
                self._holdings.retake(source, task.partition, int(run.offset[-1]) + 1)
            else:
                made.stages.update(task.watch.take())
                delivery.join(made)
                if task.position > began:
                    moved.add(task.partition)
        return delivery, moved

    def _complete(self, delivery: Delivery, moved: set[int], now: float | None) -> None:
        """Adds where each partition ends that has moved, or has something else to say: when its alerts begin, which must not wait for the
        first one; daily records that wait; a heartbeat; part of a snapshot. `now` None: before the end.
        """
        tasks = self._holdings.tasks
        self._checkpoints.begin(tasks.values(), now, self._holdings.end_of_state)
        beats = now is not None and now >= self._beat_at and bool(tasks)
        for p, task in tasks.items():
            if beats and not task.restoring:
                delivery.beat(task, self._plan, time.time_ns() // 1_000_000)
            waiting = delivery.blocks < TOGETHER and len(task.backlog)
            snapshot = self._checkpoints.of(task) or task.told != task.saved.manifest
            if p in moved or task.committed is None or waiting or snapshot or (beats and not task.restoring):
                delivery.end(task, self._plan)
        if beats:
            self._beat_at = time.monotonic() + self._plan.heartbeat
            gc.collect()  # connections that failed are cycles, and hold their sockets until then
        self._checkpoints.add(delivery, self._plan)

    def _relieve(self, source: Source) -> None:
        """While the log is caught up with, days end faster than their records go out: these first, for memory is bounded."""
        while not self.stopping and any(task.backlog.full for task in self._holdings.tasks.values()):
            self.tick = time.monotonic()
            delivery = Delivery()
            self._complete(delivery, set(), self.tick)
            self._deliver(source, delivery, 0.0)

    def _finish(self) -> None:
        """Last snapshots, so that whoever takes over has nothing to do again; of a large state only where that is less work than to do the
        last events again. One that is under way has seen less than what is now: it is given up.
        """
        source, end = self._source, time.monotonic() + FINISH
        self._checkpoints.forget()
        while source is not None and source.membership() is not None and time.monotonic() < end:
            self.tick = time.monotonic()
            delivery = Delivery()
            try:
                self._complete(delivery, set(), None)
                if not delivery.ends:
                    return
                self._delivered(source, delivery, self._sink.deliver(delivery.messages, self._offsets(delivery), source.membership()), 0.0)
            except (self._doubt, BrokerError) as error:  # all events are done, so that this is no failure
                log.warning("no last snapshot", extra={"error": str(error)})
                return

    def _offsets(self, delivery: Delivery) -> Mapping[tuple[str, int], tuple[int, str]]:
        return {(self._plan.events, p): to for p, to in delivery.offsets.items()}

    def _deliver(self, source: Source, delivery: Delivery, seconds: float) -> None:
        """Until it is certain that the delivery happened, or that its partitions are somebody else's."""
        pause, places = FIRST_PAUSE, None
        membership = source.membership()
        began = time.perf_counter()
        while delivery.ends:
            began = time.perf_counter()
            try:
                places = self._sink.deliver(delivery.messages, self._offsets(delivery), membership)
                break
            except self._doubt as doubt:
                self._doubts.met(doubt)
                log.warning("transaction in doubt", extra={"error": str(doubt), "partitions": sorted(delivery.ends)})
                if self._settle():
                    self._figures.producer_rebuilt()
                if self._happened(source, delivery):
                    break
                if self.stopping:
                    self._holdings.leave()  # their state is ahead of what is certain
                    return
                membership = self._linger(source, delivery, pause)
                pause = min(2 * pause, LONGEST_PAUSE)
        if delivery.ends:
            self._figures.transaction(time.perf_counter() - began, time.time())
            self._delivered(source, delivery, places, time.perf_counter() - began)
            count(self._figures, delivery, seconds)

    def _settle(self) -> bool:
        """Has the last transaction ended, a little at a time, for the loop is seen to live. Whether that took another producer. Raises
        BrokerError after SETTLE seconds.
        """
        end = time.monotonic() + SETTLE
        while True:
            self.tick = time.monotonic()
            try:
                return self._sink.settle(SETTLE / 12)
            except BrokerError:
                if self.stopping or time.monotonic() > end:
                    raise
                self._wait(0.5)

    def _delivered(self, source: Source, delivery: Delivery, places: Sequence[int] | None, seconds: float) -> None:
        """It is certain. `places`: offset of each message, where that is known."""
        self._doubts.settled()
        for p, task in delivery.tasks.items():
            offset, mark = delivery.ends[p]
            at = None
            if p in delivery.positions:
                at = self._holdings.end_of_state(p) if places is None else places[delivery.positions[p]] + 1
            task.delivered(offset, mark, at)
        self._checkpoints.delivered(None if places is None or delivery.manifest is None else places[delivery.manifest], seconds)
        self._holdings.resume(source)

    def _happened(self, source: Source, delivery: Delivery) -> bool:
        """The committed offsets tell. Raises BrokerError if one is neither before nor behind the batch: somebody else took over."""
        committed = source.committed(delivery.ends)
        if all(committed[p] == to for p, to in delivery.offsets.items()):
            return True
        if gone := [p for p, task in delivery.tasks.items() if committed[p] != task.committed]:
            raise BrokerError(f"partitions {gone} have moved on without this process; taking over anew")
        return False

    def _linger(self, source: Source, delivery: Delivery, pause: float) -> Any:
        """Waits while staying a member of the group. If a partition of the delivery is taken away, everything is taken over anew."""
        end, tasks = time.monotonic() + pause, self._holdings.tasks
        while True:
            self.tick = time.monotonic()
            source.pause(tasks)
            for run in source.poll(POLL, self._plan.batch_limit):
                source.seek(run.partition, int(run.offset[0]))
            self._apply(source)
            if any(tasks.get(p) is not task for p, task in delivery.tasks.items()):  # even if they came back since
                raise BrokerError("partitions were taken away while their batch waited for delivery; taking over anew")
            if time.monotonic() >= end and (membership := source.membership()) is not None:
                return membership
            if self.stopping:
                return source.membership()

    def _leave(self) -> None:
        """Gives the partitions back."""
        if self._source is not None:
            self._source.close(5.0)
            self._source, self._joined = None, False
        self._checkpoints.forget()
        self._holdings.leave()
        self._lag.forget()
        self._doubts.open = False
        self._figures.connected(False)
        self._figures.oldest_snapshot(None)

    def _wait(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0 and not self.stopping:
            self.tick = time.monotonic()
            time.sleep(min(left, 0.05))
