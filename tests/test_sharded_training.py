"""What is learned does not depend on how many shards the employees are in, nor on the bounds of what is kept of each."""

from __future__ import annotations

import hashlib
import json
import os
import signal
from collections.abc import Callable
from functools import cache
from types import ModuleType

import pytest
import world
from mutation import mutate

from detector import shards, training
from detector.core import collecting, hypotheses, routing
from detector.core.events import Records
from detector.core.exclusions import Exclusions, Span
from detector.core.frame import DAY
from detector.core.model import Model
from detector.core.strings import hash_strings
from detector.core.views import EMPLOYEE
from detector.errors import ModelError
from detector.processes import Processes
from detector.shards import Crew, Here, Shard, Task

BEGIN = world.END - world.DAYS * DAY
WEEK = BEGIN + 7 * DAY


@cache
def log() -> tuple[Records, ...]:
    """A week in pieces, with what is no event in between: garbage that claims to be of years to come, names written oddly."""
    values: list[bytes] = []
    for n, value in enumerate(v for day in world.company().days(BEGIN, WEEK) for v in day.values):
        values.append(value)
        if n % 97 == 0:
            event = json.loads(value)
            values += [b'{"time": 4102444800000, "actor": "x"}', b"no JSON", b""]
            values += [json.dumps({"action": event.pop("action"), **event}).replace('"actor"', '"\\u0061ctor"').encode()]
    return tuple(Records.of(values[at : at + 2500], first=at) for at in range(0, len(values), 2500))


def task(excluded: tuple[Span, ...] = (), until: int | None = None, begin: int = 0) -> Task:
    names = tuple(hypotheses.names())
    return Task(EMPLOYEE, names, world.context(), begin=begin, until=until, excluded=Exclusions.of(excluded), seed=7, max_keys=1000)


class Several:
    """A crew in this process, of several."""

    def __init__(self, some: Task, number: int) -> None:
        self.shards = [Shard(some) for _ in range(number)]

    def take(self, parts: list[Records]) -> None:
        for shard, part in zip(self.shards, parts, strict=True):
            shard.take(part)

    def each(self, name: str, *args: object) -> list[object]:
        return [getattr(shard, name)(*args) for shard in self.shards]

    def close(self) -> None:
        pass


def learned(number: int, some: Task, made: Callable[[Task, int], Crew] = Several) -> tuple[str, training.Report]:
    crew = made(some, number)
    try:
        model, report = training.train_records(log(), some, crew, number)
    finally:
        crew.close()
    return digest(model), report


def digest(model: Model) -> str:
    return hashlib.sha256(b"".join(name.encode() + a.tobytes() for name, a in sorted(model.to_arrays()[0].items()))).hexdigest()


@cache
def alone() -> tuple[str, training.Report]:
    return learned(1, task(), lambda some, _: Here(some))


def check_shards() -> None:
    for number in (2, 5):
        found, report = learned(number, task())
        assert found == alone()[0] and report == alone()[1]


def test_how_many_shards_there_are_does_not_matter() -> None:
    check_shards()


def test_nor_that_they_are_in_other_processes() -> None:
    assert learned(3, task(), Processes) == alone()


def test_batches_of_events_give_what_records_do() -> None:
    from detector.core.formats.native import Limits, decode

    batches = [decode(records, Limits()) for records in log()]
    model, report = training.train(batches, EMPLOYEE, hypotheses.names(), world.context(), None, 7, 1000)
    assert digest(model) == alone()[0] and report.events == alone()[1].events
    assert alone()[1].refused.total() == sum(len(batch.dead) for batch in batches) > 100


def test_a_range_of_time_is_that_of_events() -> None:
    begin, until = BEGIN + DAY // 2, WEEK - DAY // 3
    one, report = learned(1, task(begin=begin, until=until))
    assert begin <= report.first and report.last < until and (one, report) == learned(3, task(begin=begin, until=until))


def check_bounds() -> None:
    """However little is kept, all shards keep the same, and no more than they should."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(collecting, "MOST_HELD", 700)
        patch.setattr(collecting, "MOST_SAMPLED", 900)
        few, kept, sizes, lowered = [], [], [], collecting.Bars.lowered
        patch.setattr(collecting.Bars, "lowered", lambda bars, *counts: (sizes.append(counts), lowered(bars, *counts))[1])
        for number in (1, 3):
            crew = Several(task(), number)
            model, _ = training.train_records(log(), task(), crew, number)
            few.append(digest(model))
            kept.append(sum(len(rows.key) for shard in crew.shards for rows in shard.kept.held))
    assert few[0] == few[1] != alone()[0]
    assert kept[0] == kept[1] and 100 < kept[0] < 2000
    assert sizes[: len(sizes) // 2] == sizes[len(sizes) // 2 :] and sizes[-1][1] < 2000


def test_what_is_kept_is_bounded_and_the_same_however_employees_are_shared_out() -> None:
    check_bounds()


def check_exclusions() -> None:
    """What is not learned from builds state: the employee is there, and nothing else of them."""
    who = sorted({json.loads(v)["actor"] for v in next(iter(world.company().days(BEGIN, WEEK))).values})[3]
    some = task((Span(who, BEGIN + 2 * DAY, BEGIN + 5 * DAY),))
    crew = Several(some, 2)
    model, report = training.train_records(log(), some, crew, 2)
    assert report.excluded > 0 and report.employees == alone()[1].employees and report.events == alone()[1].events
    assert digest(model) != alone()[0] and digest(model) == learned(1, some)[0]
    hashed = hash_strings([who])[0]
    for shard in crew.shards:
        for rows in (*shard.kept.held, *shard.kept.sampled):
            mine = rows.time[rows.key == hashed]
            assert ((mine < BEGIN + 2 * DAY) | (mine >= BEGIN + 5 * DAY)).all()
    everybody = task(tuple(Span(name) for name in {json.loads(v)["actor"] for d in world.company().days(BEGIN, WEEK) for v in d.values}))
    with pytest.raises(ModelError, match="nothing is left to learn from"):
        learned(1, everybody)


def test_what_is_excluded_builds_state_and_is_not_learned_from() -> None:
    check_exclusions()


def test_a_process_that_ends_is_told_of() -> None:
    crew = Processes(task(), 2)
    try:
        crew.each("turn", 20_000)
        victim = crew._processes[1].pid
        assert victim is not None
        os.kill(victim, signal.SIGKILL)
        with pytest.raises(ModelError, match="process 2 of the training ended"):
            for _ in range(100):
                crew.each("turn", 20_001)
    finally:
        crew.close()


def test_what_fails_in_a_process_fails_here() -> None:
    crew = Processes(task(), 2)
    try:
        with pytest.raises(AssertionError):
            crew.each("joined", None, None)
    finally:
        crew.close()


@pytest.mark.parametrize(
    ("check", "module", "old", "new"),
    [
        (check_shards, routing, "home[start:stop] == shard", "np.arange(stop - start) % self._shards == shard"),
        (check_shards, routing, "if not len(rising):", "if True:"),
        (check_shards, routing, "time[accepted], actor[accepted] = events", "time[accepted] = events[0]"),
        (check_bounds, collecting, "rows.priority <= np.uint64(self.bars.event)", "np.arange(len(rows)) % 3 == 0"),
        (check_bounds, collecting, "int(held > MOST_HELD)", "0"),
        (check_bounds, collecting, "int(sampled > MOST_SAMPLED)", "0"),
        (check_exclusions, shards, "seen.excluded += int(covered.sum())", "seen.excluded += 0"),
        (check_exclusions, shards, "time[~covered], values[~covered]", "time[covered], values[covered]"),
    ],
)  # fmt: skip
def test_a_change_is_noticed(check: Callable[[], None], module: ModuleType, old: str, new: str, monkeypatch: pytest.MonkeyPatch) -> None:
    alone()
    mutate(monkeypatch, module, old, new)
    with pytest.raises((AssertionError, ValueError, ModelError, IndexError)):
        check()
