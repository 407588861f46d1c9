"""Purposes: one ticket for many people.

A ticket is opened for a person, sometimes for two, and closed in days. One that goes on to explain looks at ever more people, long after it
was opened, is an excuse. For each of the last 10 purposes with which an employee came to a further person: when it was first used, and
a bitmap that tells how many people it was used for, by linear counting (K.-Y. Whang, B. T. Vander-Zanden, H. M. Taylor, "A Linear-Time
Probabilistic Counting Algorithm for Database Applications", ACM TODS 1990).

They are kept in the order in which they last came to a further person, the latest first. A purpose beyond them begins anew.
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

PLACES = 10
BITS = 64

COLUMNS = (
    Column("purpose_people", "uint64", (PLACES,)),
    Column("purpose_key", "uint32", (PLACES,)),
    Column("purpose_kind", "uint64", (PLACES,)),
    Column("purpose_first", "uint32", (PLACES,)),
    Column("purpose_age", "uint16", (PLACES,)),
    Column("purpose_day", "uint16"),
    Column("purpose_today", "uint8"),
)
"""`purpose_first` in seconds since 1970; `purpose_age` in quarter-hours from then to the last further person; `purpose_today` how many of
the purposes came to a further person on `purpose_day`, the employee's newest day."""
NEEDS = ("w",)
GIVES = ("purpose",)
"""How unusual it is that the purpose comes to a further person: that it has so many, and that it is so old."""

GRANT = ACTIONS.index("grant")  # the actions before it are on data
LAST_SECOND, LAST_DAY, LAST_QUARTER = 2**32 - 1, 2**16 - 1, 2**16 - 1
ASSIGNED, EXPLAINED = 0.21, 0.11  # `w` is one of few values, and these lie between them
UN_ASSIGNED = 0.4
OF_AGE = 0.6
SPREAD_PEOPLE, SPREAD_AGE = 0.15, 0.1
MOST = 3.0
_LOG_PEOPLE = np.log([1.0, 1.0, *(BITS * math.log(BITS / max(BITS - ones, 1)) for ones in range(2, BITS + 1))])
"""Log of the people behind so many set bits."""


def observe(state: KeyedState, slots: Slots, frame: Frame, baselines: Baselines, out: FeatureBatch) -> None:
    c = state.columns
    _observe(
        slots, frame.time, frame.action, frame.subject, short(frame.purpose), frame.purpose_kind, frame.purpose_row, frame.team,
        out.column("w"), baselines.purpose, _LOG_PEOPLE, c["purpose_people"], c["purpose_key"], c["purpose_kind"], c["purpose_first"],
        c["purpose_age"], c["purpose_day"], c["purpose_today"], out.column("purpose"),
    )  # fmt: skip


def daily(state: KeyedState, slots: Slots) -> dict[str, Array]:
    """Of the purposes that came to a further person on the employee's newest day, (n, 10) each: `purpose_kind` hash of the kind, 0 in
    unused places; `purpose_reach` log of its people; `purpose_age` log of 1 + its age in days."""
    c = state.columns
    used = np.arange(PLACES) < c["purpose_today"][slots][:, None]
    reach = _LOG_PEOPLE[np.bitwise_count(c["purpose_people"][slots])]
    age = np.log1p(c["purpose_age"][slots] / 96)
    return {
        "purpose_kind": np.where(used, c["purpose_kind"][slots], np.uint64(0)),
        "purpose_reach": np.where(used, reach, 0).astype(np.float32),
        "purpose_age": np.where(used, age, 0).astype(np.float32),
    }


@nb.njit(cache=True)
def _observe(  # type: ignore[no-untyped-def]
    slots, time, action, subject, purpose, kind, row, team, w, usual, log_people,
    people, key, p_kind, p_first, p_age, newest, today, out,
):  # fmt: skip
    for i in range(len(slots)):
        s, day, second = slots[i], min(time[i] // DAY, LAST_DAY), min(time[i] // 1000, LAST_SECOND)
        if day > newest[s]:
            newest[s], today[s] = day, 0
        if purpose[i] == 0 or subject[i] == 0 or action[i] >= GRANT:
            continue
        bit = np.uint64(1) << (subject[i] & np.uint64(BITS - 1))
        j = _find(s, purpose[i], key)
        if j < PLACES and people[s, j] & bit != 0:
            continue
        if j >= today[s]:
            today[s] += 1  # at most PLACES + 1, when all are today's
        first = second if j == PLACES else np.int64(p_first[s, j])
        known = np.uint64(0) if j == PLACES else people[s, j]
        _make_front(s, min(j, PLACES - 1), people, key, p_kind, p_first, p_age)
        age = max(second - first, 0)
        people[s, 0], key[s, 0], p_kind[s, 0], p_first[s, 0] = known | bit, purpose[i], kind[i], first
        p_age[s, 0] = min(age // 900, LAST_QUARTER)
        reach = log_people[_ones(known | bit)]
        out[i] = _unusual(reach, math.log1p(age / 86_400), row[i], team[i], usual) * _unexplained(float(w[i]))


@nb.njit(cache=True)
def _find(s, purpose, key):  # type: ignore[no-untyped-def]
    for j in range(PLACES):
        if key[s, j] == purpose:
            return j
    return PLACES


@nb.njit(cache=True)
def _make_front(s, place, people, key, kind, first, age):  # type: ignore[no-untyped-def]
    """Moves those before the place one back, so that the first is free."""
    for j in range(place, 0, -1):
        people[s, j], key[s, j], kind[s, j] = people[s, j - 1], key[s, j - 1], kind[s, j - 1]
        first[s, j], age[s, j] = first[s, j - 1], age[s, j - 1]


@nb.njit(cache=True)
def _ones(bits):  # type: ignore[no-untyped-def]
    n = 0
    while bits != 0:
        bits &= bits - np.uint64(1)
        n += 1
    return n


@nb.njit(cache=True)
def _unexplained(w):  # type: ignore[no-untyped-def]
    if w > ASSIGNED:
        return 1.0
    return UN_ASSIGNED if w > EXPLAINED else 0.0


@nb.njit(cache=True)
def _unusual(reach, age, row, team, usual):  # type: ignore[no-untyped-def]
    z_reach, z_age = reach, age  # of a kind that nobody knows
    if row >= 0:
        z_reach = (reach - usual[team, row, 0]) / math.sqrt(usual[team, row, 1] + SPREAD_PEOPLE)
        z_age = (age - usual[team, row, 2]) / math.sqrt(usual[team, row, 3] + SPREAD_AGE)
    return (max(z_reach, 0.0) + OF_AGE * max(z_age, 0.0)) * min(reach, MOST)
