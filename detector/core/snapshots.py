"""Snapshots: the state of a task as bytes, for a compacted topic. The rows of a state go into chunks of at most 512 KiB, in order, and a
manifest says what they are.

A chunk holds the same rows of every column, one column after the other, numbers little-endian, as one block of LZ4. The manifest is
MessagePack: a map with `format`, `body`, and `sha256` of the body. The body says whose state it is (`view`, `topic`, `partition`), and
which one (`generation`); the input `offset` up to which it has seen the log; `since`, the offset in the state topic behind which its chunks
lie; `rows`, and of how many `each` chunk is; `columns`: (name, type, shape of a row); `digests`: 16 bytes of the SHA-256 of each chunk; and
`small`: (name, type, shape, bytes) of the arrays that have no row for each slot.

So nothing is believed before its hash was compared, the manifest's own sizes are checked before memory is taken, and a chunk that was
damaged, or is of another snapshot, is named. A snapshot is written under the keys of the one before the last: a reader always has one.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple

import lz4.block
import msgspec
import numpy as np
from numpy.typing import NDArray

from detector.core.daily_blocks import TYPES, Column, Origin, as_array, as_column
from detector.errors import StateError

FORMAT = 1
LIMIT = 512 << 10
"""Bytes of a chunk at most, and of a manifest."""
RAW = LIMIT - LIMIT // 255 - 16
"""Bytes that a chunk holds at most: LZ4 makes no more than LIMIT of them, whatever they are."""
TOGETHER = 16
"""Chunks that are sent at once at most."""
LARGEST = 8 << 30
"""Bytes of a state at most: two million employees on one partition."""
DIGEST = 16
REMEDY = "rebuild the task from its input"

_KEY = re.compile(rb"(?:S/([01])/(0|[1-9][0-9]{0,8})|M/([01]))", re.ASCII)


def chunk_key(generation: int, chunk: int) -> bytes:
    return b"S/%d/%d" % (generation % 2, chunk)


def manifest_key(generation: int) -> bytes:
    return b"M/%d" % (generation % 2)


def parse_key(key: bytes) -> tuple[int, int] | None:
    """(generation % 2, number of the chunk; -1 for a manifest), None for a key of something else."""
    if (found := _KEY.fullmatch(key)) is None:
        return None
    chunked, chunk, whole = found.groups()
    return (int(whole), -1) if chunked is None else (int(chunked), int(chunk))


Layout = tuple[str, str, tuple[int, ...]]
"""Name, type and the shape of a row of a column."""


class _Sealed(msgspec.Struct, frozen=True):
    format: int
    sha256: bytes
    body: bytes


class _Body(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    view: str
    topic: str
    partition: int
    generation: int
    offset: int
    since: int
    rows: int
    each: int
    columns: tuple[Layout, ...]
    digests: bytes
    small: tuple[Column, ...]


def _row_bytes(layout: Layout) -> int:
    return math.prod(layout[2]) * np.dtype(layout[1]).itemsize


def _digest(value: bytes) -> bytes:
    return hashlib.sha256(value).digest()[:DIGEST]


class Snapshot:
    """A state on its way out: first its chunks in order, then its manifest. `arrays` must not change meanwhile.

    `offset`: of the input record that the state would see next. `small`: names of the arrays that have no row for each slot; the others
    have equally many rows.
    """

    def __init__(
        self, origin: Origin, generation: int, offset: int, since: int, arrays: Mapping[str, NDArray[Any]], small: Collection[str]
    ) -> None:
        self.origin, self.generation, self.offset, self.since = origin, generation, offset, since
        self._small = tuple(as_column(name, a) for name, a in arrays.items() if name in small)
        self._columns = {name: a for name, a in arrays.items() if name not in small}
        self._layouts = tuple((name, a.dtype.newbyteorder("<").str, a.shape[1:]) for name, a in self._columns.items())
        self.rows = len(next(iter(self._columns.values()), ()))
        row = sum(map(_row_bytes, self._layouts))
        assert 0 < row <= RAW and all(len(a) == self.rows for a in self._columns.values()), "a state's columns have equally many short rows"
        assert {a.dtype.newbyteorder("<").str for a in arrays.values()} <= TYPES, "a state is made of numbers"
        if self.rows * row > LARGEST:
            raise StateError(f"the state has {self.rows} rows of {row} bytes, a snapshot at most {LARGEST} bytes: lower max_keys")
        self._each = RAW // row
        self._digests: list[bytes] = []

    @property
    def chunks(self) -> int:
        return math.ceil(self.rows / self._each)

    def chunk(self, i: int) -> bytes:
        """Chunk number `i`, to be asked for in order: it is compressed now."""
        assert i == len(self._digests) < self.chunks, "chunks are made in order, once each"
        rows = slice(i * self._each, (i + 1) * self._each)
        raw = b"".join(np.ascontiguousarray(a[rows], a.dtype.newbyteorder("<")).data for a in self._columns.values())
        value: bytes = lz4.block.compress(raw, store_size=False)
        self._digests.append(_digest(value))
        return value

    def manifest(self) -> bytes:
        """What makes the chunks a snapshot; after the last of them."""
        assert len(self._digests) == self.chunks, "the manifest comes after the last chunk"
        digests, numbers = b"".join(self._digests), (self.generation, self.offset, self.since, self.rows, self._each)
        body = msgspec.msgpack.encode(_Body(*self.origin, *numbers, self._layouts, digests, self._small))
        value = msgspec.msgpack.encode(_Sealed(FORMAT, hashlib.sha256(body).digest(), body))
        assert len(value) <= LIMIT, "the manifest has no room for the small arrays"
        return value


_SEALED, _BODY = msgspec.msgpack.Decoder(_Sealed), msgspec.msgpack.Decoder(_Body)


def _opened(value: bytes) -> _Body:
    """What a manifest says, if it is as it was written. Raises StateError."""
    if len(value) > LIMIT:
        raise StateError(f"the manifest has {len(value)} bytes, at most {LIMIT} are allowed")
    try:
        sealed = _SEALED.decode(value)
        if sealed.format != FORMAT:
            raise StateError(f"the manifest has format {sealed.format}, this version reads {FORMAT}; take the version that wrote it")
        if hashlib.sha256(sealed.body).digest() != sealed.sha256:
            raise StateError("the manifest was damaged, its hash is another")
        return _BODY.decode(sealed.body)
    except (msgspec.DecodeError, msgspec.ValidationError, UnicodeDecodeError) as error:
        raise StateError(f"the manifest cannot be read, {error}") from error


def _checked(said: _Body) -> _Body:
    """Raises StateError unless the sizes fit each other and are no larger than any state's. Takes no memory."""
    names = [name for name, *_ in (*said.columns, *said.small)]
    if len(set(names)) < len(names):
        raise StateError("the manifest names an array twice")
    for name, dtype, width in said.columns:
        if dtype not in TYPES or len(width) > 4 or min(width, default=1) < 1:
            raise StateError(f"the manifest's column {name} has the type {dtype} and rows of the shape {width}")
    row, chunks = sum(map(_row_bytes, said.columns)), len(said.digests) // DIGEST
    if min(said.partition, said.generation, said.offset, said.since + 1, said.rows) < 0 or said.rows * row > LARGEST:
        raise StateError(
            f"the manifest says partition {said.partition}, generation {said.generation}, offset {said.offset}, since {said.since}, "
            f"{said.rows} rows of {row} bytes; a state has at most {LARGEST} bytes"
        )
    if not row <= row * said.each <= RAW or not row or len(said.digests) % DIGEST or chunks != math.ceil(said.rows / said.each):
        raise StateError(
            f"the manifest's {said.rows} rows of {row} bytes, {said.each} a chunk, do not make {len(said.digests) / DIGEST:g} chunks"
        )
    return said


class Outline(NamedTuple):
    """What a manifest says of its snapshot. `offset`: up to which the input was seen; `rows`: of slots that were ever used."""

    generation: int
    offset: int
    rows: int


def outline(manifest: bytes) -> Outline:
    """Raises StateError where the manifest is not as it was written."""
    said = _checked(_opened(manifest))
    return Outline(said.generation, said.offset, said.rows)


class Assembly:
    """A state on its way in: its manifest, then its chunks in order.

    Every method raises StateError, which says what is wrong with which chunk and what to do, for what is not as Snapshot made it.
    """

    def __init__(self, manifest: bytes, origin: Origin, room: Callable[[int], int] = lambda rows: rows) -> None:
        """`room`: how many rows the arrays shall have, for a state of so many; what is beyond them is 0, and takes no memory."""
        self._name = "snapshot of {} on {}-{}".format(*origin)
        try:
            said = _checked(_opened(manifest))
            if (found := Origin(said.view, said.topic, said.partition)) != origin:
                raise StateError("the manifest is of {} on {}-{}".format(*found))
            self._small = {name: as_array("manifest", name, dtype, shape, data) for name, dtype, shape, data in said.small}
            self._name += f", generation {said.generation}"
            self._room = room(said.rows)
            self._columns = {layout: np.zeros(self._room * _row_bytes(layout), np.uint8) for layout in said.columns}
        except MemoryError as error:
            raise self._error(f"no memory for {said.rows} rows", "give the process more") from error
        except StateError as error:
            raise self._error(str(error)) from error
        self.generation, self.offset, self.since, self.rows = said.generation, said.offset, said.since, said.rows
        self._each = said.each
        self._digests = [said.digests[at : at + DIGEST] for at in range(0, len(said.digests), DIGEST)]
        self._added = 0

    @property
    def chunks(self) -> int:
        return len(self._digests)

    def add(self, i: int, value: bytes) -> None:
        """Chunk number `i`, after the ones before it."""
        name = f"chunk {i} of {self.chunks}"
        if i != self._added or i >= self.chunks:
            raise self._error(f"{name} comes where chunk {self._added} should" if self._added < self.chunks else f"{name} is one too many")
        if _digest(value) != self._digests[i]:
            raise self._error(f"{name} was damaged or is of another snapshot, its hash is another")
        first = i * self._each
        rows = min(self._each, self.rows - first)
        size = rows * sum(map(_row_bytes, self._columns))
        try:
            raw = np.frombuffer(lz4.block.decompress(value, uncompressed_size=size), np.uint8)
        except (lz4.block.LZ4BlockError, ValueError) as error:
            raise self._error(f"{name} does not expand to {size} bytes, {error}") from error
        if len(raw) != size:
            raise self._error(f"{name} expands to {len(raw)} bytes, {rows} rows have {size}")
        self._fill(first, rows, raw)
        self._added += 1

    def _fill(self, first: int, rows: int, raw: NDArray[np.uint8]) -> None:
        at = 0
        for layout, flat in self._columns.items():
            row = _row_bytes(layout)
            flat[first * row : (first + rows) * row] = raw[at : at + rows * row]
            at += rows * row

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The state, once every chunk is there: the memory that they were put into."""
        if self._added < self.chunks:
            raise self._error(f"chunk {self._added} of {self.chunks} and what comes after it are missing")
        columns = {name: flat.view(dtype).reshape(self._room, *width) for (name, dtype, width), flat in self._columns.items()}
        return {name: a.astype(a.dtype.newbyteorder("="), copy=False) for name, a in {**columns, **self._small}.items()}

    def _error(self, why: str, remedy: str = REMEDY) -> StateError:
        return StateError(f"{self._name}: {why}: {remedy}")
