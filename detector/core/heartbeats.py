"""Heartbeats: records among the alerts that say that a task lives, and where its chain of alerts stands.

Who reads alerts skips them by their kind. Who verifies them needs them: the chain itself does not tell that its last alerts are missing,
and a task that has nothing to say looks like one that says nothing. They have a counter of their own and leave the chain as it is.
"""

from __future__ import annotations

import hashlib
from typing import Protocol

import msgspec

from detector.core.alerts import ModelRef
from detector.core.daily_blocks import Origin

KIND = "heartbeat"


class Versioned(Protocol):
    """A model, or a reference to one."""

    @property
    def version(self) -> str: ...
    @property
    def sha256(self) -> str: ...


class Heartbeat(msgspec.Struct, frozen=True, kw_only=True):
    kind: str = KIND
    view: str
    topic: str
    """Of the events that the task reads, and `partition` of it."""
    partition: int
    beat: int
    """Counts the heartbeats of the task, from 0."""
    seq: int
    """Alerts in the chain so far, which is the number of the next one."""
    head: str
    """Hash of the last of them; GENESIS where there is none."""
    offset: int
    """The next event that the task reads."""
    time: int
    """Ms, by the clock of the machine that wrote it."""
    model: ModelRef
    context: str
    digest: str = ""
    """SHA-256 of the other members, as JSON with sorted members: no alert names the hash of a heartbeat."""


_DECODER = msgspec.json.Decoder(Heartbeat)


def encode(origin: Origin, beat: int, seq: int, head: str, offset: int, time_ms: int, model: Versioned, context: str) -> bytes:
    """As one line of JSON, without the line's end."""
    beating = Heartbeat(
        view=origin.view, topic=origin.topic, partition=origin.partition, beat=beat, seq=seq, head=head, offset=offset, time=time_ms,
        model=ModelRef(origin.view, model.version, model.sha256), context=context,
    )  # fmt: skip
    plain = msgspec.json.encode(beating)
    return msgspec.json.encode(msgspec.structs.replace(beating, digest=digest(plain)))


def key(origin: Origin) -> bytes:
    """`topic-partition`: all heartbeats of a task are in one partition of the alerts, in their order."""
    return f"{origin.topic}-{origin.partition}".encode()


def parse(value: bytes) -> Heartbeat:
    """Raises ValueError where it is none, or where it is not as it was written."""
    found = read(value)
    if found.digest != digest(value):
        raise ValueError("does not have the digest that it states")
    return found


def read(value: bytes) -> Heartbeat:
    """The same, its digest not compared."""
    try:
        found = _DECODER.decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"not a heartbeat: {error}") from error
    if found.kind != KIND or min(found.partition, found.beat, found.seq, found.offset) < 0:
        raise ValueError("not a heartbeat as the detector writes it")
    return found


def digest(value: bytes) -> str:
    """Of an encoded heartbeat, however its members were ordered or spaced."""
    members = msgspec.json.decode(value)
    members.pop("digest", None)
    return hashlib.sha256(msgspec.json.encode(members, order="sorted")).hexdigest()
