"""Accumulators: evidence summed with exponential decay, against the employee's own and the team's usual. One generic family.

For each evidence k and half-life h: A = sum of the evidence, halved every h; level y = log(1 + A / scale_k). The largest level of each
UTC day on which the employee was active enters the own mean and variance (weights x .975 an active day, at most 40 days' worth, clipped
at mean + 3.5 standard deviations). An event is compared with the baselines as they were *before* it; its own evidence counts in A.

Given for each (k, h), and only for events that carry the evidence (else 0): the level, the own and the team's usual level, and z against
both. Given for each event: the days of own history behind the own usual.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numba as nb
import numpy as np

from detector.core.baselines import Baselines
from detector.core.features import FeatureBatch
from detector.core.frame import DAY, HOUR, Frame
from detector.core.state import Column, KeyedState, Slots


class Evidence(NamedTuple):
    name: str
    scale: float


EVIDENCE = (
    Evidence("harvest", 1), Evidence("foreign", 1), Evidence("snoop", 1), Evidence("off_hours", 1),
    Evidence("export", 50), Evidence("activity", 1), Evidence("breadth", 1),
)  # fmt: skip
HALF_LIVES = (("1.5h", 1.5 * HOUR), ("16h", 16.0 * HOUR), ("6d", 6.0 * DAY))
NAMES = tuple(f"{e.name}.{h}" for e in EVIDENCE for h, _ in HALF_LIVES)
"""The accumulators, in the order of the baselines' columns."""
KINDS = ("level", "own_usual", "team_usual", "own", "team")
K, H = len(NAMES), len(HALF_LIVES)

COLUMNS = (
    Column("sum", "float32", (K,)),
    Column("sum_time", "int64", empty=np.iinfo(np.int64).min),
    Column("day_level", "float32", (K,)),
    Column("own_mean", "float32", (K,)),
    Column("own_var", "float32", (K,)),
    Column("own_days", "float32"),
    Column("level_day", "int64", empty=-1),
    Column("level_team", "uint64"),
)
NEEDS = tuple(e.name for e in EVIDENCE)
GIVES = (*(f"{name}.{kind}" for name in NAMES for kind in KINDS), "own_days")

_SCALE = np.array([e.scale for e in EVIDENCE])
_RATE = np.array([-math.log(2) / h for _, h in HALF_LIVES])
KEEP_DAYS, MOST_DAYS, PRIOR_DAYS, TRANSFER, CLIP, LEAST_SPREAD, CLIP_SPREAD = 0.975, 40.0, 3.0, 0.2, 3.5, 0.15, 0.3


def level_to_sum(name: str, level: float) -> float:
    """The decayed sum behind a level of accumulator `name`, in the evidence's own unit."""
    return math.expm1(level) * EVIDENCE[NAMES.index(name) // H].scale


def observe(state: KeyedState, slots: Slots, frame: Frame, baselines: Baselines, out: FeatureBatch) -> None:
    c = state.columns
    _observe(
        slots, frame.time, frame.team, frame.team_key, out.index(NEEDS), int(out.index(GIVES[:1])[0]), out.values, baselines.mean,
        baselines.spread, out.column("own_days"), _SCALE, _RATE, c["sum"], c["sum_time"], c["day_level"], c["own_mean"], c["own_var"],
        c["own_days"], c["level_day"], c["level_team"],
    )  # fmt: skip


@nb.njit(cache=True)
def _observe(  # type: ignore[no-untyped-def]
    slots, time, team, team_key, evidence, first, values, t_mean, t_spread, own_days, scale, rate,
    total, total_time, day_level, mean, var, days, level_day, level_team,
):  # fmt: skip
    for i in range(len(slots)):
        s, g, day = slots[i], team[i], time[i] // DAY
        if team_key[i] != 0 and team_key[i] != level_team[s]:
            if level_team[s] != 0:
                days[s] *= TRANSFER
            level_team[s] = team_key[i]
        if day > level_day[s]:
            if level_day[s] >= 0:
                _close_day(day_level[s], mean[s], var[s], days[s], t_mean[g], t_spread[g])
                days[s] = min(days[s] * KEEP_DAYS + 1.0, MOST_DAYS)
            level_day[s] = day
        own_days[i] = days[s]
        dt = max(time[i] - total_time[s], 0) if total_time[s] > 0 else 0
        total_time[s] = max(total_time[s], time[i])
        for h in range(H):
            decay = math.exp(rate[h] * dt)
            for e in range(len(scale)):
                k = e * H + h
                total[s, k] *= decay
                x = values[i, evidence[e]]
                if x <= 0.0:
                    continue
                total[s, k] += x
                y = math.log1p(total[s, k] / scale[e])
                m, sd = _usual(mean[s, k], var[s, k], days[s], t_mean[g, k], t_spread[g, k])
                at = first + 5 * k
                values[i, at], values[i, at + 1], values[i, at + 2] = y, m, t_mean[g, k]
                values[i, at + 3] = (y - m) / max(sd, LEAST_SPREAD)
                values[i, at + 4] = (y - t_mean[g, k]) / max(t_spread[g, k], LEAST_SPREAD)
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
