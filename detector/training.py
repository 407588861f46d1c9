"""Training: recorded events -> Model. It runs the live state code over them, day by day, so that every feature comes from its past alone.

Each day is compared with what the company and its teams did on the days before; at each day's turn that is learned anew from the daily
records, as the nightly refresh does. The newest part of the history is held out: it calibrates the rarities, and nothing else is learned
from it but the baselines that the model starts with.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib import metadata
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from detector import __version__
from detector.core import hypotheses as catalogue
from detector.core.baselines import Baselines, learn
from detector.core.context import Context
from detector.core.daily import Daily, recent
from detector.core.events import EventBatch
from detector.core.fitting import Collected, fit
from detector.core.frame import DAY
from detector.core.model import FORMAT, GOLDEN, Model, signals_of
from detector.core.signals import accumulators, explanation
from detector.core.tracking import Observed, Tracker
from detector.core.views import View
from detector.errors import ModelError

HELD_SHARE = 0.3
LEARNING_SHARE = 1 / 3
"""Of the history: so much is needed before anything is usual, and is neither scored nor learned from."""
LEAST_DAYS = 6
LEAST_REASONS = 0.01
"""Share of accesses to people's data that have a reason, from which on one without a reason is worth asking about."""


@dataclass(slots=True)
class Report:
    """What a training saw."""

    events: int = 0
    repeated: int = 0
    employees: int = 0
    first: int = np.iinfo(np.int64).max
    last: int = 0
    held_from: int = 0
    on_people: int = 0
    """Accesses to a person's data."""
    with_reason: int = 0
    """Those of them with a purpose, or to somebody assigned."""
    off: tuple[str, ...] = ()
    """Hypotheses that the history has nothing to say about."""


def train(
    batches: Iterable[EventBatch],
    view: View,
    hypotheses: Sequence[str],
    context: Context,
    until: int | None,
    seed: int,
    max_keys: int,
) -> tuple[Model, Report]:
    """A model from events before `until` (ms; None: all). Raises ModelError where the history is too short to learn from."""
    on = tuple(catalogue.find(name) for name in hypotheses)
    lesson = _Lesson(view, on, context, max_keys)
    for batch in batches:
        lesson.take(batch if until is None else batch.take(np.flatnonzero(batch.time < until)))
    report = lesson.report
    days = (report.last - report.first) / DAY if report.events else 0
    if days < LEAST_DAYS:
        raise ModelError(f"the history spans {days:.1f} days, too few to learn from: give at least {LEAST_DAYS}, better 28 or more")
    report.held_from = (report.last - round(HELD_SHARE * (report.last - report.first))) // DAY * DAY
    report.repeated, report.employees = lesson.tracker.repeated, len(lesson.tracker.state)
    report.off = tuple(h.name for h in on if h.needs_reasons and report.with_reason < LEAST_REASONS * report.on_people)
    kept = tuple(h for h in on if h.name not in report.off)
    if report.off and not kept:
        raise ModelError(f"{', '.join(report.off)}: the history never says why somebody's data was opened; add another hypothesis")
    model = fit(view.name, view.names, kept, lesson.learned(), lesson.collected(signals_of(kept)), report.held_from, seed)
    return model, report


def artefact(model: Model, report: Report, seed: int) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """Arrays and manifest for a registry. Neither holds the time of day: the same history and seed give the same bytes."""
    arrays, said = model.to_arrays()
    libraries = {name: metadata.version(name) for name in ("numpy", "scikit-learn", "numba")}
    trained = {
        "events": report.events, "repeated": report.repeated, "employees": report.employees, "first": report.first, "last": report.last,
        "held_from": report.held_from, "seed": seed,
    }  # fmt: skip
    return arrays, {"format": FORMAT, "views": {model.view: said}, "training": trained, "libraries": libraries, "detector": __version__}


class _Part(NamedTuple):
    """Features of a run of events, kept until it is known which part of the history they belong to."""

    day: int
    """The day that was open when they came."""
    key: NDArray[np.int64]
    time: NDArray[np.int64]
    values: NDArray[np.float32]


class _Lesson:
    """The one pass over history: features of each day against baselines learned from the days before."""

    def __init__(self, view: View, hypotheses: Sequence[catalogue.Hypothesis], context: Context, max_keys: int) -> None:
        self.tracker = Tracker(view, context, Baselines.blank(accumulators.K), len(hypotheses), max_keys)
        self.report = Report()
        self._signals = signals_of(hypotheses)
        self._days: list[Daily] = []
        self._first_day = -1
        self._kept: deque[_Part] = deque()
        self._golden: deque[NDArray[np.float32]] = deque(maxlen=GOLDEN)

    def take(self, batch: EventBatch) -> None:
        """Batches are cut where the log comes to a new day: from there on, its events are compared with what the days before were like."""
        if not len(batch):
            return
        report, time = self.report, batch.time
        report.events += len(batch)
        report.first, report.last = min(report.first, int(time.min())), max(report.last, int(time.max()))
        day = np.maximum.accumulate(np.maximum(time // DAY, self.tracker.day))
        self._first_day = int(day[0]) if self._first_day < 0 else self._first_day
        for some in np.split(np.arange(len(batch)), np.flatnonzero(np.diff(day)) + 1):
            self._turn(int(day[some[0]]))
            for seen in self.tracker.observe(batch.take(slice(int(some[0]), int(some[-1]) + 1))):
                self._collect(seen)

    def learned(self) -> Baselines:
        """The baselines as of the end: the day that is open counts."""
        self._turn(self.tracker.day + 1)
        return self.tracker.baselines

    def collected(self, signals: Sequence[str]) -> Collected:
        """What is kept, of these signals."""
        key, time, values = (np.concatenate(column) for column in zip(*((p.key, p.time, p.values) for p in self._kept), strict=True))
        chosen = values[:, [self._signals.index(s) for s in signals]]
        return Collected(key, time, chosen, np.array(self._golden, np.float32).reshape(-1, len(self.tracker.view.names)))

    def _turn(self, day: int) -> None:
        ended = self.tracker.turn(day)
        if ended is not None:
            self._days = recent([*self._days, ended])
            self.tracker.adopt(learn(self._days, accumulators.K))
        while self._kept and self._kept[0].day - self._first_day < round(LEARNING_SHARE * (day - self._first_day)):
            self._kept.popleft()

    def _collect(self, seen: Observed) -> None:
        values, w = seen.features.values, seen.features.column("w")
        self._kept.append(
            _Part(self.tracker.day, seen.slots.astype(np.int64), seen.frame.time, values[:, seen.features.index(self._signals)])
        )
        self._golden.extend(values[seen.features.column("harvest") > 0][-GOLDEN:])
        on_people = seen.frame.on_person()
        self.report.on_people += int(on_people.sum())
        self.report.with_reason += int((on_people & ((seen.frame.purpose != 0) | (w < 2 * explanation.W_ASSIGNED))).sum())
