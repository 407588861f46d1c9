"""FeatureBatch: what the signals say about each event, as one matrix."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class FeatureBatch:
    """`values` is float32 (n, F), row i for event i, column j named `names[j]`; 0 where an event does not carry the evidence."""

    names: tuple[str, ...]
    values: Matrix

    @staticmethod
    def zeros(names: tuple[str, ...], rows: int) -> FeatureBatch:
        return FeatureBatch(names, np.zeros((rows, len(names)), np.float32))

    def column(self, name: str) -> Matrix:
        return self.values[:, self.names.index(name)]

    def index(self, names: Sequence[str]) -> NDArray[np.int64]:
        return np.array([self.names.index(n) for n in names], np.int64)


def schema_hash(names: Sequence[str]) -> str:
    """Identifies the meaning of a matrix's columns; a model fits one schema only."""
    return hashlib.sha256("\n".join(names).encode()).hexdigest()
