"""A broker that dies, stops, freezes, is slow on purpose, or has no room left: C1 to C3, C12 and C13. Services are left alone; each goes on
by itself, and in the end all is as if nothing had happened.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from bad_records import mixed
from harness import Serving, Stand, frozen, wait
from office import Office
from oracle import Truth, all_delivered, assert_exact, committed, truth
from proxy import Fate, Proxy, in_front_of
from wire import Request

from detector.sandbox.broker import Broker, free_port
from detector.sandbox.jars import classpath
from detector.sandbox.java import java

pytestmark = pytest.mark.broker
SMALL = {"max_age": 1e10, "batch_limit": 10}
"""So that the fault meets a transaction: hundreds of them follow each other."""
RESUMED = 15.0
"""Seconds after which a service is at work again once its broker is ready."""


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Broker, Proxy]]:
    own = Broker(tmp_path_factory.mktemp("own"))
    with in_front_of(own) as proxy, own:
        yield own, proxy


def laid_out(office: Office, own: Broker, folder: Path, unique, events: int = 1500, via: str = "") -> tuple[Stand, Truth]:
    """All events are there already: work for the whole of the test. `via`: what services are told to connect to."""
    stand = office.stand(own, folder, unique, input=SMALL)
    stand.feed(mixed(office.live[:events], 1))
    stand.sections["kafka"]["bootstrap_servers"] = [via or own.bootstrap]
    return stand, truth(stand, office.starts)


def at_work(service: Serving, more_than: float = 100) -> None:
    wait(lambda: service.metric("detector_events_total") > more_than, 60, "it is at work")


def finished(stand: Stand, expected: Truth, service: Serving, seconds: float = 90) -> None:
    wait(lambda: all_delivered(stand, expected), seconds, "all is delivered", 0.5)
    assert service.get("/livez")[0] == 200
    assert service.stop() == 0
    assert_exact(stand, expected)


def under_way(stand: Stand, expected: Truth) -> bool:
    return sum(at[0] for at in committed(stand).values() if at) < expected.records


def resumes(service: Serving, seconds: float = RESUMED) -> None:
    name = "detector_transaction_seconds_count"
    before = service.metric(name)
    wait(lambda: service.metric(name) > before, seconds, "it is at work again")


STEPS = ("AddPartitionsToTxn", "Produce", "AddOffsetsToTxn", "TxnOffsetCommit", "EndTxn")


@pytest.mark.parametrize(
    ("step", "seconds"),
    [
        ("EndTxn", 0.0),
        *(pytest.param(step, 2.0, marks=pytest.mark.slow) for step in STEPS),
        pytest.param("EndTxn", 30.0, marks=pytest.mark.slow),
        pytest.param("Produce", 300.0, marks=pytest.mark.slow),
    ],
)
def test_C1_a_broker_killed_at_a_step_of_a_transaction_finds_the_service_going_on(step, seconds, office, line, tmp_path, unique):
    """It is down for so many seconds, and for as long as its start takes."""
    own, proxy = line
    proxy.reset()
    stand, expected = laid_out(office, own, tmp_path, unique, via=proxy.bootstrap)

    def fate(request: Request) -> Fate:
        if request.api == step and request.nth == 30 and (pid := own.pid):
            os.kill(pid, signal.SIGKILL)
        return None

    proxy.fate = fate
    with Serving(stand) as service:
        wait(lambda: own.pid is None, 60, f"a {step} kills the broker")
        wait(lambda: service.metric("detector_doubts_total") > 0, 60, "the service noticed")
        assert service.metric("detector_connected") == 0
        time.sleep(seconds)  # the length of the fault
        own.start()
        assert under_way(stand, expected), "the kill did not meet work under way"
        resumes(service)
        wait(lambda: service.metric("detector_connected") == 1, 30, "it says that it is connected")
        assert service.metric("detector_producer_rebuilds_total") > 0
        finished(stand, expected, service)


def test_C2_a_broker_that_is_stopped_in_order_and_started_finds_the_service_going_on(office, line, tmp_path, unique):
    own, _ = line
    stand, expected = laid_out(office, own, tmp_path, unique)
    with Serving(stand) as service:
        at_work(service)
        own.stop()
        own.start()
        assert under_way(stand, expected), "the stop did not meet work under way"
        resumes(service)
        finished(stand, expected, service)


@pytest.fixture(scope="module")
def with_tls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Broker, dict[str, object]]]:
    """A broker with a listener more, and the settings of a client that uses it."""
    folder, port = tmp_path_factory.mktemp("tls"), free_port()
    key, certificate, both = folder / "key.pem", folder / "ca.pem", folder / "broker.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost", "-keyout", str(key),
         "-addext", "subjectAltName=IP:127.0.0.1", "-out", str(certificate)], check=True, capture_output=True,
    )  # fmt: skip
    both.write_text(key.read_text() + certificate.read_text())
    own = Broker(folder / "broker", settings={"ssl.keystore.type": "PEM", "ssl.keystore.location": str(both)})
    for setting, more in (
        ("listeners", f"TLS://127.0.0.1:{port}"), ("advertised.listeners", f"TLS://127.0.0.1:{port}"),
        ("listener.security.protocol.map", "TLS:SSL"),
    ):  # fmt: skip
        own._settings[setting] += "," + more
    with own:
        yield own, {"bootstrap_servers": [f"127.0.0.1:{port}"], "security_protocol": "SSL", "ssl_cafile": str(certificate)}


LENGTHS = [3.0, pytest.param(15.0, marks=pytest.mark.slow), pytest.param(60.0, marks=pytest.mark.slow)]


@pytest.mark.parametrize("seconds", LENGTHS)
def test_C3_a_broker_that_froze_finds_the_service_going_on(seconds, office, line, tmp_path, unique):
    own, _ = line
    freeze(own, *laid_out(office, own, tmp_path, unique), seconds)


@pytest.mark.parametrize("seconds", LENGTHS)
def test_C3_a_broker_that_froze_amid_TLS_finds_the_service_going_on(seconds, office, with_tls, tmp_path, unique):
    own, client = with_tls
    stand, expected = laid_out(office, own, tmp_path, unique)
    stand.sections["kafka"] = client
    freeze(own, stand, expected, seconds)


def freeze(own: Broker, stand: Stand, expected: Truth, seconds: float) -> None:
    with Serving(stand) as service:
        at_work(service)
        with frozen(own):
            time.sleep(seconds)  # the length of the fault
            assert service.get("/livez")[0] == 200
        assert under_way(stand, expected), "the fault did not meet work under way"
        resumes(service)
        finished(stand, expected, service)


def test_C3_a_start_that_meets_a_frozen_TLS_broker_ends_with_6_within_a_minute(office, with_tls, tmp_path, unique):
    """D9 with a service: kafka-python would wait for the end of the handshake for ever."""
    own, client = with_tls
    stand = office.stand(own, tmp_path, unique, input=SMALL)
    stand.sections["kafka"] = client
    with frozen(own), Serving(stand) as service:
        assert service.process.wait(60) == 6
    said = service.log.read_text()
    assert "no answer in time" in said and "Traceback" not in said


def quota(own: Broker, **rates: int) -> None:
    """For every client; none: as it was. kafka-python has no call for it."""
    change = ["--add-config", ",".join(f"{name}={rate}" for name, rate in rates.items())] if rates else []
    change = change or ["--delete-config", "producer_byte_rate,consumer_byte_rate"]
    command = [str(java()), "-cp", classpath(), "kafka.admin.ConfigCommand", "--bootstrap-server", own.bootstrap, "--alter"]
    subprocess.run([*command, *change, "--entity-type", "clients", "--entity-default"], check=bool(rates), capture_output=True, timeout=60)


def test_C12_a_client_that_is_throttled_falls_behind_and_nothing_else(office, line, tmp_path, unique):
    own, _ = line
    stand, expected = laid_out(office, own, tmp_path, unique, 3000)
    quota(own, producer_byte_rate=20_000, consumer_byte_rate=20_000)
    try:
        with Serving(stand) as service:
            at_work(service, 20)
            rebalances = service.metric("detector_rebalances_total")
            wait(lambda: service.metric("detector_lag_records") > 0, 60, "it falls behind")
            began = service.metric("detector_events_total")
            time.sleep(8)  # the length of the fault
            assert under_way(stand, expected), "it was not throttled"
            assert service.metric("detector_events_total") > began, "it stands still"
            assert service.get("/livez")[0] == 200
            assert service.metric("detector_rebalances_total") == rebalances
            assert service.metric("detector_doubts_total") == 0
            quota(own)
            finished(stand, expected, service)
    finally:
        quota(own)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, which a test may fill."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=300m", "tmpfs", str(folder)], capture_output=True, text=True, check=False)
    if mounted.returncode:
        pytest.skip(f"a file system may not be mounted here: {mounted.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_C13_a_broker_without_room_stops_and_resumes_with_room_and_nothing_is_lost(small_disk, office, tmp_path, unique):
    own = Broker(small_disk / "broker")
    with own:
        stand, expected = laid_out(office, own, tmp_path, unique)
        with Serving(stand) as service:
            at_work(service)
            filler = small_disk / "filler"
            fill(filler)
            wait(lambda: own.pid is None, 60, "the broker gives up")
            assert service.process.poll() is None
            filler.unlink()
            own.start()
            assert under_way(stand, expected), "it was finished before the disk was full"
            resumes(service, 30.0)
            finished(stand, expected, service)


def fill(file: Path) -> None:
    with file.open("wb", buffering=0) as writing:
        for size in (1 << 20, 1 << 12, 1):
            try:
                while writing.write(b"\0" * size):
                    pass
            except OSError:
                continue
