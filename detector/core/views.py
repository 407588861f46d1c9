"""Views: a key, and the signals and hypotheses kept for each. The employee view."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
from detector.core.strings import Coded, hash_strings

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
    """Makes frames: joins events with what context and baselines know, looking each distinct string up once a batch."""

    def __init__(self, context: Context, baselines: Baselines) -> None:
        self.context, self.baselines = context, baselines
        self._team = {name: i for i, name in enumerate(baselines.teams)}
        self._pairs = _pair_rows(baselines.pairs)
        self._special = _special(context)
        self._own = {s: who for s, links in context.links.items() for who, kind in links if kind == "own_account"}
        self._location = frozenset(f for f, sensitivity in context.fields.items() if sensitivity == "location")

    def frame(self, batch: EventBatch) -> Frame:
        action = batch.numbers("action")
        actor, subject = batch.strings("actor"), batch.strings("subject")
        team, team_key = self._teams(batch, actor)
        owner = subject.spread(hash_strings([self._own.get(s, "") for s in subject.values]), np.uint64(0))
        shown = batch.strings("fields")
        return Frame(
            time=batch.time, hour=_hour(batch.time), action=action, pair=self._pair(batch.strings("resource"), action), team=team,
            team_key=team_key, subject=subject.hashes, purpose=batch.strings("purpose").hashes,
            valid_until=_valid_until(batch, action), records=batch.numbers("records").astype(np.float64),
            special=subject.spread(np.array([self._care(s) for s in subject.values]), np.float64(0)),
            own=owner == actor.hashes,
            location=shown.spread(np.array([not self._location.isdisjoint(f) for f in shown.values], np.bool_), np.bool_(False)),
        )  # fmt: skip

    def _care(self, subject: str) -> float:
        known = self._special.get(subject, 0.0)
        hashed = self.context.finds_hashed and known < SPECIAL_PROTECTED and self.context.protected_class(subject) is not None
        return SPECIAL_PROTECTED if hashed else known

    def team_name(self, said: str | None, actor: str, time: int) -> str | None:
        """The event's own word wins over the directory's: it is as of the event."""
        return said or self.context.team(actor, time // DAY)

    def _teams(self, batch: EventBatch, actor: Coded) -> tuple[NDArray[np.int64], NDArray[np.uint64]]:
        said = batch.strings("actor_team")
        row = said.spread(np.array([self._team.get(t, 0) for t in said.values], np.int64), np.int64(0))
        key = said.hashes
        silent = np.flatnonzero(said.codes < 0)
        if len(silent) and self.context.employees:
            days, which = np.unique(np.stack([actor.codes[silent], batch.time[silent] // DAY]), axis=1, return_inverse=True)
            names = [self.context.team(actor.values[a], d) or COMPANY for a, d in days.T.tolist()]
            found = np.array([self._team.get(t, 0) for t in names], np.int64)
            row[silent] = found[which.ravel()]
            key[silent] = np.where(np.array([bool(t) for t in names]), hash_strings(names), 0)[which.ravel()]
        return row, key

    def _pair(self, resource: Coded, action: NDArray[np.int64]) -> NDArray[np.int64]:
        other = np.full(len(ACTIONS), len(self.baselines.pairs), np.int64)
        if not resource.values:
            return np.zeros(len(action), np.int64)
        return np.stack([self._pairs.get(r, other) for r in resource.values])[resource.codes, action]


def _pair_rows(pairs: Sequence[tuple[str, int]]) -> Mapping[str, NDArray[np.int64]]:
    """resource -> row of (resource, action) for each action."""
    rows: dict[str, NDArray[np.int64]] = {}
    for row, (resource, action) in enumerate(pairs):
        rows.setdefault(resource, np.full(len(ACTIONS), len(pairs), np.int64))[action] = row
    return rows


def _special(context: Context) -> Mapping[str, float]:
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
