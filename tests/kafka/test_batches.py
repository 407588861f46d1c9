"""Record batches as columns: equal to kafka-python's record by record, and to a slow and obvious parser on bytes that are damaged."""

from __future__ import annotations

import random
import struct

import crc32c
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kafka.codec import has_snappy
from kafka.record.default_records import DefaultRecordBatch, DefaultRecordBatchBuilder

from detector.core.events import Records
from detector.kafka import batches
from detector.kafka.batches import LAYOUT, CorruptBatchError, frames, parse, read_header, read_records
from detector.kafka.records import convert, join

CODECS = [codec for codec in range(5) if codec != 2 or has_snappy()]
PARTS = st.none() | st.binary(max_size=300)
RECORD = st.tuples(
    st.integers(0, 2**41), PARTS, PARTS, st.lists(st.tuples(st.text(max_size=5), st.none() | st.binary(max_size=9)), max_size=3)
)


Row = tuple[int, bytes | None, bytes | None, list[tuple[str, bytes | None]]]


def build(rows: list[Row], codec: int = 0) -> bytes:
    builder = DefaultRecordBatchBuilder(2, codec, False, -1, -1, -1, 10**9)
    for number, (time, key, value, headers) in enumerate(rows):
        builder.append(number, time, key, value, headers)
    return bytes(builder.build())


def read(raw: bytes, topic: str = "t", partition: int = 3) -> Records:
    (frame,) = frames(memoryview(raw))
    records, error = read_records([(read_header(frame, topic, partition), frame)], topic, partition)
    if error:
        raise error
    return records


def raw_batch(payload: bytes, count: int, last_delta: int, attributes: int = 0, base: int = 100, max_time: int = 5_000) -> bytes:
    """A batch around any bytes, with a checksum that is right."""
    tail = struct.pack(">hiqqqhii", attributes, last_delta, 1_000, max_time, -1, -1, -1, count) + payload
    return struct.pack(">qiibI", base, len(tail) + 9, 7, 2, crc32c.crc32c(tail)) + tail


def varint(number: int) -> bytes:
    raw, out = (number << 1) ^ (number >> 63), b""
    while raw > 127:
        out, raw = out + bytes([raw & 127 | 128]), raw >> 7
    return out + bytes([raw])


def record(delta: int, value: bytes = b"v", time: int = 0, key: bytes = b"k", headers: bytes = b"\0") -> bytes:
    body = b"\0" + varint(time) + varint(delta) + varint(len(key)) + key + varint(len(value)) + value + headers
    return varint(len(body)) + body


def rows_of(records: Records) -> list[tuple[object, ...]]:
    parts = (records.key, records.value, records.headers)
    return [
        (int(records.offset[i]), int(records.timestamp[i]), *(records.part(part, i) for part in parts), bool(records.broken[i]))
        for i in range(len(records))
    ]


@settings(max_examples=150, deadline=None)
@given(st.lists(RECORD, min_size=1, max_size=30), st.sampled_from(CODECS))
def test_columns_equal_what_kafka_python_reads(rows: list[Row], codec: int) -> None:
    raw = build(rows, codec)
    assert rows_of(read(raw)) == rows_of(convert("t", 3, list(DefaultRecordBatch(raw))))


def test_with_append_time_every_record_has_the_brokers_time() -> None:
    records = read(raw_batch(record(0, time=1) + record(1, time=2), 2, 1, attributes=0x08))
    assert records.timestamp.tolist() == [5_000, 5_000]
    assert read(raw_batch(record(0, time=1) + record(1, time=2), 2, 1)).timestamp.tolist() == [1_001, 1_002]


def test_gaps_left_by_compaction_keep_their_offsets() -> None:
    assert read(raw_batch(record(2) + record(5) + record(9), 3, 11)).offset.tolist() == [102, 105, 109]


def test_headers_are_left_raw_so_a_key_that_is_not_utf_8_is_no_matter() -> None:
    headers = varint(1) + varint(2) + b"\xff\xfe" + varint(1) + b"1"
    records = read(raw_batch(record(0, headers=headers) + record(1), 2, 1))
    assert records.part(records.headers, 0) == headers
    assert records.part(records.headers, 1) is None


@pytest.mark.parametrize("bad", [
    varint(5) + b"\0\0\x02\x02k",  # the value's length is missing
    varint(6) + b"\0\0\x02\x7ekv",  # the key runs over the record's end
    varint(12) + b"\0" + b"\xff" * 11,  # a varint that does not end
    varint(0),  # nothing at all
    record(7),  # an offset behind the batch's last
    record(0),  # an offset again
])  # fmt: skip
def test_broken_inner_framing_is_data_and_its_neighbours_are_well(bad: bytes) -> None:
    records = read(raw_batch(record(0, b"before") + bad + record(2, b"after"), 3, 2))
    assert records.broken.tolist() == [False, True, False]
    assert records.offset.tolist() == [100, 101, 102]
    assert [records.part(records.value, i) for i in range(3)] == [b"before", bad, b"after"]
    assert records.part(records.key, 1) is None and records.part(records.headers, 1) is None


@pytest.mark.parametrize(("raw", "why"), [
    (raw_batch(record(0), 1, 0)[:-1] + b"\x01", "checksum"),
    (raw_batch(record(0) + b"\0", 1, 0), "behind its last record"),
    (raw_batch(record(0), 2, 1), "does not fit"),
    (raw_batch(varint(99) + b"\0\0", 1, 0), "does not fit"),
    (raw_batch(varint(2**62) + b"\0\0", 1, 0), "does not fit"),
    (raw_batch(varint(-1) + b"\0\0", 1, 0), "does not fit"),
    (raw_batch(record(0), -1, 0), "says it holds"),
    (raw_batch(record(0), 10**9, 0), "says it holds"),
    (raw_batch(b"not lz4", 1, 0, attributes=3), "decompressed"),
    (raw_batch(b"not gzip", 1, 0, attributes=1), "decompressed"),
    (raw_batch(b"not zstd", 1, 0, attributes=4), "decompressed"),
    (raw_batch(b"?", 1, 0, attributes=6), "no library"),
    (struct.pack(">qiib", 100, 5, 0, 2), "shorter than its header"),
])  # fmt: skip
def test_broken_outer_framing_fails_closed_and_says_where(raw: bytes, why: str) -> None:
    with pytest.raises(CorruptBatchError, match=why) as caught:
        read(raw)
    assert (caught.value.topic, caught.value.partition, caught.value.offset) == ("t", 3, 100)
    assert "t-3" in str(caught.value) and "100" in str(caught.value)


@pytest.mark.parametrize("codec", [1, 4])
def test_a_small_batch_that_expands_without_measure_is_refused(codec: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "EXPANDED", 1 << 20)
    with pytest.raises(CorruptBatchError, match="expands"):
        read(build([(0, None, bytes(2 << 20), [])], codec))


def test_a_batch_cut_off_by_the_fetch_size_is_left_for_the_next_fetch() -> None:
    raw = build([(0, b"k", b"v", [])])
    assert [bytes(frame) for frame in frames(memoryview(raw + raw[:-1]))] == [raw]
    assert list(frames(memoryview(raw[:10]))) == []


def test_slices_joined_are_the_slices_one_behind_the_other() -> None:
    parts = [read(raw_batch(record(0, b"one") + varint(0), 2, 1)), read(build([(0, None, None, [("h", b"")])]))]
    assert rows_of(join(parts)) == rows_of(parts[0]) + rows_of(parts[1])


def test_batches_read_at_once_are_the_batches_and_end_before_one_that_cannot_be_read() -> None:
    raws = [build([(5, b"k", b"v%d" % i, []) for i in range(3)], codec) for codec in (3, 0, 1)] + [raw_batch(record(2) + varint(0), 2, 5)]
    whole = [(read_header(memoryview(raw), "t", 3), memoryview(raw)) for raw in raws]
    records, error = read_records(whole, "t", 3)
    assert error is None and rows_of(records) == [row for raw in raws for row in rows_of(read(raw))]
    for bad in (raw_batch(record(0) + b"\0", 1, 0), raw_batch(b"?", 1, 0, attributes=6), raw_batch(b"", 9, 9)):
        damaged = [*whole[:2], (read_header(memoryview(bad), "t", 3), memoryview(bad)), whole[2]]
        records, error = read_records(damaged, "t", 3)
        assert isinstance(error, CorruptBatchError) and error.offset == 100
        assert rows_of(records) == [row for raw in raws[:2] for row in rows_of(read(raw))]


def slow(data: bytes, base: int, last: int, count: int) -> tuple[int, list[tuple[object, ...]]]:
    """The obvious parser: as `parse`, and the rows."""
    rows: list[tuple[object, ...]] = []
    at, previous = 0, -1
    for row in range(count):
        start = at
        try:
            length, at = number(data, at, len(data))
        except ValueError:
            return row, rows
        if length < 0 or at + length > len(data):
            return row, rows
        try:
            delta, parts = inner(data, at, at + length)
            if not previous < delta <= last:
                raise ValueError
            rows.append((base + delta, *parts, False))
        except ValueError:
            delta = previous + 1
            if delta > last:
                return row, rows
            rows.append((base + delta, 1_000, None, data[start : at + length], None, True))
        previous, at = delta, at + length
    return (count if at == len(data) else -1), rows


def inner(data: bytes, at: int, stop: int) -> tuple[int, tuple[object, ...]]:
    time, at = number(data, at + 1, stop)
    delta, at = number(data, at, stop)
    key, at = part(data, at, stop)
    value, at = part(data, at, stop)
    if at >= stop:
        raise ValueError
    return delta, ((1_000 + time + 2**63) % 2**64 - 2**63, key, value, None if data[at:stop] == b"\0" else data[at:stop])


def part(data: bytes, at: int, stop: int) -> tuple[bytes | None, int]:
    size, at = number(data, at, stop)
    if size < 0:
        return None, at
    if at + size > stop:
        raise ValueError
    return data[at : at + size], at + size


def number(data: bytes, at: int, stop: int) -> tuple[int, int]:
    raw = 0
    for i in range(10):
        if at + i >= stop:
            break
        raw |= (data[at + i] & 127) << 7 * i
        if data[at + i] < 128:
            if raw >= 2**64:
                break
            return (raw >> 1) ^ -(raw & 1), at + i + 1
    raise ValueError


def test_damaged_bytes_are_read_as_the_obvious_parser_reads_them_and_nothing_outside_is_touched() -> None:
    rng, outcomes = random.Random(5), set()
    for _ in range(6_000):
        count = rng.randrange(1, 6)
        data = bytearray(b"".join(
            record(i, rng.randbytes(rng.randrange(40)), rng.randrange(-5, 5), rng.randbytes(rng.randrange(4))) for i in range(count)
        ))  # fmt: skip
        for _ in range(rng.randrange(4)):
            kind, at = rng.randrange(4), rng.randrange(len(data)) if data else 0
            if kind == 0 and data:
                data[at] = rng.choice((0, 1, 127, 128, 255, rng.randrange(256)))
            elif kind == 1:
                del data[at : at + rng.randrange(1, 5)]
            elif kind == 2:
                data[at:at] = rng.choice((b"\xff" * 12, b"\x80" * 9 + b"\x01", rng.randbytes(3)))
            else:
                data = data[: at + 1]
        seen = [fast(bytes(data), count, around) for around in (b"\0", b"\x7f", b"\xff")]
        assert seen[0] == seen[1] == seen[2], "it read bytes that are not its own"
        assert seen[0] == slow(bytes(data), 100, count - 1, count), bytes(data)
        outcomes |= {seen[0][0] == count, any(row[-1] for row in seen[0][1])}
    assert outcomes == {True, False}


def fast(data: bytes, count: int, around: bytes) -> tuple[int, list[tuple[object, ...]]]:
    """The compiled parser on bytes that lie between others."""
    whole = around * 64 + data + around * 64
    offset, time, broken = np.zeros(count, np.int64), np.zeros(count, np.int64), np.zeros(count, np.bool_)
    key, value, headers = (np.full((count, 2), -9, np.int64) for _ in range(3))
    own = np.frombuffer(whole, np.uint8)[64 : 64 + len(data)]
    rows = int(parse(own, 0, 100, count - 1, 1_000, False, 0, count, offset, time, key, value, headers, broken))
    found = Records("t", 0, data, offset, time, key, value, headers, broken).take(slice(count if rows < 0 else rows))
    return rows, rows_of(found)


def test_the_layout_is_that_of_the_protocol() -> None:
    assert LAYOUT.size == 61
