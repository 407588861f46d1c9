"""Levels: how much of each kind of evidence there is on a usual day, of the company and of each team, and on the busy ones of late.

Learned anew every day from four weeks, so each record is looked at 28 times: by compiled loops, a day after the other. What can be said
of one day alone is `Ordinary`, which whoever learns again the next day may keep.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numba as nb
import numpy as np
from numpy.typing import NDArray

from detector.core.daily import Daily

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

COMPANY = np.uint64(0)
COMPANY_DAYS = 10.0  # the company's member-days that a team's own usual is blended with
CLIP = 4.0  # standard deviations beyond which a day no longer moves a team's usual
START_SPREAD = 0.3
BUSY_DAYS, LEAST_BUSY_DAYS, BUSY_BEYOND, TRIMMED, MOST_BUSY = 2, 3, 2.0, 0.2, 1.5
NORMAL = 1.4826  # standard deviations of a normal distribution in its median deviation


@dataclass(frozen=True, slots=True)
class Ordinary:
    """What is ordinary on a day: of each team, and the company, the members' mean without the highest fifth, for one is no busy team."""

    day: int
    teams: NDArray[np.uint64]
    """(t,) those with anybody active; the first is COMPANY, the others ascend."""
    members: Ints
    """(t,)"""
    level: Floats
    """(t, K)"""

    @staticmethod
    def of(daily: Daily) -> Ordinary:
        """Of n >= 1 records."""
        levels = daily.column("level")
        order = np.argsort(daily.team, kind="stable")
        teams, first = np.unique(daily.team[order], return_index=True)
        members = np.diff(np.append(first, len(order)))
        known = teams != COMPANY
        every = np.sort(levels.T, axis=1)[:, : _kept(len(levels))].astype(np.float64).mean(axis=1)
        each = _trimmed(levels, order, first[known], members[known], _kept(members[known]))
        return Ordinary(
            daily.day, np.append(COMPANY, teams[known]), np.append(len(levels), members[known]), np.concatenate([every[None], each])
        )


def _kept(members: Ints | int) -> Ints:
    return np.asarray(members - (TRIMMED * np.asarray(members)).astype(np.int64))


@nb.njit(cache=True)
def _trimmed(levels, order, first, members, kept):  # type: ignore[no-untyped-def]
    """(t, K) mean of the lowest `kept` of each group of rows, which are `members` many of `order`, from `first` on."""
    out = np.zeros((len(first), levels.shape[1]))
    for g in range(len(first)):
        column = np.empty(members[g], levels.dtype)
        for k in range(levels.shape[1]):
            for i in range(members[g]):
                column[i] = levels[order[first[g] + i], k]
            column.sort()
            for i in range(kept[g]):
                out[g, k] += column[i]
            out[g, k] /= kept[g]
    return out


def usual(days: Sequence[Daily], team: Sequence[Ints], teams: int) -> tuple[Floats, Floats]:
    """Mean and standard deviation (T, K) of the members' day maxima, each clipped so that a rare extreme day does not become usual.

    `team`: of each day's records the row of their team; row 0 is the company.
    """
    levels = [d.column("level") for d in days]
    n, k = sum(map(len, levels)), levels[0].shape[1]
    sums, squares = np.zeros((teams, k)), np.zeros((teams, k))
    middle, around = np.zeros(k), np.zeros(k)
    for some in levels:
        _add(some, middle)
    middle /= n
    for some in levels:
        _add_squares(some, middle, around)
    limit = middle + CLIP * np.maximum(np.sqrt(around / n), START_SPREAD)
    for some, whose in zip(levels, team, strict=True):
        _add_clipped(some, whose, limit, sums, squares)
    count = np.bincount(np.concatenate(team), minlength=teams)[:, None]
    mean = sums.sum(0) / n
    var = np.maximum(squares.sum(0) / n - mean**2, 0)
    m = (sums + COMPANY_DAYS * mean) / (count + COMPANY_DAYS)
    v = (squares + COMPANY_DAYS * (var + mean**2)) / (count + COMPANY_DAYS) - m**2
    m[0], v[0] = mean, var
    return m, np.sqrt(np.maximum(v, 0)) + 0.02


@nb.njit(cache=True)
def _add(levels, total):  # type: ignore[no-untyped-def]
    for i in range(len(levels)):
        for k in range(levels.shape[1]):
            total[k] += levels[i, k]


@nb.njit(cache=True)
def _add_squares(levels, mean, total):  # type: ignore[no-untyped-def]
    for i in range(len(levels)):
        for k in range(levels.shape[1]):
            d = levels[i, k] - mean[k]
            total[k] += d * d


@nb.njit(cache=True)
def _add_clipped(levels, team, limit, sums, squares):  # type: ignore[no-untyped-def]
    for i in range(len(levels)):
        for k in range(levels.shape[1]):
            y = min(float(levels[i, k]), limit[k])
            sums[team[i], k] += y
            squares[team[i], k] += y * y


def busy(days: Sequence[Ordinary], teams: NDArray[np.uint64]) -> Floats:
    """(T, K) how far the team's last ordinary days lie above what its days before were like and how they varied.

    What is usual is a median, and how it varies the median deviation from it, for the busy days themselves are soon among those before.
    """
    members = np.zeros((len(days), len(teams)), np.int64)
    level = np.zeros((len(days), len(teams), days[0].level.shape[1]))
    for row, day in enumerate(days):
        at = np.searchsorted(teams, day.teams)
        members[row, at], level[row, at] = day.members, day.level
    out = np.zeros(level.shape[1:])
    for g in range(len(teams)):
        there = np.flatnonzero(members[:, g])
        ordinary = there[2 * members[there, g] >= np.median(members[there, g])] if len(there) else there  # a weekend says little of a week
        if len(ordinary) < BUSY_DAYS + LEAST_BUSY_DAYS:
            continue
        each = level[ordinary, g]
        before, now = each[:-BUSY_DAYS], each[-BUSY_DAYS:].mean(0)
        middle = np.median(before, axis=0)
        spread = NORMAL * np.median(np.abs(before - middle), axis=0)
        out[g] = np.clip(now - middle - BUSY_BEYOND * spread, 0.0, MOST_BUSY)
    return out
