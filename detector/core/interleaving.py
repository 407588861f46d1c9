"""Interleaving: the partitions of a topic as one log, in an order that does not depend on how they were read.

A partition's records keep their order: what is known of an employee follows from it. Between partitions, each record stands at the latest
time that its partition has come to with it, its level; ties go by partition. So the one log comes to a new day for every record where its
partition does, and a record is compared with the days that its partition's task would compare it with. Partitions in order of time
make a log in order of time.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Literal

import numpy as np

from detector.core.events import NO_TIME, Ints, Records
from detector.core.formats.native import Limits, decode
from detector.core.json_scan import UNUSUAL, scan
from detector.core.routing import compact

LEAP = 60_000
"""Ms. A record that raises its partition's level by more is decoded first: if it is no event, it must not carry others away with it."""


class Interleaving:
    """Takes runs of partitions as they come; gives out what nothing that is still to come can stand before."""

    def __init__(self, partitions: Iterable[int], limits: Limits, begin: int = 0, until: int = 1 << 62) -> None:
        """Events that happened before `begin`, or not before `until`, ms, are left out."""
        self._limits, self._begin, self._until = limits, begin, until
        self._waiting: dict[int, list[tuple[Records, Ints]]] = {partition: [] for partition in sorted(partitions)}
        self._level = dict.fromkeys(self._waiting, NO_TIME)
        self._open = set(self._waiting)
        self._given = 0

    def add(self, records: Records) -> None:
        """The next records of a partition."""
        time = self._times(records)
        outside = (time != NO_TIME) & ((time < self._begin) | (time >= self._until))
        if outside.any():
            rows = np.flatnonzero(~outside)
            records, time = compact(records, rows), time[rows]
        if len(records):
            level = self._levels(records, time)
            self._level[records.partition] = int(level[-1])
            self._waiting[records.partition].append((records, level))

    def end(self, partition: int) -> None:
        """Nothing more will come of it."""
        self._open.discard(partition)

    def waiting(self, partition: int) -> int:
        """Bytes of the partition's records that were not given out."""
        return sum(len(records.data) for records, _ in self._waiting[partition])

    def ready(self) -> Records | None:
        """What may be given out, if anything: it is partition 0 of one log, its offsets count on; headers may be left behind."""
        if any(not self._waiting[partition] for partition in self._open):
            return None
        last = min(((self._level[partition], partition) for partition in self._open), default=None)
        some = [part for partition in self._waiting for part in self._taken(partition, last)]
        if not some:
            return None
        order = np.argsort(np.concatenate([level for _, level in some]), kind="stable")
        records = Records.joined([records for records, _ in some]).take(order)
        self._given += len(records)
        return replace(records, partition=0, offset=np.arange(self._given - len(records), self._given, dtype=np.int64))

    def _taken(self, partition: int, last: tuple[int, int] | None) -> list[tuple[Records, Ints]]:
        """Off the partition's waiting records, those that stand at (level, partition) `last` or before; all, where it is None."""
        parts = self._waiting[partition]
        if last is None:
            self._waiting[partition] = []
            return parts
        side: Literal["left", "right"] = "right" if partition <= last[1] else "left"
        taken: list[tuple[Records, Ints]] = []
        while parts:
            records, level = parts[0]
            n = int(np.searchsorted(level, last[0], side))
            if n < len(level):
                if n:
                    taken.append((compact(records, np.arange(n)), level[:n]))
                    parts[0] = compact(records, np.arange(n, len(level))), level[n:]
                break
            taken.append(parts.pop(0))
        return taken

    def _times(self, records: Records) -> Ints:
        """(n,) when each happened, ms, as far as a scan tells; NO_TIME for what is surely no event."""
        verdict, time, _ = scan(
            records.data, records.value, records.key, records.timestamp, self._limits.max_event_bytes, self._limits.max_future
        )
        verdict[records.broken] = UNUSUAL
        return self._decoded(records, np.flatnonzero(verdict == UNUSUAL), time)[0]

    def _levels(self, records: Records, time: Ints) -> Ints:
        """(n,) the latest time so far. Records that are no events, and say a time that is far from it, count for nothing."""
        before, sure = self._level[records.partition], np.zeros(len(time), np.bool_)
        while True:
            level = np.maximum.accumulate(np.maximum(time, before))
            leap = np.diff(np.maximum(level, -LEAP - 1), prepend=max(before, -LEAP - 1)) > LEAP
            far = np.flatnonzero(leap & ~sure)
            if not len(far):
                return level
            time, accepted = self._decoded(records, far, time)
            sure[accepted] = True

    def _decoded(self, records: Records, rows: Ints, time: Ints) -> tuple[Ints, Ints]:
        """The times with those of some rows looked at closely, and which of them are events."""
        if not len(rows):
            return time, rows
        events = decode(replace(records.take(rows), offset=rows), self._limits)
        time = time.copy()
        time[rows] = NO_TIME
        time[events.offset] = events.time
        return time, events.offset
