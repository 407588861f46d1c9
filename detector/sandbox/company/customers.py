"""Whose data it is: customers by region, a few looked at by everybody, and those who are protected or belong to the staff."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from detector.sandbox.company.calendar import NAMES
from detector.sandbox.company.chance import generator

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

_REGION_SHARES = (0.5, 0.3, 0.2)
_PROTECTED = {"journalist": 40, "official": 15, "activist": 10, "executive": 8}
_CANARIES = 5
_SKEW = 2.0
"""Chance of rank r falls as r^-(1 - 1/skew): a Zipf exponent of 0.5."""


class Customers:
    """Index 0..count, region by region in order of popularity; the last few are canaries, which no work ever touches."""

    def __init__(self, staff: int, seed: int) -> None:
        rng = generator(seed, "customers")
        self.count = max(2_000, 250 * staff)
        self.bounds: Ints = np.rint(np.cumsum((0, *_REGION_SHARES)) * (self.count - _CANARIES)).astype(np.int64)
        self.region: Ints = np.searchsorted(self.bounds[1:-1], np.arange(self.count), side="right").astype(np.int64)
        # an affine permutation: the id says neither region nor popularity
        step = next(step for step in range(self.count // 3 * 2 + 1, self.count * 2) if np.gcd(step, self.count) == 1)
        self.names: tuple[str, ...] = tuple(f"u{number + 10_000}" for number in (np.arange(self.count) * step + 7 * seed) % self.count)
        picked = rng.choice(self.count - _CANARIES, sum(_PROTECTED.values()) + staff, replace=False)
        self.protected: dict[str, Ints] = {"canary": np.arange(self.count - _CANARIES, self.count)}
        for kind, number in _PROTECTED.items():
            self.protected[kind], picked = picked[:number], picked[number:]
        owners = rng.permutation(staff)
        own, household = int(staff * 0.6), int(staff * 0.12)
        self.own: Ints = np.full(staff, -1)
        self.own[owners[:own]] = picked[:own]
        self.household = list(zip(picked[own : own + household].tolist(), rng.permutation(staff)[:household].tolist(), strict=True))
        self.contacts = self._contacts(rng)

    def _contacts(self, rng: np.random.Generator) -> list[tuple[int, int]]:
        """Pairs of customers who know each other: each journalist two, and as many other people."""
        one = np.repeat(self.protected["journalist"], 2)
        one = np.append(one, rng.integers(0, self.count - _CANARIES, len(one)))
        other = rng.integers(0, self.count - _CANARIES, len(one))
        return [(int(a), int(b)) for a, b in zip(one, other, strict=True) if a != b]

    def draw(self, mix: Floats, region: Floats, luck: Floats) -> Ints:
        """Customers from two uniform numbers each, (n,): `mix` (n, 3) shares by region -> index, int64 (n,)."""
        which = np.minimum((np.cumsum(mix, axis=1) <= region[:, None]).sum(axis=1), len(NAMES) - 1)
        low, high = self.bounds[which], self.bounds[which + 1]
        chosen: Ints = low + ((high - low) * luck**_SKEW).astype(np.int64)
        return chosen
