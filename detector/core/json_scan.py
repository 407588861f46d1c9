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
from detector.core.rfc3339 import rfc3339

UNUSUAL, SOUND_IF_UTF8, SOUND, SOUND_IF_IT_ENDS = 0, 1, 2, 3
"""The last: sound if `valid_until` is a time, and the action one that ends."""
MAX_DEPTH = 64
MAX_MEMBERS = 64
"""More top-level members than this is unusual, not wrong."""
LAST_TIME = 253_402_300_799_999
"""The last millisecond of the year 9999."""

_LONGEST_WHOLE = 16
_QUOTE, _BACKSLASH = ord('"'), ord("\\")
_ESCAPED, _NON_ASCII = 1, 0x80
_TIME, _ACTOR, _LATITUDE, _LONGITUDE, _VALID_UNTIL = 1, 2, 4, 8, 16
_SUBJECT, _RESOURCE, _TEAM, _PURPOSE, _EVENT_ID = 32, 64, 128, 256, 512
LOCATED = ("actor", "subject", "resource", "actor_team", "purpose", "event_id")
"""Members whose strings the scan locates, so that they need not become objects to be hashed."""
ABSENT, ESCAPED = -1, -2
"""Where a located member stops if it is not there, or is written with escapes and must be asked of the decoder."""
_TIME_NAME, _ACTOR_NAME = int.from_bytes(b"time", "big"), int.from_bytes(b"actor", "big")
_LATITUDE_NAME, _LONGITUDE_NAME = int.from_bytes(b"src_lat", "big"), int.from_bytes(b"src_lon", "big")
_SUBJECT_NAME, _RESOURCE_NAME = int.from_bytes(b"subject", "big"), int.from_bytes(b"resource", "big")
_PURPOSE_NAME, _EVENT_ID_NAME = int.from_bytes(b"purpose", "big"), int.from_bytes(b"event_id", "big")
_TEAM_NAME = int.from_bytes(b"tor_team", "big") ^ int.from_bytes(b"ac", "big")  # folded
_VALID_UNTIL_NAME = int.from_bytes(b"id_until", "big") ^ int.from_bytes(b"val", "big")  # folded


def scan(
    data: bytes, value: Ints, key: Ints | None, timestamp: Ints, max_bytes: int, max_future: int
) -> tuple[NDArray[np.uint8], Ints, Ints]:
    """Verdict, uint8 (n,), time in ms, int64 (n,), and positions of LOCATED, int64 (n, 6, 2), of each record.

    Of an UNUSUAL one only the verdict means anything.

    `value` and `key` are positions (n, 2) in `data`; `key` is None where the source has no keys.
    """
    key = np.empty((0, 2), np.int64) if key is None else np.ascontiguousarray(key)
    value, timestamp = np.ascontiguousarray(value), np.ascontiguousarray(timestamp)
    return _scan(np.frombuffer(data, np.uint8), value, key, timestamp, max_bytes, max_future)


def deepest(data: bytes) -> int:
    """How deep the brackets outside of strings are nested."""
    return int(_deepest(np.frombuffer(data, np.uint8)))


@nb.njit(cache=True)
def _scan(
    data: NDArray[np.uint8], value: Ints, key: Ints, timestamp: Ints, max_bytes: int, max_future: int
) -> tuple[NDArray[np.uint8], Ints, Ints]:
    n = len(value)
    located = np.zeros((n, len(LOCATED), 2), np.int64)
    located[:, :, 1] = ABSENT
    verdict, time = np.full(n, UNUSUAL, np.uint8), np.full(n, NO_TIME, np.int64)
    seen = np.empty(MAX_MEMBERS, np.uint64)
    for row in range(n):
        start, stop = value[row]
        key_start, key_stop = (0, -1) if len(key) == 0 else (key[row, 0], key[row, 1])
        if stop - start > max_bytes or (len(key) > 0 and key_stop <= key_start):
            continue
        verdict[row], time[row] = _scan_object(data, start, stop, key_start, key_stop, seen, located[row])
        if timestamp[row] > 0 and time[row] > timestamp[row] + max_future:
            verdict[row] = UNUSUAL
    return verdict, time, located


@nb.njit(cache=True)
def _scan_object(  # noqa: C901  # a state machine: one branch a kind of byte
    data: NDArray[np.uint8], at: int, stop: int, key_start: int, key_stop: int, seen: NDArray[np.uint64], located: Ints
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
                time = rfc3339(data, at, end)
            elif depth == 1 and not _locate(data, located, member, at, end, oddity, key_start, key_stop):
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
    return _other(data, end, name, length), again


@nb.njit(cache=True)
def _other(data: NDArray[np.uint8], end: int, name: np.uint64, length: int) -> int:
    if length == 7:
        return _SUBJECT if name == np.uint64(_SUBJECT_NAME) else _PURPOSE if name == np.uint64(_PURPOSE_NAME) else 0
    if length == 8:
        return _RESOURCE if name == np.uint64(_RESOURCE_NAME) else _EVENT_ID if name == np.uint64(_EVENT_ID_NAME) else 0
    if length == 10 and name == np.uint64(_TEAM_NAME) and data[end - 2] == ord("a") and data[end - 1] == ord("m"):
        return _TEAM  # with the last two bytes, the other eight follow from the folded ones
    return _VALID_UNTIL if name == np.uint64(_VALID_UNTIL_NAME) else 0


@nb.njit(cache=True)
def _locate(data: NDArray[np.uint8], located: Ints, member: int, at: int, end: int, oddity: int, key_start: int, key_stop: int) -> bool:
    """Notes where the string of a member is, if it is one of LOCATED. False for an actor that is not, letter for letter, the key."""
    if member == _ACTOR and key_stop >= 0 and (oddity & _ESCAPED or not _same(data, at, end, key_start, key_stop)):
        return False
    if member != _ACTOR and member < _SUBJECT:
        return True
    column = 0 if member == _ACTOR else 1
    while member > _SUBJECT:
        member >>= 1
        column += 1
    located[column] = (at, ESCAPED if oddity & _ESCAPED else end)
    return True


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
