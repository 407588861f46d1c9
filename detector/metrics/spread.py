"""How the rarity of events is spread: counted for whole columns at once, for this is on the path of every event."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detector.metrics.table import RARITY, SCORE

_SCORE = [round(-math.log10(1 - edge), 6) for edge in SCORE]
"""Rarity at each edge of the score."""
_EDGES = np.array(sorted({*RARITY, *_SCORE}), np.float32)


@dataclass(frozen=True, slots=True)
class Scored:
    """Of a number of events."""

    counts: NDArray[np.int64]
    """How many lie between two of all edges, the upper one included."""
    score: float = 0.0
    """Sum of 1 - 10^-rarity."""
    rarity: float = 0.0
    """Sum."""

    @staticmethod
    def of(rarity: NDArray[Any]) -> Scored:
        """(n,) calibrated rarities."""
        counts = np.bincount(np.searchsorted(_EDGES, rarity.astype(np.float32, copy=False)), minlength=len(_EDGES) + 1)
        common = np.exp2(rarity * np.float32(-math.log2(10)))
        return Scored(counts, len(rarity) - float(common.sum(dtype=np.float64)), float(rarity.sum(dtype=np.float64)))

    def __add__(self, other: Scored) -> Scored:
        return Scored(self.counts + other.counts, self.score + other.score, self.rarity + other.rarity)

    def spread(self, name: str) -> tuple[list[int], float]:
        """As the histogram `score` or `rarity` has it: how many between two of its edges, and their sum."""
        return (_between(self.counts, _SCORE), self.score) if name == "score" else (_between(self.counts, RARITY), self.rarity)


def _between(counts: NDArray[np.int64], edges: Sequence[float]) -> list[int]:
    starts = np.searchsorted(_EDGES, np.array(edges, np.float32)) + 1
    between: list[int] = np.add.reduceat(counts, [0, *starts]).tolist()
    return between


UNSCORED = Scored(np.zeros(len(_EDGES) + 1, np.int64))
