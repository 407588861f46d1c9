"""`detector verify`: of files, of a topic, against what was written down."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "core"))
from alert_logs import Writer, edited, written

from detector.core import heartbeats
from detector.kafka import topics
from detector.kafka.producer import Producer
from detector.sandbox.broker import Broker

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def verify(tmp_path: Path) -> Run:
    def run(*words: str, **settings: str) -> subprocess.CompletedProcess[str]:
        command = (sys.executable, "-m", "detector.cli", "verify", *words)
        return subprocess.run(command, cwd=tmp_path, env=os.environ | settings, capture_output=True, text=True, timeout=120)

    return run


def save(path: Path, log: list[bytes]) -> None:
    path.write_bytes(b"\n".join(log) + b"\n")


def test_an_exported_copy_is_right_and_says_how_much_it_holds(verify: Run, tmp_path: Path) -> None:
    log = written(5, 2)
    save(tmp_path / "alerts.ndjson", log)
    done = verify("--file", "alerts.ndjson", "--complete")
    assert (done.returncode, done.stderr) == (0, "")
    task, *_ = (line for line in done.stdout.splitlines() if line.startswith("access-events-0 (employee)"))
    assert task.endswith("right") and "2026-09-" in task
    (tmp_path / "packed.ndjson.gz").write_bytes(gzip.compress(b"\n".join(log)))
    assert verify("--file", "packed.ndjson.gz").stdout == done.stdout


def test_each_fault_is_a_line_that_names_the_record_and_the_exit_code_is_5(verify: Run, tmp_path: Path) -> None:
    log = written(5, 2)
    del log[9]
    log[14] = edited(log[14], Random(1))
    log.insert(20, b"\x1b[31mno alert\xff")
    save(tmp_path / "alerts.ndjson", log)
    done = verify("--file", "alerts.ndjson")
    *faults, last = done.stderr.splitlines()
    assert done.returncode == 5 and last == "detector: 3 things are wrong with 28 records"
    assert len(faults) == 3
    for line, kind in ((10, "missing"), (15, "altered"), (21, "altered")):
        assert any(f"(alerts.ndjson line {line}) {kind}: " in fault for fault in faults)
    assert "\x1b" not in done.stdout + done.stderr
    told = [json.loads(line) for line in verify("--file", "alerts.ndjson", "--json").stdout.splitlines()]
    assert [one.get("ok") for one in told] == [False, True, None]
    assert told[0]["first_fault"]["place"] == {"log": "alerts.ndjson", "line": 10} and told[2]["unknown"] == 1


def test_what_it_prints_can_be_given_back_to_it_later(verify: Run, tmp_path: Path) -> None:
    log = written(5, 2)
    save(tmp_path / "early.ndjson", log[:20])
    save(tmp_path / "late.ndjson", log)
    save(tmp_path / "short.ndjson", log[:12])
    (tmp_path / "heads.ndjson").write_text(verify("--file", "early.ndjson", "--json").stdout)
    assert verify("--file", "late.ndjson", "--head", "heads.ndjson").returncode == 0
    short = verify("--file", "short.ndjson", "--head", "heads.ndjson")
    assert short.returncode == 5 and "truncated" in short.stderr
    (tmp_path / "heads.ndjson").write_text('{"seq":1}\n')
    refused = verify("--file", "late.ndjson", "--head", "heads.ndjson")
    assert refused.returncode == 3 and "heads.ndjson: line 1" in refused.stderr


def test_an_empty_log_is_not_called_right_in_silence(verify: Run, tmp_path: Path) -> None:
    (tmp_path / "nothing.ndjson").touch()
    assert "nothing was verified" in verify("--file", "nothing.ndjson").stderr
    assert verify("--file", "is-not-there.ndjson").returncode == 3


@pytest.mark.broker
def test_a_topic_is_verified_in_its_partitions(verify: Run, broker: Broker, unique: Callable[[str], str]) -> None:
    name, settings = unique("alerts"), {"bootstrap_servers": [broker.bootstrap]}
    where = {"DETECTOR__TOPICS__ALERTS": name, "DETECTOR__KAFKA__BOOTSTRAP_SERVERS": broker.bootstrap}
    assert verify(**where).returncode == 6  # it is not there
    topics.create(settings, [topics.Topic(name, 3)])
    with Producer(settings) as producer:
        log = written(7, 2, 200)
        for value in log:
            send(producer, name, value)
        producer.flush(30)
        done = verify("--complete", **where)
        assert done.returncode == 0, done.stderr
        assert done.stdout.count("right") == 2
        heads = verify("--json", **where).stdout
        send(producer, name, Writer().alert("e9"))
        producer.flush(30)
    forged = verify(**where)
    assert forged.returncode == 5 and " forged: " in forged.stderr and f"({name}-" in forged.stderr and " offset " in forged.stderr
    assert sum(json.loads(line)["alerts"] for line in heads.splitlines()) == sum(b'"alert_id"' in value for value in log)


@pytest.mark.broker
def test_what_was_deleted_at_the_beginning_of_a_partition_is_said_and_is_no_fault(
    verify: Run, broker: Broker, unique: Callable[[str], str]
) -> None:
    from kafka import KafkaAdminClient, TopicPartition

    name, settings = unique("alerts"), {"bootstrap_servers": [broker.bootstrap]}
    where = {"DETECTOR__TOPICS__ALERTS": name, "DETECTOR__KAFKA__BOOTSTRAP_SERVERS": broker.bootstrap}
    topics.create(settings, [topics.Topic(name, 2)])
    writer = Writer()
    with Producer(settings) as producer:
        for number in range(40):
            producer.send(name, None, writer.alert(f"e{number % 2}"), partition=number % 2)
            producer.send(name, None, writer.heartbeat(), partition=0)
            producer.flush(30)
            time.sleep(0.002)
    admin = KafkaAdminClient(**settings)
    try:
        admin.delete_records({TopicPartition(name, 1): 5})
    finally:
        admin.close()
    done = verify(**where)
    assert done.returncode == 0 and "5 alerts are no longer in the log" in done.stdout, done.stdout + done.stderr
    assert verify("--complete", **where).returncode == 5


def send(producer: Producer, topic: str, value: bytes) -> None:
    record = json.loads(value)
    beats = record["kind"] == "heartbeat"
    producer.send(topic, heartbeats.key(Writer(record["partition"]).origin) if beats else record["actor"].encode(), value)
