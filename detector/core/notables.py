"""Notables: near misses, whose rarity is within 1 of the threshold. Of a key, the first of a day, and further ones that rise by .3.

A task tells of a hundred a day at most; what goes beyond is counted by its rank. A key that was over the threshold is told of as an alert,
and not as a notable on the rest of that day. The day is the task's open one, as for daily records.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from detector.core.alerts import RISE
from detector.core.calibration import least_value
from detector.core.estimators.tails import Tails
from detector.core.state import KeyedState

SEVERITY = "notable"
WITHIN = 1.0
BOUND = 100
"""A task and day."""
RANKS = 10
"""Tenths between threshold - 1 and the threshold."""


class Notables:
    """How many there were of a task, on the day that is open; of more than BOUND it is not told."""

    def __init__(self) -> None:
        self.day, self.count = -1, 0

    def tells(self, day: int) -> bool:
        """Whether one more is told of."""
        if day > self.day:
            self.day, self.count = day, 0
        self.count = min(self.count + 1, BOUND + 1)
        return self.count <= BOUND

    def snapshot(self) -> NDArray[np.int64]:
        return np.array([self.day, self.count], np.int64)

    def restore(self, array: NDArray[Any]) -> None:
        self.day, self.count = (int(x) for x in array)


def rank(rarity: float, threshold: float) -> int:
    """In which tenth of the unit below the threshold a near miss lies; 9 is the nearest."""
    return min(max(int((rarity - threshold + WITHIN) * RANKS), 0), RANKS - 1)


def raise_bar(state: KeyedState, slot: int, tails: Tails, rarity: float, threshold: float) -> None:
    """An event of this rarity was handled: what comes next of the key on this day must be rarer by RISE; after an alert nothing does."""
    higher = rarity + RISE
    state.columns["near_bar"][slot] = least_value(tails, higher) if higher < threshold else np.inf
