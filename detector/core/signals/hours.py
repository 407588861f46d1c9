"""Hours: does this employee, and the team, work at this time?

Own counts by hour of the day, working days and weekends apart, multiplied by .96 each active day, with 25 events' worth of the team's
habits, smoothed over the neighbouring hours.
"""

from __future__ import annotations

import math

import numba as nb

from detector.core.baselines import HOURS, Baselines
from detector.core.events import ACTIONS
from detector.core.features import FeatureBatch
from detector.core.frame import DAY, Frame
from detector.core.state import Column, KeyedState, Slots

COLUMNS = (
    Column("hour_count", "float32", (HOURS,)),
    Column("hour_total", "float32"),
    Column("hour_day", "int64", empty=-1),
)
NEEDS = ("w",)
GIVES = ("off_hours", "odd_hour")
"""`off_hours`: unexplained access to a person's data at an hour that is not theirs; `odd_hour`: any event at such an hour."""

KEEP, TEAM_EVENTS, FLOOR = 0.96, 25.0, 0.02
ASSIGN, LOGIN = ACTIONS.index("assign"), ACTIONS.index("login")


def observe(state: KeyedState, slots: Slots, frame: Frame, baselines: Baselines, out: FeatureBatch) -> None:
    c = state.columns
    _observe(
        slots, frame.time, frame.action, frame.subject, frame.hour, frame.team, baselines.hour_team,
        c["hour_count"], c["hour_total"], c["hour_day"], out.column("w"), out.column("off_hours"), out.column("odd_hour"),
    )  # fmt: skip


@nb.njit(cache=True)
def _observe(slots, time, action, subject, hour, team, team_share, count, total, last_day, w, off_hours, odd_hour):  # type: ignore[no-untyped-def]
    for i in range(len(slots)):
        if action[i] >= ASSIGN:
            continue
        s, h, day = slots[i], hour[i], time[i] // DAY
        if day > last_day[s]:
            last_day[s] = day
            count[s] *= KEEP
            total[s] *= KEEP
        kind = h - h % 24
        before, after = kind + (h + 23) % 24, kind + (h + 1) % 24
        own = 0.25 * count[s, before] + 0.5 * count[s, h] + 0.25 * count[s, after]
        team_usual = 0.25 * team_share[team[i], before] + 0.5 * team_share[team[i], h] + 0.25 * team_share[team[i], after]
        usual = (own + TEAM_EVENTS * team_usual + FLOOR) / (total[s] + TEAM_EVENTS + HOURS * FLOOR)
        rare = max(-math.log(24.0 * usual) - 1.0, 0.0)
        odd_hour[i] = rare
        if subject[i] != 0 and action[i] != LOGIN:
            off_hours[i] = w[i] * rare
        count[s, h] += 1.0
        total[s] += 1.0
