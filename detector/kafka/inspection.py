"""What `detector doctor` looks at: what this principal may do, and what time the brokers stamped last."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from kafka import KafkaAdminClient, TopicPartition
from kafka.admin import OffsetSpec

from detector.kafka.clients import broker_error, connect


def missing_rights(settings: Mapping[str, Any], wanted: Mapping[str, Iterable[str]]) -> list[str]:
    """Topic -> operations (`READ`, `WRITE`, `DESCRIBE`) to those that are not granted, each a sentence. Raises BrokerError."""
    problems = []
    for topic, answer in _topics(settings, wanted).items():
        granted = answer["authorized_operations"]
        if granted is None:  # a broker says nothing of a topic that may not even be described
            granted = () if answer["error_code"] else wanted[topic]
        lacking = [operation for operation in wanted[topic] if operation not in granted]
        problems += [f"no right to {operation.lower()} topic {topic!r}: grant {operation.title()} on it" for operation in lacking]
    return problems


def newest(settings: Mapping[str, Any], topic: str) -> int | None:
    """The highest time, ms, that the topic's records carry; None for an empty topic. Raises BrokerError."""
    doing = f"looking at topic {topic!r}"
    partitions = [partition["partition_index"] for partition in _topics(settings, [topic])[topic]["partitions"]]
    admin = connect(KafkaAdminClient, settings, doing)
    try:
        latest = admin.list_partition_offsets({TopicPartition(topic, partition): OffsetSpec.MAX_TIMESTAMP for partition in partitions})
    except Exception as error:
        raise broker_error(doing, settings, error) from error
    finally:
        admin.close()
    return max((found.timestamp for found in latest.values() if found.timestamp >= 0), default=None)


def _topics(settings: Mapping[str, Any], names: Iterable[str]) -> dict[str, dict[str, Any]]:
    doing = "looking at topics"
    admin = connect(KafkaAdminClient, settings, doing)
    try:
        return {answer["name"]: answer for answer in admin.describe_topics(list(names))}
    except Exception as error:
        raise broker_error(doing, settings, error) from error
    finally:
        admin.close()
