"""Rights: does the employee stay within what they may use, and leave alone who may use what and what watches over it?

Crossing a residency wall, using what was taken away from the team, still using the former team's things after a transfer, changing one's
own rights and using them, looking into alerts and audit logs. All of it weighs by how little the access is explained.

State: how often the employee used what was revoked (x .84 each such day), the last day of it and on what; the last 4 resources they gave
themselves rights to.
"""

from __future__ import annotations

import math
from typing import Any

import numba as nb
import numpy as np
from numpy.typing import NDArray

from detector.core.baselines import Baselines
from detector.core.events import ACTIONS, OUTCOMES
from detector.core.features import FeatureBatch
from detector.core.frame import DAY, IAM, WATCH, Frame
from detector.core.state import Column, KeyedState, Slots, short

GRANTS = 4

COLUMNS = (
    Column("rights_day", "int32", empty=-1),
    Column("revoked_day", "int32", empty=-1),
    Column("revoked_days", "float32"),
    Column("revoked_resource", "uint64"),
    Column("granted", "uint32", (GRANTS,)),
    Column("granted_at", "uint32", (GRANTS,)),  # minutes since 1970: that reaches beyond the year 9999
    Column("granted_strength", "float32", (GRANTS,)),
)
NEEDS = ("w", "own_share", "odd_pair")
GIVES = ("wall", "revoked", "privilege", "grant_use", "watch", "watch_self")
"""`privilege`: giving oneself rights, using and removing them; `grant_use`: the latter two by themselves, the stronger for what the
employee usually does not do; `watch`: looking into what watches; `watch_self`: there, about oneself or a team-mate."""

ALWAYS, BY_W, DENIED_WALL = 0.3, 0.7, 0.4
FREE_W = float(np.float32(0.3))  # what is explained as well as that is no evidence; w is float32, and .3 itself must not exceed it
REVOKED, LEAST_W, DENIED_USE, DAMPING, KEEP = 1.4, 0.02, 0.3, 2.0, 0.84
OLD_TEAM, HANDOVER_DAYS, FADE_IN_DAYS, LAST_DAYS, LEAST_RATIO, SHARE_FLOOR = 0.4, 5.0, 10.0, 90.0, 1.5, 1e-4
COMMON_SHARE, WATCH_SELF, WATCH_MATE, SELF, MATE = 0.02, 1.5, 0.5, 2.0, 0.7
GRANT_W, CHANGE, CHANGE_FLOOR, STRENGTH_FLOOR, REMOVAL = 1.3, 3.0, 0.05, 0.03, 3.0
USE, USE_W, USE_PRIVILEGE, NO_DATA = 0.2, 2.8, 0.5, 0.15
MINUTE, GRANT_MINUTES = 60_000, 3 * 24 * 60
GRANT, LOGIN, ADMIN, ASSIGN = (ACTIONS.index(a) for a in ("grant", "login", "admin", "assign"))
SUCCESS, DENIED = OUTCOMES.index("success"), OUTCOMES.index("denied")


def observe(state: KeyedState, slots: Slots, frame: Frame, baselines: Baselines, out: FeatureBatch) -> None:
    c, f = state.columns, frame
    _observe(
        slots, f.time, f.action, f.outcome, f.kind, f.resource, short(f.resource), short(f.grants), f.pair_row,
        f.team, f.old_team, f.transferred, f.subject, f.purpose, f.self, f.teammate, f.wall, f.revoked, baselines.pair_team,
        c["rights_day"], (c["revoked_day"], c["revoked_days"], c["revoked_resource"]),
        (c["granted"], c["granted_at"], c["granted_strength"]),
        tuple(out.column(name) for name in NEEDS), tuple(out.column(name) for name in GIVES),
    )  # fmt: skip


def daily(state: KeyedState, slots: Slots) -> dict[str, NDArray[Any]]:
    """`revoked_resource`: one that the employee used on their last day although it was taken away from the team, else 0."""
    c = state.columns
    used = c["revoked_day"][slots] == c["rights_day"][slots]
    return {"revoked_resource": np.where(used, c["revoked_resource"][slots], np.uint64(0))}


@nb.njit(cache=True)
def _observe(  # type: ignore[no-untyped-def]
    slots, time, action, outcome, kind, resource, short, grants, pair_row, team, old_team, transferred, subject, purpose, oneself, teammate,
    walls, taken, pair_team, last_day, uses, granted, needs, gives,
):  # fmt: skip
    (w, own_share, odd_pair), (wall, revoked, privilege, grant_use, watch, watch_self) = needs, gives
    for i in range(len(slots)):
        s, day = slots[i], time[i] // DAY
        last_day[s] = max(last_day[s], day)
        if action[i] >= ASSIGN:
            continue
        use = REVOKED * (DENIED_USE if outcome[i] == DENIED else 1.0)
        wall[i] = walls[i] * (DENIED_WALL * w[i] if outcome[i] == DENIED else ALWAYS + BY_W * w[i])
        if taken[i] >= 0:
            revoked[i] = use * max(w[i] - FREE_W, LEAST_W) * _damping(taken[i], day, resource[i], s, uses)
        if old_team[i] >= 0 and old_team[i] != team[i] and pair_row[i] >= 0:
            of_old, of_new = pair_team[old_team[i], pair_row[i]], pair_team[team[i], pair_row[i]]
            revoked[i] += use * max(w[i] - FREE_W, 0.0) * _clinging((time[i] - transferred[i]) / DAY, of_old, of_new)
        about_mate = teammate[i] and purpose[i] == 0
        if kind[i] == WATCH:
            rare = max(math.log(COMMON_SHARE / (own_share[i] + SHARE_FLOOR)), 0.0) if own_share[i] > 0 else 0.0
            watch[i] = (ALWAYS + BY_W * w[i]) * rare + (WATCH_SELF if oneself[i] else WATCH_MATE if about_mate else 0.0)
            watch_self[i] = (SELF if oneself[i] else MATE if about_mate else 0.0) * (1.0 + rare)
        changes = action[i] == GRANT or action[i] == ADMIN
        if changes and kind[i] == IAM and oneself[i]:
            given = grants[i] if outcome[i] == SUCCESS else np.uint32(0)
            removal = _change(given, time[i] // MINUTE, action[i], w[i], s, granted)
            grant_use[i] = removal
            privilege[i] = CHANGE * (CHANGE_FLOOR + GRANT_W * max(w[i] - FREE_W, 0.0)) + removal
        else:
            strength = _strength(short[i], time[i] // MINUTE, s, granted)
            data = w[i] * (1.0 if subject[i] != 0 and action[i] != LOGIN and not changes else NO_DATA)
            grant_use[i] = strength * (USE + USE_W * data) * (1.0 + odd_pair[i])
            privilege[i] = USE_PRIVILEGE * strength * data


@nb.njit(cache=True)
def _damping(team_uses, day, resource, s, uses):  # type: ignore[no-untyped-def]
    """Less than 1 where colleagues use it too: then it was taken away on paper only. The employee's day of use counts from now on."""
    last_day, days, last_resource = uses
    others = max(team_uses - days[s], 0.0)
    if day > last_day[s]:
        last_day[s], last_resource[s] = day, resource
        days[s] = days[s] * KEEP + 1.0
    return 1.0 / (1.0 + DAMPING * others)


@nb.njit(cache=True)
def _clinging(days, of_old, of_new):  # type: ignore[no-untyped-def]
    """How much more the former team's thing it is than the new team's, that long after the transfer: a handover is over some day."""
    if days <= HANDOVER_DAYS or days >= LAST_DAYS:
        return 0.0
    ratio = math.log((of_old + SHARE_FLOOR) / (of_new + SHARE_FLOOR))
    return OLD_TEAM * ratio * (1.0 - math.exp((HANDOVER_DAYS - days) / FADE_IN_DAYS)) if ratio > LEAST_RATIO else 0.0


@nb.njit(cache=True)
def _change(resource, minute, action, w, s, granted):  # type: ignore[no-untyped-def]
    """A change of one's own rights is remembered; but taking back what one has just given oneself is evidence, which is given."""
    if resource == 0:
        return 0.0
    strength = _strength(resource, minute, s, granted)
    if action == ADMIN and strength > 0:
        return REMOVAL * strength
    what, at, how_strong = granted
    oldest = 0
    for j in range(GRANTS):
        if what[s, j] == resource:
            oldest = j
            break
        if at[s, j] < at[s, oldest]:
            oldest = j
    if minute >= at[s, oldest]:
        what[s, oldest], at[s, oldest], how_strong[s, oldest] = resource, minute, STRENGTH_FLOOR + GRANT_W * max(w - FREE_W, 0.0)
    return 0.0


@nb.njit(cache=True)
def _strength(resource, minute, s, granted):  # type: ignore[no-untyped-def]
    """Of the right to the resource that they gave themselves within the last three days; 0 if there is none."""
    what, at, how_strong = granted
    for j in range(GRANTS):
        if what[s, j] == resource and 0 <= minute - at[s, j] < GRANT_MINUTES:
            return how_strong[s, j]
    return 0.0
