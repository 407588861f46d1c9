"""Comparison: what two models say of the same employee-days, in terms of whom people would be told about.

An employee-day is alerted by a model if the rarity of its highest score reaches the budget's threshold. What one model alerts and the other
does not even nearly (its rarity is more than NEAR below the threshold, so that it is no notable either) is lost, or new.

The order in which two models put employee-days is compared by Spearman's rank correlation; among those that matter, by that of the days
which either puts into its top TOP.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr

from detector.core.calibration import threshold
from detector.core.drift import Shift
from detector.core.notables import WITHIN as NEAR

TOP = 0.02
LEAST_DAYS = 50
"""Of employee-days, for a rank correlation to say anything."""
LEAST_PEOPLE = 5
"""Of a team, for it to count as flagged."""
TOLD = 1000
"""People in a report at most: the rarest."""


@dataclass(frozen=True, slots=True)
class Days:
    """m employee-days, each once."""

    key: NDArray[np.uint64]
    """Hash of the employee."""
    day: NDArray[np.int64]
    """Since 1970."""
    team: NDArray[np.uint64]
    """Hash of the team, 0 unknown."""
    rarity: NDArray[np.float32]
    """(m, 2) of the day's highest score, by each model."""

    def __len__(self) -> int:
        return len(self.key)


@dataclass(frozen=True)
class Side:
    """One of the two models."""

    version: str
    alerted: int
    """Employee-days."""
    employees: int
    """Who would be alerted at all."""
    per_1000: float
    """Alerted, of 1,000 employee-days."""


@dataclass(frozen=True)
class Person:
    """An employee whom one model alerts and the other does not."""

    employee: str
    team: str
    days: int
    """Employee-days on which it is so."""
    day: int
    """The rarest of them, since 1970."""
    rarity: tuple[float, float]
    """On that day, by each model."""
    near: bool
    """The other model nearly does: it has a notable."""


@dataclass(frozen=True)
class Team:
    team: str
    employee_days: int
    employees: int
    alerted: tuple[int, int]
    """Employee-days, by each model."""
    per_1000: tuple[float, float]
    flagged: tuple[int, int]
    """Employees alerted, by each model."""
    lost: int
    """Employees alerted by the first whom the second does not even nearly alert on any of those days."""


@dataclass(frozen=True)
class Signal:
    """How far the days compared have moved away from what each model was trained on; None where the sample is too small to say."""

    name: str
    psi: tuple[float | None, float | None]
    moved: tuple[bool, bool]


@dataclass(frozen=True)
class Shifted:
    """How far a signal has moved away from what one model was trained on."""

    psi: float | None
    """None where the sample is too small to say."""
    moved: bool


@dataclass(frozen=True)
class Comparison:
    budget: float
    first_day: int
    last_day: int
    employee_days: int
    employees: int
    models: tuple[Side, Side]
    both: int
    """Employee-days that both alert."""
    only_first: tuple[Person, ...]
    only_second: tuple[Person, ...]
    """The rarest first, TOLD at most."""
    only: tuple[int, int]
    """Employees whom one alone alerts on some day, all of them."""
    lost: int
    """Employees likewise, of all teams."""
    correlation: float | None
    """Spearman's, over all employee-days; None where it cannot be said."""
    correlation_top: float | None
    teams: tuple[Team, ...]
    """The largest change first."""
    signals: tuple[Signal, ...]
    """The furthest moved first."""


@dataclass(frozen=True)
class Limits:
    """Beyond which the second model is not to take the first one's place."""

    rate: float
    """Times as many alerts as the first gives, or as the budget promises, whichever is more."""
    lost: float
    """Share of the employees alerted by the first who are lost. Teams that the first flags as a whole are left out: it is they who got
    something new, and the second knows it."""
    team: float
    """Share of a team's employees alerted by the second and not by the first; or twice the company's share, where that is more."""
    correlation: float
    """Least rank correlation over all employee-days."""


def compare(
    days: Days, names: Mapping[int, str], versions: tuple[str, str], budget: float, shifts: Sequence[Mapping[str, Shifted]]
) -> Comparison:
    """`names`: of employees and teams, by hash; `shifts`: of each model, by signal (see `shifted`); `days` must not be empty."""
    least = threshold(budget)
    over = days.rarity >= least
    sides = [Side(v, int(o.sum()), _people(days.key[o]), 1000 * float(o.mean())) for v, o in zip(versions, over.T, strict=True)]
    near = days.rarity >= least - NEAR
    only = [_only(days, names, over, near, side) for side in (0, 1)]
    lost = np.setdiff1d(days.key[over[:, 0]], days.key[over[:, 0] & near[:, 1]])
    top = (days.rarity >= np.quantile(days.rarity, 1 - TOP, axis=0)).any(axis=1)
    return Comparison(
        budget, int(days.day.min()), int(days.day.max()), len(days), _people(days.key), (sides[0], sides[1]),
        int(over.all(axis=1).sum()), tuple(only[0][:TOLD]), tuple(only[1][:TOLD]), (len(only[0]), len(only[1])), len(lost),
        correlation(days.rarity), correlation(days.rarity[top]), _teams(days, names, over, lost), _signals(shifts),
    )  # fmt: skip


def gate(found: Comparison, limits: Limits) -> list[str]:
    """Why the second model is not to take the first one's place, a sentence each; none: nothing stands against it.

    Counts are held against what chance would make of the limit: two standard deviations of a Poisson variable are granted.
    """
    first, second = found.models
    why = []
    most = limits.rate * max(first.alerted, found.budget * found.employee_days / 1000)
    if second.alerted > granted(most):
        why.append(f"{second.alerted} employee-days alerted, where {int(granted(most))} are allowed (gate.rate {limits.rate:g})")
    judged = [team for team in found.teams if not _whole(team.flagged[0], team, first, found, limits)]
    lost, alerted = sum(team.lost for team in judged), sum(team.flagged[0] for team in judged)
    if lost > granted(limits.lost * alerted):
        why.append(f"{lost} of {alerted} employees whom the first alerts are no near misses even by the second (gate.lost {limits.lost:g})")
    for team in found.teams:
        if _whole(more := team.flagged[1] - team.flagged[0], team, second, found, limits):
            why.append(f"team {team.team}: {more} of its {team.employees} employees more are alerted (gate.team {limits.team:g})")
    if found.correlation is not None and found.correlation < limits.correlation:
        why.append(f"rank correlation {found.correlation:.2f}, at least {limits.correlation:g} is wanted (gate.correlation)")
    return why


def _whole(people: int, team: Team, side: Side, found: Comparison, limits: Limits) -> bool:
    """Whether so many alerted by a model is the team, rather than people in it: of the whole company it alerts far fewer."""
    share = max(limits.team, 2 * side.employees / found.employees)
    return people >= LEAST_PEOPLE and people > share * team.employees


def granted(count: float) -> float:
    return count + 2 * sqrt(count)


def correlation(rarity: NDArray[np.float32]) -> float | None:
    """Spearman's, of (n, 2); None where there are too few, or one of the two is the same for all."""
    if len(rarity) < LEAST_DAYS or (np.ptp(rarity, axis=0) == 0).any():
        return None
    return float(spearmanr(rarity[:, 0], rarity[:, 1]).statistic)


def shifted(columns: Sequence[str], shift: Shift) -> dict[str, Shifted]:
    """By signal; one that cannot be told has None."""
    rows = zip(columns, shift.psi.tolist(), shift.told.tolist(), shift.moved.tolist(), strict=True)
    return {name: Shifted(psi if told else None, moved) for name, psi, told, moved in rows}


def _signals(shifts: Sequence[Mapping[str, Shifted]]) -> tuple[Signal, ...]:
    """Those that either model has."""
    unknown, first, second = Shifted(None, False), *shifts
    both = [(name, first.get(name, unknown), second.get(name, unknown)) for name in dict.fromkeys([*first, *second])]
    some = [Signal(name, (a.psi, b.psi), (a.moved, b.moved)) for name, a, b in both]
    return tuple(sorted(some, key=lambda each: -max((psi for psi in each.psi if psi is not None), default=-1.0)))


def _people(key: NDArray[np.uint64]) -> int:
    return len(np.unique(key))


def _only(days: Days, names: Mapping[int, str], over: NDArray[np.bool_], near: NDArray[np.bool_], side: int) -> list[Person]:
    """Whom a model alerts on days on which the other one does not, by the rarest of those days."""
    rows = np.flatnonzero(over[:, side] & ~over[:, 1 - side])
    rows = rows[np.lexsort((days.day[rows], -days.rarity[rows, side]))]
    _, first, inverse, counts = np.unique(days.key[rows], return_index=True, return_inverse=True, return_counts=True)
    almost = np.zeros(len(first), np.bool_)
    np.logical_or.at(almost, inverse, near[rows, 1 - side])
    out = []
    for person in np.argsort(first, kind="stable").tolist():
        row = int(rows[first[person]])
        rarity = (float(days.rarity[row, 0]), float(days.rarity[row, 1]))
        team = _named(names, int(days.team[row]))
        out.append(Person(_named(names, int(days.key[row])), team, int(counts[person]), int(days.day[row]), rarity, bool(almost[person])))
    return out


def _teams(days: Days, names: Mapping[int, str], over: NDArray[np.bool_], lost: NDArray[np.uint64]) -> tuple[Team, ...]:
    teams, team = np.unique(days.team, return_inverse=True)

    def people(rows: NDArray[np.bool_]) -> NDArray[np.int64]:
        """(T,) employees on some of the days, in each team."""
        pairs = np.unique(np.stack([team[rows].astype(np.uint64), days.key[rows]], axis=1), axis=0)
        return np.bincount(pairs[:, 0].astype(np.int64), minlength=len(teams))

    size, employees = np.bincount(team, minlength=len(teams)), people(np.ones(len(days), np.bool_))
    alerted = np.stack([np.bincount(team[o], minlength=len(teams)) for o in over.T], axis=1)
    flagged, gone = [people(o) for o in over.T], people(over[:, 0] & np.isin(days.key, lost))
    rate = 1000 * alerted / size[:, None]
    order = np.lexsort((teams, -size, -np.abs(rate[:, 1] - rate[:, 0])))
    return tuple(
        Team(
            _named(names, int(teams[t])), int(size[t]), int(employees[t]), (int(alerted[t, 0]), int(alerted[t, 1])),
            (float(rate[t, 0]), float(rate[t, 1])), (int(flagged[0][t]), int(flagged[1][t])), int(gone[t]),
        )
        for t in order.tolist()
    )  # fmt: skip


def _named(names: Mapping[int, str], hash: int) -> str:
    """A hash in hex where nothing was said of it."""
    return names.get(hash) or (f"{hash:016x}" if hash else "")
