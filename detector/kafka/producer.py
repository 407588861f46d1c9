"""A plain idempotent producer, for the sandbox and for tools: what is sent arrives once, or flush() says that it did not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from kafka import KafkaProducer

from detector.errors import BrokerError
from detector.kafka.clients import broker_error, connect
from detector.kafka.transactions import WRITING, discard


class Producer:
    """Its methods are for one thread."""

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self._settings, self._doing = settings, "writing"
        options = WRITING | {"linger_ms": 20, "delivery_timeout_ms": 30_000, "request_timeout_ms": 10_000, "enable_idempotence": True}
        self._client = connect(KafkaProducer, settings, self._doing, **options)
        self._failures: list[BaseException] = []

    def send(
        self, topic: str, key: bytes | None, value: bytes | None, timestamp_ms: int | None = None, partition: int | None = None,
        headers: Sequence[tuple[str, bytes]] = (),
    ) -> None:  # fmt: skip
        """Queue a record; without `partition` its key says where it goes (murmur2, as everywhere in Kafka). Raises BrokerError."""
        try:
            future = self._client.send(topic, key=key, value=value, headers=list(headers), timestamp_ms=timestamp_ms, partition=partition)
        except Exception as error:
            raise broker_error(f"writing to topic {topic!r}", self._settings, error) from error
        future.add_errback(self._failures.append)

    def flush(self, timeout: float) -> None:
        """Wait until all is acknowledged. Raises BrokerError where it is not within `timeout` seconds, or something failed for good."""
        try:
            self._client.flush(timeout)
        except Exception as error:
            raise broker_error(self._doing, self._settings, error) from error
        if self._failures:
            failed, self._failures[:] = list(self._failures), []
            why = broker_error(self._doing, self._settings, failed[0])
            raise BrokerError(f"{len(failed)} records were not written; the first: {why}") from failed[0]

    def close(self) -> None:
        """Does not flush."""
        discard(self._client)

    def __enter__(self) -> Producer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
