"""Record batches of Kafka's message format 2 as columns: one compiled loop over the decompressed bytes, no object per record.

A batch:   base offset i64 | length i32 | leader epoch i32 | magic i8 | crc u32 | attributes i16 | last offset delta i32 | first time i64 |
           max time i64 | producer id i64 | producer epoch i16 | base sequence i32 | count i32 | records, compressed as a whole
A record:  length varint | attributes i8 | time delta varint | offset delta varint | key | value | header count varint | headers
           (key and value: length varint, -1 = null, then the bytes)

Outer damage (checksum, compression, lengths that do not add up) fails closed: CorruptBatchError. Damage inside one record's length is data.
"""

from __future__ import annotations

import gzip
import io
import struct
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import crc32c
import lz4.frame
import numba as nb
import numpy as np
import zstandard
from kafka.codec import has_snappy, snappy_decode

from detector.core.events import Records
from detector.errors import BrokerError

LAYOUT = struct.Struct(">qiibIhiqqqhii")
MAGIC, CHECKED = 16, 21
"""Where the magic byte stands, and where the bytes begin that the checksum covers."""
EXPANDED = 256 << 20
"""Bytes one batch may expand to. (lz4 cannot exceed 255 times its size, snappy about 20 times.)"""
CODECS = ("none", "gzip", "snappy", "lz4", "zstd")


class CorruptBatchError(BrokerError):
    """A batch that cannot be read, so neither can anything behind it: nothing is skipped; a person decides."""

    def __init__(self, topic: str, partition: int, offset: int, why: str) -> None:
        super().__init__(
            f"{topic}-{partition} at offset {offset}: the record batch {why}. Nothing is skipped: restore the log from a replica, "
            "or move the group past it knowingly"
        )
        self.topic, self.partition, self.offset = topic, partition, offset


class Header(NamedTuple):
    base_offset: int
    length: int
    leader_epoch: int
    magic: int
    crc: int
    attributes: int
    last_offset_delta: int
    first_time: int
    max_time: int
    producer_id: int
    producer_epoch: int
    base_sequence: int
    records: int

    @property
    def last_offset(self) -> int:
        return self.base_offset + self.last_offset_delta

    @property
    def is_transactional(self) -> bool:
        return bool(self.attributes & 0x10)

    @property
    def is_control(self) -> bool:
        return bool(self.attributes & 0x20)


def frames(raw: memoryview) -> Iterator[memoryview]:
    """The complete batches in the answer to a fetch; the last may be cut off by the fetch size and is left out."""
    at = 0
    while len(raw) - at > MAGIC:
        stop = at + 12 + max(int.from_bytes(raw[at + 8 : at + 12], "big", signed=True), MAGIC - 11)
        if stop > len(raw):
            return
        yield raw[at:stop]
        at = stop


def read_header(frame: memoryview, topic: str, partition: int, check_crc: bool = True) -> Header:
    """The header of a batch of magic 2, its checksum compared. Raises CorruptBatchError."""
    if len(frame) < LAYOUT.size:
        raise CorruptBatchError(topic, partition, int.from_bytes(frame[:8], "big", signed=True), "is shorter than its header")
    header = Header._make(LAYOUT.unpack_from(frame))
    if check_crc and crc32c.crc32c(frame[CHECKED:]) != header.crc:
        raise CorruptBatchError(topic, partition, header.base_offset, "does not match its checksum")
    return header


def read_records(batches: Sequence[tuple[Header, memoryview]], topic: str, partition: int) -> tuple[Records, CorruptBatchError | None]:
    """The records of neighbouring batches as one; those before a batch that cannot be read, and why it cannot."""
    n = sum(min(max(header.records, 0), EXPANDED) for header, _ in batches)
    offset, time = np.empty(n, np.int64), np.empty(n, np.int64)
    key, value, headers = np.empty((n, 2), np.int64), np.empty((n, 2), np.int64), np.empty((n, 2), np.int64)
    broken = np.empty(n, np.bool_)
    parts: list[bytes] = []
    row = origin = 0
    error: CorruptBatchError | None = None
    for header, frame in batches:
        fixed = bool(header.attributes & 0x08)  # LogAppendTime: the broker's time stands once, in the batch's header
        since = header.max_time if fixed else header.first_time
        try:
            part = _expand(frame, header, topic, partition)
            count = parse(  # at once, while the bytes are in the processor's cache
                np.frombuffer(part, np.uint8), origin, header.base_offset, header.last_offset_delta, since, fixed,
                row, row + header.records, offset, time, key, value, headers, broken,
            )  # fmt: skip
            if count != header.records:
                why = "holds bytes behind its last record" if count < 0 else f"does not fit together at record {count} of {header.records}"
                raise CorruptBatchError(topic, partition, header.base_offset, why)
        except CorruptBatchError as caught:
            error = caught
            break
        parts.append(part)
        row += header.records
        origin += len(part)
    data = parts[0] if len(parts) == 1 else b"".join(parts)
    records = Records(topic, partition, data, offset, time, key, value, headers, broken)
    return (records if row == n else records.take(slice(row))), error


def _expand(frame: memoryview, header: Header, topic: str, partition: int) -> bytes:
    codec = header.attributes & 0x07
    if not 0 <= header.records <= EXPANDED:
        raise CorruptBatchError(topic, partition, header.base_offset, f"says it holds {header.records} records")
    body = frame[LAYOUT.size :]
    try:
        if codec == 0:
            return bytes(body)
        if codec == 3:
            return bytes(lz4.frame.decompress(body))
        if codec == 1:
            data = gzip.GzipFile(fileobj=io.BytesIO(body)).read(EXPANDED + 1)
        elif codec == 4:
            data = zstandard.ZstdDecompressor().stream_reader(io.BytesIO(body), read_across_frames=True).read(EXPANDED + 1)
        elif codec == 2 and has_snappy():
            data = bytes(snappy_decode(bytes(body)))
        else:
            name = CODECS[codec] if codec < len(CODECS) else f"codec {codec}"
            raise CorruptBatchError(topic, partition, header.base_offset, f"is compressed with {name}, for which no library is installed")
    except (RuntimeError, OSError, EOFError, ValueError, zstandard.ZstdError) as error:
        raise CorruptBatchError(topic, partition, header.base_offset, f"cannot be decompressed ({error})") from error
    if len(data) > EXPANDED:
        raise CorruptBatchError(topic, partition, header.base_offset, f"expands to more than {EXPANDED >> 20} MiB")
    return data


@nb.njit(cache=True, boundscheck=False)
def varint(data: Any, at: Any, stop: Any) -> Any:
    """A zigzag varint of at most 64 bits -> (value, position behind it); position -1: it is too long, or runs over `stop`, or at < 0."""
    raw = np.uint64(0)
    shift = np.uint64(0)
    while 0 <= at < stop:
        byte = np.uint64(data[at])
        at += 1
        raw |= (byte & np.uint64(127)) << shift
        if byte < 128:
            if shift == 63 and byte > 1:
                break
            return np.int64(raw >> np.uint64(1)) ^ -np.int64(raw & np.uint64(1)), at
        shift += np.uint64(7)
        if shift > 63:
            break
    return np.int64(0), np.int64(-1)


@nb.njit(cache=True, boundscheck=False)
def skip(at: Any, size: Any, stop: Any) -> Any:
    """The position behind `size` bytes (none where negative: null), or -1 where they run over `stop` or `at` is -1 already."""
    if at < 0 or size > stop - at:
        return -1
    return at + max(size, 0)


@nb.njit(cache=True, boundscheck=False)
def locate(data: Any, at: Any, stop: Any, origin: Any, place: Any) -> Any:
    """Note in `place` where the part whose size stands at `at` begins and stops (-1: it is null); the position behind it, or -1."""
    size, at = varint(data, at, stop)
    place[0] = origin + at
    at = skip(at, size, stop)
    place[1] = origin + at if size >= 0 else -1
    return at


@nb.njit(cache=True, boundscheck=False)
def parse(  # noqa: PLR0913  the columns are out-parameters
    data: Any, origin: Any, base: Any, last_delta: Any, since: Any, fixed: bool, first: int, end: int,
    offset: Any, time: Any, key: Any, value: Any, headers: Any, broken: Any,
) -> Any:  # fmt: skip
    """Fill rows `first` to `end` of the columns from the records in `data`, whose first byte is at position `origin`. -> how many rows
    were read: fewer than asked = the next one's length or offset is impossible; -1 = all, but bytes are left over.

    Offsets in a batch only rise. A broken record, or one that says otherwise, takes the offset behind its neighbour's.
    """
    n = len(data)
    at = np.int64(0)
    previous = np.int64(-1)
    for row in range(first, end):
        start = at
        length, at = varint(data, at, n)
        if at < 0 or length < 0 or length > n - at:
            return row - first
        stop = at + length
        later, p = varint(data, at + 1, stop)
        delta, p = varint(data, p, stop)
        p = locate(data, p, stop, origin, key[row])
        p = locate(data, p, stop, origin, value[row])
        headers[row, 0] = origin + p
        bad = not (0 <= p < stop and previous < delta <= last_delta)
        if bad:
            delta = previous + 1
            later = np.int64(0)
            if delta > last_delta:
                return row - first
            key[row] = -1
            headers[row] = -1
            value[row, 0] = origin + start
            value[row, 1] = origin + stop
        else:
            headers[row, 1] = -1 if stop - p == 1 and data[p] == 0 else origin + stop
        offset[row] = base + delta
        time[row] = since if fixed else since + later
        broken[row] = bad
        previous = delta
        at = stop
    return end - first if at == n else -1
