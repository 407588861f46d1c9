"""What systemd hears of a real service, on a real notify socket."""

from __future__ import annotations

import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from harness import Serving, Stand, wait
from office import Office

from detector.sandbox.broker import Broker

pytestmark = pytest.mark.broker
QUIET = 4.0
"""Seconds without a sign of life; one comes every second otherwise."""


@pytest.fixture
def systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "notify"))
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        yield listener


@pytest.fixture
def stand(office: Office, broker: Broker, tmp_path: Path, unique: Callable[[str], str]) -> Stand:
    return office.stand(broker, tmp_path, unique)


def until(systemd: socket.socket, word: str, seconds: float = 120.0) -> list[str]:
    """Every line that was heard, up to `word`."""
    systemd.settimeout(seconds)
    lines: list[str] = []
    while word not in lines:
        lines += systemd.recv(4096).decode().split("\n")
    return lines


def is_quiet(systemd: socket.socket) -> bool:
    try:
        until(systemd, "WATCHDOG=1", QUIET)
    except TimeoutError:
        return True
    return False


def test_systemd_hears_when_it_is_ready_that_it_lives_reloads_and_stops(stand: Stand, systemd: socket.socket) -> None:
    with Serving(stand) as service:
        lines = until(systemd, "READY=1")
        assert service.get("/readyz")[0] == 200 and "STOPPING=1" not in lines
        for _ in range(3):
            until(systemd, "WATCHDOG=1", 10.0)
        service.process.send_signal(signal.SIGHUP)
        assert "READY=1" not in until(systemd, "RELOADING=1", 5.0)
        assert "STOPPING=1" not in until(systemd, "READY=1", 10.0)
        assert service.stop() == 0
        assert "STOPPING=1" in until(systemd, "STOPPING=1", 5.0)


def test_a_loop_that_stands_still_is_not_kept_alive_by_its_other_threads(
    office: Office, stand: Stand, systemd: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DETECTOR_FAILPOINT", "after_send:20:hang")
    with Serving(stand) as service:
        until(systemd, "READY=1")
        events = iter(office.live)
        wait(lambda: bool(stand.feed([next(events)])) and service.log.read_text().count("after_send") >= 2, 120, "the loop hangs", 0.1)
        wait(lambda: is_quiet(systemd), 60, "systemd hears no more")
        assert service.get("/metrics")[0] == 200 and service.process.poll() is None, "the process lives, and other threads in it"
        service.process.send_signal(signal.SIGABRT)  # what systemd does then
        assert service.process.wait(30) == -signal.SIGABRT and "in _hang" in service.log.read_text(), "it says where it stood"
