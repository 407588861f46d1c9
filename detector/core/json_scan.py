"""One compiled pass over the bytes of many JSON objects: what a typed decoder does not look at, and their times.

msgspec checks grammar and types fast, but takes the last of two members of one name, does not look for bad UTF-8 in members it skips, and
knows neither the record's key nor the broker's clock. The scan vouches for the records in which none of this can be wrong; every other one,
wrong or only unusual (an escape in a name, say), is left to a careful look. It may rely on the decoder to refuse what is not JSON, but must
itself survive any bytes.
"""

from __future__ import annotations

import numba as nb
import numpy as np
from numpy.typing import NDArray

from detector.core.events import NO_TIME, Ints

UNUSUAL, SOUND_IF_UTF8, SOUND, SOUND_IF_IT_ENDS = 0, 1, 2, 3
"""The last: sound if `valid_until` is a time, and the action one that ends."""
MAX_DEPTH = 64
MAX_MEMBERS = 64
"""More top-level members than this is unusual, not wrong."""
LAST_TIME = 253_402_300_799_999
"""The last millisecond of the year 9999."""

_LONGEST_WHOLE = 16
_QUOTE, _BACKSLASH, _MINUS = ord('"'), ord("\\"), ord("-")
_ESCAPED, _NON_ASCII = 1, 0x80
_TIME, _ACTOR, _LATITUDE, _LONGITUDE, _VALID_UNTIL = 1, 2, 4, 8, 16
_TIME_NAME, _ACTOR_NAME = int.from_bytes(b"time", "big"), int.from_bytes(b"actor", "big")
_LATITUDE_NAME, _LONGITUDE_NAME = int.from_bytes(b"src_lat", "big"), int.from_bytes(b"src_lon", "big")
_VALID_UNTIL_NAME = int.from_bytes(b"id_until", "big") ^ int.from_bytes(b"val", "big")  # folded


def scan(data: bytes, value: Ints, key: Ints | None, timestamp: Ints, max_bytes: int, max_future: int) -> tuple[NDArray[np.uint8], Ints]:
    """Verdict, uint8 (n,), and time in ms, int64 (n,), of each record. The time of an UNUSUAL one means nothing.

    `value` and `key` are positions (n, 2) in `data`; `key` is None where the source has no keys.
    """
    key = np.empty((0, 2), np.int64) if key is None else np.ascontiguousarray(key)
    value, timestamp = np.ascontiguousarray(value), np.ascontiguousarray(timestamp)
    return _scan(np.frombuffer(data, np.uint8), value, key, timestamp, max_bytes, max_future)


def deepest(data: bytes) -> int:
    """How deep the brackets outside of strings are nested."""
    return int(_deepest(np.frombuffer(data, np.uint8)))


def milliseconds(text: str) -> int:
    """Milliseconds since 1970 UTC of an RFC 3339 time with an offset; NO_TIME where the text is none."""
    data = np.frombuffer(text.encode(), np.uint8)
    return int(_rfc3339(data, 0, len(data)))


@nb.njit(cache=True)
def _scan(
    data: NDArray[np.uint8], value: Ints, key: Ints, timestamp: Ints, max_bytes: int, max_future: int
) -> tuple[NDArray[np.uint8], Ints]:
    n = len(value)
    verdict, time = np.full(n, UNUSUAL, np.uint8), np.full(n, NO_TIME, np.int64)
    seen = np.empty(MAX_MEMBERS, np.uint64)
    for row in range(n):
        start, stop = value[row]
        key_start, key_stop = (0, -1) if len(key) == 0 else (key[row, 0], key[row, 1])
        if stop - start > max_bytes or (len(key) > 0 and key_stop <= key_start):
            continue
        verdict[row], time[row] = _scan_object(data, start, stop, key_start, key_stop, seen)
        if timestamp[row] > 0 and time[row] > timestamp[row] + max_future:
            verdict[row] = UNUSUAL
    return verdict, time


@nb.njit(cache=True)
def _scan_object(  # noqa: C901  # a state machine: one branch a kind of byte
    data: NDArray[np.uint8], at: int, stop: int, key_start: int, key_stop: int, seen: NDArray[np.uint64]
) -> tuple[int, int]:
    """Verdict and time of one record."""
    depth, members, member, present, odd, time = 0, 0, 0, 0, 0, NO_TIME
    awaits_name = False
    while at < stop:
        c = data[at]
        at += 1
        if c == _QUOTE:
            end, oddity = _string_end(data, at, stop)
            odd |= oddity & _NON_ASCII
            if depth == 1 and awaits_name:
                member, again = _name(data, at, end, seen, members)
                members += 1
                if again or oddity & _ESCAPED or members == MAX_MEMBERS:
                    return UNUSUAL, NO_TIME
                present |= member
            elif depth == 1 and member == _TIME:
                time = _rfc3339(data, at, end)
            elif depth == 1 and member == _ACTOR and key_stop >= 0 and (oddity & _ESCAPED or not _same(data, at, end, key_start, key_stop)):
                return UNUSUAL, NO_TIME
            at = end + 1
        elif c == ord(","):
            awaits_name = depth == 1
        elif c == ord(":"):
            awaits_name = False
        elif c == ord("{") or c == ord("["):
            depth += 1
            awaits_name = depth == 1
            if depth > MAX_DEPTH:
                return UNUSUAL, NO_TIME
        elif c == ord("}") or c == ord("]"):
            depth -= 1
        elif depth == 1 and c == ord("n"):  # null: as good as absent
            present &= ~member
        elif depth == 1 and member == _TIME and c > ord(" "):
            time, at = _whole(data, at - 1, stop)
            if time == NO_TIME:
                return UNUSUAL, NO_TIME
    return _verdict(time, present, odd), time


@nb.njit(cache=True)
def _verdict(time: int, present: int, odd: int) -> int:
    """Of a record whose bytes are in order, from the members it has."""
    coordinates = present & (_LATITUDE | _LONGITUDE)
    ends = present & _VALID_UNTIL
    if not 0 <= time <= LAST_TIME or coordinates in (_LATITUDE, _LONGITUDE) or (ends and odd):
        return UNUSUAL
    if ends:
        return SOUND_IF_IT_ENDS
    return SOUND_IF_UTF8 if odd else SOUND


@nb.njit(cache=True)
def _deepest(data: NDArray[np.uint8]) -> int:
    at, depth, most = 0, 0, 0
    while at < len(data):
        c = data[at]
        if c == _QUOTE:
            at, _ = _string_end(data, at + 1, len(data))
        elif c == ord("{") or c == ord("["):
            depth += 1
            most = max(most, depth)
        elif c == ord("}") or c == ord("]"):
            depth -= 1
        at += 1
    return most


@nb.njit(cache=True)
def _string_end(data: NDArray[np.uint8], at: int, stop: int) -> tuple[int, int]:
    """Where the string that begins at `at` has its closing quote (or `stop`), and what is odd about it."""
    oddity = np.uint8(0)
    while at < stop:
        c = data[at]
        if c == _QUOTE:
            return at, int(oddity)
        if c == _BACKSLASH:
            oddity |= np.uint8(_ESCAPED)
            at += 1
        oddity |= c & np.uint8(_NON_ASCII)
        at += 1
    return stop, int(oddity)


@nb.njit(cache=True)
def _name(data: NDArray[np.uint8], at: int, end: int, seen: NDArray[np.uint64], members: int) -> tuple[int, bool]:
    """Which member this name is, 0 for one the scan need not know, and whether a name with the same hash came before in this object.

    The hash of up to 8 bytes is those bytes; longer names are folded. Two that fall together are left to the careful look, so that
    the hash alone may stand for a name.
    """
    name = np.uint64(0)
    for i in range(at, end):
        name = (name << np.uint64(8) | name >> np.uint64(56)) ^ np.uint64(data[i])
    again = False
    for i in range(members):
        again |= seen[i] == name
    seen[members] = name
    length = end - at
    if length == 4 and name == np.uint64(_TIME_NAME):
        return _TIME, again
    if length == 5 and name == np.uint64(_ACTOR_NAME):
        return _ACTOR, again
    if length == 7 and name == np.uint64(_LATITUDE_NAME):
        return _LATITUDE, again
    if length == 7 and name == np.uint64(_LONGITUDE_NAME):
        return _LONGITUDE, again
    return (_VALID_UNTIL if name == np.uint64(_VALID_UNTIL_NAME) else 0), again


@nb.njit(cache=True)
def _same(data: NDArray[np.uint8], at: int, end: int, other: int, other_end: int) -> bool:
    if end - at != other_end - other:
        return False
    for i in range(end - at):  # noqa: SIM110  # numba knows no generators
        if data[at + i] != data[other + i]:
            return False
    return True


@nb.njit(cache=True)
def _whole(data: NDArray[np.uint8], at: int, stop: int) -> tuple[int, int]:
    """The digits at `at` as a number, NO_TIME where there are none or too many, and where they end."""
    number, start = 0, at
    while at < stop and ord("0") <= data[at] <= ord("9") and at - start < _LONGEST_WHOLE:
        number = number * 10 + (data[at] - ord("0"))
        at += 1
    return (number if start < at < start + _LONGEST_WHOLE else NO_TIME), at


@nb.njit(cache=True)
def _digits(data: NDArray[np.uint8], at: int, count: int) -> int:
    """`count` digits as a number; far below 0 where one of them is no digit."""
    number = 0
    for i in range(at, at + count):
        number = number * 10 + (data[i] - ord("0")) if ord("0") <= data[i] <= ord("9") else -1_000_000
    return number


@nb.njit(cache=True)
def _rfc3339(data: NDArray[np.uint8], at: int, end: int) -> int:
    """Milliseconds since 1970 UTC of an RFC 3339 time with an offset, cut to the ms; NO_TIME where it is none.

    Second 60, a leap second, is second 0 of the next minute.
    """
    if end - at < 20 or data[at + 4] != _MINUS or data[at + 7] != _MINUS or data[at + 13] != ord(":") or data[at + 16] != ord(":"):
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
    if end - at != 6 or data[at + 3] != ord(":") or (data[at] != ord("+") and data[at] != _MINUS):
        return NO_TIME
    hour, minute = _digits(data, at + 1, 2), _digits(data, at + 4, 2)
    if not (0 <= hour <= 23 and 0 <= minute <= 59):
        return NO_TIME
    return (hour * 60 + minute) * (-1 if data[at] == _MINUS else 1)


@nb.njit(cache=True)
def _days(year: int, month: int) -> int:
    """Days of a month in the Gregorian calendar."""
    if month == 2:
        return 29 if year % 4 == 0 and (year % 100 != 0 or year % 400 == 0) else 28
    return 30 if month in (4, 6, 9, 11) else 31
