"""Incidents that can be planted into the company's stream. Each is a function of the company and the moment at which it begins."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from detector.sandbox.company.calendar import DAY, HOUR, NAMES, local_day, utc
from detector.sandbox.company.chance import generator
from detector.sandbox.company.customers import Customers
from detector.sandbox.company.events import FIRST_STEP, Rows, finish, measure, rows
from detector.sandbox.company.roles import TEAMS
from detector.sandbox.company.staff import Staff

Ints = NDArray[np.int64]

_STORY_TEAM = "internal-audit"
STORY_REGION = next(team.region for team in TEAMS if team.name == _STORY_TEAM)
_ACTORS, _JOURNALISTS, _COLLEAGUES = 4, 4, 3
_STORY = (
    (0.1, 0, (0, 1)), (1.2, 1, (4, 0)), (2.8, 2, (1, 5, 2)), (4.0, 0, (4, 1)), (14.6, 0, (2, 4)), (21.9, 3, (0, 5)), (27.5, 1, (3, 6)),
    (39.2, 2, (5, 0, 1)), (51.0, 0, (0, 4)),
)  # fmt: skip
"""Visits: hours after the beginning, actor, targets looked at one after the other (journalists, then colleagues' own accounts)."""
_EXPORTS, _EXPORT_HOURS = 45, 3


@dataclass(frozen=True)
class Planted:
    """What was planted, for whoever checks whether it was found."""

    name: str
    start: int
    """ms since 1970 UTC."""
    actors: tuple[str, ...]
    subjects: tuple[str, ...]
    event_ids: frozenset[str]
    """Its accesses, without the logins that belong to them."""


def _story(staff: Staff, customers: Customers, seed: int, start: int) -> Rows:
    """Four internal auditors look up where a few journalists and colleagues are: no ticket, some early or late, place against place."""
    rng = generator(seed, "story", start)
    today = local_day(STORY_REGION, start)
    team = np.flatnonzero(staff.teams(today) == [team.name for team in TEAMS].index(_STORY_TEAM))
    present = sum(np.isin(team, staff.working(today + days)).astype(np.int64) for days in range(3))
    actors = team[np.argsort(-present, kind="stable")][:_ACTORS]
    journalists = rng.choice(customers.protected["journalist"], _JOURNALISTS, replace=False)
    others = np.flatnonzero((customers.own >= 0) & (staff.team[: staff.count] != staff.team[actors[0]]))
    targets = np.append(journalists, customers.own[rng.choice(others, _COLLEAGUES, replace=False)])
    return np.concatenate([
        _visit(int(actors[who % len(actors)]), targets[list(whom)], start + int(hours * HOUR), staff, rng) for hours, who, whom in _STORY
    ])  # fmt: skip


def _visit(actor: int, targets: Ints, begin: int, staff: Staff, rng: np.random.Generator) -> Rows:
    """Two or three looks at each target; outside office hours from home, in a session of its own."""
    region = NAMES[staff.region[actor]]
    day = local_day(region, begin)
    looks = np.where(rng.random(len(targets)) < 0.3, 3, 2)
    target = np.repeat(targets, looks)
    steps = FIRST_STEP["story"] + np.arange(len(target)) - np.repeat(np.cumsum(looks) - looks, looks)
    times = begin + np.cumsum(rng.exponential(50_000, len(steps)) + 4000).astype(np.int64)
    at_home = not utc(region, day, 9.5) <= begin < utc(region, day, 17)
    session = day * 8 + (3 + begin // HOUR % 4 if at_home else 0)
    made = rows(len(steps), actor=actor, step=steps, subject=target, time=times, session=session)
    return np.concatenate([rows(1, actor=actor, step=FIRST_STEP["login"], time=begin - 20_000, session=session), made]) if at_home else made


def _bulk_export(staff: Staff, customers: Customers, seed: int, start: int) -> Rows:
    """Somebody in growth exports customers' contact data for three hours, thousands of records at a time, without a ticket."""
    rng = generator(seed, "bulk-export", start)
    today = start // DAY
    growth = np.flatnonzero(np.array([team.role for team in TEAMS])[staff.teams(today)] == "growth")
    actor = int(rng.choice([who for who in growth if who in staff.working(today)] or growth))
    begin = start + HOUR // 6
    times = begin + np.sort(rng.integers(60_000, _EXPORT_HOURS * HOUR, _EXPORTS))
    session = local_day(NAMES[staff.region[actor]], begin) * 8 + 7
    return np.concatenate([
        rows(1, actor=actor, step=FIRST_STEP["login"], time=begin, session=session),
        rows(_EXPORTS, actor=actor, step=FIRST_STEP["bulk-export"], time=times, session=session),
    ])  # fmt: skip


INCIDENTS: dict[str, Callable[[Staff, Customers, int, int], Rows]] = {"story": _story, "bulk-export": _bulk_export}


def plant(name: str, staff: Staff, customers: Customers, seed: int, start: int) -> tuple[Rows, Planted]:
    """The incident's events in order of arrival, and what to look for. A name that is none of INCIDENTS is a KeyError."""
    made = INCIDENTS[name](staff, customers, seed, start)
    rng = generator(seed, name, start, 1)
    measure(made, rng)
    # odd origins: no event of normal work has such an id
    made = finish(made, (start // 60_000 * len(INCIDENTS) + list(INCIDENTS).index(name)) * 2 + 1, rng)
    found = made[made["step"] != FIRST_STEP["login"]]
    return made, Planted(
        name,
        start,
        tuple(staff.names[who] for who in np.unique(found["actor"])),
        tuple(customers.names[who] for who in np.unique(found["subject"]) if who >= 0),
        frozenset(f"{event_id:016x}" for event_id in found["id"].tolist()),
    )
