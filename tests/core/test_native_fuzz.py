"""The fast decoder against the slow and obvious one, on events mutated byte by byte and member by member."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from native_reference import COLUMNS, NOW, Refused, records_of, reference

from detector.core.dead_letters import REASONS
from detector.core.events import EventBatch, Records, hash_members
from detector.core.formats.native import Limits, decode
from detector.core.json_scan import LOCATED

SEEDS: list[dict[str, Any]] = [
    {"time": NOW, "actor": "e1042", "action": "read", "resource": "user_profile"},
    {"event_id": "7f3a", "time": "2026-03-02T09:14:07.123Z", "actor": "e1042", "actor_team": "internal-audit", "actor_region": "CN",
     "action": "read", "resource": "user_profile", "subject": "u99812", "subject_region": "US", "fields": ["ip",
     "last_login"], "records": 1,
     "bytes": 2048, "src_ip": "10.2.0.7", "src_country": "CN", "device": "d-55", "session": "s-991", "purpose": "AUD-118"},
    {"time": "2026-03-02t10:14:07.9999999+01:00", "actor": "王芳", "action": "assign", "resource": "cases", "subject": "u1",
    "purpose": "C-1",
     "valid_until": "2026-04-02T00:00:00-05:30", "outcome": "success"},
    {"actor": "CORP\\eve \"x\"", "time": NOW + 299_999, "action": "login", "resource": "vpn",
    "src_lat": 52.5, "src_lon": -13, "outcome": "denied",
     "detail": {"a": [1, {"time": 5}], "actor": "nobody"}, "note": "ünïcode"},
]  # fmt: skip

TOKENS = [
    b'"', b"\\", b"{", b"}", b"[", b"]", b",", b":", b" ", b"\n", b"\t", b"\x00", b"\x7f", b"\x80", b"\xff", b"\xc3\xa9",
    b"\xf0\x9f\x98\x80", b"\xed\xa0\x80", b"\xef\xbb\xbf",
    b"null", b"true", b"false", b"NaN", b"-Infinity", b"1e400", b"-0", b"0", b"-", b".", b"e", b"1.0", b"1e3",
    b"9007199254740992", b"9007199254740993", b"18446744073709551616", b"1" * 400, b"[" * 65, b"]" * 65, b"\\u0000", b"\\ud800", b"\\ude00",
    b"\\ud83d\\ude00", b"\\u0061ctor", b"\\q", b'"time":', b'"actor":"e1042",', b'"src_lat":1,', b'"src_lon":null,', b'"valid_until":1,',
    b'"x":1,', b'"x":"\xff",', b'"t\\u0069me":5,', b'"action":"assign",', b"//", b"/**/", b"'",
]  # fmt: skip
ODD: list[Any] = [
    None, True, False, 0, -1, 1, 1.0, 1.5, -0.0, 1e300, 2**53, 2**53 + 1, 2**63, 2**64, 10**17, 10**30, "", "x",
    "x" * 64, "x" * 65, "x" * 129, "é" * 128,
    "y" * 257, [], ["a"], ["a"] * 64, ["a"] * 65, [1], [None], {}, {"a": 1}, "5", "read", "assign",
    "denied", 90, 90.5, 180, 180.5, "e1042", "\u202e", "\x00",
    "../", "\r\n", NOW, NOW + 300_000, NOW + 300_001, "1969-12-31T23:59:59Z", "1970-01-01T00:00:00Z", "9999-12-31T23:59:59.999Z",
    "9999-12-31T23:59:59-00:01", "2026-02-29T00:00:00Z", "2024-02-29T00:00:00Z", "1900-02-29T00:00:00Z", "2000-02-29T00:00:00Z",
    "2016-12-31T23:59:60Z",
    "2026-03-02T09:14:07", "2026-03-02", "2026-03-02T24:00:00Z", "2026-03-02 09:14:07z", "2026-03-02T09:14:07.Z",
    "2026-03-02T09:14:07+0100",
    "2026-3-2T09:14:07Z", "\uff12026-03-02T09:14:07Z", "2026-03-02T09:14:07.0009Z", "2026-03-02T09:14:07,5Z", "0000-01-01T00:00:00Z",
    "2026-13-01T00:00:00Z",
    "2026-03-02T09:60:00Z", "2026-03-02T09:14:61Z", "2026-03-02T09:14:07+24:00", "2026-03-02T09:14:07-23:59", " 2026-03-02T09:14:07Z",
]  # fmt: skip
NAMES = [*COLUMNS, "unknown", "xbtor_texl", "Time", "actor ", "src_latitude", "valid_unti1", ""]


def mutated(rng: random.Random) -> bytes:
    """An event with a few members replaced, then with a few bytes replaced; often still sound, or nearly."""
    event = dict(rng.choice(SEEDS))
    for _ in range(rng.choice((0, 0, 0, 1, 1, 2))):
        name = rng.choice(NAMES)
        if rng.random() < 0.25:
            event.pop(name, None)
        else:
            event[name] = rng.choice(ODD)
    if rng.random() < 0.3:
        event = dict(rng.sample(list(event.items()), len(event)))
    text = json.dumps(event, ensure_ascii=rng.random() < 0.5, separators=rng.choice(((",", ":"), (", ", ": "), (" ,\n", "\t:\r"))))
    value = bytearray(text.encode())
    for _ in range(rng.choice((0, 0, 0, 1, 1, 2, 4))):
        at = rng.randrange(len(value) + 1)
        length = rng.choice((0, 0, 1, 1, 2, 8))
        other = rng.randrange(len(value) + 1)
        value[at : at + length] = rng.choice(
            (rng.choice(TOKENS), bytes([rng.randrange(256)]), b"", value[other : other + rng.randrange(20)])
        )
        if rng.random() < 0.3 and b'"' in value:  # a token where it can make sense: before a name
            at = rng.choice([i for i, c in enumerate(value) if c == ord(",") or c == ord("{")] or [0]) + 1
            value[at:at] = rng.choice(TOKENS)
    return bytes(value)


def key_for(value: bytes, rng: random.Random) -> bytes | None:
    if rng.random() < 0.03:
        return rng.choice((None, b"", b"e1043", b"\xff", b"e1042 "))
    for actor in ("王芳", 'CORP\\eve "x"', "CORP"):
        if actor.encode() in value or json.dumps(actor)[1:-1].encode() in value:
            return actor.encode()
    return b"e1042"


def column(event: Any, name: str) -> Any:
    value = getattr(event, name)
    return list(value) if name == "fields" else value


def check(values: Sequence[bytes], keys: Sequence[bytes | None] | None, timestamps: Sequence[int]) -> tuple[Records, EventBatch]:
    """Decode and compare record by record. Returns what went in and what came out."""
    records = records_of(values, keys, timestamps)
    batch = decode(records, Limits())
    accepted = dict(zip(batch.offset.tolist(), range(len(batch)), strict=True))
    refused = {letter.offset: letter for letter in batch.dead}
    for i, value in enumerate(values):
        offset, key = 100 + i, keys[i] if keys else None
        try:
            expected = reference(value, key, timestamps[i], keyed=keys is not None)
        except Refused:
            assert offset in refused and offset not in accepted, (value, key)
            letter = refused[offset]
            assert (letter.value, letter.key, letter.timestamp) == (value, key, timestamps[i])
            assert letter.reason in REASONS
        else:
            assert offset in accepted and offset not in refused, (value, key, refused.get(offset))
            row = accepted[offset]
            assert {name: column(batch.rows[row], name) for name in COLUMNS} == expected, value
            assert batch.time[row] == expected["time"]
            assert batch.broker_time[row] == (timestamps[i] if timestamps[i] > 0 else expected["time"])
    for name in set(LOCATED) - {"fields"}:
        assert (batch.hashes(name) == hash_members(batch.rows, name)).all(), name
    lists: dict[int, tuple[str, ...]] = {0: ()}
    for known, row in zip(batch.hashes("fields").tolist(), batch.rows, strict=True):
        assert lists.setdefault(known, row.fields) == row.fields
    assert list(accepted) == sorted(accepted) and list(refused) == sorted(refused)
    return records, batch


def fuzz(count: int, seed: int) -> float:
    """Checks `count` mutated records in batches of random size; returns the share of accepted ones."""
    rng, done, accepted = random.Random(seed), 0, 0
    while done < count:
        values = [mutated(rng) for _ in range(rng.randrange(1, 400))]
        keys = [key_for(value, rng) for value in values] if rng.random() < 0.8 else None
        timestamps = [rng.choice((NOW, NOW, NOW, 0, -1, 2**62)) for _ in values]
        records, batch = check(values, keys, timestamps)
        cut = rng.randrange(len(values) + 1)
        assert_same_as_in_parts(records, batch, cut)
        done, accepted = done + len(values), accepted + len(batch)
    return accepted / done


def assert_same_as_in_parts(records: Records, batch: EventBatch, cut: int) -> None:
    parts = [decode(records.take(slice(0, cut)), Limits()), decode(records.take(slice(cut, None)), Limits())]
    assert [row for part in parts for row in part.rows] == list(batch.rows)
    assert [letter for part in parts for letter in part.dead] == list(batch.dead)
    for name in ("offset", "time", "broker_time"):
        assert np.concatenate([getattr(part, name) for part in parts]).tolist() == getattr(batch, name).tolist()


def test_the_fast_decoder_accepts_refuses_and_reads_exactly_as_the_slow_one() -> None:
    share = fuzz(100_000, seed=1)
    assert 0.2 < share < 0.8, "mutations must leave some records sound and make others bad, or nothing is tested"


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2, 12))
def test_the_same_on_a_million_more(seed: int) -> None:
    fuzz(100_000, seed)


def test_any_bytes_at_all_do_no_harm() -> None:
    rng = random.Random(5)
    for _ in range(200):
        values = [rng.randbytes(rng.randrange(60)) for _ in range(50)]
        values += [bytes(rng.choice(b'{}[]",:\\ \xff0ntime') for _ in range(rng.randrange(60))) for _ in range(50)]
        check(values, [b"e1042"] * 100, [NOW] * 100)
