"""The guard against a real broker: what it calls a success happened, and after a doubt `committed()` tells the truth."""

from __future__ import annotations

import random
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest
from guarded import World, thawed
from kafka import KafkaProducer, OffsetAndMetadata, TopicPartition
from kafka.structs import ConsumerGroupMetadata

from detector.errors import BrokerError
from detector.kafka.security import client_settings
from detector.kafka.transactions import WRITING, Doubt, Message, Transactions, discard
from detector.sandbox.broker import Broker

pytestmark = pytest.mark.broker
Settings = dict[str, Any]


@pytest.fixture
def world(broker: Broker, unique: Callable[[str], str]) -> Iterator[World]:
    made = World(client_settings({"bootstrap_servers": broker.bootstrap}), unique)
    yield made
    made.close()


def test_messages_and_offsets_arrive_together(world: World) -> None:
    world.deliver(b"one", 5)
    world.deliver(b"two", 9)
    assert world.seen() == [b"one", b"two"]
    assert world.member.committed([0, 1]) == {0: (9, "at 9"), 1: None}


def test_offsets_alone_and_messages_alone_are_transactions_too(world: World) -> None:
    world.transactions.deliver([], {(world.input, 1): (3, "")}, world.membership)
    world.transactions.deliver([Message(world.output, None, b"x")], {}, world.membership)
    assert world.committed(1) == 3 and world.seen() == [b"x"]


def test_a_stale_generation_is_refused_and_its_offsets_never_come_back(world: World) -> None:
    """D6's fence, and D2: kafka-python's next transaction would commit the refused offsets as well."""
    good = world.membership
    stale = good._replace(generation=good.generation - 1)
    with pytest.raises(Doubt) as caught:
        world.deliver(b"stale", 11, partition=1, membership=stale)
    assert caught.value.phase == "offsets"
    with pytest.raises(Doubt, match="settle"):
        world.deliver(b"too early", 12)
    world.transactions.settle(10)
    world.deliver(b"good", 4)
    assert (world.committed(0), world.committed(1)) == (4, None)
    assert world.seen() == [b"good"]
    assert world.seen("read_uncommitted") == [b"stale", b"good"]


def test_the_fences_bite(world: World) -> None:
    """Without them: offsets of an aborted transaction are committed by the next (D2), and (-1, '') is let through (D6)."""
    good = world.membership
    producer = KafkaProducer(**world.settings, **WRITING, transactional_id=f"{world.id}-bite")
    producer.init_transactions()
    producer.begin_transaction()
    producer.send(world.output, b"x")
    producer.flush()
    with suppress(Exception):
        stale = good._replace(generation=good.generation - 1)
        producer.send_offsets_to_transaction({TopicPartition(world.input, 1): OffsetAndMetadata(11, "", -1)}, ConsumerGroupMetadata(*stale))
    producer.abort_transaction()
    producer.begin_transaction()
    producer.send_offsets_to_transaction({TopicPartition(world.input, 0): OffsetAndMetadata(4, "", -1)}, ConsumerGroupMetadata(*good))
    producer.commit_transaction()
    assert (world.committed(0), world.committed(1)) == (4, 11)
    producer.begin_transaction()
    nobody = ConsumerGroupMetadata(world.group, -1, "", None)
    producer.send_offsets_to_transaction({TopicPartition(world.input, 0): OffsetAndMetadata(99, "", -1)}, nobody)
    producer.commit_transaction()
    assert world.committed(0) == 99
    discard(producer)


def test_who_is_no_member_delivers_nothing(world: World) -> None:
    with pytest.raises(Doubt, match="not a stable member"):
        world.transactions.deliver([Message(world.output, b"k", b"x")], {(world.input, 0): (1, "")}, None)
    world.transactions.settle(10)
    assert world.committed() is None and world.seen() == []


def test_closed_amid_a_transaction_it_is_aborted_by_the_next_of_the_same_id(world: World) -> None:
    producer = world.transactions._producer
    assert producer is not None
    producer.begin_transaction()
    producer.send(world.output, b"never")
    producer.flush()
    world.transactions.close()
    again = Transactions(world.id, world.settings)
    again.settle(10)
    assert world.seen() == [] and world.seen("read_uncommitted") == [b"never"]
    again.deliver([Message(world.output, b"k", b"then")], {(world.input, 0): (1, "")}, world.membership)
    assert world.seen() == [b"then"]
    again.close()


def test_connections_cut_at_any_moment_leave_all_or_nothing_and_committed_knows(world: World) -> None:
    """C4: after each success the message is there; after each doubt the offset tells whether it is."""
    rng, doubts, survived, expected = random.Random(3), 0, 0, []
    for number in range(1, 31):
        membership = world.membership
        world.transactions.settle(20)
        with cutting(world.transactions._producer, rng.uniform(0, 0.015), for_good=number % 3 != 0):
            start = time.monotonic()
            try:
                world.deliver(b"%d" % number, number, membership=membership)
                sure = True
                survived += world.transactions._producer is None
            except Doubt:
                sure = False
                doubts += 1
            assert time.monotonic() - start < 5, "it waited for an answer that could not come"
        world.transactions.settle(20)
        assert world.committed() == number or not sure
        if world.committed() == number:
            expected.append(b"%d" % number)
    assert world.seen() == expected
    assert doubts > 2 and survived, f"{doubts} doubts, {survived} successes with a connection lost: the fault was not real"


@contextmanager
def cutting(producer: KafkaProducer | None, after: float, for_good: bool) -> Iterator[None]:
    """Shuts the producer's connections down after a while, once or again and again."""
    over = threading.Event()
    assert producer is not None

    def work() -> None:
        over.wait(after)
        while True:
            for connection in list(producer._sender._client._manager._conns.values()):
                with suppress(OSError, AttributeError):
                    connection.transport._sock.shutdown(socket.SHUT_RDWR)
            if not for_good or over.wait(0.002):
                break

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


@pytest.fixture
def exposed(own: Broker, unique: Callable[[str], str]) -> Iterator[World]:
    made = World(client_settings({"bootstrap_servers": own.bootstrap}), unique)
    yield made
    made.close()


def test_a_broker_killed_amid_a_transaction_is_a_doubt_at_once_and_settled_once_it_is_back(own: Broker, exposed: World) -> None:
    """C1, D1: kafka-python's own calls would hang."""
    exposed.deliver(b"before", 1)
    membership = exposed.membership
    own.kill()
    start = time.monotonic()
    with pytest.raises(Doubt):
        exposed.deliver(b"killed", 2, membership=membership)
    assert time.monotonic() - start < 5
    with pytest.raises(BrokerError, match="no answer in time"):
        exposed.transactions.settle(1)
    own.start()
    exposed.transactions.settle(30)
    assert exposed.committed() == 1 and exposed.seen() == [b"before"]
    exposed.deliver(b"after", 3)
    assert exposed.committed() == 3 and exposed.seen() == [b"before", b"after"]


def test_a_broker_frozen_amid_a_transaction_is_a_doubt_when_time_is_up(own: Broker, exposed: World) -> None:
    """C3, D5."""
    guard = Transactions(f"{exposed.id}-short", exposed.settings, transaction_timeout=1.0)
    guard.settle(10)
    guard.deliver([Message(exposed.output, b"k", b"before")], {}, exposed.membership)
    membership = exposed.membership
    start = time.monotonic()
    with thawed(own), pytest.raises(Doubt, match="too long"):
        own.pause()
        guard.deliver([Message(exposed.output, b"k", b"frozen")], {(exposed.input, 0): (3, "")}, membership)
    assert time.monotonic() - start < 5
    guard.settle(30)
    assert exposed.committed() is None and exposed.seen() == [b"before"]
    guard.close()


def test_settling_that_cannot_succeed_says_why_at_once(broker: Broker) -> None:
    settings = client_settings({"bootstrap_servers": broker.bootstrap})
    guard = Transactions("too-long", settings, transaction_timeout=10 * 86_400)
    start = time.monotonic()
    with pytest.raises(BrokerError, match="InvalidTransactionTimeout"):
        guard.settle(60)
    assert time.monotonic() - start < 10
