"""The guard at work: two topics, a member of a group that owns all of the one, and what the outside can see of the other."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from kafka import KafkaProducer, OffsetAndMetadata, TopicPartition

from detector.kafka.consumer import Consumer, Membership
from detector.kafka.reader import Reader
from detector.kafka.topics import Topic, create
from detector.kafka.transactions import Message, Transactions, discard
from detector.sandbox.broker import Broker

Settings = dict[str, Any]
LONG = 6.0
"""Seconds after which a call that should have taken a fraction of one counts as never ending."""


class World:
    """Two topics, a member of a group that owns all of `input`, and what the outside can see."""

    def __init__(self, settings: Settings, unique: Callable[[str], str]) -> None:
        self.settings, self.group, self.id = settings, unique("guard"), unique("guard-0")
        self.input, self.output = unique("input"), unique("output")
        create(settings, [Topic(self.input, 2), Topic(self.output, 1)])
        self.rejoin()
        self.transactions = Transactions(self.id, settings)
        self.transactions.settle(20)

    def rejoin(self) -> None:
        self.member = Consumer(self.input, self.group, self.settings)

    @property
    def membership(self) -> Membership:
        end = time.monotonic() + 20
        while True:
            self.member.poll(0.05, 1)
            found = self.member.membership()
            if found is not None:
                return found
            assert time.monotonic() < end, "it does not become a member"

    def deliver(self, value: bytes, offset: int, partition: int = 0, membership: Membership | None = None) -> None:
        offsets = {(self.input, partition): (offset, f"at {offset}")}
        self.transactions.deliver([Message(self.output, b"k", value)], offsets, membership or self.membership)

    def committed(self, partition: int = 0) -> int | None:
        found = self.member.committed([partition])[partition]
        return None if found is None else found[0]

    def seen(self, isolation: str = "read_committed") -> list[bytes | None]:
        with Reader(self.settings, self.output, isolation) as reader:
            return [run.part(run.value, i) for run in reader.read() for i in range(len(run))]

    def close(self) -> None:
        self.transactions.close()
        self.member.close(2)


@contextmanager
def thawed(broker: Broker) -> Iterator[None]:
    try:
        yield
    finally:
        broker.resume()


@contextmanager
def raw(world: World, **options: Any) -> Iterator[KafkaProducer]:
    """A producer as it comes."""
    producer = KafkaProducer(**world.settings, **{"transactional_id": f"{world.id}-raw", "request_timeout_ms": 4000, **options})
    producer.init_transactions()
    producer.begin_transaction()
    try:
        yield producer
    finally:
        discard(producer)


class Call:
    """Something that may never end."""

    def __init__(self, work: Callable[[], object]) -> None:
        self.error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, args=(work,), daemon=True)
        self._thread.start()

    def ended(self, seconds: float) -> bool:
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def _run(self, work: Callable[[], object]) -> None:
        try:
            work()
        except BaseException as error:
            self.error = error


def offsets(world: World, partition: int, offset: int) -> dict[TopicPartition, OffsetAndMetadata]:
    return {TopicPartition(world.input, partition): OffsetAndMetadata(offset, "", -1)}


def until(done: Callable[[], bool], seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.02)
