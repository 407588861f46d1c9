"""How a dead letter travels: one Kafka record that holds all there is to know of the refused one, its bytes included."""

from __future__ import annotations

import base64
import json
import re

from detector.core.events import DeadLetter

REASONS = (
    "malformed-record", "null-value", "empty-value", "too-large", "not-utf8", "too-deep", "not-json", "not-an-object", "duplicate-member",
    "missing-member", "unexpected-member", "wrong-type", "out-of-range", "unknown-value", "bad-time", "no-key", "key-mismatch",
    "too-far-in-future", "processing-error",
)  # fmt: skip
"""Every reason for which a record is refused; the last is no fault of the record, but a bug of the detector."""

MOST = 2 << 20
"""Bytes of the original that a dead letter holds at most. A compressed record can grow a thousandfold; what no broker takes would be sent
again and again, and nothing behind it ever processed."""

_BYTES = ("key", "headers", "value")
_CUT = re.compile(r"; of key, headers and value, \d+ bytes, the first \d+ are here$")


def dead_letter_record(letter: DeadLetter) -> tuple[bytes, bytes]:
    """Key `topic-partition` and value, a JSON object in ASCII; the original's bytes are base64 in it, and null where they were null.

    Behind the first MOST bytes of key, headers and value, in this order, they are cut off, and the message says so.
    """
    plain = {name: getattr(letter, name) for name in ("reason", "pointer", "message", "topic", "partition", "offset", "timestamp")}
    coded, left, size = {}, MOST, 0
    for name in _BYTES:
        part = getattr(letter, name)
        coded[name] = None if part is None else base64.b64encode(part[:left]).decode()
        left, size = left - len((part or b"")[:left]), size + len(part or b"")
    if size > MOST:
        plain["message"] += f"; of key, headers and value, {size} bytes, the first {MOST} are here"
    return f"{letter.topic}-{letter.partition}".encode(), json.dumps(plain | coded, separators=(",", ":")).encode()


def parse(value: bytes) -> DeadLetter:
    """The dead letter in such a value. Raises ValueError where it is none."""
    try:
        members = json.loads(value)
        coded = {name: None if members[name] is None else base64.b64decode(members[name], validate=True) for name in _BYTES}
        return DeadLetter(**{**members, **coded})
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise ValueError("not a dead letter as the detector writes it") from error


def is_cut(letter: DeadLetter) -> bool:
    """Whether some of the original's bytes are not in it."""
    return _CUT.search(letter.message) is not None and sum(len(getattr(letter, name) or b"") for name in _BYTES) == MOST


def headers_of(letter: DeadLetter) -> list[tuple[str, bytes | None]]:
    """The record's headers, name and value each. Raises ValueError where they are damaged, or a name is not UTF-8."""
    raw = letter.headers
    if raw is None:
        return []
    count, at = _varint(raw, 0)
    found: list[tuple[str, bytes | None]] = []
    for _ in range(count):
        name, at = _piece(raw, at)
        value, at = _piece(raw, at)
        if name is None:
            raise ValueError("a header has no name")
        found.append((name.decode(), value))
    if at != len(raw) or count < 0:
        raise ValueError("the headers are damaged")
    return found


def _piece(raw: bytes, at: int) -> tuple[bytes | None, int]:
    """Bytes behind their length; None where that is -1. And where they end."""
    length, at = _varint(raw, at)
    if length < -1 or at + length > len(raw):
        raise ValueError("the headers are damaged")
    return (None, at) if length < 0 else (raw[at : at + length], at + length)


def _varint(raw: bytes, at: int) -> tuple[int, int]:
    """A zigzag varint as Kafka writes them, and where it ends."""
    value = shift = 0
    while at < len(raw) and shift < 35:
        value |= (raw[at] & 127) << shift
        at, shift = at + 1, shift + 7
        if raw[at - 1] < 128:
            return (value >> 1) ^ -(value & 1), at
    raise ValueError("the headers are damaged")
