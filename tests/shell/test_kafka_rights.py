"""Who needs which rights on Kafka: each role works with its own, and what is taken away is missed, on a real, secured Kafka."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from detector import registry
from detector.cli import kafka_checks, main
from detector.cli.checkup import examine
from detector.errors import BrokerError
from detector.kafka import topics
from detector.kafka.consumer import Consumer
from detector.kafka.producer import Producer
from detector.kafka.reader import Reader
from detector.kafka.rights import ROLES, Right, missing
from detector.kafka.security import client_settings
from detector.kafka.state_log import StateLog
from detector.kafka.transactions import Doubt, Message, Transactions
from detector.sandbox.broker import free_port
from tests.models import sound
from tests.secured import RIGHTS, TOPICS, Section, Secured, configured, eventually

pytestmark = pytest.mark.broker


@pytest.mark.parametrize("right", RIGHTS["service"], ids=str)
def test_each_right_of_the_service_is_missed_when_it_is_taken_away(right: Right, kafka: Secured, member: Section) -> None:
    kafka.revoke("member", right)
    try:
        eventually(lambda: refused(member) == f"no right to {right}: `{right.command('member', [kafka.sasl_tls])}`")
    finally:
        kafka.grant("member", [right])


def states(section: Section, **more: str) -> dict[str, str]:
    return {check.id: state for check, state, *_ in examine(configured(section, **more))}


def refused(section: Section) -> str:
    try:
        list(kafka_checks.rights(configured(section)))
    except BrokerError as error:
        return str(error)
    return ""


def test_with_its_rights_the_service_works_and_all_is_well(kafka: Secured, member: Section) -> None:
    eventually(lambda: not refused(member))
    serve(client_settings(member), "well")
    found = states(member)
    assert {check for check, state in found.items() if state == "failed"} == {"model"}
    assert "how long alerts wait for a verdict is not measured" in next(kafka_checks.rights(configured(member)))
    kafka.grant("member", RIGHTS["reviews"])
    eventually(lambda: list(kafka_checks.rights(configured(member))) == [])
    assert refused(kafka.user("nobody")).count("kafka-acls.sh") == len(RIGHTS["service"])


@pytest.mark.slow
@pytest.mark.parametrize("right", RIGHTS["service"], ids=str)
def test_without_any_of_its_rights_the_service_does_not_work(right: Right, kafka: Secured) -> None:
    name = f"lame {right}".replace("'", "").replace("*", "")
    section = kafka.user(name)
    kafka.grant(name, [other for other in RIGHTS["service"] if other != right])
    eventually(lambda: missing(client_settings(section), RIGHTS["service"]) == [right])
    with pytest.raises((BrokerError, Doubt)):
        serve(client_settings(section), f"lame-{RIGHTS['service'].index(right)}")


@pytest.mark.slow
def test_a_real_service_gets_along_with_these_rights(kafka: Secured, tmp_path: Path) -> None:
    section, source = kafka.user("real"), client_settings(kafka.user("feeder"))
    kafka.grant("real", RIGHTS["service"])
    kafka.grant("feeder", RIGHTS["source"])
    registry.save(tmp_path / "models", *sound())
    sections = {
        "kafka": section, "topics": {"partitions": 2, "replication": 1}, "models": {"registry": str(tmp_path / "models")},
        "metrics": {"port": free_port()}, "service": {"snapshot_interval": 1.0},
    }  # fmt: skip
    lines = [f"[{name}]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in said.items()) for name, said in sections.items()]
    (tmp_path / "detector.toml").write_text("".join(lines))
    command = [sys.executable, "-m", "detector.cli"]
    with (tmp_path / "log").open("wb") as log:
        serving = subprocess.Popen([*command, "serve", "--config", str(tmp_path / "detector.toml")], stderr=log)
    try:
        with Producer(source) as producer:
            for i in range(100):
                event = {"time": int(time.time() * 1000), "actor": f"e{i % 9}", "action": "read", "resource": "r", "subject": f"s{i}"}
                producer.send("access-events", f"e{i % 9}".encode(), json.dumps(event).encode())
            producer.flush(10.0)
        looking = configured(section, **{"service.snapshot_interval": "1"})
        eventually(lambda: "of 2 partitions" in next(kafka_checks.state(looking)), 90.0)
        assert serving.poll() is None
    finally:
        serving.terminate()
        assert serving.wait(30) == 0, (tmp_path / "log").read_text()


def serve(settings: dict[str, Any], ordinal: str) -> None:
    """All that the service does with Kafka, once."""
    if problems := topics.check(settings, topics.design({role: name for role, name in TOPICS.items() if role != "verdicts"}, 2)):
        raise BrokerError("\n".join(problems))
    consumer, transactions = Consumer(TOPICS["access-events"], "detector", settings, 6.0), Transactions(f"detector-{ordinal}", settings)
    log = None
    try:
        log = StateLog(settings, TOPICS["state-employee"])
        log.begin(0, log.bounds(0)[0])
        log.poll(0.5)
        transactions.settle(10.0)
        end = time.monotonic() + 20
        while consumer.membership() is None and time.monotonic() < end:
            consumer.poll(0.05, 1)
        assert consumer.committed([0]).keys() == {0}
        outputs = [Message(TOPICS[role], b"k", b"v", 0) for role in ("alerts", "notables", "daily", "dead-letters", "state-employee")]
        transactions.deliver(outputs, {(TOPICS["access-events"], 0): (0, "")}, consumer.membership())
    finally:
        transactions.close()
        consumer.close(2.0)
        if log is not None:
            log.close()


def read(settings: dict[str, Any], topic: str) -> None:
    with Reader(settings, topic) as reader:
        list(reader.read())


def write(settings: dict[str, Any], topic: str) -> None:
    with Producer(settings) as producer:
        producer.send(topic, b"k", b"v")
        producer.flush(10.0)


@pytest.mark.parametrize("role", ["source", "trainer", "investigator", "verifier", "mender"])
def test_a_role_can_do_its_work_with_its_rights_and_none_of_it_without(role: str, kafka: Secured) -> None:
    settings = client_settings(kafka.user(role))
    work = {right: {"Read": read, "Write": write}[right.operation] for right in RIGHTS[role]}
    for right, does in work.items():
        with pytest.raises(BrokerError, match=right.name):
            does(settings, right.name)
    kafka.grant(role, work)
    eventually(lambda: not missing(settings, work))
    for right, does in work.items():
        does(settings, right.name)


def test_the_maker_of_topics_can_make_and_check_them(kafka: Secured) -> None:
    settings, wanted = client_settings(kafka.user("maker")), [topics.Topic("made", 1, {"cleanup.policy": "delete"})]
    rights = [right._replace(name="made") for right in RIGHTS["maker"] if right.name == "alerts"]
    with pytest.raises(BrokerError, match="denies"):
        topics.create(settings, wanted)
    kafka.grant("maker", rights)
    eventually(lambda: not missing(settings, rights))
    assert topics.create(settings, wanted) == ["made"] and topics.check(settings, wanted) == []
    kafka.revoke("maker", rights[-1])
    eventually(lambda: topics.check(settings, wanted) != [])
    assert "grant DescribeConfigs on it" in topics.check(settings, wanted)[0]


def test_the_rights_of_a_shadow_are_enough_for_it_and_it_can_write_nothing(kafka: Secured) -> None:
    section = kafka.user("shadow")
    kafka.grant("shadow", RIGHTS["shadow"])
    eventually(lambda: not missing(client_settings(section), RIGHTS["shadow"]))
    found = states(section, **{"service.shadow": "true"})
    assert found["settings"] == found["state"] == "ok"
    assert "no right to Write on topic 'alerts'" in refused(section)
    with pytest.raises(BrokerError):
        write(client_settings(section), "alerts")
    with pytest.raises(BrokerError):
        read(client_settings(section), "state-employee")


def test_the_rights_are_printed_as_commands(kafka: Secured, capsys: pytest.CaptureFixture[str]) -> None:
    for role in ("service", "source"):
        assert main(["topics", "rights", role, "CN=some one", "--bootstrap-servers", "kafka-1:9093"]) == 0
        lines = capsys.readouterr().out.splitlines()
        assert lines == [right.command("CN=some one", ["kafka-1:9093"]) for right in RIGHTS[role]]
        assert all(
            line.startswith("kafka-acls.sh --bootstrap-server kafka-1:9093 --add --allow-principal 'User:CN=some one'") for line in lines
        )
    assert main(["topics", "rights", "nobody", "x"]) == 3
    assert ROLES.keys() == RIGHTS.keys()


def test_the_rights_are_those_that_the_page_shows() -> None:
    page = (Path(__file__).parents[2] / "docs/how-to/secure-kafka.md").read_text()
    rows = [[cell.strip() for cell in line.strip("| ").split("|")] for line in page.splitlines()]
    shown = [row for row in rows if len(row) == 3 and row[0] in ROLES]
    wanted: dict[tuple[str, str], list[str]] = {}
    for role, rights in RIGHTS.items():
        for right in rights:
            kind = "transactional ids" if right.prefixed else right.kind
            on = "each topic" if role == "maker" else f"{kind} `{right.name}{'*' if right.prefixed else ''}`"
            wanted.setdefault((role, on), [])
            if right.operation not in wanted[role, on]:
                wanted[role, on].append(right.operation)
    assert shown == [[role, on, ", ".join(operations)] for (role, on), operations in wanted.items()]
    assert [row[0] for row in rows if len(row) == 2 and row[0] in ROLES] == list(ROLES)
