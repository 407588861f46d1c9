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
    parse(np.frombuffer(b"", np.uint8), 0, 0, 0, 0, False, 0, 0, none, none, pairs, pairs, pairs, none > 0)  # compile before it counts
    if kafka.__version__ not in PROVEN:
        return False
    client._fetcher.PartitionRecords = ColumnarRecords
    return True


class Run(list[Records]):
    """What the fetcher takes at once: at most one `Records`. It counts against the poll's limit with `spent` records."""

    spent = 0

    def __len__(self) -> int:
        return self.spent


class ColumnarRecords(Fetcher.PartitionRecords):  # type: ignore[misc]
    """The records of one partition in one answer. `take(n)` gives one slice of at most n, of whole batches where one fits in n."""

    def __init__(self, fetch_offset: int, tp: Any, records: Any, **settings: Any) -> None:
        super().__init__(fetch_offset, tp, records, **settings)
        raw = memoryview(records._buffer or b"")
        self._rest: Records | None = None
        self._wanted, self._behind, self._more = 0, fetch_offset, True
        first = next(frames(raw), None)
        if first is None or first[MAGIC] == 2:
            self.record_iterator = self._slices(raw)
        else:  # an older format: rare, slow, right
            self.record_iterator = self._stock(self.record_iterator)

    def take(self, n: int | None = None) -> Run:
        run, self._wanted = Run(), sys.maxsize if n is None else n
        if self._rest is None and self:
            try:
                self._rest = next(self.record_iterator, None)
            except Exception:
                self.drain()  # else the fetcher would ask an ended generator for ever; fetched again, it raises again
                raise
        if self._rest is not None:
            piece = self._rest.take(slice(self._wanted))
            run.append(piece)
            self._rest = self._rest.take(slice(len(piece), None)) if len(piece) < len(self._rest) else None
            self.next_fetch_offset = self._behind if self._rest is None else int(piece.offset[-1]) + 1
            # while there is more, the poll is over: another slice would have to be joined to this one, which costs more than it brings
            run.spent = self._wanted if self._more or self._rest is not None else len(piece)
        return run

    def drain(self) -> None:
        self._rest = None
        super().drain()

    def _slices(self, raw: memoryview) -> Iterator[Records]:
        topic, partition = self.topic_partition
        group: list[tuple[Header, memoryview]] = []
        size = 0
        for frame in frames(raw):
            if frame[MAGIC] != 2:
                break  # the next answer begins with it
            try:
                header = read_header(frame, topic, partition, self.check_crcs)
                withheld = self._withheld(header, frame)
            except CorruptBatchError:
                yield from self._read(group)
                raise
            if withheld and not group:
                self.next_fetch_offset = header.last_offset + 1
            elif not withheld:
                if group and size + header.records > self._wanted:
                    yield from self._read(group)
                    group, size = [], 0
                group.append((header, frame))
                size += header.records
        self._more = False
        yield from self._read(group)
        self.drain()

    def _read(self, group: list[tuple[Header, memoryview]]) -> Iterator[Records]:
        if not group:
            return
        records, error = read_records(group, *self.topic_partition)
        if group[0][0].base_offset < self.fetch_offset:
            records = records.take(slice(int(np.searchsorted(records.offset, self.fetch_offset)), None))
        self.records_read += len(records)
        self.bytes_read += len(records.data)
        self.leader_epoch = group[-1][0].leader_epoch
        self._behind = error.offset if error else group[-1][0].last_offset + 1
        if len(records):
            yield records
        else:
            self.next_fetch_offset = self._behind
        if error:
            raise error

    def _withheld(self, header: Header, frame: memoryview) -> bool:
        """Whether a batch is not for readers: a transaction's marker, or (to read_committed) part of an aborted one."""
        matters = header.is_control or self.aborted_transactions or self.aborted_producer_ids
        if matters and header.producer_id >= 0 and self.isolation_level == IsolationLevel.READ_COMMITTED:
            self._consume_aborted_transactions_up_to(header.last_offset)
            if header.is_control:
                if _aborts(*read_records([(header, frame)], *self.topic_partition)):
                    self.aborted_producer_ids.discard(header.producer_id)
            elif self._is_batch_aborted(header):
                return True
        return header.is_control

    def _stock(self, stock: Iterable[Any]) -> Iterator[Records]:
        for record in stock:
            self._behind = record.offset + 1
            yield convert(record.topic, record.partition, [record])


def _aborts(marker: Records, error: CorruptBatchError | None) -> bool:
    """A marker's key: version i16, type i16 (0 abort, 1 commit)."""
    if error:
        raise error
    return len(marker) > 0 and (marker.part(marker.key, 0) or b"")[2:4] == b"\0\0"


def join(items: Sequence[Any]) -> Records:
    """What a KafkaConsumer's poll gave for one partition (slices, or stock records; at least one) as one `Records`."""
    first = items[0]
    if not isinstance(first, Records):
        return convert(first.topic, first.partition, items)
    return Records.joined(items)


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
