"""Alerts as they are judged: what any detector's NDJSON says of when, how strange, and who."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from detector.core.frame import DAY
from detector.core.heartbeats import KIND as HEARTBEAT
from detector.errors import ConfigError

Key = tuple[str, int]


class Alert(msgspec.Struct, frozen=True):
    """What is judged of an alert, whoever made it."""

    time: int
    """Ms of the event that raised it."""
    score: float
    """Higher is stranger."""
    actors: frozenset[str] = frozenset()
    subjects: frozenset[str] = frozenset()
    team: str | None = None
    rarity: float | None = None
    alert_id: str | None = None
    incident_id: str | None = None
    hypothesis: str | None = None
    """That which makes most of the score."""

    @property
    def key(self) -> Key:
        """What makes two false alerts one: who is named, on which UTC day."""
        who = ",".join(sorted(self.actors)) or (self.subjects and "subject:" + ",".join(sorted(self.subjects))) or f"team:{self.team}"
        return str(who), self.time // DAY


class _Reason(msgspec.Struct):
    hypothesis: str


class _Line(msgspec.Struct):
    time: int | None = None
    score: float | None = None
    kind: str | None = None
    actor: str | None = None
    subject: str | None = None
    team: str | None = None
    actors: list[str] | None = None
    subjects: list[str] | None = None
    rarity: float | None = None
    alert_id: str | None = None
    incident_id: str | None = None
    reasons: list[_Reason] | None = None


def read_alerts(lines: Iterable[bytes], since: int = 0) -> list[Alert]:
    """Alerts of NDJSON lines from a time (ms) on; heartbeats are passed over. Raises ConfigError naming the first line that is none."""
    decoder, out = msgspec.json.Decoder(_Line), []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            said = decoder.decode(line)
        except msgspec.DecodeError as error:
            raise ConfigError(f"line {number} is no alert: {error}") from error
        if said.kind == HEARTBEAT:
            continue
        if said.time is None or said.score is None:
            raise ConfigError(f"line {number} is no alert: it needs a time in ms and a score")
        if said.time >= since:
            actors, subjects = _named(said.actor, said.actors), _named(said.subject, said.subjects)
            first = said.reasons[0].hypothesis if said.reasons else None
            out.append(
                Alert(said.time, said.score, actors, subjects, said.team or None, said.rarity, said.alert_id, said.incident_id, first)
            )
    return out


def _named(one: str | None, many: list[str] | None) -> frozenset[str]:
    return frozenset(([one] if one else []) + (many or []))
