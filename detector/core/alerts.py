"""Which rarities become alerts, and what an alert says.

One incident a key while it stays over the threshold: an alert opens it, further ones update it when the rarity rises by .3, a hypothesis
joins, a new unexplained subject enters, or a new UTC day begins; after three quiet days it is closed and the next alert opens another.

Alerts of a task form a chain: `seq` counts them, `prev_hash` is the SHA-256 of the alert before (its JSON with sorted members), so that an
outside evaluator can see that none is missing or altered.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from detector.core.attribution import LEAST_SHARE, Reason
from detector.core.frame import DAY
from detector.core.state import Column, KeyedState

RISE = 0.3
QUIET = 3 * DAY
SUBJECTS = 8
GENESIS = "0" * 64
SEVERITIES = (("critical", 2.0), ("high", 1.0), ("medium", 0.5))

COLUMNS = (
    Column("incident", "uint8", (16,)),
    Column("incident_last", "int64", empty=np.iinfo(np.int64).min),
    Column("incident_rarity", "float32"),
    Column("incident_hypotheses", "uint64"),
    Column("incident_day", "int64", empty=-1),
    Column("incident_subject", "uint64", (SUBJECTS,)),
)


class Evidence(msgspec.Struct, frozen=True):
    topic: str
    partition: int
    offset: int
    event_id: str | None
    """Known for the event that raised the alert; others are found by their offset."""


class Related(msgspec.Struct, frozen=True):
    actors: tuple[str, ...]
    subjects: tuple[str, ...]


class ModelRef(msgspec.Struct, frozen=True):
    view: str
    version: str
    sha256: str


class Alert(msgspec.Struct, frozen=True, kw_only=True):
    alert_id: str
    kind: str
    time: int
    """Ms of the event that raised it."""
    actor: str | None
    subject: str | None
    team: str | None
    score: float
    rarity: float
    severity: str
    incident_id: str
    reasons: tuple[Reason, ...]
    evidence: tuple[Evidence, ...]
    related: Related
    model: ModelRef
    context: str
    """Hash of the context in force."""
    confidence: str
    """How much history of their own the employee was compared with."""
    late: bool
    """The event came longer after it happened than `max_age`."""
    seq: int | None
    """None where it is in no chain: a notable."""
    prev_hash: str | None


def encode(alert: Alert) -> bytes:
    """The alert as one line of JSON, without the line's end."""
    return msgspec.json.encode(alert)


def chain_hash(value: bytes) -> str:
    """Hash of an encoded alert, however its members were ordered or spaced."""
    return hashlib.sha256(msgspec.json.encode(msgspec.json.decode(value), order="sorted")).hexdigest()


def alert_id(view: str, topic: str, partition: int, offset: int) -> str:
    """The same event gives the same id, whoever scores it and however often."""
    return hashlib.sha256("\0".join((view, topic, str(partition), str(offset))).encode()).hexdigest()[:32]


def severity(rarity: float, threshold: float) -> str:
    return next((name for name, above in SEVERITIES if rarity - threshold >= above), "low")


def confidence(own_days: float) -> str:
    if own_days < 1:
        return "no history of their own yet: compared with the team alone"
    return f"about {own_days:.0f} active day{'s' if own_days >= 1.5 else ''} of own history"


@dataclass(frozen=True, slots=True)
class Over:
    """An event over the threshold."""

    time: int
    rarity: float
    shares: NDArray[np.float64]
    subject: int
    """Hash of a subject that is evidence, else 0."""
    alert_id: str


def incident(state: KeyedState, slot: int, over: Over) -> str | None:
    """Opens, updates or continues the key's incident. Returns its id if the event is to be alerted, else None."""
    c = state.columns
    day, mask = over.time // DAY, int(sum(1 << d for d in np.flatnonzero(over.shares >= LEAST_SHARE).tolist()))
    opens = over.time - max(int(c["incident_last"][slot]), -QUIET) > QUIET
    if opens:
        c["incident"][slot] = np.frombuffer(bytes.fromhex(over.alert_id), np.uint8)
        c["incident_hypotheses"][slot] = 0
        c["incident_rarity"][slot] = 0
        c["incident_subject"][slot] = 0
        c["incident_day"][slot] = -1
    entered = _enters(c["incident_subject"][slot], over.subject)
    known = int(c["incident_hypotheses"][slot])
    rises = over.rarity >= float(c["incident_rarity"][slot]) + RISE
    tells = opens or entered or rises or bool(mask & ~known) or day > int(c["incident_day"][slot])
    c["incident_last"][slot] = max(int(c["incident_last"][slot]), over.time)
    if not tells:
        return None
    c["incident_hypotheses"][slot] = known | mask
    c["incident_rarity"][slot] = max(float(c["incident_rarity"][slot]), over.rarity)
    c["incident_day"][slot] = max(int(c["incident_day"][slot]), day)
    return bytes(c["incident"][slot]).hex()


def _enters(subjects: NDArray[np.uint64], subject: int) -> bool:
    """Notes a subject of an incident; False if it was noted, is none, or eight are (an incident of many people is one of many people)."""
    if subject == 0 or (subjects == np.uint64(subject)).any():
        return False
    free = np.flatnonzero(subjects == 0)
    if not len(free):
        return False
    subjects[free[0]] = subject
    return True
