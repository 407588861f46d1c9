"""Walls: residency of data, and the purposes that are approved exceptions from it."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from detector.core.context import Context
from detector.core.events import EventBatch
from detector.core.lookups import Hashes, Lookup
from detector.core.strings import hash_strings

CROSSED, BY_EXEMPT_TEAM, WITH_EXCEPTION = 1.0, 0.1, 0.02


class Walls:
    """W walls by the region of the data, R regions, T teams, X prefixes of purposes."""

    def __init__(self, context: Context) -> None:
        walls = tuple(context.walls.values())
        self._walls = Lookup.of(tuple(context.walls))
        self._regions, self._allowed = _members(wall.allowed_actor_regions for wall in walls)
        self._teams, self._exempt = _members(wall.exempt_teams for wall in walls)
        self._prefixes = tuple(dict.fromkeys(wall.exception_prefix for wall in walls if wall.exception_prefix))
        self._prefix = np.array(
            [self._prefixes.index(p) if (p := wall.exception_prefix) else len(self._prefixes) for wall in walls], np.int64
        )
        """(W,) row of a wall's prefix, X where it has none."""

    def crossed(self, batch: EventBatch, region: Hashes, team: Hashes) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
        """Whether a purpose is an exception from any wall, and by how much the actor's region and team cross one (see `Frame.wall`)."""
        begins = self._begins(batch)
        at, degree = self._walls.find(batch.hashes("subject_region")), np.zeros(len(batch))
        rows = np.flatnonzero((at >= 0) & (region != 0))
        wall = at[rows]
        exempt = self._exempt[wall, self._teams.find(team[rows])]
        excepted = begins[rows, self._prefix[wall]]
        allowed = self._allowed[wall, self._regions.find(region[rows])]
        degree[rows] = np.select([allowed, excepted, exempt], [0.0, WITH_EXCEPTION, BY_EXEMPT_TEAM], CROSSED)
        return np.asarray(begins.any(axis=1)), degree

    def _begins(self, batch: EventBatch) -> NDArray[np.bool_]:
        """(n, X + 1) which prefix each purpose begins with; the last is none.

        A prefix with a `-` can begin only purposes of one kind, the text before it, so few strings are looked at.
        """
        out = np.zeros((len(batch), len(self._prefixes) + 1), np.bool_)
        for column, prefix in enumerate(self._prefixes):
            kind, dash, _ = prefix.partition("-")
            kinds = batch.hashes("purpose_kind")
            if dash:
                rows = np.flatnonzero(kinds == hash_strings([kind])[0])
            else:
                first, which = np.unique(kinds, return_index=True, return_inverse=True)[1:]
                begins = [(batch.rows[row].purpose or "").startswith(prefix) for row in first.tolist()]
                rows = np.flatnonzero(np.array(begins, np.bool_)[which])
            out[rows, column] = [not dash or batch.rows[row].purpose.startswith(prefix) for row in rows.tolist()]
        return out


def _members(sets: Iterable[frozenset[str]]) -> tuple[Lookup, NDArray[np.bool_]]:
    """The names in any of the sets, and (sets, names + 1) which set holds which; the last, of any other name, none."""
    some = tuple(sets)
    names = sorted(frozenset().union(*some))
    within = [[*(name in one for name in names), False] for one in some]
    return Lookup.of(names), np.array(within, np.bool_).reshape(len(some), len(names) + 1)
