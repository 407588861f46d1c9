"""The columnar record reader: what kafka-python yields as an object per record, as one `Records` a batch.

kafka-python's fetcher makes a `PartitionRecords` from each partition of an answer; ours takes its place in one client (an instance
attribute). It is used with the versions it was proven with; with another, stock records are converted: slower, but the same `Records`.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import kafka
import numpy as np
from kafka.consumer.fetcher import Fetcher
from kafka.protocol.consumer import IsolationLevel

from detector.core.events import Records
from detector.kafka.batches import MAGIC, CorruptBatchError, Header, frames, parse, read_header, read_records

PROVEN = ("3.0.12",)


def read_columns(client: Any) -> bool:
    """Let a KafkaConsumer read columns; False = this version of kafka-python is not known, its records will be converted instead."""
    none, pairs = np.empty(0, np.int64), np.empty((0, 2), np.int64)
    parse(np.frombuffer(b"", np.uint8), 0, 0, 0, False, none, none, pairs, pairs, pairs, np.empty(0, np.bool_))  # compile before it counts
    if kafka.__version__ not in PROVEN:
        return False
    client._fetcher.PartitionRecords = ColumnarRecords
    return True


class Run(list[Records]):
    """Slices of records whose length is that of the records: the fetcher counts what it hands out by it."""

    def __len__(self) -> int:
        return sum(map(len, iter(self)))


class ColumnarRecords(Fetcher.PartitionRecords):  # type: ignore[misc]
    """The records of one partition in one answer; `take(n)` gives slices of together at most n records."""

    def __init__(self, fetch_offset: int, tp: Any, records: Any, **settings: Any) -> None:
        super().__init__(fetch_offset, tp, records, **settings)
        raw = memoryview(records._buffer or b"")
        self._rest: Records | None = None
        self._behind = fetch_offset
        first = next(frames(raw), None)
        if first is None or first[MAGIC] == 2:
            self.record_iterator = self._slices(raw)
        else:  # an older format: rare, slow, right
            self.record_iterator = self._stock(self.record_iterator)

    def take(self, n: int | None = None) -> Run:
        run, left = Run(), sys.maxsize if n is None else n
        while left:
            try:
                if self._rest is None:
                    self._rest = next(self.record_iterator, None) if self else None
            except Exception:
                self.drain()  # else the fetcher would ask an ended generator for ever; fetched again, it raises again
                if not list.__len__(run):
                    raise
            if self._rest is None:
                break
            piece = self._rest.take(slice(left))
            run.append(piece)
            left -= len(piece)
            self._rest = self._rest.take(slice(len(piece), None)) if len(piece) < len(self._rest) else None
            self.next_fetch_offset = self._behind if self._rest is None else int(piece.offset[-1]) + 1
        return run

    def drain(self) -> None:
        self._rest = None
        super().drain()

    def _slices(self, raw: memoryview) -> Iterator[Records]:
        topic, partition = self.topic_partition
        for frame in frames(raw):
            if frame[MAGIC] != 2:
                break  # the next answer begins with it
            header = read_header(frame, topic, partition, self.check_crcs)
            self.leader_epoch = header.leader_epoch
            records = None if self._withheld(header, frame) else read_records(frame, header, topic, partition)
            if records is not None and header.base_offset < self.fetch_offset:
                records = records.take(records.offset >= self.fetch_offset)
            if not records:
                self.next_fetch_offset = header.last_offset + 1
                continue
            self.records_read += len(records)
            self.bytes_read += len(records.data)
            self._behind = header.last_offset + 1
            yield records
        self.drain()

    def _withheld(self, header: Header, frame: memoryview) -> bool:
        """Whether a batch is not for readers: a transaction's marker, or (to read_committed) part of an aborted one."""
        if self.isolation_level == IsolationLevel.READ_COMMITTED and header.producer_id >= 0:
            self._consume_aborted_transactions_up_to(header.last_offset)
            if header.is_control:
                if _aborts(read_records(frame, header, *self.topic_partition)):
                    self.aborted_producer_ids.discard(header.producer_id)
            elif self._is_batch_aborted(header):
                return True
        return header.is_control

    def _stock(self, stock: Iterable[Any]) -> Iterator[Records]:
        for record in stock:
            self._behind = record.offset + 1
            yield convert(record.topic, record.partition, [record])


def _aborts(marker: Records) -> bool:
    """A marker's key: version i16, type i16 (0 abort, 1 commit)."""
    return len(marker) > 0 and (marker.part(marker.key, 0) or b"")[2:4] == b"\0\0"


def join(items: Sequence[Any]) -> Records:
    """What a KafkaConsumer's poll gave for one partition (slices, or stock records; at least one) as one `Records`."""
    first = items[0]
    if not isinstance(first, Records):
        return convert(first.topic, first.partition, items)
    if sum(1 for _ in items) == 1:
        return first
    base = np.cumsum([0, *(len(item.data) for item in items)])[:-1]
    shift = np.repeat(base, [len(item) for item in items])[:, None]

    def positions(name: str) -> np.ndarray[Any, Any]:
        found = np.concatenate([getattr(item, name) for item in items])
        return np.where(found[:, 1:] >= 0, found + shift, found)

    return Records(
        first.topic, first.partition, b"".join(item.data for item in items),
        np.concatenate([item.offset for item in items]), np.concatenate([item.timestamp for item in items]),
        positions("key"), positions("value"), positions("headers"), np.concatenate([item.broken for item in items]),
    )  # fmt: skip


def convert(topic: str, partition: int, stock: Sequence[Any]) -> Records:
    """kafka-python's own record objects as `Records`; headers are encoded again as they stood in the log."""
    parts, at = [], 0
    columns = np.full((3, len(stock), 2), -1, np.int64)
    for row, record in enumerate(stock):
        for column, part in zip(columns, (record.key, record.value, _raw_headers(record.headers)), strict=True):
            if part is not None:
                column[row] = at, at + len(part)
                parts.append(part)
                at += len(part)
    offset = np.fromiter((record.offset for record in stock), np.int64, len(stock))
    time = np.fromiter((record.timestamp for record in stock), np.int64, len(stock))
    key, value, headers = columns
    return Records(topic, partition, b"".join(parts), offset, time, key, value, headers, np.zeros(len(stock), np.bool_))


def _raw_headers(headers: Sequence[tuple[str, bytes | None]]) -> bytes | None:
    if not headers:
        return None
    out = [_varint(len(headers))]
    for name, value in headers:
        key = name.encode()
        out += [_varint(len(key)), key, _varint(-1 if value is None else len(value)), value or b""]
    return b"".join(out)


def _varint(number: int) -> bytes:
    raw, out = (number << 1) ^ (number >> 63), bytearray()
    while raw > 127:
        out.append(raw & 127 | 128)
        raw >>= 7
    return bytes([*out, raw])


__all__ = ["PROVEN", "ColumnarRecords", "CorruptBatchError", "convert", "join", "read_columns"]
