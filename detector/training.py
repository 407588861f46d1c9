"""Training: recorded events -> Model. It runs the live state code over them, day by day, so that every feature comes from its past alone.

Each day is compared with what the company and its teams did on the days before; at each day's turn that is learned anew from the daily
records, as the nightly refresh does. The newest part of the history is held out: it calibrates the rarities, and nothing else is learned
from it but the baselines that the model starts with. Employees are shared out among shards (see `shards`); what is learned does not depend
on how many there are, to the last bit: records of a day are put in order of employees, and what is kept is chosen by what it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from importlib import metadata
from itertools import pairwise
from operator import add
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detector import __version__
from detector.core import hypotheses as catalogue
from detector.core.baselines import Baselines
from detector.core.collecting import Bars
from detector.core.context import Context
from detector.core.daily import stacked
from detector.core.drift import Reference
from detector.core.events import EventBatch, Records
from detector.core.fitting import Maxima, fit_forest, fit_joined, fit_signals, fit_total, golden_vectors
from detector.core.frame import DAY
from detector.core.hypotheses import Hypothesis
from detector.core.model import FORMAT, Model, signals_of
from detector.core.reweighting import explained, factors, settled
from detector.core.routing import Router
from detector.core.signals import accumulators
from detector.core.verdicts import Case
from detector.core.views import View
from detector.core.window import Window
from detector.errors import ModelError
from detector.shards import Crew, Here, Seen, Task, Turned

HELD_SHARE = 0.3
LEARNING_SHARE = 1 / 3
"""Of the history: so much is needed before anything is usual, and is neither scored nor learned from."""
LEAST_DAYS = 6
LEAST_REASONS = 0.01
"""Share of accesses to people's data that have a reason, from which on one without a reason is worth asking about."""

Log = Iterable[tuple[int, Sequence[Records | EventBatch]]]
"""Runs of a history, each with the day that the log had come to, and cut into a part for each shard."""


@dataclass(slots=True)
class Report(Seen):
    """What a training saw."""

    held_from: int = 0
    off: tuple[str, ...] = ()
    """Hypotheses that the history has nothing to say about."""
    weights: tuple[str, ...] = ()
    """Why each hypothesis is weighed as it is, where there are verdicts."""


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
    task = Task(view, tuple(hypotheses), context, until=until, seed=seed, max_keys=max_keys)
    return lesson(by_day(batches, until), Here(task), task)


def train_records(log: Iterable[Records], task: Task, crew: Crew, shards: int, cases: Sequence[Case] = ()) -> tuple[Model, Report]:
    """The same from records, by a crew of so many shards."""
    return lesson(Router(shards, task.limits, task.begin, task.until).route(log), crew, task, cases)


def by_day(batches: Iterable[EventBatch], until: int | None = None) -> Iterator[tuple[int, list[EventBatch]]]:
    """Batches cut where the log comes to a new day: from there on, events are compared with what the days before were like."""
    latest = -1
    for whole in batches:
        batch = whole if until is None else whole.take(np.flatnonzero(whole.time < until))
        if not len(batch):
            continue
        day = np.maximum.accumulate(np.maximum(batch.time // DAY, latest))
        latest = int(day[-1])
        for start, stop in pairwise([0, *(np.flatnonzero(np.diff(day)) + 1).tolist(), len(batch)]):
            yield int(day[start]), [batch.take(slice(start, stop))]


def lesson(log: Log, crew: Crew, task: Task, cases: Sequence[Case] = ()) -> tuple[Model, Report]:
    """A model from a log that is cut into days and shards, its hypotheses weighed by verdicts. Raises ModelError where the history is too
    short to learn from."""
    calendar = _Calendar(crew)
    for day, parts in log:
        calendar.turn(day)
        crew.take(parts)
    calendar.end()
    said = crew.each("summary")
    report = _report(reduce(add, (seen for seen, _ in said)), calendar)
    on = [catalogue.find(name) for name in task.hypotheses]
    report.off = tuple(h.name for h in on if h.needs_reasons and report.with_reason < LEAST_REASONS * report.on_people)
    kept = tuple(h for h in on if h.name not in report.off)
    if report.off and not kept:
        raise ModelError(f"{', '.join(report.off)}: the history never says why somebody's data was opened; add another hypothesis")
    golden = golden_vectors([vectors for _, vectors in said], len(task.view.names))
    weighed = _fitted(crew, task, kept, calendar, report.held_from, golden)
    model = weighed(np.ones(len(kept)))
    if cases:
        model = settled(model, factors(cases, [h.name for h in kept]), weighed)
        report.weights = tuple(explained(model, cases))
    return model, report


def artefact(model: Model, report: Report, seed: int) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """Arrays and manifest for a registry. Neither holds the time of day: the same history and seed give the same bytes."""
    arrays, said = model.to_arrays()
    trained: dict[str, Any] = {
        "events": report.events, "repeated": report.repeated, "employees": report.employees, "first": report.first, "last": report.last,
        "held_from": report.held_from, "seed": seed,
    }  # fmt: skip
    trained |= {"weights": list(report.weights)} if report.weights else {}
    return arrays, {"format": FORMAT, "views": {model.view: said}, "training": trained, **made_with()}


def made_with() -> dict[str, Any]:
    """What a manifest says of the program."""
    return {"libraries": {name: metadata.version(name) for name in ("numpy", "scikit-learn", "numba")}, "detector": __version__}


class _Calendar:
    """The days of a lesson: at each turn, what all shards say of the day that is over becomes what the next is compared with."""

    def __init__(self, crew: Crew) -> None:
        self.baselines = Baselines.blank(accumulators.K)
        self.window = Window()
        self.first = self._day = -1
        self._crew, self._bars = crew, Bars()

    def turn(self, day: int) -> None:
        if day <= self._day:
            return
        turned: list[Turned] = self._crew.each("turn", day)
        self.first, self._day = day if self.first < 0 else self.first, day
        if ended := [t.ended for t in turned if t.ended is not None and len(t.ended)]:
            self.window.add(ended)
            self.baselines = self.window.learn()
        learning = round(LEARNING_SHARE * (day - self.first))
        bars = self._bars.lowered(sum(t.held for t in turned), sum(t.sampled for t in turned))
        self._bars = bars._replace(first_day=self.first + learning, held_from=self.held_from(max(t.last for t in turned)))
        self._crew.each("adopt", self.baselines, self._bars)

    def end(self) -> None:
        """All is seen: the day that is open counts."""
        self.turn(self._day + 1)

    def held_from(self, last: int) -> int:
        """Where the held-out part begins, in ms, of a history whose latest event is at `last`."""
        begun = self.first * DAY
        return max(last - round(HELD_SHARE * (last - begun)), begun) // DAY * DAY


def _report(seen: Seen, calendar: _Calendar) -> Report:
    days = (seen.last - seen.first) / DAY if seen.events else 0
    if days < LEAST_DAYS:
        raise ModelError(f"the history spans {days:.1f} days, too few to learn from: give at least {LEAST_DAYS}, better 28 or more")
    return Report(**{name: getattr(seen, name) for name in Seen.__dataclass_fields__}, held_from=calendar.held_from(seen.last))


def _fitted(
    crew: Crew, task: Task, hypotheses: tuple[Hypothesis, ...], calendar: _Calendar, held_from: int, golden: NDArray[np.float32]
) -> Callable[[NDArray[np.float64]], Model]:
    """Makes a model with weights as said: all of it is fitted already but what is said of S."""
    names, signals = [h.name for h in hypotheses], signals_of(hypotheses)
    held_out = crew.each("hold_out", names, held_from)
    late = [d for d in calendar.window.days if d.day >= held_from // DAY]
    if not late or not any(len(maxima.key) for maxima, _ in held_out) or not any(len(priority) for _, (priority, _) in held_out):
        raise ModelError("nothing is left to learn from, before the held-out days or on them; exclude less, or give a longer history")
    signal_tails = fit_signals([maxima for maxima, _ in held_out])
    forest = fit_forest([some for _, some in held_out], signal_tails, signals, task.seed)
    joined = Maxima.of(crew.each("joined", signal_tails, forest))
    joined_tails = fit_joined([joined])
    levels = stacked(late, "level"), np.repeat([d.day for d in late], [len(d) for d in late])

    def weighed(weights: NDArray[np.float64]) -> Model:
        scores = Maxima.of(crew.each("scores", joined_tails, weights))
        reference = Reference.of([levels, (joined.values, joined.day), (scores.values, scores.day)])
        return Model(
            task.view.name, task.view.names, hypotheses, calendar.baselines, signal_tails, forest, joined_tails, fit_total([scores]),
            golden, reference, weights,
        )  # fmt: skip

    return weighed
