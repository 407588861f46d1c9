"""Combination: the hypotheses' rarities of an employee, joined into one score S.

S = (sum of weight x R^1.5)^(1/1.5), over hypotheses, where R is the hypothesis' largest rarity in the current UTC hour up to and
including this event. Abuse bends several hypotheses a little, an innocent oddity bends one; 1.5 lies between sum and maximum.

State: the hour, and for each hypothesis its largest rarity in it, the offset of the event that raised it, and what its three strongest
signals showed then: so an alert can say what it rests on although that event was in an earlier batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numba as nb
import numpy as np
from numpy.typing import NDArray

from detector.core.features import Matrix
from detector.core.frame import HOUR
from detector.core.hypotheses import Hypothesis
from detector.core.state import Column, KeyedState, Slots

POWER = 1.5
SHOWN = 3


def columns(hypotheses: int) -> tuple[Column, ...]:
    return (
        Column("hour", "int64", empty=-1),
        Column("hour_rarity", "float32", (hypotheses,)),
        Column("hour_offset", "int64", (hypotheses,), empty=-1),
        Column("hour_signal", "int16", (hypotheses, SHOWN), empty=-1),
        Column("hour_reading", "float32", (hypotheses, SHOWN, 3)),
    )


@dataclass(frozen=True, slots=True)
class Wiring:
    """Which columns belong to which hypothesis. H hypotheses with at most M signals each; -1 pads."""

    weight: NDArray[np.float64]
    """(H,)"""
    tail: NDArray[np.int64]
    """(H, M) the signal's column in the matrix of rarities."""
    feature: NDArray[np.int64]
    """(H, M) its column in the feature matrix."""
    level: NDArray[np.int64]
    """(F,) for a feature column of an accumulator: the column of its level, with own and team usual next to it; else -1."""

    @staticmethod
    def of(hypotheses: Sequence[Hypothesis], signals: Sequence[str], names: Sequence[str]) -> Wiring:
        most = max(len(h.signals) for h in hypotheses)
        tail, feature = np.full((2, len(hypotheses), most), -1, np.int64)
        for d, h in enumerate(hypotheses):
            tail[d, : len(h.signals)] = [signals.index(s) for s in h.signals]
            feature[d, : len(h.signals)] = [names.index(s) for s in h.signals]
        at = {name: j for j, name in enumerate(names)}
        level = [at.get(name.rsplit(".", 1)[0] + ".level", -1) for name in names]
        return Wiring(np.array([h.weight for h in hypotheses]), tail, feature, np.array(level, np.int64))


def advance(
    state: KeyedState, slots: Slots, time: NDArray[np.int64], offset: NDArray[np.int64], features: Matrix, signal_rarity: Matrix,
    rarity: Matrix, wiring: Wiring, stop_at: tuple[np.float32, int, int], score: NDArray[np.float32],
) -> int:  # fmt: skip
    """Goes through the rows from `stop_at[2]` on, writing `score`, up to and including the first with score >= stop_at[0] and time >=
    stop_at[1]; returns the row after it. The state is then as of that row, which is what an alert about it needs.
    """
    c = state.columns
    least, since, start = stop_at
    return int(
        _advance(
            slots, time, offset, features, signal_rarity, rarity, wiring.weight, wiring.tail, wiring.feature, wiring.level, least, since,
            start, c["hour"], c["hour_rarity"], c["hour_offset"], c["hour_signal"], c["hour_reading"], score,
        )
    )  # fmt: skip


@nb.njit(cache=True)
def _advance(  # type: ignore[no-untyped-def]
    slots, time, offset, features, signal_rarity, rarity, weight, tail, feature, level, least, since, start,
    hour, hour_rarity, hour_offset, hour_signal, hour_reading, score,
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
            if rarity[i, d] > hour_rarity[s, d]:
                hour_rarity[s, d] = rarity[i, d]
                hour_offset[s, d] = offset[i]
                _read(features[i], signal_rarity[i], tail[d], feature[d], level, hour_signal[s, d], hour_reading[s, d])
            total += weight[d] * hour_rarity[s, d] ** POWER
        score[i] = total ** (1.0 / POWER)
        if score[i] >= least and time[i] >= since:
            return i + 1
    return len(slots)


@nb.njit(cache=True)
def _read(features, signal_rarity, tail, feature, level, signal, reading):  # type: ignore[no-untyped-def]
    """Keeps the strongest signals of a hypothesis at this event, strongest first: value, own usual, team's usual (NaN: has none)."""
    signal[:] = -1
    for rank in range(SHOWN):
        best = -1
        for m in range(len(tail)):
            if tail[m] < 0 or (rank > 0 and signal_rarity[tail[m]] <= 0.0):
                continue
            taken = False
            for earlier in range(rank):
                taken |= signal[earlier] == feature[m]
            if not taken and (best < 0 or signal_rarity[tail[m]] > signal_rarity[tail[best]]):
                best = m
        if best < 0:
            return
        j = feature[best]
        signal[rank] = j
        if level[j] >= 0:
            reading[rank, 0], reading[rank, 1], reading[rank, 2] = features[level[j]], features[level[j] + 1], features[level[j] + 2]
        else:
            reading[rank, 0], reading[rank, 1], reading[rank, 2] = features[j], np.nan, np.nan
