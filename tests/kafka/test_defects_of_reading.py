"""What kafka-python 3.0.12 does wrong when it reads, and is a member of a group: D6 to D9, D13 and D17. Shown as in `test_defects.py`."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any

import kafka
import pytest
from guarded import LONG, Call, World, offsets, raw, until
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition

from detector.core.events import Records
from detector.errors import BrokerError
from detector.kafka.clients import connect
from detector.kafka.consumer import Consumer
from detector.kafka.reader import Reader
from detector.kafka.security import client_settings
from detector.kafka.transactions import Doubt
from detector.sandbox.broker import Broker

pytestmark = pytest.mark.broker


@pytest.fixture
def world(broker: Broker, unique: Callable[[str], str]) -> Iterator[World]:
    made = World(client_settings({"bootstrap_servers": broker.bootstrap}), unique)
    yield made
    made.close()


def test_D6_who_polled_too_late_commits_as_a_nobody_whom_brokers_let_through(world: World) -> None:
    late = KafkaConsumer(
        **world.settings, group_id=f"{world.group}-late", enable_auto_commit=False, auto_offset_reset="earliest",
        max_poll_interval_ms=2000, session_timeout_ms=6000, heartbeat_interval_ms=500,
    )  # fmt: skip
    late.subscribe([world.input])
    until(lambda: bool(late.poll(timeout_ms=100) or late.assignment()))
    until(lambda: late.group_metadata().generation_id == -1)
    assert late.group_metadata().member_id == ""
    with raw(world) as producer:
        producer.send_offsets_to_transaction(offsets(world, 0, 99), late.group_metadata())
        producer.commit_transaction()
    until(lambda: late.committed(TopicPartition(world.input, 0)) == 99)  # nobody stopped it
    late.close(autocommit=False)
    member = world.membership
    world.member._client._coordinator.heartbeat.config["max_poll_interval_ms"] = 1000
    until(lambda: world.member._client.group_metadata().generation_id == -1)
    until(lambda: not members(world))  # the client says so first, and the broker is told then
    with pytest.raises(Doubt):
        world.deliver(b"late", 5, membership=member)
    assert world.member._safe_membership() is None
    world.transactions.settle(10)
    assert world.committed(0) is None


def test_D17_a_join_that_ends_between_two_polls_is_forgotten_and_begun_anew(world: World) -> None:
    busy = KafkaConsumer(
        **world.settings, group_id=f"{world.group}-busy", enable_auto_commit=False, auto_offset_reset="earliest",
        max_poll_interval_ms=120_000, session_timeout_ms=6000, heartbeat_interval_ms=500,
    )  # fmt: skip
    busy.subscribe([world.input])
    end, generations = time.monotonic() + LONG, set()
    while time.monotonic() < end:
        busy.poll(timeout_ms=0)
        assert not busy.assignment(), "the join was taken up: the defence may have become needless"
        generations.add(busy.group_metadata().generation_id)
        time.sleep(0.2)
    assert len(generations) > 5, "each of them a rebalance for the whole group"
    busy.close(autocommit=False)


def test_D17_a_member_of_ours_joins_once_however_little_it_polls(world: World) -> None:
    with closing_member(Consumer(world.input, f"{world.group}-busy", world.settings, session_timeout=6)) as busy:
        end = time.monotonic() + 20
        while busy.membership() is None:
            assert time.monotonic() < end, "it joins and joins"
            busy.poll(0.0, 1)
            time.sleep(0.2)
        found = busy.membership()
        assert found is not None and found.generation == 1
        assert busy.changes() == [("assigned", frozenset({0, 1}))]


@contextmanager
def closing_member(member: Consumer) -> Iterator[Consumer]:
    try:
        yield member
    finally:
        member.close(3)


def members(world: World) -> list[Any]:
    with closing(KafkaAdminClient(**world.settings)) as admin:
        return list(admin.describe_groups([world.group])[world.group]["members"])


def twenty(world: World) -> None:
    """Records, ten in each partition."""
    producer = KafkaProducer(**world.settings, linger_ms=500)
    for number in range(20):
        producer.send(world.input, b"%d" % number, partition=number % 2)
    producer.flush()
    producer.close()


def test_D13_records_that_were_parked_while_paused_stop_the_partition_though_it_goes_on(world: World) -> None:
    """What is left of another partition's last answer, though it is used up, keeps parked records from being taken up again."""
    twenty(world)
    first, second = TopicPartition(world.input, 0), TopicPartition(world.input, 1)
    stock = KafkaConsumer(**world.settings, group_id=None, max_poll_records=5)
    stock.assign([first])
    stock.seek(first, 0)
    until(lambda: bool(stock.poll(timeout_ms=200)))
    stock.pause(first)
    stock.assign([first, second])
    stock.seek(second, 0)
    while stock.position(second) < 10:
        stock.poll(timeout_ms=200)
    stock.resume(first)
    end = time.monotonic() + LONG
    while time.monotonic() < end:
        assert not stock.poll(timeout_ms=200), "kafka-python reads on"
    assert stock.position(first) < 10
    stock._fetcher._next_partition_records = None
    assert stock.poll(timeout_ms=200), "the cause was another"
    stock.close()


def test_D13_records_that_were_parked_while_paused_are_read_when_a_partition_of_ours_goes_on(world: World) -> None:
    twenty(world)
    member, taken = world.member, 0
    until(lambda: member.poll(0.05, 5) == [] and member.membership() is not None)
    member.changes()
    member.seek(0, 0)
    member.resume([0])
    until(lambda: bool(member.poll(0.2, 5)))
    at = member.position(0)
    assert at < 10
    member.pause([0])
    member.seek(1, 0)
    member.resume([1])
    while taken < 10:
        taken += sum(len(run) for run in member.poll(0.2, 5))
    member.resume([0])
    found: list[Records] = []
    until(lambda: bool(found.extend(member.poll(0.2, 5)) or found))
    (run,) = found
    assert (run.partition, int(run.offset[0])) == (0, at)


class NotUtf8(str):
    def encode(self, *_: Any) -> bytes:
        return b"\xff\xfe"


def test_D7_D8_a_header_that_is_no_text_blocks_a_partition_for_good(world: World) -> None:
    producer = KafkaProducer(**world.settings, linger_ms=200)
    for number in range(5):
        producer.send(world.input, b"%d" % number, partition=0, headers=[(NotUtf8("xx"), b"1")] if number == 2 else [])
    producer.flush()
    producer.close()
    place = TopicPartition(world.input, 0)
    stock = KafkaConsumer(**world.settings, group_id=None)
    stock.assign([place])
    stock.seek(place, 0)
    with pytest.raises(kafka.errors.CorruptRecordError):
        until(lambda: stock.poll(timeout_ms=200) is None)
    again, spent = Call(lambda: stock.poll(timeout_ms=200)), time.process_time()
    assert not again.ended(2.0), "kafka-python came back"
    until(lambda: time.process_time() - spent > 0.5)  # it spins
    stock._fetcher._next_partition_records = None  # the thread ends
    with Reader(world.settings, world.input) as reader:
        assert [run.part(run.value, row) for run in reader.read() for row in range(len(run))] == [b"%d" % number for number in range(5)]


def test_D9_a_TLS_handshake_with_a_peer_that_says_nothing_never_ends() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        settings = client_settings({"bootstrap_servers": f"127.0.0.1:{silent.getsockname()[1]}", "security_protocol": "SSL"})
        stock = Call(lambda: KafkaConsumer(**settings, bootstrap_timeout_ms=1000))
        with pytest.raises(BrokerError, match="no answer in time"):
            connect(KafkaConsumer, settings, "trying", 1.0)
        assert not stock.ended(LONG), f"kafka-python came back: {stock.error!r}"
