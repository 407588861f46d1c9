"""A verdict goes through its record unharmed; what is not exactly one is refused, and the message names the member."""

from __future__ import annotations

import json
from typing import Any

import pytest
import world
from hypothesis import given, settings
from hypothesis import strategies as st

from detector.core import verdicts
from detector.core.verdicts import KINDS, MOST_BYTES, MOST_NOTE, Verdict, case, checked, confirmed, encode_case, latest, parse, parse_case

ALERT = "0123456789abcdef" * 2
GOOD: dict[str, Any] = {
    "alert_id": ALERT,
    "verdict": "false_positive",
    "by": "Ann O. (SOC)",
    "time": 1_790_000_000_000,
    "note": "a ticket:\n7 \u00fc",
}
NAMES = st.text(st.characters(codec="utf-8", min_codepoint=32, exclude_characters="\x7f"), min_size=1, max_size=128)
TIMES = st.integers(verdicts.FIRST_TIME, verdicts.LAST_TIME)
NOTES = st.text(st.characters(codec="utf-8"), max_size=60)
SOME = st.builds(Verdict, st.sampled_from([ALERT, "f" * 32]), st.sampled_from(KINDS), NAMES, TIMES, NOTES)


@settings(derandomize=True, deadline=None, max_examples=200, database=None)
@given(SOME)
def test_a_verdict_goes_through_its_record_unharmed(some: Verdict) -> None:
    key, value = verdicts.encode(some)
    assert parse(value, key) == some and key == some.alert_id.encode()


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("alert_id", "0123"), ("alert_id", ALERT.upper()), ("alert_id", ALERT + "\n"), ("alert_id", 7), ("alert_id", None),
        ("verdict", "guilty"), ("verdict", "TRUE_POSITIVE"), ("verdict", ["true_positive"]), ("verdict", None),
        ("by", ""), ("by", "x" * 129), ("by", "\x1b[2J"), ("by", "a\nb"), ("by", "a\n"), ("by", {"name": "ann"}),
        ("time", 1_790_000_000), ("time", 1_790_000_000_000_000), ("time", -1), ("time", "2026-03-02"), ("time", True), ("time", 1.5),
        ("note", "x" * (MOST_NOTE + 1)), ("note", None), ("note", 3), ("weight", 1), ("__class__", "x"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_and_the_member_named(member: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"^`{member}`"):
        parse(json.dumps({**GOOD, member: value}).encode())


@pytest.mark.parametrize("member", ["alert_id", "verdict", "by", "time"])
def test_a_missing_member_is_named(member: str) -> None:
    with pytest.raises(ValueError, match=f"^`{member}` is missing"):
        parse(json.dumps({name: value for name, value in GOOD.items() if name != member}).encode())


@pytest.mark.parametrize(
    "value",
    [
        b"", b"null", b"[]", b'"x"', b"{", b"\xff\xfe{}", b"[" * 10_000, b'{"alert_id":' * 2000, b"NaN",
        json.dumps(GOOD).encode()[:-1] + b', "time": NaN}', json.dumps(GOOD).replace("a ticket", "\\ud800").encode(),
        json.dumps(GOOD).encode() + b"{}", b" " * (MOST_BYTES + 1),
    ],
)  # fmt: skip
def test_what_is_no_verdict_at_all_is_refused(value: bytes) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        parse(value)


@settings(derandomize=True, deadline=None, max_examples=300, database=None)
@given(st.binary(max_size=80), st.integers(0, 200), st.integers(0, 255))
def test_no_bytes_do_more_than_to_be_refused(some: bytes, at: int, byte: int) -> None:
    whole = bytearray(json.dumps(GOOD).encode())
    whole[at % len(whole)] = byte
    for value in (some, bytes(whole)):
        try:
            assert isinstance(parse(value), Verdict)
        except ValueError as error:
            assert str(error)


def test_a_member_that_stands_there_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="`verdict` stands there twice"):
        parse(json.dumps(GOOD).encode()[:-1] + b', "verdict": "true_positive"}')


def test_a_key_of_another_alert_is_refused() -> None:
    with pytest.raises(ValueError, match="`alert_id` is not the record's key"):
        parse(json.dumps(GOOD).encode(), b"f" * 32)


def test_the_last_verdict_of_an_alert_counts_whatever_time_it_claims() -> None:
    first, second = checked(GOOD), checked({**GOOD, "verdict": "true_positive", "time": GOOD["time"] - 5, "by": "Bob"})
    other = checked({**GOOD, "alert_id": "f" * 32})
    assert latest([first, other, second]) == {ALERT: second, "f" * 32: other}


def test_what_somebody_typed_is_checked_as_what_is_read() -> None:
    assert checked(GOOD) == parse(json.dumps(GOOD).encode())
    with pytest.raises(ValueError, match="`by`"):
        checked({**GOOD, "by": ""})
    with pytest.raises(ValueError, match="Unicode"):
        checked({**GOOD, "note": "\udcff"})


def test_a_case_says_of_its_alert_what_training_needs_and_no_more() -> None:
    pipeline = world.pipeline()
    alert, value = next(some for batch in world.batches() for some in pipeline.process(batch).alerts)
    found = case(checked({**GOOD, "alert_id": alert.alert_id, "verdict": "true_positive"}), value)
    assert found is not None and parse_case(encode_case(found)) == found
    assert (found.actor, found.time, found.incident_id) == (alert.actor, alert.time, alert.incident_id)
    assert found.shares == {reason.hypothesis: reason.share for reason in alert.reasons}
    assert alert.subject is None or alert.subject.encode() not in encode_case(found)
    assert confirmed([found]) == [(alert.actor, alert.time)]
    doubtful = case(checked({**GOOD, "alert_id": alert.alert_id, "verdict": "needs_information"}), value)
    assert doubtful is not None and confirmed([doubtful]) == []


@pytest.mark.parametrize(
    ("change", "member"),
    [
        ({"actor": ""}, "actor"), ({"shares": {"harvest": 1.5}}, "shares"), ({"shares": {"harvest": -1}}, "shares"), ({"time": 3}, "time"),
        ({"verdict": {**GOOD, "verdict": "?"}}, "verdict.verdict"), ({"subject": "u1"}, "subject"), ({"incident_id": "x"}, "incident_id"),
    ],
)  # fmt: skip
def test_a_case_that_was_tampered_with_is_refused_and_the_member_named(change: dict[str, Any], member: str) -> None:
    whole = {"verdict": GOOD, "actor": "e1", "time": GOOD["time"], "incident_id": ALERT, "shares": {"harvest": 0.5}}
    assert parse_case(json.dumps(whole).encode()).actor == "e1"
    with pytest.raises(ValueError, match=f"^`{member}"):
        parse_case(json.dumps({**whole, **change}).encode())
    assert case(checked(GOOD), b'{"alert_id":"x","actor":null,"time":3,"incident_id":"y","reasons":[]}') is None
    with pytest.raises(ValueError, match="time"):
        case(checked(GOOD), json.dumps({"alert_id": ALERT, "actor": "e1", "time": 3, "incident_id": ALERT, "reasons": []}).encode())
