"""Baselines: what the company and each of its teams usually do.

Learned from daily records, part of the model; a partition cannot know them.

Vocabularies (pairs of resource and action, steps from one pair to the next, kinds of purposes) are sorted arrays of hashes. What is in none
is never evidence: a tool rolled out yesterday must not flag the team that got it. Team 0 is the whole company, and stands in for a team
that nobody has seen yet.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detector.core.daily import Daily, latest, stacked

Floats = NDArray[np.float64]
Hashes = NDArray[Any]

COMPANY = np.uint64(0)
MAX_PAIRS, MAX_STEPS, MAX_PURPOSES = 2048, 4096, 64
HOURS = 48  # hour of the day, twice: on working days and on others
COMPANY_DAYS = 10.0  # the company's member-days that a team's own usual is blended with
CLIP = 4.0  # standard deviations beyond which a day no longer moves a team's usual
START_SPREAD = 0.3
BUSY_DAYS, LEAST_BUSY_DAYS, BUSY_BEYOND, TRIMMED, MOST_BUSY = 2, 3, 2.0, 0.2, 1.5
NORMAL = 1.4826  # standard deviations of a normal distribution in its median deviation
LEAST_PURPOSES = 10  # observations from which on a team's purposes are described by themselves
REVOKED_HALF_LIFE = 4.0  # days


@dataclass(frozen=True)
class Baselines:
    """T teams, V pairs, S steps, P kinds of purposes, K accumulators, R revoked (team, resource)."""

    teams: NDArray[np.uint64]
    """(T,) hashes of the names; `teams[0]` is COMPANY, the others ascend."""
    pairs: NDArray[np.uint32]
    """(V,) ascending."""
    pair_company: Floats
    """(V + 1,) share of each pair in the company's work; the last: of one not in the vocabulary."""
    pair_team: Floats
    """(T, V + 1)"""
    steps: NDArray[np.uint32]
    """(S,) ascending."""
    step_company: Floats
    """(S + 1,)"""
    step_team: Floats
    """(T, S + 1)"""
    hour_team: Floats
    """(T, 48) share of each hour."""
    mean: Floats
    """(T, K) mean of the day maxima of each accumulator's level (log scale)."""
    spread: Floats
    """(T, K) their standard deviation."""
    busy: Floats
    """(T, K) how much more than that the whole team did on its last days, at least 0: a busy week is nobody's own."""
    repeat: Floats
    """(T, 2) mean and variance of unexplained returns to one person."""
    purposes: NDArray[np.uint64]
    """(P,) hashes of the kinds, ascending."""
    purpose: Floats
    """(T, P, 4) of the log of people under a purpose: mean, variance; of the log of its age in days: mean, variance."""
    revoked_team: NDArray[np.uint64]
    """(R,)"""
    revoked_resource: NDArray[np.uint64]
    """(R,)"""
    revoked_use: Floats
    """(R,) decayed member-days on which the team used what was taken away from it."""

    @staticmethod
    def blank(accumulators: int) -> Baselines:
        """Nobody is known yet: every hour equally likely, no vocabulary, the whole company one team."""
        none32, none64 = np.zeros(0, np.uint32), np.zeros(0, np.uint64)
        return Baselines(
            np.array([COMPANY]), none32, np.ones(1), np.ones((1, 1)), none32, np.ones(1), np.ones((1, 1)), np.full((1, HOURS), 1 / HOURS),
            np.zeros((1, accumulators)), np.full((1, accumulators), START_SPREAD), np.zeros((1, accumulators)), np.array([[0.0, 1.0]]),
            none64, np.zeros((1, 0, 4)),
            none64, none64, np.zeros(0),
        )  # fmt: skip

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        return {f.name: getattr(self, f.name) for f in fields(self)}

    @staticmethod
    def from_arrays(arrays: Mapping[str, NDArray[Any]], accumulators: int) -> Baselines:
        """The inverse of `to_arrays`. Raises ValueError naming the array that cannot be right."""
        made = Baselines(*(arrays[f.name] for f in fields(Baselines)))
        t, v, s, p, r = (len(made.teams), len(made.pairs), len(made.steps), len(made.purposes), len(made.revoked_team))
        shapes = {
            "pair_company": (v + 1,), "pair_team": (t, v + 1), "step_company": (s + 1,), "step_team": (t, s + 1), "hour_team": (t, HOURS),
            "mean": (t, accumulators), "spread": (t, accumulators), "busy": (t, accumulators), "repeat": (t, 2), "purpose": (t, p, 4),
            "revoked_use": (r,),
        }  # fmt: skip
        hashes = {"teams": ("uint64", t), "pairs": ("uint32", v), "steps": ("uint32", s), "purposes": ("uint64", p),
                  "revoked_team": ("uint64", r), "revoked_resource": ("uint64", r)}  # fmt: skip
        for name, (dtype, n) in hashes.items():
            a = arrays[name]
            if a.dtype != dtype or a.shape != (n,):
                raise ValueError(f"{name}: expected {dtype} of {(n,)}, found {a.dtype} of {a.shape}")
            if not name.startswith("revoked") and (a[1:] <= a[:-1]).any():
                raise ValueError(f"{name}: must ascend")
        if t == 0 or made.teams[0] != COMPANY:
            raise ValueError("teams: must begin with the whole company")
        for name, shape in shapes.items():
            a = arrays[name]
            if a.dtype != np.float64 or a.shape != shape or not np.isfinite(a).all():
                raise ValueError(f"{name}: expected finite float64 of shape {shape}, found {a.dtype} of {a.shape}")
            if name in ("pair_company", "pair_team", "step_company", "step_team", "hour_team", "spread") and not (a > 0).all():
                raise ValueError(f"{name}: must be positive")
            if name == "busy" and (a < 0).any():
                raise ValueError("busy: must not be negative")
        if (made.repeat[:, 1] < 0).any() or (made.purpose[:, :, 1::2] < 0).any():
            raise ValueError("repeat, purpose: a variance is not negative")
        return made


def learn(days: Sequence[Daily], accumulators: int) -> Baselines:
    """Baselines from daily records, oldest day first. Each member has one vote in profiles, however busy: the latest record's.

    Needs of each day the columns that the families of signals give (their `daily`); see `View.daily`.
    """
    if not sum(map(len, days)):
        return Baselines.blank(accumulators)
    team_key = np.concatenate([d.team for d in days])
    teams = np.concatenate([[COMPANY], np.setdiff1d(team_key, [COMPANY])])
    team = np.searchsorted(teams, team_key)
    last = latest(days)
    pairs, pair_company, pair_team = _profiles(days, "pair", last, team, len(teams), MAX_PAIRS)
    steps, step_company, step_team = _profiles(days, "step", last, team, len(teams), MAX_STEPS)
    levels = stacked(days, "level").astype(np.float64)
    mean, spread = _levels(levels, team, len(teams))
    busy = _busy(levels, team, np.concatenate([np.full(len(d), d.day) for d in days]), len(teams))
    purposes, purpose = _purposes(days, team, len(teams))
    return Baselines(
        teams, pairs, pair_company, pair_team, steps, step_company, step_team,
        _hours(stacked(days, "hour_share")[last].astype(np.float64), team[last], len(teams)), mean, spread, busy,
        _repeat(stacked(days, "repeat").astype(np.float64), team, len(teams)), purposes, purpose, *_revoked(days, team_key),
    )  # fmt: skip


def _profiles(
    days: Sequence[Daily], name: str, last: NDArray[np.int64], team: NDArray[np.int64], teams: int, most: int
) -> tuple[NDArray[np.uint32], Floats, Floats]:
    """Vocabulary, the company's shares and each team's, from the members' normalised profiles."""
    keys, shares = stacked(days, name)[last], stacked(days, f"{name}_share")[last].astype(np.float64)
    words, which = np.unique(keys, return_inverse=True)
    totals = np.bincount(which.ravel(), shares.ravel(), len(words))
    chosen = np.sort(np.argsort(-totals, kind="stable")[: min(most, int((totals > 0).sum()))])  # without that of unused places, 0
    row = np.full(len(words), len(chosen), np.int64)
    row[chosen] = np.arange(len(chosen))
    votes = np.zeros((teams, len(chosen) + 1))
    np.add.at(votes, (np.repeat(team[last], keys.shape[1]), row[which.ravel()]), shares.ravel())
    company = votes.sum(0) + 0.02
    company /= company.sum()
    by_team = (votes + company) / (votes.sum(1, keepdims=True) + 1.0)
    by_team[0] = company
    return words[chosen].astype(np.uint32), company, by_team


def _hours(shares: Floats, team: NDArray[np.int64], teams: int) -> Floats:
    votes = np.zeros((teams, HOURS))
    np.add.at(votes, team, shares)
    company = 0.9 * votes.sum(0) / max(votes.sum(), 1e-9) + 0.1 / HOURS
    company /= company.sum()
    out = (votes + 2.0 * company) / (votes.sum(1, keepdims=True) + 2.0)
    out[0] = company
    return np.asarray(out)


def _levels(levels: Floats, team: NDArray[np.int64], teams: int) -> tuple[Floats, Floats]:
    """Mean and standard deviation of the members' day maxima, each clipped so that a rare extreme day does not become usual."""
    clipped = np.minimum(levels, levels.mean(0) + CLIP * np.maximum(levels.std(0), START_SPREAD))
    mean, var = clipped.mean(0), clipped.var(0)
    n = np.bincount(team, minlength=teams)[:, None]
    sums, squares = np.zeros((teams, levels.shape[1])), np.zeros((teams, levels.shape[1]))
    np.add.at(sums, team, clipped)
    np.add.at(squares, team, clipped**2)
    m = (sums + COMPANY_DAYS * mean) / (n + COMPANY_DAYS)
    v = (squares + COMPANY_DAYS * (var + mean**2)) / (n + COMPANY_DAYS) - m**2
    m[0], v[0] = mean, var
    return m, np.sqrt(np.maximum(v, 0)) + 0.02


def _busy(levels: Floats, team: NDArray[np.int64], day: NDArray[np.int64], teams: int) -> Floats:
    """How far the team's last ordinary days lie above what its days before were like and how they varied.

    A day is the mean of its members without the highest fifth, for one person is no busy team. What is usual is a median, and how it varies
    the median deviation from it, for the busy days themselves are soon among those before.
    """
    out = np.zeros((teams, levels.shape[1]))
    for g in range(teams):
        mine = team == g if g else np.ones(len(team), np.bool_)
        days, members = np.unique(day[mine], return_counts=True)
        ordinary = days[2 * members >= np.median(members)] if len(days) else days  # a weekend says little of a week
        if len(ordinary) < BUSY_DAYS + LEAST_BUSY_DAYS:
            continue
        each = np.array([_trimmed(levels[mine & (day == d)]) for d in ordinary])
        before, now = each[:-BUSY_DAYS], each[-BUSY_DAYS:].mean(0)
        usual = np.median(before, axis=0)
        spread = NORMAL * np.median(np.abs(before - usual), axis=0)
        out[g] = np.clip(now - usual - BUSY_BEYOND * spread, 0.0, MOST_BUSY)
    return out


def _trimmed(levels: Floats) -> Floats:
    """Mean of each column without its highest fifth."""
    kept = len(levels) - int(TRIMMED * len(levels))
    return np.asarray(np.sort(levels, axis=0)[:kept].mean(0))


Usual = float | Floats


def _moments(n: Floats, total: Floats, squares: Floats, prior_mean: Usual, prior_var: Usual, prior: float) -> tuple[Floats, Floats]:
    """Mean and variance from count, sum and sum of squares, with `prior` observations' worth of what is usual."""
    mean = (total + prior * prior_mean) / (n + prior)
    var = (squares + prior * (prior_var + prior_mean**2)) / (n + prior) - mean**2
    return mean, np.maximum(var, 0.0)


def _repeat(sums: Floats, team: NDArray[np.int64], teams: int) -> Floats:
    """From (count, sum, sum of squares) of each record."""
    by_team = np.zeros((teams, 3))
    np.add.at(by_team, team, sums)
    by_team[0] = sums.sum(0)
    n, total, squares = by_team.T
    all_mean, all_var = _moments(n[:1], total[:1], squares[:1], 0.0, 1.0, 1.0)
    mean, var = _moments(n, total, squares, all_mean, all_var, COMPANY_DAYS)
    return np.stack([mean, var], axis=1)


def _purposes(days: Sequence[Daily], team: NDArray[np.int64], teams: int) -> tuple[NDArray[np.uint64], Floats]:
    """Of the purposes that were used on the days: how many people each reached, and how old it was, by team and kind."""
    kind, reach, age = (stacked(days, name) for name in ("purpose_kind", "purpose_reach", "purpose_age"))
    used = kind != 0
    kinds, which = np.unique(kind[used], return_inverse=True)
    chosen = np.sort(np.argsort(-np.bincount(which, minlength=len(kinds)), kind="stable")[:MAX_PURPOSES])
    row = np.full(len(kinds), -1, np.int64)
    row[chosen] = np.arange(len(chosen))
    whose = np.repeat(team, kind.shape[1]).reshape(kind.shape)[used]
    known = row[which] >= 0
    at = (whose[known], row[which][known])
    out = np.zeros((teams, len(chosen), 4))
    for column, values in ((0, reach[used]), (2, age[used])):
        x, sums = values[known].astype(np.float64), np.zeros((3, teams, len(chosen)))
        for power in range(3):
            np.add.at(sums[power], at, x**power)
        sums[:, 0] = sums.sum(1)
        by_kind = _moments(sums[0, 0], sums[1, 0], sums[2, 0], 0.0, 1.0, 1.0)
        mean, var = _moments(sums[0], sums[1], sums[2], by_kind[0], by_kind[1], float(LEAST_PURPOSES))
        out[:, :, column], out[:, :, column + 1] = mean, var
    return kinds[chosen], out


def _revoked(days: Sequence[Daily], team_key: NDArray[np.uint64]) -> tuple[NDArray[np.uint64], NDArray[np.uint64], Floats]:
    resource = stacked(days, "revoked_resource")
    used = (resource != 0) & (team_key != COMPANY)
    if not used.any():
        return np.zeros(0, np.uint64), np.zeros(0, np.uint64), np.zeros(0)
    day = np.concatenate([np.full(len(d), d.day) for d in days])
    weight = 0.5 ** ((day.max() - day[used]) / REVOKED_HALF_LIFE)
    both, which = np.unique(np.stack([team_key[used], resource[used]]), axis=1, return_inverse=True)
    use = np.bincount(which.ravel(), weight, both.shape[1])
    return both[0], both[1], np.asarray(use, np.float64)
