"""What kafka-python 3.0.12 does wrong when it writes, D1 to D5, D10 to D12 and D14: each shown on the client as it comes, and on ours.

Where `raw` no longer misbehaves, its half of the test fails: then a defence may have become needless.
"""

from __future__ import annotations

import ast
import logging
import operator
import random
import re
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import kafka
import pytest
from guarded import LONG, Call, World, offsets, raw, thawed
from kafka import KafkaProducer, TopicPartition
from kafka.structs import ConsumerGroupMetadata
from proxy import Error, in_front_of
from wire import Request

from detector.kafka.records import PROVEN
from detector.kafka.security import client_settings, quiet
from detector.kafka.topics import Topic, create
from detector.kafka.transactions import WRITING, Doubt, Message, Transactions, discard
from detector.sandbox.broker import Broker

pytestmark = pytest.mark.broker
ROOT = Path(__file__).parents[2]
CONCURRENT_TRANSACTIONS = 51


@pytest.fixture
def world(own: Broker, unique: Callable[[str], str]) -> Iterator[World]:
    made = World(client_settings({"bootstrap_servers": own.bootstrap}), unique)
    yield made
    made.close()


def test_D1_a_call_during_which_the_broker_went_away_never_ends(own: Broker, world: World) -> None:
    group = ConsumerGroupMetadata(*world.membership)
    with raw(world) as producer:
        producer.send(world.input, b"raw").get(5)
        world.deliver(b"before", 1)
        membership = world.membership
        own.kill()
        began = time.monotonic()
        with pytest.raises(Doubt):
            world.deliver(b"ours", 2, membership=membership)
        assert time.monotonic() - began < 5
        sending = Call(lambda: producer.send_offsets_to_transaction(offsets(world, 1, 7), group))
        own.start()
        world.transactions.settle(30)
        assert not sending.ended(LONG), f"kafka-python came back: {sending.error!r}"
    world.deliver(b"after", 3)
    assert world.seen() == [b"before", b"after"]


def test_D2_offsets_of_an_aborted_transaction_are_committed_with_the_next(world: World) -> None:
    good = world.membership
    stale = good._replace(generation=good.generation - 1)
    with raw(world) as producer:
        with suppress(Exception):
            producer.send_offsets_to_transaction(offsets(world, 1, 11), ConsumerGroupMetadata(*stale))
        producer.abort_transaction()
        producer.begin_transaction()
        producer.send_offsets_to_transaction(offsets(world, 0, 1), ConsumerGroupMetadata(*good))
        producer.commit_transaction()
    assert (world.committed(0), world.committed(1)) == (1, 11)
    with pytest.raises(Doubt):
        world.deliver(b"stale", 12, partition=1, membership=stale)
    world.transactions.settle(10)
    world.deliver(b"good", 2)
    assert (world.committed(0), world.committed(1)) == (2, 11)


def test_D3_a_record_that_failed_fails_neither_flush_nor_commit(own: Broker, world: World) -> None:
    """A record gives up while the broker is frozen."""
    with raw(world, **WRITING) as producer:
        producer.send(world.output, b"raw").get(5)
        with thawed(own):
            producer._accumulator.config["delivery_timeout_ms"] = 400
            own.pause()
            lost = producer.send(world.output, b"lost")
            producer.flush()
        producer.send_offsets_to_transaction(offsets(world, 1, 7), ConsumerGroupMetadata(*world.membership))
        producer.commit_transaction()
    assert lost.failed() and world.committed(1) == 7, "it said nothing, and what failed is passed over"
    before = world.seen()

    membership, producer = world.membership, world.transactions._producer
    assert producer is not None
    begin = producer.begin_transaction

    def begin_then_freeze() -> None:
        begin()
        producer.send(world.output, b"first").get(5)
        producer._accumulator.config["delivery_timeout_ms"] = 400
        own.pause()

    producer.begin_transaction = begin_then_freeze
    with thawed(own), pytest.raises(Doubt, match="has passed since batch creation") as caught:
        world.deliver(b"lost", 8, 1, membership)
    assert caught.value.phase == "flush"
    world.transactions.settle(10)
    assert world.committed(1) == 7 and world.seen() == before


def test_D4_a_commit_that_failed_is_called_a_success(world: World) -> None:
    """A record whose sequence number does not fit is found out while the transaction ends: nothing sends it earlier."""
    with raw(world, linger_ms=60_000) as producer:
        spoil(producer, world.output)
        producer.send_offsets_to_transaction(offsets(world, 1, 7), ConsumerGroupMetadata(*world.membership))
        lost = producer.send(world.output, b"raw", partition=0)
        producer.commit_transaction()
        assert lost.failed()
    assert world.committed(1) is None and world.seen() == [], "it said nothing, and nothing was committed"
    producer = world.transactions._producer
    assert producer is not None
    begin = producer.begin_transaction

    def begin_badly() -> None:
        begin()
        spoil(producer, world.output)

    producer.begin_transaction = begin_badly
    with pytest.raises(Doubt, match="flush"):
        world.deliver(b"ours", 2)
    world.transactions.settle(10)
    assert world.committed(0) is None and world.seen() == []


def spoil(producer: KafkaProducer, topic: str) -> None:
    first = producer.send(topic, b"first", partition=0)
    producer.flush(5)
    first.get(5)
    producer._transaction_manager._sequence_numbers[TopicPartition(topic, 0)] = 50


def test_D5_a_producer_whose_call_took_too_long_is_of_no_use_any_more(own: Broker, world: World) -> None:
    with raw(world, request_timeout_ms=1000, delivery_timeout_ms=1500) as producer:
        producer.send(world.input, b"raw").get(5)
        with thawed(own):
            own.pause()
            with pytest.raises(kafka.errors.KafkaError):
                producer.commit_transaction()
        for more in (producer.abort_transaction, producer.begin_transaction):
            with pytest.raises(kafka.errors.KafkaError):
                more()
    guard = Transactions(f"{world.id}-d5", world.settings, transaction_timeout=1.0)
    guard.settle(10)
    membership = world.membership
    with thawed(own), pytest.raises(Doubt):
        own.pause()
        guard.deliver([Message(world.output, b"k", b"ours")], {}, membership)
    guard.settle(20)
    guard.deliver([Message(world.output, b"k", b"then")], {}, world.membership)
    guard.close()
    assert world.seen()[-1] == b"then"


def test_D10_close_leaves_its_thread(own: Broker, world: World) -> None:
    with raw(world, delivery_timeout_ms=60_000, request_timeout_ms=30_000) as producer:
        producer.send(world.output, b"raw").get(5)
        with thawed(own):
            own.pause()
            producer.send(world.output, b"not sent")
            closing = Call(lambda: producer.close(timeout=1))
            closing.ended(4)
            assert producer._sender.is_alive(), "kafka-python ended it"
            discard(producer)
            assert not producer._sender.is_alive()


def test_D11_a_transaction_waits_for_the_longest_part_of_its_time(tmp_path: Path, unique: Callable[[str], str]) -> None:
    """The coordinator, still at the last transaction, refuses the first partition of each once: how long until it is asked again?"""

    def busy(request: Request) -> Error | None:
        return Error(CONCURRENT_TRANSACTIONS) if request.api == "AddPartitionsToTxn" and request.nth % 2 == 0 else None

    def quickest(world: World, **options: Any) -> float:
        took = []
        with raw(world, **options) as producer:
            for number in range(12):
                began = time.perf_counter()
                producer.send(world.output, b"%d" % number).get(5)
                took.append(time.perf_counter() - began)
                producer.commit_transaction()
                producer.begin_transaction()
        return min(took)

    own = Broker(tmp_path)
    with in_front_of(own, busy) as proxy, own:
        made = World(client_settings({"bootstrap_servers": own.bootstrap}), unique)
        made.settings = client_settings({"bootstrap_servers": proxy.bootstrap})
        try:
            stock, ours = quickest(made), quickest(made, **WRITING)
        finally:
            made.close()
    assert proxy.hits() >= 24
    assert stock > 3 * ours, f"{stock * 1000:.1f} ms as it comes, {ours * 1000:.1f} ms with our settings"


def test_D12_at_DEBUG_it_writes_down_what_is_sent(world: World, caplog: pytest.LogCaptureFixture) -> None:
    logger = logging.getLogger("kafka")
    before = logger.level
    try:
        for quietly in (False, True):
            caplog.clear()
            caplog.set_level(logging.DEBUG)
            logger.setLevel(logging.DEBUG)
            if quietly:
                quiet()
            with raw(world) as producer:
                producer.send(world.output, b"a very secret thing").get(5)
            assert ("a very secret thing" in caplog.text) is not quietly
    finally:
        logger.setLevel(before)


def test_D14_flush_calls_it_an_error_that_a_batch_had_to_be_split(world: World, unique: Callable[[str], str]) -> None:
    """Each record is small enough for its topic, and both together are not."""
    narrow = unique("narrow")
    create(world.settings, [Topic(narrow, 1, {"max.message.bytes": "2000"})])
    values = [random.Random(number).randbytes(1500) for number in range(2)]
    with raw(world, linger_ms=200) as producer:
        sent = [producer.send(narrow, value) for value in values]
        with pytest.raises(kafka.errors.UnknownError, match="Future not done"):
            producer.flush()
        assert [future.get(5).offset for future in sent] == [0, 1], "though nothing was wrong"
    assert world.transactions.deliver([Message(narrow, b"k", value) for value in values], {(world.input, 0): (3, "")}, world.membership)
    assert world.committed() == 3
    with pytest.raises(Doubt, match="MessageSizeTooLarge") as caught:
        world.transactions.deliver([Message(narrow, b"k", random.Random(1).randbytes(5000))], {}, world.membership)
    assert caught.value.too_large


PRIVATE = {
    "producer": """_closed _unregister_cleanup _wait_on_metadata _sender._client._manager _sender.force_close _sender.wakeup _sender.join
        _transaction_manager._current_state.name _transaction_manager.begin_commit _transaction_manager.send_offsets_to_transaction""",
    "consumer": """_coordinator._join_task _coordinator._heartbeat_enabled _coordinator.request_rejoin _manager.run _manager.wait_for
        _manager.send _coordinator.coordinator_id
        _fetcher._next_partition_records _fetcher.PartitionRecords
        _fetcher._paused_partition_records _fetcher._paused_completed_fetches _fetcher.beginning_offsets _fetcher.end_offsets
        _cluster.topic_id""",
    "manager": """_conns _backoff _build_transport get_connection cluster.brokers cluster.is_bootstrap cluster.bootstrap_brokers
        broker_version""",
    "admin": "_find_coordinator_ids _manager.run _manager.send",
    "transport": "_build_ssl_context _sock_recv DEFAULT_CONFIG",
    "records": "_consume_aborted_transactions_up_to _is_batch_aborted drain",
    "buffer": "_buffer",
}
"""What the product uses of kafka-python that kafka-python does not promise."""


def test_all_that_is_used_of_its_inside_exists_in_the_version_that_is_pinned(world: World) -> None:
    with raw(world) as producer, closing(kafka.KafkaAdminClient(**world.settings)) as admin:
        insides = {
            "producer": producer, "consumer": world.member._client, "manager": producer._sender._client._manager,
            "admin": admin, "transport": kafka.net.transport.KafkaSSLTransport,
            "records": kafka.consumer.fetcher.Fetcher.PartitionRecords, "buffer": kafka.record.memory_records.MemoryRecords(b""),
        }  # fmt: skip
        for name, paths in PRIVATE.items():
            for path in paths.split():
                operator.attrgetter(path)(insides[name])
    listed = {part for paths in PRIVATE.values() for part in re.split(r"[ \n.]+", paths)}
    used = {attribute for path in (ROOT / "detector" / "kafka").glob("*.py") for attribute in private(ast.parse(path.read_text()))}
    assert used - {"_make", "_replace"} <= listed, "not listed here"
    pins = (ROOT / "requirements" / "service.txt").read_text(), kafka.__version__
    assert f"kafka-python=={kafka.__version__}" in pins[0] and kafka.__version__ in PROVEN


def private(tree: ast.AST) -> set[str]:
    """Private members of something that is not this object's own."""
    own = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store)}
    own |= {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
    found = {node.attr: node for node in ast.walk(tree) if isinstance(node, ast.Attribute) and re.match(r"_[a-z]", node.attr)}
    return found.keys() - own
