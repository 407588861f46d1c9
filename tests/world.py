"""A small world for tests: a company of 60 with an incident, its decoded events, a model of its first ten days. Each is made once a run."""

from __future__ import annotations

import hashlib
from functools import cache

import numpy as np

from detector import training
from detector.core import hypotheses
from detector.core.context import Context
from detector.core.events import EventBatch, Records
from detector.core.formats.native import Limits, decode
from detector.core.frame import DAY
from detector.core.model import Model
from detector.core.pipeline import Pipeline, Policy
from detector.core.views import EMPLOYEE
from detector.files import context_of
from detector.sandbox.company import Company, Day

END = 1_790_000_000_000  # a Monday afternoon, 2026-09-21
DAYS, LIVE_DAYS = 12, 3
LIVE = END - LIVE_DAYS * DAY
"""Ms; the model was trained on what happened before."""
TOPIC = "access-events"
BUDGET = 100.0
"""Per 1,000 employee-days: so many that a small company has alerts to compare."""


@cache
def company() -> Company:
    made = Company(60, 3, end=END)
    made.plant("story", END - DAY)
    return made


@cache
def context() -> Context:
    return context_of(company().context_files())


def as_records(day: Day, first: int) -> Records:
    """A day of the company as records of partition 0, offsets from `first` on."""
    lengths = np.array([(len(key), len(value)) for key, value in zip(day.keys, day.values, strict=True)]).reshape(-1)
    ends = np.cumsum(lengths)
    spans = np.stack([ends - lengths, ends], axis=1).reshape(-1, 2, 2)
    data = b"".join(part for pair in zip(day.keys, day.values, strict=True) for part in pair)
    offset, none = np.arange(len(day)) + first, np.full((len(day), 2), -1)
    return Records(TOPIC, 0, data, offset, day.arrival, spans[:, 0], spans[:, 1], none, np.zeros(len(day), np.bool_))


@cache
def batches() -> tuple[EventBatch, ...]:
    """All events, a batch a day, as one partition's log."""
    made: list[EventBatch] = []
    first = 0
    for day in company().days(END - DAYS * DAY, END):
        made.append(decode(as_records(day, first), Limits()))
        first += len(day)
    return tuple(made)


@cache
def history() -> EventBatch:
    """The same as one batch."""
    return joined(*batches())


@cache
def live() -> EventBatch:
    """The last 3,000 events; the story is among them."""
    return history().take(slice(len(history()) - 3000, None))


def joined(*parts: EventBatch) -> EventBatch:
    columns = (np.concatenate([getattr(part, name) for part in parts]) for name in ("offset", "broker_time", "time"))
    return EventBatch(TOPIC, 0, *columns, [row for part in parts for row in part.rows])


@cache
def trained() -> tuple[Model, training.Report]:
    return training.train(batches(), EMPLOYEE, hypotheses.names(), context(), LIVE, 7, 1000)


def model() -> Model:
    return trained()[0]


def model_hash() -> str:
    """Of all that the model has learned."""
    return hashlib.sha256(b"".join(array.tobytes() for array in model().to_arrays()[0].values())).hexdigest()


def pipeline(max_keys: int = 1000, budget: float = BUDGET) -> Pipeline:
    """A new task that knows the model and has seen nothing."""
    return Pipeline(EMPLOYEE, model(), context(), Policy(budget), max_keys)
