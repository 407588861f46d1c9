"""Daily records: what a task's log leaves behind of each day that ended, against what its events and their scores say."""

from __future__ import annotations

from collections.abc import Callable

import laws
import numpy as np
import pytest
import world
from mutation import mutate

from detector.core import tracking, views
from detector.core.daily import Daily
from detector.core.events import EventBatch
from detector.core.frame import DAY
from detector.core.pipeline import Pipeline
from detector.core.signals import accumulators
from detector.core.strings import hash_strings
from detector.core.views import EMPLOYEE

COLUMNS = {
    "joined", "score", "level", "repeat", "pair", "pair_share", "step", "step_share", "hour_share", "revoked_resource", "purpose_kind",
    "purpose_reach", "purpose_age",
}  # fmt: skip


def open_days(batch: EventBatch) -> np.ndarray:
    """For each event the latest day that the log has come to."""
    return np.maximum.accumulate(batch.time // DAY)


def played(batch: EventBatch) -> tuple[Pipeline, list[Daily], np.ndarray]:
    """The task, the records of all the days, and S of each event; NaN for one that is a repetition."""
    task, score = world.pipeline(), np.full(len(batch), np.nan)
    outcome = task.process(batch)
    for part in outcome.scores:
        score[part.row] = part.score
    last = task.turn(int(open_days(batch)[-1]) + 1)
    assert last is not None
    return task, [*outcome.daily, last], score


def joined_values(batch: EventBatch) -> np.ndarray:
    """(n, H) joined value of each hypothesis at each event; NaN for a repetition."""
    out = np.full((len(batch), len(world.model().hypotheses)), np.nan, np.float32)
    for seen in world.pipeline().tracker.observe(batch):
        out[seen.row] = world.model().rarities(seen.features.values).joined
    return out


def check_records(seed: int) -> int:
    """Returns how many employees' largest S of a day was at an event that came late."""
    batch = laws.story(seed)
    (task, ended, score), joined = played(batch), joined_values(batch)
    actor, day = hash_strings([row.actor for row in batch.rows]), open_days(batch)
    team = task.tracker.framer.frame(batch).team_key
    assert [d.day for d in ended] == sorted(set(day.tolist()))
    by_late_events = 0
    for d in ended:
        assert d.columns.keys() == COLUMNS and all(len(column) == len(d) for column in d.columns.values())
        fresh = (day == d.day) & ~np.isnan(score)
        in_time = fresh & (batch.time // DAY == d.day)
        assert sorted(d.key.tolist()) == sorted(set(actor[in_time].tolist())), "a record for each who was active"
        for i, key in enumerate(d.key):
            mine = fresh & (actor == key)
            assert d.column("score")[i] == np.float32(score[mine].max())
            assert d.column("joined")[i].tolist() == np.maximum(joined[mine].max(axis=0), 0).tolist()
            by_late_events += bool(score[mine & in_time].max() < score[mine].max())
            assert d.team[i] == team[(actor == key) & (day <= d.day) & (team != 0)][-1]
        check_state(batch.take(np.flatnonzero(day <= d.day)), d)
    return by_late_events


def check_state(before: EventBatch, d: Daily) -> None:
    """Records are of the state as the day's last event left it."""
    task = world.pipeline()
    task.process(before)
    keys = task.tracker.state.columns["key"]
    slots = np.array([int(np.flatnonzero(keys == key)[0]) for key in d.key], np.int32)
    assert (keys[slots] == d.key).all() and (np.diff(slots) > 0).all(), "in the order of the slots"
    for name, column in (("level", "day_level"), ("pair", "pair_key"), ("joined", "day_joined")):
        assert d.column(name).tobytes() == task.tracker.state.columns[column][slots].tobytes()
    expected = EMPLOYEE.daily(task.tracker.state, slots)
    assert laws.frozen(dict(d.columns)) == laws.frozen(expected)


def test_records_say_what_events_and_scores_of_the_day_said_and_late_events_count_in_the_open_one() -> None:
    assert sum(check_records(seed) for seed in (1, 2, 3, 4)) > 0


def check_turns() -> None:
    """A day turns once, for all tasks at the same time if they are told, and never back."""
    batch = laws.story(1)
    day = int(open_days(batch)[-1])
    task, other = world.pipeline(), world.pipeline()
    assert task.turn(day - 9) is None, "nobody was active"
    for one in (task, other):
        one.process(batch)
    before = laws.frozen(task.snapshot())
    assert task.turn(day) is None and task.turn(day - 1) is None and laws.frozen(task.snapshot()) == before
    ended = task.turn(day + 5)
    assert ended is not None and ended.day == day and task.turn(day + 5) is None and task.turn(day + 6) is None
    assert task.tracker.day == day + 6
    later = world.live().take(slice(-5, None))
    moved = EventBatch(later.topic, 0, later.offset + 10_000, later.broker_time, later.time % DAY + (day + 1) * DAY, later.rows)
    found = other.process(moved).daily
    assert [laws.as_bytes(d) for d in found] == [laws.as_bytes(ended)]


def test_a_day_turns_once_whoever_says_so() -> None:
    check_turns()


def test_a_day_on_which_nobody_was_active_leaves_no_records() -> None:
    task = world.pipeline()
    assert task.turn(20_000) is None and task.process(world.live().take(slice(0, 0))).daily == []
    assert accumulators.active(task.tracker.state, 20_000).tolist() == []


def test_a_run_ends_where_a_day_begins_or_what_is_usual_for_an_employee_changes() -> None:
    rows = [
        # employee, team, own day, open day, whether a new run begins here
        (1, 5, 7, 7, False), (2, 5, 6, 7, False), (1, 5, 7, 7, False), (2, 5, 7, 7, True), (2, 5, 6, 7, False), (1, 6, 7, 7, True),
        (1, 6, 8, 8, True), (2, 5, 8, 8, False), (2, 5, 8, 8, False), (1, 6, 7, 8, False), (2, 5, 7, 8, False), (1, 6, 8, 8, True),
    ]  # fmt: skip
    key, team, own, day, begins = (np.array(column) for column in zip(*rows, strict=True))
    assert tracking._cuts(key.astype(np.uint64), team.astype(np.uint64), own, day) == np.flatnonzero(begins).tolist()


def check_all() -> None:
    check_records(1)
    check_records(2)
    check_turns()


@pytest.mark.parametrize(
    ("module", "old", "new"),
    [
        (tracking, "        combination.turn(self.state)\n", ""),
        (tracking, "accumulators.active(self.state, self.day)", "accumulators.active(self.state, self.day)[1:]"),
        (tracking, "accumulators.active(self.state, self.day)", "accumulators.active(self.state, day)"),
        (tracking, 'Daily(self.day, c["key"][slots]', 'Daily(day, c["key"][slots]'),
        (tracking, 'c["key"][slots]', 'c["key"][: len(slots)]'),
        (tracking, 'c["level_team"][slots]', 'c["level_team"][: len(slots)]'),
        (tracking, "        self.day = day\n", ""),
        (tracking, "if day <= self.day:", "if day < self.day:"),
        (tracking, "if day <= self.day:", "if day == self.day:"),
        (tracking, "ended = self.turn(int(day[start]))", "ended = self.turn(int(day[-1]))"),
        (tracking, "slots[fresh], part, features, ended)", "slots[fresh], part, features, None)"),
        (views, "said = combination.daily(state, slots)", "said = {}"),
        (views, "family.daily(state, slots) if", "family.daily(state, slots[::-1]) if"),
        (accumulators, '(state.columns["level_day"] == day)', '(state.columns["level_day"] >= 0)'),
    ],
)  # fmt: skip
def test_a_change_is_noticed(module: object, old: str, new: str, monkeypatch: pytest.MonkeyPatch) -> None:
    check_all_once()
    mutate(monkeypatch, module, old, new)  # type: ignore[arg-type]
    with pytest.raises((AssertionError, IndexError, ValueError)):
        check_all()


def _once(check: Callable[[], None]) -> Callable[[], None]:
    done: list[bool] = []

    def again() -> None:
        if not done:
            check()
            done.append(True)

    return again


check_all_once = _once(check_all)
