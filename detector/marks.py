"""Marks: what stands beside a committed offset, so that whoever takes over knows what the input alone cannot tell.

A mark is written twice in one transaction: as metadata of the group's offset, and in the position record `P` of the state topic. The two
have to agree. Where the group's offset is lost, or was moved by somebody else, `P` tells how far outputs were delivered.
"""

from __future__ import annotations

import msgspec

from detector.errors import StateError

POSITION = b"P"
"""Key of the position record in the task's partition of the state topic."""


class Mark(msgspec.Struct, frozen=True):
    """What is committed besides the offset."""

    alerts_start: int
    seq: int
    head: str
    day: int = -1
    """Records of the days before it were sent, ..."""
    blocks: int = 0
    """... and that many blocks of its own."""
    beats: int = 0
    """Heartbeats so far."""
    state: int = -1
    """The position record written with this mark lies in the state topic at this offset or behind it; -1: none was written."""
    snapshot: int = -1
    """Where the newest snapshot's manifest lies in the state topic; -1: there is none."""
    generation: int = 0
    """Of that snapshot."""
    basis: str = ""
    """The settings that all events since the snapshot were processed with, as a hash; empty: not one and the same, or not all is known."""
    changes: tuple[tuple[int, tuple[str, str]], ...] = ()
    """Versions of model and context that events since the snapshot were processed with, each with the offset from which on."""
    log: str = ""
    """Id of the topic of events: one that was deleted and made anew has another."""
    skipped: tuple[int, ...] = ()
    """Offsets since the snapshot of records that were set aside because their processing failed."""


class Position(msgspec.Struct, frozen=True):
    """The position record."""

    offset: int
    """Up to here, outputs are delivered."""
    mark: Mark
    writer: str
    """Transactional id of the process."""
    model: str
    context: str


def encode_mark(mark: Mark) -> str:
    return msgspec.json.encode(mark).decode()


def read_mark(metadata: str) -> Mark | None:
    """None where somebody else committed the offset."""
    try:
        return msgspec.json.decode(metadata, type=Mark)
    except (msgspec.DecodeError, msgspec.ValidationError):
        return None


def encode_position(position: Position) -> bytes:
    return msgspec.json.encode(position)


def read_position(value: bytes | None, partition: int) -> Position:
    """Raises StateError where it is none."""
    try:
        return msgspec.json.decode(value or b"", type=Position)
    except (msgspec.DecodeError, msgspec.ValidationError, UnicodeDecodeError) as error:
        raise StateError(f"partition {partition}: the position record in the state topic cannot be read ({error}){REBUILD}") from error


REBUILD = "\n`detector serve --rebuild` believes the committed offset and builds the state anew from the events that are retained"
