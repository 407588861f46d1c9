"""Combination: the hypotheses' rarities of an employee, joined into one score S.

S = (sum of weight x R^1.5)^(1/1.5), over hypotheses, where R is the hypothesis' largest rarity in the current UTC hour up to and
including this event. Abuse bends several hypotheses a little, an innocent oddity bends one; 1.5 lies between sum and maximum.

State: the hour, and for each hypothesis its largest rarity in it, the offset of the event that raised it, and what its two strongest
signals showed then: so an alert can say what it rests on although that event was in an earlier batch. And the day's largest of each
hypothesis' joined value and of S, for the daily records; and the day's bar for near misses (see notables).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numba as nb
import numpy as np
from numpy.typing import NDArray

from detector.core.features import Matrix
from detector.core.frame import HOUR
from detector.core.hypotheses import Hypothesis
from detector.core.state import Column, KeyedState, Slots

POWER = 1.5
SHOWN = 2
NEVER = np.float32(np.inf)


def columns(hypotheses: int) -> tuple[Column, ...]:
    return (
        Column("hour", "int64", empty=-1),
        Column("hour_rarity", "float32", (hypotheses,)),
        Column("hour_offset", "int64", (hypotheses,), empty=-1),
        Column("hour_signal", "int16", (hypotheses, SHOWN), empty=-1),
        Column("hour_reading", "float32", (hypotheses, SHOWN)),
        Column("day_joined", "float32", (hypotheses,)),
        Column("day_score", "float32"),
        Column("near_bar", "float32"),
    )


@dataclass(frozen=True, slots=True)
class Wiring:
    """Which columns belong to which hypothesis. H hypotheses with at most M signals each; -1 pads."""

    weight: NDArray[np.float64]
    """(H,) the hypotheses' own, times what the model multiplies them with."""
    tail: NDArray[np.int64]
    """(H, M) the signal's column in the matrix of rarities."""
    feature: NDArray[np.int64]
    """(H, M) its column in the feature matrix."""
    shown: NDArray[np.int64]
    """(F,) the feature column that says what a signal showed: the level of its accumulator, or the signal itself."""
    credited: int
    """Which hypothesis' signals are ranked by what its estimator credits them with; -1 none."""

    @staticmethod
    def of(hypotheses: Sequence[Hypothesis], signals: Sequence[str], names: Sequence[str], factors: NDArray[Any] | float = 1.0) -> Wiring:
        most = max(len(h.signals) for h in hypotheses)
        tail, feature = np.full((2, len(hypotheses), most), -1, np.int64)
        for d, h in enumerate(hypotheses):
            tail[d, : len(h.signals)] = [signals.index(s) for s in h.signals]
            feature[d, : len(h.signals)] = [names.index(s) for s in h.signals]
        at = {name: j for j, name in enumerate(names)}
        shown = [at.get(name.rsplit(".", 1)[0] + ".level", j) for name, j in at.items()]
        credited = next((d for d, h in enumerate(hypotheses) if h.join == "forest"), -1)
        return Wiring(np.array([h.weight for h in hypotheses]) * factors, tail, feature, np.array(shown, np.int64), credited)


class Said(NamedTuple):
    """What a model says of n events, each row for itself."""

    signal: Matrix
    """(n, U) rarity of each used signal."""
    joined: Matrix
    """(n, H) joined value of each hypothesis."""
    rarity: Matrix
    """(n, H) calibrated rarity of each hypothesis."""
    forest: NDArray[np.float64]
    """(n,) the isolation forest's score in (0, 1]."""
    credit: Matrix
    """(n, U) what the forest's strangeness is due to, where it is strange; else 0."""


def advance(
    state: KeyedState, slots: Slots, time: NDArray[np.int64], offset: NDArray[np.int64], features: Matrix, said: Said, wiring: Wiring,
    stop_at: tuple[np.float32, int, int], score: NDArray[np.float32], near: np.float32 = NEVER,
) -> int:  # fmt: skip
    """Goes through the rows from `stop_at[2]` on, writing `score`, up to and including the first with score >= stop_at[0], or score >=
    `near` and >= the key's `near_bar`, and time >= stop_at[1]; returns the row after it. The state is then as of that row, which is what an
    alert about it needs.
    """
    c = state.columns
    least, since, start = stop_at
    return int(
        _advance(
            slots, time, offset, features, said.signal, said.joined, said.rarity, said.credit, wiring.weight, wiring.tail, wiring.feature,
            wiring.shown, wiring.credited, least, near, since, start, c["hour"], c["hour_rarity"], c["hour_offset"], c["hour_signal"],
            c["hour_reading"], c["day_joined"], c["day_score"], c["near_bar"], score,
        )
    )  # fmt: skip


def daily(state: KeyedState, slots: Slots) -> dict[str, NDArray[Any]]:
    return {"joined": state.columns["day_joined"][slots], "score": state.columns["day_score"][slots]}


def turn(state: KeyedState) -> None:
    """A day has ended."""
    state.columns["day_joined"][:] = 0
    state.columns["day_score"][:] = 0
    state.columns["near_bar"][:] = 0


@nb.njit(cache=True)
def _advance(  # type: ignore[no-untyped-def]
    slots, time, offset, features, signal_rarity, joined, rarity, credit, weight, tail, feature, shown, credited, over, near, since,
    start, hour, hour_rarity, hour_offset, hour_signal, hour_reading, day_joined, day_score, near_bar, score,
):  # fmt: skip
    for i in range(start, len(slots)):
        s, h = slots[i], time[i] // HOUR
        if h > hour[s]:
            hour[s] = h
            hour_rarity[s] = 0.0
            hour_offset[s] = -1
            hour_signal[s] = -1
        total = 0.0
        for d in range(len(weight)):
            day_joined[s, d] = max(day_joined[s, d], joined[i, d])
            if rarity[i, d] > hour_rarity[s, d]:
                hour_rarity[s, d] = rarity[i, d]
                hour_offset[s, d] = offset[i]
                by = credit[i] if d == credited and credit[i].any() else signal_rarity[i]
                _read(features[i], by, tail[d], feature[d], shown, hour_signal[s, d], hour_reading[s, d])
            if hour_rarity[s, d] > 0.0:
                total += weight[d] * hour_rarity[s, d] ** POWER
        score[i] = total ** (1.0 / POWER)
        day_score[s] = max(day_score[s], score[i])
        least = min(over, max(near, near_bar[s]))
        if score[i] >= least and time[i] >= since:
            return i + 1
    return len(slots)


@nb.njit(cache=True)
def _read(features, by, tail, feature, shown, signal, reading):  # type: ignore[no-untyped-def]
    """Keeps what the strongest signals of a hypothesis showed at this event, strongest first."""
    signal[:] = -1
    for rank in range(SHOWN):
        best = -1
        for m in range(len(tail)):
            if tail[m] < 0 or (rank > 0 and by[tail[m]] <= 0.0):
                continue
            taken = False
            for earlier in range(rank):
                taken |= signal[earlier] == feature[m]
            if not taken and (best < 0 or by[tail[m]] > by[tail[best]]):
                best = m
        if best < 0:
            return
        signal[rank] = feature[best]
        reading[rank] = features[shown[feature[best]]]
