"""Snapshots: what comes in is what went out, to the last bit; and a task goes on from one as if it had never been away."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import laws
import numpy as np
import pytest
import world
from hypothesis import given, settings
from hypothesis import strategies as st
from snapshot_bytes import (
    LAW,
    ORIGIN,
    SEEDS,
    SMALL,
    a_state,
    keeps_every_bit,
    little_endian_everywhere,
    names_places,
    numbers,
    read,
    survives,
    written,
)

from detector.core import pipeline, snapshots
from detector.core.events import EventBatch
from detector.core.pipeline import Pipeline
from detector.core.snapshots import RAW, Assembly, Snapshot
from detector.errors import StateError


@LAW
@given(SEEDS)
def test_what_is_read_is_what_was_written(seed: int) -> None:
    survives(seed)


def test_states_of_no_chunk_of_one_and_of_more_occur_and_a_chunk_is_filled_to_the_last_row() -> None:
    counts = [Snapshot(ORIGIN, 7, 5_000, 40, a_state(seed), SMALL).chunks for seed in range(40)]
    assert {0, 1, 2, 3} <= set(counts)
    assert len(written({"key": np.zeros(RAW, np.uint8)})[1]) == 1
    assert len(written({"key": np.zeros(RAW + 1, np.uint8)})[1]) == 2


def test_a_row_may_be_as_long_as_a_chunk_and_no_longer() -> None:
    wide = {"key": numbers(np.random.default_rng(1), "<u1", (3, RAW))}
    manifest, chunks = written(wide)
    assert len(chunks) == 3 and laws.frozen(read(manifest, chunks)) == laws.frozen(wide)
    with pytest.raises(AssertionError, match="short rows"):
        written({"key": np.zeros((3, RAW + 1), np.uint8)})


def test_nan_infinity_both_zeros_and_denormals_keep_every_bit() -> None:
    keeps_every_bit()


def test_numbers_are_little_endian_and_rows_whole_however_they_lie_in_memory() -> None:
    little_endian_everywhere()


def test_a_state_that_is_larger_than_can_be_read_again_is_not_written() -> None:
    huge = np.broadcast_to(np.zeros(1), (snapshots.LARGEST // 8 + 1,))
    with pytest.raises(StateError, match="lower max_keys"):
        Snapshot(ORIGIN, 7, 0, 0, {"key": huge}, SMALL)


def test_keys_alternate_between_two_snapshots_and_tell_what_is_under_them() -> None:
    names_places()


# --- A task goes on from a snapshot as if it had never been away


def saved(task: Pipeline) -> dict[str, Any]:
    arrays = task.snapshot()
    found = read(*written(arrays))
    assert laws.frozen(found) == laws.frozen(arrays)
    return found


def goes_on(log: EventBatch, cuts: Sequence[int], max_keys: int) -> int:
    """How many alerts there were in all."""
    straight, edges = laws.task(max_keys), [0, *cuts, len(log)]
    told, kept = [], {}
    for start, stop in pairwise(edges):
        kept[start] = saved(straight)
        told.append(straight.process(log.take(slice(start, stop))))
    for at, (start, arrays) in enumerate(kept.items()):
        again = laws.task(max_keys)
        again.restore(arrays)
        rest = log.take(slice(start, len(log)))
        outcomes = laws.play(again, rest, [len(rest) // 3])
        assert laws.told(outcomes) == laws.told(told[at:])
        assert [v for o in outcomes for _, v in o.notables] == [v for o in told[at:] for _, v in o.notables]
        assert laws.recorded(outcomes) == laws.recorded(told[at:])
        assert laws.differing(again, straight) == []
    return len(laws.told(told))


def test_a_replay_from_any_snapshot_ends_where_a_straight_run_does() -> None:
    assert goes_on(world.live(), [1, 500, 1203, 2400, 2999], 1000) > 3


@settings(LAW, max_examples=6)
@given(SEEDS, st.lists(st.integers(1, 699), min_size=1, max_size=3, unique=True).map(sorted))
def test_so_it_is_where_keys_are_evicted_and_events_are_late_or_sent_twice(seed: int, cuts: list[int]) -> None:
    goes_on(laws.story(seed), cuts, laws.FEW)


@pytest.mark.parametrize("name", pipeline.SMALL)
@pytest.mark.parametrize("damage", ["missing", "short", "of another type"])
def test_a_snapshot_without_a_whole_chain_or_count_of_notables_is_refused_and_changes_nothing(name: str, damage: str) -> None:
    task, other = laws.task(1000), laws.task(1000)
    task.process(world.live().take(slice(0, 300)))
    before, arrays = laws.frozen(task.snapshot()), other.snapshot()
    spoilt = {"short": arrays[name][:-1], "of another type": arrays[name].astype(np.float64)}.get(damage)
    arrays = {n: a for n, a in arrays.items() if n != name} | ({} if spoilt is None else {name: spoilt})
    with pytest.raises(StateError, match=f"snapshot has no {name} of .* rebuild the task"):
        task.restore(arrays)
    assert laws.frozen(task.snapshot()) == before


def test_an_assembly_leaves_room_for_the_state_to_grow() -> None:
    task, rows = laws.task(1000), 1000
    task.process(world.live().take(slice(0, 500)))
    manifest, chunks = written(task.snapshot())
    found = Assembly(manifest, ORIGIN, task.tracker.state.room)
    for i, value in enumerate(chunks):
        found.add(i, value)
    arrays, again = found.arrays(), laws.task(1000)
    assert len(arrays["key"]) == rows > found.rows
    again.restore(arrays, own=True)
    assert np.shares_memory(again.tracker.state.columns["sum"], arrays["sum"])
    assert laws.differing(again, task) == []
