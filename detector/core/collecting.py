"""Collecting: what a training keeps of the features that it has seen. Bounded, and the same however employees are shared out.

Held-out events are kept whole, for their day maxima of joined values can be taken only once tails and forest are there; of all events a
sample, from which the forest is trained. Both are chosen by bars on hashes: an event is in the sample if the hash of what it is lies under
one bar, and held-out events are kept of those employees whose hash lies under the other. All shards have the same bars, which are lowered
by half as often as there is too much, at a day's turn and from the sum over all shards. So which events are kept is a function of the
events alone, whoever counts them. (Bottom-k sampling: E. Cohen and H. Kaplan, Summarizing data using bottom-k sketches, PODC 2007.)
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from detector.core.features import Matrix
from detector.core.frame import DAY
from detector.core.lookups import Hashes, joined_hash
from detector.core.model import GOLDEN

ALL = (1 << 64) - 1
MOST_HELD = 4_000_000
"""Held-out events of all shards together, at 170 bytes each."""
MOST_SAMPLED = 400_000
"""Events in the sample. A third of the history is in the forest's part: four times as many as the forest is trained on, at least."""


class Bars(NamedTuple):
    """What is kept. Bars are on 64-bit hashes."""

    first_day: int = 0
    """Days of the log since 1970: what came on one before it is not kept."""
    held_from: int = 0
    """Ms: what happened before it is surely not held out."""
    employee: int = ALL
    event: int = ALL

    def lowered(self, held: int, sampled: int) -> Bars:
        """For the next day, where so many are kept now."""
        return self._replace(
            employee=self.employee >> int(held > MOST_HELD),
            event=self.event >> int(sampled > MOST_SAMPLED),
        )


@dataclass(frozen=True, slots=True)
class Rows:
    """n events of one day of the log, in order."""

    day: int
    priority: Hashes
    """Hash of what each is."""
    key: Hashes
    """Hash of the employee."""
    time: NDArray[np.int64]
    values: Matrix
    """(n, U) raw values of the used signals."""

    def __len__(self) -> int:
        return len(self.key)

    def take(self, rows: NDArray[Any]) -> Rows:
        return Rows(self.day, self.priority[rows], self.key[rows], self.time[rows], self.values[rows])


class Collection:
    """Of one shard; U used signals, F features."""

    def __init__(self, signals: NDArray[np.int64], counted: int, seed: int) -> None:
        """`signals` (U,) columns of the feature matrix; `counted`: the column that is not 0 in rows that are fit to be golden vectors."""
        self._signals, self._counted, self._seed = signals, counted, np.uint64(seed)
        self.bars = Bars()
        self.held: deque[Rows] = deque()
        self.sampled: deque[Rows] = deque()
        self._golden: tuple[Hashes, Matrix] | None = None

    def add(self, day: int, key: Hashes, event: Hashes, time: NDArray[np.int64], features: Matrix) -> None:
        """n events of a day of the log: hashes of their employees and of their ids, ms, and (n, F) features."""
        priority = joined_hash(joined_hash(key, event), time.astype(np.uint64) + self._seed)
        rows = Rows(day, priority, key, time, features[:, self._signals])
        for kept, chosen in ((self.held, self._of_chosen(rows)), (self.sampled, self._in_sample(rows))):
            kept.append(rows if chosen.all() else rows.take(chosen))
        fit = np.flatnonzero(features[:, self._counted] > 0)
        self._golden = lowest(GOLDEN, [(priority[fit], features[fit]), *([self._golden] if self._golden else [])])

    def keep(self, bars: Bars) -> None:
        """From here on by these; what they do not let in is given up. Days come in order, and bars only fall."""
        while self.sampled and self.sampled[0].day < bars.first_day:
            self.sampled.popleft()
        while self.held and (self.held[0].day < bars.first_day or (self.held[0].day + 1) * DAY <= bars.held_from):
            self.held.popleft()
        lowered, self.bars = (bars.employee < self.bars.employee, bars.event < self.bars.event), bars
        if lowered[0]:
            self.held = deque(rows.take(self._of_chosen(rows)) for rows in self.held)
        if lowered[1]:
            self.sampled = deque(rows.take(self._in_sample(rows)) for rows in self.sampled)

    def counts(self) -> tuple[int, int]:
        """Events that may be held out, and in the sample."""
        return sum(map(len, self.held)), sum(map(len, self.sampled))

    def golden(self) -> tuple[Hashes, Matrix]:
        """At most GOLDEN full feature rows, (m, F), and the priority of each."""
        return self._golden or (np.zeros(0, np.uint64), np.zeros((0, 0), np.float32))

    def taught(self, held_from: int, most: int) -> tuple[Hashes, Matrix]:
        """Of the sample those that are not held out, (m, U), and the priority of each: at most so many, of lowest priority."""
        some = [rows.take(rows.time < held_from) for rows in self.sampled]
        return lowest(most, [(rows.priority, rows.values) for rows in some])

    def hold_out(self, held_from: int) -> list[Rows]:
        """The events held out, in order; all else is given up, for learning is over."""
        self.sampled.clear()
        self.held = deque(rows if (chosen := rows.time >= held_from).all() else rows.take(chosen) for rows in self.held)
        return list(self.held)

    def _of_chosen(self, rows: Rows) -> NDArray[np.bool_]:
        """Whether each is of an employee whose events are held out."""
        if self.bars.employee == ALL:
            return np.ones(len(rows), np.bool_)
        return joined_hash(rows.key, np.full(len(rows), self._seed)) <= np.uint64(self.bars.employee)

    def _in_sample(self, rows: Rows) -> NDArray[np.bool_]:
        return rows.priority <= np.uint64(self.bars.event)


def lowest(most: int, parts: Sequence[tuple[Hashes, Matrix]]) -> tuple[Hashes, Matrix]:
    """Those of lowest priority, in its order, of rows that have one each; of equal ones the first."""
    some = [(priority, rows) for priority, rows in parts if len(priority)]
    if not some:
        return parts[0] if parts else (np.zeros(0, np.uint64), np.zeros((0, 0), np.float32))
    priority = np.concatenate([p for p, _ in some])
    order = np.argsort(priority, kind="stable")[:most]
    return priority[order], np.concatenate([rows for _, rows in some])[order]
