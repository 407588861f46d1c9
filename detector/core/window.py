"""Window: the last four weeks of daily records, as much of them as is learned from, and what they teach, one day after the other.

Profiles are by far the widest columns of a record, and count in each employee's latest alone; the others are given up at once. So 100,000
employees' four weeks take a gigabyte, not five.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from detector.core.baselines import ONCE, Baselines, learn
from detector.core.daily import WINDOW, Daily, joined, merged
from detector.core.levels import Ordinary
from detector.core.signals import accumulators

VOTED = "voted"
"""Column of `voters`: the day of the record."""


class Window:
    """Days come in their order, each with the records of all partitions or shards."""

    def __init__(self) -> None:
        self.days: list[Daily] = []
        """Without the columns in ONCE; rows by key."""
        self.voters: Daily | None = None
        """Each employee's latest record, in order of day and key: the columns in ONCE."""
        self._ordinary: dict[int, Ordinary] = {}

    @staticmethod
    def of(days: Iterable[Daily]) -> Window:
        """From blocks of days in any order."""
        blocks: dict[int, list[Daily]] = {}
        for d in days:
            blocks.setdefault(d.day, []).append(d)
        made = Window()
        for day in sorted(blocks):
            made.add(blocks.pop(day))
        return made

    def __len__(self) -> int:
        """Days with records."""
        return len(self.days)

    @property
    def last(self) -> int:
        """The latest day with records, since 1970; -1 none."""
        return self.days[-1].day if self.days else -1

    def add(self, blocks: Sequence[Daily]) -> None:
        """All records of a day that is later than those before. So what is learned does not depend, to the last bit, on how many tasks
        there were and whose records came first."""
        if not (blocks := [block for block in blocks if len(block)]):
            return
        assert len({block.day for block in blocks}) == 1 and blocks[0].day > self.last, "days come whole, and in order"
        whole = merged(blocks)
        wide = {name: whole.column(name) for name in ONCE} | {VOTED: np.full(len(whole), whole.day)}
        voters = Daily(whole.day, whole.key, whole.team, wide)
        if self.voters is not None:
            old = self.voters
            stay = (old.column(VOTED) > whole.day - WINDOW) & ~np.isin(old.key, whole.key)
            voters = joined([old.take(np.flatnonzero(stay)), voters])
        self.voters = voters
        narrow = {name: np.ascontiguousarray(a) for name, a in whole.columns.items() if name not in ONCE}
        self.days = [d for d in self.days if d.day > whole.day - WINDOW] + [Daily(whole.day, whole.key, whole.team, narrow)]
        self._ordinary = {d.day: self._ordinary[d.day] for d in self.days if d.day in self._ordinary}

    def learn(self) -> Baselines:
        return learn(self.days, accumulators.K, self.voters, self._ordinary)
