"""Takeover: how a task comes to the state that its committed offset stands for.

State is a function of the log's prefix, so a task is restored by processing its input again with the outputs suppressed, up to the
committed offset; from there on it is live. A task that this process held before goes on from where its state is, if that is not beyond
what is committed. Restoring is reading: it goes through the same loop, batch by batch, and other partitions flow meanwhile.

The committed offset's metadata carries what the input alone cannot tell: from when on alerts are raised, the head of the alert chain, and
how far daily records were sent. Replaying makes the records of days that are over again, and those that were not sent yet go out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import msgspec
import numpy as np

from detector.core.daily_blocks import Backlog, Origin, Place
from detector.core.events import EventBatch, Records
from detector.core.pipeline import Outcome, Pipeline
from detector.errors import StateError

PIECE = 2000


class Mark(msgspec.Struct, frozen=True):
    """What a committed offset says besides the offset."""

    alerts_start: int
    seq: int
    head: str
    day: int = -1
    """Records of the days before it were sent, ..."""
    blocks: int = 0
    """... and that many blocks of its own."""


def read_mark(metadata: str, partition: int) -> Mark:
    """Raises StateError where somebody else committed this offset."""
    try:
        return msgspec.json.decode(metadata, type=Mark)
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise StateError(
            f"partition {partition}: the group's committed offset was not written by this service, so which alerts were sent is unknown\n"
            "delete the group's offsets to build state anew from the whole topic, and set alerts.start to when alerts shall begin"
        ) from error


@dataclass(slots=True)
class Task:
    """One view on one input partition: unit of state, order, ownership and failure."""

    partition: int
    pipeline: Pipeline
    backlog: Backlog
    """Daily records that are not sent yet."""
    position: int
    """The next offset that the state has not seen."""
    live_from: int
    """The committed offset: before it, outputs have been delivered already."""
    mark: Mark | None = None
    """To be restored when the state arrives at `live_from`."""
    committed: tuple[int, str] | None = None
    """What is committed, with its metadata; None: nothing ever was, so that a restart would not know when the partition was first taken."""

    @property
    def restoring(self) -> bool:
        return self.position < self.live_from

    def process(self, records: Records, decode: Callable[[Records], EventBatch]) -> Iterator[tuple[EventBatch, Outcome]]:
        """Takes the records in, piece by piece; yields the events and what is to be delivered of them, nothing of what was delivered
        before. A piece is small enough for its events to stay in the processor's cache; where pieces are cut changes nothing.
        """
        start, old, stop = np.searchsorted(records.offset, [self.position, max(self.position, self.live_from), np.iinfo(np.int64).max])
        for first in range(start, old, PIECE):
            self._take(records.take(slice(first, min(first + PIECE, old))), decode)
        if old < stop:
            self.go_live()
        for first in range(old, stop, PIECE):
            yield self._take(records.take(slice(first, first + PIECE)), decode)

    def _take(self, records: Records, decode: Callable[[Records], EventBatch]) -> tuple[EventBatch, Outcome]:
        batch = decode(records)
        outcome = self.pipeline.process(batch)
        for daily in outcome.daily:
            self.backlog.ended(daily)
        self.position = int(records.offset[-1]) + 1
        return batch, outcome

    def go_live(self) -> None:
        """The state is that of the committed offset; the chain goes on where it was left, even if the log was cut short since."""
        self.position = max(self.position, self.live_from)
        if self.mark is not None:
            self.pipeline.seq, self.pipeline.head = self.mark.seq, self.mark.head
            self.mark = None

    def to_commit(self, sent: Place) -> tuple[int, str]:
        """The offset up to which outputs are delivered, and what to say with it: daily records are sent up to there."""
        seq, head = (self.mark.seq, self.mark.head) if self.mark is not None else (self.pipeline.seq, self.pipeline.head)
        mark = Mark(self.pipeline.policy.starts, seq, head, *sent)
        return max(self.position, self.live_from), msgspec.json.encode(mark).decode()

    def delivered(self, committed: tuple[int, str], sent: Place) -> None:
        """It is certain."""
        self.committed = committed
        self.backlog.reached(sent)


def take_over(
    topic: str, partition: int, committed: tuple[int, str] | None, first: int, kept: Task | None, pipeline: Callable[[int], Pipeline],
    starts: int,
) -> Task:  # fmt: skip
    """A task for a partition that was assigned. `first`: the oldest offset there is; `starts`: when alerts begin if nothing was committed
    yet; `pipeline` makes one from that time on. Read on from its `position`.
    """
    if committed is None:
        made = pipeline(starts)
        return Task(partition, made, Backlog(Origin(made.view.name, topic, partition)), first, first)
    offset, mark = committed[0], read_mark(committed[1], partition)
    sent, live = Place(mark.day, mark.blocks), max(offset, first)
    if kept is None or kept.position > offset or kept.pipeline.policy.starts != mark.alerts_start or kept.backlog.sent > sent:
        made = pipeline(mark.alerts_start)
        return Task(partition, made, Backlog(Origin(made.view.name, topic, partition), sent), first, live, mark, committed)
    kept.backlog.reached(sent)
    return Task(partition, kept.pipeline, kept.backlog, max(kept.position, first), live, mark, committed)
