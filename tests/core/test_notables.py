"""Near misses: which are told, how many, and what is counted instead; against a slow version that looks at all scores afterwards."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec
import numpy as np
import pytest
import world
from hypothesis import given, settings
from hypothesis import strategies as st
from laws import FEW, differing, play, story
from mutation import mutate

from detector.core import combination, notables, pipeline
from detector.core.events import EventBatch
from detector.core.frame import DAY
from detector.core.notables import BOUND, Notables, rank
from detector.core.pipeline import Outcome, Pipeline, Policy
from detector.core.views import EMPLOYEE

THRESHOLD = 1.3
"""Low, so that a small company has near misses; the unit below it reaches from .3."""


class Told(NamedTuple):
    offsets: list[int]
    dropped: Counter[int]


def task(starts: int = 0, max_keys: int = 1000) -> Pipeline:
    return Pipeline(EMPLOYEE, world.model(), world.context(), Policy(10 ** (3 - THRESHOLD), starts), max_keys)


def slow(batch: EventBatch, outcomes: list[Outcome], cuts: list[int], starts: int, bound: int) -> Told:
    """From the score of every event: by the open day and employee, what is rarer by .3 than all that was told before, until an alert."""
    told: dict[tuple[int, str], float] = {}
    counts: Counter[int] = Counter()
    out = Told([], Counter())
    day = -1
    edges = [0, *cuts]
    for first, outcome in zip(edges, outcomes, strict=True):
        for scores in outcome.scores:
            for row, rarity in zip(scores.row.tolist(), scores.rarity.tolist(), strict=True):
                at = first + row
                day = max(day, int(batch.time[at]) // DAY)
                who = day, batch.rows[at].actor
                if batch.time[at] < starts or rarity < THRESHOLD - 1:
                    continue
                if rarity >= THRESHOLD:
                    told[who] = np.inf
                elif rarity >= told.get(who, -np.inf) + 0.3:
                    told[who] = rarity
                    counts[day] += 1
                    if counts[day] <= bound:
                        out.offsets.append(int(batch.offset[at]))
                    else:
                        out.dropped[min(int((rarity - THRESHOLD + 1) * 10), 9)] += 1
    return out


def check(seed: int, cuts: tuple[int, ...] = (100, 101, 350), starts: int = 0, bound: int = BOUND) -> Told:
    batch, at = story(seed), sorted(cuts)
    one = task(int(batch.time[starts]) if starts else 0)
    outcomes = play(one, batch, at)
    found = Told(
        [max(e.offset for e in near.evidence) for outcome in outcomes for near, _ in outcome.notables],
        sum((outcome.notables_dropped for outcome in outcomes), start=Counter[int]()),
    )
    assert found == slow(batch, outcomes, at, one.policy.starts, bound)
    whole = task(one.policy.starts)
    (outcome,) = play(whole, batch)
    assert [value for _, value in outcome.notables] == [value for part in outcomes for _, value in part.notables]
    assert outcome.notables_dropped == found.dropped
    assert not differing(one, whole)
    return found


SEEDS = st.integers(0, 2**32 - 1)
LAW = settings(derandomize=True, deadline=None, max_examples=15, database=None)


@LAW
@given(SEEDS, st.lists(st.integers(1, 740), min_size=1, max_size=30, unique=True), st.sampled_from([0, 300]))
def test_near_misses_are_those_of_a_slow_version_wherever_batches_are_cut(seed: int, cuts: list[int], starts: int) -> None:
    check(seed, tuple(cuts), starts)


def test_the_bound_holds_for_a_day_and_what_it_drops_is_counted_by_rank(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notables, "BOUND", 5)
    found = [check(seed, bound=5) for seed in (1, 2, 3)]
    assert min(sum(one.dropped.values()) for one in found) > 5
    assert len({r for one in found for r in one.dropped}) > 3


def test_a_key_is_told_of_again_where_it_rises() -> None:
    batch = story(1)
    outcome = task().process(batch)
    days = Counter((near.time // DAY, near.actor) for near, _ in outcome.notables)
    assert max(days.values()) > 1 and len(days) > 10


def test_a_near_miss_is_said_as_an_alert_is_but_stands_in_no_chain() -> None:
    one = task()
    outcome = one.process(story(1))
    assert outcome.notables and outcome.alerts
    for near, value in outcome.notables:
        said = msgspec.json.decode(value)
        assert list(said) == list(msgspec.json.decode(outcome.alerts[0][1]))
        assert said["severity"] == "notable" and said["seq"] is None and said["prev_hash"] is None
        assert said["incident_id"] == said["alert_id"]
        assert THRESHOLD - 1 <= near.rarity < THRESHOLD
        assert said["reasons"]
    assert one.seq == len(outcome.alerts)
    assert not {near.alert_id for near, _ in outcome.notables} & {alert.alert_id for alert, _ in outcome.alerts}


def test_near_misses_change_no_alert() -> None:
    batch = story(1)
    one, other = task(), task()
    other._near = combination.NEVER
    expected, found = one.process(batch), other.process(batch)
    assert expected.notables and not found.notables
    assert [value for _, value in found.alerts] == [value for _, value in expected.alerts]


def test_nothing_is_stopped_at_but_what_is_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stop costs more than an event."""
    counts: Counter[str] = Counter()
    for module, name in ((combination, "advance"), (notables, "raise_bar")):
        monkeypatch.setattr(module, name, counted(counts, name, getattr(module, name)))
    outcome = task().process(story(1))
    assert len(outcome.notables) <= counts["raise_bar"] < 200
    assert counts["raise_bar"] <= counts["advance"] <= counts["raise_bar"] + len(outcome.scores)


def counted(counts: Counter[str], name: str, called: Callable[..., Any]) -> Callable[..., Any]:
    def call(*args: Any) -> Any:
        counts[name] += 1
        return called(*args)

    return call


@LAW
@given(SEEDS, st.integers(0, 740))
def test_a_restored_task_goes_on_counting(seed: int, at: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(notables, "BOUND", 4)
        restored(seed, at)


def restored(seed: int, at: int) -> None:
    batch, one, other = story(seed), task(max_keys=FEW), task(max_keys=FEW)
    play(one, batch.take(slice(0, at)))
    other.restore(one.snapshot())
    rest = batch.take(slice(at, None))
    expected, found = one.process(rest), other.process(rest)
    assert [value for _, value in found.notables] == [value for _, value in expected.notables]
    assert found.notables_dropped == expected.notables_dropped
    assert not differing(one, other)


def test_ranks_are_tenths_of_the_unit_below_the_threshold() -> None:
    assert [rank(r, 3.0) for r in (2.0, 2.05, 2.15, 2.95, 2.9999999, 3.0, 1.9)] == [0, 0, 1, 9, 9, 9, 0]


def test_the_count_begins_anew_with_a_day_and_never_with_one_that_is_over() -> None:
    some = Notables()
    assert [some.tells(3) for _ in range(BOUND + 2)] == [True] * BOUND + [False] * 2
    assert not some.tells(2)
    assert some.tells(4)


@pytest.mark.parametrize(
    ("module", "old", "new"),
    [
        (notables, "WITHIN = 1.0", "WITHIN = 0.5"),
        (notables, "higher = rarity + RISE", "higher = rarity"),
        (notables, "if higher < threshold else np.inf", "if higher < threshold - 1 else 0"),
        (notables, "if day > self.day:", "if False:"),
        (notables, "self.count <= BOUND", "self.count < BOUND"),
        (notables, "self.day, self.count = (int(x) for x in array)", "self.day, self.count = int(array[0]), 0"),
        (notables, "* RANKS)", "* RANKS) + 1"),
        (combination, 'state.columns["near_bar"][:] = 0', "pass"),
        (combination, "max(near, near_bar[s])", "near"),
        (combination, "max(near, near_bar[s])", "near_bar[s]"),
        (combination, "min(over, max(near, near_bar[s]))", "max(near, near_bar[s])"),
        (combination, "min(over, max(near, near_bar[s]))", "over"),
        (pipeline, "if time[last] >= self.policy.starts:", "if True:"),
        (pipeline, "score < max(self._near, ", "score < max(-1.0, "),
        (pipeline, "self.notables.tells(self.tracker.day)", "self.notables.tells(outcome.late)"),
        (pipeline, "notables.raise_bar(state,", "notables.rank(0, 0) or (lambda *_: 0)(state,"),
        (pipeline, "(identity, notables.SEVERITY, None, None)", "(identity, notables.SEVERITY, self.seq, None)"),
        (pipeline, 'self.notables.restore(arrays["notables"])', "pass"),
    ],
)
def test_a_change_is_noticed(module: object, old: str, new: str, monkeypatch: pytest.MonkeyPatch) -> None:
    mutate(monkeypatch, module, old, new)  # type: ignore[arg-type]
    with pytest.raises(AssertionError):
        test_near_misses_change_no_alert()
        with monkeypatch.context() as patch:
            test_nothing_is_stopped_at_but_what_is_judged(patch)
        monkeypatch.setattr(notables, "BOUND", 8)
        test_ranks_are_tenths_of_the_unit_below_the_threshold()
        test_a_near_miss_is_said_as_an_alert_is_but_stands_in_no_chain()
        for seed in (1, 2, 3):
            check(seed, bound=8)
            check(seed, (20, 60, 500), 300, 8)
            restored(seed, 300)
