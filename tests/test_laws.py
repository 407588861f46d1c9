"""The laws of the house hold, and each bites: the changes to the code that break it are listed below, and are seen to break it.

Law 2 (crashes) is tested against a real broker, law 6 (kernels equal slow, obvious versions) in tests/core. Law 9 (a model or context
changes only at an offset that is committed) is a matter of the service, tested where models and contexts take turns (tests/lives.py).
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import ModuleType

import msgspec
import numpy as np
import pytest
import world
from hypothesis import given, settings
from hypothesis import strategies as st
from laws import (
    FEW,
    alerts_are_a_chain,
    all_see_the_same,
    alone_is_among_many,
    clocks_do_not_matter,
    cuts_change_nothing,
    memory_is_bounded,
    play,
    recorded,
    restoring_changes_nothing,
    story,
    task,
    told,
    twice_is_once,
)
from mutation import mutate

from detector import replay, training
from detector.core import alerts, combination, duplicates, framing, hypotheses, model, pipeline, state, tracking, views
from detector.core.estimators import isolation_forest, tails
from detector.core.frame import DAY
from detector.core.signals import accumulators, explanation, masquerade

LAW = settings(derandomize=True, deadline=None, max_examples=15, database=None)
SEEDS = st.integers(0, 2**32 - 1)


@LAW
@given(SEEDS, st.lists(st.integers(0, 740), max_size=60), st.sampled_from([FEW, 1000]))
def test_where_batches_are_cut_changes_nothing(seed: int, cuts: list[int], max_keys: int) -> None:
    cuts_change_nothing(seed, cuts, max_keys)


def test_the_stretches_have_alerts_evictions_repetitions_and_days_out_of_order() -> None:
    for seed in (1, 2, 3):
        made, batch = task(FEW), story(seed)
        outcomes = play(made, batch)
        assert len(told(outcomes)) >= 10 and made.tracker.state.evicted >= 9 and sum(o.repeated for o in outcomes) >= 40
        assert (np.diff(batch.time // DAY) < 0).any()
        assert sum(len(o.daily) for o in outcomes) >= 2 and len({day for day, _ in recorded(outcomes)}) >= 2


@LAW
@given(SEEDS, st.lists(st.tuples(st.integers(0, 400), st.integers(0, 120)), min_size=1, max_size=80))
def test_a_record_delivered_twice_counts_once(seed: int, again: list[tuple[int, int]]) -> None:
    twice_is_once(seed, again)


@LAW
@given(SEEDS, st.integers(0, 740), st.sampled_from([FEW, 1000]))
def test_saved_and_restored_state_is_the_same_state(seed: int, at: int, max_keys: int) -> None:
    restoring_changes_nothing(seed, at, max_keys)


def test_live_replay_and_training_see_the_same_features() -> None:
    all_see_the_same(2)
    all_see_the_same(4, poll=1501)


@LAW
@given(SEEDS, st.lists(st.integers(1, 17), max_size=20))
def test_a_row_scored_alone_equals_that_row_among_many(seed: int, sizes: list[int]) -> None:
    alone_is_among_many(seed, sizes)


@LAW
@given(SEEDS, st.integers(16, 30))
def test_memory_is_bounded(seed: int, max_keys: int) -> None:
    memory_is_bounded(seed, max_keys)


def test_all_hypotheses_are_on_in_the_task_whose_memory_is_bounded() -> None:
    assert {h.name for h in world.model().hypotheses} == set(hypotheses.names())


@LAW
@given(SEEDS, st.integers(-40 * DAY, 40 * DAY).filter(bool))
def test_moving_the_clocks_changes_nothing_but_lateness(seed: int, shift: int) -> None:
    clocks_do_not_matter(seed, shift)


@LAW
@given(SEEDS)
def test_alerts_are_a_chain_without_a_gap(seed: int) -> None:
    alerts_are_a_chain(seed)


PROCESS = """
import pytest, world, mutation
from test_laws import ALERT_ID, ids
print(*ids())
with pytest.MonkeyPatch.context() as patch:
    mutation.mutate(patch, *ALERT_ID)
    print(*ids())
print(world.model_hash())
"""
ALERT_ID = (alerts, 'hashlib.sha256("\\0".join((view, topic, str(partition), str(offset))).encode()).hexdigest()[:32]',
            'f"{hash((view, topic, partition, offset)) % 2**128:032x}"')  # fmt: skip


def ids() -> list[str]:
    return [msgspec.json.decode(value)["alert_id"] for value in told(play(world.pipeline(), world.live()))]


def test_another_process_trains_the_same_model_and_gives_the_same_alert_ids() -> None:
    folder = Path(__file__).parent
    environment = {**os.environ, "PYTHONHASHSEED": "12345", "PYTHONPATH": str(folder)}
    done = subprocess.run([sys.executable, "-c", PROCESS], env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    same, mutated, trained = done.stdout.splitlines()
    assert len(same.split()) > 5 and same.split() == ids()
    assert trained == world.model_hash()
    with pytest.MonkeyPatch.context() as patch:
        mutate(patch, *ALERT_ID)
        assert mutated.split() != ids()


# --- Each law bites

often: Callable[[int], None] = partial(cuts_change_nothing, cuts=range(0, 700, 13))
again: Callable[[int], None] = partial(twice_is_once, again=[(i, 20) for i in range(0, 400, 3)])
midway: Callable[[int], None] = partial(restoring_changes_nothing, at=350)

ASIDE = "c = state.__dict__.setdefault('aside', {k: v.copy() for k, v in state.columns.items()})\n"

BREAKS: list[tuple[Callable[[int], None], ModuleType, str, str]] = [
    # an alert tells of the state at the end of its batch
    (often, combination, "if score[i] >= least and time[i] >= since:", "if False:"),
    # ids are told apart by their number in the batch
    (often, tracking, 'batch.hashes("event_id")', 'batch.strings("event_id").codes.astype(np.uint64) + np.uint64(1)'),
    # keys are evicted only once the batch is through
    (often, state, "if start < done and (full or done == len(keys)):", "if start < done and done == len(keys):"),
    # the first event of a batch is compared with nothing
    (often, accumulators, "own_days[i] = days[s]", "own_days[i] = days[s]\n        days[s] = 0.0 if i == 0 else days[s]"),
    (
        often,
        views,
        "self.names, len(slots))",
        "self.names, len(slots)); out.values[:1] = 1",
    ),
    # a frame is cut for other rows than those that are fresh
    (often, tracking, "frame.take(row[fresh])", "frame.take(fresh)"),
    # a day that ended is told of again after an eviction
    (often, tracking, "                ended = None\n", ""),
    # the day turns only between batches
    (often, tracking, "np.union1d(np.flatnonzero(np.diff(day)) + 1, held)", "held"),
    # an alert tells of what is usual at the end of its batch
    (often, tracking, "np.union1d(np.flatnonzero(np.diff(day)) + 1, held)", "(np.flatnonzero(np.diff(day)) + 1)"),
    (often, tracking, "(own[after] > own[before]) | (team[after] != team[before])", "team[after] != team[before]"),
    # evidence of earlier in the hour is looked for in this batch
    (often, pipeline, "sorted(raised | {offset})", "sorted({o for o in raised if o >= batch.offset[0]} | {offset})"),
    (again, duplicates, "recent_next[s] + 1", "recent_next[s] + 0"),
    (again, duplicates, "RING = 64", "RING = 2"),
    (again, duplicates, "found[i] = True", "found[i] = False"),
    (again, tracking, "fresh = np.flatnonzero(~", "fresh = np.flatnonzero(True | ~"),
    (midway, pipeline, 'self.seq, self.head = int(arrays["chain"][0])', 'self.seq, _ = int(arrays["chain"][0])'),
    (midway, pipeline, 'self.tracker.day = int(arrays["chain"][33])', "pass"),
    (midway, state, "[unused] = c.empty\n        self._index()", "[unused] = c.empty"),
    # what is evicted depends on how many were since the start of the process
    (midway, state, "[: self.max_keys // EVICTED_SHARE]", "[min(self.evicted, 3) :][: self.max_keys // EVICTED_SHARE]"),
    (midway, state, "np.copyto(copy, rows)", "np.copyto(copy, rows * rows.dtype.type(name != 'sum'))"),
    (midway, state, "np.copyto(copy, rows)", "np.copyto(copy, rows * rows.dtype.type(name != 'day_joined'))"),
    (midway, state, "np.copyto(copy, rows)", "np.copyto(copy, rows * rows.dtype.type(name != 'day_score'))"),
    # a family keeps something outside of the state
    (midway, masquerade, "c = state.columns\n", ASIDE),
    (
        all_see_the_same,
        training,
        "[batch.take(slice(start, stop))]",
        "[batch.take(np.arange(start, stop)[::-1])]",
    ),
    (all_see_the_same, training, "take(slice(start, stop))", "take(slice(start + (start > 0), stop))"),
    (all_see_the_same, replay, 'actor = some.strings("actor")', 'actor = some.strings("resource")'),
    (all_see_the_same, replay, "np.flatnonzero(home == partition)", "np.flatnonzero(home == partition)[::-1]"),
    (alone_is_among_many, isolation_forest, "some = min(TOGETHER, trees - k)", "some = min(TOGETHER, trees - k - 1)"),
    (alone_is_among_many, isolation_forest, "for k in range(trees):\n            at", "for k in range(trees - (i > 0)):\n            at"),
    (
        alone_is_among_many,
        model,
        "values = features[:, self._columns]",
        "values = features[:, self._columns] - features[:1, self._columns]",
    ),
    (alone_is_among_many, tails, "r = soft[d] + SLOW * (r - soft[d])", "r = soft[d] + (SLOW if i else 1.0) * (r - soft[d])"),
    (memory_is_bounded, state, "self._resize(self.room(0))", "self._resize(1024)"),
    (memory_is_bounded, explanation, "WORDS = 32 ", "WORDS = 128 "),
    (memory_is_bounded, duplicates, 'Column("recent_id", "uint32", (RING,))', 'Column("recent_id", "uint64", (2 * RING,))'),
    (clocks_do_not_matter, framing, "time=time, hour", "time=batch.broker_time, hour"),
    (clocks_do_not_matter, framing, "self._clocks.hour(time, ", "self._clocks.hour(batch.broker_time, "),
    (clocks_do_not_matter, framing, 'batch.numbers("action"), batch.time // DAY', 'batch.numbers("action"), batch.broker_time // DAY'),
    (clocks_do_not_matter, tracking, ", batch.time[start:stop]):", ", batch.broker_time[start:stop]):"),
    (clocks_do_not_matter, tracking, "np.maximum(batch.time // DAY, self.day)", "np.maximum(batch.broker_time // DAY, self.day)"),
    (clocks_do_not_matter, pipeline, "over = Over(int(batch.time[row])", "over = Over(int(batch.broker_time[row])"),
    (clocks_do_not_matter, pipeline, "late = batch.broker_time - batch.time >", "late = batch.time - batch.broker_time >"),
    (alerts_are_a_chain, pipeline, "self.seq + 1, alerts.chain_hash(value)", "self.seq + 1, self.head"),
    (alerts_are_a_chain, pipeline, "self.seq + 1, alerts.chain_hash(value)", "self.seq, alerts.chain_hash(value)"),
    (alerts_are_a_chain, pipeline, "self.seq, self.head = self.seq + 1,", "self.seq, self.head = self.seq + 1 + len(outcome.alerts) // 2,"),
]


@pytest.mark.parametrize(("law", "module", "old", "new"), BREAKS, ids=[f"{b[1].__name__.split('.')[-1]}-{i}" for i, b in enumerate(BREAKS)])
def test_a_law_bites(law: Callable[[int], None], module: ModuleType, old: str, new: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for seed in (1, 2, 3):
        law(seed)
    mutate(monkeypatch, module, old, new)
    with pytest.raises(AssertionError):
        for seed in (1, 2, 3):
            law(seed)


@pytest.mark.parametrize("law", [often, again, midway, alone_is_among_many, memory_is_bounded, clocks_do_not_matter, alerts_are_a_chain])
def test_a_law_holds_where_kernels_are_plain_python(law: Callable[[int], None], monkeypatch: pytest.MonkeyPatch) -> None:
    """So what breaks a law above is the change, not the way in which it is put in force."""
    for module in (combination, tracking, state, accumulators, duplicates, pipeline, masquerade, explanation, tails, isolation_forest):
        mutate(monkeypatch, module, "", "")
    law(1)
