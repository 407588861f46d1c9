"""The ring of event ids against lists of them."""

from __future__ import annotations

from collections import defaultdict, deque

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mutation import mutate

from detector.core import duplicates
from detector.core.state import KeyedState

Steps = list[tuple[int, int]]


def found(steps: Steps, cut: int = 0) -> list[bool]:
    """steps: (key, id); in two batches."""
    state, out = KeyedState(duplicates.COLUMNS, 64), []
    for part in (steps[:cut], steps[cut:]):
        keys, ids = np.array([k for k, _ in part], np.uint64), np.array([i for _, i in part], np.uint64)
        for rows, slots in state.runs(keys, np.zeros(len(part), np.int64)):
            out += duplicates.repeated(state, slots, ids[rows]).tolist()
    return out


def expected(steps: Steps) -> list[bool]:
    """An id is a repetition if it is among the key's last 64 that were none; what has no id never is."""
    recent: dict[int, deque[int]] = defaultdict(lambda: deque(maxlen=64))
    out = []
    for key, identity in steps:
        short = identity % 2**32 or 1
        out.append(identity != 0 and short in recent[key])
        if identity and not out[-1]:
            recent[key].append(short)
    return out


def story(seed: int) -> Steps:
    rng = np.random.default_rng(seed)
    ids = rng.integers(1, 2**63, 90)
    return [(int(rng.integers(1, 4)), 0 if rng.random() < 0.1 else int(ids[rng.integers(len(ids))])) for _ in range(1500)]


@settings(derandomize=True, deadline=None, max_examples=30, database=None)
@given(st.integers(0, 2**32 - 1), st.integers(0, 1500))
def test_repetitions_are_those_of_a_list_of_the_last_64_ids(seed: int, cut: int) -> None:
    assert found(story(seed), cut) == expected(story(seed))


@pytest.mark.parametrize(("between", "repeated"), [(0, True), (63, True), (64, False)])
def test_an_id_is_known_for_64_events_of_its_key(between: int, repeated: bool) -> None:
    before, after, of_another = [(1, 1000 + i) for i in range(300)], [(1, 1 + i) for i in range(between)], [(2, 1 + i) for i in range(500)]
    assert found([*before, (1, 999), *after, *of_another, (1, 999)])[-1] is repeated


def test_events_without_an_id_always_count_and_push_nothing_out() -> None:
    assert not any(found([(1, 0)] * 300))
    assert found([(1, 999), *[(1, 0)] * 300, (1, 999)])[-1]


def test_an_id_whose_short_hash_is_zero_is_known_too() -> None:
    assert found([(1, 5 << 32), (1, 5 << 32)]) == [False, True]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("RING = 64", "RING = 63"),
        ("RING = 64", "RING = 65"),
        ("        if not found[i]:", "        if True:"),
        ("recent_next[s] + 1", "recent_next[s] + 2"),
        ("if ids[i] == 0:", "if False:"),
        ("np.uint64(0xFFFFFFFF)", "np.uint64(0xFF)"),
        ("found[i] = True", "found[i] = j > 0"),
    ],
)
def test_a_change_is_noticed(old: str, new: str, monkeypatch: pytest.MonkeyPatch) -> None:
    mutate(monkeypatch, duplicates, old, new)
    assert any(found(story(seed)) != expected(story(seed)) for seed in (1, 2))
