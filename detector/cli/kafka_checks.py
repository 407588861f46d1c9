"""What `detector doctor` looks at on Kafka; what checks yield and raise: local_checks."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from detector.cli.local_checks import DAY, Caution
from detector.cli.settings import kafka_settings, names_of, topics_of
from detector.errors import BrokerError, StateError

if TYPE_CHECKING:
    from detector.config import Config

CLOCK_TOLERANCE = 5.0
"""Seconds that a broker's clock may be ahead of ours without a word."""
OLDEST_BROKER = (2, 5)
"""Before it, transactions do not look at a consumer's generation (KIP-447)."""
UNPROVEN_ALONE = (4, 2)
"""From it on, a single node that is broker and controller in one can leave a transaction without its markers when it is killed."""
INTERVALS = 10
"""Snapshots that must fall into the time for which events are kept."""
FULL = 0.9
"""Share of `detection.max_keys` from which on a partition's state is as good as full."""


def listeners(config: Config) -> Iterator[str]:
    from detector.kafka.listeners import faults

    settings = kafka_settings(config)
    found = {address: faults(settings, address) for address in settings["bootstrap_servers"]}
    told = [fault for some in found.values() for fault in some]
    if all(found.values()):
        raise BrokerError("\n".join(told))
    yield from map(Caution, told)


def reach(config: Config) -> Iterator[str]:
    from detector.kafka.inspection import cluster

    cluster(kafka_settings(config))
    yield f"{config.kafka.security_protocol} to {', '.join(config.kafka.bootstrap_servers)}"


def brokers(config: Config) -> Iterator[str]:
    from detector.kafka.inspection import cluster
    from detector.kafka.listeners import faults

    settings = kafka_settings(config)
    nodes = cluster(settings).nodes
    told = [f"broker {node} names itself {fault}" for node, address in nodes for fault in faults(settings, address)]
    if told:
        raise BrokerError("\n".join((*told, "clients go where a broker's advertised.listeners says; mend it there, or the way to it")))
    yield ", ".join(address for _, address in nodes)


def version(config: Config) -> Iterator[str]:
    from detector.kafka.inspection import cluster

    version, nodes = cluster(kafka_settings(config))
    name = ".".join(map(str, version))
    if version < OLDEST_BROKER and config.group.delivery == "exactly_once":
        raise BrokerError(f"the brokers are of version {name}, exactly-once delivery needs 2.5\nupgrade them, or set group.delivery")
    if version >= UNPROVEN_ALONE and len(nodes) == 1:
        yield Caution(
            f"a single broker of version {name}: if it is its own controller and is killed, it can leave transactions without an end; "
            "use 4.1, or three brokers"
        )
    else:
        twice = "" if config.group.delivery == "exactly_once" else "; group.delivery is at_least_once: after a fault, alerts may come twice"
        yield f"what they can do is what {name} can{twice}"


def rights(config: Config) -> Iterator[str]:
    from detector.kafka.rights import missing, roles

    settings = kafka_settings(config)
    role = roles(names_of(config))
    wanted = role["shadow" if config.service.shadow else "service"]
    if config.group.delivery != "exactly_once":
        wanted = tuple(right for right in wanted if right.kind != "transactional-id")
    principal = settings.get("sasl_plain_username", "NAME")
    if lacking := missing(settings, wanted):
        told = (f"no right to {right}: `{right.command(principal, settings['bootstrap_servers'])}`" for right in lacking)
        raise BrokerError("\n".join(told))
    if not config.service.shadow and config.alerts.review_days and (lacking := missing(settings, role["reviews"])):
        yield from (f"without {right}, how long alerts wait for a verdict is not measured" for right in lacking)


def topics(config: Config) -> Iterator[str]:
    from detector.kafka.inspection import absent

    if lacking := absent(kafka_settings(config), [topic.name for topic in topics_of(config)]):
        raise BrokerError("\n".join((*(f"topic '{name}' does not exist" for name in lacking), "run `detector topics create`")))
    yield from ()


def settings(config: Config) -> Iterator[str]:
    from detector.kafka import topics

    if problems := topics.check(kafka_settings(config), topics_of(config)):
        raise BrokerError("\n".join(problems))
    yield from ()


def retention(config: Config) -> Iterator[str]:
    """What was written between a snapshot and now must still be there when somebody takes over."""
    from detector.kafka.inspection import values

    events, found = config.topics.events, values(kafka_settings(config), config.topics.events, ("retention.ms", "retention.bytes"))
    kept = int(found.get("retention.ms", "-1"))
    least = INTERVALS * config.service.snapshot_interval
    if 0 <= kept < least * 1000:
        raise BrokerError(
            f"topic '{events}' keeps events for {kept / 1000:g} s, and a snapshot of the state is made every "
            f"{config.service.snapshot_interval:g} s or later: what lies between may be gone when a process takes over\n"
            f"set its retention.ms to {least * 1000:.0f} at least, better to weeks, or service.snapshot_interval to less"
        )
    if int(found.get("retention.bytes", "-1")) >= 0:
        yield Caution(f"topic '{events}' is also cut by size (retention.bytes): under load, events may be gone sooner than you think")
    yield f"events are kept {'for ever' if kept < 0 else f'for {kept / 1000 / DAY:.3g} days'}"


def clock(config: Config) -> Iterator[str]:
    from detector.kafka.inspection import newest

    stamped = newest(kafka_settings(config), config.topics.events)
    if stamped is None:
        yield f"topic '{config.topics.events}' is empty: nothing to compare the clock with"
        return
    ahead = stamped / 1000 - time.time()
    if ahead > CLOCK_TOLERANCE:
        raise BrokerError(
            f"the newest record of '{config.topics.events}' is stamped {ahead:.0f} s in the future\n"
            "set the clocks of the brokers and of this machine (NTP); detection goes by events' time, lag and latency go by these clocks"
        )
    yield f"the newest record was stamped {max(-ahead, 0):.0f} s ago"


def transactions(config: Config) -> Iterator[str]:
    from detector.kafka.inspection import open_transactions

    servers, hanging = config.kafka.bootstrap_servers, []
    for found in open_transactions(kafka_settings(config), (config.topics.events, config.topics.state)):
        what = (
            f"producer {found.producer} has a transaction open on {found.topic}-{found.partition} since offset {found.start}, last written "
            f"{found.seconds:.0f} s ago: nothing behind it can be read"
        )
        if not found.hangs:
            yield Caution(what)
            continue
        done = "its coordinator has committed it: save its records before you abort it; " if found.said == "CompleteCommit" else ""
        hanging.append(
            f"{what}, and nobody will end it\n{done}`kafka-transactions.sh --bootstrap-server {servers[0]} abort --topic {found.topic} "
            f"--partition {found.partition} --start-offset {found.start}`"
        )
    if hanging:
        raise BrokerError("\n".join(hanging))


def state(config: Config) -> Iterator[str]:
    """From what the service left: the mark beside each committed offset, and the snapshot that it names."""
    from detector.core.snapshots import outline
    from detector.kafka.inspection import committed, records_at, starts
    from detector.marks import read_mark

    if config.service.shadow:
        yield "a shadow keeps none"
        return
    settings, events = kafka_settings(config), config.topics.events
    marks = {p: mark for p, (_, said) in committed(settings, config.group.id, events).items() if (mark := read_mark(said))}
    found = records_at(settings, config.topics.state, {p: mark.snapshot for p, mark in marks.items() if mark.snapshot >= 0})
    if not found:
        yield f"group '{config.group.id}' has made no snapshot yet"
        return
    snapshots, first, told = {p: outline(value) for p, (_, value) in found.items()}, starts(settings, events), []
    for p, snapshot in sorted(snapshots.items()):
        if snapshot.rows >= FULL * config.detection.max_keys:
            told.append(
                f"partition {p} remembers {snapshot.rows:,} employees, and detection.max_keys is {config.detection.max_keys:,}: "
                "beyond, the longest unseen are forgotten\n"
                "set detection.max_keys higher (4 KB of memory each), or make topics with more partitions"
            )
        if snapshot.offset < first.get(p, 0):
            told.append(
                f"partition {p}: its newest snapshot ends at offset {snapshot.offset}, and events are kept from {first[p]} on only: "
                f"a process that takes over has not seen what was between\nset retention.ms of topic '{events}' to weeks"
            )
    if told:
        raise StateError("\n".join(told))
    most, oldest = max(s.rows for s in snapshots.values()), time.time() - min(stamped for stamped, _ in found.values()) / 1000
    yield f"{most:,} employees on the fullest of {len(snapshots)} partitions; the oldest snapshot is {max(oldest, 0):.0f} s old"
