"""Tasks: one view on one input partition, the unit of state, order, ownership and failure.

Before `live_from` a task is being restored: it sees records again whose outputs were delivered, and says nothing of them.
"""

from __future__ import annotations

import logging
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np

from detector import failpoints
from detector.core.daily_blocks import Backlog, Place
from detector.core.events import DeadLetter, EventBatch, Records
from detector.core.pipeline import InForce, Outcome, Pipeline
from detector.errors import StateError
from detector.marks import REBUILD, Mark, encode_mark
from detector.metrics.stopwatch import Stopwatch
from detector.refusals import Refusals

log = logging.getLogger("detector.tasks")

PIECE = 2000
TRIES = 3
"""How often a record is processed that fails alone."""
MOST_SKIPPED = 64
"""Records that may be set aside between two snapshots; what is committed has to name each."""
MOST_CHANGES = 16
"""Of model and context, likewise."""

T = TypeVar("T")
Decode = Callable[[Records], EventBatch]
Taken = tuple[EventBatch, Outcome]


MODEL_CHANGED, CONTEXT_CHANGED = "model changed", "context changed"


class Saved(NamedTuple):
    """The newest snapshot that is complete."""

    manifest: int = -1
    """Its offset in the state topic."""
    generation: int = 0
    offset: int = -1
    """The next event of the input, as the snapshot has it."""
    time: float = 0.0
    """When it was written, in seconds since 1970."""


NOTHING = Saved()


@dataclass(slots=True)
class Task:
    partition: int
    pipeline: Pipeline
    backlog: Backlog
    """Daily records that are not sent yet."""
    position: int
    """The next offset that the state has not seen."""
    live_from: int
    """The committed offset: before it, outputs have been delivered already."""
    refusals: Refusals
    mark: Mark | None = None
    """What is committed, until the state arrives at `live_from`."""
    committed: tuple[int, str] | None = None
    """What is committed, with its metadata; None: nothing ever was, so that a restart would not know when the partition was first taken."""
    beats: int = 0
    state_at: int = -1
    """The state topic holds nothing of what comes next before this offset."""
    saved: Saved = NOTHING
    basis: str = ""
    """The settings that the events since the snapshot were processed with."""
    changes: tuple[tuple[int, InForce], ...] = ()
    """The models and contexts they were, and are to be replayed with, each with the offset from which on."""
    told_changes: tuple[tuple[int, tuple[str, str]], ...] = ()
    """Their versions, as committed."""
    log: str = ""
    """Id of the topic of events."""
    skipped: tuple[int, ...] = ()
    source: str = "nothing"
    """What its state came from: nothing, input, snapshot or memory."""
    rebuilt: bool = False
    """The state is built anew although there was a snapshot: records that were set aside before it are so again."""
    exact: bool = False
    """The state was restored, and nothing changed since it was left: at `live_from` the chain must be as committed."""
    careful_until: int = -1
    """Before this offset, a failure is isolated."""
    halted: str = ""
    """Why the partition is not read on, if it is not."""
    told: int = -1
    """Manifest of the snapshot that is committed as the newest."""
    watch: Stopwatch = field(default_factory=Stopwatch)
    made: float = field(default_factory=time.time)
    """When it came to be here, in seconds since 1970."""

    @property
    def restoring(self) -> bool:
        return self.position < self.live_from

    def process(self, records: Records, decode: Decode) -> Iterator[Taken]:
        """Takes the records in, piece by piece; yields the events and what is to be delivered of them, nothing of what was delivered
        before. A piece is small enough for its events to stay in the processor's cache; where pieces are cut changes nothing.
        """
        start, old, stop = np.searchsorted(records.offset, [self.position, max(self.position, self.live_from), np.iinfo(np.int64).max])
        for first, end in pairwise(self._pieces(records, start, old)):
            self._resume_with(int(records.offset[first]))
            self._take(records.take(slice(first, end)), decode)
            failpoints.at("mid_replay")
        if old < stop:
            self.go_live()
        for first in range(old, stop, PIECE):
            yield from self._take(records.take(slice(first, first + PIECE)), decode)

    def _pieces(self, records: Records, start: int, stop: int) -> list[int]:
        """Cut where model or context were changed, too."""
        changes = np.searchsorted(records.offset, [at for at, _ in self.changes]).tolist()
        return sorted({*range(start, stop, PIECE), *(at for at in changes if start < at < stop), stop})

    def _resume_with(self, offset: int) -> None:
        """What was in force there."""
        if (what := in_force(self.changes, offset)) is not None and not self.goes_by(what):
            self.pipeline.adopt(what.model, what.framer)

    def goes_by(self, what: InForce) -> bool:
        return self.pipeline.model is what.model and self.pipeline.context is what.context

    def adopt(self, what: InForce) -> None:
        """From here on, events are judged by this; a takeover replays it so."""
        self.pipeline.adopt(what.model, what.framer)
        self.changes = (*(each for each in self.changes if each[0] < self.position), (self.position, what))
        if len(self.changes) > MOST_CHANGES:  # no snapshot for so long
            self.changes, self.basis = self.changes[1:], ""

    def _take(self, records: Records, decode: Decode) -> list[Taken]:
        if self.skipped and (again := np.isin(records.offset, self.skipped)).any():
            self.position = int(records.offset[-1]) + 1  # if it is the last that was set aside
            records = records.take(np.flatnonzero(~again))
        if not len(records):
            return []
        taken = [self._process(records, decode)] if self.position >= self.careful_until else self._halved(records, decode)
        for batch, outcome in taken:
            for daily in outcome.daily:
                self.backlog.ended(daily)
            self._count(batch, outcome)
        self.position = max(self.position, int(records.offset[-1]) + 1)
        return taken

    def _process(self, records: Records, decode: Decode) -> Taken:
        self.watch.start()
        batch = decode(records)
        self.watch("decode")
        return batch, self.pipeline.process(batch, self.watch)

    def _halved(self, records: Records, decode: Decode) -> list[Taken]:
        """One of these records, or more, made processing fail: those that do so alone are set aside."""
        before, failure = self.pipeline.snapshot(), None
        for _ in range(TRIES if len(records) == 1 else 1):
            try:
                return [self._process(records, decode)]
            except (MemoryError, OSError):
                raise  # of this machine, not of the record
            except Exception as error:
                self.pipeline.restore(before)
                failure = error
        del before
        if len(records) > 1:
            half = len(records) // 2
            return [*self._halved(records.take(slice(half)), decode), *self._halved(records.take(slice(half, None)), decode)]
        assert failure is not None
        return [self._set_aside(records, failure)]

    def _set_aside(self, records: Records, failure: Exception) -> Taken:
        offset = int(records.offset[0])
        if offset < self.live_from and not self.rebuilt:
            raise StateError(
                f"partition {self.partition}: the record at offset {offset} was processed before, and fails now that state is restored: "
                f"{type(failure).__name__}"
            ) from failure
        where = traceback.extract_tb(failure.__traceback__)[-1]
        stack = "".join(traceback.format_tb(failure.__traceback__))  # without the exception's text, which may tell of the event
        place = {"partition": self.partition, "offset": offset, "exception": type(failure).__name__, "stack": stack}
        log.error("a record could not be processed and is set aside", extra=place)
        letter = DeadLetter(
            records.topic, records.partition, offset, int(records.timestamp[0]), "processing-error", "",
            f"{type(failure).__name__} in {where.name}, {Path(where.filename).name}:{where.lineno}; tried {TRIES} times",
            *(records.part(part, 0) for part in (records.key, records.value, records.headers)),
        )  # fmt: skip
        if offset >= self.live_from:
            self.skipped = (*self.skipped, offset)
        if len(self.skipped) >= MOST_SKIPPED:
            self._halt(f"{MOST_SKIPPED} records could not be processed since the last snapshot")
        none = np.zeros(0, np.int64)
        return EventBatch(records.topic, records.partition, none, none, none, ()), Outcome(dead=[letter])

    def _count(self, batch: EventBatch, outcome: Outcome) -> None:
        if self.restoring:
            return
        last = int(batch.offset[-1]) if len(batch) else -1
        self.refusals.count(len(batch), len(outcome.dead), sum(letter.offset > last for letter in outcome.dead))
        if not self.halted and (why := self.refusals.too_many()):
            self._halt(why)

    def _halt(self, why: str) -> None:
        log.error("partition halted", extra={"partition": self.partition, "detail": why, "audit": True})
        self.halted = why

    def go_live(self) -> None:
        """The state is that of the committed offset. The chain goes on where it was left, even if the log was cut short since."""
        self.position = max(self.position, self.live_from)
        self._resume_with(self.position)
        if self.mark is None:
            return
        chain = self.pipeline.seq, self.pipeline.head
        if self.exact and chain != (self.mark.seq, self.mark.head):
            raise StateError(
                f"partition {self.partition}: restored to offset {self.live_from}, its state raised {chain[0]} alerts, the last of hash "
                f"{chain[1][:12]}; committed are {self.mark.seq} and {self.mark.head[:12]}: one of them is damaged{REBUILD}"
            )
        self.pipeline.seq, self.pipeline.head = self.mark.seq, self.mark.head
        self.mark = None

    def to_commit(self, sent: Place) -> tuple[int, Mark]:
        """The offset up to which outputs are delivered, and what to say with it: daily records are sent up to there."""
        seq, head = (self.mark.seq, self.mark.head) if self.mark is not None else (self.pipeline.seq, self.pipeline.head)
        mark = Mark(
            self.pipeline.policy.starts, seq, head, *sent, beats=self.beats, state=self.state_at, snapshot=self.saved.manifest,
            generation=self.saved.generation, basis=self.basis, changes=tuple((at, what.versions) for at, what in self.changes),
            log=self.log, skipped=self.skipped,
        )  # fmt: skip
        return max(self.position, self.live_from), mark

    def delivered(self, offset: int, mark: Mark, state_at: int | None) -> None:
        """It is certain. `state_at`: an offset behind the position record, if one was written. So no two marks are the same, and what is
        committed tells which transaction was the last, even where it moved nothing.
        """
        self.committed = offset, encode_mark(mark)
        self.backlog.reached(Place(mark.day, mark.blocks))
        self.told = mark.snapshot
        self._tell(mark.changes)
        if state_at is not None:
            self.state_at = state_at

    def _tell(self, changes: tuple[tuple[int, tuple[str, str]], ...]) -> None:
        """A change is told when it is certain, so that `replay --changes` can play it. Those of before this takeover were told then."""
        if changes == self.told_changes:
            return
        told = self.told_changes
        for offset, (model, context) in (each for each in changes if each[0] >= self.live_from):
            before = in_force(told, offset) or ("", "")
            where = {"view": self.pipeline.view.name, "partition": self.partition, "offset": offset}
            if model != before[0]:
                log.info(MODEL_CHANGED, extra={**where, "model": model, "audit": True})
            if context != before[1]:
                log.info(CONTEXT_CHANGED, extra={**where, "context": context, "audit": True})
            told = (*told, (offset, (model, context)))
        self.told_changes = changes

    def snapshot_complete(self, saved: Saved, basis: str) -> None:
        """From the next commit on, a takeover begins there."""
        self.saved, self.basis = saved, basis
        self.skipped = tuple(offset for offset in self.skipped if offset >= saved.offset)
        before = [each for each in self.changes if each[0] <= saved.offset]
        self.changes = (*before[-1:], *(each for each in self.changes if each[0] > saved.offset))


def in_force(changes: Sequence[tuple[int, T]], offset: int) -> T | None:
    """What was in force at an offset; None where nothing is known of it."""
    return next((what for at, what in reversed(changes) if at <= offset), None)
