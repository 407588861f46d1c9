"""The group member: what it hands out, when it may commit, and what it says about its partitions."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from detector.core.events import Records
from detector.errors import BrokerError
from detector.kafka.batches import CorruptBatchError
from detector.kafka.consumer import Consumer
from detector.kafka.producer import Producer
from detector.kafka.reader import Reader
from detector.kafka.security import client_settings
from detector.kafka.topics import Topic, check, create, design
from detector.sandbox.broker import Broker

pytestmark = pytest.mark.broker


@pytest.fixture
def settings(broker: Broker) -> dict[str, Any]:
    return client_settings({"bootstrap_servers": broker.bootstrap})


@pytest.fixture
def topic(settings: dict[str, Any], unique: Callable[[str], str]) -> str:
    """Two partitions with 500 records each, in several batches."""
    name = unique("members")
    create(settings, [Topic(name, 2)])
    fill(settings, name, 1000)
    return name


def fill(settings: dict[str, Any], topic: str, count: int) -> None:
    with Producer(settings) as producer:
        for i in range(count):
            producer.send(topic, b"k", b"%d" % i, partition=i % 2)
            if i % 300 == 299:
                producer.flush(10)
        producer.flush(10)


@pytest.fixture
def member(settings: dict[str, Any], topic: str, unique: Callable[[str], str]) -> Iterator[Consumer]:
    consumer = Consumer(topic, unique("group"), settings, session_timeout=6)
    yield consumer
    consumer.close(3)


def await_both(consumer: Consumer) -> None:
    """Poll until it owns both partitions. Nothing is read meanwhile: new ones are paused."""
    mine: set[int] = set()
    end = time.monotonic() + 20
    while mine != {0, 1} or consumer.membership() is None:
        assert time.monotonic() < end, f"assigned {mine}"
        assert consumer.poll(0.05, 100) == []
        for what, partitions in consumer.changes():
            mine = mine | partitions if what == "assigned" else mine - partitions


def read(consumer: Consumer, limit: int, count: int) -> list[list[Records]]:
    polls: list[list[Records]] = []
    end = time.monotonic() + 20
    while sum(len(r) for poll in polls for r in poll) < count:
        assert time.monotonic() < end, "records are missing"
        polls.append(consumer.poll(0.2, limit))
    return polls


def values(polls: list[list[Records]], partition: int) -> list[int]:
    return [int(r.part(r.value, i) or b"") for poll in polls for r in poll if r.partition == partition for i in range(len(r))]


def test_new_partitions_wait_paused_until_they_are_sought_and_resumed(member: Consumer) -> None:
    await_both(member)
    assert member.committed([0, 1]) == {0: None, 1: None}
    assert member.bounds([0, 1]) == {0: (0, 500), 1: (0, 500)}
    member.seek(1, 490)
    member.resume([1])
    polls = read(member, 100, 10)
    assert values(polls, 1) == list(range(981, 1000, 2))
    assert values(polls, 0) == []


@pytest.mark.parametrize("limit", [1, 7, 100, 10_000])
def test_a_poll_hands_out_at_most_the_limit_each_partition_once_and_nothing_is_lost(member: Consumer, limit: int) -> None:
    await_both(member)
    start = {1: 480, 7: 400}.get(limit, 0)
    for partition in (0, 1):
        member.seek(partition, start)
    member.resume([0, 1])
    polls = read(member, limit, 2 * (500 - start))
    for poll in polls:
        assert sum(map(len, poll)) <= limit
        assert len({r.partition for r in poll}) == len(poll)
    for partition in (0, 1):
        assert values(polls, partition) == list(range(2 * start + partition, 1000, 2))


def test_paused_in_the_middle_of_a_batch_a_partition_goes_on_where_it_was(member: Consumer) -> None:
    await_both(member)
    for partition in (0, 1):
        member.seek(partition, 0)
    member.resume([0])
    polls = read(member, 30, 30)
    member.pause([0])
    assert member.poll(0.1, 30) == []
    member.resume([0])
    polls += read(member, 30, 470)
    assert values(polls, 0) == list(range(0, 1000, 2))


def test_sought_while_paused_nothing_of_what_was_parked_comes_back(member: Consumer) -> None:
    """D13's neighbourhood: parked records are dropped, and the partition is fetched again."""
    await_both(member)
    member.seek(0, 0)
    member.resume([0])
    read(member, 30, 30)
    member.pause([0])
    member.poll(0.1, 30)
    member.seek(0, 450)
    member.resume([0])
    assert values(read(member, 1000, 50), 0) == list(range(900, 1000, 2))


def test_membership_is_none_where_committing_would_be_unfenced(member: Consumer) -> None:
    """D6: (-1, '') is accepted by brokers from anyone."""
    assert member.membership() is None
    await_both(member)
    found = member.membership()
    assert found is not None and found.generation > 0 and found.member
    member._client._coordinator.reset_generation()  # as kafka-python does by itself once max_poll_interval is over
    assert member._client.group_metadata().generation_id == -1
    assert member._safe_membership() is None


def test_a_second_member_takes_partitions_over_and_both_are_told(member: Consumer, settings: dict[str, Any], topic: str) -> None:
    await_both(member)
    before = member.membership()
    assert before is not None
    second = Consumer(topic, before.group, settings, session_timeout=6)
    try:
        with polling(member):
            new = await_one(second)
        assert ("revoked", new) in member.changes()
        after = member.membership()
        assert after is not None and after.generation > before.generation
        (taken,) = new
        member.seek(taken, 3)  # no longer ours: passed over
        member.pause(new)
        member.resume(new)
    finally:
        second.close(3)


def await_one(consumer: Consumer) -> frozenset[int]:
    mine: frozenset[int] = frozenset()
    end = time.monotonic() + 30
    while len(mine) != 1 or consumer.membership() is None:
        assert time.monotonic() < end, "no partition was handed over"
        consumer.poll(0.2, 1)
        for what, partitions in consumer.changes():
            mine = mine | partitions if what == "assigned" else mine - partitions
    return mine


@contextmanager
def polling(consumer: Consumer) -> Iterator[None]:
    """The consumer polls in a thread of its own, as it would in a process of its own, and ends as a stable member."""
    over = threading.Event()

    def work() -> None:
        end = time.monotonic() + 40
        while (not over.is_set() or consumer.membership() is None) and time.monotonic() < end:
            consumer.poll(0.2, 1)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


@pytest.mark.parametrize("looks", [False, True])
def test_B12_what_a_named_member_gave_up_before_it_went_is_given_to_another_when_it_is_back(
    looks: bool, settings: dict[str, Any], topic: str, unique: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It goes when it has been told what it loses, and has not yet joined again for others to be given that. Kafka gives it back what
    it still has, without a rebalance: unless it looks, the rest stays nobody's.
    """
    group = unique("group")
    first = Consumer(topic, group, settings, session_timeout=30, instance_id="first")
    await_both(first)
    leave_after_the_first_step(first)
    second = Consumer(topic, group, settings, session_timeout=30, instance_id="second")
    try:
        with polling(second):
            end = time.monotonic() + 30
            while all(what != "revoked" for what, _ in first.changes()):
                assert time.monotonic() < end, "nothing was taken from it"
                first.poll(0.05, 1)
            first.close(3)
            if not looks:
                monkeypatch.setattr(Consumer, "_complete_move", lambda _: None)
            first = Consumer(topic, group, settings, session_timeout=30, instance_id="first")
            kept = await_one(first)
            with polling(first):
                time.sleep(5)
        given = {p for what, partitions in second.changes() for p in partitions if what == "assigned"}
        assert given == ({0, 1} - kept if looks else set())
    finally:
        first.close(3)
        second.close(3)


def leave_after_the_first_step(member: Consumer) -> None:
    """Stop it from joining again once partitions were taken from it."""
    coordinator, listener = member._client._coordinator, member._client._subscription.rebalance_listener
    tell = listener.on_partitions_revoked

    def revoked(partitions: Any) -> None:
        coordinator.request_rejoin = lambda: None
        tell(partitions)

    listener.on_partitions_revoked = revoked


def test_an_offset_that_is_gone_is_an_error_never_a_silent_reset(member: Consumer) -> None:
    """C14."""
    await_both(member)
    member.seek(0, 10_000)
    member.resume([0])
    with pytest.raises(BrokerError, match="are gone"):
        read(member, 10, 1)


def test_topics_are_made_as_designed_and_what_differs_is_said(settings: dict[str, Any], unique: Callable[[str], str]) -> None:
    names = {role: unique(role) for role in ("access-events", "alerts", "dead-letters")}
    topics = design(names, 3, 1)
    assert len(check(settings, topics)) == 3
    assert create(settings, topics[:2]) == [topic.name for topic in topics[:2]]
    (missing,) = check(settings, topics)
    assert names["dead-letters"] in missing and "detector topics create" in missing
    assert create(settings, topics) == [names["dead-letters"]]
    assert check(settings, topics) == []
    other = [Topic(names["alerts"], 4, {"cleanup.policy": "compact", "retention.ms": "1000", "max.message.bytes": "9999999"}, 3)]
    partitions, replicas, policy, size = check(settings, other)
    assert "has 3 partitions, and 4 are configured" in partitions
    assert "has 1 replicas, and 3 are configured" in replicas
    assert "cleanup.policy=delete" in policy and "kafka-configs.sh" in policy
    assert "max.message.bytes" in size and "at least" in size


def test_a_flipped_byte_on_disk_stops_the_partition_with_its_offset_named(tmp_path: Path) -> None:
    """E10: fails closed, and D7: polled again it says so again, without spinning; the other partition goes on."""
    with Broker(tmp_path) as own:
        settings = client_settings({"bootstrap_servers": own.bootstrap})
        create(settings, [Topic("damaged", 2)])
        fill(settings, "damaged", 600)
        own.stop()
        segment = tmp_path / "data" / "damaged-0" / "00000000000000000000.log"
        data = bytearray(segment.read_bytes())
        data[len(data) - 20] ^= 1  # in the last batch
        segment.write_bytes(data)
        own.start()
        with Reader(settings, "damaged") as reader:
            seen, cpu = 0, 0.0
            for _ in range(3):
                spent = time.process_time()
                with pytest.raises(CorruptBatchError, match="does not match its checksum") as caught:
                    for run in reader.read():
                        seen += len(run)
                cpu = max(cpu, time.process_time() - spent)
            assert (caught.value.topic, caught.value.partition) == ("damaged", 0)
            assert 0 < caught.value.offset < 300
            assert seen == 300 + caught.value.offset
            assert cpu < 1
