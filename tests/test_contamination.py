"""A history with misuse in it moves what is alerted by little: nobody may have to know what they are looking for before they train."""

from __future__ import annotations

from collections.abc import Sequence

import world

from detector import training
from detector.core import hypotheses
from detector.core.calibration import least_value, threshold
from detector.core.events import Records
from detector.core.exclusions import Exclusions, Span
from detector.core.frame import DAY
from detector.core.views import EMPLOYEE
from detector.files import context_of
from detector.sandbox.company import Company
from detector.shards import Here, Task

FACTOR = 1.15
"""By which the score from which on an employee-day is alerted may move, either way."""
BUDGETS = (1.0, 3.0, 10.0)
INCIDENTS = (("story", 12.3), ("bulk-export", 14.4), ("bulk-export", 22.4), ("bulk-export", 24.4))
"""Campaigns, and the day of the history on which each begins: two in the forest's part, two in the part that calibrates."""


def company(employees: int, days: int, incidents: Sequence[tuple[str, float]]) -> Company:
    made = Company(employees, 5, end=world.END)
    for name, day in incidents:
        made.plant(name, world.END - round((days - day) * DAY))
    return made


def thresholds(made: Company, days: int, excluded: Sequence[str] = ()) -> list[float]:
    spans = Exclusions.of(Span(name) for name in excluded)
    task = Task(EMPLOYEE, tuple(hypotheses.names()), context_of(made.context_files()), excluded=spans, max_keys=1000)
    log = (Records.of(day.values) for day in made.days(world.END - days * DAY, world.END))
    model, _ = training.train_records(log, task, Here(task), 1)
    return [float(least_value(model.total_tails, threshold(budget))) for budget in BUDGETS]


def test_campaigns_in_the_training_part_move_thresholds_by_little() -> None:
    """Six of 300 employees are up to something in the four weeks that are learned from."""
    dirty = company(300, 28, INCIDENTS)
    assert len({actor for planted in dirty.planted for actor in planted.actors}) == 6
    clean = thresholds(company(300, 28, ()), 28)
    found = thresholds(dirty, 28)
    assert found != clean and all(1 / FACTOR < after / before < FACTOR for before, after in zip(clean, found, strict=True)), (clean, found)


def test_those_excluded_do_not_move_them_at_all() -> None:
    dirty = company(80, 9, (("bulk-export", 4.4), ("bulk-export", 7.4)))
    guilty = [actor for planted in dirty.planted for actor in planted.actors]
    assert thresholds(dirty, 9, guilty) == thresholds(company(80, 9, ()), 9, guilty) != thresholds(dirty, 9)
