"""Baselines: what the company and each of its teams usually do.

Learned from daily records, part of the model; a partition cannot know them.

Vocabularies (pairs of resource and action, steps from one pair to the next, kinds of purposes) are sorted arrays of hashes. What is in none
is never evidence: a tool rolled out yesterday must not flag the team that got it. Team 0 is the whole company, and stands in for a team
that nobody has seen yet.
"""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detector.core import levels
from detector.core.daily import Daily, stacked, voters_of
from detector.core.levels import COMPANY, COMPANY_DAYS, START_SPREAD, Ordinary
from detector.core.lookups import distinct

Floats = NDArray[np.float64]
Hashes = NDArray[Any]

MAX_PAIRS, MAX_STEPS, MAX_PURPOSES = 2048, 4096, 64
HOURS = 48  # hour of the day, twice: on working days and on others
MOST, LOG_MOST = 1e9, 100.0  # no count comes near, nor its logarithm
ONCE = ("pair", "pair_share", "step", "step_share", "hour_share")
"""Columns of daily records that count in an employee's latest record alone."""
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
            _check_range(name, a)
        if (made.repeat[:, 1] < 0).any() or (made.purpose[:, :, 1::2] < 0).any():
            raise ValueError("repeat, purpose: a variance is not negative")
        return made


def _check_range(name: str, a: Floats) -> None:
    if name in ("pair_company", "pair_team", "step_company", "step_team", "hour_team", "spread") and not (a > 0).all():
        raise ValueError(f"{name}: must be positive")
    if name == "busy" and (a < 0).any():
        raise ValueError("busy: must not be negative")
    if (np.abs(a) > (LOG_MOST if name in ("mean", "spread", "busy", "purpose") else MOST)).any():
        raise ValueError(f"{name}: is beyond any count, or its logarithm")


def learn(
    days: Sequence[Daily], accumulators: int, voters: Daily | None = None, ordinary: MutableMapping[int, Ordinary] | None = None
) -> Baselines:
    """Baselines from daily records, oldest day first. Each member has one vote in profiles, however busy: the latest record's.

    Needs of each day the columns that the families of signals give (their `daily`; see `View.daily`); of those in ONCE only in `voters`,
    each employee's latest record, if they are given. `ordinary` remembers, for whoever learns again the next day, what was found of days.
    """
    if not sum(map(len, days)):
        return Baselines.blank(accumulators)
    team_key = np.concatenate([d.team for d in days])
    teams = np.append(COMPANY, (found := distinct(team_key)[0])[found != COMPANY])
    team = np.split(np.searchsorted(teams, team_key), np.cumsum([len(d) for d in days])[:-1])
    voters = voters_of(days) if voters is None else voters
    voter_team = np.searchsorted(teams, voters.team)
    pairs, pair_company, pair_team = _profiles(voters, "pair", voter_team, len(teams), MAX_PAIRS)
    steps, step_company, step_team = _profiles(voters, "step", voter_team, len(teams), MAX_STEPS)
    known = {} if ordinary is None else ordinary
    each = [known[d.day] if d.day in known else known.setdefault(d.day, Ordinary.of(d)) for d in days]
    mean, spread = levels.usual(days, team, len(teams))
    purposes, purpose = _purposes(days, np.concatenate(team), len(teams))
    return Baselines(
        teams, pairs, pair_company, pair_team, steps, step_company, step_team, _hours(voters.column("hour_share"), voter_team, len(teams)),
        mean, spread, levels.busy(each, teams), _repeat(stacked(days, "repeat"), np.concatenate(team), len(teams)),
        purposes, purpose, *_revoked(days, team_key),
    )  # fmt: skip


def _profiles(voters: Daily, name: str, team: NDArray[np.int64], teams: int, most: int) -> tuple[NDArray[np.uint32], Floats, Floats]:
    """Vocabulary, the company's shares and each team's, from the members' normalised profiles."""
    keys, shares = voters.column(name), voters.column(f"{name}_share")
    words, which = distinct(keys.ravel())
    totals = np.bincount(which, shares.ravel(), len(words))
    chosen = np.sort(np.argsort(-totals, kind="stable")[: min(most, int((totals > 0).sum()))])  # without that of unused places, 0
    row = np.full(len(words), len(chosen), np.int64)
    row[chosen] = np.arange(len(chosen))
    places = np.repeat(team, keys.shape[1]) * (len(chosen) + 1) + row[which]
    votes = np.bincount(places, shares.ravel(), teams * (len(chosen) + 1)).reshape(teams, len(chosen) + 1)
    company = votes.sum(0) + 0.02
    company /= company.sum()
    by_team = (votes + company) / (votes.sum(1, keepdims=True) + 1.0)
    by_team[0] = company
    return words[chosen].astype(np.uint32), company, by_team


def _hours(shares: NDArray[np.float32], team: NDArray[np.int64], teams: int) -> Floats:
    votes = np.zeros((teams, HOURS))
    np.add.at(votes, team, shares.astype(np.float64))
    company = 0.9 * votes.sum(0) / max(votes.sum(), 1e-9) + 0.1 / HOURS
    company /= company.sum()
    out = (votes + 2.0 * company) / (votes.sum(1, keepdims=True) + 2.0)
    out[0] = company
    return np.asarray(out)


Usual = float | Floats


def _moments(n: Floats, total: Floats, squares: Floats, prior_mean: Usual, prior_var: Usual, prior: float) -> tuple[Floats, Floats]:
    """Mean and variance from count, sum and sum of squares, with `prior` observations' worth of what is usual."""
    mean = (total + prior * prior_mean) / (n + prior)
    var = (squares + prior * (prior_var + prior_mean**2)) / (n + prior) - mean**2
    return mean, np.maximum(var, 0.0)


def _repeat(sums: NDArray[np.float32], team: NDArray[np.int64], teams: int) -> Floats:
    """From (count, sum, sum of squares) of each record."""
    by_team = np.stack([np.bincount(team, column, teams) for column in sums.T], axis=1)
    by_team[0] = by_team.sum(0)
    n, total, squares = by_team.T
    all_mean, all_var = _moments(n[:1], total[:1], squares[:1], 0.0, 1.0, 1.0)
    mean, var = _moments(n, total, squares, all_mean, all_var, COMPANY_DAYS)
    return np.stack([mean, var], axis=1)


def _purposes(days: Sequence[Daily], team: NDArray[np.int64], teams: int) -> tuple[NDArray[np.uint64], Floats]:
    """Of the purposes that were used on the days: how many people each reached, and how old it was, by team and kind."""
    kind, reach, age = (stacked(days, name) for name in ("purpose_kind", "purpose_reach", "purpose_age"))
    used = kind != 0
    kinds, which = distinct(kind[used])
    chosen = np.sort(np.argsort(-np.bincount(which, minlength=len(kinds)), kind="stable")[:MAX_PURPOSES])
    row = np.full(len(kinds), -1, np.int64)
    row[chosen] = np.arange(len(chosen))
    whose = np.repeat(team, kind.shape[1]).reshape(kind.shape)[used]
    known = row[which] >= 0
    at = whose[known] * len(chosen) + row[which][known]
    out = np.zeros((teams, len(chosen), 4))
    for column, values in ((0, reach[used]), (2, age[used])):
        x = values[known].astype(np.float64)
        sums = np.stack([np.bincount(at, x**power, teams * len(chosen)).reshape(teams, len(chosen)) for power in range(3)])
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
