"""Reads a topic from here to its present end, outside any group: for printers of alerts, lists of dead letters, and tests."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from kafka import KafkaConsumer, TopicPartition

from detector.core.events import Records
from detector.core.formats.native import Limits
from detector.core.interleaving import Interleaving
from detector.errors import BrokerError
from detector.kafka.clients import broker_error, connect
from detector.kafka.consumer import ANSWER, READING, close_consumer, require_topic
from detector.kafka.records import join, read_columns

POLL = 10_000
"""Records a poll hands out at most."""
WAITING = 256 << 20
"""Bytes that may wait in all partitions together for others to come as far, and a poll's more."""


class Reader:
    def __init__(self, settings: Mapping[str, Any], topic: str, isolation: str = "read_committed") -> None:
        """Raises BrokerError where the topic is not there. `isolation`: read_committed or read_uncommitted."""
        self._settings, self._doing = settings, f"reading topic {topic!r}"
        self._client = connect(KafkaConsumer, settings, self._doing, group_id=None, isolation_level=isolation, **READING)
        self.columnar = read_columns(self._client)
        try:
            self._places = [TopicPartition(topic, p) for p in require_topic(self._client, topic, settings, self._doing)]
            self._client.assign(self._places)
            for place, offset in self._ends("beginning").items():
                self._client.seek(place, offset)
        except BaseException:
            self.close()
            raise

    def read(self, start: Mapping[int, int] | None = None, patience: float = 30.0) -> Iterator[Records]:
        """From where the last read() stopped (at first: the beginning; in `start`: partition -> offset) to the end as it is now.

        Raises BrokerError after `patience` seconds without a record, CorruptBatchError, and where an offset in `start` is gone.
        """
        for partition, offset in (start or {}).items():
            self._client.seek(TopicPartition(self._places[0].topic, partition), offset)
        ends, last = self._ends("end"), time.monotonic()
        while any(self._client.position(place) < end for place, end in ends.items()):
            for items in self._poll().values():
                last = time.monotonic()
                yield join(items)
            if time.monotonic() - last > patience:
                raise broker_error(self._doing, self._settings, TimeoutError(f"no record for {patience:g} s before the end"))

    def seek(self, since: int) -> None:
        """What is read next is what came to the topic at that time, in ms, or later. Raises BrokerError."""
        for place, offset in self._starts(since).items():
            self._client.seek(place, offset)

    def merged(
        self, limits: Limits, begin: int = 0, until: int = 1 << 62, progress: Callable[[int, int], None] = lambda done, total: None,
        patience: float = 30.0,
    ) -> Iterator[Records]:  # fmt: skip
        """All partitions as one log (core/interleaving) to the end as it is now, in the same order however it was read.

        Events that happened before `begin` or not before `until`, ms, are left out, as far as can be told without decoding. `progress` is
        told records behind us and records in all. Raises as read() does.
        """
        since = begin - limits.max_future  # by how much an event may be ahead of its record: none that is wanted stands before
        first, ends = self._starts(since), self._ends("end")
        for place, offset in first.items():
            self._client.seek(place, offset)
        log = Interleaving((place.partition for place in self._places), limits, begin, until)
        total = sum(ends.values()) - sum(first.values())
        far, last = -1, time.monotonic()
        while True:
            at = {place: min(self._client.position(place), ends[place]) for place in self._places}
            for place in self._places:
                if at[place] >= ends[place]:
                    log.end(place.partition)
            if (ready := log.ready()) is not None:
                yield ready
            if (done := sum(at.values()) - sum(first.values())) >= total:
                return
            far, last = done, time.monotonic() if done > far else last
            if time.monotonic() - last > patience:
                raise broker_error(self._doing, self._settings, TimeoutError(f"no record for {patience:g} s before the end"))
            progress(done, total)
            self._read_only([place for place in at if at[place] < ends[place] and self._may_wait(log, place)])
            for place, items in self._poll().items():
                records = join(items)
                log.add(records.take(slice(int(np.searchsorted(records.offset, ends[place])))))

    def bounds(self) -> dict[int, tuple[int, int]]:
        """Partition -> its first offset, and the one behind its last. Raises BrokerError."""
        first, end = self._ends("beginning"), self._ends("end")
        return {place.partition: (first[place], end[place]) for place in self._places}

    def close(self) -> None:
        close_consumer(self._client, 5.0)

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _may_wait(self, log: Interleaving, place: TopicPartition) -> bool:
        return log.waiting(place.partition) * len(self._places) <= WAITING

    def _read_only(self, wanted: list[TopicPartition]) -> None:
        """The others pause: nothing of them is fetched, and what was is kept."""
        self._client.pause(*(place for place in self._places if place not in wanted))
        self._client.resume(*wanted)
        fetcher = self._client._fetcher
        if not fetcher._next_partition_records:  # used up, and yet it keeps what was parked by pause() from being taken up again
            fetcher._next_partition_records = None

    def _starts(self, since: int) -> dict[TopicPartition, int]:
        """Each partition's first offset whose record is of `since` or later; its end where there is none."""
        if since <= 0:
            return self._ends("beginning")
        try:
            found = self._client._fetcher.offsets_by_times(dict.fromkeys(self._places, since), int(ANSWER * 1000))
        except Exception as error:
            raise broker_error(self._doing, self._settings, error) from error
        ends = self._ends("end")
        return {place: ends[place] if (told := found.get(place)) is None else told.offset for place in self._places}

    def _poll(self) -> dict[Any, list[Any]]:
        try:
            found: dict[Any, list[Any]] = self._client.poll(timeout_ms=200, max_records=POLL)
            return found
        except BrokerError:
            raise
        except Exception as error:
            raise broker_error(self._doing, self._settings, error) from error

    def _ends(self, which: str) -> dict[TopicPartition, int]:
        try:
            ask = getattr(self._client._fetcher, f"{which}_offsets")
            found: dict[TopicPartition, int] = ask(self._places, int(ANSWER * 1000))
            return found
        except Exception as error:
            raise broker_error(self._doing, self._settings, error) from error
