"""The project's topics: their settings, making them, and checking that they are what the service relies on. Never made silently."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from kafka import KafkaAdminClient
from kafka.admin import ConfigResource, ConfigResourceType
from kafka.errors import TopicAlreadyExistsError, UnknownTopicOrPartitionError, for_code

from detector.kafka.clients import broker_error, connect

DAY = 86_400_000
KEEP = {"cleanup.policy": "delete"}


def _days(days: int) -> dict[str, str]:
    return KEEP | {"retention.ms": str(days * DAY)}


DESIGN: dict[str, dict[str, str]] = {
    # the broker's own time bounds how far in the future an event may lie; state is rebuilt from what is retained
    "access-events": _days(90) | {"message.timestamp.type": "LogAppendTime"},
    # never compacted: keyed by person, a later alert would erase an earlier one
    "alerts": _days(365),
    "notables": _days(90),
    # the nightly refresh looks back four weeks; a block is 512 KiB at most
    "daily": _days(60),
    # the newest of everything is all that is read; snapshots come in chunks of 512 KiB
    "state-employee": {
        "cleanup.policy": "compact",
        "segment.ms": str(3_600_000),
        "min.cleanable.dirty.ratio": "0.3",
        "max.message.bytes": str(1 << 20),
    },
    # the refused bytes travel inside, in base64, so a record here is larger than the one refused
    "dead-letters": _days(30) | {"max.message.bytes": str(4 << 20)},
    # never compacted: who said what before somebody said otherwise is to be seen
    "verdicts": _days(1095),
}
"""Role -> what its topic must be set to."""
AT_LEAST = {"retention.ms", "max.message.bytes", "min.insync.replicas"}
"""Settings of which more does no harm (-1: without end)."""


@dataclass(frozen=True)
class Topic:
    """A topic as it must be. `settings` are Kafka's own names and values; replication -1 leaves it to the broker."""

    name: str
    partitions: int
    settings: Mapping[str, str] = field(default_factory=dict)
    replication: int = -1


def design(names: Mapping[str, str], partitions: int, replication: int = -1) -> list[Topic]:
    """Role (`access-events`, `alerts`, ...: the keys of DESIGN) -> name, as configured, to the topics of just those roles."""
    safe = {"min.insync.replicas": "2"} if replication >= 3 else {}
    return [Topic(name, partitions, DESIGN[role] | safe, replication) for role, name in names.items()]


def create(settings: Mapping[str, Any], topics: Sequence[Topic]) -> list[str]:
    """Make those that do not exist, and return their names; others are left as they are (see `check`). Raises BrokerError."""
    doing, made = "creating topics", []
    admin = connect(KafkaAdminClient, settings, doing)
    try:
        for topic in topics:
            wanted = {"num_partitions": topic.partitions, "replication_factor": topic.replication, "configs": dict(topic.settings)}
            try:
                admin.create_topics({topic.name: wanted}, wait_for_metadata=True)
            except TopicAlreadyExistsError:
                continue
            made.append(topic.name)
    except Exception as error:
        raise broker_error(doing, settings, error) from error
    finally:
        admin.close()
    return made


def check(settings: Mapping[str, Any], topics: Sequence[Topic]) -> list[str]:
    """What is wrong with the topics, each a sentence with what mends it; empty if nothing is. Raises BrokerError."""
    doing = "checking topics"
    admin = connect(KafkaAdminClient, settings, doing)
    try:
        found = {answer["name"]: answer for answer in admin.describe_topics([topic.name for topic in topics])} if topics else {}
        problems, there = [], []
        for topic in topics:
            failure = for_code(found[topic.name]["error_code"]) if topic.name in found else UnknownTopicOrPartitionError
            if failure is UnknownTopicOrPartitionError:
                problems.append(f"topic {topic.name!r} does not exist (or may not be seen): run `detector topics create`")
            elif failure.errno:
                raise failure(topic.name)
            else:
                there.append(topic)
                problems += _check_partitions(topic, found[topic.name]["partitions"])
        resources = [ConfigResource(ConfigResourceType.TOPIC, topic.name, list(topic.settings)) for topic in there if topic.settings]
        actual = admin.describe_configs(resources, config_filter="all")["topic"] if resources else {}
        for topic in there:
            problems += _check_settings(topic, actual.get(topic.name, {}), settings)
        return problems
    except Exception as error:
        raise broker_error(doing, settings, error) from error
    finally:
        admin.close()


def _check_partitions(topic: Topic, partitions: Sequence[Mapping[str, Any]]) -> list[str]:
    problems, actual = [], len(partitions)
    if actual != topic.partitions:
        problems.append(
            f"topic {topic.name!r} has {actual} partitions, and {topic.partitions} are configured: configure {actual}, or "
            "delete it and run `detector topics create`; partitions added to a topic in use would tear each person's history apart"
        )
    replicas = min((len(partition["replica_nodes"]) for partition in partitions), default=0)
    if replicas < topic.replication:
        problems.append(
            f"topic {topic.name!r} has {replicas} replicas, and {topic.replication} are configured: "
            "reassign it with `kafka-reassign-partitions.sh`, or delete it and run `detector topics create`"
        )
    return problems


def _check_settings(topic: Topic, actual: Mapping[str, Mapping[str, Any]], settings: Mapping[str, Any]) -> list[str]:
    problems = []
    if topic.settings and not actual:
        return [f"the settings of topic {topic.name!r} may not be seen: grant DescribeConfigs on it (`detector topics rights` says how)"]
    for name, wanted in topic.settings.items():
        value = str(actual.get(name, {}).get("value"))
        if value != wanted and not (name in AT_LEAST and _at_least(value, wanted)):
            least = "at least " if name in AT_LEAST and wanted != "-1" else ""
            problems.append(
                f"topic {topic.name!r} has {name}={value}, and must have {least}{wanted}: "
                f"`kafka-configs.sh --bootstrap-server {settings['bootstrap_servers'][0]} --alter --entity-type topics "
                f"--entity-name {topic.name} --add-config {name}={wanted}`, or delete it and run `detector topics create`"
            )
    return problems


def _at_least(value: str, wanted: str) -> bool:
    try:
        return int(value) == -1 or (int(wanted) != -1 and int(value) >= int(wanted))
    except ValueError:
        return False
