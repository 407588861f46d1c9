"""The members of an event, each bad in each way, as a single record among good ones; and what is accepted although odd."""

from __future__ import annotations

import json
from typing import Any

import pytest
from native_reference import GOOD, LENGTHS, NOW, accepted, assert_refused, decoded_among_good, event, raw

from detector.core.events import ACTIONS
from detector.core.formats.native import NativeEvent


@pytest.mark.parametrize(
    ("reason", "value"),
    [("missing-member", ...), ("wrong-type", None), ("wrong-type", 17), ("wrong-type", ["e1"]), ("out-of-range", ""),
    ("out-of-range", "e" * 10_240),
     ("out-of-range", "é" * 129)],
)  # fmt: skip
def test_e5_an_actor_that_is_none(reason: str, value: Any) -> None:
    assert_refused(reason, "/actor", event(actor=value))


@pytest.mark.parametrize(
    "actor",
    [" e1", "E1", "e\u0301", "\u00e9", "\u0435l", "e1\r\nSet-Cookie: x", "e\x001", "\x1b[31me1", "\u202ee1",
    "../../etc/passwd", 'e1{le="1"} 1', '{"a":"b"}', "\\",
     "CORP\\eve", '"', "王芳", "😀" * 128, "\ufeff", "\x7f"],
)  # fmt: skip
def test_e5_a_strange_actor_is_an_actor_and_equal_only_to_itself(actor: str) -> None:
    for ensure_ascii in (True, False):
        value = json.dumps(GOOD | {"actor": actor}, ensure_ascii=ensure_ascii).encode()
        assert accepted(value, actor.encode()).actor == actor
        assert_refused("key-mismatch", "/actor", value, b"e1")


@pytest.mark.parametrize(
    ("reason", "time"),
    [
        ("missing-member", ...), ("wrong-type", None), ("wrong-type", 1.5), ("wrong-type", 1772442847000.0), ("wrong-type", True),
        ("out-of-range", -1), ("out-of-range", NOW * 1000), ("out-of-range", 10**30), ("bad-time", ""), ("bad-time", "yesterday"),
        ("bad-time", str(NOW)),
        ("bad-time", "2026-03-02T09:14:07"), ("bad-time", "2026-03-02"), ("bad-time", "2026-03-02T09:14:07+0100"),
        ("bad-time", "2026-03-02T09:14Z"),
        ("bad-time", "2026-02-29T09:14:07Z"), ("bad-time", "2026-03-02T24:00:00Z"), ("bad-time", "2026-03-02T09:14:61Z"),
        ("bad-time", "2026-03-02T09:14:07.Z"),
        ("out-of-range", "1969-12-31T23:59:59.999Z"), ("out-of-range", "1926-03-02T09:14:07Z"), ("out-of-range", "0000-01-01T00:00:00Z"),
        ("out-of-range", "9999-12-31T23:59:59-00:01"), ("too-far-in-future", "9999-12-31T23:59:59Z"),
        ("too-far-in-future", "2100-01-01T00:00:00Z"),
        ("too-far-in-future", NOW + 300_001), ("too-far-in-future", "2026-03-02T09:19:07.001Z"),
        ("too-far-in-future", "2126-03-02T09:14:07Z"),
    ],
)  # fmt: skip
def test_e6_times_that_are_none_or_not_of_this_world(reason: str, time: Any) -> None:
    assert_refused(reason, "/time", event(time=time))


@pytest.mark.parametrize(
    ("time", "expected"),
    [
        (0, 0), (NOW // 1000, NOW // 1000), ("1970-01-01T00:00:00Z", 0), (NOW + 300_000, NOW + 300_000), ("2026-03-02T09:14:07Z", NOW),
        ("2026-03-02T09:14:07.123Z", NOW + 123), ("2026-03-02T09:14:07.1Z", NOW + 100), ("2026-03-02T09:14:07.1239999999999Z", NOW + 123),
        ("2026-03-02t10:14:07+01:00", NOW), ("2026-03-02 05:44:07-03:30", NOW), ("2026-03-02T09:14:07-00:00", NOW),
        ("2024-02-29T00:00:00z", 1_709_164_800_000),
        ("2000-02-29T00:00:00Z", 951_782_400_000), ("2016-12-31T23:59:60Z", 1_483_228_800_000),
        ("2016-12-31T23:59:60.5Z", 1_483_228_800_500),
    ],
)  # fmt: skip
def test_e6_times_that_are_accepted(time: Any, expected: int) -> None:
    assert accepted(event(time=time)).time == expected


def test_e6_without_the_brokers_time_the_future_is_not_judged_and_the_events_own_time_stands_in() -> None:
    for timestamp in (0, -1):
        last = decoded_among_good(event(time="9999-12-31T23:59:59.999Z"), timestamp=timestamp)
        assert last.time[3] == last.broker_time[3] == 253_402_300_799_999
    assert decoded_among_good(event(time=NOW - 5)).broker_time[3] == NOW


WRONG: dict[str, tuple[Any, ...]] = {
    "string": (1, True, [], {}, 1.5), "count": (None, "1", 1.5, False, [], {}), "fields": (None, "ip", {}, 1, [1], [None], [["ip"]]),
    "word": (None, 1, [], {}), "number": ("1", True, [], {}), "time": (1.5, True, [], {}),
}  # fmt: skip
KINDS = dict.fromkeys(LENGTHS, "string") | {
    "records": "count", "bytes": "count", "fields": "fields", "action": "word", "outcome": "word", "src_lat": "number", "src_lon": "number",
    "time": "time", "valid_until": "time",
}  # fmt: skip


def test_e7_every_member_is_in_the_table_of_wrong_types() -> None:
    assert set(NativeEvent.__struct_fields__) == set(KINDS)


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, kind in KINDS.items() for value in WRONG[kind]])
def test_e7_a_member_of_a_wrong_type(name: str, value: Any) -> None:
    members = {"src_lat": 1, "src_lon": 1} if name in ("src_lat", "src_lon") else {"action": "assign"} if name == "valid_until" else {}
    pointer = f"/{name}/0" if name == "fields" and isinstance(value, list) else f"/{name}"
    reason = "unknown-value" if KINDS[name] == "word" and isinstance(value, str) else "wrong-type"
    assert_refused(reason, pointer, event(**{**members, name: value}))


@pytest.mark.parametrize("name", ["time", "actor", "action", "resource"])
def test_e7_a_required_member_is_missing(name: str) -> None:
    assert_refused("missing-member", f"/{name}", event(**{name: ...}))


@pytest.mark.parametrize(("name", "most"), LENGTHS.items())
def test_e7_strings_have_bounds_in_code_points(name: str, most: int) -> None:
    actor = "e1" if name != "actor" else "é" * most
    accepted(event(**{name: "é" * most}), actor.encode())
    assert_refused("out-of-range", f"/{name}", event(**{name: "é" * (most + 1)}))
    assert_refused("out-of-range", f"/{name}", event(**{name: ""}))


def test_e7_null_means_absent_for_members_without_a_default() -> None:
    optional = [name for name in NativeEvent.__struct_fields__ if getattr(accepted(event(subject=...)), name) is None]
    row = accepted(event(**dict.fromkeys(optional)))
    assert all(getattr(row, name) is None for name in optional) and len(optional) == 14


def test_e7_fields_has_at_most_64() -> None:
    assert accepted(event(fields=["ip"] * 64)).fields == ("ip",) * 64
    assert_refused("out-of-range", "/fields", event(fields=["ip"] * 65))


def test_e7_words_are_exact_and_a_refused_one_is_not_repeated_in_the_message() -> None:
    for code, action in enumerate(ACTIONS):
        assert accepted(event(action=action)).action == code
    for name in ("action", "outcome"):
        assert_refused("unknown-value", f"/{name}", event(**{name: "Read"}))
        (letter,) = decoded_among_good(event(**{name: "secret-of-alice"})).dead
        assert "alice" not in letter.message


def test_e7_only_an_assignment_ends() -> None:
    assert accepted(event(action="assign", valid_until="2026-03-02T09:14:07.5Z")).valid_until == NOW + 500
    assert accepted(event(action="assign", valid_until=5)).valid_until == 5
    assert_refused("unexpected-member", "/valid_until", event(valid_until=5))
    assert_refused("bad-time", "/valid_until", event(action="assign", valid_until="soon"))
    assert_refused("out-of-range", "/valid_until", event(action="assign", valid_until=-1))
    accepted(raw(b'"valid_unti1": null, "valid_until": null'))


def test_e7_a_name_that_folds_like_another_hides_nothing() -> None:
    for other in (b'"tilid_unval": null', b'"valid_unti1": null'):
        assert accepted(raw(other + b', "valid_until": 5').replace(b'"read"', b'"assign"')).valid_until == 5
        assert accepted(raw(b'"valid_until": 5, ' + other).replace(b'"read"', b'"assign"')).valid_until == 5


def test_e7_a_long_name_that_folds_to_time_is_not_the_time() -> None:
    assert accepted(raw(b'"aaaa2222aaaaF[_W": 5')).time == NOW


def test_e8_a_key_that_equals_an_actor_only_as_it_is_written_is_another() -> None:
    value = event(actor="CORP\\eve")
    accepted(value, b"CORP\\eve")
    assert_refused("key-mismatch", "/actor", value, b"CORP\\\\eve")


def test_e6_2100_is_no_leap_year() -> None:
    assert_refused("bad-time", "/time", event(time="2100-02-29T00:00:00Z"), timestamp=0)


def test_the_good_row_holds_every_member() -> None:
    members = dict.fromkeys(LENGTHS, "x") | {
        "actor": "e1",
        "fields": ["ip", "gps"],
        "records": 3,
        "bytes": 4,
        "outcome": "denied",
        "src_lat": 1.5,
    }
    row = accepted(event(**members, src_lon=-2, action="assign", valid_until=NOW))
    assert [getattr(row, name) for name in LENGTHS] == ["e1"] + ["x"] * 12
    assert (row.action, row.outcome, row.fields, row.records, row.bytes) == (9, 1, ("ip", "gps"), 3, 4)
    assert (row.src_lat, row.src_lon, row.valid_until) == (1.5, -2.0, NOW)
