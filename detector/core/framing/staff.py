"""Staff: the directory by hash, each employee's posts in one row after the other."""

from __future__ import annotations

import numba as nb
import numpy as np
from numpy.typing import NDArray

from detector.core.context import SERVICE, Context
from detector.core.frame import DAY
from detector.core.lookups import Hashes, Ints, Lookup
from detector.core.strings import hash_strings


class Staff:
    """E employees and their P posts; in each array the last row stands for everybody else, whom -1 names. A hash of 0 is unknown."""

    def __init__(self, context: Context) -> None:
        names, people = tuple(context.employees), tuple(context.employees.values())
        self._lookup = Lookup.of(names)
        posts = [
            (day, name if role == SERVICE else team, role == SERVICE)
            for name, who in context.employees.items()
            for day, team, role in who.posts
        ]
        self._first = np.cumsum([0, *(len(who.posts) for who in people)])
        """(E + 1,) row of the first post."""
        self._day = np.array([day for day, _, _ in posts], np.int64)
        self.team = _hashes([team for _, team, _ in posts])
        """(P + 1,) team, a service account its own."""
        self.service = np.array([*(service for _, _, service in posts), False])
        """(P + 1,)"""
        moves = [context.transfer(name, day) for name, who in context.employees.items() for day, _, _ in who.posts]
        self.moved = np.array([*(move[0] * DAY if move else 0 for move in moves), 0], np.int64)
        """(P + 1,) the last change of team, ms; 0 none."""
        self.old_team = _hashes([move[1] if move else None for move in moves])
        """(P + 1,) the team before it."""
        self.region = _hashes([who.region for who in people])
        """(E + 1,)"""
        self.listed = np.array([*(who.listed for who in people), False])
        """(E + 1,) directory.csv knows them."""

    def find(self, hashes: Hashes) -> Ints:
        """(n,) names' hashes -> employee, -1 where it is none."""
        return self._lookup.find(hashes)

    def post(self, who: Ints, day: Ints) -> Ints:
        """(n,) the post that each had on a day, -1 for -1."""
        return np.asarray(_post(self._first, self._day, who, day))


def _hashes(names: list[str | None]) -> Hashes:
    """Of the names, and a 0 at the end."""
    return np.append(np.where([name is None for name in names], np.uint64(0), hash_strings([name or "" for name in names])), np.uint64(0))


@nb.njit(cache=True)
def _post(first: Ints, since: NDArray[np.int64], who: Ints, day: Ints) -> Ints:
    """The last that began by the day; the first one always did."""
    out = np.full(len(who), -1, np.int64)
    for i in range(len(who)):
        if who[i] >= 0:
            out[i] = first[who[i] + 1] - 1
            while out[i] > first[who[i]] and since[out[i]] > day[i]:
                out[i] -= 1
    return out
