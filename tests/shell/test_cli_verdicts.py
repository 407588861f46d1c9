"""`detector verdicts`: what came of alerts is written, listed and taken along, on a real Kafka."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from detector.cli import main
from detector.core.verdicts import parse_case
from detector.kafka import topics
from detector.kafka.producer import Producer
from detector.sandbox.broker import Broker


class Done(NamedTuple):
    returncode: int
    stdout: bytes
    stderr: bytes


Run = Callable[..., Done]
pytestmark = pytest.mark.broker

ALERTS = [f"{i:032x}" for i in range(1, 5)]


def alert(identity: str, actor: str) -> bytes:
    reasons = [
        {"hypothesis": "harvest", "share": 0.6, "text": "looked", "signals": []},
        {"hypothesis": "foreign", "share": 0.4, "text": ""},
    ]
    said = {
        "alert_id": identity,
        "kind": "employee",
        "time": 1_790_000_000_000,
        "actor": actor,
        "subject": "u-secret",
        "incident_id": identity,
    }
    return json.dumps({**said, "reasons": reasons}).encode()


@pytest.fixture
def detector(
    broker: Broker, unique: Callable[[str], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]
) -> Run:
    """The command, with four alerts in their topic and a heartbeat, and rubbish among the verdicts."""
    names, settings = {"alerts": unique("alerts"), "verdicts": unique("verdicts")}, {"bootstrap_servers": [broker.bootstrap]}
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DETECTOR__KAFKA__BOOTSTRAP_SERVERS", broker.bootstrap)
    for name, topic in names.items():
        monkeypatch.setenv(f"DETECTOR__TOPICS__{name.upper()}", topic)
    topics.create(settings, topics.design(names, 2))
    with Producer(settings) as producer:
        for i, identity in enumerate(ALERTS):
            producer.send(names["alerts"], b"e%d" % i, alert(identity, f"e{i}"))
        producer.send(names["alerts"], b"access-events-0", b'{"kind":"heartbeat"}')
        producer.send(names["verdicts"], b"k", b'{"verdict":"\\u001b[2J","\\u001b[2J":1}')
        producer.flush(30)

    def run(*words: str) -> Done:
        capfdbinary.readouterr()
        return Done(main(["verdicts", *words]), *capfdbinary.readouterr())

    return run


def listed(detector: Run, *words: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in detector("list", "--json", *words).stdout.splitlines()]


def test_what_came_of_alerts_is_written_listed_and_taken_along(detector: Run, tmp_path: Path) -> None:
    first = detector("add", ALERTS[0], "false_positive", "--by", "Ann", "--note", "a\x1b[2J ticket")
    assert first.returncode == 0, first.stderr
    assert detector("add", ALERTS[0], "true_positive", "--by", "Bob").returncode == 0
    some = [{"alert_id": each, "verdict": "benign_expected", "by": "tool", "time": 1_790_000_000_001} for each in ALERTS[1:3]]
    (tmp_path / "some.ndjson").write_text("\n".join(map(json.dumps, some)) + "\n")
    assert detector("add", "--file", "some.ndjson").stdout.startswith(b"2 verdicts written")
    check_listed(detector)
    gone = detector("export", "--since", "2100-01-01T00:00:00Z")
    assert gone.returncode == 0 and gone.stdout == b""
    assert detector("export", "--out", "cases.ndjson").returncode == 0
    cases = {case.verdict.alert_id: case for case in map(parse_case, (tmp_path / "cases.ndjson").read_bytes().splitlines())}
    assert {identity: case.actor for identity, case in cases.items()} == dict(zip(ALERTS[:3], ("e0", "e1", "e2"), strict=True))
    assert cases[ALERTS[0]].verdict.verdict == "true_positive" and cases[ALERTS[0]].shares == {"harvest": 0.6, "foreign": 0.4}
    assert b"u-secret" not in (tmp_path / "cases.ndjson").read_bytes()
    (tmp_path / "alerts.ndjson").write_bytes(alert(ALERTS[1], "e9") + b"\n")
    taken = detector("export", "--alerts", "alerts.ndjson")
    assert [parse_case(line).actor for line in taken.stdout.splitlines()] == ["e9"] and b"2 are left out" in taken.stderr


def check_listed(detector: Run) -> None:
    assert {each["alert_id"]: (each["verdict"], each["by"]) for each in listed(detector)} == {
        ALERTS[0]: ("true_positive", "Bob"), ALERTS[1]: ("benign_expected", "tool"), ALERTS[2]: ("benign_expected", "tool"),
    }  # fmt: skip
    both = listed(detector, "--all", "--alert", ALERTS[0])
    assert [(each["by"], each["counts"]) for each in both] == [("Ann", False), ("Bob", True)]
    assert [each["alert_id"] for each in listed(detector, "--verdict", "true_positive")] == ALERTS[:1]
    text = detector("list", "--all")
    assert text.returncode == 0 and b"\x1b" not in text.stdout and b"Ann" in text.stdout and b"        2  benign_expected" in text.stdout
    assert b"1 records of" in text.stderr and b"`verdict`" in text.stderr and b"\x1b" not in text.stderr


def test_what_is_no_verdict_is_refused_and_nothing_is_written(detector: Run, tmp_path: Path) -> None:
    unknown = detector("add", "f" * 32, "false_positive")
    assert unknown.returncode == 3 and b"no alert in" in unknown.stderr
    for words in (("add", ALERTS[0]), ("add",), ("add", ALERTS[0], "false_positive", "--file", "x")):
        assert detector(*words).returncode == 3
    assert detector("add", ALERTS[0], "guilty").returncode == 2
    short = detector("add", "77", "false_positive")
    assert short.returncode == 3 and b"`alert_id`" in short.stderr
    good = {"alert_id": ALERTS[0], "verdict": "duplicate", "by": "x", "time": 1_790_000_000_001}
    (tmp_path / "bad.ndjson").write_text("\n".join(map(json.dumps, [good, {**good, "verdict": "?"}, {**good, "by": ""}])))
    bad = detector("add", "--file", "bad.ndjson")
    assert bad.returncode == 3 and b"bad.ndjson:2: `verdict`" in bad.stderr and b"bad.ndjson:3: `by`" in bad.stderr
    assert listed(detector) == []
    assert detector("add", "f" * 32, "false_positive", "--unchecked").returncode == 0
    assert [each["alert_id"] for each in listed(detector)] == ["f" * 32]
