"""Strings stop here: dictionary-encoded columns, and a keyed 64-bit hash that is the same in every process."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

import numba as nb
import numpy as np
from numpy.typing import NDArray

T = TypeVar("T", bound=np.generic)

HASH_KEY = bytes(range(16))
"""The key used where the operator gives none: it makes hashes stable, not secret."""


@dataclass(frozen=True)
class Coded:
    """A string column of length n: `values[codes[i]]` is the i-th string, code -1 where there is none. Values are distinct, in order of first use."""

    codes: NDArray[np.int32]
    values: tuple[str, ...]

    @cached_property
    def hashes(self) -> NDArray[np.uint64]:
        """Keyed hash of each row's string, uint64 (n,); 0 where there is none."""
        return self.spread(hash_strings(self.values), np.uint64(0))

    def spread(self, by_value: NDArray[T], absent: T) -> NDArray[T]:
        """A value for each distinct string -> a value for each row."""
        return np.append(by_value, absent)[self.codes]
