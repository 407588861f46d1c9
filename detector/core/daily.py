"""Daily records: what a day of a task's employees leaves behind for the nightly refresh. Small: no event is ever read again for it.

One partition has too few employees for a tail of one in a thousand, and holds a part of each team only; all partitions' records of the last
four weeks together are what baselines and calibration are learned from.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detector.core.lookups import distinct

WINDOW = 28
"""Days that a refresh looks back."""


@dataclass(frozen=True, slots=True)
class Daily:
    """Records of one UTC day: a row an employee who was active on it, n of them."""

    day: int
    """Days since 1970."""
    key: NDArray[np.uint64]
    """Hash of the employee."""
    team: NDArray[np.uint64]
    """Hash of the team, 0 unknown."""
    columns: Mapping[str, NDArray[Any]]
    """What each family of signals, and the combination, say of the day: arrays with n rows."""

    def __len__(self) -> int:
        return len(self.key)

    def column(self, name: str) -> NDArray[Any]:
        return self.columns[name]

    def take(self, rows: NDArray[np.int64]) -> Daily:
        """Some of the records, in the given order."""
        return Daily(self.day, self.key[rows], self.team[rows], {name: a[rows] for name, a in self.columns.items()})


def recent(days: Sequence[Daily]) -> list[Daily]:
    """The last WINDOW days, those without records left out: one for each, in order, its rows by key.

    So what is learned of them does not depend, to the last bit, on how many tasks there were and whose records came first.
    """
    last = max((d.day for d in days), default=0)
    blocks: dict[int, list[Daily]] = {}
    for d in days:
        if d.day > last - WINDOW and len(d):
            blocks.setdefault(d.day, []).append(d)
    return [merged(blocks[day]) for day in sorted(blocks)]


def merged(blocks: Sequence[Daily]) -> Daily:
    """Records of one day as one, by key; it may be the block itself."""
    whole = blocks[0] if len(blocks) == 1 else joined(blocks)
    if (whole.key[1:] > whole.key[:-1]).all():
        return whole
    order = np.argsort(whole.key, kind="stable")
    return whole.take(order)


def joined(blocks: Sequence[Daily]) -> Daily:
    """Records of one day as one, block after block; `blocks` must not be empty."""
    columns = {name: stacked(blocks, name) for name in blocks[0].columns}
    return Daily(blocks[-1].day, np.concatenate([d.key for d in blocks]), np.concatenate([d.team for d in blocks]), columns)


def stacked(days: Sequence[Daily], name: str) -> NDArray[Any]:
    """One column of all the days, day after day; `days` must not be empty."""
    return np.concatenate([d.column(name) for d in days])


def latest(days: Sequence[Daily]) -> NDArray[np.int64]:
    """Rows, of the days stacked in order, that are their employee's last."""
    keys = np.concatenate([d.key for d in days])
    who, which = distinct(keys)
    last = np.zeros(len(who), np.int64)
    last[which] = np.arange(len(keys))  # of several values for one place, the last
    return np.sort(last)


def voters_of(days: Sequence[Daily]) -> Daily:
    """Each employee's last record, in order of day; `day` is the last of all. `days` must not be empty."""
    last, ends = latest(days), np.cumsum([len(d) for d in days])
    return joined([d.take(last[(last >= end - len(d)) & (last < end)] - (end - len(d))) for d, end in zip(days, ends, strict=True)])
