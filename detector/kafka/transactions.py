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

from detector import failpoints
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
    "metrics_enabled": False,
}

HOPELESS = (*REFUSED, failures.AuthorizationError, failures.UnsupportedVersionError)
"""Failures that trying again does not mend."""

Sendable = tuple[str, bytes | None, bytes | None] | tuple[str, bytes | None, bytes | None, int | None]
"""Topic, key, value (None deletes what a compacted topic holds under the key) and, if the key shall not choose it, the partition."""


class Message(NamedTuple):
    topic: str
    key: bytes | None
    value: bytes | None
    partition: int | None = None


class Doubt(Exception):  # noqa: N818  it is not an error but a question, which `settle()` and `committed()` answer
    """Whether the transaction happened is not known. `phase`: begin, send, flush, offsets, commit or state; `cause`: what was seen;
    `too_large`: a record is larger than its topic takes, and so it will be when it is sent again.
    """

    def __init__(self, phase: str, cause: BaseException) -> None:
        super().__init__(f"transaction in doubt at {phase}: {type(cause).__name__}: {cause}")
        self.phase, self.cause = phase, cause
        self.too_large = isinstance(cause, failures.MessageSizeTooLargeError)

    @property
    def displaced(self) -> bool:
        """Another process has joined the group as this one."""
        return isinstance(self.cause, failures.FencedInstanceIdError)

    @property
    def fenced(self) -> bool:
        """Another process with the same transactional id has begun to write."""
        return isinstance(self.cause, (failures.ProducerFencedError, failures.InvalidProducerEpochError))


class Writing:
    """Records being sent. Its waits end with the time given to it, or soon after a connection of the producer did."""

    def __init__(self, producer: KafkaProducer, seconds: float) -> None:
        self.phase = "begin"
        self._producer = producer
        self._connections, self._end = producer._sender._client._manager, time.monotonic() + seconds
        self._ended = self._connections.ended

    def send(self, messages: Sequence[Sendable]) -> list[int]:
        """Until all are acknowledged; gives their offsets, -1 where the broker does not say."""
        self.phase = "send"
        for topic in {message[0] for message in messages}:
            self._wait(partial(self._is_known, topic))
        futures = [self._producer.send(m.topic, key=m.key, value=m.value, partition=m.partition) for m in (Message(*m) for m in messages)]
        failpoints.at("after_send")
        self.phase = "flush"
        self._wait(lambda: self._is_flushed() and all(future.is_done for future in futures))
        places = [int(future.get(0).offset) for future in futures]  # flush() returns happily when records failed
        failpoints.at("after_flush")
        return places

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
        except (failures.KafkaTimeoutError, failures.UnknownError):  # the latter where a batch was too large for its topic, and was split
            return False
        return True


def make_producer(
    settings: Mapping[str, Any], doing: str, deadline: float, prepare: Callable[[KafkaProducer], None], **options: Any
) -> KafkaProducer:
    """A producer, prepared. Raises BrokerError after `deadline` seconds, or at once where trying again is of no use."""
    end, pause = time.monotonic() + deadline, 0.05
    while True:
        producer = None
        try:
            left = max(end - time.monotonic(), 1.0)
            producer = connect(KafkaProducer, settings, doing, min(left, 15.0), **options)
            prepare(producer)
            return producer
        except Exception as error:
            if producer is not None:
                discard(producer)
            cause = error.__cause__ if isinstance(error, BrokerError) and error.__cause__ else error
            # a bare KafkaError: the broker answered something that kafka-python has no name for and will not try again
            if isinstance(cause, HOPELESS) or type(cause) is failures.KafkaError or time.monotonic() + pause > end:
                raise broker_error(doing, settings, cause) from error
            time.sleep(pause)
            pause = min(pause * 2, 1.0)


class Transactions:
    """One transactional id, one transaction at a time, one thread. Begin with `settle()`."""

    def __init__(self, transactional_id: str, settings: Mapping[str, Any], transaction_timeout: float = 10.0) -> None:
        self._id, self._settings, self._timeout = transactional_id, settings, transaction_timeout
        self._producer: KafkaProducer | None = None

    def deliver(
        self, messages: Sequence[Sendable], offsets: Mapping[tuple[str, int], tuple[int, str]], membership: Membership | None
    ) -> list[int]:
        """Messages (as `Message`) and consumed offsets ((topic, partition) -> next offset, metadata) in one transaction. Raises Doubt.
        Gives the offsets that the messages took, in their order.

        Without a producer (before `settle`, after a Doubt, after a success during which a connection ended) it raises Doubt at `begin`.
        """
        if self._producer is None:
            raise Doubt("begin", RuntimeError("there is no producer: settle() first"))
        attempt = _Attempt(self._producer, self._timeout)
        try:
            if membership is None:
                raise RuntimeError("not a stable member of the group")
            attempt.begin()
            places = attempt.send(messages)
            if min(places, default=0) < 0:
                raise RuntimeError("a batch was sent twice, and the broker no longer knows where it stands")
            attempt.commit(offsets, membership)
            failpoints.at("after_commit")
        except Exception as error:
            self._discard()
            raise Doubt(attempt.phase, error) from error
        except BaseException:
            self._discard()
            raise
        if attempt.connection_ended():  # it is committed; but an epoch is not used again after a disconnect (KAFKA-17754)
            self._discard()
        return places

    def settle(self, deadline: float) -> bool:
        """Have a producer: whatever the last one left is committed or aborted when this returns. Nothing to do, and False, where there is
        one.

        Raises BrokerError after `deadline` seconds, or at once where trying again is of no use.
        """
        if self._producer is not None:
            return False
        self._producer = make_producer(
            self._settings, f"settling transactions of {self._id!r}", deadline, KafkaProducer.init_transactions,
            transactional_id=self._id, transaction_timeout_ms=int(self._timeout * 1000), **WRITING,
        )  # fmt: skip
        return True

    def close(self) -> None:
        self._discard()

    def _discard(self) -> None:
        if self._producer is not None:
            discard(self._producer)
            self._producer = None


class _Attempt(Writing):
    """One transaction."""

    def __init__(self, producer: KafkaProducer, seconds: float) -> None:
        super().__init__(producer, seconds)
        self._manager = producer._transaction_manager

    def begin(self) -> None:
        self._producer.begin_transaction()
        failpoints.at("after_begin")

    def commit(self, offsets: Mapping[tuple[str, int], tuple[int, str]], membership: Membership) -> None:
        self.phase = "offsets"
        places = {TopicPartition(*place): OffsetAndMetadata(offset, metadata, -1) for place, (offset, metadata) in offsets.items()}
        if places:
            result = self._manager.send_offsets_to_transaction(places, ConsumerGroupMetadata(*membership))
            self._wait(partial(result.wait, SLICE * 1000))
        failpoints.at("after_offsets")
        self.phase = "commit"
        result = self._manager.begin_commit()
        self._producer._sender.wakeup()
        result.wait(1)  # ms, after which it is on its way
        failpoints.at("after_endtxn_sent")
        self._wait(partial(result.wait, SLICE * 1000))
        self.phase = "state"
        state = self._manager._current_state.name
        if state != "READY":
            raise RuntimeError(f"the client says it is committed, but is {state}")


def discard(producer: KafkaProducer) -> None:
    """End a producer without a word to the broker. Its own close() may hang, raise, or leave its thread behind."""
    with suppress(Exception):
        producer._sender.force_close()
        producer._sender.join(5)
        producer._unregister_cleanup()
        producer._closed = True
