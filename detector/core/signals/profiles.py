"""Profiles: does this employee, and the team, work with this resource in this way, and in this order?

Own counts of pairs (resource, action) and of steps (the pair before -> this one; a day begins with a step from nowhere), multiplied by .965
each active day (a half-life of twenty), in bounded tables whose rarest entry makes room; when a count would overflow, all of its table are
halved. A share is the employee's own, with 12 events' worth of the team's habits and .3 of the company's. What is not in the baselines'
vocabulary is no evidence: nobody can say yet whose it is.
"""

from __future__ import annotations

import math
from typing import Any

import numba as nb
import numpy as np
from numpy.typing import NDArray

from detector.core.baselines import Baselines
from detector.core.events import ACTIONS
from detector.core.features import FeatureBatch
from detector.core.frame import DAY, IAM, WATCH, Frame
from detector.core.state import Column, KeyedState, Slots

PAIRS, STEPS = 64, 70
SIXTEENTHS = 16  # a count is held in these, 16 bits; what fades is rounded down

COLUMNS = (
    Column("pair_key", "uint32", (PAIRS,)),
    Column("pair_count", "uint16", (PAIRS,)),
    Column("pair_total", "float32"),
    Column("step_key", "uint32", (STEPS,)),
    Column("step_count", "uint16", (STEPS,)),
    Column("step_total", "float32"),
    Column("last_pair", "uint32"),
    Column("profile_day", "int32", empty=-1),
)
NEEDS = ("w",)
GIVES = ("foreign", "odd_pair", "own_share", "pair_llr", "odd_step", "step_llr")
"""`foreign`: unexplained use of what is neither theirs nor the team's; `odd_pair`, `odd_step`: rarer for them than for others, as the
log of the ratio, not below 0; `pair_llr`, `step_llr`: the same with its sign; `own_share`: the pair's share in their work, 0 if unknown."""

KEEP = 0.965
TEAM_EVENTS, COMPANY_EVENTS = 12.0, 0.3
MOST_COUNT = 65_535 - SIXTEENTHS
LEAST_LLR, MOST_LLR = -3.0, 6.0
ASSIGN = ACTIONS.index("assign")
LEAST_COUNTS = 20.0  # a profile counts for the team's from this many events on


def observe(state: KeyedState, slots: Slots, frame: Frame, baselines: Baselines, out: FeatureBatch) -> None:
    c = state.columns
    _observe(
        slots, frame.time, frame.action, frame.kind, frame.pair, frame.pair_row, frame.team,
        (baselines.pair_company, baselines.pair_team), (baselines.steps, baselines.step_company, baselines.step_team),
        (c["pair_key"], c["pair_count"], c["pair_total"]), (c["step_key"], c["step_count"], c["step_total"]), c["last_pair"],
        c["profile_day"], out.values, int(out.index(NEEDS)[0]), int(out.index(GIVES[:1])[0]),
    )  # fmt: skip


def daily(state: KeyedState, slots: Slots) -> dict[str, NDArray[Any]]:
    """Normalised profiles, all 0 where there is too little to be one."""
    c = state.columns
    out: dict[str, NDArray[Any]] = {}
    for name in ("pair", "step"):
        total = c[f"{name}_total"][slots]
        share = c[f"{name}_count"][slots] / np.float32(SIXTEENTHS) / np.maximum(total, 1e-9)[:, None]
        out[name] = c[f"{name}_key"][slots]
        out[f"{name}_share"] = np.where((total > LEAST_COUNTS)[:, None], share, 0).astype(np.float32)
    return out


@nb.njit(cache=True)
def _observe(  # type: ignore[no-untyped-def]
    slots, time, action, kind, pair, pair_row, team, pair_usual, step_usual, own_pairs, own_steps, last_pair, last_day, values, w, first
):
    pair_company, pair_team = pair_usual
    steps, step_company, step_team = step_usual
    pair_key, pair_count, pair_total = own_pairs
    step_key, step_count, step_total = own_steps
    for i in range(len(slots)):
        if action[i] >= ASSIGN:
            continue
        s, g, row, day = slots[i], team[i], pair_row[i], time[i] // DAY
        if day > last_day[s]:
            last_day[s] = day
            last_pair[s] = 0
            _fade(KEEP, pair_count[s], pair_total[s : s + 1])
            _fade(KEEP, step_count[s], step_total[s : s + 1])
        n, total = _count(pair[i], pair_key[s], pair_count[s]), pair_total[s]
        if row >= 0:
            own, peers = _shares(n, total, pair_team[g, row], pair_company[row], len(pair_company))
            llr = math.log(peers / own)
            neither = own if g == 0 else 0.5 * own + 0.5 * pair_team[g, row]
            half = 0.5 if kind[i] == WATCH or kind[i] == IAM else 1.0
            values[i, first] = half * values[i, w] * max(math.log(peers / neither) - 1.0, 0.0)
            values[i, first + 1], values[i, first + 2], values[i, first + 3] = max(llr, 0.0), own, min(max(llr, LEAST_LLR), MOST_LLR)
        _add(pair[i], pair_key[s], pair_count[s], pair_total[s : s + 1])
        step = _step(last_pair[s], pair[i])
        last_pair[s] = pair[i]
        at = np.searchsorted(steps, step)
        n, total = _count(step, step_key[s], step_count[s]), step_total[s]
        if at < len(steps) and steps[at] == step:
            own, peers = _shares(n, total, step_team[g, at], step_company[at], len(step_company))
            llr = math.log(peers / own)
            values[i, first + 4], values[i, first + 5] = max(llr, 0.0), min(max(llr, LEAST_LLR), MOST_LLR)
        _add(step, step_key[s], step_count[s], step_total[s : s + 1])


@nb.njit(cache=True)
def _shares(n, total, of_team, of_company, words):  # type: ignore[no-untyped-def]
    """The share in one's own work, and what one would expect of anybody."""
    own = (n + TEAM_EVENTS * of_team + COMPANY_EVENTS * of_company) / (total + TEAM_EVENTS + COMPANY_EVENTS)
    return own, 0.5 * of_company + 0.25 * of_team + 0.25 / words


@nb.njit(cache=True)
def _step(before, pair):  # type: ignore[no-untyped-def]
    """Hash of two pairs in their order; never 0."""
    h = (np.uint64(before) << np.uint64(32)) | np.uint64(pair)
    h = (h ^ (h >> np.uint64(33))) * np.uint64(0xFF51AFD7ED558CCD)  # the finaliser of MurmurHash3, by Austin Appleby
    h = (h ^ (h >> np.uint64(33))) * np.uint64(0xC4CEB9FE1A85EC53)
    return np.uint32(max((h ^ (h >> np.uint64(33))) & np.uint64(0xFFFFFFFF), np.uint64(1)))


@nb.njit(cache=True)
def _fade(keep, count, total):  # type: ignore[no-untyped-def]
    for j in range(len(count)):
        count[j] = np.uint16(count[j] * keep)
    total[0] *= keep


@nb.njit(cache=True)
def _count(word, key, count):  # type: ignore[no-untyped-def]
    for j in range(len(key)):
        if key[j] == word:
            return count[j] / SIXTEENTHS
    return 0.0


@nb.njit(cache=True)
def _add(word, key, count, total):  # type: ignore[no-untyped-def]
    """Counts the word; a new one takes the place of the rarest."""
    at = 0
    for j in range(len(key)):
        if key[j] == word:
            at = j
            break
        if count[j] < count[at]:
            at = j
    if key[at] != word:
        key[at], count[at] = word, 0
    elif count[at] > MOST_COUNT:
        _fade(0.5, count, total)
    count[at] += np.uint16(SIXTEENTHS)
    total[0] += 1.0
