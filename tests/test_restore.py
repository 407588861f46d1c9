"""A crash loses nothing and invents nothing, whatever was under way: tasks and deliveries against a broker that is a dictionary."""

from __future__ import annotations

import random
from collections import Counter
from functools import cache
from types import ModuleType

import numpy as np
import pytest
import world
from hypothesis import given, settings
from hypothesis import strategies as st
from mutation import mutate

from detector import delivery, restore
from detector.core import daily_blocks
from detector.core.daily_blocks import Origin, Place, blocks_of, encode
from detector.core.events import EventBatch, Records
from detector.core.formats.native import Limits, decode
from detector.core.frame import DAY
from detector.core.pipeline import Pipeline, Policy
from detector.core.views import EMPLOYEE
from detector.delivery import Delivery, Plan
from detector.errors import StateError
from detector.restore import Mark, Task, read_mark, take_over
from detector.sandbox.company import Day

PLAN = Plan(world.TOPIC, "alerts", "notables", "daily", "dead-letters", None, 100)
SMALL = 16 << 10
"""So that a day of this small company is of several blocks."""
Message = tuple[str, bytes | None, bytes]


@cache
def log() -> Records:
    """The company's last four days."""
    days = list(world.company().days(world.END - 4 * DAY, world.END))
    keys, values = ([part for day in days for part in getattr(day, name)] for name in ("keys", "values"))
    return world.as_records(Day(np.concatenate([day.arrival for day in days]), keys, values), 0)


def understood(records: Records) -> EventBatch:
    return decode(records, Limits())


def pipeline(starts: int) -> Pipeline:
    return Pipeline(EMPLOYEE, world.model(), world.context(), Policy(world.BUDGET, starts), 1000)


def truth(records: Records) -> list[Message]:
    """What has to be delivered of the whole log: daily records apart, for they come later."""
    outcome, origin = pipeline(0).process(understood(records)), Origin(EMPLOYEE.name, world.TOPIC, 0)
    told = [(topic, said) for topic, some in (("alerts", outcome.alerts), ("notables", outcome.notables)) for said in some]
    blocks = [encode(origin, daily, chunk) for daily in outcome.daily for chunk in range(blocks_of(daily))]
    return [*((topic, alert.actor.encode(), value) for topic, (alert, value) in told), *(("daily", b"0", block) for block in blocks)]


class Desk:
    """A process with one task, which dies now and then; what is committed, and delivered, outlives it."""

    def __init__(self, seed: int) -> None:
        self.dice = random.Random(seed)
        self.committed: tuple[int, str] | None = None
        self.delivered: list[Message] = []
        self.most: Counter[str] = Counter()
        self.kept: Task | None = None
        self.task = self.take()

    def take(self) -> Task:
        return take_over(world.TOPIC, 0, self.committed, 0, self.kept, pipeline, 0)

    def turn(self, records: Records) -> None:
        some = self.dice.choice([0, 100, 1000, 4000])
        run = records.take(slice(self.task.position, self.task.position + some))
        began, made = max(self.task.position, self.task.live_from), Delivery()
        if len(run):
            for batch, outcome in self.task.process(run, understood):
                made.add(batch, outcome, PLAN)
        if self.task.position > began or len(self.task.backlog) or self.committed is None:
            made.end(self.task, PLAN)
            self.deliver(made)

    def deliver(self, made: Delivery) -> None:
        fate = self.dice.random()
        if fate > 0.12:
            self.committed = made.offsets[0]
            self.delivered += made.messages
            self.most[str(len([topic for topic, *_ in made.messages if topic == "daily"]))] += 1
        if fate > 0.25:
            self.task.delivered(made.offsets[0], made.sent[0])
        else:  # it died before the commit or after it; or only lost the partition, and may have its state again
            self.kept = self.task if self.dice.random() < 0.5 else None
            self.task = self.take()


def survives(seed: int) -> Desk:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(daily_blocks, "LIMIT", SMALL)
        records, desk = log(), Desk(seed)
        for _ in range(3000):
            desk.turn(records)
            if desk.task.position == len(records) and not len(desk.task.backlog) and desk.committed == desk.task.committed:
                break
        expected = truth(records)
    for topic in ("alerts", "notables", "dead-letters", "daily"):
        assert [m for m in desk.delivered if m[0] == topic] == [m for m in expected if m[0] == topic], topic
    assert max(map(int, desk.most)) <= daily_blocks.TOGETHER
    return desk


@settings(derandomize=True, deadline=None, max_examples=5, database=None)
@given(st.integers(0, 2**32 - 1))
def test_whatever_dies_all_is_delivered_once(seed: int) -> None:
    survives(seed)


def test_days_are_of_several_blocks_and_more_wait_than_go_together() -> None:
    desk = survives(1)
    assert Counter(topic for topic, *_ in desk.delivered)["daily"] > 12
    assert str(daily_blocks.TOGETHER) in desk.most


def test_marks_of_older_versions_are_read() -> None:
    assert read_mark('{"alerts_start":1,"seq":2,"head":"ab"}', 0) == Mark(1, 2, "ab", -1, 0)
    with pytest.raises(StateError):
        read_mark('{"alerts_start":1}', 0)


def goes_on() -> None:
    """Where the log was cut short, replaying does not tell the number of the next alert, nor the offset that was committed."""
    records, head = log(), "ab" * 32
    mark = '{"alerts_start":0,"seq":7,"head":"%s"}' % head  # noqa: UP031  braces
    task = take_over(world.TOPIC, 0, (1000, mark), 900, None, pipeline, 0)
    offset, said = task.to_commit(Place(3, 1))
    assert (offset, read_mark(said, 0)) == (1000, Mark(0, 7, head, 3, 1))
    told = [alert for _, o in task.process(records.take(slice(900, None)), understood) for alert, _ in o.alerts]
    assert [alert.seq for alert in told] == list(range(7, 7 + len(told))) and told[0].prev_hash == head
    offset, said = task.to_commit(Place(3, 1))
    assert (offset, read_mark(said, 0).seq) == (len(records), 7 + len(told))


def test_the_chain_goes_on_where_the_log_was_cut_short() -> None:
    goes_on()


def passes_over() -> None:
    """What this process has at hand, and another has sent meanwhile."""
    kept = take_over(world.TOPIC, 0, None, 0, None, pipeline, 0)
    for _ in kept.process(log(), understood):
        pass
    waiting = len(kept.backlog)
    values, sent = kept.backlog.next(2)
    task = take_over(world.TOPIC, 0, kept.to_commit(sent), 0, kept, pipeline, 0)
    assert task.pipeline is kept.pipeline and len(values) == 2 and len(task.backlog) == waiting - 2


def test_what_another_process_sent_is_passed_over() -> None:
    passes_over()


def test_the_metadata_is_small() -> None:
    task = take_over(world.TOPIC, 0, None, 0, None, pipeline, 2**62)
    assert len(task.to_commit(Place(10**6, 10**6))[1]) < 300


@pytest.mark.parametrize(
    ("module", "old", "new"),
    [
        (restore, "            self.backlog.ended(daily)", "            pass"),
        (restore, "        self.backlog.reached(sent)\n\n", "        pass\n\n"),
        (restore, "    kept.backlog.reached(sent)", "    pass"),
        (restore, "Backlog(Origin(made.view.name, topic, partition), sent)", "Backlog(Origin(made.view.name, topic, partition))"),
        (restore, "self.mark.head) if self.mark is not None else", "self.mark.head) if False else"),
        (restore, "max(self.position, self.live_from), msgspec", "self.position, msgspec"),
        (restore, "kept.position > offset", "False"),
        (restore, "self.pipeline.seq, self.pipeline.head = self.mark.seq, self.mark.head", "pass"),
        (delivery, "TOGETHER - self.blocks", "TOGETHER + 1"),
        (delivery, "for near, value in outcome.notables]", "for near, value in outcome.alerts]"),
        (delivery, "task.to_commit(sent)", "task.to_commit(task.backlog.sent)"),
    ],
)  # fmt: skip
def test_a_change_is_noticed(module: ModuleType, old: str, new: str, monkeypatch: pytest.MonkeyPatch) -> None:
    mutate(monkeypatch, module, old, new)
    with pytest.raises(AssertionError):
        goes_on()
        passes_over()
        for seed in range(5):
            survives(seed)
