"""What a batch leaves to be counted: what was over the threshold and raised no alert, canaries that were looked at, stages."""

from __future__ import annotations

import hmac
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import world
from laws import play, story
from msgspec.structs import replace
from mutation import mutate

from detector.core import pipeline
from detector.core.context import Context
from detector.core.events import EventBatch
from detector.core.frame import DAY
from detector.core.framing import Canaries, Framer, canaries
from detector.core.pipeline import Outcome, Pipeline, Policy
from detector.core.views import EMPLOYEE

BUDGET = 100.0


def task(starts: int = 0) -> Pipeline:
    return Pipeline(EMPLOYEE, world.model(), world.context(), Policy(BUDGET, starts), 1000)


def over(batch: EventBatch, outcome: Outcome, starts: int) -> int:
    """How many events are over the threshold of a budget of 100, from all scores."""
    return sum(int(((scores.rarity >= 1.0) & (batch.time[scores.row] >= starts)).sum()) for scores in outcome.scores)


def check_suppressed(module: Any = pipeline, cuts: tuple[int, ...] = ()) -> None:
    batch = story(1)
    for first in (0, 300):
        one = task(int(batch.time[first]) if first else 0)
        parts = play(one, batch, list(cuts))
        edges = [0, *cuts, len(batch)]
        pieces = [batch.take(slice(a, b)) for a, b in pairwise(edges)]
        expected = sum(over(piece, outcome, one.policy.starts) for piece, outcome in zip(pieces, parts, strict=True))
        alerts = sum(len(outcome.alerts) for outcome in parts)
        assert 0 < alerts < expected
        assert sum(outcome.suppressed for outcome in parts) == expected - alerts


def test_what_is_over_the_threshold_is_an_alert_or_counted_as_part_of_one_that_was_told() -> None:
    check_suppressed()
    check_suppressed(cuts=(100, 101, 350))


def test_that_count_bites(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(AssertionError):
        mutate(monkeypatch, pipeline, "outcome.suppressed += 1", "outcome.suppressed += 2")
        check_suppressed()


def looked_at(subjects: list[str | None], context: Context) -> int:
    batch = story(1).take(slice(len(subjects)))
    rows = [replace(row, subject=subject) for row, subject in zip(batch.rows, subjects, strict=True)]
    made = EventBatch(batch.topic, 0, batch.offset, batch.broker_time, np.arange(len(rows)) * 1000 + 5000, rows)
    return Canaries(context).seen(made)


def by_hash(name: str) -> str:
    return "hmac:" + hmac.digest(b"key", name.encode(), "sha256").hex()


CONTEXTS: dict[str, Callable[[], Context]] = {
    "by name": lambda: Context(protected={"u1": "canary", "u2": "journalist"}),
    "by hash": lambda: Context(protected={by_hash("u1"): "canary", by_hash("u2"): "journalist"}, key=b"key"),
}


@pytest.mark.parametrize("how", CONTEXTS)
def test_a_canary_is_seen_when_it_was_looked_at_last(how: str) -> None:
    context = CONTEXTS[how]()
    assert looked_at(["u3", "u1", None, "u2", "u1", "u4", "u2"], context) == 5000 + 4000
    assert looked_at(["u3", None, "u2"], context) == -1


def test_without_the_key_of_its_hash_a_canary_is_not_seen() -> None:
    assert looked_at(["u1"], Context(protected={by_hash("u1"): "canary"})) == -1


def test_a_task_tells_of_its_canaries() -> None:
    batch = story(1)
    subject = next(row.subject for row in batch.rows if row.subject)
    named = Context(protected={subject: canaries.CANARY})
    one = Pipeline(EMPLOYEE, world.model(), named, Policy(BUDGET), 1000)
    last = max(int(time) for row, time in zip(batch.rows, batch.time, strict=True) if row.subject == subject)
    assert one.process(batch).canary == last
    assert task().process(batch).canary == -1


def test_a_task_that_goes_over_to_another_context_goes_over_to_its_canaries() -> None:
    batch, one = story(1), task()
    subject = next(row.subject for row in batch.rows if row.subject)
    one.adopt(one.model, Framer(Context(protected={subject: canaries.CANARY}), one.model.baselines))
    assert one.process(batch).canary > 0


@pytest.mark.parametrize("hours", [0, 1, 30])
def test_days_that_began_before_alerts_did_are_not_counted_for_the_budget(hours: int) -> None:
    batch = story(1)
    starts = (int(batch.time[len(batch) // 2]) // DAY) * DAY + hours * 3_600_000
    outcome = task(starts).process(batch)
    expected = sum(len(daily) for daily in outcome.daily if daily.day * DAY >= starts)
    assert 0 < outcome.employee_days == expected < sum(map(len, outcome.daily))
    assert task().process(batch).employee_days == sum(map(len, outcome.daily))


def test_stages_are_told_in_turn_and_change_nothing() -> None:
    told: list[str] = []
    batch, one = story(1), task()
    outcome = one.process(batch, told.append)
    assert told == ["signals", "score"] * len(outcome.scores)
    assert [value for _, value in outcome.alerts] == [value for _, value in task().process(batch).alerts]
