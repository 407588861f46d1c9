"""Tails: value -> one-sided rarity, -log10 of the chance that an employee-day's maximum is as high.

Empirical up to the top 2 %, an exponential fitted to the excess above it (the peaks-over-threshold view of extremes: J. Pickands, Annals
of Statistics 3, 1975, with shape 0), the top 0.1 % censored so that history's own incidents do not set the scale. Beyond what n days can
tell (log10 n - .6) a calibrated rarity grows only .3 as fast, and it never exceeds 4.6. The rarities of plain signals, which are joined
first and calibrated then, are not held back so: what is extreme must not be flattened twice.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numba as nb
import numpy as np
from numpy.typing import NDArray

KNOTS = 64
TOP, CENSORED = 0.02, 0.001
MOST, SLOW, SLOW_BELOW = 4.6, 0.3, 0.6
PLAIN_MOST = 6.0
RAREST = 20.0
"""Of more days than ever were."""
SPARSE, SPARSE_EXTRA, SPARSE_LEAST, SPARSE_SLOW_BELOW = 0.015, 4, 5, 0.9
LN10 = math.log(10)


@dataclass(frozen=True, slots=True)
class Tails:
    """D tails. Knots are (D, KNOTS) values, ascending, and their rarities; above a tail's last knot: threshold, scale, rarity there."""

    value: NDArray[np.float64]
    rarity: NDArray[np.float64]
    scale: NDArray[np.float64]
    """(D,) mean excess over the last knot."""
    soft: NDArray[np.float64]
    """(D,) the rarity from which on it grows slowly; the end of the scale where it is never held back."""

    def __len__(self) -> int:
        return len(self.scale)

    def rarities(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """(n, D) values -> (n, D) rarities, at most 4.6 (of plain signals: 6); each row and column for itself."""
        out = np.empty(values.shape, np.float32)
        _rarities(values, self.value, self.rarity, self.scale, self.soft, out)
        return out

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        return {"value": self.value, "rarity": self.rarity, "scale": self.scale, "soft": self.soft}

    @staticmethod
    def from_arrays(arrays: Mapping[str, NDArray[Any]], tails: int) -> Tails:
        """Raises ValueError naming the array that cannot be right."""
        shapes = {"value": (tails, KNOTS), "rarity": (tails, KNOTS), "scale": (tails,), "soft": (tails,)}
        for name, shape in shapes.items():
            a = arrays[name]
            if a.dtype != np.float64 or a.shape != shape or not np.isfinite(a).all():
                raise ValueError(f"{name}: expected finite float64 of shape {shape}, found {a.dtype} of {a.shape}")
        if (np.diff(arrays["value"], axis=1) < 0).any() or (np.diff(arrays["rarity"], axis=1) < 0).any():
            raise ValueError("knots: must not descend")
        if (arrays["scale"] <= 0).any() or any((arrays[name] < 0).any() or (arrays[name] > RAREST).any() for name in ("rarity", "soft")):
            raise ValueError(f"scale must be positive, rarity and soft in 0..{RAREST:g}")
        return Tails(*(arrays[name] for name in shapes))


def fit(day_maxima: NDArray[np.floating[Any]], plain: bool = False) -> Tails:
    """Tails of D columns of (n, D) day maxima, n >= 1, one row an active employee-day (0 on a day without the evidence).

    `plain`: of signals that are yet to be joined and calibrated.
    """
    columns = [_fit(np.sort(np.asarray(column, np.float64))) for column in day_maxima.T]
    value, rarity, scale, soft = (np.array(part) for part in zip(*columns, strict=True))
    if plain:
        soft = np.full(len(scale), PLAIN_MOST)
    return Tails(value.reshape(-1, KNOTS), rarity.reshape(-1, KNOTS), scale, soft)


def _fit(v: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64], float, float]:
    """One tail from ascending day maxima."""
    n, carrying = len(v), int(np.count_nonzero(v > 0))
    sparse = carrying < SPARSE * n
    top = min(max(min(carrying // 3, int(n * TOP)) if sparse else int(n * TOP), 1), n - 1)
    threshold = max(v[n - 1 - top], 1e-6)
    below = v[v <= threshold]
    ranks = np.linspace(0, 1, KNOTS - 1) ** 0.5 * (len(below) - 1)  # denser where it matters
    value = np.unique(np.append(below[ranks.astype(np.int64)], threshold))
    rarity = -np.log10((n - np.searchsorted(v, value, "left") + 0.5) / (n + 1))
    rarity[-1] = -math.log10((top + (SPARSE_EXTRA if sparse else 0.5)) / (n + 1))
    rarity = np.clip(rarity, 0.0, max(rarity[-1], 0.0))
    pad = (KNOTS - len(value), 0)
    excess = np.maximum(v[n - top :] - threshold, 0)
    return (
        np.pad(value, pad, mode="edge"),
        np.pad(rarity, pad, mode="edge"),
        _sparse_scale(excess, threshold) if sparse else _scale(excess, n),
        max(math.log10(n) - (SPARSE_SLOW_BELOW if sparse else SLOW_BELOW), 0.5),
    )


def _scale(excess: NDArray[np.float64], n: int) -> float:
    """Mean excess of an exponential whose largest observations are censored: they count, at the size of the largest that is kept."""
    if not len(excess):
        return 1.0
    censored = min(math.ceil(CENSORED * n), len(excess) - 1)
    kept = np.minimum(excess, excess[len(excess) - 1 - censored])
    return max(float(kept.sum()) / (len(excess) - censored), 1e-3)


def _sparse_scale(excess: NDArray[np.float64], threshold: float) -> float:
    """Of what hardly ever happens: a handful of observations says little of a scale, so it is never taken for a small one."""
    mean = float(excess.mean()) if len(excess) >= SPARSE_LEAST else 0.0
    return max(mean, 0.15 * threshold + 1e-3)


@nb.njit(cache=True)
def _rarities(values, knot, knot_rarity, scale, soft, out):  # type: ignore[no-untyped-def]
    last = KNOTS - 1
    for i in range(values.shape[0]):
        for d in range(values.shape[1]):
            x = values[i, d]
            if x <= 0.0:
                out[i, d] = 0.0
                continue
            if x >= knot[d, last]:
                r = knot_rarity[d, last] + (x - knot[d, last]) / (scale[d] * LN10)
            elif x <= knot[d, 0]:
                r = knot_rarity[d, 0]
            else:
                low, high = 0, last
                while high - low > 1:
                    mid = (low + high) // 2
                    if knot[d, mid] <= x:
                        low = mid
                    else:
                        high = mid
                width = knot[d, high] - knot[d, low]
                part = (x - knot[d, low]) / width if width > 0.0 else 1.0
                r = knot_rarity[d, low] + part * (knot_rarity[d, high] - knot_rarity[d, low])
            if r > soft[d]:
                r = soft[d] + SLOW * (r - soft[d])
            out[i, d] = min(max(r, 0.0), max(MOST, soft[d]))
