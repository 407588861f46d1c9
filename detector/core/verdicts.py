"""Verdicts: what investigators found out about alerts. A record each, of which the last of an alert counts; the others stay in the log.

They come from people and their tools, and what is learned from them bends what is alerted: so whatever is not exactly a verdict is refused.
A case is a verdict with what is needed of its alert, for training: nothing is said in it of those whose data was looked at.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal, get_args

import msgspec
from msgspec import Meta

Kind = Literal["true_positive", "benign_expected", "false_positive", "duplicate", "needs_information"]
KINDS: tuple[str, ...] = get_args(Kind)
MOST_BYTES = 1 << 15
MOST_NOTE = 4000
FIRST_TIME, LAST_TIME = 946_684_800_000, 4_102_444_800_000
"""2000 and 2100, ms: what is not between them are seconds, or microseconds, or nonsense."""

AlertId = Annotated[str, Meta(pattern=r"^[0-9a-f]{32}\Z")]
Time = Annotated[int, Meta(ge=FIRST_TIME, le=LAST_TIME)]


class Verdict(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    alert_id: AlertId
    verdict: Kind
    by: Annotated[str, Meta(min_length=1, max_length=128, pattern=r"^[^\x00-\x1f\x7f]*\Z")]
    """Who says so."""
    time: Time
    """Ms since 1970 UTC, when."""
    note: Annotated[str, Meta(max_length=MOST_NOTE)] = ""


class Case(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A verdict, and of its alert: the employee, when, the incident, and how much of it each hypothesis made."""

    verdict: Verdict
    actor: Annotated[str, Meta(min_length=1, max_length=128)]
    time: Time
    incident_id: AlertId
    shares: dict[str, Annotated[float, Meta(gt=0, le=1)]]
    """Those of the hypotheses that were told."""


class _Named(msgspec.Struct):
    alert_id: str = ""


class _Reason(msgspec.Struct):
    hypothesis: str
    share: float


class _Alert(msgspec.Struct):
    """What is asked of an alert here."""

    alert_id: str
    actor: str | None
    time: int
    incident_id: str
    reasons: tuple[_Reason, ...]


_VERDICT, _CASE, _ALERT = msgspec.json.Decoder(Verdict), msgspec.json.Decoder(Case), msgspec.json.Decoder(_Alert)
_NAMED = msgspec.json.Decoder(_Named)


def encode(verdict: Verdict) -> tuple[bytes, bytes]:
    """Key and value of a record."""
    return verdict.alert_id.encode(), msgspec.json.encode(verdict)


def parse(value: bytes, key: bytes | None = None) -> Verdict:
    """The inverse; the key is compared where there is one. Raises ValueError with a sentence that names the member."""
    found: Verdict = _strictly(_VERDICT, value)
    if key is not None and key != found.alert_id.encode():
        raise ValueError("`alert_id` is not the record's key; verdicts on one alert would not stay in order")
    return found


def checked(members: Mapping[str, Any]) -> Verdict:
    """A verdict from what somebody typed. Raises ValueError likewise."""
    try:
        return parse(msgspec.json.encode(members))
    except UnicodeEncodeError as error:
        raise ValueError("is not Unicode text") from error


def latest(verdicts: Iterable[Verdict]) -> dict[str, Verdict]:
    """Alert -> the verdict that counts, from all in the order of the log."""
    return {each.alert_id: each for each in verdicts}


def alert_id_of(record: bytes) -> str:
    """Of a record of the topic of alerts; empty where it is none."""
    try:
        return _NAMED.decode(record).alert_id
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return ""


def case(verdict: Verdict, alert: bytes) -> Case | None:
    """The case of a verdict and its alert as the topic has it; None where the alert names no employee. Raises ValueError."""
    try:
        said = _ALERT.decode(alert)
        shares = {reason.hypothesis: reason.share for reason in said.reasons if reason.share > 0}
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ValueError(_sentence(error)) from error
    return parse_case(encode_case(Case(verdict, said.actor, said.time, said.incident_id, shares))) if said.actor else None


def encode_case(case: Case) -> bytes:
    """As one line of JSON, without the line's end."""
    return msgspec.json.encode(case)


def parse_case(line: bytes) -> Case:
    """The inverse. Raises ValueError with a sentence that names the member."""
    found: Case = _strictly(_CASE, line)
    return found


def confirmed(cases: Iterable[Case]) -> list[tuple[str, int]]:
    """(employee, ms) of the alerts that were right: nothing should be learned from the time around them."""
    return [(each.actor, each.time) for each in cases if each.verdict.verdict == "true_positive"]


def _strictly(decoder: msgspec.json.Decoder[Any], value: bytes) -> Any:
    if len(value) > MOST_BYTES:
        raise ValueError(f"has {len(value)} bytes, at most {MOST_BYTES} are allowed")
    try:
        found = decoder.decode(value)
        json.loads(value, object_pairs_hook=_once)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(_sentence(error)) from error
    return found


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """Of a member that stands there twice another reader may take the other."""
    members = dict(pairs)
    if len(members) < len(pairs):
        raise ValueError(f"`{next(name for name, _ in pairs if sum(name == n for n, _ in pairs) > 1)}` stands there twice")
    return members


def _sentence(error: Exception) -> str:
    """As msgspec says it, the member first: `note`: Expected `str`, got `int`."""
    what, _, where = str(error).partition(" - at `$")
    if where.startswith("."):
        return f"`{where[1:].rstrip('`')}`: {what}"
    missing = re.fullmatch(r"Object (missing required|contains unknown) field `(.*)`", what, re.DOTALL)
    if missing:
        return f"`{missing[2]}` {'is missing' if missing[1].startswith('missing') else 'is no member of it'}"
    return what
