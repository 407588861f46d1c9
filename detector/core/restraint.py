"""Restraint: how far what is usual of a team may move in one night, so that nobody moves it far without being seen on the way.

A profile that follows behaviour follows misuse too, if that grows slowly enough: the frog that is boiled (B. I. P. Rubinstein et al.,
ANTIDOTE: understanding and defending against poisoning of anomaly detectors, IMC 2009). Every night is a quarter of a percent to a few
percent of four weeks, so a team's profile moves little in one; beyond the bounds below it is moved as far as they go and no farther, and
said so. A real change arrives all the same, some nights later. The company as a whole is moved by everybody, a team that was unknown has
nothing to be held to, and how busy a team is of late is meant to change at once: these are not held.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from detector.core.baselines import Baselines
from detector.core.signals.accumulators import LEAST_SPREAD

Floats = NDArray[np.float64]

MOST_SHARE = 0.1
"""Of a team's pairs, steps or hours that may be others than the night before: total variation distance."""
MOST_SHIFT = 0.5
"""Of the team's standard deviations, that the mean of a level may move by; one below LEAST_SPREAD counts as that, as in the signals."""
MOST_SPREAD = 1.5
"""Times that the standard deviation of a level may become larger or smaller."""
PROFILES = (("pair", "pairs"), ("step", "steps"), ("hour", None))


@dataclass(frozen=True, slots=True)
class Moves:
    """How far t teams that were known before have moved, as parts of what they may: over 1, they were held back."""

    teams: NDArray[np.uint64]
    """(t,) ascending hashes of the names."""
    parts: dict[str, Floats]
    """Of each part of the baselines, (t,)."""

    @property
    def most(self) -> Floats:
        """(t,) of any part."""
        return np.asarray(np.max(list(self.parts.values()), axis=0, initial=0.0))

    @property
    def held(self) -> NDArray[np.uint64]:
        """The teams that were held back, farthest first."""
        order = np.argsort(-self.most, kind="stable")
        return self.teams[order[self.most[order] > 1]]


NOTHING = Moves(np.zeros(0, np.uint64), {})


def restrained(before: Baselines, after: Baselines, nights: float = 1.0) -> tuple[Baselines, Moves]:
    """What was learned, held to what was known `nights` ago, and how far it would have moved."""
    teams, old, new = np.intersect1d(before.teams[1:], after.teams[1:], assume_unique=True, return_indices=True)
    old, new = old + 1, new + 1
    changed: dict[str, Floats] = {}
    parts: dict[str, Floats] = {}
    for name, words in PROFILES:
        column = f"{name}_team"
        known, learned = getattr(before, column)[old], getattr(after, column)
        if words is not None:
            known = _in_words(known, getattr(before, words), getattr(after, words))
        distance = 0.5 * np.abs(learned[new] - known).sum(axis=1)
        parts[name] = distance / (MOST_SHARE * nights)
        changed[column] = learned.copy()
        changed[column][new] = known + np.minimum(1.0, 1 / np.maximum(parts[name], 1e-12))[:, None] * (learned[new] - known)
    spread = np.maximum(before.spread[old], LEAST_SPREAD)
    shift = after.mean[new] - before.mean[old]
    growth = np.log(np.maximum(after.spread[new], LEAST_SPREAD) / spread)
    for name, moved, room in (("mean", shift, nights * MOST_SHIFT * spread), ("spread", growth, nights * np.log(MOST_SPREAD) + 0 * spread)):
        parts[name] = np.max(np.abs(moved) / room, axis=1, initial=0.0)
        held = np.clip(moved, -room, room)
        changed[name] = getattr(after, name).copy()
        near = before.mean[old] + held if name == "mean" else spread * np.exp(held)
        changed[name][new] = np.where(np.abs(moved) > room, near, changed[name][new])  # the others stay as they are, to the last bit
    for name, _ in PROFILES:
        near = new[parts[name] <= 1]
        changed[f"{name}_team"][near] = getattr(after, f"{name}_team")[near]
    return replace(after, **changed), Moves(teams, parts)  # type: ignore[arg-type]


def _in_words(shares: Floats, old: NDArray[np.uint32], new: NDArray[np.uint32]) -> Floats:
    """(t, V + 1) shares of one vocabulary in another: what is in neither, or only in the old one, is other."""
    at = np.searchsorted(old, new)
    found = np.flatnonzero(at < len(old))
    found = found[old[at[found]] == new[found]]
    out = np.zeros((len(shares), len(new) + 1))
    out[:, found] = shares[:, at[found]]
    out[:, -1] = np.maximum(shares.sum(axis=1) - out.sum(axis=1), 1e-9)
    return out
