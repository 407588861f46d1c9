"""What `detector doctor` looks at besides rights and listeners: brokers, times, transactions that hang, what the service left behind."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from typing import Any, NamedTuple, TypeVar

import kafka
import kafka.errors as failures
from kafka import KafkaAdminClient, TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType, OffsetSpec
from kafka.protocol.consumer import IsolationLevel

from detector.kafka.clients import broker_error, connect
from detector.kafka.records import PROVEN
from detector.kafka.state_log import StateLog

T = TypeVar("T")

COORDINATOR = 10.0
"""Seconds that a coordinator may take to be there."""
COMING = (failures.CoordinatorNotAvailableError, failures.CoordinatorLoadInProgressError, failures.NotCoordinatorError)
AT_ONCE = 1.0
"""Seconds between two looks at an open transaction: what was open at both is no micro-batch that is just being written."""
FOREVER = 20 * 60.0
"""Seconds after which a transaction hangs whose coordinator we may not ask: the longest that brokers allow by themselves, and five more."""

PREPARING = 60.0
"""Seconds that a coordinator may take to end one that it was told to end."""


class Cluster(NamedTuple):
    version: tuple[int, ...]
    """Of the broker that answered, as far as it can be told from what it can do."""
    nodes: tuple[tuple[int, str], ...]
    """Id and the HOST:PORT that clients are told."""


class Open(NamedTuple):
    """A transaction that keeps readers from what was written behind `start`."""

    topic: str
    partition: int
    producer: int
    start: int
    seconds: float
    """Since its last record."""
    said: str
    """By the coordinator: Ongoing, CompleteCommit, ...; empty where we may not ask."""

    @property
    def hangs(self) -> bool:
        """A coordinator ends what is Ongoing when its time is over; nobody ends what the coordinator takes for done."""
        if self.said.startswith("Prepare"):
            return self.seconds > PREPARING
        return self.said != "Ongoing" if self.said else self.seconds > FOREVER


def installed() -> tuple[str, tuple[str, ...]]:
    """The version of kafka-python that is here, and those that delivery was proven with."""
    return kafka.__version__, PROVEN


def ask(settings: Mapping[str, Any], doing: str, question: Callable[[KafkaAdminClient], T]) -> T:
    """Raises BrokerError, which says that `doing` failed.

    It is asked again while coordinators are not there yet: a new broker makes the topics they need when it is first asked.
    """
    admin, end = connect(KafkaAdminClient, settings, doing), time.monotonic() + COORDINATOR
    try:
        while True:
            try:
                return question(admin)
            except COMING:
                if time.monotonic() > end:
                    raise
                time.sleep(0.1)
    except Exception as error:
        raise broker_error(doing, settings, error) from error
    finally:
        admin.close()


def cluster(settings: Mapping[str, Any]) -> Cluster:
    """As the first broker that answered describes it; the others, and this one by the name it gives itself, are not asked."""

    def question(admin: Any) -> Cluster:
        known = admin._manager.cluster.brokers()
        return Cluster(admin._manager.broker_version, tuple(sorted((broker.node_id, f"{broker.host}:{broker.port}") for broker in known)))

    return ask(settings, "looking at the brokers", question)


def absent(settings: Mapping[str, Any], names: Iterable[str]) -> list[str]:
    """Topics that do not exist. Raises BrokerError."""

    def question(admin: Any) -> list[str]:
        unknown = failures.UnknownTopicOrPartitionError.errno
        return [said["name"] for said in admin.describe_topics(list(names)) if said["error_code"] == unknown]

    return ask(settings, "looking at topics", question)


def newest(settings: Mapping[str, Any], topic: str) -> int | None:
    """The highest time, ms, that the topic's records carry; None for an empty topic. Raises BrokerError."""

    def question(admin: Any) -> int | None:
        latest = admin.list_partition_offsets(dict.fromkeys(_places(admin, [topic]), OffsetSpec.MAX_TIMESTAMP))
        return max((found.timestamp for found in latest.values() if found.timestamp >= 0), default=None)

    return ask(settings, f"looking at topic {topic!r}", question)


def values(settings: Mapping[str, Any], topic: str, names: Iterable[str]) -> dict[str, str]:
    """Settings of a topic, as they are in force. Raises BrokerError."""

    def question(admin: Any) -> dict[str, str]:
        resource = ConfigResource(ConfigResourceType.TOPIC, topic, list(names))
        found = admin.describe_configs([resource], config_filter="all")["topic"].get(topic, {})
        return {name: str(said["value"]) for name, said in found.items()}

    return ask(settings, f"looking at topic {topic!r}", question)


def starts(settings: Mapping[str, Any], topic: str) -> dict[int, int]:
    """The first offset that is left of each partition. Raises BrokerError."""

    def question(admin: Any) -> dict[int, int]:
        found = admin.list_partition_offsets(dict.fromkeys(_places(admin, [topic]), OffsetSpec.EARLIEST))
        return {place.partition: said.offset for place, said in found.items()}

    return ask(settings, f"looking at topic {topic!r}", question)


def committed(settings: Mapping[str, Any], group: str, topic: str) -> dict[int, tuple[int, str]]:
    """Offset and metadata of each partition for which the group has any. Raises BrokerError."""

    def question(admin: Any) -> dict[int, tuple[int, str]]:
        found = admin.list_group_offsets({group: _places(admin, [topic])})[group]
        return {place.partition: (said.offset, said.metadata or "") for place, said in found.items() if said.offset >= 0}

    return ask(settings, f"looking at group {group!r}", question)


def records_at(settings: Mapping[str, Any], topic: str, offsets: Mapping[int, int], patience: float = 10.0) -> dict[int, tuple[int, bytes]]:
    """Time (ms) and value of the record at the offset of each partition; none where the record is gone. Raises BrokerError."""
    found: dict[int, tuple[int, bytes]] = {}
    if not offsets:
        return found
    with closing(StateLog(settings, topic)) as log:
        for partition, offset in offsets.items():
            log.begin(partition, offset)
        end = time.monotonic() + patience
        left = dict(offsets)
        while left and time.monotonic() < end:
            for run in log.poll(0.2):
                if run.partition in left:
                    log.end(run.partition)
                    if int(run.offset[0]) == left.pop(run.partition):
                        found[run.partition] = (int(run.timestamp[0]), run.part(run.value, 0) or b"")
    return found


def open_transactions(settings: Mapping[str, Any], topics: Iterable[str]) -> list[Open]:
    """Those that hold up readers, and did so a second ago. Raises BrokerError."""
    names = list(topics)

    def question(admin: Any) -> list[Open]:
        places = _places(admin, names)
        first = _held_up(admin, places)
        if first:
            time.sleep(AT_ONCE)
        both = {key: seconds for key, seconds in _held_up(admin, {place for place, *_ in first}).items() if key in first}
        said = _states(admin, {producer for _, producer, _ in both}) if both else {}
        return [
            Open(place.topic, place.partition, producer, start, max(seconds, 0.0), said.get(producer, ""))
            for (place, producer, start), seconds in both.items()
        ]

    return ask(settings, "looking for transactions that hang", question)


def _held_up(admin: Any, places: Iterable[TopicPartition]) -> dict[tuple[TopicPartition, int, int], float]:
    """(partition, producer, its first record's offset) -> seconds since its last record."""
    places = list(places)
    latest = dict.fromkeys(places, OffsetSpec.LATEST)
    if not places:
        return {}
    stable = admin.list_partition_offsets(latest, isolation_level=IsolationLevel.READ_COMMITTED)
    ends = admin.list_partition_offsets(latest)
    behind = [place for place in places if stable[place].offset < ends[place].offset]
    now = time.time()
    return {
        (place, producer.producer_id, producer.current_transaction_start_offset): now - producer.last_timestamp / 1000
        for place, found in (admin.describe_producers(behind) if behind else {}).items()
        for producer in found.active_producers
        if producer.current_transaction_start_offset >= 0
    }


def _states(admin: Any, producers: Iterable[int]) -> dict[int, str]:
    """As their coordinators say, of those that we may ask about."""
    listed = admin.list_transactions(producer_id_filters=list(producers))
    return {found.producer_id: found.state.value for some in listed.values() for found in some}


def _places(admin: Any, topics: Iterable[str]) -> list[TopicPartition]:
    found = []
    for answer in admin.describe_topics(list(topics)):
        if (failure := failures.for_code(answer["error_code"])).errno:
            raise failure(answer["name"])
        found += [TopicPartition(answer["name"], partition["partition_index"]) for partition in answer["partitions"]]
    return found
