"""Lasting traits by keyed chance: the same (seed, trait, who, when) gives the same number, in whatever order the days are made."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

_GOLDEN, _FIRST, _SECOND = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)


def mix(words: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """SplitMix64: a bijection of 64-bit words, so that distinct counters give distinct ids."""
    with np.errstate(over="ignore"):
        words = words + _GOLDEN
        words = (words ^ (words >> np.uint64(30))) * _FIRST
        words = (words ^ (words >> np.uint64(27))) * _SECOND
    return words ^ (words >> np.uint64(31))


def keyed(seed: int, trait: str, *parts: Any) -> NDArray[np.float64]:
    """A uniform number in [0, 1) for each combination of `parts` (integers or integer arrays that broadcast)."""
    word = mix(np.asarray([seed * 0x100000000 + crc32(trait.encode())], np.uint64))
    for part in parts:
        word = mix(word ^ np.asarray(part, np.int64).astype(np.uint64))
    return (word >> np.uint64(11)).astype(np.float64) / 2.0**53


def generator(seed: int, trait: str, *parts: int) -> np.random.Generator:
    return np.random.default_rng([seed, crc32(trait.encode()), *parts])


def shares(weights: Iterable[float], total: int) -> NDArray[np.int64]:
    """Splits `total` by weight, at least one each, by largest remainder."""
    exact = np.asarray(list(weights), np.float64)
    exact = 1 + exact / exact.sum() * (total - len(exact))
    whole: NDArray[np.int64] = exact.astype(np.int64)
    order = np.argsort(-(exact - whole), kind="stable")
    whole[order[: total - whole.sum()]] += 1
    return whole
