"""The service as an operator meets it: it starts, becomes ready, is stopped and started again, and says why where it cannot."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
from harness import PARTITIONS, Serving, Stand, detector, flat, wait
from kafka import KafkaAdminClient, KafkaConsumer, OffsetAndMetadata, TopicPartition
from office import Office
from oracle import (
    Truth,
    all_delivered,
    assert_chained,
    assert_delivered_up_to_the_committed_offsets,
    assert_exact,
    assert_snapshots,
    committed,
    home,
    truth,
)  # fmt: skip

from detector.logs import ALWAYS
from detector.sandbox.broker import free_port

pytestmark = pytest.mark.broker
SMALL = {"max_age": 1e10, "batch_limit": 20}
"""So that a stop meets work under way: hundreds of transactions."""


@pytest.fixture(scope="module")
def nowhere(office: Office, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[float, subprocess.Popen[str]]]:
    """A service whose broker is not there, since when; started first, because it has a minute to give up."""
    config = tmp_path_factory.mktemp("nowhere") / "detector.toml"
    config.write_text(
        f'[kafka]\nbootstrap_servers = ["127.0.0.1:{free_port()}"]\n[models]\nregistry = "{office.folder}/models"\n[metrics]\nport = 0\n'
    )
    command = [sys.executable, "-m", "detector.cli", "serve", "--config", str(config)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    yield time.monotonic(), process
    process.kill()
    process.wait()


def test_it_becomes_ready_answers_probes_and_ends_with_0(nowhere, office, broker, tmp_path, unique):
    stand = office.stand(broker, tmp_path, unique)
    with Serving(stand) as service:
        service.until_ready()
        assert service.get("/livez")[0] == 200
        assert service.get("/nothing")[0] == 404
        assert service.metric("detector_partitions") == PARTITIONS
        assert service.metric("detector_model_info") == 1
        assert stand.feed(office.live[:100]) == 100
        wait(lambda: service.metric("detector_events_total") == 100, 60, "the events are scored")
        assert service.stop(20.0) == 0
    lines = [flat(line) for line in service.log.read_text().splitlines()]
    assert all(ALWAYS.keys() <= line.keys() for line in lines)
    assert not [line for line in lines if "error.type" in line or line["log.level"] == "error"]
    assert [line["message"] for line in lines if line["log.logger"] == "detector.serve"][-1] == "stopped"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_stopped_under_load_it_ends_with_0_and_the_next_start_goes_on(number, office, broker, tmp_path, unique):
    stand = office.stand(broker, tmp_path, unique, input=SMALL)
    sent = stand.feed(office.live)
    expected = truth(stand, office.starts)
    for outputs, least in ((expected.alerts, 30), (expected.notables, 100), (expected.daily, 3 * PARTITIONS)):
        assert sum(map(len, outputs.values())) >= least, "too little for the comparison to mean anything"
    for least in (1, sent // 4):
        with Serving(stand) as service:
            wait(partial(_has_scored, service, least), 60, "it is at work")
            service.process.send_signal(number)
            assert service.process.wait(20.0) == 0
        assert_delivered_up_to_the_committed_offsets(stand, expected)
        assert 0 < sum(at[0] for at in committed(stand).values() if at) < sent, "the stop did not meet work under way"
    finish(stand, expected)


def _has_scored(service: Serving, least: int) -> bool:
    return service.metric("detector_events_total") >= least


def finish(stand: Stand, expected: Truth, seconds: float = 60.0) -> None:
    """One more start that works off the rest; then all is exact."""
    with Serving(stand) as service:
        wait(lambda: all_delivered(stand, expected), seconds, "all is delivered")
        assert service.stop() == 0
    assert_exact(stand, expected)
    assert_snapshots(stand, expected)


def test_events_before_alerts_start_alert_nothing_and_the_first_start_decides(office, broker, tmp_path, unique):
    day = 86_400_000
    later = office.starts + 2 * day
    stand = office.stand(broker, tmp_path, unique, alerts={"start": str(later)})
    stand.feed(office.live[: len(office.live) // 2])
    with Serving(stand) as service:
        wait(lambda: service.metric("detector_events_total") >= len(office.live) // 2, 60, "the first half is scored")
        assert service.stop() == 0
    stand.sections["alerts"]["start"] = str(office.starts)
    stand.feed(office.live[len(office.live) // 2 :])
    expected = truth(stand, later)
    assert truth(stand, office.starts).alerts != expected.alerts
    times = [json.loads(value)["time"] for values in expected.alerts.values() for _, value in values]
    assert times and min(times) >= later
    finish(stand, expected)


def test_by_default_alerts_start_with_the_first_start_ever(office, broker, tmp_path, unique):
    stand = office.stand(broker, tmp_path, unique, alerts={"start": ""})
    before = time.time_ns() // 1_000_000
    with Serving(stand) as service:
        service.until_ready()
        known = time.time_ns() // 1_000_000
        wait(lambda: all(committed(stand).values()), 60, "the start is noted, though there are no events")
        assert service.stop() == 0
    first = {p: at[1].alerts_start for p, at in committed(stand).items() if at}
    assert len(first) == PARTITIONS and all(before <= start <= known for start in first.values())
    sent = stand.feed(office.live[-500:])
    with Serving(stand) as service:
        wait(lambda: service.metric("detector_events_total") == sent, 30, "the events are scored")
        assert service.stop() == 0
    assert {p: at[1].alerts_start for p, at in committed(stand).items() if at} == first
    assert not any(stand.read(stand.alerts).values()), "these happened before the service was first started"


def test_a_log_that_has_lost_its_beginning_is_read_from_where_it_begins(office, broker, tmp_path, unique):
    stand, half = office.stand(broker, tmp_path, unique), len(office.live) // 2
    stand.feed(office.live[:half])
    delete(stand, 100)
    finish(stand, truth(stand, office.starts))
    told = stand.read(stand.alerts)
    delete(stand, 300)
    stand.feed(office.live[half:])
    with Serving(stand) as service:
        wait(lambda: service.metric("detector_events_total") >= len(office.live) - half, 60, "the second half is scored")
        assert service.stop() == 0
    for p, values in stand.read(stand.alerts).items():
        assert values[: len(told[p])] == told[p] and len(values) > len(told[p])
        assert_chained(values)


def delete(stand: Stand, before: int) -> None:
    """As retention does."""
    admin = KafkaAdminClient(**stand.settings)
    admin.delete_records({TopicPartition(stand.events, p): before for p in range(PARTITIONS)})
    admin.close()


def refused(stand: Stand, *more: str, seconds: float = 45.0, **options: Any) -> tuple[int, str]:
    """Exit code and last words of a service that cannot start."""
    ended = detector("serve", "--config", str(stand.config()), *more, check=False, timeout=seconds, **options)
    assert "Traceback" not in ended.stderr
    words = [line for line in ended.stderr.splitlines() if not line.startswith("{")]
    return ended.returncode, "\n".join(words)


def test_offsets_that_somebody_else_committed_refuse_that_partition_and_others_go_on(office, broker, tmp_path, unique):
    stand = office.stand(broker, tmp_path, unique)
    stand.feed(office.live[:200])
    client = KafkaConsumer(**stand.settings, group_id=stand.group, enable_auto_commit=False)
    client.commit({TopicPartition(stand.events, 1): OffsetAndMetadata(1, "x", -1)})
    client.close()
    of_others = sum(home(key.decode()) != 1 for key, _ in office.live[:200])
    with Serving(stand) as service:
        wait(lambda: service.metric("detector_events_total") == of_others, 60, "the other partitions are processed")
        status, words = service.get("/readyz")
        assert status == 503 and "partition 1 is refused" in words and "delete the group's offsets" in words
        assert service.metric("detector_refused_partitions") == 1
        assert service.stop() == 0


@pytest.mark.parametrize("missing", ["events", "alerts", "notables", "daily", "state", "dead_letters"])
def test_a_topic_that_is_not_there_ends_it_with_6(missing, office, broker, tmp_path, unique):
    stand = office.stand(broker, tmp_path, unique)
    stand.sections["topics"][missing] = unique("never-made")
    code, words = refused(stand)
    assert code == 6
    assert stand.sections["topics"][missing] in words and "detector topics create" in words


def _unknown_key(stand: Stand) -> None:
    stand.sections["input"]["max_aeg"] = 1


def _no_model(stand: Stand) -> None:
    stand.sections["models"]["registry"] = str(stand.folder / "nothing")


def _no_context(stand: Stand) -> None:
    stand.sections["context"]["folder"] = str(stand.folder / "nothing")


@pytest.mark.parametrize(
    ("spoil", "code", "named"),
    [(_unknown_key, 3, "max_aeg"), (_no_context, 3, "nothing"), (_no_model, 4, "detector train")],
    ids=["an unknown key", "no context", "no model"],
)
def test_what_it_cannot_start_with_is_named(spoil: Callable[[Stand], None], code, named, office, broker, tmp_path, unique):
    stand = office.stand(broker, tmp_path, unique)
    spoil(stand)
    found, words = refused(stand)
    assert found == code
    assert named in words


def test_a_port_in_use_ends_it_with_3(office, broker, tmp_path, unique):
    stand = office.stand(broker, tmp_path, unique)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        code, words = refused(stand, "--set", f"metrics.port={port}")
    assert code == 3
    assert str(port) in words and "metrics.port" in words


def test_a_broker_that_is_not_there_ends_it_with_6(nowhere):
    began, process = nowhere
    _, words = process.communicate(timeout=max(90.0 - (time.monotonic() - began), 1.0))
    assert process.returncode == 6
    assert "is the broker running" in words and "Traceback" not in words
