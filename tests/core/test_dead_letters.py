"""A dead letter as a Kafka record, and back."""

from __future__ import annotations

import contextlib
import json
from dataclasses import replace
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.core.dead_letters import MOST, REASONS, dead_letter_record, headers_of, is_cut, parse
from detector.core.events import DeadLetter
from detector.kafka.records import convert

BYTES = st.none() | st.binary()
LETTERS = st.builds(
    DeadLetter, topic=st.text(), partition=st.integers(0, 2**31 - 1), offset=st.integers(0, 2**63 - 1),
    timestamp=st.integers(-1, 2**63 - 1),
    reason=st.sampled_from(REASONS), pointer=st.text() | st.just("/\ud800"), message=st.text(), key=BYTES, value=BYTES, headers=BYTES,
)  # fmt: skip


@given(LETTERS)
def test_a_dead_letter_survives_the_journey(letter: DeadLetter) -> None:
    assert parse(dead_letter_record(letter)[1]) == letter


def test_it_is_one_line_of_ascii_json_keyed_by_where_the_record_was() -> None:
    letter = DeadLetter("access-events", 3, 103, 5, "not-utf8", "", "no UTF-8 at byte 0", None, b"\xff\n", b"")
    key, value = dead_letter_record(letter)
    assert key == b"access-events-3"
    assert value.isascii() and b"\n" not in value
    assert json.loads(value) == {
        "reason": "not-utf8", "pointer": "", "message": "no UTF-8 at byte 0", "topic": "access-events", "partition": 3, "offset": 103,
        "timestamp": 5, "key": None, "value": "/wo=", "headers": "",
    }  # fmt: skip


@pytest.mark.parametrize("value", [b"", b"{}", b"[]", b"null", b"\xff", b'{"key": 1, "value": null, "headers": null}', b"[" * 100_000])
def test_what_is_no_dead_letter_is_refused(value: bytes) -> None:
    with pytest.raises(ValueError, match="not a dead letter"):
        parse(value)


def test_a_member_more_or_less_or_bad_base64_is_refused() -> None:
    members = json.loads(dead_letter_record(DeadLetter("t", 0, 0, 0, "no-key", "", "", None, b"x", None))[1])
    for wrong in ({**members, "extra": 1}, {**members, "value": "*"}, {name: members[name] for name in members if name != "offset"}):
        with pytest.raises(ValueError, match="not a dead letter"):
            parse(json.dumps(wrong).encode())


def letter(**parts: bytes | None) -> DeadLetter:
    return DeadLetter("t", 0, 0, 0, "not-json", "", "no JSON", **{"key": b"k", "value": b"v", "headers": None} | parts)


HEADERS = st.lists(st.tuples(st.text(), BYTES), min_size=1)


@given(HEADERS)
def test_headers_are_read_as_they_stand_in_the_log(headers: list[tuple[str, bytes | None]]) -> None:
    stock = SimpleNamespace(key=None, value=None, offset=0, timestamp=0, headers=headers)
    records = convert("t", 0, [stock])
    assert headers_of(letter(headers=records.part(records.headers, 0))) == headers
    assert headers_of(letter()) == []


@given(HEADERS, st.data())
def test_headers_that_are_cut_off_anywhere_are_refused(headers: list[tuple[str, bytes | None]], data: st.DataObject) -> None:
    records = convert("t", 0, [SimpleNamespace(key=None, value=None, offset=0, timestamp=0, headers=headers)])
    raw = records.part(records.headers, 0) or b""
    with pytest.raises(ValueError, match="damaged"):
        headers_of(letter(headers=raw[: data.draw(st.integers(0, len(raw) - 1))]))


@pytest.mark.parametrize("raw", [b"", b"\x00\x00", b"\x01", b"\x02\x03\x00", b"\x02\x01\x00", b"\x02\x02a\x03", b"\xff" * 9])
def test_headers_that_do_not_add_up_are_refused(raw: bytes) -> None:
    with pytest.raises(ValueError, match=r"damaged|no name"):
        headers_of(letter(headers=raw))


@given(st.binary())
def test_headers_of_any_bytes_are_read_or_refused(raw: bytes) -> None:
    with contextlib.suppress(ValueError):
        headers_of(letter(headers=raw))


def test_a_letter_says_whether_all_of_the_record_is_in_it() -> None:
    for size, cut in ((MOST - 1, False), (MOST, True)):
        assert is_cut(parse(dead_letter_record(letter(value=b"x" * size))[1])) is cut
    assert not is_cut(replace(letter(), message="x; of key, headers and value, 9 bytes, the first 3 are here"))
