"""Calibration: from values to a chance that an operator can state.

The currency is the employee-day: a rarity of 3 means that one active employee-day in 1,000 reaches as high. Day maxima make it honest, for
several events of one employee-day are one alert to a person. So the budget, in false alerts per 1,000 employee-days, is the threshold.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detector.core.estimators.tails import TOP, Tails


def day_maxima(keys: NDArray[Any], days: NDArray[np.int64], values: NDArray[Any]) -> tuple[NDArray[Any], NDArray[np.int64], NDArray[Any]]:
    """The largest of each column of (n, D) values on each (key, day): keys (m,), days (m,), maxima (m, D), sorted by key and day."""
    order = np.lexsort((days, keys))
    k, d, v = keys[order], days[order], values[order]
    first = np.flatnonzero(np.append(True, (np.diff(k) != 0) | (np.diff(d) != 0))) if len(k) else np.zeros(0, np.int64)
    return k[first], d[first], np.maximum.reduceat(v, first, axis=0) if len(k) else v


def once_each(keys: NDArray[Any], maxima: NDArray[Any]) -> NDArray[Any]:
    """Day maxima (n, D) in which an employee counts in each column's tail with their highest day alone: the others are held at its foot.

    Whoever is up to something is so for days, and would move the scale by which they are measured; innocent extremes are spread over
    people. A column that is 0 on nearly all days stays as it is: those who do such a thing at all do it daily.
    """
    foot = np.quantile(maxima, 1 - TOP, axis=0)
    order = np.argsort(keys, kind="stable")
    first = np.flatnonzero(np.append(True, np.diff(keys[order]) != 0)) if len(keys) else np.zeros(0, np.int64)
    highest = np.repeat(np.maximum.reduceat(maxima[order], first, axis=0), np.diff(np.append(first, len(keys))), axis=0)
    out = np.array(maxima)
    out[order] = np.where((maxima[order] < highest) & (foot > 0), np.minimum(maxima[order], foot), maxima[order])
    return out


def threshold(budget: float) -> float:
    """The rarity from which on an employee-day is alerted. budget: false alerts per 1,000 employee-days, over 0."""
    assert budget > 0
    return 3.0 - math.log10(budget)


def least_value(tails: Tails, rarity: float) -> np.float32:
    """The smallest float32 whose rarity (of the one tail) is at least this; inf where none is. Rarities rise with the value."""
    low, high = 0, 0x7F7FFFFF  # positive float32 are ordered as their bits are
    if _rarity(tails, high) < rarity:
        return np.float32(np.inf)
    while high - low > 1:
        mid = (low + high) // 2
        low, high = (low, mid) if _rarity(tails, mid) >= rarity else (mid, high)
    return np.uint32(high).view(np.float32)


def _rarity(tails: Tails, bits: int) -> float:
    return float(tails.rarities(np.array([[bits]], np.uint32).view(np.float32))[0, 0])
