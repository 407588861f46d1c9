"""Lookups: what is known of a string, found by its hash, for whole columns at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numba as nb
import numpy as np
from numpy.typing import NDArray

from detector.core.strings import hash_strings

Hashes = NDArray[np.uint64]
Ints = NDArray[np.int64]

MOST_REMEMBERED = 65_536


class Lookup:
    """Where a hash stands in a list of hashes: a table with open addressing, at most half full."""

    def __init__(self, hashes: NDArray[Any]) -> None:
        """(m,) unsigned, not 0; of equal ones the first counts."""
        size = max(8, 1 << (2 * len(hashes)).bit_length())
        self._keys, self._rows = np.zeros(size, np.uint64), np.full(size, -1, np.int64)
        _fill(self._keys, self._rows, hashes.astype(np.uint64))

    @staticmethod
    def of(names: Sequence[str]) -> Lookup:
        return Lookup(hash_strings(names))

    def find(self, hashes: NDArray[Any]) -> Ints:
        """(n,) hashes -> index of each in the list; -1 where it is not there, or absent (0)."""
        return np.asarray(_find(self._keys, self._rows, hashes.astype(np.uint64, copy=False)))


class Memo:
    """Answers (of whole numbers) about strings, asked once for each string and remembered by its hash, MOST_REMEMBERED of them at most."""

    def __init__(self, dtype: Any) -> None:
        self._dtype = dtype
        self._forget()

    def _forget(self) -> None:
        self._known = np.zeros(0, np.uint64)
        self._answers = np.zeros(1, self._dtype)  # the last: of what is absent
        self._lookup = Lookup(self._known)

    def of(self, hashes: Hashes, ask: Callable[[int], Any]) -> NDArray[Any]:
        """The answer for each of n hashes, 0 where it is absent; `ask` is told a row that has the string."""
        at = self._lookup.find(hashes)
        new = _first_rows(hashes, np.flatnonzero((at < 0) & (hashes != 0)))
        if len(new) and len(self._known) + len(new) > MOST_REMEMBERED:
            self._forget()
            new = _first_rows(hashes, np.flatnonzero(hashes))
        if len(new):
            told = np.array([ask(row) for row in new.tolist()], self._dtype)
            self._known = np.concatenate([self._known, hashes[new]])
            self._answers = np.concatenate([self._answers[:-1], told, self._answers[-1:]])
            self._lookup = Lookup(self._known)
            at = self._lookup.find(hashes)
        return np.asarray(self._answers[at])


def distinct(hashes: NDArray[Any]) -> tuple[NDArray[Any], Ints]:
    """The distinct ones of (n,) unsigned numbers, ascending, and the index in them of each: np.unique, without sorting all of them."""
    found, codes = _coded(hashes.astype(np.uint64, copy=False))
    order = np.argsort(found)
    rank = np.empty(len(found), np.int64)
    rank[order] = np.arange(len(found))
    return found[order].astype(hashes.dtype), rank[codes]


def _first_rows(hashes: Hashes, rows: Ints) -> Ints:
    """Of these rows the first with each hash."""
    return rows[np.unique(hashes[rows], return_index=True)[1]]


def joined_hash(one: Hashes, other: NDArray[Any]) -> Hashes:
    """A hash, never 0, of an ordered pair of hashes or small numbers, each (n,)."""
    return np.asarray(_joined(one.astype(np.uint64, copy=False), other.astype(np.uint64)))


def pair_hash(resource: Hashes, action: Ints) -> NDArray[np.uint32]:
    """A hash, never 0, of each (resource, action), each (n,)."""
    return np.asarray(np.maximum(joined_hash(resource, action) >> np.uint64(32), np.uint64(1)), np.uint32)


@nb.njit(inline="always")
def _mixed(x: np.uint64) -> np.uint64:
    """The finaliser of SplitMix64 (Steele, Lea and Flood, Fast splittable pseudorandom number generators, 2014)."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


@nb.njit(cache=True)
def _joined(one: Hashes, other: Hashes) -> Hashes:
    out = np.empty(len(one), np.uint64)
    for i in range(len(out)):
        out[i] = max(_mixed(one[i] + _mixed(other[i] + np.uint64(0x9E3779B97F4A7C15))), np.uint64(1))
    return out


@nb.njit(cache=True)
def _fill(keys: Hashes, rows: Ints, hashes: Hashes) -> None:
    last = np.uint64(len(keys) - 1)
    for row in range(len(hashes)):
        at = hashes[row] & last
        while keys[at] != 0 and keys[at] != hashes[row]:
            at = (at + np.uint64(1)) & last
        if keys[at] == 0:
            keys[at], rows[at] = hashes[row], row


@nb.njit(cache=True)
def _find(keys: Hashes, rows: Ints, hashes: Hashes) -> Ints:
    last = np.uint64(len(keys) - 1)
    out = np.empty(len(hashes), np.int64)
    for i in range(len(hashes)):
        at = hashes[i] & last
        while keys[at] != 0 and keys[at] != hashes[i]:
            at = (at + np.uint64(1)) & last
        out[i] = rows[at]  # -1 where the key is 0
    return out


@nb.njit(cache=True)
def _coded(hashes: Hashes) -> tuple[Hashes, Ints]:
    """The distinct ones in order of first use, and the index in them of each. The table is grown where it is half full."""
    table, found, codes = np.full(1024, -1, np.int64), np.empty(512, np.uint64), np.empty(len(hashes), np.int64)
    count = 0
    for i in range(len(hashes)):
        last = np.uint64(len(table) - 1)
        at = _mixed(hashes[i]) & last
        while table[at] >= 0 and found[table[at]] != hashes[i]:
            at = (at + np.uint64(1)) & last
        if table[at] < 0:
            if count == len(found):
                table, found = _grown(found)
                last = np.uint64(len(table) - 1)
                at = _mixed(hashes[i]) & last
                while table[at] >= 0:
                    at = (at + np.uint64(1)) & last
            found[count], table[at] = hashes[i], count
            count += 1
        codes[i] = table[at]
    return found[:count], codes


@nb.njit(cache=True)
def _grown(found: Hashes) -> tuple[Ints, Hashes]:
    """Table and list with twice the room."""
    table, more = np.full(4 * len(found), -1, np.int64), np.empty(2 * len(found), np.uint64)
    last = np.uint64(len(table) - 1)
    for row in range(len(found)):
        more[row] = found[row]
        at = _mixed(found[row]) & last
        while table[at] >= 0:
            at = (at + np.uint64(1)) & last
        table[at] = row
    return table, more
