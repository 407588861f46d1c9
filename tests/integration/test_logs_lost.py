"""What can become of the logs themselves, C9 to C11 and C14 to C16, and of their ends (E10): records deleted before they were read, topics
made anew, repeated records, transactions of others that do not end.
"""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from bad_records import mixed
from harness import PARTITIONS, Serving, Stand, wait
from kafka import KafkaAdminClient, KafkaProducer, TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType
from kafka.admin._transactions import AbortTransactionSpec
from oracle import all_delivered, assert_exact, committed, delivered, ends, truth
from test_serve import delete, refused

from detector.kafka.state_log import StateLog
from detector.kafka.topics import create, design
from detector.kafka.transactions import discard

pytestmark = pytest.mark.broker
SMALL = {"max_age": 1e10, "batch_limit": 20}
OFTEN = {"snapshot_interval": 1.0}
"""So that there are snapshots to be held up."""


@contextmanager
def open_transaction(stand: Stand, topic: str, seconds: float) -> Iterator[KafkaProducer]:
    """Of a writer that died: records in every partition, and nobody to end it but the broker, after so many seconds."""
    writer = KafkaProducer(**stand.settings, transactional_id=f"{topic}-stranger", transaction_timeout_ms=int(seconds * 1000))
    writer.init_transactions()
    writer.begin_transaction()
    for partition in range(PARTITIONS):
        writer.send(topic, key=b"stranger", value=b"never", partition=partition)
    writer.flush()
    try:
        yield writer
    finally:
        discard(writer)


def held_up(stand: Stand, topic: str) -> bool:
    return ends(stand, topic, "read_committed") != ends(stand, topic, "read_uncommitted")


def lines(service: Serving, message: str) -> list[dict[str, Any]]:
    return [line for line in service.said() if message in line["message"]]


def test_C9_a_dead_writers_transaction_below_our_newest_records_is_waited_for(office, broker, tmp_path, unique):
    stand = office.stand(broker, tmp_path, unique, input=SMALL, service=OFTEN)
    stand.feed(mixed(office.live[:600], 1))
    with Serving(stand) as service:
        expected = truth(stand, office.starts)
        wait(lambda: all_delivered(stand, expected), 60, "all is delivered", 0.5)
        with open_transaction(stand, stand.state, 12):
            stand.feed(mixed(office.live[600:900], 2))
            expected = truth(stand, office.starts)
            wait(lambda: all_delivered(stand, expected), 60, "the rest is delivered", 0.5)
            service.kill()
    assert held_up(stand, stand.state)
    written = ends(stand, stand.state, "read_uncommitted")
    with Serving(stand) as service:
        service.until_ready(60)
        settled = ends(stand, stand.state, "read_committed")  # the service may have opened a transaction of its own behind that
        assert all(settled[p] >= end for p, end in written.items())
        stand.feed(mixed(office.live[900:1000], 3))
        expected = truth(stand, office.starts)
        wait(lambda: all_delivered(stand, expected), 60, "all is delivered", 0.5)
        assert service.stop() == 0
    assert_exact(stand, expected)


def test_C10_what_holds_the_state_topic_up_is_named(office, broker, tmp_path, unique):
    stand = office.stand(broker, tmp_path, unique)
    with open_transaction(stand, stand.state, 60) as writer:
        log = StateLog(stand.settings, stand.state)
        try:
            assert log.bounds(0) == (0, 1)
            said = log.diagnosis(0)
        finally:
            log.close()
        assert f"producer {writer._transaction_manager.producer_id_and_epoch.producer_id}" in said
        assert "the last stable offset" in said and "has a transaction open since offset 0" in said
        assert f"abort --topic {stand.state} --partition 0 --start-offset 0" in said


@pytest.mark.slow
def test_C10_a_transaction_that_hangs_on_the_state_topic_refuses_its_partitions_until_it_is_aborted(office, broker, tmp_path, unique):
    stand = office.stand(broker, tmp_path, unique, input=SMALL, service=OFTEN)
    stand.feed(mixed(office.live[:600], 1))
    expected = truth(stand, office.starts)
    with Serving(stand) as service:
        wait(lambda: all_delivered(stand, expected), 60, "all is delivered", 0.5)
        assert service.stop() == 0
    with open_transaction(stand, stand.state, 600) as writer, Serving(stand) as service:
        wait(lambda: service.metric("detector_refused_partitions") == PARTITIONS, 90, "it gives up")
        code, said = service.get("/readyz")
        assert code == 503 and "has a transaction open since offset" in said
        assert service.process.poll() is None
        admin, who = KafkaAdminClient(**stand.settings), writer._transaction_manager.producer_id_and_epoch
        for partition in range(PARTITIONS):
            admin.abort_transaction(AbortTransactionSpec(TopicPartition(stand.state, partition), who.producer_id, who.epoch))
        admin.close()
        service.until_ready(60)
        stand.feed(mixed(office.live[600:700], 2))
        expected = truth(stand, office.starts)
        wait(lambda: all_delivered(stand, expected), 60, "all is delivered", 0.5)
        assert service.stop() == 0
    assert_exact(stand, expected)


def limit(stand: Stand, topic: str, size: int) -> None:
    admin = KafkaAdminClient(**stand.settings)
    admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, {"max.message.bytes": str(size)})], incremental=True)
    admin.close()


def test_C11_a_state_topic_that_takes_no_chunks_is_refused_at_the_start(office, broker, tmp_path, unique):
    stand = office.stand(broker, tmp_path, unique)
    limit(stand, stand.state, 100_000)
    code, words = refused(stand)
    assert code == 6
    assert stand.state in words and "max.message.bytes" in words and "kafka-configs.sh" in words


def test_C11_a_state_topic_that_takes_no_chunks_any_more_does_not_hold_up_alerts(office, broker, tmp_path, unique):
    stand = office.stand(broker, tmp_path, unique, input=SMALL, service=OFTEN)
    stand.feed(mixed(office.live[:400], 1))
    with Serving(stand) as service:
        service.until_ready()
        limit(stand, stand.state, 3000)
        stand.feed(mixed(office.live[400:1500], 2))
        expected = truth(stand, office.starts)
        wait(lambda: all_delivered(stand, expected), 90, "all is delivered", 0.5)
        limit(stand, stand.state, 1 << 20)
        assert service.stop() == 0
    assert_exact(stand, expected)


@pytest.mark.parametrize("meanwhile", ["stopped", "frozen"])
def test_C14_records_that_were_deleted_unread_are_named_and_the_rest_is_read(meanwhile, office, broker, tmp_path, unique):
    stand = office.stand(broker, tmp_path, unique, input=SMALL)
    stand.feed(office.live[:400])
    with Serving(stand) as service:
        wait(lambda: service.metric("detector_events_total") == 400, 60, "the first are scored")
        if meanwhile == "stopped":
            assert service.stop() == 0
            lose_some(stand, office)
            service = Serving(stand)
        else:
            service.process.send_signal(signal.SIGSTOP)
            lose_some(stand, office)
            service.process.send_signal(signal.SIGCONT)
        with service:
            left = sum(end - 300 for end in ends(stand, stand.events, "read_committed").values())
            at = lambda: sum(mark[0] for mark in committed(stand).values() if mark)  # noqa: E731
            wait(lambda: at() == sum(ends(stand, stand.events, "read_committed").values()), 60, "the rest is read", 0.5)
            assert left > 0 and service.stop() == 0
    named = lines(service, "records were deleted before they were read")
    assert {line["kafka.partition"] for line in named} == set(range(PARTITIONS))
    assert all(line["log.level"] == "error" and line["kafka.from_offset"] < line["kafka.to_offset"] == 300 for line in named)


def lose_some(stand: Stand, office: Any) -> None:
    stand.feed(office.live[400:])
    assert min(ends(stand, stand.events, "read_committed").values()) > 300
    delete(stand, 300)


@pytest.mark.parametrize("meanwhile", ["stopped", "running"])
def test_C15_a_topic_that_was_made_anew_is_refused(meanwhile, office, broker, tmp_path, unique):
    stand = office.stand(broker, tmp_path, unique, input=SMALL)
    stand.feed(office.live[:800])
    with Serving(stand) as service:
        wait(lambda: service.metric("detector_events_total") == 800, 60, "all are scored")
        before = delivered(stand)
        if meanwhile == "stopped":
            assert service.stop() == 0
            make_anew(stand, office)
            service = Serving(stand)
        else:
            make_anew(stand, office)
        with service:
            wait(lambda: service.metric("detector_refused_partitions") == PARTITIONS, 90, "it refuses")
            code, said = service.get("/readyz")
            assert code == 503 and "made anew" in said
            assert delivered(stand) == before
            assert service.stop() == 0


def make_anew(stand: Stand, office: Any) -> None:
    admin = KafkaAdminClient(**stand.settings)
    admin.delete_topics([stand.events])
    admin.close()

    wait(lambda: bool(create(stand.settings, design({"access-events": stand.events}, PARTITIONS, 1))), 60, "the topic is gone", 0.2)
    stand.feed(office.live[:100])


def test_C16_a_record_that_its_producer_sent_twice_raises_one_alert(office, broker, tmp_path, unique):
    """As one without idempotence does that was not answered in time: at once, or a while later."""
    once, twice = (office.stand(broker, folder, unique, input=SMALL) for folder in (tmp_path / "once", tmp_path / "twice"))
    for stand in (once, twice):
        stand.folder.mkdir()
    once.feed(office.live)
    twice.feed(again for at in range(0, len(office.live), 50) for again in 2 * list(office.live[at : at + 50]))
    counted = []
    for stand in (once, twice):
        expected = truth(stand, office.starts)
        with Serving(stand) as service:
            wait(lambda: all_delivered(stand, expected), 60, "all is delivered", 0.5)  # noqa: B023
            assert service.stop() == 0
        assert_exact(stand, expected)
        alerts = [json.loads(value) for values in stand.read(stand.alerts).values() for value in values]
        counted.append(sorted(alert["actor"] for alert in alerts))
    assert counted[0] == counted[1] != []


def test_E10_a_producer_that_leaves_its_transaction_open_is_seen_as_lag_and_nothing_else(office, broker, tmp_path, unique):
    stand = office.stand(broker, tmp_path, unique, input=SMALL)
    stand.feed(office.live[:200])
    with Serving(stand) as service, open_transaction(stand, stand.events, 600) as writer:
        wait(lambda: service.metric("detector_events_total") == 200, 60, "what is before it is scored")
        wait(lambda: service.metric("detector_lag_records") == PARTITIONS, 60, "all is read but what the stranger wrote", 0.5)
        stand.feed(office.live[200:400])
        wait(lambda: service.metric("detector_lag_records") >= 200, 60, "the lag is seen")
        time.sleep(25)  # longer than a partition may stand still that has something to read
        assert service.metric("detector_events_total") == 200
        assert service.metric("detector_consumer_rebuilds_total") == 0
        writer.abort_transaction()
        wait(lambda: service.metric("detector_events_total") == 400, 30, "the rest is scored")
        wait(lambda: service.metric("detector_lag_records") == 0, 60, "there is no lag any more")
        assert service.stop() == 0
    assert not lines(service, "broker trouble")
