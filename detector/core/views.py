"""Views: a key, and the signals and hypotheses kept for each. The employee view."""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType
from typing import Any

from numpy.typing import NDArray

from detector.core import alerts, combination, duplicates
from detector.core.baselines import Baselines
from detector.core.features import FeatureBatch
from detector.core.frame import Frame
from detector.core.signals import (
    accumulators,
    evidence,
    explanation,
    hours,
    masquerade,
    places,
    profiles,
    purposes,
    relations,
    rights,
)
from detector.core.state import Column, KeyedState, Slots


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

    def daily(self, state: KeyedState, slots: Slots) -> dict[str, NDArray[Any]]:
        """What the records of the day that has ended say of these employees: columns with a row each."""
        said = combination.daily(state, slots)
        for family in self.signals:
            said |= family.daily(state, slots) if hasattr(family, "daily") else {}
        return said


EMPLOYEE = View(
    "employee",
    "actor",
    (explanation, relations, profiles, hours, masquerade, places, rights, purposes, evidence, accumulators),
)
