"""Explanation: was there a reason for this access, and is the subject new to this employee?

`w` is what an access weighs as evidence: 1 where nothing explains it, .03 where the ticketing system had assigned the subject to the
employee. Most access to people's data is somebody's job; what is not explained is what an investigator would ask about
(after D. Fabbri, K. LeFevre, "Explanation-Based Auditing", VLDB 2011).

State: a ring of the last 32 assignments, and a Bloom filter of subjects seen, in two generations that change every 30 active days.
"""

from __future__ import annotations

import numba as nb
import numpy as np

from detector.core.baselines import Baselines
from detector.core.events import ACTIONS, NO_TIME
from detector.core.features import FeatureBatch
from detector.core.frame import DAY, HOUR, Frame
from detector.core.state import Column, KeyedState, Slots

RING = 32
WORDS = 32  # 2,048 bits a generation
GENERATION_DAYS = 30

COLUMNS = (
    Column("assigned_subject", "uint64", (RING,)),
    Column("assigned_purpose", "uint64", (RING,)),
    Column("assigned_at", "int64", (RING,)),
    Column("assigned_until", "int64", (RING,)),
    Column("assigned_next", "int64"),
    Column("seen", "uint64", (2, WORDS)),
    Column("seen_day", "int64", empty=-1),
    Column("seen_days", "int64"),
)
GIVES = ("w", "new")
"""`w` 0..1; `new` 1 at the first look at a subject. Both 0 for `assign`, `unassign`; `new` is 0 for a login, and without a subject."""

ASSIGN, UNASSIGN, LOGIN = ACTIONS.index("assign"), ACTIONS.index("unassign"), ACTIONS.index("login")
OPEN_END = 14 * DAY  # an assignment without an end
GRACE, GRACE_UNASSIGNED, RECENT = 6 * HOUR, 4 * HOUR, 5 * DAY
W_ASSIGNED, W_OWN_PURPOSE, W_PURPOSE, W_RECENT, W_NOTHING, W_NO_SUBJECT, OWN = 0.03, 0.2, 0.35, 0.3, 1.0, 0.35, 0.15


def observe(state: KeyedState, slots: Slots, frame: Frame, baselines: Baselines, out: FeatureBatch) -> None:
    c = state.columns
    _observe(
        slots, frame.time, frame.action, frame.subject, frame.purpose, frame.valid_until, frame.own,
        c["assigned_subject"], c["assigned_purpose"], c["assigned_at"], c["assigned_until"], c["assigned_next"],
        c["seen"], c["seen_day"], c["seen_days"], out.column("w"), out.column("new"),
    )  # fmt: skip


@nb.njit(cache=True)
def _observe(  # type: ignore[no-untyped-def]
    slots, time, action, subject, purpose, valid_until, own, a_subject, a_purpose, a_at, a_until, a_next, seen, seen_day, seen_days, w, new
):
    for i in range(len(slots)):
        s = slots[i]
        if action[i] == ASSIGN or action[i] == UNASSIGN:
            _assignment(
                time[i],
                action[i],
                subject[i],
                purpose[i],
                valid_until[i],
                a_subject[s],
                a_purpose[s],
                a_at[s],
                a_until[s],
                a_next[s : s + 1],
            )
            continue
        w[i] = _weight(time[i], subject[i], purpose[i], a_subject[s], a_purpose[s], a_at[s], a_until[s])
        if own[i]:
            w[i] *= OWN
        if subject[i] != 0 and action[i] != LOGIN:
            new[i] = _first_look(subject[i], time[i] // DAY, seen[s], seen_day[s : s + 1], seen_days[s : s + 1])


@nb.njit(cache=True)
def _assignment(time, action, subject, purpose, valid_until, a_subject, a_purpose, a_at, a_until, a_next):  # type: ignore[no-untyped-def]
    if subject == 0:
        return
    if action == UNASSIGN:
        for j in range(RING):
            if a_subject[j] == subject and (purpose == 0 or a_purpose[j] == purpose):
                a_until[j] = min(a_until[j], time + GRACE_UNASSIGNED)
        return
    j = a_next[0] % RING
    a_next[0] += 1
    a_subject[j], a_purpose[j], a_at[j] = subject, purpose, time
    a_until[j] = time + OPEN_END if valid_until == NO_TIME else valid_until + GRACE


@nb.njit(cache=True)
def _weight(time, subject, purpose, a_subject, a_purpose, a_at, a_until):  # type: ignore[no-untyped-def]
    if subject == 0:
        return W_NO_SUBJECT if purpose != 0 else W_NOTHING
    recent = own_purpose = False
    for j in range(RING):
        if a_subject[j] == subject:
            if a_at[j] <= time <= a_until[j]:
                return W_ASSIGNED
            recent |= 0 <= time - a_at[j] < RECENT
        own_purpose |= purpose != 0 and a_purpose[j] == purpose
    if purpose != 0:
        return W_OWN_PURPOSE if own_purpose else W_PURPOSE
    return W_RECENT if recent else W_NOTHING


@nb.njit(cache=True)
def _first_look(subject, day, seen, seen_day, seen_days):  # type: ignore[no-untyped-def]
    """1 if neither generation knows the subject. What is known is written into the young generation again, so it stays known."""
    if day > seen_day[0]:
        seen_day[0] = day
        seen_days[0] += 1
        if seen_days[0] % GENERATION_DAYS == 0:
            seen[1] = seen[0]
            seen[0] = 0
    bits = np.uint64(WORDS * 64 - 1)
    young = old = True
    for k in range(3):
        bit = (subject >> np.uint64(20 * k)) & bits
        word, mask = bit >> np.uint64(6), np.uint64(1) << (bit & np.uint64(63))
        young &= (seen[0, word] & mask) != 0
        old &= (seen[1, word] & mask) != 0
        seen[0, word] |= mask
    return 0.0 if young or old else 1.0
