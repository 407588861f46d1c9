"""Reads the state topic, partition by partition, while tasks are taken over; and says who holds it up."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from kafka import KafkaAdminClient, KafkaConsumer, TopicPartition
from kafka.admin import OffsetSpec

from detector.core.events import Records
from detector.errors import BrokerError, StateError
from detector.kafka.clients import broker_error, connect
from detector.kafka.consumer import ANSWER, READING, close_consumer, require_topic
from detector.kafka.records import join, read_columns

POLL = 1000
"""Records handed out at once at most."""
STEP = 4 << 20
"""Bytes handed out at once at most, so that no step of a takeover is long: a fetch has no more."""


class StateLog:
    """Committed records only. All methods are for one thread; each raises BrokerError, after which a new one is made."""

    def __init__(self, settings: Mapping[str, Any], topic: str) -> None:
        self._topic, self._settings, self._doing = topic, settings, f"reading topic {topic!r}"
        self._client = connect(
            KafkaConsumer, settings, self._doing, group_id=None, isolation_level="read_committed",
            **{**READING, "max_partition_fetch_bytes": STEP, "fetch_max_bytes": STEP},
        )  # fmt: skip
        self._admin: Any = None
        self.columnar = read_columns(self._client)
        try:
            self._places = [TopicPartition(topic, p) for p in require_topic(self._client, topic, settings, self._doing)]
            self._client.assign(self._places)
            for place in self._places:
                self._client.seek(place, 0)
            self._client.pause(*self._places)
            self._admin = connect(KafkaAdminClient, settings, self._doing)
        except BaseException:
            self.close()
            raise

    def bounds(self, partition: int) -> tuple[int, int]:
        """The first offset there is, and the one behind the last, be its transaction open or not. Raises StateError where there is no such
        partition.
        """
        place = self._at(partition)
        if place not in self._places:
            raise StateError(
                f"partition {partition}: topic {self._topic!r} has {len(self._places)} partitions only; partitions added to a topic of "
                "events in use tear each person's history apart"
            )
        try:
            first = self._client._fetcher.beginning_offsets([place], int(ANSWER * 1000))[place]
            end = self._admin.list_partition_offsets({place: OffsetSpec.LATEST}, timeout_ms=int(ANSWER * 1000))[place].offset
        except Exception as error:
            raise broker_error(self._doing, self._settings, error) from error
        return int(first), int(end)

    def begin(self, partition: int, offset: int) -> None:
        """Read on from there."""
        place, fetcher = self._at(partition), self._client._fetcher
        self._client.seek(place, offset)
        fetcher._paused_partition_records.pop(place, None)  # what is parked may never be un-parked
        fetcher._paused_completed_fetches.pop(place, None)
        self._client.resume(place)

    def end(self, partition: int) -> None:
        """Read no further."""
        self._client.pause(self._at(partition))

    def position(self, partition: int) -> int:
        """The offset to be fetched next."""
        try:
            return int(self._client.position(self._at(partition), timeout_ms=int(ANSWER * 1000)) or 0)
        except Exception as error:
            raise broker_error(self._doing, self._settings, error) from error

    def poll(self, timeout: float) -> list[Records]:
        """What there is within `timeout` seconds, of partitions that were begun."""
        try:
            found = self._client.poll(timeout_ms=int(timeout * 1000), max_records=POLL)
        except BrokerError:
            raise
        except Exception as error:
            raise broker_error(self._doing, self._settings, error) from error
        return [join(items) for items in found.values()]

    def diagnosis(self, partition: int) -> str:
        """Why reading does not come to the end, as far as the broker tells."""
        place = self._at(partition)
        try:
            stable = self._client._fetcher.end_offsets([place], int(ANSWER * 1000))[place]
            end = self._admin.list_partition_offsets({place: OffsetSpec.LATEST}, timeout_ms=int(ANSWER * 1000))[place].offset
            producers = self._admin.describe_producers([place])[place].active_producers
        except Exception as error:
            return f"and the broker does not say why ({type(error).__name__}: {error})"
        said = f"the last stable offset of {self._topic}-{partition} is {stable}, its end {end}"
        for producer in producers:
            if 0 <= producer.current_transaction_start_offset <= stable:
                since = producer.current_transaction_start_offset
                return (
                    f"{said}: producer {producer.producer_id} (epoch {producer.producer_epoch}) has a transaction open since offset {since}"
                    "\nif it does not end by itself, it hangs: "
                    f"`kafka-transactions.sh abort --topic {self._topic} --partition {partition} --start-offset {since}`"
                )
        return said

    def close(self) -> None:
        close_consumer(self._client, 1.0)
        if self._admin is not None:
            with suppress(Exception):
                self._admin.close()

    def _at(self, partition: int) -> TopicPartition:
        return TopicPartition(self._topic, partition)
