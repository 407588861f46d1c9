"""Hours: does this employee, and the team, work at this time?

Own counts by local hour of the day, working days and others apart, multiplied by .96 each active day, with 25 events' worth of the team's
habits, smoothed over the neighbouring hours.
"""

from __future__ import annotations

import math
from typing import Any

import numba as nb
import numpy as np
from numpy.typing import NDArray

from detector.core.baselines import HOURS, Baselines
from detector.core.events import ACTIONS
from detector.core.features import FeatureBatch
from detector.core.frame import DAY, Frame
from detector.core.state import Column, KeyedState, Slots

COLUMNS = (
    Column("hour_count", "float32", (HOURS,)),
    Column("hour_total", "float32"),
    Column("hour_day", "int32", empty=-1),
)
NEEDS = ("w",)
GIVES = ("off_hours", "odd_hour", "hour_llr")
"""`off_hours`: unexplained access to a person's data at an hour that is not theirs; `odd_hour`: any event at such an hour; `hour_llr`: log
of how much likelier the hour is for others than for them, with its sign."""

KEEP, TEAM_EVENTS, FLOOR = 0.96, 25.0, 0.02
LEAST_COUNTS = 20.0  # a profile counts for the team's from this many events on
GRANT, LOGIN, ADMIN, ASSIGN = (ACTIONS.index(a) for a in ("grant", "login", "admin", "assign"))


def observe(state: KeyedState, slots: Slots, frame: Frame, baselines: Baselines, out: FeatureBatch) -> None:
    c = state.columns
    _observe(
        slots, frame.time, frame.action, frame.subject, frame.hour, frame.team, baselines.hour_team,
        c["hour_count"], c["hour_total"], c["hour_day"], out.column("w"), out.column("off_hours"),
        out.column("odd_hour"), out.column("hour_llr"),
    )  # fmt: skip


def daily(state: KeyedState, slots: Slots) -> dict[str, NDArray[Any]]:
    """The normalised profile, all 0 where there is too little to be one."""
    count, total = state.columns["hour_count"][slots], state.columns["hour_total"][slots, None]
    return {"hour_share": np.where(total > LEAST_COUNTS, count / np.maximum(total, np.float32(1e-9)), np.float32(0))}


@nb.njit(cache=True)
def _observe(  # type: ignore[no-untyped-def]
    slots, time, action, subject, hour, team, team_share, count, total, last_day, w, off_hours, odd_hour, hour_llr
):
    for i in range(len(slots)):
        if action[i] >= ASSIGN:
            continue
        s, h, day = slots[i], hour[i], time[i] // DAY
        if day > last_day[s]:
            last_day[s] = day
            count[s] *= KEEP
            total[s] *= KEEP
        of_team = _near(team_share[team[i]], h)
        usual = (_near(count[s], h) + TEAM_EVENTS * of_team + FLOOR) / (total[s] + TEAM_EVENTS + HOURS * FLOOR)
        rare = max(-math.log(24.0 * usual) - 1.0, 0.0)
        odd_hour[i] = rare
        hour_llr[i] = math.log((0.5 * _near(team_share[0], h) + 0.25 * of_team + 0.25 / HOURS) / usual)
        if subject[i] != 0 and action[i] != LOGIN and action[i] != GRANT and action[i] != ADMIN:
            off_hours[i] = w[i] * rare
        count[s, h] += 1.0
        total[s] += 1.0


@nb.njit(cache=True)
def _near(share, h):  # type: ignore[no-untyped-def]
    """The hour's share with half of each of its neighbours', on the same kind of day."""
    kind = h - h % 24
    return 0.25 * share[kind + (h + 23) % 24] + 0.5 * share[h] + 0.25 * share[kind + (h + 1) % 24]
