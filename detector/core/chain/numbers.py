"""Records that are numbered from 0 without a gap, put into the order of their numbers however they arrive; in bounded memory."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from heapq import heappop, heappush
from typing import NamedTuple

WINDOW = 1 << 14
"""Numbers for which one that is lacking is waited for, and that are remembered: what lies in other partitions is read that much later."""


class Place(NamedTuple):
    """Where a record stands. In one log, what stands later was written later."""

    log: str
    """A file, or a partition of the alerts."""
    at: int
    """The number of the line, or the offset."""
    unit: str = "line"
    time: int = 0
    """The broker's, ms; 0 where it is not known."""

    def __str__(self) -> str:
        return f"{self.log} {self.unit} {self.at}"


class Fault(NamedTuple):
    """Something that is wrong with the log."""

    kind: str
    """missing, altered, reordered, repeated, truncated or forged."""
    what: str
    """`alert 17`, `heartbeat 4`, `record`."""
    place: Place | None
    """The first record at which it shows; None where the log holds none of the task."""
    message: str

    @property
    def order(self) -> tuple[int, str, int]:
        return (self.place.time, self.place.log, self.place.at) if self.place else (0, "", -1)


@dataclass(slots=True)
class Entry:
    """What is kept of a record."""

    what: str
    number: int
    place: Place
    hash: str
    prev: str = ""
    """Hash of the one before, as it says."""
    bad: bool = False
    """It was found to be altered."""

    def fault(self, kind: str, message: str) -> Fault:
        return Fault(kind, f"{self.what} {self.number}", self.place, message)

    def lacking(self, due: int) -> Fault:
        """Those from number `due` on are not there."""
        numbers = f"{self.what} {due}" if due + 1 == self.number else f"{self.what}s {due} to {self.number - 1}"
        return Fault("missing", numbers, self.place, f"what stands there is {self.what} {self.number}")

    def blame(self, message: str) -> Fault:
        self.bad = True
        return self.fault("altered", message)


@dataclass(slots=True)
class Numbers:
    next: int = 0
    """All below it are in order, or were given up."""
    _waiting: dict[int, list[Entry]] = field(default_factory=dict)
    _heap: list[int] = field(default_factory=list)
    _settled: dict[int, Entry] = field(default_factory=dict)

    def known(self, number: int) -> list[Entry]:
        """Those of this number, as far back as is remembered."""
        settled = self._settled.get(number)
        return self._waiting.get(number, []) if settled is None else [settled]

    def add(self, entry: Entry) -> None:
        """One whose number is not below `next`. Several of a number are kept."""
        if entry.number not in self._waiting:
            heappush(self._heap, entry.number)
        self._waiting.setdefault(entry.number, []).append(entry)

    def ready(self, ended: bool = False) -> Iterator[tuple[int, list[Entry]]]:
        """Those whose turn it is, each with the number that was due: another, where numbers are lacking and it is no use to wait longer."""
        while self._heap and (self._heap[0] == self.next or ended or len(self._heap) > WINDOW):
            due, number = self.next, heappop(self._heap)
            entries = self._waiting.pop(number)
            self.next = number + 1
            yield due, entries

    def remember(self, entry: Entry) -> None:
        self._settled[entry.number] = entry
        if len(self._settled) > WINDOW:
            del self._settled[next(iter(self._settled))]


@dataclass(slots=True)
class Stream:
    """The order in which a task's records stand in one log. Their ranks may leave some out, but never fall."""

    _ranks: list[tuple[int, int]] = field(default_factory=list)
    _entries: list[Entry] = field(default_factory=list)
    _blamed: Entry | None = None

    def overtaken(self, rank: tuple[int, int], entry: Entry) -> Entry | None:
        """The first that stands before this one, and should not; None if there is none, or it was named already."""
        if not self._ranks or rank >= self._ranks[-1]:
            self._ranks.append(rank)
            self._entries.append(entry)
            if len(self._ranks) > 2 * WINDOW:
                del self._ranks[:WINDOW], self._entries[:WINDOW]
            return None
        culprit = self._entries[bisect_right(self._ranks, rank)]
        if culprit is self._blamed:
            return None
        self._blamed = culprit
        return culprit
