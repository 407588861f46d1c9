"""The native access event: one flat JSON object a record. Its contract is docs/reference/events.md."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple, TypeAlias

import msgspec
import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from detector.core.events import ACTIONS, NO_TIME, OUTCOMES, DeadLetter, EventBatch, Ints, Records, hash_members
from detector.core.json_scan import (
    ESCAPED,
    LAST_TIME,
    LOCATED,
    MAX_DEPTH,
    SOUND_IF_IT_ENDS,
    SOUND_IF_UTF8,
    UNUSUAL,
    deepest,
    scan,
)
from detector.core.rfc3339 import milliseconds
from detector.core.strings import hash_spans

_ACTION: dict[Any, int] = {name: code for code, name in enumerate(ACTIONS)}
_OUTCOME: dict[Any, int] = {name: code for code, name in enumerate(OUTCOMES)}
_ASSIGN = _ACTION["assign"]

String64 = Annotated[str, Meta(min_length=1, max_length=64)]
String128 = Annotated[str, Meta(min_length=1, max_length=128)]
String256 = Annotated[str, Meta(min_length=1, max_length=256)]
Count = Annotated[int, Meta(ge=0, le=2**53)]
if TYPE_CHECKING:  # what a decoded event holds
    Time: TypeAlias = int
    Action: TypeAlias = int
    Outcome: TypeAlias = int
else:  # what its JSON says
    Time = int | str
    Action, Outcome = Literal[ACTIONS], Literal[OUTCOMES]


class NativeEvent(msgspec.Struct, gc=False):
    """An access event. Times are ms since 1970 UTC; `action` and `outcome` are indices into ACTIONS and OUTCOMES."""

    time: Time
    actor: String128
    action: Action
    resource: String256
    event_id: String128 | None = None
    subject: String128 | None = None
    fields: Annotated[tuple[str, ...], Meta(max_length=64)] = ()
    records: Count = 1
    bytes: Count = 0
    outcome: Outcome = "success"  # type: ignore[assignment]
    purpose: String128 | None = None
    actor_team: String64 | None = None
    actor_role: String64 | None = None
    actor_region: String64 | None = None
    subject_region: String64 | None = None
    src_ip: String64 | None = None
    src_country: String64 | None = None
    device: String64 | None = None
    session: String64 | None = None
    src_lat: Annotated[float, Meta(ge=-90, le=90)] | None = None
    src_lon: Annotated[float, Meta(ge=-180, le=180)] | None = None
    valid_until: Time | None = None


_decode = msgspec.json.Decoder(NativeEvent).decode
_skim = msgspec.json.Decoder(msgspec.Raw).decode


@dataclass(frozen=True, slots=True)
class Limits:
    """What the operator lets in."""

    max_event_bytes: int = 65_536
    max_future: int = 300_000
    """How far an event's time may be ahead of the broker's, in ms."""


class Refusal(NamedTuple):
    """Why a record is no access event."""

    reason: str
    pointer: str
    message: str


def decode(records: Records, limits: Limits) -> EventBatch:
    """Access events of `records`, and a dead letter for each record that is none. Raises nothing, whatever the bytes are."""
    data = records.data
    verdict, time, located = scan(data, records.value, records.key, records.timestamp, limits.max_event_bytes, limits.max_future)
    verdict[records.broken] = UNUSUAL
    fit, starts, stops, times = verdict.tolist(), records.value[:, 0].tolist(), records.value[:, 1].tolist(), time.tolist()
    events: list[NativeEvent] = []
    dead: list[DeadLetter] = []
    kept = np.ones(len(records), np.bool_)
    for row, (fitness, start, stop, when) in enumerate(zip(fit, starts, stops, times, strict=True)):  # the hot loop: no calls but _decode
        if fitness:
            value = data[start:stop]
            try:
                if fitness == SOUND_IF_UTF8:
                    value.decode()
                event = _decode(value)
            except (msgspec.DecodeError, UnicodeDecodeError):
                event = None  # a careful look says why
            if event is not None and (fitness != SOUND_IF_IT_ENDS or _ends(event)):
                event.time, event.action, event.outcome = when, _ACTION[event.action], _OUTCOME[event.outcome]
                events.append(event)
                continue
        found = _look(records, row, limits)
        if isinstance(found, Refusal):
            dead.append(_dead_letter(records, row, found))
            kept[row] = False
        else:
            events.append(found)
            time[row] = found.time
            located[row, :, 1] = ESCAPED
    time, timestamp = time[kept], records.timestamp[kept]
    broker_time = np.where(timestamp > 0, timestamp, time)
    hashes = _hashes(data, located[kept], events)
    return EventBatch(records.topic, records.partition, records.offset[kept], broker_time, time, events, dead, hashes)


def _hashes(data: bytes, located: Ints, events: list[NativeEvent]) -> dict[str, NDArray[np.uint64]]:
    """Hashes of the members that the scan located: from the bytes where they stand as they are, else from the decoded event."""
    hashes = hash_spans(data, located)
    for column, name in enumerate(LOCATED):
        rows = np.flatnonzero(located[:, column, 1] == ESCAPED)
        if len(rows):
            hashes[rows, column] = hash_members([events[row] for row in rows.tolist()], name)
    return {name: np.ascontiguousarray(hashes[:, column]) for column, name in enumerate(LOCATED)}


def _look(records: Records, row: int, limits: Limits) -> NativeEvent | Refusal:
    """The same with care, one check after the other, for a record that is wrong or only unusual."""
    value = records.part(records.value, row)
    if records.broken[row]:
        return Refusal("malformed-record", "", "the record's own framing is damaged")
    if value is None:
        return Refusal("null-value", "", "the record has no value")
    if not value:
        return Refusal("empty-value", "", "the record's value is empty")
    if len(value) > limits.max_event_bytes:
        return Refusal("too-large", "", f"the value has {len(value)} bytes, more than max_event_bytes = {limits.max_event_bytes}")
    try:
        text = value.decode()
    except UnicodeDecodeError as error:
        return Refusal("not-utf8", "", f"no UTF-8 at byte {error.start}")
    if deepest(value) > MAX_DEPTH:
        return Refusal("too-deep", "", f"nested deeper than {MAX_DEPTH}")
    try:
        _skim(value)  # all of it is JSON, before a member is blamed
        event = _decode(value)
    except msgspec.ValidationError as error:
        return _misfit(str(error))
    except msgspec.DecodeError:
        return Refusal("not-json", "", "not one JSON text")
    refusal = _duplicate(text) or _inconsistent(event) or _bad_time(event, "time") or _bad_time(event, "valid_until")
    return refusal or _foreign(records, row, event, limits) or event


def _misfit(error: str) -> Refusal:
    """What msgspec says of a member, in our codes. Its text for an unknown word quotes the record, so that one is not passed on."""
    text, _, path = error.partition(" - at `$")
    pointer = re.sub(r"[.\[]", "/", path.removesuffix("`")).replace("]", "")
    if missing := re.fullmatch(r"Object missing required field `(\w+)`", text):
        return Refusal("missing-member", f"/{missing[1]}", f"`{missing[1]}` is required")
    if not pointer:
        return Refusal("not-an-object", "", "the value is JSON, but no object")
    if text.startswith("Invalid enum value"):
        return Refusal("unknown-value", pointer, "expected one of: " + ", ".join(ACTIONS if pointer == "/action" else OUTCOMES))
    return Refusal("wrong-type" if ", got `" in text else "out-of-range", pointer, text[0].lower() + text[1:])


def _duplicate(text: str) -> Refusal | None:
    names: set[str] = set()
    pairs: list[tuple[str, Any]] = json.loads(text, object_pairs_hook=list, parse_int=str)  # str: int() refuses very long ones
    for name, _ in pairs:
        if name in names:
            return Refusal("duplicate-member", "/" + name.replace("~", "~0").replace("/", "~1"), "the member occurs more than once")
        names.add(name)
    return None


def _inconsistent(event: NativeEvent) -> Refusal | None:
    if (event.src_lat is None) != (event.src_lon is None):
        absent = "src_lat" if event.src_lat is None else "src_lon"
        return Refusal("missing-member", f"/{absent}", "`src_lat` and `src_lon` go together")
    event.action, event.outcome = _ACTION[event.action], _OUTCOME[event.outcome]
    if event.valid_until is not None and event.action != _ASSIGN:
        return Refusal("unexpected-member", "/valid_until", "only an `assign` ends")
    return None


def _ends(event: NativeEvent) -> bool:
    """Whether `valid_until`, as decoded, can be taken as it is."""
    until: Any = event.valid_until
    action: Any = event.action
    return action == "assign" and type(until) is int and 0 <= until <= LAST_TIME


def _bad_time(event: NativeEvent, name: str) -> Refusal | None:
    """Bring a time into ms."""
    time = getattr(event, name)
    if isinstance(time, str):
        time = milliseconds(time)
        if time == NO_TIME:
            return Refusal("bad-time", f"/{name}", "expected RFC 3339 with an offset, as in 2026-03-02T09:14:07.123Z, or ms since 1970 UTC")
    if time is not None and not 0 <= time <= LAST_TIME:
        return Refusal("out-of-range", f"/{name}", "expected a time in the years 1970 to 9999")
    setattr(event, name, time)
    return None


def _foreign(records: Records, row: int, event: NativeEvent, limits: Limits) -> Refusal | None:
    """Does the event not fit its record?"""
    if records.key is not None:
        key = records.part(records.key, row)
        if not key:
            return Refusal("no-key", "", "the record has no key; it must be the actor")
        if key != event.actor.encode():
            return Refusal("key-mismatch", "/actor", "the record's key is not the actor")
    ahead = event.time - int(records.timestamp[row])
    if records.timestamp[row] > 0 and ahead > limits.max_future:
        return Refusal("too-far-in-future", "/time", f"{ahead} ms ahead of the broker's clock, more than max_future = {limits.max_future}")
    return None


def _dead_letter(records: Records, row: int, refusal: Refusal) -> DeadLetter:
    return DeadLetter(
        records.topic, records.partition, int(records.offset[row]), int(records.timestamp[row]), *refusal,
        records.part(records.key, row), records.part(records.value, row), records.part(records.headers, row),
    )  # fmt: skip
