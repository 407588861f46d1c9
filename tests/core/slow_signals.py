"""The signals once more, slow and obvious, from their formulas: one event at a time, a `Person` a key, lists of all that was.

What the product keeps in bounded filters and running sums is here kept in full and summed anew at every event.
"""

from __future__ import annotations

import math
from collections import defaultdict, deque
from dataclasses import dataclass, field

from detector.core.baselines import Baselines

MINUTE = 60_000
HOUR = 60 * MINUTE
DAY = 24 * HOUR
HALF_LIVES = {"1.5h": 1.5 * HOUR, "16h": 16 * HOUR, "6d": 6 * DAY}
SCALES = {"harvest": 1, "foreign": 1, "snoop": 1, "off_hours": 1, "export": 50, "activity": 1, "breadth": 1}


@dataclass
class Event:
    key: int
    time: int
    action: str
    pair: int
    """Row of the vocabulary; the last is `other`."""
    team: int
    team_key: int
    subject: int
    purpose: int
    valid_until: int | None
    records: int
    special: float
    own: bool
    location: bool

    @property
    def day(self) -> int:
        return self.time // DAY

    @property
    def weekend(self) -> bool:
        return (self.day + 3) % 7 >= 5  # 1970-01-01 was a Thursday

    @property
    def is_access(self) -> bool:
        return self.action not in ("assign", "unassign")


@dataclass
class Assignment:
    subject: int
    purpose: int
    at: int
    until: int


@dataclass
class Counts:
    """Events of each kind, multiplied by `keep` when a later day than any before begins."""

    keep: float
    day: int = -1
    of: defaultdict[int, float] = field(default_factory=lambda: defaultdict(float))

    def turn(self, day: int) -> None:
        if day > self.day:
            self.day = day
            for kind in self.of:
                self.of[kind] *= self.keep

    @property
    def total(self) -> float:
        return sum(self.of.values())


@dataclass
class Usual:
    """An accumulator: all evidence so far, and what the days before were like."""

    evidence: list[tuple[int, float]] = field(default_factory=list)
    mean: float = 0.0
    var: float = 0.0
    highest_today: float = 0.0


@dataclass
class Person:
    assignments: deque[Assignment] = field(default_factory=lambda: deque(maxlen=32))
    known: set[int] = field(default_factory=set)
    known_before: set[int] = field(default_factory=set)
    look_day: int = -1
    look_days: int = 0
    pairs: Counts = field(default_factory=lambda: Counts(0.95))
    hours: Counts = field(default_factory=lambda: Counts(0.96))
    usual: defaultdict[tuple[str, str], Usual] = field(default_factory=lambda: defaultdict(Usual))
    clock: int = 0
    day: int | None = None
    days: float = 0.0
    team_key: int = 0


def features(person: Person, event: Event, b: Baselines) -> dict[str, float]:
    """What every signal says of the event; a name that is missing is 0. The person has then seen it."""
    out: dict[str, float] = defaultdict(float)
    if event.is_access:
        out["w"] = weight(person, event)
        out["new"] = first_look(person, event)
    else:
        assign(person, event)
    if event.is_access:
        resources(person, event, b, out)
        hours(person, event, b, out)
    out["harvest"] = out["w"] * out["new"]
    out["snoop"] = 0.0 if event.own else out["w"] * out["new"] * event.special * (2 if event.location else 1)
    out["export"] = event.records * (0.2 + 0.8 * out["w"]) if event.action == "export" else 0.0
    out["activity"] = 1.0 if event.is_access and event.action != "login" else 0.0
    out["breadth"] = out["new"]
    accumulators(person, event, b, out)
    return out


def weight(person: Person, event: Event) -> float:
    return reason(person, event) * (0.15 if event.own else 1.0)


def reason(person: Person, event: Event) -> float:
    if not event.subject:
        return 0.35 if event.purpose else 1.0
    mine = [a for a in person.assignments if a.subject == event.subject]
    if any(a.at <= event.time <= a.until for a in mine):
        return 0.03
    if event.purpose:
        return 0.2 if any(a.purpose == event.purpose for a in person.assignments) else 0.35
    return 0.3 if any(0 <= event.time - a.at < 5 * DAY for a in mine) else 1.0


def assign(person: Person, event: Event) -> None:
    if not event.subject:
        return
    if event.action == "assign":
        until = event.time + 14 * DAY if event.valid_until is None else event.valid_until + 6 * HOUR
        person.assignments.append(Assignment(event.subject, event.purpose, event.time, until))
        return
    for a in person.assignments:
        if a.subject == event.subject and event.purpose in (0, a.purpose):
            a.until = min(a.until, event.time + 4 * HOUR)


def first_look(person: Person, event: Event) -> float:
    if not event.subject or event.action == "login":
        return 0.0
    if event.day > person.look_day:
        person.look_day = event.day
        person.look_days += 1
        if person.look_days % 30 == 0:
            person.known_before, person.known = person.known, set()
    new = event.subject not in person.known | person.known_before
    person.known.add(event.subject)
    return float(new)


def resources(person: Person, event: Event, b: Baselines, out: dict[str, float]) -> None:
    counts = person.pairs
    counts.turn(event.day)
    if event.pair < len(b.pairs):
        p_team, p_all = b.pair_team[event.team, event.pair], b.pair_company[event.pair]
        p_own = (counts.of[event.pair] + 12 * p_team + 0.3 * p_all) / (counts.total + 12.3)
        p_ref = 0.5 * p_all + 0.25 * p_team + 0.25 / (len(b.pairs) + 1)
        out["foreign"] = out["w"] * max(math.log(p_ref / (0.5 * p_own + 0.5 * p_team)) - 1, 0)
        out["odd_pair"] = max(math.log(p_ref / p_own), 0)
    counts.of[event.pair] += 1


def hours(person: Person, event: Event, b: Baselines, out: dict[str, float]) -> None:
    counts = person.hours
    counts.turn(event.day)
    hour, weekend = event.time // HOUR % 24, 24 if event.weekend else 0
    near = [(weekend + (hour + step) % 24, share) for step, share in ((-1, 0.25), (0, 0.5), (1, 0.25))]
    own = sum(counts.of[h] * share for h, share in near)
    team = sum(b.hour_team[event.team, h] * share for h, share in near)
    p_hour = (own + 25 * team + 0.02) / (counts.total + 25 + 48 * 0.02)
    out["odd_hour"] = max(-math.log(24 * p_hour) - 1, 0)
    if event.subject and event.action != "login":
        out["off_hours"] = out["w"] * out["odd_hour"]
    counts.of[weekend + hour] += 1


def accumulators(person: Person, event: Event, b: Baselines, out: dict[str, float]) -> None:
    names = [(evidence, half_life) for evidence in SCALES for half_life in HALF_LIVES]
    if event.team_key and event.team_key != person.team_key:
        person.days *= 0.2 if person.team_key else 1.0
        person.team_key = event.team_key
    if person.day is None or event.day > person.day:
        if person.day is not None:
            close_day(person, names, event.team, b)
        person.day = event.day
    person.clock = max(person.clock, event.time)
    out["own_days"] = person.days
    for k, name in enumerate(names):
        if out[name[0]] > 0:
            compare(person, name, b.mean[event.team, k], b.spread[event.team, k], out)


def compare(person: Person, name: tuple[str, str], t_mean: float, t_spread: float, out: dict[str, float]) -> None:
    usual, (evidence, half_life) = person.usual[name], name
    usual.evidence.append((person.clock, out[evidence]))
    total = sum(x * 0.5 ** ((person.clock - at) / HALF_LIVES[half_life]) for at, x in usual.evidence)
    y = math.log(1 + total / SCALES[evidence])
    m, s = blended(usual, person.days, t_mean, t_spread)
    said = {"level": y, "own_usual": m, "team_usual": t_mean, "own": (y - m) / max(s, 0.15), "team": (y - t_mean) / max(t_spread, 0.15)}
    out.update({f"{evidence}.{half_life}.{kind}": value for kind, value in said.items()})
    usual.highest_today = max(usual.highest_today, y)


def blended(usual: Usual, days: float, t_mean: float, t_spread: float) -> tuple[float, float]:
    """Own mean and standard deviation with three days' worth of the team's."""
    mean = (days * usual.mean + 3 * t_mean) / (days + 3)
    return mean, math.sqrt((days * usual.var + 3 * t_spread**2) / (days + 3))


def close_day(person: Person, names: list[tuple[str, str]], team: int, b: Baselines) -> None:
    """A weighted mean and variance of the days' highest levels: the new day weighs 1, those before `days` together."""
    for k, name in enumerate(names):
        usual = person.usual[name]
        m, s = blended(usual, person.days, b.mean[team, k], b.spread[team, k])
        y = min(usual.highest_today, m + 3.5 * max(s, 0.3))
        if person.days == 0:
            usual.mean, usual.var = y, b.spread[team, k] ** 2 / 2
        else:
            n = person.days
            mean = (n * usual.mean + y) / (n + 1)
            usual.var = (n * (usual.var + (usual.mean - mean) ** 2) + (y - mean) ** 2) / (n + 1)
            usual.mean = mean
        usual.highest_today = 0.0
    person.days = min(0.975 * person.days + 1, 40.0)


class Held:
    """Which keys are held and in which slot: a new key takes the lowest free slot; when all are taken, a sixteenth of the keys goes, the
    oldest first and among equally old ones the lower slot."""

    def __init__(self, max_keys: int) -> None:
        self.slots: list[int | None] = [None] * max_keys
        self.last: dict[int, int] = {}

    def touch(self, key: int, time: int) -> list[int]:
        """An event of the key; returns the keys that had to go."""
        gone: list[int] = []
        if key not in self.last:
            if None not in self.slots:
                gone = sorted(self.last, key=lambda k: (self.last[k], self.slots.index(k)))[: len(self.slots) // 16]
            for old in gone:
                self.slots[self.slots.index(old)] = None
                del self.last[old]
            self.slots[self.slots.index(None)] = key
        self.last[key] = max(self.last.get(key, time), time)
        return gone
