"""Fitting: from collected features to a model. Held-out days calibrate what earlier days taught; labels are never looked at.

Done in steps, for the events that are needed lie with many shards: each step is told what was fitted from the last, and gives day maxima.
What is fitted from them does not depend on which shard gave which.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from detector.core import combination
from detector.core.calibration import day_maxima, once_each
from detector.core.collecting import Rows, lowest
from detector.core.combination import Said, Wiring
from detector.core.estimators import isolation_forest, tails
from detector.core.estimators.isolation_forest import PackedForest
from detector.core.estimators.tails import Tails
from detector.core.features import Matrix
from detector.core.frame import DAY
from detector.core.hypotheses import Hypothesis
from detector.core.lookups import Hashes
from detector.core.model import GOLDEN, forest_input, join, signals_of
from detector.core.state import KeyedState

FOREST_ROWS = 50_000


class Maxima(NamedTuple):
    """The largest values of m employee-days."""

    key: Hashes
    """Of the employee."""
    day: NDArray[np.int64]
    values: Matrix
    """(m, D)"""

    @staticmethod
    def of(parts: Sequence[Maxima]) -> Maxima:
        """Of all the parts, in order of employee and day; an employee-day may be in several."""
        return Maxima(*day_maxima(*(np.concatenate(column) for column in zip(*parts, strict=True))))


class Held:
    """The held-out events of a shard, on their way from raw values of signals to joined values, and to S."""

    def __init__(self, rows: Sequence[Rows], hypotheses: Sequence[Hypothesis], signals: Sequence[str], names: Sequence[str]) -> None:
        """`signals` are the columns of the rows' values; those that the hypotheses use are looked at."""
        self._rows, self._hypotheses, self._signals = list(rows), tuple(hypotheses), signals_of(hypotheses)
        self._columns = np.array([list(signals).index(s) for s in self._signals], np.int64)
        self._wiring = Wiring.of(hypotheses, self._signals, names)
        self._joined: list[Rows] = []

    def signals(self) -> Maxima:
        """Day maxima of the raw values of U signals."""
        return self._maxima(self._rows, len(self._columns), self._columns)

    def joined(self, signal_tails: Tails, forest: PackedForest) -> Maxima:
        """Day maxima of the joined values of H hypotheses. The raw values are given up one after the other."""
        while self._rows:
            rows = self._rows.pop(0)
            values = rows.values[:, self._columns]
            rarity = signal_tails.rarities(values)
            joined = join(self._hypotheses, self._signals, rarity, values, forest.score(forest_input(rarity, self._signals)))
            self._joined.append(replace(rows, values=joined))
        return self._maxima(self._joined, len(self._hypotheses))

    def scores(self, joined_tails: Tails, factors: NDArray[np.float64] | float = 1.0) -> Maxima:
        """Day maxima of S, as the live code would combine it with the hypotheses' weights multiplied so."""
        wiring = replace(self._wiring, weight=self._wiring.weight * factors)
        keys = np.unique(np.concatenate([rows.key for rows in self._joined])) if self._joined else np.zeros(0, np.uint64)
        state = KeyedState(combination.columns(len(self._hypotheses)), max_keys=max(1024, len(keys)))
        scored = [replace(rows, values=_scores(state, rows, joined_tails, wiring)[:, None]) for rows in self._joined]
        return self._maxima(scored, 1)

    @staticmethod
    def _maxima(parts: Sequence[Rows], width: int, columns: NDArray[np.int64] | slice = slice(None)) -> Maxima:
        none = Maxima(np.zeros(0, np.uint64), np.zeros(0, np.int64), np.zeros((0, width), np.float32))
        return Maxima.of([none, *(Maxima(*day_maxima(rows.key, rows.time // DAY, rows.values[:, columns])) for rows in parts)])


def _scores(state: KeyedState, rows: Rows, joined_tails: Tails, wiring: Wiring) -> NDArray[np.float32]:
    """(n,) S of the next events of a shard."""
    rarity, n = joined_tails.rarities(rows.values), len(rows)
    out = np.zeros(n, np.float32)
    nothing = np.zeros((n, int(np.max(wiring.tail)) + 1), np.float32)
    said = Said(nothing, rarity, rarity, np.zeros(0), nothing)
    features = np.zeros((n, len(wiring.shown)), np.float32)
    for part, slots in state.runs(rows.key, rows.time):
        assert len(slots) == n, "nobody is evicted"
        combination.advance(state, slots, rows.time, rows.time, features, said, wiring, (np.float32(np.inf), 0, 0), out[part])
    return out


def fit_signals(parts: Sequence[Maxima]) -> Tails:
    return tails.fit(Maxima.of(parts).values, plain=True)


def fit_forest(parts: Sequence[tuple[Hashes, Matrix]], signal_tails: Tails, signals: Sequence[str], seed: int) -> PackedForest:
    """From a sample of what came before the held-out days: (priority, (m, U) raw values) of each shard."""
    return isolation_forest.fit(forest_input(signal_tails.rarities(lowest(FOREST_ROWS, parts)[1]), signals), seed)


def fit_joined(parts: Sequence[Maxima]) -> Tails:
    return tails.fit(Maxima.of(parts).values)


def fit_total(parts: Sequence[Maxima]) -> Tails:
    found = Maxima.of(parts)
    return tails.fit(once_each(found.key, found.values))


def golden_vectors(parts: Sequence[tuple[Hashes, Matrix]], features: int) -> Matrix:
    """(GOLDEN, F), 0 where there are too few."""
    out = np.zeros((GOLDEN, features), np.float32)
    some = lowest(GOLDEN, [(priority, rows) for priority, rows in parts if len(priority)])[1]
    out[: len(some)] = some.reshape(-1, features)
    return out
