"""The contract of docs/reference/events.md once more, slow and obvious: one record, one check after the other. And makers of records."""

from __future__ import annotations

import datetime
import json
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from detector.core.dead_letters import REASONS
from detector.core.events import ACTIONS, OUTCOMES, EventBatch, Records
from detector.core.formats.native import Limits, NativeEvent, decode

NOW = 1_772_442_847_000  # 2026-03-02T09:14:07Z
LENGTHS = {
    "actor": 128, "resource": 256, "event_id": 128, "subject": 128, "purpose": 128, "actor_team": 64, "actor_role": 64, "actor_region": 64,
    "subject_region": 64, "src_ip": 64, "src_country": 64, "device": 64, "session": 64,
}  # fmt: skip
COLUMNS = (*LENGTHS, "time", "action", "outcome", "fields", "records", "bytes", "src_lat", "src_lon", "valid_until")


def records_of(
    values: Sequence[bytes | None],
    keys: Sequence[bytes | None] | None = None,
    timestamps: Sequence[int] | None = None,
    headers: Sequence[bytes | None] | None = None,
) -> Records:
    """Records with offsets 100, 101, ... in one buffer, with rubbish between them as a log has."""
    data = bytearray(b"\xff\x00")

    def placed(parts: Sequence[bytes | None]) -> np.ndarray[Any, Any]:
        positions = []
        for part in parts:
            positions.append((len(data), -1 if part is None else len(data) + len(part)))
            data.extend((part or b"") + b'\x80"{')
        return np.array(positions, np.int64).reshape(len(parts), 2)

    n = len(values)
    key, value, header = None if keys is None else placed(keys), placed(values), placed(headers or [None] * n)
    timestamp = np.full(n, NOW) if timestamps is None else np.array(timestamps, np.int64)
    return Records("access-events", 3, bytes(data), np.arange(100, 100 + n), timestamp, key, value, header, np.zeros(n, np.bool_))


class Refused(Exception):  # noqa: N818  # it is an answer, no error
    """The record is no access event."""


class Pairs(list[Any]):
    """A JSON object as the list of its members."""


def refuse_if(wrong: bool) -> None:
    if wrong:
        raise Refused


def depth(value: Any) -> int:
    if isinstance(value, Pairs):
        return 1 + max((depth(member) for _, member in value), default=0)
    return 1 + max(map(depth, value), default=0) if isinstance(value, list) else 0


def json_object(value: bytes) -> dict[str, Any]:
    def no_number(_: str) -> None:
        raise ValueError

    def whole(digits: str) -> int:
        return int(digits[:100])  # longer ones are out of any range, and Python refuses very long ones

    try:
        document = json.loads(value.decode("utf-8"), object_pairs_hook=Pairs, parse_constant=no_number, parse_int=whole)
        json.dumps(document, ensure_ascii=False).encode("utf-8")  # fails for half a surrogate pair
    except (ValueError, RecursionError) as error:
        raise Refused from error
    refuse_if(not isinstance(document, Pairs) or depth(document) > 64)
    refuse_if(len(dict(document)) != len(document))
    return dict(document)


def milliseconds(time: Any) -> int:
    if type(time) is str:
        two = "([0-9]{2})"
        match = re.fullmatch(rf"([0-9]{{4}})-{two}-{two}[Tt ]{two}:{two}:{two}(?:\.([0-9]+))?(?:[Zz]|([+-]){two}:{two})", time)
        if match is None:
            raise Refused
        year, month, day, hour, minute, second = map(int, match.groups()[:6])
        sign, hours, minutes = -1 if match[8] == "-" else 1, int(match[9] or 0), int(match[10] or 0)
        refuse_if(hour > 23 or minute > 59 or second > 60 or hours > 23 or minutes > 59)
        try:
            days = (datetime.date(year, month, day) - datetime.date(1970, 1, 1)).days
        except ValueError as error:
            raise Refused from error
        seconds = days * 86400 + (hour - sign * hours) * 3600 + (minute - sign * minutes) * 60 + second
        time = seconds * 1000 + int((match[7] or "")[:3].ljust(3, "0"))
    refuse_if(type(time) is not int or not 0 <= time < 253_402_300_800_000)
    return int(time)


def reference(value: bytes | None, key: bytes | None, timestamp: int, keyed: bool = True, max_bytes: int = 65536) -> dict[str, Any]:
    """The event's columns, or Refused."""
    refuse_if(value is None or value == b"" or len(value) > max_bytes)
    assert value is not None
    said = json_object(value)
    event: dict[str, Any] = dict.fromkeys(COLUMNS) | {"records": 1, "bytes": 0, "outcome": "success", "fields": []}
    event |= {name: said[name] for name in event.keys() & said.keys()}
    for name, most in LENGTHS.items():
        if event[name] is None:
            refuse_if(name in ("actor", "resource"))
        else:
            refuse_if(type(event[name]) is not str or not 1 <= len(event[name]) <= most)
    for name in ("records", "bytes"):
        refuse_if(type(event[name]) is not int or not 0 <= event[name] <= 2**53)
    for name, words in (("action", ACTIONS), ("outcome", OUTCOMES)):
        refuse_if(type(event[name]) is not str or event[name] not in words)
        event[name] = words.index(event[name])
    fields = event["fields"]
    refuse_if(type(fields) is not list or len(fields) > 64 or any(type(field) is not str for field in fields))
    for name, most in (("src_lat", 90), ("src_lon", 180)):
        if event[name] is not None:
            refuse_if(type(event[name]) not in (int, float) or not -most <= event[name] <= most)
    refuse_if((event["src_lat"] is None) != (event["src_lon"] is None))
    event["time"] = milliseconds(event["time"])
    if event["valid_until"] is not None:
        refuse_if(ACTIONS[event["action"]] != "assign")
        event["valid_until"] = milliseconds(event["valid_until"])
    refuse_if(keyed and key != event["actor"].encode())
    refuse_if(timestamp > 0 and event["time"] > timestamp + 300_000)
    return event


GOOD: dict[str, Any] = {"time": NOW, "actor": "e1", "action": "read", "resource": "user_profile", "subject": "u1"}
GOOD_BYTES = json.dumps(GOOD).encode()


def event(**members: Any) -> bytes:
    """A good event with some members replaced; ... leaves one out."""
    return json.dumps({name: value for name, value in (GOOD | members).items() if value is not ...}).encode()


def raw(member: bytes) -> bytes:
    """A good event with one more member as it stands."""
    return GOOD_BYTES[:-1] + b", " + member + b"}"


def replaced(name: str, value: bytes) -> bytes:
    """A good event in which one member's JSON is replaced."""
    rest = {other: said for other, said in GOOD.items() if other != name}
    return json.dumps(rest).encode()[:-1] + b', "' + name.encode() + b'": ' + value + b"}"


def decoded_among_good(value: bytes | None, key: bytes | None = b"e1", timestamp: int = NOW, headers: bytes | None = None) -> EventBatch:
    """Decode the record between good ones and check that these are untouched."""
    n = 7
    values, keys, timestamps, all_headers = [GOOD_BYTES] * n, [b"e1"] * n, [NOW] * n, [None] * n
    values[3], keys[3], timestamps[3], all_headers[3] = value, key, timestamp, headers  # type: ignore[call-overload]
    batch = decode(records_of(values, keys, timestamps, all_headers), Limits())
    neighbours = [i for i, offset in enumerate(batch.offset.tolist()) if offset != 103]
    assert [batch.offset[i] - 100 for i in neighbours] == [0, 1, 2, 4, 5, 6]
    alone = decode(records_of([GOOD_BYTES], [b"e1"]), Limits()).rows[0]
    assert all(batch.rows[i] == alone and batch.time[i] == NOW for i in neighbours)
    assert len(batch) + len(batch.dead) == n
    return batch


def assert_refused(reason: str, pointer: str, value: bytes | None, key: bytes | None = b"e1", timestamp: int = NOW) -> None:
    headers = b"\x02\x02a\x02\xff"
    (letter,) = decoded_among_good(value, key, timestamp, headers).dead
    assert (letter.reason, letter.pointer) == (reason, pointer), letter.message
    assert (letter.topic, letter.partition, letter.offset, letter.timestamp) == ("access-events", 3, 103, timestamp)
    assert (letter.key, letter.value, letter.headers) == (key, value, headers)
    assert letter.message and reason in REASONS
    with pytest.raises(Refused):
        reference(value, key, timestamp)


def accepted(value: bytes, key: bytes | None = b"e1", timestamp: int = NOW) -> NativeEvent:
    batch = decoded_among_good(value, key, timestamp)
    assert not batch.dead, batch.dead
    row = batch.rows[3]
    assert isinstance(row, NativeEvent)
    assert row.time == batch.time[3] == reference(value, key, timestamp)["time"]
    return row
