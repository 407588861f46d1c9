"""Slots by key against a list of keys; snapshots that do not fit; growth and eviction; each change to the code is noticed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mutation import mutate

from detector.core import state
from detector.core.state import Column, KeyedState
from detector.errors import StateError

COLUMNS = (Column("events", "int64"), Column("pair", "float32", (2, 3), empty=-1))
STEPS = st.lists(st.tuples(st.integers(1, 60), st.integers(0, 50)), max_size=300)
Steps = list[tuple[int, int]]


class Held:
    """Which keys are held and in which slot: a new key takes the lowest free slot; when all are taken, a sixteenth of the keys goes, the
    oldest first and among equally old ones the lower slot."""

    def __init__(self, max_keys: int) -> None:
        self.slots: list[int | None] = [None] * max_keys
        self.last: dict[int, int] = {}

    def touch(self, key: int, time: int) -> list[int]:
        """An event of the key; returns the keys that had to go."""
        gone: list[int] = []
        if key not in self.last:
            if None not in self.slots:
                gone = sorted(self.last, key=lambda k: (self.last[k], self.slots.index(k)))[: len(self.slots) // 16]
            for old in gone:
                self.slots[self.slots.index(old)] = None
                del self.last[old]
            self.slots[self.slots.index(None)] = key
        self.last[key] = max(self.last.get(key, time), time)
        return gone


def counted(steps: Steps, max_keys: int, cut: int) -> KeyedState:
    """A state that counted each key's events, two batches."""
    kept = KeyedState(COLUMNS, max_keys)
    for part in (steps[:cut], steps[cut:]):
        keys, times = np.array([k for k, _ in part], np.uint64), np.array([t for _, t in part], np.int64)
        at = 0
        for rows, slots in kept.runs(keys, times):
            assert rows.start == at and len(slots) == rows.stop - rows.start, "every row once, in order"
            at = rows.stop
            assert (kept.columns["key"][slots] == keys[rows]).all()
            np.add.at(kept.columns["events"], slots, 1)
            kept.columns["pair"][slots] = slots[:, None, None]
        assert at == len(part)
    return kept


def check_against_a_list(steps: Steps, max_keys: int, cut: int) -> None:
    kept, held, events, evicted = counted(steps, max_keys, cut), Held(max_keys), dict[int, int](), 0
    for key, time in steps:
        for gone in held.touch(key, time):
            del events[gone]
            evicted += 1
        events[key] = events.get(key, 0) + 1
    c = kept.columns
    assert [int(k) or None for k in c["key"][:max_keys]] == held.slots[: len(c["key"])]
    assert len(kept) == len(events) and kept.evicted == evicted
    for slot, key in enumerate(held.slots[: len(c["key"])]):
        expected = (0, np.iinfo(np.int64).min, -1) if key is None else (events[key], held.last[key], slot)
        assert (c["events"][slot], c["last"][slot], c["pair"][slot, 0, 0]) == expected
        assert (c["pair"][slot] == c["pair"][slot, 0, 0]).all()


@settings(derandomize=True, deadline=None, max_examples=60, database=None)
@given(STEPS, st.sampled_from([16, 32, 48]), st.integers(0, 300))
def test_slots_and_evictions_are_those_of_a_list_of_keys(steps: Steps, max_keys: int, cut: int) -> None:
    check_against_a_list(steps, max_keys, cut)


def test_it_grows_up_to_max_keys_and_no_further() -> None:
    kept = KeyedState(COLUMNS, 1500)
    keys = np.random.default_rng(1).permutation(4000).astype(np.uint64) + np.uint64(1)
    for start in range(0, 4000, 700):
        some = keys[start : start + 700]
        for _ in kept.runs(some, np.arange(start, start + len(some))):
            assert len(kept) <= 1500 and all(len(a) <= 1500 for a in kept.columns.values())
    newest = set(keys[-1400:].tolist())
    assert newest <= set(kept.columns["key"].tolist())
    assert kept.capacity == 1500 and kept.evicted == 4000 - len(kept)


ALIKE: Steps = [((k << 52) + (k << 20) + 7, i) for i, k in enumerate([*range(1, 40), *range(39, 0, -1)])]


def test_keys_with_the_same_low_bits_are_told_apart() -> None:
    check_against_a_list(ALIKE, 48, 30)


def frozen(arrays: dict[str, Any]) -> dict[str, bytes]:
    return {name: array.tobytes() for name, array in arrays.items()}


def roomy(arrays: dict[str, Any], rows: int) -> dict[str, Any]:
    """With as many rows, those that were not there 0."""
    return {name: np.concatenate([a, np.zeros((rows - len(a), *a.shape[1:]), a.dtype)]) for name, a in arrays.items()}


def goes_on(steps: Steps, cut: int, own: bool) -> None:
    whole, first, second = counted(steps, 32, cut), counted(steps[:cut], 32, 0), KeyedState(COLUMNS, 32)
    arrays = roomy(first.snapshot(), 32)
    before = frozen(arrays)
    second.restore(arrays, own)
    assert own == all(np.shares_memory(arrays[name], column) for name, column in second.columns.items())
    keys, times = np.array([k for k, _ in steps[cut:]], np.uint64), np.array([t for _, t in steps[cut:]], np.int64)
    for _, slots in second.runs(keys, times):
        np.add.at(second.columns["events"], slots, 1)
        second.columns["pair"][slots] = slots[:, None, None]
    assert frozen(second.snapshot()) == frozen(whole.snapshot())
    unused = second.columns["key"] == 0
    assert (second.columns["pair"][unused] == -1).all() and (second.columns["last"][unused] == np.iinfo(np.int64).min).all()
    assert own or frozen(arrays) == before


@pytest.mark.parametrize("own", [False, True], ids=["of copies", "of the arrays themselves"])
@settings(derandomize=True, deadline=None, max_examples=40, database=None)
@given(steps=STEPS, cut=st.integers(0, 300))
def test_a_restored_state_goes_on_byte_for_byte(own: bool, steps: Steps, cut: int) -> None:
    goes_on(steps, cut, own)


def test_arrays_that_have_no_room_to_grow_or_may_not_be_written_are_copied_even_if_they_are_given_away() -> None:
    given_away = counted([(k, k) for k in range(1, 9)], 64, 4).snapshot()
    kept = KeyedState(COLUMNS, 64)
    kept.restore(given_away, own=True)
    assert kept.capacity == 64 and not any(np.shares_memory(given_away[name], column) for name, column in kept.columns.items())
    for array in (fixed := roomy(given_away, 64)).values():
        array.flags.writeable = False
    kept.restore(fixed, own=True)
    kept.columns["events"][0] = 5
    assert fixed["events"][0] == 1


@pytest.mark.parametrize(
    ("slots", "max_keys", "rows"), [(0, 2**20, 1024), (1025, 2**20, 2048), (7, 100, 100), (2048, 3000, 2048), (99, 50, 99)]
)
def test_memory_has_room_to_grow_up_to_max_keys(slots: int, max_keys: int, rows: int) -> None:
    kept = KeyedState(COLUMNS, max_keys)
    assert kept.room(slots) == rows == kept.room(rows)


def test_a_snapshot_may_be_put_where_there_is_room() -> None:
    kept = counted([(k, k) for k in range(1, 9)], 64, 4)
    room = np.full(kept.snapshot_bytes() + 100, 77, np.uint8)
    saved = kept.snapshot(room)
    assert frozen(saved) == frozen(kept.snapshot()) and all(np.shares_memory(room, array) for array in saved.values())
    assert (room[-100:] == 77).all()


def test_a_snapshot_is_a_copy_up_to_the_highest_slot_in_use() -> None:
    kept = counted([(5, 1), (6, 2)], 32, 1)
    saved = kept.snapshot()
    assert {len(a) for a in saved.values()} == {2}
    kept.columns["events"][:] = 99
    assert saved["events"].tolist() == [1, 1]
    assert {len(a) for a in KeyedState(COLUMNS, 32).snapshot().values()} == {0}


def _without(name: str) -> Any:
    return lambda s: {n: a for n, a in s.items() if n != name}


DAMAGES: list[tuple[str, Any]] = [
    ("columns", _without("events")),
    ("columns", lambda s: {**s, "more": s["events"]}),
    ("column events", lambda s: {**s, "events": s["events"].astype(np.int32)}),
    ("column events", lambda s: {**s, "events": s["events"][:-1]}),
    ("column pair", lambda s: {**s, "pair": s["pair"].reshape(-1, 3, 2)}),
    ("column key", lambda s: {**s, "key": s["key"].astype(np.int64)}),
    ("twice", lambda s: {**s, "key": np.full_like(s["key"], 7)}),
    ("max_keys", lambda s: {n: np.repeat(a, 9, axis=0) for n, a in s.items()}),
]


@pytest.mark.parametrize(("says", "damage"), DAMAGES, ids=[str(i) for i in range(len(DAMAGES))])
def test_a_snapshot_that_does_not_fit_is_refused_and_changes_nothing(says: str, damage: Any) -> None:
    kept = counted([(k, k) for k in range(1, 9)], 64, 4)
    before = kept.snapshot()
    with pytest.raises(StateError, match=says):
        kept.restore(damage(counted([(k, k) for k in range(21, 29)], 64, 4).snapshot()), own=True)
    assert {n: a.tobytes() for n, a in kept.snapshot().items()} == {n: a.tobytes() for n, a in before.items()}


def test_a_short_hash_is_the_low_half_and_0_only_where_there_is_none() -> None:
    hashes = np.array([0, 1, 7 << 32, (7 << 32) + 5, 2**64 - 1], np.uint64)
    short = state.short(hashes)
    assert short.dtype == np.uint32 and short.tolist() == [0, 1, 1, 5, 2**32 - 1]


STORY: Steps = [(int(k), int(t)) for k, t in zip(*np.random.default_rng(3).integers(1, 50, (2, 300)), strict=True)]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("EVICTED_SHARE = 16", "EVICTED_SHARE = 8"),
        ("last[slot] = max(last[slot], times[i])", "last[slot] = times[i]"),
        ("np.lexsort((np.arange(self.capacity), self.columns", "np.lexsort((-np.arange(self.capacity), self.columns"),
        ("np.lexsort((np.arange(self.capacity), self.columns", "np.lexsort((np.arange(self.capacity), -self.columns"),
        ("self.columns[c.name][oldest] = c.empty", "self.columns[c.name][oldest] = 0"),
        ("self.evicted += len(oldest)", "self.evicted += 1"),
        ("self._free = np.flatnonzero(keys == 0)", "self._free = np.flatnonzero(keys == 0)[::-1]"),
        ("self._free = self._free[taken:]", "self._free = self._free[taken + 1 :]"),
        ("if start < done and (full or done == len(keys)):", "if start < done and done == len(keys):"),
        ("while table[at] >= 0 and keys[table[at]] != key:", "while table[at] >= 0 and (keys[table[at]] ^ key) & np.uint64(7):"),
        ("            slot = free[taken]\n", "            slot = free[-1 - taken]\n"),
        ("if own and rows == capacity:", "if rows == capacity:"),
        ("if own and rows == capacity:", "if False:"),
        ("self.columns[c.name][unused] = c.empty", "pass"),
        ("self.columns[c.name][unused] = c.empty", "self.columns[c.name][~unused] = c.empty"),
        ("    grown[: len(array)] = array\n", "    grown[: len(array)] = array[::-1]\n"),
    ],
)
def test_a_change_is_noticed(old: str, new: str, monkeypatch: pytest.MonkeyPatch) -> None:
    check_against_a_list(STORY, 32, 100)
    mutate(monkeypatch, state, old, new)
    with pytest.raises(AssertionError):
        check_against_a_list(STORY, 32, 100)
        check_against_a_list(ALIKE, 48, 30)
        goes_on(STORY, 100, own=False)
        goes_on(STORY[:30], 20, own=True)
