"""The fault catalogue's bad records, E1 to E9, and what becomes of each."""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

from harness import PARTITIONS
from oracle import home

TIME = 1_772_442_847_000  # 2026-03-02T09:14:07Z
GOOD: dict[str, Any] = {"time": TIME, "actor": "e1", "action": "read", "resource": "user_profile", "subject": "u1"}
DEEP = 100_000


class NotUtf8(str):
    """A header's key that is no text, which kafka-python will send."""

    def encode(self, *_: Any) -> bytes:
        return b"\xff\xfe"


class Null(bytes):
    """A header's value that is null."""


def event(**members: Any) -> bytes:
    """A good event with some members replaced; ... leaves one out."""
    return json.dumps({name: value for name, value in (GOOD | members).items() if value is not ...}).encode()


def raw(member: bytes) -> bytes:
    """A good event with one more member as it stands."""
    return event()[:-1] + b", " + member + b"}"


def number(name: str, as_written: bytes) -> bytes:
    return event(**{name: ...})[:-1] + f', "{name}": '.encode() + as_written + b"}"


class Case(NamedTuple):
    """A record and what becomes of it."""

    name: str
    value: bytes | None
    reason: str | None = None
    """None: it is accepted."""
    pointer: str = ""
    key: bytes | None = b"e1"
    headers: tuple[tuple[str, bytes], ...] = ()
    partition: int = home("e1")
    codec: str | None = None


E1 = [
    Case("tombstone", None, "null-value"),
    Case("empty value", b"", "empty-value"),
    Case("null key", event(), "no-key", key=None),
    Case("empty key", event(), "no-key", key=b""),
    Case("nothing at all", b"", "empty-value", key=None),
]
E2 = [
    Case("no JSON", b"hello", "not-json"),
    Case("truncated", event()[:-1], "not-json"),
    Case("two documents", event() + event(), "not-json"),
    Case("array", b"[" + event() + b"]", "not-an-object"),
    Case("string", b'"text"', "not-an-object"),
    Case("number", b"17", "not-an-object"),
    Case("null", b"null", "not-an-object"),
    Case("byte order mark", b"\xef\xbb\xbf" + event(), "not-json"),
    Case("UTF-16", event().decode().encode("utf-16"), "not-utf8"),
    Case("invalid UTF-8", raw(b'"x": "\xc3("'), "not-utf8"),
    Case("gzip", gzip.compress(event(), mtime=0), "not-utf8"),
]
E3 = [
    Case("depth 100,000", b"[" * DEEP, "too-large"),
    Case("depth 30,000", b'{"x": ' + b"[" * 30_000 + b"]" * 30_000 + b"}", "too-deep"),
    Case("1 MB string", raw(b'"x": "' + b"a" * 1_000_000 + b'"'), "too-large"),
    Case("all that the broker takes", raw(b'"x": "' + b"a" * 1_048_300 + b'"'), "too-large"),
    Case("20 MB that shrink to nothing", b" " * 20_000_000, "too-large", codec="gzip"),
    Case("10,000 unknown members", event(**{f"{i}": 0 for i in range(5_000)}), None),
    Case("65,536 bytes", raw(b'"x": "' + b"a" * (65_536 - len(raw(b'"x": ""'))) + b'"')),
    Case("65,537 bytes", raw(b'"x": "' + b"a" * (65_537 - len(raw(b'"x": ""'))) + b'"'), "too-large"),
    Case("duplicate member", raw(b'"actor": "e1"'), "duplicate-member", "/actor"),
]
E4 = [
    Case("NaN", number("records", b"NaN"), "not-json"),
    Case("Infinity", number("records", b"Infinity"), "not-json"),
    Case("1e400", raw(b'"src_lat": 1e400, "src_lon": 0'), "out-of-range", "/src_lat"),
    Case("minus zero", number("records", b"-0")),
    Case("2^63", number("bytes", b"9223372036854775808"), "out-of-range", "/bytes"),
    Case("2^1024", number("bytes", b"1" + b"0" * 309), "out-of-range", "/bytes"),
    Case("negative", number("records", b"-1"), "out-of-range", "/records"),
    Case("bool as int", number("records", b"true"), "wrong-type", "/records"),
    Case("string as int", number("records", b'"7"'), "wrong-type", "/records"),
    Case("float as int", number("records", b"1.0"), "wrong-type", "/records"),
]
STRANGE = {
    "white space": " e1", "case": "E1", "composed": "\u00e9", "decomposed": "e\u0301", "homoglyph": "\u0435l", "CR LF": "e1\r\nX: y",
    "NUL": "e\x001", "ESC": "\x1b[31me1", "right to left": "\u202ee1", "path": "../../etc/passwd", "Prometheus": 'e1{le="1"} 1',
    "JSON": '{"a":"b"}', "backslash": "CORP\\eve", "128 code points": "\U0001f600" * 128,
}  # fmt: skip
E5 = [
    Case("missing", event(actor=...), "missing-member", "/actor"),
    Case("null", event(actor=None), "wrong-type", "/actor"),
    Case("number", event(actor=17), "wrong-type", "/actor"),
    Case("empty", event(actor=""), "out-of-range", "/actor"),
    Case("10 kB", event(actor="e" * 10_240), "out-of-range", "/actor"),
    *(Case(name, event(actor=actor), key=actor.encode(), partition=home(actor)) for name, actor in STRANGE.items()),
    *(Case(f"{name}, keyed as e1", event(actor=actor), "key-mismatch", "/actor") for name, actor in STRANGE.items()),
]
E6 = [
    Case("missing", event(time=...), "missing-member", "/time"),
    Case("0", event(time=0)),
    Case("negative", event(time=-1), "out-of-range", "/time"),
    Case("seconds", event(time=TIME // 1000)),
    Case("microseconds", event(time=TIME * 1000), "out-of-range", "/time"),
    Case("float", event(time=1.5), "wrong-type", "/time"),
    Case("a word", event(time="yesterday"), "bad-time", "/time"),
    Case("no offset", event(time="2026-03-02T09:14:07"), "bad-time", "/time"),
    Case("leap second", event(time="2016-12-31T23:59:60Z")),
    Case("second 61", event(time="2016-12-31T23:59:61Z"), "bad-time", "/time"),
    Case("1926", event(time="1926-03-02T09:14:07Z"), "out-of-range", "/time"),
    Case("1970", event(time="1970-01-01T00:00:00Z")),
    Case("2100", event(time="2100-01-01T00:00:00Z"), "too-far-in-future", "/time"),
    Case("9999", event(time="9999-12-31T23:59:59Z"), "too-far-in-future", "/time"),
]
WRONG = {
    "time": True, "actor": [], "action": 1, "resource": 1, "event_id": 1, "subject": {}, "fields": "ip", "records": None, "bytes": [],
    "outcome": None, "purpose": 1, "actor_team": 1, "actor_role": [], "actor_region": 1, "subject_region": True, "src_ip": 1,
    "src_country": 1,
    "device": {}, "session": 1,
}  # fmt: skip
E7 = [
    *(Case(f"{name} missing", event(**{name: ...}), "missing-member", f"/{name}") for name in ("time", "actor", "action", "resource")),
    *(Case(f"{name} of a wrong type", event(**{name: value}), "wrong-type", f"/{name}") for name, value in WRONG.items()),
    Case("src_lat alone", raw(b'"src_lat": 1'), "missing-member", "/src_lon"),
    Case("src_lat a string", raw(b'"src_lat": "1", "src_lon": 1'), "wrong-type", "/src_lat"),
    Case("a field that is no string", event(fields=["ip", 1]), "wrong-type", "/fields/1"),
    Case("an unknown action", event(action="Read"), "unknown-value", "/action"),
    Case("an unknown outcome", event(outcome="ok"), "unknown-value", "/outcome"),
    Case("valid_until of a read", event(valid_until=5), "unexpected-member", "/valid_until"),
    Case("a newer version's members", event(schema_version=99, added={"later": [1]})),
]
E8 = [
    Case("the key is another actor", event(), "key-mismatch", "/actor", key=b"e2"),
    Case("the key is not UTF-8", event(), "key-mismatch", "/actor", key=b"\xff\xfe"),
    Case("in a wrong partition", event(), partition=(home("e1") + 1) % PARTITIONS),
    Case("bad, in a wrong partition", b"?", "not-json", partition=(home("e1") + 1) % PARTITIONS),
]
MANY = tuple((f"h{i}", b"v") for i in range(10_000))
E9 = [
    Case("key not UTF-8", event(), headers=((NotUtf8("xx"), b"1"),)),
    Case("key not UTF-8, bad", b"?", "not-json", headers=((NotUtf8("xx"), b"1"),)),
    Case("null value", event(), headers=(("h", Null()),)),
    Case("null value, bad", b"?", "not-json", headers=(("h", Null()), ("h", b""))),
    Case("10,000", event(), headers=MANY),
    Case("10,000, bad", b"?", "not-json", headers=MANY),
    Case("1 MB", event(), headers=(("h", b"x" * 1_048_000),)),
    Case("1 MB, bad", b"?", "not-json", headers=(("h", b"x" * 1_048_000),)),
]
ALL = [*E1, *E2, *E3, *E4, *E5, *E6, *E7, *E8, *E9]


def header_bytes(headers: tuple[tuple[str, bytes], ...]) -> bytes:
    """As they stand in the log."""

    def varint(value: int) -> bytes:
        left, out = (value << 1) ^ (value >> 63), b""
        while left > 127:
            out, left = out + bytes([left & 127 | 128]), left >> 7
        return out + bytes([left])

    def sized(part: bytes) -> bytes:
        return varint(-1) if isinstance(part, Null) else varint(len(part)) + part

    return varint(len(headers)) + b"".join(sized(key.encode()) + sized(value) for key, value in headers)


BAD: tuple[Callable[[int], bytes | None], ...] = (
    lambda _: None, lambda i: b"no %d" % i, lambda i: event(records=-i - 1), lambda i: event(actor=i), lambda i: event(time="soon", x=i),
    lambda i: b"\xff%d" % i, lambda i: event(event_id=f"{i}", actor="somebody else"),
)  # fmt: skip


def mixed(live: Iterable[tuple[bytes, bytes]], seed: int) -> Iterator[tuple[bytes, bytes | None]]:
    """Good records, and bad ones among them: so many that hardly any transaction is without a dead letter."""
    dice = random.Random(seed)
    for number, (key, value) in enumerate(live):
        if dice.random() < 0.5:
            yield key, dice.choice(BAD)(number)
        yield key, value
