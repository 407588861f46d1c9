"""A crash loses nothing and invents nothing, whatever was under way: the service against a broker that is a dictionary."""

from __future__ import annotations

from collections import Counter
from types import ModuleType
from typing import NoReturn

import pytest
import simulation
from hypothesis import given, settings
from hypothesis import strategies as st
from lives import NAMES, arranged, goes_on, looks_again, not_ahead, passes_over, plays_changes, survives, tells_apart
from mutation import mutate

from detector import checkpoints, delivery, holdings, restore, service, tasks
from detector.errors import BrokerError, StateError


@settings(derandomize=True, deadline=None, max_examples=5, database=None)
@given(st.integers(0, 2**32 - 1))
def test_whatever_dies_all_is_delivered_once(seed: int) -> None:
    survives(seed)


def test_every_fate_was_met() -> None:
    fates = sum((survives(seed, poisonous=True)[1] for seed in (4, 15, 3)), Counter())
    assert {"doubt before", "doubt after", "death before", "death after", *NAMES, "snapshot", "set aside", "changed"} <= fates.keys()


@settings(derandomize=True, deadline=None, max_examples=3, database=None)
@given(st.integers(0, 2**32 - 1))
def test_records_that_make_processing_fail_are_set_aside_and_all_others_are_as_without_them(seed: int) -> None:
    survives(seed, poisonous=True)


def test_the_end_is_in_order_though_the_state_topic_does_not_answer(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """There is no last snapshot then, and all events are done."""
    arranged(monkeypatch)
    whole = service.Service._finish

    def silent(*_: object) -> NoReturn:
        raise BrokerError("no answer in time")

    def finish(running: service.Service) -> None:
        monkeypatch.setattr(simulation.StateLog, "bounds", silent)
        whole(running)

    monkeypatch.setattr(service.Service, "_finish", finish)
    simulation.process(simulation.Broker(simulation.log()), 1, Counter(), interval=1e9, calm=True)
    assert [(record.message, record.error) for record in caplog.records] == [("no last snapshot", "no answer in time")]


@pytest.mark.parametrize(
    ("module", "old", "new"),
    [
        (tasks, "                self.backlog.ended(daily)", "                pass"),
        (tasks, "        self.backlog.reached(Place(mark.day, mark.blocks))", "        pass"),
        (tasks, "self.mark.head) if self.mark is not None else", "self.mark.head) if False else"),
        (tasks, "return max(self.position, self.live_from), mark", "return self.position, mark"),
        (tasks, "        self.pipeline.seq, self.pipeline.head = self.mark.seq, self.mark.head\n", ""),
        (tasks, "                self.pipeline.restore(before)", "                pass"),
        (tasks, "            self.skipped = (*self.skipped, offset)", "            pass"),
        (restore, "    task.backlog.reached(sent)", "    pass"),
        (restore, "kept.position <= offset", "True"),
        (restore, "task.position, task.exact = max(assembly.offset, found.first)", "task.position, task.exact = live"),
        (restore, "if task.saved.manifest == mark.snapshot else -1", "if True else -1"),
        (restore, "mark.beats, mark.skipped", "mark.beats, ()"),
        (restore, "return same and ", "return "),
        (tasks, "before[-1:]", "before[:0]"),
        (tasks, "self._resume_with(int(records.offset[first]))", "pass"),
        (tasks, "        self._resume_with(self.position)\n", ""),
        (tasks, ", *(at for at in changes if start < at < stop)", ""),
        (tasks, "each[0] > saved.offset", "False"),
        (tasks, " and self.pipeline.context is what.context", ""),
        (tasks, "adopt(what.model, what.framer)\n\n    def goes_by", "adopt(what.model)\n\n    def goes_by"),
        (restore, "== (kept.pipeline.model.version, kept.pipeline.context.version)", "[0] == kept.pipeline.model.version"),
        (checkpoints, "len(task.backlog) or ", ""),
        (checkpoints, "task.saved.generation + 1", "task.saved.generation"),
        (checkpoints, "range(at.sent, end)", "range(0, end)"),
        (checkpoints, "delivery.tasks.get(at.task.partition) is not at.task", "False"),
        (delivery, "TOGETHER - self.blocks", "TOGETHER + 1"),
        (delivery, "for near, value in outcome.notables]", "for near, value in outcome.alerts]"),
        (delivery, "task.to_commit(sent)", "task.to_commit(task.backlog.sent)"),
        (delivery, "        task.beats += 1\n", ""),
        (service, "            self._holdings.leave()  # their", "            pass  # their"),
        (service, "places[delivery.positions[p]] + 1", "places[delivery.positions[p]]"),
        (service, "or task.told != task.saved.manifest", ""),
        (holdings, "        source.seek(partition, task.position)", "        pass"),
        (holdings, "self._takeovers.cancel(p)\n                self.refused", "self.refused"),
    ],
)  # fmt: skip
def test_a_change_is_noticed(module: ModuleType, old: str, new: str, monkeypatch: pytest.MonkeyPatch) -> None:
    mutate(monkeypatch, module, old, new)
    with pytest.raises((AssertionError, StateError, KeyError)):
        goes_on()
        passes_over()
        not_ahead()
        looks_again()
        plays_changes()
        for seed in (4, 11, 15, 3):  # those that end soon first
            survives(seed, poisonous=True)
        tells_apart()
