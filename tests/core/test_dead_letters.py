"""A dead letter as a Kafka record, and back."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.core.dead_letters import REASONS, dead_letter_record, parse
from detector.core.events import DeadLetter

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
