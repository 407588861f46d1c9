"""Fitting: from collected features to a model. Held-out days calibrate what earlier days taught; labels are never looked at."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from detector.core import combination
from detector.core.baselines import Baselines
from detector.core.calibration import day_maxima, once_each
from detector.core.combination import Said, Wiring
from detector.core.estimators import isolation_forest, tails
from detector.core.features import Matrix
from detector.core.frame import DAY
from detector.core.hypotheses import Hypothesis
from detector.core.model import GOLDEN, Model, forest_input, join, signals_of
from detector.core.state import KeyedState

FOREST_ROWS = 50_000


@dataclass(frozen=True, slots=True)
class Collected:
    """Features of n events in log order, computed from the past of each alone."""

    key: NDArray[np.int64]
    """Which employee."""
    time: NDArray[np.int64]
    values: Matrix
    """(n, U) raw values of the used signals."""
    golden: Matrix
    """(m, F) some full feature rows."""


def fit(
    view: str, names: tuple[str, ...], hypotheses: tuple[Hypothesis, ...], baselines: Baselines, data: Collected, held_from: int, seed: int
) -> Model:
    """A model whose tails and calibration come from events at or after `held_from`, its forest from those before."""
    signals = signals_of(hypotheses)
    held = data.time >= held_from
    key, time = data.key[held], data.time[held]
    signal_tails = tails.fit(day_maxima(key, time // DAY, data.values[held])[2], plain=True)
    rarity = signal_tails.rarities(data.values)
    taught = forest_input(rarity[~held], signals)
    rows = np.random.default_rng(seed).permutation(len(taught))[:FOREST_ROWS]
    forest = isolation_forest.fit(taught[np.sort(rows)], seed)
    joined = join(hypotheses, signals, rarity[held], data.values[held], forest.score(forest_input(rarity[held], signals)))
    joined_tails = tails.fit(day_maxima(key, time // DAY, joined)[2])
    score = _scores(key, time, joined_tails.rarities(joined), Wiring.of(hypotheses, signals, names))
    who, _, highest = day_maxima(key, time // DAY, score[:, None])
    total_tails = tails.fit(once_each(who, highest))
    golden = np.zeros((GOLDEN, len(names)), np.float32)
    golden[: len(data.golden)] = data.golden[:GOLDEN]
    return Model(view, names, hypotheses, baselines, signal_tails, forest, joined_tails, total_tails, golden)


def _scores(key: NDArray[np.int64], time: NDArray[np.int64], rarity: Matrix, wiring: Wiring) -> NDArray[np.float32]:
    """(n,) S as the live code would combine it."""
    state = KeyedState(combination.columns(rarity.shape[1]), max_keys=max(1024, len(np.unique(key))))
    out = np.zeros(len(key), np.float32)
    nothing = np.zeros((len(key), int(np.max(wiring.tail)) + 1), np.float32)
    said = Said(nothing, rarity, rarity, np.zeros(0), nothing)
    for rows, slots in state.runs(key.astype(np.uint64) + np.uint64(1), time):
        assert len(slots) == len(key), "nobody is evicted"
        features = np.zeros((len(key), len(wiring.shown)), np.float32)
        combination.advance(state, slots, time, time, features, said, wiring, (np.float32(np.inf), 0, 0), out[rows])
    return out
