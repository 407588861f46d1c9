"""Each kind of bad record among good ones: one dead letter with the right code, or acceptance that the reference states."""

from __future__ import annotations

import gzip
import json
import re
from pathlib import Path

import numpy as np
import pytest
from native_reference import GOOD, GOOD_BYTES, NOW, accepted, assert_refused, decoded_among_good, event, raw, records_of, replaced

from detector.core.dead_letters import REASONS
from detector.core.formats.native import Limits, NativeEvent, decode


@pytest.mark.parametrize(
    ("value", "key", "reason"),
    [(None, b"e1", "null-value"), (b"", b"e1", "empty-value"), (GOOD_BYTES, None, "no-key"), (GOOD_BYTES, b"", "no-key")],
    ids=["null value", "empty value", "null key", "empty key"],
)
def test_e1_nothing_where_something_must_be(value: bytes | None, key: bytes | None, reason: str) -> None:
    assert_refused(reason, "", value, key)


@pytest.mark.parametrize(
    ("reason", "value"),
    [
        ("not-json", b"hello"), ("not-json", GOOD_BYTES[:-1]), ("not-json", GOOD_BYTES[:30]), ("not-json", GOOD_BYTES + GOOD_BYTES),
        ("not-json", GOOD_BYTES + b"\x00"), ("not-json", b"  "), ("not-json", b"\xef\xbb\xbf" + GOOD_BYTES), ("not-json", raw(b'"x": 01')),
        ("not-an-object", b"[" + GOOD_BYTES + b"]"), ("not-an-object", b'"text"'), ("not-an-object", b"17"), ("not-an-object", b"null"),
        ("not-json", GOOD_BYTES.decode().encode("utf-16-le")), ("not-utf8", GOOD_BYTES.decode().encode("utf-16")),
        ("not-utf8", gzip.compress(GOOD_BYTES)), ("not-utf8", event(subject="x").replace(b'"x"', b'"\xff"')),
        ("not-utf8", raw(b'"x": "\xc3("')),
        ("not-utf8", raw(b'"\xed\xa0\x80": 1')), ("not-utf8", raw(b'"x": {"y": ["\xc0\xaf"]}')), ("not-json", raw(b'"x": "\\ud800"')),
        ("not-json", raw(b'"x": "a\nb"')), ("not-json", raw(b"'x': 1")), ("not-json", raw(b'"x": [1,]')),
        ("not-json", raw(b'"x": 1 /* one */')),
    ],
)  # fmt: skip
def test_e2_not_one_json_object_in_utf8(reason: str, value: bytes) -> None:
    assert_refused(reason, "", value)


def test_e2_what_is_no_json_is_named_so_even_behind_a_bad_member() -> None:
    for bad in (
        event(actor=5)[:-1],
        event(action="x") + b"}",
        b'{"actor": 5, "actor": 6, "x": nul}',
        event(records=-1)[:-1] + b', "x": "\\ud800"}',
    ):
        assert_refused("not-json", "", bad)


def test_e2_white_space_around_and_inside_is_json_too() -> None:
    assert accepted(b" \r\n\t" + json.dumps(GOOD, indent="\t").encode() + b"\n").actor == "e1"


@pytest.mark.parametrize("opener", [b"[", b'{"a":'])
def test_e3_depth_is_bounded_at_64_whatever_else_is_odd(opener: bytes) -> None:
    closer = b"]" if opener == b"[" else b"}"

    def nested(depth: int) -> bytes:
        return opener * depth + b"0" + closer * depth

    accepted(raw(b'"x": ' + nested(63)))
    assert_refused("too-deep", "", raw(b'"x": ' + nested(64)))
    assert_refused("too-deep", "", raw(b'"\\u0078": ' + nested(10_000)))
    assert_refused("too-deep", "", opener * 10_000)
    assert_refused("too-large", "", opener * 100_000)


def test_e3_brackets_in_a_string_are_no_depth() -> None:
    assert accepted(event(subject="[" * 100 + '"\\{')).subject == "[" * 100 + '"\\{'


def test_e3_a_value_may_have_max_event_bytes_and_no_more() -> None:
    room = 65_536 - len(raw(b'"x": ""'))
    accepted(raw(b'"x": "' + b"a" * room + b'"'))
    assert_refused("too-large", "", raw(b'"x": "' + b"a" * (room + 1) + b'"'))
    assert_refused("too-large", "", raw(b'"x": "' + b"a" * 2**20 + b'"'))


def test_e3_unknown_members_are_ignored_however_many() -> None:
    for count in (1, 58, 59, 60, 3_000):
        accepted(event(**{f"x{i}": i for i in range(count)}))
    accepted(event(unknown_member_left=1, unknown_member_right=2, **{"é": 1, "è": 2, "": 3}))


@pytest.mark.parametrize(
    ("pointer", "value"),
    [
        ("/actor", raw(b'"actor": "e1"')), ("/actor", raw(b'"\\u0061ctor": "e1"')), ("/x", raw(b'"x": 1, "x": 1')),
        ("/time", raw(b'"time": 5')),
        ("/a~1b~0", raw(b'"a/b~": 1, "y": 2, "a/b~": 3')), ("/", raw(b'"": 1, "": 1')), ("/é", raw('"é": 1, "\\u00e9": 1'.encode())),
        ("/m0", event(**{f"m{i}": 1 for i in range(100)})[:-1] + b', "m0": 2}'),
    ],
)  # fmt: skip
def test_e3_a_member_occurs_once(pointer: str, value: bytes) -> None:
    assert_refused("duplicate-member", pointer, value)


def test_e3_the_same_name_deeper_down_is_another_member() -> None:
    accepted(raw(b'"x": {"actor": "e2", "actor": "e3", "time": 7}'))


@pytest.mark.parametrize(
    ("reason", "pointer", "value"),
    [
        ("not-json", "", replaced("src_lat", b"NaN")), ("not-json", "", replaced("records", b"Infinity")),
        ("not-json", "", raw(b'"x": -Infinity')),
        ("out-of-range", "/src_lat", raw(b'"src_lat": 1e400, "src_lon": 0')),
        ("out-of-range", "/src_lat", raw(b'"src_lat": 90.1, "src_lon": 0')),
        ("out-of-range", "/src_lon", raw(b'"src_lat": 0, "src_lon": -180.1')),
        ("out-of-range", "/src_lon", raw(b'"src_lat": 0, "src_lon": 1' + b"0" * 400)),
        ("out-of-range", "/records", replaced("records", b"-1")), ("out-of-range", "/bytes", replaced("bytes", b"9007199254740993")),
        ("out-of-range", "/bytes", replaced("bytes", b"9223372036854775808")),
        ("out-of-range", "/bytes", replaced("bytes", b"1" + b"0" * 309)),
        ("out-of-range", "/bytes", replaced("bytes", b"1" + b"0" * 5_000)), ("wrong-type", "/records", replaced("records", b"true")),
        ("wrong-type", "/records", replaced("records", b'"7"')), ("wrong-type", "/records", replaced("records", b"1.0")),
        ("wrong-type", "/records", replaced("records", b"1e3")), ("wrong-type", "/src_lat", raw(b'"src_lat": "1", "src_lon": 0')),
        ("wrong-type", "/src_lat", raw(b'"src_lat": false, "src_lon": 0')), ("missing-member", "/src_lon", raw(b'"src_lat": 1')),
        ("missing-member", "/src_lat", raw(b'"src_lat": null, "src_lon": 1')),
    ],
)  # fmt: skip
def test_e4_numbers_that_are_none_or_too_large_or_of_another_kind(reason: str, pointer: str, value: bytes) -> None:
    assert_refused(reason, pointer, value)


def test_e4_minus_zero_counts_as_zero_and_unknown_members_may_hold_any_number() -> None:
    row = accepted(raw(b'"records": -0, "bytes": 9007199254740992, "src_lat": -0, "src_lon": 180, "x": 1e999, "y": 1' + b"0" * 5_000))
    assert (row.records, row.bytes, row.src_lat, row.src_lon) == (0, 2**53, 0.0, 180.0)
    assert accepted(replaced("time", b"-0"), timestamp=0).time == 0


@pytest.mark.parametrize("key", [b"e2", b"e", b"e12", b"E1", b"e1\x00", b"\xff\xfe", "é1".encode()])
def test_e8_e9_a_key_that_is_not_the_actor(key: bytes) -> None:
    assert_refused("key-mismatch", "/actor", GOOD_BYTES, key)


def test_e8_a_source_without_keys_is_not_asked_for_one() -> None:
    batch = decode(records_of([GOOD_BYTES, event(actor="e2")], timestamps=[0, 0]), Limits())
    assert [row.actor for row in batch.rows] == ["e1", "e2"] and not batch.dead


def test_e9_headers_of_any_kind_are_left_alone() -> None:
    for headers in (b"\x00", b"\x02\x04\xff\xfe\x01", b"\xa0\x9c\x01" + b"\x02a\x01" * 10_000, b"\x02\x02a" + b"x" * 2**20):
        assert not decoded_among_good(GOOD_BYTES, headers=headers).dead


def test_a_record_with_broken_framing_is_a_dead_letter_with_its_raw_bytes() -> None:
    records = records_of([GOOD_BYTES] * 3, [b"e1", None, b"e1"])
    records.broken[1] = True
    batch = decode(records, Limits())
    (letter,) = batch.dead
    assert (letter.reason, letter.offset, letter.value, letter.key) == ("malformed-record", 101, GOOD_BYTES, None)
    assert batch.offset.tolist() == [100, 102]


def test_limits_are_the_operators() -> None:
    records = records_of([GOOD_BYTES, event(time=NOW + 1)], [b"e1"] * 2)
    assert [letter.reason for letter in decode(records, Limits(max_event_bytes=len(GOOD_BYTES) - 1)).dead] == ["too-large"] * 2
    assert [letter.reason for letter in decode(records, Limits(max_future=0)).dead] == ["too-far-in-future"]


def test_no_records_give_no_events() -> None:
    batch = decode(records_of([], []), Limits())
    assert len(batch) == 0 and not batch.dead and batch.time.dtype == np.int64
    assert len(decode(records_of([GOOD_BYTES], [b"e1"]).take(slice(0, 0)), Limits())) == 0


def test_strided_positions_as_a_reader_gives_them_are_fine() -> None:
    records = records_of([GOOD_BYTES] * 4, [b"e1"] * 4)
    assert decode(records.take(slice(None, None, 2)), Limits()).offset.tolist() == [100, 102]


def test_every_reason_of_the_decoder_can_be_given() -> None:
    values = {
        "null-value": None, "empty-value": b"", "too-large": b" " * 70_000, "not-utf8": b"\xff", "too-deep": b"[" * 65, "not-json": b"x",
        "not-an-object": b"1", "duplicate-member": raw(b'"actor": "e1"'), "missing-member": b"{}",
        "unexpected-member": event(valid_until=5),
        "wrong-type": event(actor=1), "out-of-range": event(actor=""), "unknown-value": event(action="x"), "bad-time": event(time="x"),
        "too-far-in-future": event(time=NOW * 2), "malformed-record": GOOD_BYTES, "no-key": GOOD_BYTES, "key-mismatch": GOOD_BYTES,
    }  # fmt: skip
    keys = [{"no-key": None, "key-mismatch": b"e2"}.get(reason, b"e1") for reason in values]
    records = records_of(list(values.values()), keys)
    records.broken[:] = [reason == "malformed-record" for reason in values]
    assert [letter.reason for letter in decode(records, Limits()).dead] == list(values)
    assert set(values) == set(REASONS) - {"processing-error"}


def test_the_reference_page_names_every_member_and_every_reason() -> None:
    page = (Path(__file__).parents[2] / "docs/reference/events.md").read_text(encoding="utf-8")
    codes = page.partition("## Reason codes")[2].partition("## Accepted")[0]
    assert sorted(re.findall(r"^\| `(\S+)` \|", codes, re.MULTILINE)) == sorted(REASONS)
    assert [name for name in NativeEvent.__struct_fields__ if f"`{name}`" not in page.partition("### Times")[0]] == []
