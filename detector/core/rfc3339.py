"""RFC 3339 times with an offset -> milliseconds since 1970 UTC, compiled."""

from __future__ import annotations

import numba as nb
import numpy as np
from numpy.typing import NDArray

from detector.core.events import NO_TIME


def milliseconds(text: str) -> int:
    """Milliseconds since 1970 UTC of an RFC 3339 time with an offset; NO_TIME where the text is none."""
    data = np.frombuffer(text.encode(), np.uint8)
    return int(rfc3339(data, 0, len(data)))


@nb.njit(cache=True)
def _digits(data: NDArray[np.uint8], at: int, count: int) -> int:
    """`count` digits as a number; far below 0 where one of them is no digit."""
    number = 0
    for i in range(at, at + count):
        number = number * 10 + (data[i] - ord("0")) if ord("0") <= data[i] <= ord("9") else -1_000_000
    return number


@nb.njit(cache=True)
def rfc3339(data: NDArray[np.uint8], at: int, end: int) -> int:
    """Milliseconds since 1970 UTC of an RFC 3339 time with an offset, cut to the ms; NO_TIME where it is none.

    Second 60, a leap second, is second 0 of the next minute.
    """
    if end - at < 20 or data[at + 4] != ord("-") or data[at + 7] != ord("-") or data[at + 13] != ord(":") or data[at + 16] != ord(":"):
        return NO_TIME
    year, month, day = _digits(data, at, 4), _digits(data, at + 5, 2), _digits(data, at + 8, 2)
    hour, minute, second = _digits(data, at + 11, 2), _digits(data, at + 14, 2), _digits(data, at + 17, 2)
    separated = data[at + 10] == ord("T") or data[at + 10] == ord("t") or data[at + 10] == ord(" ")
    if year < 0 or not 1 <= month <= 12 or not 1 <= day <= _days(year, month) or not separated:
        return NO_TIME
    if not (0 <= hour <= 23 and 0 <= minute <= 59 and 0 <= second <= 60):
        return NO_TIME
    at, millisecond = at + 19, 0
    if data[at] == ord("."):
        at, weight, first = at + 1, 100, at + 1
        while at < end and ord("0") <= data[at] <= ord("9"):
            millisecond += weight * (data[at] - ord("0"))
            at, weight = at + 1, weight // 10
        if at == first:
            return NO_TIME
    offset = _offset(data, at, end)
    if offset == NO_TIME:
        return NO_TIME
    y = year - (month <= 2)  # years begin in March, so that the leap day is a year's last
    days = 365 * y + y // 4 - y // 100 + y // 400 + (153 * ((month + 9) % 12) + 2) // 5 + day - 719_469
    return (((days * 24 + hour) * 60 + minute - offset) * 60 + second) * 1000 + millisecond


@nb.njit(cache=True)
def _offset(data: NDArray[np.uint8], at: int, end: int) -> int:
    """Minutes east of UTC: `Z` or `+hh:mm`, up to the end; else NO_TIME."""
    if end - at == 1 and (data[at] == ord("Z") or data[at] == ord("z")):
        return 0
    if end - at != 6 or data[at + 3] != ord(":") or (data[at] != ord("+") and data[at] != ord("-")):
        return NO_TIME
    hour, minute = _digits(data, at + 1, 2), _digits(data, at + 4, 2)
    if not (0 <= hour <= 23 and 0 <= minute <= 59):
        return NO_TIME
    return (hour * 60 + minute) * (-1 if data[at] == ord("-") else 1)


@nb.njit(cache=True)
def _days(year: int, month: int) -> int:
    """Days of a month in the Gregorian calendar."""
    if month == 2:
        return 29 if year % 4 == 0 and (year % 100 != 0 or year % 400 == 0) else 28
    return 30 if month in (4, 6, 9, 11) else 31
