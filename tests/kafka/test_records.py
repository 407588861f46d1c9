"""The columnar reader in a real client: record for record what kafka-python reads, in either way, from whatever producers wrote."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import kafka
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.consumer.fetcher import Fetcher
from kafka.record.memory_records import MemoryRecords

from detector.kafka import records as module
from detector.kafka.reader import Reader
from detector.kafka.records import PROVEN, convert
from detector.kafka.security import client_settings
from detector.kafka.topics import Topic, create
from detector.sandbox.broker import Broker

Settings = dict[str, Any]
PART = st.none() | st.binary(max_size=200)
RECORD = st.tuples(PART, PART, st.lists(st.tuples(st.text("abcé", min_size=1, max_size=3), st.binary(max_size=4)), max_size=2)).filter(
    lambda r: r[0] is not None or r[1] is not None
)
RUN = st.tuples(
    st.sampled_from([None, "gzip", "lz4", "zstd"]), st.sampled_from(["plain", "commit", "abort"]), st.lists(RECORD, min_size=1, max_size=40)
)
numbers = itertools.count()


class NotUtf8(str):
    """A header key whose bytes are not text, which kafka-python will send and not read."""

    def encode(self, *_: Any) -> bytes:
        return b"\xff\xfe"


@pytest.fixture(scope="module")
def shared(broker: Broker) -> Settings:
    found = client_settings({"bootstrap_servers": broker.bootstrap})
    create(found, [Topic("columns", 2), Topic("columns-append", 2, {"message.timestamp.type": "LogAppendTime"})])
    return found


def write(shared: Settings, topic: str, runs: list[tuple[str | None, str, list[tuple[Any, ...]]]]) -> None:
    for codec, how, rows in runs:
        transaction = {} if how == "plain" else {"transactional_id": f"columns-{next(numbers)}", "retry_backoff_ms": 1}
        producer = KafkaProducer(**shared, compression_type=codec, linger_ms=3, batch_size=2000, **transaction)
        if transaction:
            producer.init_transactions()
            producer.begin_transaction()
        for number, (key, value, headers) in enumerate(rows):
            producer.send(topic, key=key, value=value, headers=headers, partition=number % 2)
        producer.flush(10)
        if transaction:
            producer.commit_transaction() if how == "commit" else producer.abort_transaction()
        producer.close(5)


def by_partition(runs: Iterator[Any]) -> dict[int, list[tuple[Any, ...]]]:
    found: dict[int, list[tuple[Any, ...]]] = {0: [], 1: []}
    for r in runs:
        parts = (r.key, r.value, r.headers)
        found[r.partition] += [
            (int(r.offset[i]), int(r.timestamp[i]), *(r.part(part, i) for part in parts), bool(r.broken[i])) for i in range(len(r))
        ]
    return found


def stock(shared: Settings, topic: str, isolation: str, starts: dict[int, int]) -> dict[int, list[tuple[Any, ...]]]:
    """What an untouched KafkaConsumer reads."""
    places = [TopicPartition(topic, p) for p in (0, 1)]
    client = KafkaConsumer(**shared, isolation_level=isolation, enable_auto_commit=False, auto_offset_reset="none")
    client.assign(places)
    for place in places:
        client.seek(place, starts[place.partition])
    ends, found = client.end_offsets(places), []
    while any(client.position(place) < ends[place] for place in places):
        found += [convert(topic, place.partition, rows) for place, rows in client.poll(200).items()]
    client.close()
    return by_partition(iter(found))


@pytest.mark.broker
@settings(max_examples=5, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(runs=st.lists(RUN, min_size=1, max_size=3), topic=st.sampled_from(["columns", "columns-append"]))
def test_columns_equal_stock_records_whatever_was_written(shared: Settings, runs: list[Any], topic: str) -> None:
    with Reader(shared, topic) as reader:
        assert reader.columnar
        starts = {place.partition: end for place, end in reader._ends("end").items()}
    write(shared, topic, runs)
    for isolation in ("read_committed", "read_uncommitted"):
        with Reader(shared, topic, isolation) as reader:
            found = by_partition(reader.read(starts))
        assert found == stock(shared, topic, isolation, starts)
        visible = sum(len(rows) for _, how, rows in runs if how != "abort" or isolation == "read_uncommitted")
        assert sum(map(len, found.values())) == visible


@pytest.mark.broker
def test_an_unknown_version_reads_stock_records_as_the_same_columns(shared: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [(b"k", b"v%d" % i, [("h", b"1")] if i % 3 else []) for i in range(50)]
    write(shared, "columns", [("lz4", "commit", rows), (None, "abort", rows), ("gzip", "plain", rows)])
    with Reader(shared, "columns") as reader:
        columns = by_partition(reader.read())
    monkeypatch.setattr(kafka, "__version__", "3.0.999")
    with Reader(shared, "columns") as reader:
        assert not reader.columnar
        assert by_partition(reader.read()) == columns


@pytest.mark.broker
def test_an_older_message_format_falls_back_within_the_answer(shared: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    write(shared, "columns", [("lz4", "plain", [(b"k", b"v", [])] * 5)])
    with Reader(shared, "columns") as reader:
        columns = by_partition(reader.read())
    monkeypatch.setattr(module, "MAGIC", 0)  # look at a byte that is never 2, as if the format were another
    with Reader(shared, "columns") as reader:
        assert by_partition(reader.read()) == columns


@pytest.mark.broker
def test_a_header_key_that_is_not_utf_8_does_not_block_the_partition(shared: Settings, unique: Callable[[str], str]) -> None:
    """D8, E9: stock kafka-python cannot pass it."""
    topic = unique("poison")
    create(shared, [Topic(topic, 1)])
    producer = KafkaProducer(**shared, linger_ms=100)
    for i in range(5):
        producer.send(topic, b"v%d" % i, headers=[(NotUtf8("xx"), b"1")] if i == 2 else [])
    producer.flush(10)
    producer.close()
    client = KafkaConsumer(**shared, auto_offset_reset="earliest")
    client.assign([TopicPartition(topic, 0)])
    with pytest.raises(Exception, match="invalid record structure"):
        for _ in range(10):
            client.poll(200, max_records=100)
    client.close()
    with Reader(shared, topic) as reader:
        (found,) = reader.read()
    assert [found.part(found.value, i) for i in range(5)] == [b"v%d" % i for i in range(5)]
    assert b"\xff\xfe" in (found.part(found.headers, 2) or b"")


def test_every_private_member_that_is_relied_on_exists() -> None:
    assert kafka.__version__ in PROVEN, "prove the reader and the guard with it, then add it to PROVEN"
    part = Fetcher.PartitionRecords(0, TopicPartition("t", 0), MemoryRecords(b""))
    for name in (
        "fetch_offset", "topic_partition", "leader_epoch", "next_fetch_offset", "bytes_read", "records_read", "isolation_level",
        "aborted_producer_ids", "check_crcs", "record_iterator", "take", "drain",
        "_consume_aborted_transactions_up_to", "_is_batch_aborted",
    ):  # fmt: skip
        assert hasattr(part, name), name
    assert hasattr(MemoryRecords(b""), "_buffer")
    fetcher = Fetcher.__init__.__code__.co_names
    for name in ("_paused_partition_records", "_paused_completed_fetches"):
        assert name in fetcher
    assert "PartitionRecords" in Fetcher._parse_fetched_data.__code__.co_names
    producer = KafkaProducer.__init__.__code__.co_names
    for name in ("_sender", "_transaction_manager", "_closed", "_accumulator"):
        assert name in producer
    assert hasattr(KafkaProducer, "_unregister_cleanup") and hasattr(KafkaProducer, "_wait_on_metadata")
    from kafka.coordinator.base import BaseCoordinator
    from kafka.net.manager import KafkaConnectionManager
    from kafka.producer.sender import Sender
    from kafka.producer.transaction_manager import TransactionManager, TransactionState

    assert "_join_task" in BaseCoordinator.__init__.__code__.co_names and hasattr(BaseCoordinator, "request_rejoin")
    assert "_conns" in KafkaConnectionManager.__init__.__code__.co_names and hasattr(KafkaConnectionManager, "get_connection")
    assert hasattr(Sender, "force_close") and "_client" in Sender.__init__.__code__.co_names
    assert "_current_state" in TransactionManager.__init__.__code__.co_names and "READY" in TransactionState.__members__
    assert hasattr(TransactionManager, "send_offsets_to_transaction") and hasattr(TransactionManager, "begin_commit")
