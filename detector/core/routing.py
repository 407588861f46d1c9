"""Routing: which shard of employees a raw record belongs to, and on which day of the log it comes, without decoding it.

To decode takes longer than all else together, so those who share the work must share that too. A compiled loop looks for a record's
`actor` and `time` and stops when it has both, for which a tenth of the bytes are read. Where they are not where they usually are (an
escape, a name twice, no JSON at all), the record is decoded, and so is each that would begin a new day: what is refused has no time.
Where a record is refused does not matter, as long as it is once; and all accepted ones of an employee go to one shard, in order.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import NamedTuple

import numba as nb
import numpy as np
from numpy.typing import NDArray

from detector.core.events import NO_TIME, Ints, Records
from detector.core.formats.native import Limits, decode
from detector.core.frame import DAY
from detector.core.json_scan import _string_end, _whole
from detector.core.rfc3339 import rfc3339
from detector.core.strings import hash_spans

NO_DAY = -1
ESCAPE = 1
"""What `_string_end` says of a string with an escape in it."""


class Part(NamedTuple):
    """A run of the log on one day of it."""

    day: int
    """The latest day, since 1970, that the log had come to."""
    shards: list[Records]
    """What each shard gets of it; empty ones too."""


class Router:
    """Cuts a log into days, and each day among shards."""

    def __init__(self, shards: int, limits: Limits, begin: int = 0, until: int | None = None) -> None:
        """What happened before `begin` or not before `until`, ms, is left out."""
        self._shards, self._limits, self._begin, self._until, self._day = shards, limits, begin, until, NO_DAY

    def route(self, log: Iterable[Records]) -> Iterator[Part]:
        for records in log:
            actor, time = self._found(records)
            outside = (time != NO_TIME) & (time < self._begin)
            if self._until is not None:
                outside |= time >= self._until
            if outside.any():
                rows = np.flatnonzero(~outside)
                records, actor, time = records.take(rows), actor[rows], time[rows]
            if not len(records):
                continue
            day = self._days(records, time)
            home = (actor >> np.uint64(32)) % np.uint64(self._shards)  # the low bits choose places in tables of hashes
            for start, stop in pairwise([0, *(np.flatnonzero(np.diff(day)) + 1).tolist(), len(day)]):
                if self._shards == 1:
                    yield Part(int(day[start]), [records if stop - start == len(records) else records.take(slice(start, stop))])
                    continue
                shares = [start + np.flatnonzero(home[start:stop] == shard) for shard in range(self._shards)]
                yield Part(int(day[start]), [compact(records, share) for share in shares])

    def _found(self, records: Records) -> tuple[NDArray[np.uint64], Ints]:
        """(n,) hash of the actor and time of each; 0 and the beginning of time for what is refused."""
        time, span = _leading(np.frombuffer(records.data, np.uint8), np.ascontiguousarray(records.value))
        time[records.broken] = NO_TIME
        actor = hash_spans(records.data, span[:, None])[:, 0]
        odd = np.flatnonzero(time == NO_TIME)
        if len(odd):
            accepted, events = self._decoded(records, odd)
            time[accepted], actor[accepted] = events
            actor[np.setdiff1d(odd, accepted)] = 0
        return actor, time

    def _days(self, records: Records, time: Ints) -> Ints:
        """(n,) the latest day that the log had come to. Only records that are accepted bring it on, so each that seems to is looked at."""
        day, sure = time // DAY, np.zeros(len(time), np.bool_)
        while True:
            reached = np.maximum.accumulate(np.maximum(day, self._day))
            rising = np.flatnonzero((np.diff(reached, prepend=self._day) > 0) & ~sure)
            if not len(rising):
                self._day = int(reached[-1])
                return reached
            accepted, _ = self._decoded(records, rising)
            sure[accepted] = True
            day[np.setdiff1d(rising, accepted)] = NO_DAY

    def _decoded(self, records: Records, rows: Ints) -> tuple[Ints, tuple[Ints, NDArray[np.uint64]]]:
        """Those of the rows that are events; their times and actors."""
        some = records.take(rows)
        events = decode(Records(some.topic, some.partition, some.data, rows, *_rest(some)), self._limits)
        return events.offset, (events.time, events.hashes("actor"))


def _rest(records: Records) -> tuple[Ints, Ints | None, Ints, Ints, NDArray[np.bool_]]:
    return records.timestamp, records.key, records.value, records.headers, records.broken


def compact(records: Records, rows: Ints) -> Records:
    """Some of the records, with a buffer that holds nothing else; their headers are left behind."""
    spans = np.stack([records.value[rows], _nothing(len(rows)) if records.key is None else records.key[rows]], axis=1)
    data, moved = _gathered(np.frombuffer(records.data, np.uint8), np.ascontiguousarray(spans))
    key = None if records.key is None else np.ascontiguousarray(moved[:, 1])
    value, timestamp = np.ascontiguousarray(moved[:, 0]), records.timestamp[rows]
    broken = records.broken[rows]
    return Records(
        records.topic, records.partition, data.tobytes(), records.offset[rows], timestamp, key, value, _nothing(len(rows)), broken
    )


def _nothing(n: int) -> Ints:
    return np.tile(np.array([0, -1], np.int64), (n, 1))


@nb.njit(cache=True)
def _gathered(data: NDArray[np.uint8], spans: Ints) -> tuple[NDArray[np.uint8], Ints]:
    """The bytes of (n, m, 2) spans one after the other, and where each is now."""
    size = 0
    for row in range(len(spans)):
        for part in range(spans.shape[1]):
            size += max(spans[row, part, 1] - spans[row, part, 0], 0)
    out, moved, at = np.empty(size, np.uint8), spans.copy(), 0
    for row in range(len(spans)):
        for part in range(spans.shape[1]):
            start, stop = spans[row, part]
            if stop >= start:
                out[at : at + stop - start] = data[start:stop]
                moved[row, part] = (at, at + stop - start)
                at += stop - start
    return out, moved


@nb.njit(cache=True)
def _leading(data: NDArray[np.uint8], value: Ints) -> tuple[Ints, Ints]:
    """Time (n,) in ms and position of the actor (n, 2) of each record; NO_TIME where they are not plain to see."""
    time, span = np.full(len(value), NO_TIME, np.int64), np.full((len(value), 2), -1, np.int64)
    span[:, 0] = 0
    for row in range(len(value)):
        found, start, stop = _first_two(data, value[row, 0], value[row, 1])
        if found >= 0 and stop >= 0:
            time[row] = found
            span[row] = (start, stop)
    return time, span


@nb.njit(cache=True)
def _first_two(data: NDArray[np.uint8], at: int, stop: int) -> tuple[int, int, int]:  # noqa: C901
    """Time and the actor's start and stop, -1 where there is none, of one record; it is read until both are found."""
    time, begin, end = NO_TIME, 0, -1
    depth, member, awaits_name = 0, 0, False  # of member 1, `time`, or 2, `actor`, the value is awaited
    while at < stop and (time < 0 or end < 0):
        c = data[at]
        at += 1
        if c == ord('"'):
            close, oddity = _string_end(data, at, stop)
            if depth == 1 and oddity & ESCAPE and (awaits_name or member):
                return NO_TIME, 0, -1
            if depth == 1 and awaits_name:
                member = _which(data, at, close)
            elif depth == 1 and member == 1:
                time = rfc3339(data, at, close)
            elif depth == 1 and member == 2:
                begin, end = at, close
            at = close + 1
        elif c == ord(",") or c == ord(":"):
            awaits_name = depth == 1 and c == ord(",")
        elif c == ord("{") or c == ord("["):
            depth += 1
            awaits_name = depth == 1
        elif c == ord("}") or c == ord("]"):
            depth -= 1
        elif depth == 1 and member == 1 and not awaits_name and c > ord(" "):
            time, at = _whole(data, at - 1, stop)
    return time, begin, end


@nb.njit(cache=True)
def _which(data: NDArray[np.uint8], at: int, close: int) -> int:
    if close - at == 4 and data[at] == ord("t") and data[at + 1] == ord("i") and data[at + 2] == ord("m") and data[at + 3] == ord("e"):
        return 1
    actor = (
        close - at == 5 and data[at] == ord("a") and data[at + 1] == ord("c") and data[at + 2] == ord("t") and data[at + 3] == ord("o")
        and data[at + 4] == ord("r")
    )  # fmt: skip
    return 2 if actor else 0
