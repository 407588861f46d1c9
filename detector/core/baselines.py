"""Baselines: what the company and each of its teams usually do. Learned offline, part of the model; one partition cannot know them.

A *pair* is (resource, action). Pairs outside the vocabulary share one row, `other`, which is never evidence: a tool rolled out yesterday
must not flag the team that got it. Team 0 is the whole company, and stands in for a team nobody has seen yet.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detector.core.events import ACTIONS

Floats = NDArray[np.float64]

COMPANY = ""
MAX_PAIRS = 119
HOURS = 48  # hour of the day, twice: on working days and at weekends
LEAST_COUNTS = 20.0  # a member's profile counts for the team's from this many events on
COMPANY_DAYS = 10.0  # the company's member-days that a team's own usual is blended with
CLIP = 4.0  # standard deviations beyond which a day no longer moves a team's usual
START_SPREAD = 0.3


@dataclass(frozen=True)
class Baselines:
    teams: tuple[str, ...]
    """Distinct; `teams[0]` is COMPANY."""
    pairs: tuple[tuple[str, int], ...]
    """Vocabulary: (resource, code of the action); row len(pairs) of a profile is `other`."""
    pair_company: Floats
    """(V+1,) share of each pair in the company's work."""
    pair_team: Floats
    """(T, V+1)"""
    hour_team: Floats
    """(T, 48) share of each hour."""
    mean: Floats
    """(T, K) mean of the day maxima of each accumulator's level (log scale)."""
    spread: Floats
    """(T, K) their standard deviation."""

    @staticmethod
    def blank(pairs: Sequence[tuple[str, int]], accumulators: int) -> Baselines:
        """Nobody is known yet: every pair and hour equally likely, the whole company one team."""
        assert len(pairs) <= MAX_PAIRS
        n = len(pairs) + 1
        return Baselines(
            (COMPANY,), tuple(pairs), np.full(n, 1 / n), np.full((1, n), 1 / n), np.full((1, HOURS), 1 / HOURS),
            np.zeros((1, accumulators)), np.full((1, accumulators), START_SPREAD),
        )  # fmt: skip

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        return {
            "teams": np.array(self.teams),
            "pair_resources": np.array([r for r, _ in self.pairs], np.str_),
            "pair_actions": np.array([a for _, a in self.pairs], np.int64),
            "pair_company": self.pair_company, "pair_team": self.pair_team, "hour_team": self.hour_team,
            "mean": self.mean, "spread": self.spread,
        }  # fmt: skip

    @staticmethod
    def from_arrays(arrays: Mapping[str, NDArray[Any]], accumulators: int) -> Baselines:
        """The inverse of `to_arrays`. Raises ValueError naming the array that cannot be right."""
        for name, kind in (("teams", "U"), ("pair_resources", "U"), ("pair_actions", "i")):
            if arrays[name].dtype.kind != kind or arrays[name].ndim != 1:
                raise ValueError(f"{name}: found {arrays[name].dtype} of {arrays[name].shape}")
        teams = tuple(str(t) for t in arrays["teams"])
        pairs = tuple((str(r), int(a)) for r, a in zip(arrays["pair_resources"], arrays["pair_actions"], strict=True))
        shapes = {
            "pair_company": (len(pairs) + 1,), "pair_team": (len(teams), len(pairs) + 1), "hour_team": (len(teams), HOURS),
            "mean": (len(teams), accumulators), "spread": (len(teams), accumulators),
        }  # fmt: skip
        if not teams or teams[0] != COMPANY or len(set(teams)) != len(teams):
            raise ValueError("teams: must be distinct and begin with the whole company")
        if len(pairs) > MAX_PAIRS or len(set(pairs)) != len(pairs) or not all(0 <= a < len(ACTIONS) for _, a in pairs):
            raise ValueError(f"pairs: must be distinct, at most {MAX_PAIRS}, and of known actions")
        for name, shape in shapes.items():
            a = arrays[name]
            if a.dtype != np.float64 or a.shape != shape or not np.isfinite(a).all():
                raise ValueError(f"{name}: expected finite float64 of shape {shape}, found {a.dtype} of {a.shape}")
            if name not in ("mean",) and not (a > 0).all():
                raise ValueError(f"{name}: must be positive")
        return Baselines(teams, pairs, *(arrays[name] for name in shapes))


def learn(
    pairs: Sequence[tuple[str, int]],
    member_team: Sequence[str],
    pair_counts: Floats,
    hour_counts: Floats,
    day_team: Sequence[str],
    day_levels: Floats,
) -> Baselines:
    """Baselines from the members' own profiles and from day maxima.

    member_team: M names; pair_counts (M, V+1) and hour_counts (M, 48): each member's decayed counts; day_team: D names; day_levels (D, K):
    the largest level of each accumulator on each active employee-day. Each member has one vote, however busy.
    """
    teams = (COMPANY, *sorted({*member_team, *day_team} - {COMPANY}))
    index = {name: i for i, name in enumerate(teams)}
    member = np.array([index[name] for name in member_team], np.int64)
    day = np.array([index[name] for name in day_team], np.int64)
    known = pair_counts.sum(1) > LEAST_COUNTS
    pair_company, pair_team = _shares(pair_counts[known], member[known], len(teams), floor=0.02, company_votes=1.0)
    hour_company, hour_team = _shares(hour_counts[known], member[known], len(teams), floor=0.02, company_votes=2.0)
    hour_team[0] = hour_company
    pair_team[0] = pair_company
    mean, spread = _levels(day_levels, day, len(teams))
    return Baselines(teams, tuple(pairs), pair_company, pair_team, hour_team, mean, spread)


def _shares(counts: Floats, team: NDArray[np.int64], teams: int, floor: float, company_votes: float) -> tuple[Floats, Floats]:
    """The company's and each team's mean profile; a team's is blended with `company_votes` members like the company."""
    profiles = counts / counts.sum(1, keepdims=True)
    company = (profiles.sum(0) + floor) / (profiles.sum() + floor * counts.shape[1])
    votes = np.zeros((teams, counts.shape[1]))
    np.add.at(votes, team, profiles)
    return company, (votes + company_votes * company) / (votes.sum(1, keepdims=True) + company_votes)


def _levels(levels: Floats, team: NDArray[np.int64], teams: int) -> tuple[Floats, Floats]:
    """Mean and standard deviation of the members' day maxima, each clipped so that a rare extreme day does not become usual."""
    if not len(levels):
        return np.zeros((teams, levels.shape[1])), np.full((teams, levels.shape[1]), START_SPREAD)
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
