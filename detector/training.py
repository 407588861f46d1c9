"""Training: recorded events -> Model. It runs the live state code over them, day by day, so that every feature comes from its past alone.

Each day is compared with what the company and its teams did on the days before; at each day's turn that is learned anew. The newest part
of the history is held out: it calibrates the rarities, and nothing else is learned from it but the baselines that the model starts with.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib import metadata
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detector import __version__
from detector.core import hypotheses as catalogue
from detector.core.baselines import COMPANY, MAX_PAIRS, Baselines, learn
from detector.core.calibration import day_maxima
from detector.core.context import Context
from detector.core.events import ACTIONS, EventBatch
from detector.core.fitting import Collected, fit
from detector.core.frame import DAY
from detector.core.model import FORMAT, GOLDEN, Model, signals_of
from detector.core.signals import accumulators
from detector.core.strings import hash_strings
from detector.core.tracking import Observed, Tracker
from detector.core.views import View
from detector.errors import ModelError

HELD_SHARE = 0.3
LEAST_DAYS = 6
LEVEL_DAYS = 28
LEAST_SEEN = 3  # a pair is vocabulary from this many events on


@dataclass(slots=True)
class Report:
    """What a training saw."""

    events: int = 0
    repeated: int = 0
    employees: int = 0
    first: int = 0
    last: int = 0
    held_from: int = 0


def train(
    batches: Callable[[], Iterable[EventBatch]],
    view: View,
    hypotheses: Sequence[str],
    context: Context,
    until: int | None,
    seed: int,
    max_keys: int,
) -> tuple[Model, Report]:
    """A model from events before `until` (ms; None: all). `batches` is called twice: once to count, once to learn.

    Raises ModelError where the history is too short to learn from.
    """
    on = tuple(catalogue.find(name) for name in hypotheses)
    pairs, report = _count(_before(batches(), until))
    lesson = _Lesson(view, on, context, pairs, report.first + (report.last - report.first) // 3, max_keys)
    for batch in _before(batches(), until):
        lesson.take(batch)
    report.repeated, report.employees = lesson.tracker.repeated, len(lesson.tracker.state)
    model = fit(view.name, view.names, on, lesson.learned(), lesson.collected(), report.held_from, seed)
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


def _before(batches: Iterable[EventBatch], until: int | None) -> Iterator[EventBatch]:
    for batch in batches:
        yield batch if until is None else batch.take(np.flatnonzero(batch.time < until))


def _count(batches: Iterable[EventBatch]) -> tuple[tuple[tuple[str, int], ...], Report]:
    """The vocabulary, from the days that are not held out, and the extent of the history."""
    seen: Counter[tuple[int, str, int]] = Counter()
    report = Report(first=np.iinfo(np.int64).max)
    for batch in batches:
        if not len(batch):
            continue
        resource, action, day = batch.strings("resource"), batch.numbers("action"), batch.time // DAY
        rows, counts = np.unique(np.stack([day, resource.codes, action]), axis=1, return_counts=True)
        for (d, r, a), n in zip(rows.T.tolist(), counts.tolist(), strict=True):
            seen[d, resource.values[r], a] += n
        report.events += len(batch)
        report.first, report.last = min(report.first, int(np.min(batch.time))), max(report.last, int(np.max(batch.time)))
    days = (report.last - report.first) / DAY if report.events else 0
    if days < LEAST_DAYS:
        raise ModelError(f"the history spans {days:.1f} days, too few to learn from: give at least {LEAST_DAYS}, better 28 or more")
    report.held_from = (report.last - round(HELD_SHARE * (report.last - report.first))) // DAY * DAY
    totals: Counter[tuple[str, int]] = Counter()
    for (d, r, a), n in seen.items():
        if d * DAY < report.held_from and ACTIONS[a] not in ("assign", "unassign"):
            totals[r, a] += n
    ranked = sorted(totals.items(), key=lambda item: (-item[1], item[0]))
    return tuple(pair for pair, n in ranked[:MAX_PAIRS] if n >= LEAST_SEEN), report


class _Lesson:
    """The one pass over history: features of each day against baselines learned from the days before."""

    def __init__(
        self,
        view: View,
        hypotheses: Sequence[catalogue.Hypothesis],
        context: Context,
        pairs: Sequence[tuple[str, int]],
        collect_from: int,
        max_keys: int,
    ) -> None:
        self.tracker = Tracker(view, context, Baselines.blank(pairs, accumulators.K), len(hypotheses), max_keys)
        self._signals = [view.names.index(s) for s in signals_of(tuple(hypotheses))]
        self._levels = [view.names.index(f"{name}.level") for name in accumulators.NAMES]
        self._collect_from, self._day = collect_from, -1
        self._today: list[tuple[NDArray[np.int32], NDArray[np.float32]]] = []
        self._days: deque[tuple[list[str], NDArray[np.float64]]] = deque(maxlen=LEVEL_DAYS)
        self._team = {0: COMPANY}
        self._parts: list[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]] = []
        self._golden: deque[NDArray[np.float32]] = deque(maxlen=GOLDEN)

    def take(self, batch: EventBatch) -> None:
        """Batches are cut where the largest time so far enters a new day."""
        if not len(batch):
            return
        names = (*batch.strings("actor_team").values, *self._teams_of_directory())
        self._team.update(zip(hash_strings(names).tolist(), names, strict=True))
        day = np.maximum.accumulate(np.maximum(batch.time // DAY, self._day))
        cuts = [0, *(np.flatnonzero(np.diff(day)) + 1).tolist(), len(batch)]
        for start, stop in pairwise(cuts):
            if day[start] > self._day:
                self._turn()
                self._day = int(day[start])
            for seen in self.tracker.observe(batch.take(slice(start, stop))):
                self._collect(seen)

    def learned(self) -> Baselines:
        """The baselines as of now."""
        c = self.tracker.state.columns
        used = np.flatnonzero(c["key"])
        vocabulary = len(self.tracker.baselines.pairs) + 1
        teams = [self._team.get(t, COMPANY) for t in c["level_team"][used].tolist()]
        day_teams = [team for names, _ in self._days for team in names]
        levels = np.concatenate([np.zeros((0, accumulators.K)), *(levels for _, levels in self._days)])
        pair_counts = c["pair_count"][used][:, :vocabulary].astype(np.float64)
        return learn(self.tracker.baselines.pairs, teams, pair_counts, c["hour_count"][used].astype(np.float64), day_teams, levels)

    def collected(self) -> Collected:
        key, time, values = (np.concatenate(part) for part in zip(*self._parts, strict=True))
        return Collected(key, time, values, np.array(self._golden, np.float32).reshape(-1, len(self.tracker.view.names)))

    def _teams_of_directory(self) -> tuple[str, ...]:
        if len(self._team) > 1:
            return ()
        context = self.tracker.context
        return tuple({context.team(name, day) or COMPANY for name, e in context.employees.items() for day, *_ in e.posts})

    def _turn(self) -> None:
        """A day has ended: its maxima become part of what is usual."""
        if not self._today:
            return
        slots, levels = (np.concatenate(part) for part in zip(*self._today, strict=True))
        keys, _, maxima = day_maxima(slots.astype(np.int64), np.zeros(len(slots), np.int64), levels)
        teams = self.tracker.state.columns["level_team"][keys].tolist()
        self._days.append(([self._team.get(t, COMPANY) for t in teams], maxima.astype(np.float64)))
        self._today.clear()
        self.tracker.adopt(self.learned())

    def _collect(self, seen: Observed) -> None:
        values = seen.features.values
        self._today.append((seen.slots, values[:, self._levels]))
        late = seen.frame.time >= self._collect_from
        self._parts.append((seen.slots[late].astype(np.int64), seen.frame.time[late], values[late][:, self._signals]))
        self._golden.extend(values[seen.features.column("harvest") > 0][-GOLDEN:])
