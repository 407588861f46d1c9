"""State by key: one slot a key, one array a state column, bounded.

Rules:
- A slot is given at a key's first event, in log order; a column's row starts as its `empty` value.
- When `max_keys` are held and a new key comes, the sixteenth with the oldest event times goes (ties: the lower slot). It is a function
  of the log alone, so a batch cut elsewhere evicts the same keys at the same event.
- Two states that have seen the same events have byte-equal snapshots, whatever the batches were and however often they were restored.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numba as nb
import numpy as np
from numpy.typing import NDArray

from detector.errors import StateError

Array = NDArray[Any]
Slots = NDArray[np.int32]
"""Slot of each event, (n,)."""
EVICTED_SHARE = 16
LEAST = 1024
"""Rows of memory."""
ALIGNED = 64
"""Bytes, of a line of the processor's cache."""


@dataclass(frozen=True, slots=True)
class Column:
    """A state column: `width` values of `dtype` a key, each `empty` to begin with."""

    name: str
    dtype: str
    width: tuple[int, ...] = ()
    empty: float | int = 0


def short(hashes: Array) -> NDArray[np.uint32]:
    """(n,) 64-bit hashes -> their low 32 bits, for small state; 0 (absent) stays 0, and nothing else becomes 0."""
    low = hashes.astype(np.uint32)
    low[(low == 0) & (hashes != 0)] = 1
    return low


KEY = Column("key", "uint64")
LAST = Column("last", "int64", empty=np.iinfo(np.int64).min)


class KeyedState:
    """Slots by key. `columns[name]` is an array of shape (capacity, *width); rows of unused slots are empty."""

    def __init__(self, columns: Sequence[Column], max_keys: int) -> None:
        assert max_keys >= EVICTED_SHARE, "max_keys is too small to evict a share of it"
        self.schema = (KEY, LAST, *columns)
        assert len({c.name for c in self.schema}) == len(self.schema), "two state columns have one name"
        self.max_keys = max_keys
        self.evicted = 0
        self.columns: dict[str, Array] = {c.name: _empty(c, 0) for c in self.schema}
        self._free: Slots = np.zeros(0, np.int32)
        self._resize(self.room(0))

    def __len__(self) -> int:
        """How many keys are held."""
        return self.capacity - len(self._free)

    @property
    def capacity(self) -> int:
        return len(self.columns["key"])

    @property
    def bytes_per_key(self) -> int:
        return sum(a.itemsize * int(np.prod(a.shape[1:])) for a in self.columns.values())

    def runs(self, keys: NDArray[np.uint64], times: NDArray[np.int64]) -> Iterator[tuple[slice, NDArray[np.int32]]]:
        """Yields (rows, slots of these rows): nearly always the whole batch; cut where an eviction empties slots in the middle of it.

        keys: (n,) non-zero; times: (n,) ms. The caller must finish with a run before asking for the next.
        """
        slots = np.empty(len(keys), np.int32)
        start = done = 0
        while True:
            done, taken = _assign(keys, times, done, self.columns["key"], self.columns["last"], self._table, self._free, slots)
            self._free = self._free[taken:]
            full = done < len(keys) and self.capacity == self.max_keys
            if start < done and (full or done == len(keys)):
                yield slice(start, done), slots[start:done]
                start = done
            if done == len(keys):
                return
            if full:
                self._evict()
            else:
                self._resize(min(2 * self.capacity, self.max_keys))

    def snapshot_bytes(self) -> int:
        """Of memory that a snapshot takes now."""
        return sum(_aligned(rows.nbytes) for rows in self._used())

    def snapshot(self, room: NDArray[np.uint8] | None = None) -> dict[str, Array]:
        """The state as named arrays (copies), up to the highest used slot. Nothing is processed meanwhile.

        `room`: memory for them, of `snapshot_bytes()` at least, which must be left alone as long as they are used; None: new memory. What
        was touched before is written ten times as fast, or more.
        """
        memory, at, copies = np.zeros(self.snapshot_bytes(), np.uint8) if room is None else room, 0, {}
        for name, rows in zip(self.columns, self._used(), strict=True):
            copies[name] = copy = memory[at : at + rows.nbytes].view(rows.dtype).reshape(rows.shape)
            np.copyto(copy, rows)
            at += _aligned(rows.nbytes)
        return copies

    def room(self, slots: int) -> int:
        """Rows of memory that a state has which holds so many slots: it grows in leaps, since each copies all of it."""
        return max(min(max(LEAST, 1 << max(slots - 1, 0).bit_length()), self.max_keys), slots)

    def restore(self, arrays: Mapping[str, Array], own: bool = False) -> None:
        """Takes over a snapshot. Raises StateError where it does not fit this schema; the state is then unchanged.

        `own`: nobody else uses the arrays any more; if they have as many rows as `room` says, those of unused slots with the key 0, they
        become the state, and nothing is copied.
        """
        rows = _fits(self.schema, arrays, self.max_keys)
        capacity = self.room(rows)
        if own and rows == capacity:
            self.columns = {c.name: np.require(arrays[c.name], requirements=["C", "ALIGNED", "W"]) for c in self.schema}
        else:
            self.columns = {c.name: _grown(arrays[c.name], c, capacity) for c in self.schema}
        unused = self.columns["key"] == 0
        for c in self.schema:
            if c.empty != 0:
                self.columns[c.name][unused] = c.empty
        self._index()

    def _used(self) -> list[Array]:
        """Of each column the rows up to the highest used slot."""
        used = np.flatnonzero(self.columns["key"])
        top = int(used[-1]) + 1 if len(used) else 0
        return [array[:top] for array in self.columns.values()]

    def _evict(self) -> None:
        oldest = np.lexsort((np.arange(self.capacity), self.columns["last"]))[: self.max_keys // EVICTED_SHARE]
        for c in self.schema:
            self.columns[c.name][oldest] = c.empty
        self.evicted += len(oldest)
        self._index()

    def _resize(self, capacity: int) -> None:
        for c in self.schema:
            self.columns[c.name] = _grown(self.columns[c.name], c, capacity)
        self._index()

    def _index(self) -> None:
        """Makes the hash table and the list of free slots anew; both follow from the keys."""
        keys = self.columns["key"]
        self._table = np.full(1 << (2 * len(keys) - 1).bit_length(), -1, np.int32)
        self._free = np.flatnonzero(keys == 0).astype(np.int32)
        _fill(keys, self._table)


def _empty(column: Column, rows: int) -> Array:
    if column.empty == 0:
        return np.zeros((rows, *column.width), column.dtype)  # memory that is not touched before its slots are
    return np.full((rows, *column.width), column.empty, column.dtype)


def _grown(array: Array, column: Column, rows: int) -> Array:
    grown = _empty(column, rows)
    grown[: len(array)] = array
    return grown


def _aligned(size: int) -> int:
    return -(-size // ALIGNED) * ALIGNED


def _fits(schema: Sequence[Column], arrays: Mapping[str, Array], max_keys: int) -> int:
    names = {c.name for c in schema}
    if names != set(arrays):
        raise StateError(f"snapshot has the columns {sorted(arrays)}, this version keeps {sorted(names)}: rebuild the task from its input")
    top = len(arrays["key"])
    for c in schema:
        a = arrays[c.name]
        if a.dtype != np.dtype(c.dtype) or a.shape != (top, *c.width):
            raise StateError(
                f"snapshot column {c.name} is {a.dtype}{a.shape}, expected {c.dtype}{(top, *c.width)}: rebuild the task from its input"
            )
    if top > max_keys:
        raise StateError(f"snapshot holds {top} slots, max_keys is {max_keys}: raise max_keys or rebuild the task from its input")
    used = np.sort(arrays["key"][arrays["key"] != 0])
    if (used[1:] == used[:-1]).any():
        raise StateError("snapshot holds a key twice: rebuild the task from its input")
    return top


@nb.njit(cache=True)
def _find(key, keys, table):  # type: ignore[no-untyped-def]
    """Position in the table of the key, or of the gap where it would go."""
    mask = np.uint64(len(table) - 1)
    at = (key ^ (key >> np.uint64(32))) & mask
    while table[at] >= 0 and keys[table[at]] != key:
        at = (at + np.uint64(1)) & mask
    return at


@nb.njit(cache=True)
def _fill(keys, table):  # type: ignore[no-untyped-def]
    for slot in range(len(keys)):
        if keys[slot] != 0:
            table[_find(keys[slot], keys, table)] = slot


@nb.njit(cache=True)
def _assign(event_keys, times, start, keys, last, table, free, slots):  # type: ignore[no-untyped-def]
    """Slots for events from `start` on; stops where a new key finds no free slot. Returns (stop, free slots taken)."""
    taken = 0
    for i in range(start, len(event_keys)):
        at = _find(event_keys[i], keys, table)
        slot = table[at]
        if slot < 0:
            if taken == len(free):
                return i, taken
            slot = free[taken]
            taken += 1
            table[at] = slot
            keys[slot] = event_keys[i]
        last[slot] = max(last[slot], times[i])
        slots[i] = slot
    return len(event_keys), taken
