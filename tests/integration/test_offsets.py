"""What an administrator does to the topic and the group: partitions added, offsets moved or deleted. Rows B8 to B10 of the fault catalogue.

The position record in the state topic knows how far outputs were delivered, whatever becomes of the group's offsets.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
from faults import NOBODY, SMALL, Rigged, finished
from harness import PARTITIONS, Stand, wait
from kafka import KafkaAdminClient, KafkaConsumer, OffsetAndMetadata, TopicPartition
from office import Office
from oracle import Truth, assert_snapshots, committed, delivered, ends, home, truth

from detector.kafka.producer import Producer

pytestmark = pytest.mark.broker
MOVED = 1
"""The partition whose offset is moved."""
FIRST, SECOND = 1500, 1500


def half_way(office: Office, stand: Stand) -> Truth:
    """A service did the first part, was stopped in order, and left the group: of one with members nobody may move the offsets."""
    stand.feed(office.live[:FIRST])
    expected = truth(stand, office.starts)
    with Rigged(stand, settings=NOBODY) as service:
        finished(stand, expected)
        assert service.stop() == 0
    return expected


def alarms(service: Rigged) -> list[tuple[int, str]]:
    """(partition, what) of what an auditor must know."""
    told = [line for line in service.said() if line["event.dataset"] == "detector.audit" and line["log.level"] == "error"]
    return [(int(line["kafka.partition"]), str(line["message"])) for line in told]


def move(stand: Stand, offset: int) -> None:
    """As Kafka's own tools do: without our metadata."""
    client = KafkaConsumer(**stand.settings, group_id=stand.group, enable_auto_commit=False)
    client.commit({TopicPartition(stand.events, MOVED): OffsetAndMetadata(offset, "", -1)})
    client.close()


def earlier(stand: Stand) -> None:
    move(stand, 7)


def to_the_beginning(stand: Stand) -> None:
    move(stand, 0)


def later(stand: Stand) -> None:
    """Beyond events that nobody has scored yet."""
    move(stand, ends(stand, stand.events, "read_committed")[MOVED] - 3)


def deleted(stand: Stand) -> None:
    admin = KafkaAdminClient(**stand.settings)
    admin.delete_group_offsets(stand.group, [TopicPartition(stand.events, MOVED)])
    admin.close()


@pytest.mark.parametrize("how", [earlier, to_the_beginning, later, deleted])
def test_B9_offsets_that_somebody_moved_are_told_of_and_leave_no_gap(how: Callable[[Stand], None], office, broker, tmp_path, unique):
    stand = office.stand(broker, tmp_path, unique, **SMALL)
    half_way(office, stand)
    stand.feed(office.live[FIRST : FIRST + SECOND])
    how(stand)
    expected = truth(stand, office.starts)
    with Rigged(stand, 1) as service:
        service.until_ready()
        wait(lambda: (at := service.metric("detector_events_total")) >= SECOND and at == SECOND, 120, "the second half is scored, once")
        finished(stand, expected)
        assert service.stop() == 0
    assert [partition for partition, _ in alarms(service)] == [MOVED]
    assert_snapshots(stand, expected)


def test_B9_and_while_the_partition_is_idle_nothing_comes_twice(office, broker, tmp_path, unique):
    stand = office.stand(broker, tmp_path, unique, **SMALL)
    expected = half_way(office, stand)
    earlier(stand)
    with Rigged(stand, 1) as service:
        wait(lambda: service.takeovers("snapshot") == PARTITIONS, 120, "all is taken over")
        assert service.stop() == 0
    assert [partition for partition, _ in alarms(service)] == [MOVED]
    assert delivered(stand).alerts == expected.alerts
    with Rigged(stand, 2) as service:
        service.until_ready()
        stand.feed(office.live[FIRST : FIRST + SECOND])
        expected = truth(stand, office.starts)
        finished(stand, expected)
        assert service.stop() == 0
    assert_snapshots(stand, expected)


def test_B10_with_the_group_deleted_it_goes_on_from_the_state_topic(office, broker, tmp_path, unique):
    """As if the offsets had expired."""
    stand = office.stand(broker, tmp_path, unique, **SMALL)
    half_way(office, stand)
    admin = KafkaAdminClient(**stand.settings)
    admin.delete_groups([stand.group])
    admin.close()
    assert not any(committed(stand).values())
    stand.feed(office.live[FIRST : FIRST + SECOND])
    expected = truth(stand, office.starts)
    with Rigged(stand, 1) as service:
        finished(stand, expected)
        assert service.takeovers("snapshot") == PARTITIONS
        assert service.metric("detector_events_total") == SECOND
        assert service.stop() == 0
    assert sorted(partition for partition, _ in alarms(service)) == list(range(PARTITIONS))
    assert_snapshots(stand, expected)


def test_B8_partitions_added_while_it_runs_are_refused_and_the_others_go_on(office, broker, tmp_path, unique):
    """Their employees' history is elsewhere, and the state topic has no place for them."""
    stand = office.stand(broker, tmp_path, unique, **SMALL)
    stand.feed(office.live[:500])
    with Rigged(stand, metadata_age=2.0) as service:
        service.until_at_work(500)
        admin = KafkaAdminClient(**stand.settings)
        admin.create_partitions({stand.events: PARTITIONS + 1})
        admin.close()
        wait(lambda: f"partition {PARTITIONS}" in service.get("/readyz")[1], 120, "readyz names the new one")
        with Producer(stand.settings) as producer:
            for key, value in office.live[500:1500]:
                producer.send(stand.events, key, value, partition=home(key.decode()))
            producer.flush(30.0)
        expected = truth(stand, office.starts)
        wait(lambda: service.metric("detector_events_total") == 1500, 120, "the others go on")
        assert service.metric("detector_refused_partitions") == 1
        assert service.get("/livez")[0] == 200
        assert service.metric("detector_consumer_rebuilds_total") == service.metric("detector_doubts_total") == 0
        assert service.stop() == 0
    assert delivered(stand).alerts == expected.alerts
    assert_snapshots(stand, expected)
