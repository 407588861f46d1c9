"""What the doctor says about this machine, and about what it finds on Kafka: each fault is made, on a real Kafka where it lies there."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import kafka
import numpy as np
import pytest
from kafka import KafkaAdminClient, KafkaConsumer, OffsetAndMetadata, TopicPartition

from detector import registry
from detector.cli import kafka_checks, local_checks
from detector.cli.checkup import CHECKS, Check, examine
from detector.cli.local_checks import Caution
from detector.cli.settings import topics_of
from detector.config import Config, load
from detector.core.daily_blocks import Origin
from detector.core.snapshots import Snapshot
from detector.errors import BrokerError, ConfigError, ContextError, ModelError, StateError
from detector.kafka import inspection, topics
from detector.kafka.producer import Producer
from detector.kafka.reader import Reader
from detector.kafka.security import client_settings
from detector.marks import Mark, encode_mark
from detector.sandbox.broker import Broker
from tests.models import sound

DAY = 86_400


def config(**more: str) -> Config:
    return load(flags={"topics.partitions": "2", "topics.replication": "1"} | {k.replace("__", "."): v for k, v in more.items()}).config


def test_a_kafka_python_that_is_too_old_or_unknown_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    assert list(local_checks.client(config())) == [f"kafka-python {kafka.__version__}"]
    monkeypatch.setattr(kafka, "__version__", "3.0.99")
    (caution,) = local_checks.client(config())
    assert isinstance(caution, Caution) and "3.0.99" in caution
    monkeypatch.setattr(kafka, "__version__", "2.3.2")
    with pytest.raises(ConfigError, match=r"2\.3\.2 is installed\ninstall 3\.0\.12"):
        list(local_checks.client(config()))


def test_a_context_that_nobody_renews_is_told(tmp_path: Path) -> None:
    assert list(local_checks.fresh(config())) == []
    said = config(context__folder=str(tmp_path))
    assert list(local_checks.fresh(said)) == []
    for name, days in (("links.csv", 30), ("protected.csv", 8)):
        (tmp_path / name).write_text({"links.csv": "subject,linked,kind\n", "protected.csv": "subject,class\n"}[name])
        os.utime(tmp_path / name, (time.time() - days * DAY,) * 2)
    with pytest.raises(ContextError, match=r"was written 8 days ago\nexport it again"):
        list(local_checks.fresh(said))
    for most in ("9", "0"):
        assert list(local_checks.fresh(config(context__folder=str(tmp_path), context__max_age=most))) == [
            "its newest file was written 8.0 days ago"
        ]
    (tmp_path / "directory.csv").write_bytes(b"\xff")
    assert states(said, "context-age")["context-age"] == ("skipped", "(this needs that the context can be read)")


def test_a_model_that_is_missing_or_does_not_fit_is_told(tmp_path: Path) -> None:
    said = config(models__registry=str(tmp_path / "models"))
    with pytest.raises(ModelError, match="detector train"):
        list(local_checks.model(said))
    arrays, manifest = sound()
    view = manifest["views"]["employee"] | {"schema": "0" * 64}
    registry.save(tmp_path / "other", arrays, manifest | {"views": {"employee": view}})
    with pytest.raises(ModelError, match="trained on other features than this version computes: train a new one with `detector train`"):
        list(local_checks.model(config(models__registry=str(tmp_path / "other"))))
    version = registry.save(tmp_path / "models", arrays, manifest)
    assert next(local_checks.model(said)).startswith(f"champion is {version}")
    with pytest.raises(ConfigError, match=r"is calibrated for .*\nleave the setting empty"):
        list(local_checks.model(config(models__registry=str(tmp_path / "models"), detection__hypotheses="snooping")))


def test_metrics_that_others_can_read_are_told() -> None:
    assert list(local_checks.exposed(config())) == []
    (caution,) = local_checks.exposed(config(metrics__host="0.0.0.0"))
    assert isinstance(caution, Caution) and "metrics.ssl_certfile" in caution


@pytest.mark.parametrize(("version", "nodes", "delivery", "says"), [
    ((2, 4), 3, "exactly_once", BrokerError), ((2, 4), 3, "at_least_once", str), ((2, 5), 3, "exactly_once", str),
    ((4, 1), 1, "exactly_once", str), ((4, 2), 1, "exactly_once", Caution), ((4, 3), 3, "exactly_once", str),
])  # fmt: skip
def test_brokers_that_cannot_do_what_is_needed_are_told(
    version: tuple[int, int], nodes: int, delivery: str, says: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = inspection.Cluster(version, tuple((n, f"kafka-{n}:9092") for n in range(nodes)))
    monkeypatch.setattr(inspection, "cluster", lambda settings: found)
    try:
        (told,) = kafka_checks.version(config(group__delivery=delivery))
    except BrokerError as error:
        assert says is BrokerError and "exactly-once delivery needs 2.5\nupgrade them, or set group.delivery" in str(error)
    else:
        assert type(told) is says


@pytest.mark.parametrize(("said", "seconds", "hangs"), [
    ("Ongoing", 1e6, False), ("Empty", 2, True), ("CompleteCommit", 2, True), ("CompleteAbort", 2, True),
    ("PrepareCommit", 2, False), ("PrepareCommit", 100, True), ("", 60, False), ("", 1300, True),
])  # fmt: skip
def test_a_transaction_hangs_where_nobody_will_end_it(said: str, seconds: float, hangs: bool) -> None:
    assert inspection.Open("t", 0, 1, 0, seconds, said).hangs is hangs


def test_what_makes_no_sense_after_a_fault_is_left_out() -> None:
    def fails(config: Config) -> Any:
        raise BrokerError("a\nb")

    checks = (
        Check("one", "the first", fails), Check("two", "the second", lambda config: iter([]), ("one",)),
        Check("three", "the third", lambda config: iter([]), ("two",)), Check("four", "the fourth", lambda config: iter([Caution("c")])),
    )  # fmt: skip
    assert [(check.id, *rest) for check, *rest in examine(config(), checks)] == [
        ("one", "failed", ["a", "b"], 6), ("two", "skipped", ["(this needs that the first)"], 0),
        ("three", "skipped", ["(this needs that the second)"], 0), ("four", "warning", ["c"], 0),
    ]  # fmt: skip


def test_each_check_needs_only_what_comes_before_it_and_is_in_the_reference() -> None:
    ids = [check.id for check in CHECKS]
    page = (Path(__file__).parents[2] / "docs/reference/doctor.md").read_text()
    rows = [line.split("|")[1].strip(" `") for line in page.splitlines() if line.startswith("| `")]
    assert rows == ids and len(set(ids)) == len(ids)
    assert all(ids.index(needed) < i for i, check in enumerate(CHECKS) for needed in check.needs)


@pytest.fixture
def said(broker: Broker, unique: Callable[[str], str]) -> Config:
    """Topics of its own, not made yet."""
    names = {f"topics.{key}": unique(key) for key in ("events", "alerts", "notables", "daily", "state", "dead_letters", "verdicts")}
    return config(kafka__bootstrap_servers=broker.bootstrap, group__id=unique("detector"), **names)


def settings(said: Config) -> dict[str, Any]:
    return client_settings({"bootstrap_servers": said.kafka.bootstrap_servers})


def states(said: Config, until: str = "") -> dict[str, tuple[str, str]]:
    some = CHECKS[: [check.id for check in CHECKS].index(until) + 1] if until else CHECKS
    return {check.id: (state, "\n".join(notes)) for check, state, notes, _ in examine(said, some)}


@pytest.mark.broker
def test_topics_that_are_not_there_or_are_set_otherwise_are_told(said: Config) -> None:
    found = states(said)
    assert found["topics"][0] == "failed" and found["topics"][1].count("does not exist") == 6
    assert {found[name][0] for name in ("settings", "retention", "clock", "transactions", "state")} == {"skipped"}
    names = said.topics
    odd = {
        names.state: topics.Topic(names.state, 1, topics.DESIGN["state-employee"] | {"cleanup.policy": "delete"}),
        names.events: topics.Topic(
            names.events, 2, topics.DESIGN["access-events"] | {"retention.ms": "300000", "retention.bytes": "9999999"}
        ),
    }
    topics.create(settings(said), [odd.get(topic.name, topic) for topic in topics_of(said)])
    found = states(said)
    assert found["topics"] == ("ok", "")
    told = found["settings"][1]
    assert f"topic '{names.state}' has 1 partitions, and 2 are configured" in told
    assert f"topic '{names.state}' has cleanup.policy=delete, and must have compact" in told
    assert f"topic '{names.events}' has retention.ms=300000, and must have at least" in told
    state, told = found["retention"]
    assert state == "failed" and "keeps events for 300 s, and a snapshot of the state is made every 60 s" in told
    assert "retention.ms to 600000 at least" in told
    shorter = config(kafka__bootstrap_servers=said.kafka.bootstrap_servers[0], topics__events=names.events, service__snapshot_interval="30")
    kept = list(kafka_checks.retention(shorter))
    assert isinstance(kept[0], Caution) and "retention.bytes" in kept[0] and kept[1] == "events are kept for 0.00347 days"


@pytest.mark.broker
def test_a_clock_that_lags_behind_the_brokers_is_told(said: Config) -> None:
    topics.create(settings(said), [topics.Topic(said.topics.events, 2)])
    assert "is empty" in next(kafka_checks.clock(said))
    with Producer(settings(said)) as producer:
        producer.send(said.topics.events, b"k", b"v", timestamp_ms=int((time.time() - 60) * 1000))
        producer.flush(10)
        assert next(kafka_checks.clock(said)) in ("the newest record was stamped 60 s ago", "the newest record was stamped 61 s ago")
        producer.send(said.topics.events, b"k", b"v", timestamp_ms=int((time.time() + 600) * 1000))
        producer.flush(10)
    with pytest.raises(BrokerError, match=r"(600|599) s in the future\nset the clocks"):
        list(kafka_checks.clock(said))


@pytest.mark.broker
def test_a_state_that_outgrows_its_cap_or_its_input_is_told(said: Config) -> None:
    """The marks and snapshots are such as a service leaves them."""
    topics.create(settings(said), topics_of(said))
    assert next(kafka_checks.state(said)).endswith("has made no snapshot yet")
    sizes = {0: 900, 1: 950}
    leave(said, sizes, offset=5)
    told = next(kafka_checks.state(said))
    assert told.startswith("950 employees on the fullest of 2 partitions; the oldest snapshot is ")
    small = load(flags={
        "detection.max_keys": "1024", "kafka.bootstrap_servers": said.kafka.bootstrap_servers[0], "topics.events": said.topics.events,
        "topics.state": said.topics.state, "group.id": said.group.id,
    }).config  # fmt: skip
    with pytest.raises(StateError, match=r"^partition 1 remembers 950 employees, .*max_keys is 1,024.*\nset detection.max_keys"):
        list(kafka_checks.state(small))
    with Producer(settings(said)) as producer:
        for _ in range(9):
            producer.send(said.topics.events, b"k", b"v", partition=0)
        producer.flush(10)
    admin = KafkaAdminClient(**settings(said))
    try:
        admin.delete_records({TopicPartition(said.topics.events, 0): 7})
    finally:
        admin.close()
    with pytest.raises(StateError, match=r"^partition 0: its newest snapshot ends at offset 5, and events are kept from 7 on only"):
        list(kafka_checks.state(said))


def leave(said: Config, rows: dict[int, int], offset: int) -> None:
    """A snapshot of so many rows for each partition, up to this offset, and the marks beside committed offsets that name them."""
    with Producer(settings(said)) as producer:
        for partition, count in rows.items():
            snapshot = Snapshot(Origin("employee", said.topics.events, partition), 1, offset, 0, {"key": np.arange(1, count + 1)}, ())
            parts = [snapshot.chunk(i) for i in range(snapshot.chunks)]
            for value in (*parts, snapshot.manifest()):
                producer.send(said.topics.state, b"k", value, partition=partition)
        producer.flush(10)
    with Reader(settings(said), said.topics.state) as reader:
        last = {run.partition: int(run.offset[-1]) for run in reader.read()}
    member = KafkaConsumer(**settings(said), group_id=said.group.id, enable_auto_commit=False)
    try:
        marks = {p: encode_mark(Mark(0, 0, "", snapshot=at)) for p, at in last.items()}
        member.commit({TopicPartition(said.topics.events, p): OffsetAndMetadata(offset, mark, -1) for p, mark in marks.items()})
    finally:
        member.close()


def test_the_reference_shows_what_is_printed() -> None:
    """Its example is of this version."""
    page = (Path(__file__).parents[2] / "docs/reference/doctor.md").read_text()
    example = json.loads(page.split("```json\n")[1].split("```")[0])
    titles = {check.id: check.title for check in CHECKS}
    assert all(set(each) == {"id", "check", "state", "exit_code", "notes"} and titles[each["id"]] == each["check"] for each in example)
