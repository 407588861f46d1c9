"""Local time: the hour on an actor's clock, by the calendar of their region."""

from __future__ import annotations

import numba as nb
import numpy as np
from numpy.typing import NDArray

from detector.core.context import Calendar, Context, Zone
from detector.core.frame import DAY, HOUR
from detector.core.lookups import Hashes, Ints, Lookup

UTC = Zone((0,), (0,))
THURSDAY = 3
"""1970-01-01."""


class Clocks:
    """C calendars, one after the other in each array; the last is of everybody else: UTC, monday to friday."""

    def __init__(self, context: Context) -> None:
        self._regions = Lookup.of(tuple(context.calendars))
        calendars = (*context.calendars.values(), Calendar(""))
        zones = [context.zones[calendar.time_zone] if calendar.time_zone else UTC for calendar in calendars]
        self._since, self._since_first = _rows([zone.since for zone in zones])
        self._offset, _ = _rows([zone.offset for zone in zones])
        self._works = np.array([[day in calendar.working_days for day in range(7)] for calendar in calendars])
        self._holiday, self._holiday_first = _rows([tuple(sorted(calendar.holidays)) for calendar in calendars])

    def hour(self, time: Ints, region: Hashes) -> Ints:
        """(n,) hour of the day 0..23 by the clocks of each region; 24..47 on days that are not working days there."""
        calendar = self._regions.find(region) % len(self._works)
        return np.asarray(
            _hours(time, calendar, self._since, self._since_first, self._offset, self._works, self._holiday, self._holiday_first)
        )


def _rows(some: list[tuple[int, ...]]) -> tuple[Ints, Ints]:
    """All of them in one array, and where each begins and the last ends."""
    return np.array([value for one in some for value in one], np.int64), np.cumsum([0, *map(len, some)])


@nb.njit(cache=True)
def _hours(
    time: Ints, calendar: Ints, since: Ints, since_first: Ints, offset: Ints, works: NDArray[np.bool_], holiday: Ints, holiday_first: Ints
) -> Ints:
    out = np.empty(len(time), np.int64)
    for i in range(len(time)):
        c = calendar[i]
        begin, end = since_first[c], since_first[c + 1]
        rule = max(begin + np.searchsorted(since[begin:end], time[i], side="right") - 1, begin)
        local = time[i] + offset[rule]
        day = local // DAY
        begin, end = holiday_first[c], holiday_first[c + 1]
        at = begin + np.searchsorted(holiday[begin:end], day)
        free = not works[c, (day + THURSDAY) % 7] or (at < end and holiday[at] == day)
        out[i] = local // HOUR % 24 + (24 if free else 0)
    return out
