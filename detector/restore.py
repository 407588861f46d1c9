"""Takeover: how a task comes to the state that its committed offset stands for.

State is a function of the log's prefix. So a task is restored from the newest snapshot in the state topic, and from there by processing its
input again with the outputs suppressed, up to the committed offset; where there is no snapshot, from the oldest event that is retained. A
task that this process held before goes on from where its state is, if that is not beyond what is committed.

Everything is read step by step, while other partitions flow. What does not agree refuses the partition: a StateError that says why.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator
from dataclasses import dataclass, replace
from typing import Protocol, TypeAlias, TypeVar

from detector import failpoints
from detector.core.daily_blocks import Backlog, Origin, Place
from detector.core.events import Records
from detector.core.pipeline import InForce, Pipeline
from detector.core.snapshots import Assembly, parse_key
from detector.errors import StateError
from detector.marks import POSITION, REBUILD, Mark, Position, read_mark, read_position
from detector.refusals import Refusals
from detector.tasks import Saved, Task, in_force

log = logging.getLogger("detector.restore")

T = TypeVar("T")
Span: TypeAlias = tuple[int, int]
"""Offsets of the state topic: from, and up to."""
Reading: TypeAlias = Generator[Span, "Records | None", T]
"""Asks for a span, is sent what there is in it run by run, then None."""


class Served(Protocol):
    @property
    def now(self) -> InForce:
        """What is served."""

    def find(self, versions: tuple[str, str]) -> tuple[InForce, bool]:
        """What was served before, by the versions of model and context; and whether both are to be had. What is not is that of now."""

    def look(self) -> None:
        """Now may change."""


@dataclass(frozen=True)
class Making:
    """How tasks are made."""

    topic: str
    """Of the events."""
    pipeline: Callable[[int, InForce], Pipeline]
    """From the time on at which alerts begin."""
    served: Served
    refusals: Callable[[], Refusals]
    basis: str
    """Hash of the settings."""
    rebuild: bool = False
    """The state topic is not believed."""
    positions: bool = True
    """Whether position records are written in one transaction with the outputs."""

    def task(self, partition: int, starts: int, position: int, live_from: int, what: InForce) -> Task:
        made = self.pipeline(starts, what)
        backlog = Backlog(Origin(made.view.name, self.topic, partition))
        source = "input" if live_from > position else "nothing"
        changes = ((position, what),)
        return Task(partition, made, backlog, position, live_from, self.refusals(), basis=self.basis, changes=changes, source=source)

    def changes(self, mark: Mark, first: int, live: int) -> tuple[tuple[tuple[int, InForce], ...], bool]:
        """The models and contexts that a mark names, each with the offset from which on; and whether all are there. What is served stands
        for what is missing, and goes on so from where outputs are told again.
        """
        found = [(at, *self.served.find(versions)) for at, versions in mark.changes]
        changes = tuple((at, what) for at, what, _ in found) or ((first, self.served.now),)
        last = changes[-1][1]
        if not found or last.versions != mark.changes[-1][1]:
            changes = (*changes, (live, last))
        return changes, bool(found) and all(there for _, _, there in found)


@dataclass(frozen=True)
class Found:
    """What is known of a partition when it is assigned."""

    partition: int
    committed: tuple[int, str] | None
    first: int
    """The oldest event there is."""
    end: int
    """Behind the newest one."""
    state: Span
    """What there is in the state topic."""
    log: str
    """Id of the topic of events."""
    starts: int
    """Ms; when alerts begin, if nothing was ever committed."""


def take_over(found: Found, kept: Task | None, making: Making) -> Reading[Task]:
    """Read on from the task's `position`. Raises StateError where the partition must not be processed."""
    begin, end = found.state
    mark = read_mark(found.committed[1]) if found.committed else None
    look = max(begin, mark.state) if mark is not None else begin
    believed = mark is not None and (making.rebuild or mark.state < 0)
    said = None if believed else (yield from _position(found.partition, look, end))
    settled = _settled(found, mark, said, believed)
    if settled is None:
        task = making.task(found.partition, found.starts, found.first, found.first, making.served.now)
        task.state_at, task.log = end if making.positions else -1, found.log
        return task
    offset, mark, metadata = settled
    _same_log(found, offset, mark)
    live, sent = max(offset, found.first), Place(mark.day, mark.blocks)
    changes, all_there = making.changes(mark, found.first, live)
    if kept is not None and kept.backlog.sent <= sent and _goes_on(kept, offset, mark):
        exact = kept.position >= found.first and (kept.exact or not kept.restoring)
        task = replace(kept, position=max(kept.position, found.first), live_from=live, exact=exact, source="memory")
    else:
        task = yield from _restored(found, mark, live, making, changes[0][1])
    task.backlog.reached(sent)
    task.changes, task.told_changes = changes, mark.changes
    task.mark, task.committed, task.beats, task.skipped = mark, (offset, metadata), mark.beats, mark.skipped
    seen = task.saved.offset if task.saved.manifest == mark.snapshot else -1  # of one that is not committed, nothing is known
    task.state_at, task.log = end if making.positions else -1, found.log
    made = task.saved.time if task.saved.manifest == mark.snapshot else 0.0
    task.saved, task.told = Saved(-1 if task.rebuilt else mark.snapshot, mark.generation, seen, made), mark.snapshot
    task.exact = task.exact and all_there and mark.basis == making.basis and offset == live
    task.basis = making.basis if mark.basis == making.basis and all_there else ""
    return task


def _goes_on(kept: Task, offset: int, mark: Mark) -> bool:
    """Whether its state is one that what is committed comes from."""
    same = in_force(mark.changes, kept.position) == (kept.pipeline.model.version, kept.pipeline.context.version)
    return same and kept.position <= offset and kept.pipeline.policy.starts == mark.alerts_start


def _same_log(found: Found, offset: int, mark: Mark) -> None:
    """Raises StateError where the topic of events is not the one that was read."""
    if (mark.log and found.log and mark.log != found.log) or offset > found.end:
        raise StateError(
            f"partition {found.partition}: processed up to offset {offset}, the topic of events ends at {found.end}: it was made anew"
            "\nif that was meant, stop all processes, delete the group's offsets, and make the state topic anew"
        )


def _settled(found: Found, mark: Mark | None, said: Position | None, believed: bool) -> tuple[int, Mark, str] | None:
    """How far outputs were delivered: (offset, mark, metadata). None: nothing ever was."""
    p, committed = found.partition, found.committed
    if committed is not None and mark is not None:
        if believed or (said is not None and (said.offset, said.mark) == (committed[0], mark)):
            return committed[0], mark, committed[1]
        there = "has no position record" if said is None else f"says {said.offset} (alert {said.mark.seq})"
        raise StateError(f"partition {p}: committed is offset {committed[0]} (alert {mark.seq}), but the state topic {there}{REBUILD}")
    if said is not None:
        what = "nothing is committed" if committed is None else f"offset {committed[0]}, which is committed, is not by this service"
        where = {"partition": p, "offset": said.offset, "detail": what}
        log.error("going on from where outputs were delivered, not from the group's offset", extra={**where, "audit": True})
        return said.offset, said.mark, "" if committed is None else committed[1]
    if committed is not None:
        raise StateError(
            f"partition {p}: the group's committed offset was not written by this service, so which alerts were sent is unknown\n"
            "delete the group's offsets to build state anew from the whole topic, and set alerts.start to when alerts shall begin"
        )
    return None


def _restored(found: Found, mark: Mark, live: int, making: Making, what: InForce) -> Reading[Task]:
    """From the newest snapshot; from the oldest event where there is none that fits."""
    task = making.task(found.partition, mark.alerts_start, found.first, live, what)
    if mark.snapshot < 0 or making.rebuild:
        return replace(task, rebuilt=mark.generation > 0)  # there was one: what was set aside before it is not named any more
    assembly, made = yield from _snapshot(task.backlog.origin, mark.snapshot, task.pipeline.tracker.state.room)
    try:
        task.pipeline.restore(assembly.arrays(), own=True)
    except StateError as error:  # another version, or a model with other hypotheses: that was decided by a person
        why = {"partition": found.partition, "error": str(error)}
        log.warning("the snapshot does not fit, state is built from the events retained", extra={**why, "audit": True})
        return replace(making.task(found.partition, mark.alerts_start, found.first, live, what), rebuilt=True)
    if assembly.offset < found.first:
        log.error(
            "records were deleted that the snapshot had not seen",
            extra={"partition": found.partition, "from": assembly.offset, "to": found.first, "audit": True},
        )
    task.position, task.exact = max(assembly.offset, found.first), assembly.offset >= found.first
    task.saved, task.source = Saved(mark.snapshot, mark.generation, assembly.offset, made), "snapshot"
    return task


def _position(partition: int, start: int, stop: int) -> Reading[Position | None]:
    """The last position record in the span."""
    found = None
    while (run := (yield start, stop)) is not None:
        for row in range(len(run)):
            if run.part(run.key, row) == POSITION:
                found = run.part(run.value, row)
    return None if found is None else read_position(found, partition)


def _snapshot(origin: Origin, at: int, room: Callable[[int], int]) -> Reading[tuple[Assembly, float]]:
    """The snapshot whose manifest lies there, and when it was written, in seconds since 1970."""
    p, manifest, made = origin.partition, None, 0.0
    while (run := (yield at, at + 1)) is not None:
        for row in range(len(run)):
            if int(run.offset[row]) == at:
                manifest, made = run.part(run.value, row), float(run.timestamp[row]) / 1000
    if manifest is None:
        raise StateError(f"partition {p}: the state topic has no manifest of a snapshot at offset {at}{REBUILD}")
    assembly, added = Assembly(manifest, origin, room), 0
    while (run := (yield assembly.since, at)) is not None:
        failpoints.at("mid_restore")
        for row in range(len(run)):
            if parse_key(run.part(run.key, row) or b"") == (assembly.generation % 2, added):
                assembly.add(added, run.part(run.value, row) or b"")
                added += 1
    return assembly, made
