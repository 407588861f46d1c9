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

Bytes = NDArray[np.uint8]
Hashes = NDArray[np.uint64]
Said = tuple[int, int]

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
LOCATED = (
    "actor", "subject", "resource", "actor_team", "purpose", "event_id", "actor_region", "subject_region", "src_country", "device",
    "fields", "purpose_kind",
)  # fmt: skip
"""Members that the scan locates, so that they need not become objects to be hashed: the text inside the quotes; of `fields` the array as
it is written; and the purpose's kind, its text before the first `-`."""
ABSENT, ESCAPED = -1, -2
"""Where a located member stops if it is not there, or is written with escapes and must be asked of the decoder."""
_NAMES = (*LOCATED[:-1], "time", "src_lat", "src_lon", "valid_until")
_ACTOR, _PURPOSE, _FIELDS, _TIME, _LATITUDE, _LONGITUDE, _VALID_UNTIL = map(
    _NAMES.index, ("actor", "purpose", "fields", "time", "src_lat", "src_lon", "valid_until")
)
_KIND = LOCATED.index("purpose_kind")
_OTHER = len(_NAMES)
"""A member that the scan need not know."""
_PLACES = 64
_SPREAD = 0x8FF34785799E5CBD  # odd, and such that no two names share a place


def _folded_name(name: str) -> int:
    """As `_name` folds it."""
    folded = 0
    for c in name.encode():
        folded = (folded << 8 & 2**64 - 1 | folded >> 56) ^ c
    return folded


def _places() -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
    """(64,) the member whose name has this place, and (members, 16) the letters of each name with its length at the end."""
    places, letters = np.full(_PLACES, _OTHER), np.zeros((len(_NAMES), 16), np.uint8)
    for member, name in enumerate(_NAMES):
        place = (_folded_name(name) * _SPREAD & 2**64 - 1) >> 58
        assert places[place] == _OTHER, "choose another _SPREAD"
        places[place] = member
        letters[member, : len(name)] = list(name.encode())
        letters[member, -1] = len(name)
    return places, letters


_PLACE, _LETTERS = _places()


def scan(data: bytes, value: Ints, key: Ints | None, timestamp: Ints, max_bytes: int, max_future: int) -> tuple[Bytes, Ints, Ints]:
    """Verdict, uint8 (n,), time in ms, int64 (n,), and positions of LOCATED, int64 (n, 12, 2), of each record.

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
def _scan(data: Bytes, value: Ints, key: Ints, timestamp: Ints, max_bytes: int, max_future: int) -> tuple[Bytes, Ints, Ints]:
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
def _scan_object(data: Bytes, at: int, stop: int, key_start: int, key_stop: int, seen: Hashes, located: Ints) -> Said:  # noqa: C901
    """Verdict and time of one record: a state machine, with a branch for each kind of byte."""
    depth, members, member, present, odd, time = 0, 0, _OTHER, 0, 0, NO_TIME
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
                present |= 1 << member
            elif depth == 1 and member == _TIME:
                time = rfc3339(data, at, end)
            elif depth == 1 and not _locate(data, located, member, at, end, oddity, key_start, key_stop):
                return UNUSUAL, NO_TIME
            at = end + 1
        elif c == ord(",") or c == ord(":"):
            awaits_name = depth == 1 and c == ord(",")
        elif c == ord("{") or c == ord("["):
            _note_array(located, member, depth, 0, at - 1)
            depth += 1
            awaits_name = depth == 1
            if depth > MAX_DEPTH:
                return UNUSUAL, NO_TIME
        elif c == ord("}") or c == ord("]"):
            depth -= 1
            _note_array(located, member, depth, 1, at)
        elif depth == 1 and c == ord("n"):  # null: as good as absent
            present &= ~(1 << member)
        elif depth == 1 and member == _TIME and c > ord(" "):
            time, at = _whole(data, at - 1, stop)
    return _verdict(time, present, odd), time


@nb.njit(cache=True)
def _verdict(time: int, present: int, odd: int) -> int:
    """Of a record whose bytes are in order, from the members it has."""
    ends = present >> _VALID_UNTIL & 1
    if not 0 <= time <= LAST_TIME or (present >> _LATITUDE ^ present >> _LONGITUDE) & 1 or (ends and odd):
        return UNUSUAL
    if ends:
        return SOUND_IF_IT_ENDS
    return SOUND_IF_UTF8 if odd else SOUND


@nb.njit(cache=True)
def _deepest(data: Bytes) -> int:
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
def _string_end(data: Bytes, at: int, stop: int) -> tuple[int, int]:
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
def _name(data: Bytes, at: int, end: int, seen: Hashes, members: int) -> tuple[int, bool]:
    """Which member this name is, and whether a name with the same hash came before in this object.

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
    member = _PLACE[name * np.uint64(_SPREAD) >> np.uint64(58)]
    if member == _OTHER or _LETTERS[member, 15] != end - at:
        return _OTHER, again
    for i in range(end - at):
        if _LETTERS[member, i] != data[at + i]:
            return _OTHER, again
    return member, again


@nb.njit(cache=True)
def _locate(data: Bytes, located: Ints, member: int, at: int, end: int, oddity: int, key_start: int, key_stop: int) -> bool:
    """Notes where the string of a member is, if it is one of LOCATED. False for an actor that is not, letter for letter, the key."""
    if member == _ACTOR and key_stop >= 0 and (oddity & _ESCAPED or not _same(data, at, end, key_start, key_stop)):
        return False
    if member < _FIELDS:
        located[member] = (at, ESCAPED if oddity & _ESCAPED else end)
    if member == _PURPOSE:
        dash = at
        while dash < end and data[dash] != ord("-"):
            dash += 1
        located[_KIND] = (at, ESCAPED if oddity & _ESCAPED else dash)
    return True


@nb.njit(inline="always")
def _note_array(located: Ints, member: int, depth: int, side: int, at: int) -> None:
    """Notes where the array of `fields` begins (side 0) and ends, brackets included."""
    if depth == 1 and member == _FIELDS:
        located[_FIELDS, side] = at


@nb.njit(cache=True)
def _same(data: Bytes, at: int, end: int, other: int, other_end: int) -> bool:
    if end - at != other_end - other:
        return False
    for i in range(end - at):  # noqa: SIM110  # numba knows no generators
        if data[at + i] != data[other + i]:
            return False
    return True


@nb.njit(cache=True)
def _whole(data: Bytes, at: int, stop: int) -> tuple[int, int]:
    """The digits at `at` as a number, and where they end; NO_TIME and `stop` where there are none or too many."""
    number, start = 0, at
    while at < stop and ord("0") <= data[at] <= ord("9") and at - start < _LONGEST_WHOLE:
        number = number * 10 + (data[at] - ord("0"))
        at += 1
    return (number, at) if start < at < start + _LONGEST_WHOLE else (NO_TIME, stop)
