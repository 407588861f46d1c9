"""Reads a topic from here to its present end, outside any group: for printers of alerts, lists of dead letters, and tests."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any

from kafka import KafkaConsumer, TopicPartition

from detector.core.events import Records
from detector.errors import BrokerError
from detector.kafka.clients import broker_error, connect
from detector.kafka.consumer import ANSWER, READING, close_consumer, require_topic
from detector.kafka.records import join, read_columns

POLL = 10_000
"""Records a poll hands out at most."""


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
