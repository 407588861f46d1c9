"""Daily blocks: daily records as bytes, for a topic. A day of a partition is cut into blocks of at most 512 KiB, in order of its rows.

A block is MessagePack: a map with `format`, where the records come from (`view`, `topic`, `partition`), the `day`, which of how many blocks
it is (`chunk` of `chunks`), its `rows`, and `columns`: (name, type, shape, bytes) each, numbers little-endian, rows one after the other.
The first two columns are `key` and `team`. A block stands for itself: it can be read without the others.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from detector.core.daily import Daily, joined
from detector.errors import StateError

FORMAT = 1
LIMIT = 512 << 10
"""Bytes of a block at most."""
TOGETHER = 8
"""Blocks that are sent at once at most."""
TYPES = {"<u8", "<u4", "<u2", "|u1", "<i8", "<i4", "<i2", "|i1", "<f8", "<f4"}
FIRST = ("key", "team")


class Origin(NamedTuple):
    """Whose records they are: of a view, on one partition of the topic of events."""

    view: str
    topic: str
    partition: int


class Place(NamedTuple):
    """How far records were sent: all of the days before `day`, and of `day` that many blocks."""

    day: int
    blocks: int


NOTHING = Place(-1, 0)


Column = tuple[str, str, tuple[int, ...], bytes]


class _Block(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    format: int
    view: str
    topic: str
    partition: int
    day: int
    chunk: int
    chunks: int
    rows: int
    columns: tuple[Column, ...]


@dataclass(frozen=True, slots=True)
class Block:
    """What a block says."""

    origin: Origin
    chunk: int
    chunks: int
    records: Daily
    """Some of the day's."""

    @property
    def layout(self) -> tuple[Any, ...]:
        """What all blocks of a day have in common."""
        return self.chunks, [(name, a.dtype, a.shape[1:]) for name, a in _columns(self.records)]


def _columns(daily: Daily) -> list[tuple[str, NDArray[Any]]]:
    assert not set(FIRST) & set(daily.columns), "a family's column is named like a key"
    return [("key", daily.key), ("team", daily.team), *daily.columns.items()]


def rows_each(daily: Daily) -> int:
    """Rows of a block, so that it is not longer than LIMIT whatever they hold."""
    columns = _columns(daily)
    head = 256 + sum(len(name.encode()) + 32 for name, _ in columns)
    return max((LIMIT - head) // sum(a[:1].nbytes for _, a in columns), 1)


def blocks_of(daily: Daily) -> int:
    return math.ceil(len(daily) / rows_each(daily))


def encode(origin: Origin, daily: Daily, chunk: int) -> bytes:
    """Block number `chunk` of the day."""
    each = rows_each(daily)
    rows = slice(chunk * each, min((chunk + 1) * each, len(daily)))
    columns = tuple(as_column(name, a[rows]) for name, a in _columns(daily))
    return msgspec.msgpack.encode(_Block(FORMAT, *origin, daily.day, chunk, blocks_of(daily), rows.stop - rows.start, columns))


def as_column(name: str, array: NDArray[Any]) -> Column:
    """An array as bytes, numbers little-endian."""
    little = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
    return name, little.dtype.str, little.shape, little.tobytes()


_DECODER = msgspec.msgpack.Decoder(_Block)


def decode(value: bytes) -> Block:
    """The inverse of `encode`. Raises StateError where anything is not as `encode` makes it."""
    if len(value) > LIMIT:
        raise StateError(f"daily block: has {len(value)} bytes, at most {LIMIT} are allowed")
    try:
        said = _DECODER.decode(value)
    except (msgspec.DecodeError, msgspec.ValidationError, UnicodeDecodeError) as error:
        raise StateError(f"daily block: {error}") from error
    if said.format != FORMAT:
        raise StateError(f"daily block: has format {said.format}, this version reads {FORMAT}")
    if said.partition < 0 or said.day < 0 or not 0 <= said.chunk < said.chunks or said.rows < 1:
        raise StateError(f"daily block: partition {said.partition}, day {said.day}, block {said.chunk} of {said.chunks}, {said.rows} rows")
    names = [name for name, *_ in said.columns]
    if tuple(names[:2]) != FIRST or len(set(names)) < len(names):
        raise StateError(f"daily block: has the columns {', '.join(names)}")
    columns = {name: _array(name, dtype, shape, data, said.rows) for name, dtype, shape, data in said.columns}
    key, team = (columns.pop(name) for name in FIRST)
    if key.dtype != "<u8" or team.dtype != "<u8" or key.ndim != 1 or team.ndim != 1 or (key == 0).any():
        raise StateError("daily block: key and team must be hashes, and nobody's key is 0")
    return Block(Origin(said.view, said.topic, said.partition), said.chunk, said.chunks, Daily(said.day, key, team, columns))


def _array(name: str, dtype: str, shape: tuple[int, ...], data: bytes, rows: int) -> NDArray[Any]:
    if len(shape) not in (1, 2) or shape[0] != rows or min(shape) < 1:
        raise StateError(f"daily block: column {name} has the shape {shape} in a block of {rows} rows")
    array = as_array("daily block", name, dtype, shape, data)
    if not np.isfinite(array).all():
        raise StateError(f"daily block: column {name} holds what is no number")
    return array


def as_array(what: str, name: str, dtype: str, shape: tuple[int, ...], data: bytes) -> NDArray[Any]:
    """The inverse of `as_column`; read-only. Raises StateError that begins with `what` where type, shape and bytes are not an array's."""
    if dtype not in TYPES:
        raise StateError(f"{what}: column {name} has the type {dtype}; there are {', '.join(sorted(TYPES))}")
    if len(shape) > 4 or not all(0 <= n <= LIMIT for n in shape) or math.prod(shape) * np.dtype(dtype).itemsize != len(data):
        raise StateError(f"{what}: column {name} has {len(data)} bytes for the shape {shape} of {dtype}")
    return np.frombuffer(data, dtype).reshape(shape)


@dataclass(slots=True)
class Backlog:
    """Records of days that are over, as long as they are not sent. Days come in their order."""

    origin: Origin
    sent: Place = NOTHING
    _days: deque[Daily] = field(default_factory=deque)

    def __len__(self) -> int:
        """Blocks that wait."""
        return sum(blocks_of(daily) for daily in self._days) - self._done()

    @property
    def full(self) -> bool:
        """Whether it has to be sent before further days may end: one day may wait, however large, and what goes at once."""
        return len(self._days) > 1 and len(self) > TOGETHER

    def ended(self, daily: Daily) -> None:
        """A day is over. Passed over if it was sent already."""
        if self.sent < (daily.day, blocks_of(daily)):
            self._days.append(daily)

    def next(self, most: int) -> tuple[list[bytes], Place]:
        """At most so many blocks to be sent, and how far records are sent once they are."""
        some = list(islice(self._waiting(), max(most, 0)))
        return [encode(self.origin, daily, chunk) for daily, chunk in some], Place(some[-1][0].day, some[-1][1] + 1) if some else self.sent

    def reached(self, place: Place) -> None:
        """Records are sent up to there."""
        self.sent = place
        while self._days and place >= (self._days[0].day, blocks_of(self._days[0])):
            self._days.popleft()

    def _waiting(self) -> Iterator[tuple[Daily, int]]:
        done = self._done()
        for daily in self._days:
            yield from ((daily, chunk) for chunk in range(done, blocks_of(daily)))
            done = 0

    def _done(self) -> int:
        """Blocks of the first day that are sent."""
        return self.sent.blocks if self._days and self._days[0].day == self.sent.day else 0


def collect(values: Iterable[bytes], view: str, topic: str) -> tuple[list[Daily], list[str]]:
    """The days of all partitions from their blocks, in any order, repeated ones included: (a Daily for each partition and day, in order of
    day and partition; what is missing, a sentence each). Raises StateError for what is no block.

    A later block replaces an earlier one of the same place; one that does not fit the others of its day puts them away, for the day is
    being sent anew after its state was built anew.
    """
    found: dict[tuple[int, int], dict[int, Block]] = {}
    for block in map(decode, values):
        if block.origin[:2] == (view, topic):
            held = found.setdefault((block.records.day, block.origin.partition), {})
            if held and next(iter(held.values())).layout != block.layout:
                held.clear()
            held[block.chunk] = block
    days, missing = [], []
    for day, partition in sorted(found):
        held = found.pop((day, partition))  # a day's bytes are given up when its records are there
        blocks = [held[chunk] for chunk in sorted(held)]
        if len(blocks) < blocks[0].chunks:
            missing.append(f"day {day} of partition {partition}: {len(blocks)} of {blocks[0].chunks} blocks are there")
            continue
        days.append(joined([block.records for block in blocks]))
    return days, missing
