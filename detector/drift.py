"""Drift in the service: each day that a task closes is held against what the model was trained on; told as metrics, and as a reason to
train anew. It changes nothing of what is scored, and is not restored: after a restart it says nothing until it has seen enough again.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence

from detector.core import drift
from detector.core.daily import Daily
from detector.core.drift import Window
from detector.core.model import Model
from detector.metrics import Metrics

log = logging.getLogger("detector.drift")


class Drift:
    """Of the tasks of one process, together: one partition may have too few employees to say anything."""

    def __init__(self, figures: Metrics) -> None:
        self._figures = figures
        self._window: Window | None = None
        self._said = ""

    def ended(self, task: int, days: Sequence[Daily], model: Model, held: Iterable[int]) -> None:
        """Days of a task are over, if any; `held` are the tasks there are now. A model with another reference begins anew."""
        for daily in days:
            self._ended(task, daily, model, held)

    def _ended(self, task: int, daily: Daily, model: Model, held: Iterable[int]) -> None:
        if self._window is None or not self._window.reference.same(model.reference):
            self._window = Window(model.reference)
        self._window.keep(held)
        self._window.add(task, daily)
        shift, columns = self._window.shift(), drift.names(model.hypotheses)
        told = {columns[d]: float(shift.psi[d]) for d in shift.told.nonzero()[0]}
        why = drift.reason(columns, shift)
        self._figures.drift(told, self._window.rows, bool(why))
        self._tell(why, model)

    def _tell(self, why: str, model: Model) -> None:
        """Once for each set of signals: the figures move a little every day."""
        moved = ", ".join(sorted(part.split()[0] for part in why.split(", "))) if why else ""
        if moved and moved != self._said:
            log.warning("train a new model: behaviour has moved away from what this one knows", extra={"model": model.version, "psi": why})
        self._said = moved
