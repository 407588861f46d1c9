"""The guard: exactly-once delivery with a producer that must not be believed.

The only success is: every record acknowledged, offsets acknowledged, EndTxn acknowledged, state READY, no connection ended meanwhile.
Anything else is `Doubt`: the producer is gone; `settle()` builds one with the same transactional id, which finishes or aborts what the
old one left, and then the consumer's `committed()` tells whether the batch happened. Every wait is cut into 50 ms slices that look at
the connections, because kafka-python's own waits may never end; and no producer is used again after a connection ended.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, NamedTuple

import kafka.errors as failures
from kafka import KafkaProducer, OffsetAndMetadata, TopicPartition
from kafka.structs import ConsumerGroupMetadata

from detector.errors import BrokerError
from detector.kafka.clients import REFUSED, broker_error, connect
from detector.kafka.consumer import Membership

SLICE = 0.05
"""Seconds between two looks at the connections."""

WRITING: dict[str, Any] = {
    "acks": "all",
    "allow_auto_create_topics": False,
    "compression_type": "lz4",
    "linger_ms": 2,
    "batch_size": 512 << 10,
    "max_request_size": 8 << 20,
    "request_timeout_ms": 5000,
    "delivery_timeout_ms": 12_000,
    "max_block_ms": 6000,
    "retry_backoff_ms": 1,
    "reconnect_backoff_max_ms": 500,
    "metrics_enabled": False,
}

HOPELESS = (*REFUSED, failures.AuthorizationError, failures.UnsupportedVersionError)
"""Failures that trying again does not mend."""


class Message(NamedTuple):
    topic: str
    key: bytes | None
    value: bytes


class Doubt(Exception):  # noqa: N818  it is not an error but a question, which `settle()` and `committed()` answer
    """Whether the transaction happened is not known. `phase`: begin, send, flush, offsets, commit or state; `cause`: what was seen."""

    def __init__(self, phase: str, cause: BaseException) -> None:
        super().__init__(f"transaction in doubt at {phase}: {type(cause).__name__}: {cause}")
        self.phase, self.cause = phase, cause


class Transactions:
    """One transactional id, one transaction at a time, one thread. Begin with `settle()`."""

    def __init__(self, transactional_id: str, settings: Mapping[str, Any], transaction_timeout: float = 15.0) -> None:
        self._id, self._settings, self._timeout = transactional_id, settings, transaction_timeout
        self._producer: KafkaProducer | None = None

    def deliver(
        self,
        messages: Sequence[tuple[str, bytes | None, bytes]],
        offsets: Mapping[tuple[str, int], tuple[int, str]],
        membership: Membership | None,
    ) -> None:
        """Messages (as `Message`) and consumed offsets ((topic, partition) -> next offset, metadata) in one transaction. Raises Doubt.

        Without a producer (before `settle`, after a Doubt, after a success during which a connection ended) it raises Doubt at `begin`.
        """
        if self._producer is None:
            raise Doubt("begin", RuntimeError("there is no producer: settle() first"))
        attempt = _Attempt(self._producer, self._timeout)
        try:
            if membership is None:
                raise RuntimeError("not a stable member of the group")
            attempt.send(messages)
            attempt.commit(offsets, membership)
        except Exception as error:
            self._discard()
            raise Doubt(attempt.phase, error) from error
        except BaseException:
            self._discard()
            raise
        if attempt.connection_ended():  # it is committed; but an epoch is not used again after a disconnect (KAFKA-17754)
            self._discard()

    def settle(self, deadline: float) -> None:
        """Have a producer: whatever the last one left is committed or aborted when this returns. Nothing to do where there is one.

        Raises BrokerError after `deadline` seconds, or at once where trying again is of no use.
        """
        end, pause, doing = time.monotonic() + deadline, 0.05, f"settling transactions of {self._id!r}"
        while self._producer is None:
            producer = None
            try:
                left = max(end - time.monotonic(), 1.0)
                producer = connect(
                    KafkaProducer, self._settings, doing, min(left, 15.0), transactional_id=self._id,
                    transaction_timeout_ms=int(self._timeout * 1000), **WRITING,
                )  # fmt: skip
                producer.init_transactions()
                self._producer = producer
            except Exception as error:
                if producer is not None:
                    discard(producer)
                cause = error.__cause__ if isinstance(error, BrokerError) and error.__cause__ else error
                # a bare KafkaError: the broker answered something that kafka-python has no name for and will not try again
                if isinstance(cause, HOPELESS) or type(cause) is failures.KafkaError or time.monotonic() + pause > end:
                    raise broker_error(doing, self._settings, cause) from error
                time.sleep(pause)
                pause = min(pause * 2, 1.0)

    def close(self) -> None:
        self._discard()

    def _discard(self) -> None:
        if self._producer is not None:
            discard(self._producer)
            self._producer = None


class _Attempt:
    """One transaction. Its waits end with the time given to it, or soon after a connection of the producer did."""

    def __init__(self, producer: KafkaProducer, seconds: float) -> None:
        self.phase = "begin"
        self._producer, self._manager = producer, producer._transaction_manager
        self._connections, self._end = producer._sender._client._manager, time.monotonic() + seconds
        self._ended = self._connections.ended

    def send(self, messages: Sequence[tuple[str, bytes | None, bytes]]) -> None:
        self._producer.begin_transaction()
        self.phase = "send"
        for topic in {topic for topic, _, _ in messages}:
            self._wait(partial(self._is_known, topic))
        futures = [self._producer.send(topic, key=key, value=value) for topic, key, value in messages]
        self.phase = "flush"
        self._wait(self._is_flushed)
        for future in futures:  # flush() returns happily when records failed
            future.get(0)

    def commit(self, offsets: Mapping[tuple[str, int], tuple[int, str]], membership: Membership) -> None:
        self.phase = "offsets"
        places = {TopicPartition(*place): OffsetAndMetadata(offset, metadata, -1) for place, (offset, metadata) in offsets.items()}
        if places:
            result = self._manager.send_offsets_to_transaction(places, ConsumerGroupMetadata(*membership))
            self._wait(partial(result.wait, SLICE * 1000))
        self.phase = "commit"
        result = self._manager.begin_commit()
        self._wait(partial(result.wait, SLICE * 1000))
        self.phase = "state"
        state = self._manager._current_state.name
        if state != "READY":
            raise RuntimeError(f"the client says it is committed, but is {state}")

    def connection_ended(self) -> bool:
        return bool(self._connections.ended != self._ended)

    def _wait(self, done: Callable[[], bool]) -> None:
        """`done` itself waits for one slice."""
        self._producer._sender.wakeup()
        while not done():
            if self.connection_ended():
                raise ConnectionError("a connection to a broker ended")
            if time.monotonic() > self._end:
                raise TimeoutError("the transaction took too long")

    def _is_known(self, topic: str) -> bool:
        """Whether the topic's partitions are known: send() would wait for them deaf to everything else."""
        try:
            return self._producer._wait_on_metadata(topic, SLICE * 1000) is not None
        except failures.KafkaTimeoutError:
            return False

    def _is_flushed(self) -> bool:
        try:
            self._producer.flush(SLICE)
        except failures.KafkaTimeoutError:
            return False
        return True


def discard(producer: KafkaProducer) -> None:
    """End a producer without a word to the broker. Its own close() may hang, raise, or leave its thread behind."""
    with suppress(Exception):
        producer._sender.force_close()
        producer._sender.join(5)
        producer._unregister_cleanup()
        producer._closed = True
