"""Relations: whom does this employee look at, on how many days, and was there a reason?

A bounded table an employee of pairs (this employee, a subject). At the first look of a day, the pair's unexplained days D are multiplied by
2^(-1/12) and grow by `w`, its explained days X grow by 1 - w. An unexplained look (w > .25) shows D / (1 + .7 X), the returns to one person
that nothing accounts for; it is compared with what is usual for this employee, blended with 15 looks' worth of the team's. The first look
speaks for the day: what follows on the same day does not count.

Of 36 pairs that matter most each is kept the longer, the later it was looked at and the more unexplained days it has: 14 days for each, and
42 more for a pair that has any. A pair that ranks below all that are held is not entered, so a day of many tickets does not push them out.
That today's first look at it was there already is known from a ring of the last 20 first looks of the employee's newest day: work on one
person is seldom interrupted by work on twenty others.
"""

from __future__ import annotations

import math

import numba as nb
import numpy as np

from detector.core.baselines import Baselines
from detector.core.events import ACTIONS
from detector.core.features import FeatureBatch
from detector.core.frame import DAY, Frame
from detector.core.state import Array, Column, KeyedState, Slots, short

PLACES, LATEST = 36, 20

COLUMNS = (
    Column("relation_subject", "uint32", (PLACES,)),
    Column("relation_day", "uint16", (PLACES,)),
    Column("relation_unexplained", "uint16", (PLACES,)),
    Column("relation_explained", "uint16", (PLACES,)),
    Column("latest_subject", "uint16", (LATEST,)),
    Column("latest_next", "uint8"),
    Column("repeat_mean", "float32"),
    Column("repeat_var", "float32"),
    Column("repeat_looks", "float32"),
    Column("repeat_day", "uint16"),
    Column("repeat_today", "float32", (3,)),
)
"""`relation_day` in days since 1970, of the last look; unexplained and explained days in steps of 1/1024 and 1/256, the latter bounded.
`latest_subject`: 16 bits of the hash, so one pair in 3,000 is taken for another; 0 for none.
`repeat_today`: count, sum and sum of squares of the returns shown on `repeat_day`, the employee's newest day."""
NEEDS = ("w",)
GIVES = ("first", "repeat")
"""`first` 1 at the day's first look at a subject's data; `repeat` how unusual a return to one person is, weighed by `w`."""

GRANT = ACTIONS.index("grant")  # the actions before it are on data
LAST_DAY = 2**16 - 1
UNEXPLAINED = 0.25
STEPS, STEPS_EXPLAINED, MOST_STEPS = 1024, 256, 2**16 - 1
KEEP = 2.0 ** (-1 / 12)
EXPLAINED_COUNTS = 0.7
LEAST = 1.5  # unexplained days: from the second on it is a return
TEAM_LOOKS, MOST_LOOKS, LEAST_LOOKS = 15.0, 150.0, 5.0
SPREAD, CLIP = 0.1, 4.0
WORTH, WORTH_ANY = 14, 42  # days that a pair is kept longer


def observe(state: KeyedState, slots: Slots, frame: Frame, baselines: Baselines, out: FeatureBatch) -> None:
    c = state.columns
    _observe(
        slots, frame.time, frame.action, short(frame.subject), frame.special, frame.location, frame.team, out.column("w"), baselines.repeat,
        c["relation_subject"], c["relation_day"], c["relation_unexplained"], c["relation_explained"],
        c["latest_subject"], c["latest_next"], c["repeat_mean"], c["repeat_var"], c["repeat_looks"], c["repeat_day"], c["repeat_today"],
        out.column("first"), out.column("repeat"),
    )  # fmt: skip


def daily(state: KeyedState, slots: Slots) -> dict[str, Array]:
    """`repeat` (n, 3): count, sum and sum of squares of the returns shown on the employee's newest day."""
    today: Array = state.columns["repeat_today"][slots]
    return {"repeat": today}


@nb.njit(cache=True)
def _observe(  # type: ignore[no-untyped-def]
    slots, time, action, subject, special, location, team, w, usual,
    r_subject, r_day, r_unexplained, r_explained, latest, place, mean, var, looks, newest, today, first, repeat,
):  # fmt: skip
    for i in range(len(slots)):
        s, day, weight = slots[i], min(time[i] // DAY, LAST_DAY), float(w[i])
        if day > newest[s]:
            newest[s] = day
            latest[s] = 0
            today[s, 0] = today[s, 1] = today[s, 2] = 0.0
        if subject[i] == 0 or action[i] >= GRANT:
            continue
        j = _find(s, subject[i], r_subject)
        if j >= 0 and day <= r_day[s, j]:
            continue
        if day == newest[s] and not _enter(s, max(subject[i] >> np.uint32(16), 1), latest, place):
            continue
        first[i] = 1.0
        unexplained, explained = weight, 1.0 - weight
        if j >= 0:
            unexplained += KEEP * float(r_unexplained[s, j]) / STEPS
            explained += float(r_explained[s, j]) / STEPS_EXPLAINED
        steps = int(unexplained * STEPS + 0.5)
        if j < 0:
            j = _room(s, subject[i] % PLACES, _rank(day, steps), r_day, r_unexplained)
        if j >= 0:
            r_subject[s, j], r_day[s, j], r_unexplained[s, j] = subject[i], day, steps
            r_explained[s, j] = min(int(explained * STEPS_EXPLAINED + 0.5), MOST_STEPS)
        if weight > UNEXPLAINED:
            value = unexplained / (1.0 + EXPLAINED_COUNTS * explained)
            z = _compare(s, value, usual[team[i], 0], usual[team[i], 1], mean, var, looks)
            today[s, 0] += 1.0
            today[s, 1] += value
            today[s, 2] += value * value
            if unexplained > LEAST:
                repeat[i] = weight * max(z, 0.0) * (1.0 + special[i]) * (1.5 if location[i] else 1.0)


@nb.njit(cache=True)
def _find(s, subject, subjects):  # type: ignore[no-untyped-def]
    for j in range(PLACES):
        if subjects[s, j] == subject:
            return j
    return -1


@nb.njit(cache=True)
def _enter(s, mark, latest, place):  # type: ignore[no-untyped-def]
    """Enters the day's first look at a subject; False if the ring knows of an earlier one."""
    for k in range(LATEST):
        if latest[s, k] == mark:
            return False
    latest[s, place[s]] = mark
    place[s] = (place[s] + 1) % LATEST
    return True


@nb.njit(cache=True)
def _rank(day, steps):  # type: ignore[no-untyped-def]
    """How much a pair is worth keeping; 1,024 is a day. `steps`: its unexplained days."""
    return np.int64(day) * STEPS + WORTH * np.int64(steps) + (WORTH_ANY * STEPS if steps > UNEXPLAINED * STEPS else 0)


@nb.njit(cache=True)
def _room(s, start, rank, days, unexplained):  # type: ignore[no-untyped-def]
    """The place of the lowest pair; -1 if that ranks above the new one. An empty place is the lowest there is.

    Among equal pairs, such as those of one busy day, it is the first from `start` on: anyone's, so that none is sure to go at once.
    """
    lowest, place = rank + 1, -1
    for k in range(PLACES):
        j = start + k if start + k < PLACES else start + k - PLACES
        held = _rank(days[s, j], unexplained[s, j])
        if held < lowest:
            lowest, place = held, j
    return place


@nb.njit(cache=True)
def _compare(s, value, usual_mean, usual_var, mean, var, looks):  # type: ignore[no-untyped-def]
    """Standard deviations above the usual, which has then seen the value: clipped, so that it stays what is usual."""
    n = float(looks[s]) + TEAM_LOOKS
    m = (float(looks[s]) * float(mean[s]) + TEAM_LOOKS * usual_mean) / n
    sd = math.sqrt((float(looks[s]) * float(var[s]) + TEAM_LOOKS * usual_var) / n + SPREAD)
    d = min(value, m + CLIP * sd) - float(mean[s])
    looks[s] = min(looks[s] + 1.0, MOST_LOOKS)
    mean[s] += d / looks[s]
    var[s] += (d * d - float(var[s])) / max(looks[s], LEAST_LOOKS)
    return (value - m) / sd
