"""Accumulators: evidence summed with exponential decay, against the employee's own and the team's usual. One generic family.

For each evidence k and half-life h: A = sum of the evidence, halved every h; level y = log(1 + A / scale_k). The largest level of each
UTC day on which the employee was active enters the own mean and variance (weights x .975 an active day, so 40 days' worth at most, clipped
at mean + 3.5 standard deviations). An event is compared with the baselines as they were *before* it; its own evidence counts in A. What the
whole team did more than usual on its last days is allowed to each of its members.

Evidence is held against work. Who has three times as much to do leaves three times as much of everything behind; who is up to something
has no more reasons than before. So A is divided by how many times the work of a usual day theirs is, or their team's was on its last
days, at most 4.5; levels are as of a usual day's work.

Given for each (k, h), and only for events that carry the evidence (else 0): the level as it is, and z against the own and the team's
usual level. Given for each event: the days of own history behind the own usual.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numba as nb
import numpy as np
from numpy.typing import NDArray

from detector.core.baselines import Baselines
from detector.core.features import FeatureBatch
from detector.core.frame import DAY, HOUR, Frame
from detector.core.state import Column, KeyedState, Slots


class Evidence(NamedTuple):
    name: str
    half_lives: str
    scale: float = 1.0


EVIDENCE = (
    Evidence("work", "16h"),
    Evidence("foreign", "1.5h 16h 6d"), Evidence("harvest", "1.5h 16h"), Evidence("snoop", "1.5h 16h"), Evidence("wall", "16h 6d"),
    Evidence("revoked", "16h 6d"), Evidence("privilege", "16h"), Evidence("watch", "1.5h"), Evidence("export", "16h", 50),
    Evidence("bytes_out", "16h", 1e5), Evidence("activity", "16h"), Evidence("breadth", "16h"), Evidence("sensitive", "16h"),
    Evidence("geo", "16h"), Evidence("denied", "16h"), Evidence("odd_hour", "16h"), Evidence("odd_step", "16h"),
)  # fmt: skip
HALF_LIVES = {"1.5h": 1.5 * HOUR, "16h": 16.0 * HOUR, "6d": 6.0 * DAY}
NAMES = tuple(f"{e.name}.{h}" for e in EVIDENCE for h in e.half_lives.split())
"""The accumulators, in the order of the baselines' columns."""
KINDS = ("level", "own", "team")
K = len(NAMES)
WORK = 0
"""What the others are held against."""

COLUMNS = (
    Column("sum", "float32", (K,)),
    Column("sum_time", "int64", empty=np.iinfo(np.int64).min),
    Column("day_level", "float32", (K,)),
    Column("own_mean", "float32", (K,)),
    Column("own_var", "float32", (K,)),
    Column("own_days", "float32"),
    Column("level_day", "int32", empty=-1),
    Column("level_team", "uint64"),
)
NEEDS = tuple(e.name for e in EVIDENCE)
GIVES = (*(f"{name}.{kind}" for name in NAMES for kind in KINDS), "own_days")

_OF = np.array([i for i, e in enumerate(EVIDENCE) for _ in e.half_lives.split()])
_HALF = np.array([list(HALF_LIVES).index(name.split(".", 1)[1]) for name in NAMES])
_SCALE = np.array([EVIDENCE[e].scale for e in _OF])
_RATE = np.array([-math.log(2) / h for h in HALF_LIVES.values()])
KEEP_DAYS, PRIOR_DAYS, TRANSFER, CLIP, LEAST_SPREAD, CLIP_SPREAD = 0.975, 3.0, 0.2, 3.5, 0.15, 0.3
MOST_WORK = 1.5  # log of 4.5


def level_to_sum(name: str, level: float) -> float:
    """The decayed sum behind a level of accumulator `name`, in the evidence's own unit."""
    return float(math.expm1(max(level, 0.0)) * _SCALE[NAMES.index(name)])


def usual(state: KeyedState, slot: int, team: int, baselines: Baselines, name: str) -> tuple[float, float]:
    """The own and the team's usual highest of a day, in the evidence's own unit, as of now."""
    k, c = NAMES.index(name), state.columns
    own, _ = _usual(c["own_mean"][slot, k], c["own_var"][slot, k], c["own_days"][slot], baselines.mean[team, k], baselines.spread[team, k])
    return level_to_sum(name, float(own)), level_to_sum(name, float(baselines.mean[team, k]))


def active(state: KeyedState, day: int) -> Slots:
    """Slots of the employees whose newest active day it is, ascending."""
    return np.flatnonzero((state.columns["level_day"] == day) & (state.columns["key"] != 0)).astype(np.int32)


def daily(state: KeyedState, slots: Slots) -> dict[str, NDArray[Any]]:
    return {"level": state.columns["day_level"][slots]}


def observe(state: KeyedState, slots: Slots, frame: Frame, baselines: Baselines, out: FeatureBatch) -> None:
    c = state.columns
    _observe(
        slots, frame.time, frame.team, frame.team_key, out.index(NEEDS)[_OF], int(out.index(GIVES[:1])[0]), out.values,
        baselines.mean, baselines.spread, baselines.busy, out.column("own_days"), _SCALE, _HALF, _RATE, c["sum"], c["sum_time"],
        c["day_level"], c["own_mean"], c["own_var"], c["own_days"], c["level_day"], c["level_team"],
    )  # fmt: skip


@nb.njit(cache=True)
def _observe(  # type: ignore[no-untyped-def]
    slots, time, team, team_key, evidence, first, values, t_mean, t_spread, t_busy, own_days, scale, half, rate,
    total, total_time, day_level, mean, var, days, level_day, level_team,
):  # fmt: skip
    decay = np.empty(len(rate))
    for i in range(len(slots)):
        s, g, day = slots[i], team[i], time[i] // DAY
        if team_key[i] != 0 and team_key[i] != level_team[s]:
            if level_team[s] != 0:
                days[s] *= TRANSFER
            level_team[s] = team_key[i]
        if day > level_day[s]:
            if level_day[s] >= 0:
                _close_day(day_level[s], mean[s], var[s], days[s], t_mean[g], t_spread[g])
                days[s] = days[s] * KEEP_DAYS + 1.0
            level_day[s] = day
        own_days[i] = days[s]
        dt = max(time[i] - total_time[s], 0) if total_time[s] > 0 else 0
        total_time[s] = max(total_time[s], time[i])
        for h in range(len(rate)):
            decay[h] = math.exp(rate[h] * dt)
        for k in range(len(scale)):
            total[s, k] = total[s, k] * decay[half[k]] + values[i, evidence[k]]
        usual_work, _ = _usual(mean[s, WORK], var[s, WORK], days[s], t_mean[g, WORK], t_spread[g, WORK])
        busier = max(min(math.log1p(total[s, WORK]) - usual_work, MOST_WORK), t_busy[g, WORK])
        for k in range(len(scale)):
            if values[i, evidence[k]] <= 0.0:
                continue
            level = math.log1p(total[s, k] / scale[k])
            y = level if k == WORK or busier <= 0.0 else math.log1p(total[s, k] * math.exp(-busier) / scale[k])
            m, sd = _usual(mean[s, k], var[s, k], days[s], t_mean[g, k], t_spread[g, k])
            at = first + 3 * k
            values[i, at] = level
            values[i, at + 1] = (y - m - t_busy[g, k]) / max(sd, LEAST_SPREAD)
            values[i, at + 2] = (y - t_mean[g, k] - t_busy[g, k]) / max(t_spread[g, k], LEAST_SPREAD)
            day_level[s, k] = max(day_level[s, k], y)


@nb.njit(cache=True)
def _usual(mean, var, days, t_mean, t_spread):  # type: ignore[no-untyped-def]
    """Own mean and standard deviation, with three days' worth of the team's."""
    n = days + PRIOR_DAYS
    return (days * mean + PRIOR_DAYS * t_mean) / n, math.sqrt((days * var + PRIOR_DAYS * t_spread * t_spread) / n)


@nb.njit(cache=True)
def _close_day(day_level, mean, var, days, t_mean, t_spread):  # type: ignore[no-untyped-def]
    step = 1.0 / (days + 1.0)
    for k in range(len(day_level)):
        m, sd = _usual(mean[k], var[k], days, t_mean[k], t_spread[k])
        y = min(day_level[k], m + CLIP * max(sd, CLIP_SPREAD))
        if days <= 0.0:
            mean[k], var[k] = y, 0.5 * t_spread[k] * t_spread[k]
        else:
            d = y - mean[k]
            mean[k] += step * d
            var[k] = (1.0 - step) * (var[k] + step * d * d)
        day_level[k] = 0.0
