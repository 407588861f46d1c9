"""When snapshots are made, what of, and where the copy lies."""

from __future__ import annotations

import math
import time
from typing import Any

import numpy as np
import pytest
from lives import done, found, taken
from simulation import PLAN

from detector import checkpoints
from detector.checkpoints import Checkpoints
from detector.delivery import Delivery
from detector.tasks import NOTHING, Saved, Task

NOW = 1e12
"""Later than anything is due."""


def a_task(partition: int = 0, new: int = 10) -> Task:
    """A live one, whose newest snapshot has not seen the last `new` events."""
    task = taken(found(), done())
    task.partition, task.saved = partition, Saved(7, 1, task.position - new)
    return task


def save(made: Checkpoints, task: Task, seconds: float = 0.0) -> None:
    """A snapshot of it, each transaction of which takes so long."""
    made.begin([task], NOW, lambda partition: 0)
    assert made.of(task)
    while made.under_way:
        delivery = Delivery()
        delivery.end(task, PLAN)
        made.add(delivery, PLAN)
        made.delivered(5, seconds)


def test_room_is_made_a_little_at_a_time_and_kept() -> None:
    room, size = checkpoints._Room(), 3 * checkpoints.PIECE
    assert not room.ready(size, 0.0) and not room.ready(size, 0.0)
    assert room.ready(size, math.inf) and len(room.memory) >= size
    before = room.memory
    assert room.ready(size // 2, 0.0) and room.ready(size, 0.0) and room.memory is before
    assert not room.ready(2 * size, 0.0) and room.ready(2 * size, math.inf) and len(room.memory) >= 2 * size


def test_nothing_is_copied_before_there_is_room_and_what_is_copied_is_of_one_offset(monkeypatch: pytest.MonkeyPatch) -> None:
    made, task = Checkpoints(0.0, "as ever"), a_task()
    monkeypatch.setattr(checkpoints, "TOUCH", 0.0)
    made.begin([task], NOW, lambda partition: 0)
    assert not made.under_way
    monkeypatch.setattr(checkpoints, "TOUCH", 60.0)
    task.position += 3
    made.begin([task], NOW, lambda partition: 0)
    assert made.of(task) and made._under_way is not None and made._under_way.snapshot.offset == task.position
    assert all(np.shares_memory(made._room.memory, array) for array in made._under_way.snapshot._columns.values() if array.size)


def test_snapshots_take_a_share_of_the_time_of_the_process_however_many_tasks_it_has() -> None:
    made, one, other = Checkpoints(0.0, "as ever"), a_task(0), a_task(1)
    save(made, one, 2.0)
    one.position, spent = one.position + 1, 2.0
    now = time.monotonic()
    for task in (one, other):
        assert not made.wanted(task, now + spent / checkpoints.SHARE - 1.0)
        assert made.wanted(task, NOW)


def test_the_one_that_is_due_longest_comes_first() -> None:
    made, tasks = Checkpoints(0.0, "as ever"), [a_task(0), a_task(1), a_task(2)]
    made._due = {0: 5.0, 1: 1.0, 2: 3.0}
    made.begin(tasks, NOW, lambda partition: 0)
    assert made.of(tasks[1])


def test_at_the_end_a_large_state_is_saved_only_where_a_replay_would_take_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    made, task = Checkpoints(600.0, "as ever"), a_task(new=10)
    size = task.pipeline.tracker.state.snapshot_bytes()
    assert made.wanted(task) and not made.wanted(task, time.monotonic())
    monkeypatch.setattr(checkpoints, "WRITTEN", size / 2.0)  # two seconds
    assert not made.wanted(task)
    monkeypatch.setattr(checkpoints, "REPLAYED", 10 / 3.0)  # three
    assert made.wanted(task)


@pytest.mark.parametrize(
    "change", [{"saved": Saved(7, 1, 10**9)}, {"committed": None}, {"live_from": 10**9}], ids=["nothing new", "not committed", "restoring"]
)
def test_at_no_time_is_there_a_snapshot_of_a_state_that_is_not_new_or_not_known(change: dict[str, Any]) -> None:
    made, task = Checkpoints(0.0, "as ever"), a_task()
    task.saved = NOTHING
    assert made.wanted(task, NOW) and made.wanted(task)
    for name, value in change.items():
        setattr(task, name, value)
    assert not made.wanted(task, NOW) and not made.wanted(task)


def test_the_oldest_snapshot_is_that_of_the_task_that_waits_longest_for_its_next() -> None:
    made, one, other = Checkpoints(0.0, "as ever"), a_task(0), a_task(1)
    one.saved, other.saved = one.saved._replace(time=500.0), other.saved._replace(time=400.0)
    assert made.oldest([one, other]) == 400 and made.oldest([one]) == 500 and made.oldest([]) is None
    other.saved = other.saved._replace(offset=other.position)  # it has seen nothing since
    assert made.oldest([one, other]) == 500
    one.saved, one.made = Saved(), 300.0
    assert made.oldest([one, other]) == 300, "without one it is as old as the task"
    assert Checkpoints(math.inf, "as ever").oldest([one, other]) is None


def test_a_snapshot_is_as_old_as_its_manifest_whoever_wrote_it() -> None:
    made, task, before = Checkpoints(0.0, "as ever"), a_task(), time.time()
    save(made, task)
    assert before <= task.saved.time <= time.time()
