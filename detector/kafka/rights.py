"""Who needs which rights on Kafka, role by role and no more than that; and which of them this principal lacks.

Asking changes nothing: brokers tell what one may do with topics and groups, and for transactional ids they are asked to add offsets to a
transaction of a producer that does not exist, which they refuse whoever asks, but for lack of a right first.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import kafka.errors as failures
from kafka.admin import ConfigResource, ConfigResourceType
from kafka.protocol.metadata import CoordinatorType
from kafka.protocol.producer.transaction import AddOffsetsToTxnRequest

from detector.kafka.inspection import ask

IMPLIES = {"READ": "DESCRIBE", "WRITE": "DESCRIBE"}
"""What Kafka grants along with a right."""


class Right(NamedTuple):
    """One ACL. `kind`: topic, group or transactional-id; `prefixed`: on all whose names begin so."""

    kind: str
    name: str
    operation: str
    prefixed: bool = False

    def __str__(self) -> str:
        return f"{self.operation} on {self.kind.replace('-', ' ')} '{self.name}{'*' if self.prefixed else ''}'"

    def command(self, principal: str, servers: Sequence[str]) -> str:
        """What grants it."""
        pattern = ("--resource-pattern-type", "prefixed") if self.prefixed else ()
        who = ("--add", "--allow-principal", f"User:{principal}")
        return shlex.join(
            ("kafka-acls.sh", "--bootstrap-server", servers[0], *who, "--operation", self.operation, f"--{self.kind}", self.name, *pattern)
        )


class Names(NamedTuple):
    """What the rights are on, as configured. `topics`: role of the topic (the keys of topics.DESIGN) -> its name."""

    topics: Mapping[str, str]
    group: str
    prefix: str
    """Of transactional ids, with the dash behind it."""


OUTPUTS = ("alerts", "notables", "daily", "dead-letters")


def roles(names: Names) -> dict[str, tuple[Right, ...]]:
    """Every role and all it needs. Read and Write grant Describe, which is why that is asked for only where there is neither."""

    def on(topic: str, *operations: str) -> list[Right]:
        return [Right("topic", names.topics[topic], operation) for operation in operations]

    def all_on(topics: Iterable[str], *operations: str) -> list[Right]:
        return [right for topic in topics for right in on(topic, *operations)]

    looks = [*on("access-events", "Read", "DescribeConfigs"), *all_on((*OUTPUTS, "state-employee"), "DescribeConfigs")]
    return {
        "service": (
            *looks, *all_on(OUTPUTS, "Write"), *on("state-employee", "Read", "Write"), Right("group", names.group, "Read"),
            Right("transactional-id", names.prefix, "Write", prefixed=True),
        ),
        "reviews": (*on("alerts", "Read"), *on("verdicts", "Read")),
        "shadow": (*looks, *all_on((*OUTPUTS, "state-employee"), "Describe"), Right("group", f"{names.group}-shadow", "Read")),
        "source": tuple(on("access-events", "Write")),
        "trainer": (*on("access-events", "Read"), *on("daily", "Read"), *on("verdicts", "Read"), *on("alerts", "Read")),
        "investigator": (*on("alerts", "Read"), *on("verdicts", "Read", "Write")),
        "verifier": tuple(on("alerts", "Read")),
        "mender": (*on("dead-letters", "Read"), *on("access-events", "Write")),
        "maker": tuple(all_on(names.topics, "Create", "Describe", "DescribeConfigs")),
    }  # fmt: skip


ROLES = {
    "service": "`detector serve` and `detector doctor`",
    "reviews": "the service once more, so that it can tell how long alerts wait for a verdict",
    "shadow": "`detector serve --shadow`",
    "source": "whoever sends access events; `detector sandbox company`",
    "trainer": "`detector train`, where it reads topics",
    "investigator": "reads alerts and writes verdicts: `detector verdicts`",
    "verifier": "`detector verify`; whoever watches the heartbeats",
    "mender": "`detector dead-letters`",
    "maker": "`detector topics create`, once",
}
"""Role -> who that is."""


def missing(settings: Mapping[str, Any], rights: Iterable[Right]) -> list[Right]:
    """Those that this principal lacks, of topics that exist. Raises BrokerError."""
    wanted = list(rights)
    group = next((right.name for right in wanted if right.kind == "group"), "")

    def question(admin: Any) -> list[Right]:
        lacking = _lacking_on_topics(admin, [right for right in wanted if right.kind == "topic"])
        lacking |= {right for right in wanted if right.kind == "group" and not _may_group(admin, right)}
        lacking |= {right for right in wanted if right.kind == "transactional-id" and not _may_transact(admin, right, group)}
        return [right for right in wanted if right in lacking]

    return ask(settings, "looking at rights", question)


def _lacking_on_topics(admin: Any, wanted: Sequence[Right]) -> set[Right]:
    names = sorted({right.name for right in wanted})
    topics = {answer["name"]: answer for answer in admin.describe_topics(names)} if names else {}
    unseen = [name for name in names if topics[name]["error_code"] == failures.TopicAuthorizationFailedError.errno]
    resources = [ConfigResource(ConfigResourceType.TOPIC, name, ["retention.ms"]) for name in unseen]
    configs = admin.describe_configs(resources, config_filter="all")["topic"] if unseen else {}
    lacking = set()
    for right in wanted:
        granted = topics[right.name].get("authorized_operations")
        if right.name in unseen:  # neither Read nor Write; but this right stands alone
            allowed = right.operation == "DescribeConfigs" and bool(configs.get(right.name))
        else:  # one that is not there, or a broker that does not tell, is no lack of rights
            allowed = bool(topics[right.name]["error_code"]) or granted is None or _among(right, granted)
        if not allowed:
            lacking.add(right)
    return lacking


def _may_group(admin: Any, right: Right) -> bool:
    try:
        answer = admin.describe_groups([right.name])[right.name]
    except failures.GroupAuthorizationFailedError:
        return False
    if failures.GroupAuthorizationFailedError.__name__ in (answer["error"] or ""):
        return False
    granted = answer.get("authorized_operations")
    return not granted or _among(right, granted)  # for a group that does not exist yet, some brokers do not tell


def _among(right: Right, granted: Iterable[str]) -> bool:
    """`granted` as kafka-python writes it: DESCRIBE_CONFIGS."""
    have = {operation.replace("_", "") for operation in granted}
    return right.operation.upper() in have | {IMPLIES[operation] for operation in have & IMPLIES.keys()}


def _may_transact(admin: Any, right: Right, group: str) -> bool:
    """Asked with an id below the prefix; the coordinator answers that it knows no such producer."""
    name = f"{right.name}0" if right.prefixed else right.name

    async def offered() -> int:
        coordinators = await admin._find_coordinator_ids([name], key_type=CoordinatorType.TRANSACTION)
        request = AddOffsetsToTxnRequest(transactional_id=name, producer_id=-1, producer_epoch=-1, group_id=group or name)
        answer = await admin._manager.send(request, node_id=coordinators[name])
        return int(answer.error_code)

    with suppress(failures.TransactionalIdAuthorizationFailedError):
        return bool(admin._manager.run(offered) != failures.TransactionalIdAuthorizationFailedError.errno)
    return False
