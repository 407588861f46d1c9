"""Model: everything that is learned, for one view; trained, stored and deployed as one.

A model is data. `from_arrays` checks all of it before use: shapes, types, ranges, and that its golden vectors still score bit for bit what
they scored when it was trained.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detector.core import hypotheses as catalogue
from detector.core.baselines import Baselines
from detector.core.combination import Said, Wiring
from detector.core.drift import Reference
from detector.core.drift import names as drift_columns
from detector.core.estimators import path_attribution
from detector.core.estimators.isolation_forest import PackedForest
from detector.core.estimators.tails import Tails
from detector.core.features import Matrix, schema_hash
from detector.core.hypotheses import Hypothesis
from detector.core.hypotheses.general import CLIP
from detector.core.signals import accumulators
from detector.errors import ModelError

FORMAT = 1
CREDITED = 2.0
"""From this rarity on, the general hypothesis says which signals it is due to by path attribution."""
GOLDEN = 32
"""How many golden vectors a model carries."""
LEAST_WEIGHT, MOST_WEIGHT = 0.5, 2.0
"""Bounds of what a hypothesis' weight is multiplied with: none is ever switched off, none decides alone."""


@dataclass(frozen=True)
class Model:
    view: str
    names: tuple[str, ...]
    """The feature matrix's columns."""
    hypotheses: tuple[Hypothesis, ...]
    """Those that are on, in the order of the calibration's columns."""
    baselines: Baselines
    signal_tails: Tails
    """One for each of `signals`."""
    forest: PackedForest
    joined_tails: Tails
    """One a hypothesis: its joined value -> rarity."""
    total_tails: Tails
    """One: S -> rarity."""
    golden: Matrix
    """(GOLDEN, F) feature rows whose rarities are stored with the model."""
    reference: Reference
    """How day maxima were distributed in the full training, for drift: columns as `drift.names` has them."""
    weights: NDArray[np.float64]
    """(H,) what each hypothesis' own weight is multiplied with: 1, but where verdicts say otherwise (see reweighting)."""
    version: str = ""
    sha256: str = ""
    until: int = -1
    """Ms: the newest event that it learned from; -1: not known."""
    stored: int = -1
    """Ms: when it came into the registry; -1: not known."""

    @cached_property
    def signals(self) -> tuple[str, ...]:
        return signals_of(self.hypotheses)

    @cached_property
    def wiring(self) -> Wiring:
        return Wiring.of(self.hypotheses, self.signals, self.names, self.weights)

    @cached_property
    def _columns(self) -> NDArray[np.int64]:
        return np.array([self.names.index(s) for s in self.signals], np.int64)

    def rarities(self, features: Matrix) -> Said:
        """(n, F) features -> rarities of signals and hypotheses."""
        values = features[:, self._columns]
        signal = self.signal_tails.rarities(values)
        strange = forest_input(signal, self.signals)
        forest = self.forest.score(strange)
        joined = join(self.hypotheses, self.signals, signal, values, forest)
        rarity = self.joined_tails.rarities(joined)
        return Said(signal, joined, rarity, forest, self._credit(strange, rarity))

    def _credit(self, strange: Matrix, rarity: Matrix) -> Matrix:
        """(n, U) what the forest's strangeness of the rows that are strange to it is due to."""
        out = np.zeros((len(strange), len(self.signals)), np.float32)
        if self.wiring.credited >= 0:
            rows = np.flatnonzero(rarity[:, self.wiring.credited] >= CREDITED)
            columns = np.array([self.signals.index(s) for s in catalogue.find("general").signals])
            out[np.ix_(rows, columns)] = path_attribution.attribute(self.forest, strange[rows])
        return out

    def total(self, score: NDArray[np.float32]) -> NDArray[np.float32]:
        """(n,) S -> (n,) calibrated rarity."""
        return self.total_tails.rarities(score[:, None])[:, 0]

    def named(self, version: str, sha256: str) -> Model:
        return replace(self, version=version, sha256=sha256)

    def refreshed(self, baselines: Baselines, joined_tails: Tails, total_tails: Tails) -> Model:
        """The same signals, tails and forest against other baselines, calibrated anew; named by what it says."""
        model = replace(self, baselines=baselines, joined_tails=joined_tails, total_tails=total_tails)
        digest = hashlib.sha256()
        for name, array in sorted(model.to_arrays()[0].items()):
            digest.update(f"{name} {array.dtype} {array.shape}\n".encode() + np.ascontiguousarray(array).tobytes())
        return model.named(digest.hexdigest()[:12], digest.hexdigest())

    def to_arrays(self) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
        """Arrays, their names prefixed with the view's, and what the manifest says of them."""
        parts = {
            "baselines": self.baselines.to_arrays(), "signal": self.signal_tails.to_arrays(), "forest": self.forest.to_arrays(),
            "joined": self.joined_tails.to_arrays(), "total": self.total_tails.to_arrays(),
            "golden": {"features": self.golden, "rarity": self.rarities(self.golden).rarity}, "drift": self.reference.to_arrays(),
            "weights": {"factor": self.weights},
        }  # fmt: skip
        arrays = {f"{self.view}.{part}.{name}": array for part, some in parts.items() for name, array in some.items()}
        said = {"schema": schema_hash(self.names), "hypotheses": [h.name for h in self.hypotheses], "signals": list(self.signals)}
        return arrays, said

    @staticmethod
    def from_arrays(view: str, names: tuple[str, ...], arrays: Mapping[str, NDArray[Any]], said: Mapping[str, Any]) -> Model:
        """The inverse of `to_arrays` for a view whose features are `names`. Raises ModelError saying what does not fit."""
        if said.get("schema") != schema_hash(names):
            raise ModelError(
                f"model's {view} view was trained on other features than this version computes: train a new one with `detector train`"
            )
        try:
            with np.errstate(all="ignore"):  # made-up numbers overflow; what then scores otherwise is refused
                return _checked(view, names, arrays, said)
        except (KeyError, ValueError, IndexError, TypeError) as problem:
            raise ModelError(f"model's {view} view is damaged: {problem}; promote another version or train a new one") from problem


def _checked(view: str, names: tuple[str, ...], arrays: Mapping[str, NDArray[Any]], said: Mapping[str, Any]) -> Model:
    def part(name: str) -> dict[str, NDArray[Any]]:
        prefix = f"{view}.{name}."
        return {key.removeprefix(prefix): a for key, a in arrays.items() if key.startswith(prefix)}

    on = tuple(catalogue.find(name) for name in said["hypotheses"])
    signals, golden = signals_of(on), part("golden")
    if not on or len(set(on)) != len(on) or list(signals) != said["signals"]:
        raise ValueError("hypotheses, signals: expected those of this version, each once")
    forest = PackedForest.from_arrays(part("forest"))
    if forest.features != len(catalogue.find("general").signals):
        raise ValueError(f"forest: has {forest.features} features")
    features = golden["features"]
    if features.dtype != np.float32 or features.shape != (GOLDEN, len(names)) or not np.isfinite(features).all():
        raise ValueError(f"golden: expected finite float32 of {(GOLDEN, len(names))}")
    weights = part("weights")["factor"]
    if weights.dtype != np.float64 or weights.shape != (len(on),) or not ((weights >= LEAST_WEIGHT) & (weights <= MOST_WEIGHT)).all():
        raise ValueError(f"weights: expected {len(on)} float64 from {LEAST_WEIGHT:g} to {MOST_WEIGHT:g}")
    model = Model(
        view, names, on, Baselines.from_arrays(part("baselines"), accumulators.K), Tails.from_arrays(part("signal"), len(signals)), forest,
        Tails.from_arrays(part("joined"), len(on)), Tails.from_arrays(part("total"), 1), features,
        Reference.from_arrays(part("drift"), len(drift_columns(on))), weights,
    )  # fmt: skip
    if not np.array_equal(model.rarities(model.golden).rarity, golden["rarity"]):
        raise ValueError("its golden vectors score otherwise than when it was trained")
    return model


def signals_of(hypotheses: Sequence[Hypothesis]) -> tuple[str, ...]:
    """The signals that get a tail: those of the hypotheses, and those of the forest, which scores every event."""
    general = catalogue.find("general")
    return tuple(dict.fromkeys(s for h in (*hypotheses, general) for s in h.signals))


def forest_input(signal: Matrix, signals: Sequence[str]) -> Matrix:
    """(n, U) rarities -> the forest's (n, G) input: what is below CLIP is noise."""
    columns = [signals.index(s) for s in catalogue.find("general").signals]
    return np.maximum(signal[:, columns], np.float32(CLIP))


def join(hypotheses: Sequence[Hypothesis], signals: Sequence[str], signal: Matrix, values: Matrix, forest: NDArray[np.float64]) -> Matrix:
    """(n, H) joined value of each hypothesis, from the (n, U) rarities and raw values of its signals."""
    out = np.empty((len(signal), len(hypotheses)), np.float32)
    for d, h in enumerate(hypotheses):
        columns = [signals.index(s) for s in h.signals]
        out[:, d] = forest if h.join == "forest" else h.joined(signal[:, columns], values[:, columns])
    return out
