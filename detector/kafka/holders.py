"""Partitions that nobody in a group holds, as its coordinator knows."""

from __future__ import annotations

from typing import Any

import kafka.errors as failures
from kafka.protocol.admin import DescribeGroupsRequest
from kafka.protocol.consumer.metadata import ConsumerProtocolAssignment


def unheld(client: Any, group: str, topic: str, seconds: float) -> frozenset[int] | None:
    """Partitions of `topic` that no member of `group` is assigned; None while its members are being given partitions, or its coordinator
    moves: ask again. `client`: a KafkaConsumer that is a member. Raises what kafka-python raises, after `seconds` at the latest.
    """
    manager, request = client._manager, DescribeGroupsRequest(groups=[group])

    async def ask() -> Any:
        return await manager.wait_for(manager.send(request, node_id=client._coordinator.coordinator_id), seconds * 1000)

    (found,) = manager.run(ask).groups
    if found.error_code:
        error = failures.for_code(found.error_code)
        if issubclass(error, failures.RetriableError):
            return None
        raise error(group)
    if found.group_state != "Stable":
        return None
    assignments = [ConsumerProtocolAssignment.decode(member.member_assignment) for member in found.members if member.member_assignment]
    held = {place.partition for assigned in assignments for place in assigned.partitions() if place.topic == topic}
    return frozenset(client.partitions_for_topic(topic)) - held
