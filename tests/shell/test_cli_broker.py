"""Commands that talk to a real Kafka: topics, doctor, sandbox."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from detector.kafka.producer import Producer
from detector.kafka.reader import Reader
from detector.sandbox.broker import Broker

Run = Callable[..., subprocess.CompletedProcess[str]]
pytestmark = pytest.mark.broker


@pytest.fixture
def detector(broker: Broker, unique: Callable[[str], str], tmp_path: Path) -> Run:
    names = {f"DETECTOR__TOPICS__{key}": unique(key.lower().replace("_", "-")) for key in ("EVENTS", "ALERTS", "DEAD_LETTERS", "VERDICTS")}
    environ = os.environ | names | {"DETECTOR__KAFKA__BOOTSTRAP_SERVERS": broker.bootstrap, "DETECTOR__TOPICS__PARTITIONS": "2"}

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        command = (sys.executable, "-m", "detector.cli", *words)
        return subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=120)

    run.names = names  # type: ignore[attr-defined]
    return run


def test_topics_are_made_once_and_then_fit(detector: Run) -> None:
    before = detector("topics", "check")
    assert before.returncode == 6 and before.stderr.count("detector topics create") == 7
    made = detector("topics", "create")
    assert made.returncode == 0 and made.stdout.count(": made") == 7
    again = detector("topics", "create")
    assert again.returncode == 0 and again.stdout.count(": was there") == 7
    assert detector("topics", "check").returncode == 0
    other = detector("topics", "check", "--partitions", "3")
    assert other.returncode == 6 and "has 2 partitions" in other.stderr


def test_the_doctor_tells_what_is_well_and_what_is_not(detector: Run) -> None:
    def states() -> dict[str, str]:
        return {result["id"]: result["state"] for result in json.loads(detector("doctor", "--json").stdout)}

    assert states()["topics"] == "failed" and states()["clock"] == "skipped"
    detector("topics", "create")
    assert {name for name, state in states().items() if state != "ok"} == {"model"} and detector("doctor").returncode == 4


def test_the_company_sends_its_events_keyed_by_actor(detector: Run, broker: Broker) -> None:
    detector("topics", "create")
    done = detector("sandbox", "company", "--employees", "60", "--rate", "200", "--seconds", "2")
    assert done.returncode == 0, done.stderr
    sent = int(done.stdout.split()[0].replace(",", ""))
    with Reader({"bootstrap_servers": [broker.bootstrap]}, detector.names["DETECTOR__TOPICS__EVENTS"]) as reader:  # type: ignore[attr-defined]
        records = [(some.part(some.key, i), some.part(some.value, i)) for some in reader.read() for i in range(len(some))]
    assert len(records) == sent > 0
    assert all(key == json.loads(value or b"")["actor"].encode() for key, value in records)
    assert "was stamped" in detector("doctor").stdout


def test_recorded_events_are_sent_as_they_are_under_their_actors_key(detector: Run, broker: Broker, tmp_path: Path) -> None:
    lines = [b'{"time":1,"actor":"e1","action":"read","resource":"r"}', b"not an event", rb'{"actor":"\u00fc2"}']
    (tmp_path / "events.ndjson").write_bytes(b"\n".join(lines))
    detector("topics", "create")
    sent = detector("sandbox", "load", "events.ndjson")
    assert sent.returncode == 0 and "3 events sent" in sent.stdout, sent.stderr
    found = []
    with Reader({"bootstrap_servers": broker.bootstrap}, detector.names["DETECTOR__TOPICS__EVENTS"]) as reader:  # type: ignore[attr-defined]
        for records in reader.read():
            found += [(records.part(records.key, row), records.part(records.value, row)) for row in range(len(records))]
    assert sorted(found, key=str) == sorted([(b"e1", lines[0]), (None, lines[1]), ("ü2".encode(), lines[2])], key=str)


def test_alerts_are_told_as_sentences(detector: Run, broker: Broker) -> None:
    detector("topics", "create")
    alert = {
        "kind": "employee", "time": 1_772_442_847_123, "severity": "high", "actor": "e1", "team": None, "rarity": 3.5,
        "reasons": [{"hypothesis": "export", "share": 0.7, "text": "exported a lot"}],
    }  # fmt: skip
    with Producer({"bootstrap_servers": broker.bootstrap}) as producer:
        producer.send(detector.names["DETECTOR__TOPICS__ALERTS"], b"e1", json.dumps(alert).encode())  # type: ignore[attr-defined]
        producer.flush(10)
    told = detector("sandbox", "alerts").stdout
    assert "HIGH     Mon 02 Mar 09:14 UTC  e1 (team unknown): as unusual as one employee-day in 3,160" in told
    assert " 70%  exported a lot" in told


def test_a_detached_sandbox_is_up_once_and_goes_down(tmp_path: Path) -> None:
    def sandbox(*words: str) -> subprocess.CompletedProcess[str]:
        command = (sys.executable, "-m", "detector.cli", "sandbox", *words, "--folder", str(tmp_path / "box"))
        return subprocess.run(command, capture_output=True, text=True, timeout=240)

    try:
        up = sandbox("up", "--detach", "--port", "0")
        assert up.returncode == 0, up.stderr
        environ = os.environ | {"DETECTOR__KAFKA__BOOTSTRAP_SERVERS": up.stdout.strip()}
        command = (sys.executable, "-m", "detector.cli", "topics", "create")
        assert subprocess.run(command, env=environ, cwd=tmp_path, capture_output=True, timeout=120).returncode == 0
        second = sandbox("up", "--detach", "--port", "0")
        assert second.returncode == 6 and "sandbox down" in second.stderr
    finally:
        down = sandbox("down")
    assert (down.returncode, down.stdout) == (0, "stopped\n")
    assert "nothing runs" in sandbox("down").stderr
