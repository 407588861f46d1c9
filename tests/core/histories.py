"""Random histories of a few employees, as events with everything that a frame says of them, and the two ways to see them: the compiled
families of signals over a frame, and their slow, obvious twins, one event at a time.

A twin is a class, one instance an employee: `observe(event, baselines, said)` reads what earlier twins put into `said` (a name that is not
in it is 0), adds what its family gives, and has then seen the event.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cache
from types import ModuleType
from typing import Any, Protocol

import numpy as np

from detector.core.baselines import HOURS, Baselines
from detector.core.events import ACTIONS, NO_TIME, OUTCOMES
from detector.core.features import FeatureBatch
from detector.core.frame import Frame
from detector.core.signals import accumulators
from detector.core.state import KeyedState

START = 1_790_000_000_000
MINUTE = 60_000
HOUR = 60 * MINUTE
DAY = 24 * HOUR
KEYS = 16
LOOKS = ("read", "read", "read", "list", "export", "write", "login", "search", "grant", "admin")
TEAMS, PAIRS, STEPS, PURPOSES = 3, 6, 12, 3


@dataclass
class Event:
    """What a frame says of one event, and its employee. `pair_row` and `purpose_row` -1: not in the vocabulary."""

    key: int
    time: int
    hour: int
    action: str
    outcome: str
    resource: int
    kind: int
    grants: int
    pair: int
    pair_row: int
    team: int
    team_key: int
    old_team: int
    transferred: int
    subject: int
    purpose: int
    purpose_row: int
    purpose_kind: int
    exception: bool
    valid_until: int | None
    records: int
    bytes: int
    special: float
    own: bool
    self: bool
    teammate: bool
    location: bool
    content: bool
    wall: float
    revoked: float
    country: int
    device: int
    latitude: float
    longitude: float

    @property
    def day(self) -> int:
        return self.time // DAY

    @property
    def is_access(self) -> bool:
        return self.action not in ("assign", "unassign")

    @property
    def on_person(self) -> bool:
        """An access to somebody's data: it has a subject and is neither a login nor a change of rights."""
        return self.is_access and self.subject != 0 and self.action not in ("login", "grant", "admin")


class Twin(Protocol):
    def observe(self, event: Event, baselines: Baselines, said: dict[str, float]) -> None: ...


def step_hash(before: int, pair: int) -> int:
    """MurmurHash3's finaliser of the two numbers side by side, its lower half; never 0."""
    h = before << 32 | pair
    for factor in (0xFF51AFD7ED558CCD, 0xC4CEB9FE1A85EC53):
        h = (h ^ h >> 33) * factor % 2**64
    return max((h ^ h >> 33) % 2**32, 1)


@cache
def baselines() -> Baselines:
    rng = np.random.default_rng(5)

    def shares(words: int) -> tuple[np.ndarray, np.ndarray]:
        team = rng.dirichlet(np.full(words + 1, 0.3), TEAMS) + 1e-3
        return team[0], team

    mean, spread = rng.uniform(0, 1.5, (TEAMS, accumulators.K)), rng.uniform(0.05, 0.8, (TEAMS, accumulators.K))
    pairs = np.arange(1, PAIRS + 1, dtype=np.uint32) * 1000
    steps = np.array(sorted(step_hash(1000 * a, 1000 * b) for a in range(4) for b in range(1, 4)), np.uint32)
    purpose = rng.uniform(0.1, 1.5, (TEAMS, PURPOSES, 4))
    return Baselines(
        np.array([0, 71, 72], np.uint64), pairs, *shares(PAIRS), steps, *shares(STEPS), rng.dirichlet(np.full(HOURS, 0.3), TEAMS) + 1e-4,
        mean, spread, np.maximum(rng.uniform(-0.3, 0.3, mean.shape), 0),
        rng.uniform(0.1, 1, (TEAMS, 2)), np.array([501, 502, 503], np.uint64), purpose, np.array([71], np.uint64),
        np.array([905], np.uint64), np.array([1.5]),
    )  # fmt: skip


def person(rng: np.random.Generator, key: int, time: int, team: int, subjects: Sequence[int]) -> Event:
    """Any event at all, but one that could be: flags go with what they are about."""
    action = str(rng.choice(["assign", "unassign", rng.choice(LOOKS)], p=[0.2, 0.05, 0.75]))
    ends = [None, time + int(rng.integers(2 * HOUR)), time + int(rng.integers(20 * DAY))]
    subject, row, purpose = int(rng.choice([0, *subjects])), int(rng.integers(-1, PAIRS)), int(rng.choice([0, 0, 0, 31, 32, 33, 34]))
    kind, about, flat = int(rng.choice(5, p=[0.6, 0.1, 0.2, 0.05, 0.05])), rng.random(), rng.random() < 0.5
    place = [(53.3, -6.3), (52.5, 13.4), (37.8, -122.4), (1.3, 103.8)][rng.choice(4, p=[0.8, 0.1, 0.05, 0.05])]
    moved = int(rng.choice([0, START + 3 * DAY]))
    return Event(
        key=key, time=time, hour=int(time // HOUR % 24 + 24 * (time // DAY % 7 >= 5)), action=action,
        outcome=str(rng.choice(OUTCOMES, p=[0.8, 0.15, 0.05])), resource=900 + int(rng.integers(8)), kind=kind,
        grants=900 + int(rng.integers(4)) if kind == 2 and rng.random() < 0.8 else 0, pair=1000 * (row + 1) if row >= 0 else 99_001,
        pair_row=row, team=team, team_key=int(rng.choice([0, 71 + team], p=[0.1, 0.9])),
        old_team=int(rng.integers(TEAMS)) if moved and rng.random() < 0.9 else -1, transferred=moved, subject=subject, purpose=purpose,
        purpose_row=-1 if purpose in (0, 34) else purpose - 31, purpose_kind=purpose + 470 if purpose else 0,
        exception=purpose == 33, valid_until=ends[rng.integers(3)] if action == "assign" else None,
        records=int(rng.choice([0, 1, 40, 3000])), bytes=int(rng.choice([0, 800, 500_000])),
        special=float(rng.choice([0, 0.6, 0.8, 1])) if subject else 0.0, own=bool(subject and about < 0.1),
        self=bool(subject and 0.1 < about < 0.2), teammate=bool(subject and 0.2 < about < 0.3),
        location=bool(rng.random() < 0.3), content=bool(rng.random() < 0.2),
        wall=float(rng.choice([0, 1, 0.1, 0.02], p=[0.7, 0.2, 0.05, 0.05])) if subject else 0.0,
        revoked=float(rng.choice([-1, 0, 2.5], p=[0.7, 0.2, 0.1])), country=int(rng.choice([0, 61, 62, 63], p=[0.2, 0.6, 0.1, 0.1])),
        device=int(rng.choice([0, *range(81, 93)])), latitude=math.nan if flat else place[0], longitude=math.nan if flat else place[1],
    )  # fmt: skip


def bursts(rng: np.random.Generator, length: int = 500, keys: int = KEYS) -> list[Event]:
    """Bursts and pauses over weeks, one busy person and others, transfers, events that come late."""
    subjects, at, events = rng.integers(1, 2**63, 14).tolist(), START, []
    shares = np.array([12, *[0.6] * (keys - 1)])
    team = {key: int(rng.integers(TEAMS)) for key in range(keys)}
    for _ in range(length):
        at += int(rng.exponential(rng.choice([MINUTE, 20 * MINUTE, 3 * HOUR, 20 * HOUR], p=[0.3, 0.4, 0.2, 0.1])))
        key = int(rng.choice(keys, p=shares / shares.sum()))
        late = int(rng.choice([0, rng.integers(3 * HOUR), rng.integers(3 * DAY)], p=[0.85, 0.1, 0.05]))
        if rng.random() < 0.02:
            team[key] = int(rng.integers(TEAMS))
        events.append(person(rng, key + 1, at - late, team[key], subjects[: rng.choice([4, 14])]))
    return events


def as_frame(events: Sequence[Event]) -> Frame:
    columns: dict[str, Any] = {f.name: [getattr(e, f.name) for e in events] for f in fields(Frame)}
    columns["action"] = [ACTIONS.index(a) for a in columns["action"]]
    columns["outcome"] = [OUTCOMES.index(o) for o in columns["outcome"]]
    columns["valid_until"] = [NO_TIME if v is None else v for v in columns["valid_until"]]
    dtypes = {f.name: str(f.type).removeprefix("NDArray[np.").removesuffix("]").replace("bool_", "bool") for f in fields(Frame)}
    return Frame(*(np.array(columns[f.name], dtypes[f.name]) for f in fields(Frame)))


def names(families: Sequence[ModuleType]) -> tuple[str, ...]:
    return tuple(name for family in families for name in family.GIVES)


def fast(families: Sequence[ModuleType], events: Sequence[Event]) -> np.ndarray:
    """(n, F) as the product sees it."""
    state = KeyedState([c for family in families for c in family.COLUMNS], 10_000)
    frame, keys = as_frame(events), np.array([e.key for e in events], np.uint64)
    parts = []
    for rows, slots in state.runs(keys, frame.time):
        out = FeatureBatch.zeros(names(families), len(slots))
        for family in families:
            family.observe(state, slots, frame.take(rows), baselines(), out)
        parts.append(out.values)
    return np.concatenate(parts)


def slow(families: Sequence[ModuleType], twins: Sequence[type[Twin]], events: Sequence[Event]) -> np.ndarray:
    """(n, F) as the twins of the families see it."""
    people: defaultdict[int, list[Twin]] = defaultdict(lambda: [twin() for twin in twins])
    out = np.zeros((len(events), len(names(families))))
    for i, e in enumerate(events):
        said: dict[str, float] = defaultdict(float)
        for twin in people[e.key]:
            twin.observe(e, baselines(), said)
        assert said.keys() <= set(names(families)), said.keys() - set(names(families))
        out[i] = [said.get(name, 0.0) for name in names(families)]
    return out


def differing(families: Sequence[ModuleType], twins: Sequence[type[Twin]], events: Sequence[Event]) -> set[str]:
    """Features that some event sees differently."""
    far = ~np.isclose(fast(families, events), slow(families, twins, events), rtol=2e-4, atol=2e-4)
    return {names(families)[j] for j in np.flatnonzero(far.any(axis=0))}
