"""Verification of a log of alerts: that none is missing, altered, repeated or made up, and that none stands where it was not written.

The records are read once, in the order of the log, whatever tasks they come from. Alerts of a task lie in several partitions of the topic,
so their numbers need not come in order; but each partition keeps the order in which they were written. Memory is bounded by WINDOW records
a task. What this can tell without something kept elsewhere ends with the last heartbeat: who can rewrite the whole log can rewrite it well.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import msgspec

from detector.core import heartbeats
from detector.core.alerts import alert_id, chain_hash
from detector.core.chain.links import Links
from detector.core.chain.numbers import WINDOW, Entry, Fault, Place
from detector.core.chain.task import TaskLog
from detector.core.daily_blocks import Origin

KINDS = ("missing", "altered", "reordered", "repeated", "truncated", "forged")


class Head(msgspec.Struct, frozen=True):
    """That a task's chain had so many alerts, and such a head, when somebody wrote it down."""

    view: str
    topic: str
    partition: int
    seq: int
    head: str

    @property
    def origin(self) -> Origin:
        return Origin(self.view, self.topic, self.partition)


class Found(NamedTuple):
    """A fault, and in whose chain; None where the record does not say."""

    origin: Origin | None
    fault: Fault


class _Model(msgspec.Struct):
    view: str


class _Evidence(msgspec.Struct):
    topic: str
    partition: int
    offset: int


class _Alert(msgspec.Struct):
    """What is asked of an alert here; the hash covers all of it."""

    alert_id: str
    kind: str
    model: _Model
    evidence: tuple[_Evidence, ...]
    seq: int | None
    prev_hash: str | None


_ALERTS, _KINDS, _HEADS = msgspec.json.Decoder(_Alert), msgspec.json.Decoder(dict[str, object]), msgspec.json.Decoder(Head)


@dataclass(slots=True)
class Verification:
    """`add` each record of the log, then `finish`; both yield what is wrong as soon as it is certain."""

    mixed: bool = False
    """A log holds several partitions of the topic: who is before whom is certain for alerts of one employee only."""
    complete: bool = False
    """Nothing was deleted: chains begin with their first alert, heartbeats with the first one."""
    tasks: dict[Origin, TaskLog] = field(default_factory=dict)
    records: int = 0
    unknown: int = 0
    """Records that are of no task, as far as they can be read."""
    whole_from: int = 0
    """Ms, by the broker's time: what is lacking before may have been deleted by retention, in some partitions sooner than in others."""

    def expect(self, head: Head, place: Place) -> None:
        """What somebody wrote down earlier. To be said before anything is added."""
        self._task(head.origin).expect(head.seq, head.head, place)

    def cut(self, time: int) -> None:
        """A partition of the alerts begins with a record of this time, ms, and others were deleted before it."""
        self.whole_from = max(self.whole_from, time)
        for task in self.tasks.values():
            task.links.whole_from = self.whole_from

    def add(self, place: Place, value: bytes | None) -> Iterator[Found]:
        self.records += 1
        try:
            members = _members(value or b"")
            if members.get("kind") == heartbeats.KIND:
                yield from self._add_heartbeat(place, value or b"")
            else:
                yield from self._add_alert(place, value or b"", members.get("actor"))
        except (ValueError, msgspec.MsgspecError) as error:
            self.unknown += 1
            yield Found(None, Fault("altered", "record", place, f"is no alert or heartbeat: {error}"))

    def finish(self) -> Iterator[Found]:
        """The log is at its end."""
        for origin, task in sorted(self.tasks.items()):
            yield from (Found(origin, fault) for fault in task.counted(task.finish()))

    def _add_alert(self, place: Place, value: bytes, actor: object) -> Iterator[Found]:
        alert = _ALERTS.decode(value)
        if not alert.evidence:
            raise ValueError("has no evidence")
        event = max(alert.evidence, key=lambda each: each.offset)
        origin = Origin(alert.model.view, event.topic, event.partition)
        if alert.seq is None or alert.prev_hash is None:
            self.unknown += 1
            yield Found(
                origin, Fault("forged", "record", place, "stands in no chain, as a near miss does; those have a topic of their own")
            )
            return
        if alert.seq < 0:
            raise ValueError("its seq is negative")
        task, entry = self._task(origin), Entry("alert", alert.seq, place, chain_hash(value), alert.prev_hash)
        if alert.alert_id != alert_id(*origin, event.offset):
            yield from self._of(origin, [entry.blame("its alert_id is not that of its event")])
        yield from self._of(origin, task.add_alert(entry, f"{place.log}\0{actor}" if self.mixed else place.log))

    def _add_heartbeat(self, place: Place, value: bytes) -> Iterator[Found]:
        said = heartbeats.read(value)
        origin = Origin(said.view, said.topic, said.partition)
        beat = Entry("heartbeat", said.beat, place, chain_hash(value), bad=said.digest != heartbeats.digest(value))
        yield from self._of(origin, self._task(origin).add_heartbeat(said, beat, f"{place.log}\0\0" if self.mixed else place.log))

    def _task(self, origin: Origin) -> TaskLog:
        if origin not in self.tasks:
            self.tasks[origin] = TaskLog(Links(self.complete, self.whole_from))
        return self.tasks[origin]

    def _of(self, origin: Origin, faults: Iterable[Fault]) -> Iterator[Found]:
        return (Found(origin, fault) for fault in self.tasks[origin].counted(faults))


def read_head(line: bytes) -> Head | None:
    """A line of what was written down; None where it is of no task. Raises ValueError."""
    try:
        if not isinstance(_KINDS.decode(line).get("seq"), int):
            return None
        head = _HEADS.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ValueError(str(error)) from error
    if head.seq < 0:
        raise ValueError("seq is negative")
    return head


def _members(value: bytes) -> dict[str, object]:
    """A JSON object's members. Of a name that stands there twice a hash covers one, and another reader may take the other."""
    try:
        found = json.loads(value.decode(), object_pairs_hook=_once)
    except RecursionError as error:
        raise ValueError("nested too deep") from error
    if not isinstance(found, dict):
        raise ValueError("not a JSON object")
    return found


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    members = dict(pairs)
    if len(members) < len(pairs):
        raise ValueError("a member stands there twice")
    return members


__all__ = ["KINDS", "WINDOW", "Fault", "Found", "Head", "Place", "Verification", "read_head"]
