"""How a dead letter travels: one Kafka record that holds all there is to know of the refused one, its bytes included."""

from __future__ import annotations

import base64
import json

from detector.core.events import DeadLetter

REASONS = (
    "malformed-record", "null-value", "empty-value", "too-large", "not-utf8", "too-deep", "not-json", "not-an-object", "duplicate-member",
    "missing-member", "unexpected-member", "wrong-type", "out-of-range", "unknown-value", "bad-time", "no-key", "key-mismatch",
    "too-far-in-future",
)  # fmt: skip
"""Every reason for which a record is refused."""

MOST = 2 << 20
"""Bytes of the original that a dead letter holds at most. A compressed record can grow a thousandfold; what no broker takes would be sent
again and again, and nothing behind it ever processed."""

_BYTES = ("key", "headers", "value")


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
