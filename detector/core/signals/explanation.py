"""Explanation: was there a reason for this access, and is the subject new to this employee?

`w` is what an access weighs as evidence: 1 where nothing explains it, .03 where the ticketing system had assigned the subject to the
employee. Most access to people's data is somebody's job; what is not explained is what an investigator would ask about
(after D. Fabbri, K. LeFevre, "Explanation-Based Auditing", VLDB 2011).

State: a ring of the last 32 assignments, times to the second; and a Bloom filter of subjects seen, in two generations that change every
30 active days. The filter knows whether a subject was seen, not when: someone looked at again after a long time is not new.
"""

from __future__ import annotations

import numba as nb
import numpy as np

from detector.core.baselines import Baselines
from detector.core.events import ACTIONS, NO_TIME
from detector.core.features import FeatureBatch
from detector.core.frame import DAY, Frame
from detector.core.state import Column, KeyedState, Slots, short

RING = 32
WORDS = 32  # 2,048 bits a generation
GENERATION_DAYS = 30

COLUMNS = (
    Column("assigned_subject", "uint32", (RING,)),
    Column("assigned_purpose", "uint32", (RING,)),
    Column("assigned_at", "uint32", (RING,)),
    Column("assigned_until", "uint32", (RING,)),
    Column("assigned_next", "uint16"),
    Column("seen", "uint64", (2, WORDS)),
    Column("seen_day", "int32", empty=-1),
    Column("seen_days", "uint8"),  # active days of the young generation
)
GIVES = ("w", "new")
"""`w` 0..1, 0 for `assign` and `unassign`; `new` 1 at the first look at a subject's data, else 0."""

ASSIGN, UNASSIGN, GRANT = ACTIONS.index("assign"), ACTIONS.index("unassign"), ACTIONS.index("grant")  # those before `grant` are on data
LAST_SECOND = 2**32 - 1
OPEN_END = 14 * 86_400  # seconds that an assignment without an end lasts
GRACE, GRACE_UNASSIGNED, RECENT = 6 * 3600, 4 * 3600, 5 * 86_400
W_ASSIGNED, W_EXCEPTION, W_OWN_PURPOSE, W_PURPOSE, W_RECENT, W_NOTHING = 0.03, 0.1, 0.2, 0.35, 0.3, 1.0
OWN, SELF = 0.15, 0.5  # the actor's own account; a record about the actor as an employee


def observe(state: KeyedState, slots: Slots, frame: Frame, baselines: Baselines, out: FeatureBatch) -> None:
    c = state.columns
    _observe(
        slots, frame.time, frame.action, frame.subject, short(frame.subject), short(frame.purpose), frame.exception, frame.valid_until,
        frame.own, frame.self, c["assigned_subject"], c["assigned_purpose"], c["assigned_at"],
        c["assigned_until"], c["assigned_next"],
        c["seen"], c["seen_day"], c["seen_days"], out.column("w"), out.column("new"),
    )  # fmt: skip


@nb.njit(cache=True)
def _observe(  # type: ignore[no-untyped-def]
    slots, time, action, subject, short_subject, purpose, exception, valid_until, own, self_,
    a_subject, a_purpose, a_at, a_until, a_next, seen, seen_day, seen_days, w, new,
):  # fmt: skip
    for i in range(len(slots)):
        s, who, why, at = slots[i], short_subject[i], purpose[i], _second(time[i])
        if action[i] == UNASSIGN:
            _unassign(s, at, who, why, a_subject, a_purpose, a_until)
            continue
        if action[i] == ASSIGN:
            if who != 0:
                j = a_next[s] % RING
                a_next[s] = j + 1
                a_subject[s, j], a_purpose[s, j], a_at[s, j] = who, why, at
                a_until[s, j] = min(at + OPEN_END, LAST_SECOND) if valid_until[i] == NO_TIME else _second(valid_until[i] + GRACE * 1000)
            continue
        weight = _weight(s, at, who, why, exception[i], a_subject, a_purpose, a_at, a_until)
        w[i] = weight * (OWN if own[i] else 1.0) * (SELF if self_[i] else 1.0)
        if who != 0 and action[i] < GRANT:
            new[i] = _first_look(s, subject[i], time[i] // DAY, seen, seen_day, seen_days)


@nb.njit(cache=True)
def _second(time):  # type: ignore[no-untyped-def]
    """Ms -> whole seconds, as far as the state can hold them."""
    return min(time // 1000, LAST_SECOND)


@nb.njit(cache=True)
def _unassign(s, at, subject, purpose, a_subject, a_purpose, a_until):  # type: ignore[no-untyped-def]
    """An unused place, which looks like an assignment of no subject, has ended anyway."""
    for j in range(RING):
        if a_subject[s, j] == subject and (purpose == 0 or a_purpose[s, j] == purpose):
            a_until[s, j] = min(np.int64(a_until[s, j]), at + GRACE_UNASSIGNED)


@nb.njit(cache=True)
def _weight(s, at, subject, purpose, exception, a_subject, a_purpose, a_at, a_until):  # type: ignore[no-untyped-def]
    if subject == 0:
        return W_PURPOSE if purpose != 0 else W_NOTHING
    recent = False
    for j in range(RING):
        if a_subject[s, j] == subject:
            if a_at[s, j] <= at <= a_until[s, j]:
                return W_ASSIGNED
            recent |= 0 <= at - np.int64(a_at[s, j]) < RECENT
    if purpose == 0:
        return W_RECENT if recent else W_NOTHING
    if exception:
        return W_EXCEPTION
    for j in range(RING):
        if a_purpose[s, j] == purpose:
            return W_OWN_PURPOSE
    return W_PURPOSE


@nb.njit(cache=True)
def _first_look(s, subject, day, seen, seen_day, seen_days):  # type: ignore[no-untyped-def]
    """1 if neither generation knows the subject. What is known is written into the young generation again, so it stays known."""
    if day > seen_day[s]:
        seen_day[s] = day
        seen_days[s] += 1
        if seen_days[s] == GENERATION_DAYS:
            seen_days[s] = 0
            seen[s, 1] = seen[s, 0]
            seen[s, 0] = 0
    bits = np.uint64(WORDS * 64 - 1)
    young = old = True
    for k in range(3):
        bit = (subject >> np.uint64(20 * k)) & bits
        word, mask = bit >> np.uint64(6), np.uint64(1) << (bit & np.uint64(63))
        young &= (seen[s, 0, word] & mask) != 0
        old &= (seen[s, 1, word] & mask) != 0
        seen[s, 0, word] |= mask
    return 0.0 if young or old else 1.0
