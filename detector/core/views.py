"""Views: a key, and the signals and hypotheses kept for each. The employee view."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detector.core import alerts, combination, duplicates
from detector.core.baselines import COMPANY, HOURS, Baselines
from detector.core.context import Context
from detector.core.events import ACTIONS, NO_TIME, EventBatch
from detector.core.features import FeatureBatch
from detector.core.frame import DAY, HOUR, Frame
from detector.core.signals import accumulators, evidence, explanation, hours, resources
from detector.core.state import Column, KeyedState, Slots
from detector.core.strings import hash_strings

SPECIAL_PROTECTED, SPECIAL_COLLEAGUE, SPECIAL_CONTACT = 1.0, 0.8, 0.6


@dataclass(frozen=True)
class View:
    name: str
    key: str
    """Member of the event whose value is the key."""
    signals: tuple[ModuleType, ...]
    """Families in order: each may read what those before it give."""

    @property
    def names(self) -> tuple[str, ...]:
        """Columns of the feature matrix."""
        return tuple(name for family in self.signals for name in family.GIVES)

    def columns(self, hypotheses: int) -> tuple[Column, ...]:
        """State columns of a task with that many hypotheses."""
        families = tuple(c for family in self.signals for c in family.COLUMNS)
        return (*duplicates.COLUMNS, *families, *combination.columns(hypotheses), *alerts.COLUMNS)

    def observe(self, state: KeyedState, slots: Slots, frame: Frame, baselines: Baselines) -> FeatureBatch:
        """Every event against its key's state just before it; then the state has seen it."""
        out = FeatureBatch.zeros(self.names, len(slots))
        for family in self.signals:
            family.observe(state, slots, frame, baselines, out)
        return out


EMPLOYEE = View("employee", "actor", (explanation, resources, hours, evidence, accumulators))


class Framer:
    """Makes frames: joins events with what context and baselines know, by the hashes of their strings."""

    def __init__(self, context: Context, baselines: Baselines) -> None:
        self.context, self.baselines = context, baselines
        self._teams = Lookup(baselines.teams[1:])
        self._resources = Lookup(tuple(dict.fromkeys(resource for resource, _ in baselines.pairs)))
        self._pair_row = _pair_rows(baselines.pairs, self._resources.names)
        care = _care(context)
        own = {s: who for s, links in context.links.items() for who, kind in links if kind == "own_account"}
        self._subjects = Lookup(tuple({**care, **own}))
        self._care = np.array([*(care.get(s, 0.0) for s in self._subjects.names), 0.0])
        self._owner = np.append(hash_strings([own.get(s, "") for s in self._subjects.names]), np.uint64(0))
        self._location = frozenset(f for f, sensitivity in context.fields.items() if sensitivity == "location")

    def frame(self, batch: EventBatch) -> Frame:
        action, subject = batch.numbers("action"), batch.hashes("subject")
        team, team_key = self._team(batch)
        known = self._subjects.find(subject)
        special = self._care[known] if not self.context.finds_hashed else self._care_by_key(batch, self._care[known])
        return Frame(
            time=batch.time, hour=_hour(batch.time), action=action,
            pair=self._pair_row[self._resources.find(batch.hashes("resource")), action], team=team, team_key=team_key, subject=subject,
            purpose=batch.hashes("purpose"), valid_until=_valid_until(batch, action), records=batch.numbers("records").astype(np.float64),
            special=special, own=self._owner[known] == batch.hashes("actor"), location=self._shows_location(batch, special),
        )  # fmt: skip

    def team_name(self, said: str | None, actor: str, time: int) -> str | None:
        """The event's own word wins over the directory's: it is as of the event."""
        return said or self.context.team(actor, time // DAY)

    def _team(self, batch: EventBatch) -> tuple[NDArray[np.int64], NDArray[np.uint64]]:
        """Row of the team in the baselines, 0 the whole company, and hash of its name."""
        key = batch.hashes("actor_team")
        silent = np.flatnonzero(key == 0)
        if len(silent) and self.context.employees:
            key = key.copy()
            days = (batch.time[silent] // DAY).astype(np.uint64)
            _, first, which = np.unique(np.stack([batch.hashes("actor")[silent], days]), axis=1, return_index=True, return_inverse=True)
            teams = [self.context.team(batch.rows[i].actor, int(batch.time[i] // DAY)) or COMPANY for i in silent[first].tolist()]
            key[silent] = np.where(np.array(teams) == COMPANY, np.uint64(0), hash_strings(teams))[which.ravel()]
        return self._teams.find(key) + 1, key

    def _care_by_key(self, batch: EventBatch, care: NDArray[np.float64]) -> NDArray[np.float64]:
        """Adds those whom protected.csv names by keyed hash."""
        subject = batch.strings("subject")
        hashed = [self.context.protected_class(s) is not None for s in subject.values]
        return np.maximum(care, SPECIAL_PROTECTED * subject.spread(np.array(hashed, np.float64), np.float64(0)))

    def _shows_location(self, batch: EventBatch, special: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Asked only of the few events on people who deserve care: it matters for nobody else."""
        out = np.zeros(len(batch), np.bool_)
        for i in np.flatnonzero(special > 0).tolist() if self._location else ():
            out[i] = not self._location.isdisjoint(batch.rows[i].fields)
        return out


class Lookup:
    """Names by the hash of each."""

    def __init__(self, names: Sequence[str]) -> None:
        self.names = tuple(names)
        hashes = hash_strings(self.names)
        self._order = np.append(np.argsort(hashes), -1)
        self._sorted = np.append(hashes[self._order[:-1]], np.uint64(0))

    def find(self, hashes: NDArray[np.uint64]) -> NDArray[np.int64]:
        """(n,) hashes -> index of the name in `names`; -1 where it is none of them, or absent (0)."""
        at = np.searchsorted(self._sorted[:-1], hashes)
        return np.where((self._sorted[at] == hashes) & (hashes != 0), self._order[at], -1)


def _pair_rows(pairs: Sequence[tuple[str, int]], resources: Sequence[str]) -> NDArray[np.int64]:
    """(resources + 1, actions): row of each (resource, action) in the vocabulary; all of the last one's, unknown, are `other`."""
    rows = np.full((len(resources) + 1, len(ACTIONS)), len(pairs), np.int64)
    for row, (resource, action) in enumerate(pairs):
        rows[resources.index(resource), action] = row
    return rows


def _care(context: Context) -> dict[str, float]:
    """Subject -> how much care they deserve; the largest that applies."""
    out: dict[str, float] = {}
    for subject, links in context.links.items():
        for linked, kind in links:
            if kind != "contact":
                out[subject] = SPECIAL_COLLEAGUE
            elif context.protected_class(linked) is not None:
                out.setdefault(subject, SPECIAL_CONTACT)
    return {**out, **dict.fromkeys(context.protected, SPECIAL_PROTECTED)}


def _hour(time: NDArray[np.int64]) -> NDArray[np.int64]:
    """Hour of the day in UTC; 24 more on Saturday and Sunday (1970-01-01 was a Thursday)."""
    weekend = (time // DAY + 3) % 7 >= 5
    return np.asarray((time // HOUR) % 24 + np.where(weekend, HOURS // 2, 0))


def _valid_until(batch: EventBatch, action: NDArray[np.int64]) -> NDArray[np.int64]:
    out = np.full(len(batch), NO_TIME, np.int64)
    for i in np.flatnonzero(action == explanation.ASSIGN).tolist():
        until: Any = batch.rows[i].valid_until
        out[i] = NO_TIME if until is None else until
    return out
