"""What systemd is told, received on a real datagram socket as systemd would."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from detector.supervisor import LONGEST_STATUS, Supervisor


class Systemd:
    """The other end of $NOTIFY_SOCKET."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind("\0" + address[1:] if address.startswith("@") else address)
        self._socket.setblocking(False)

    def heard(self) -> list[list[str]]:
        """The lines of each message since the last time."""
        found = []
        while True:
            try:
                found.append(self._socket.recv(4096).decode().split("\n"))
            except BlockingIOError:
                return found

    def close(self) -> None:
        self._socket.close()


@pytest.fixture(params=["path", "abstract"])
def systemd(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Systemd]:
    heard = Systemd(str(tmp_path / "notify") if request.param == "path" else f"@detector-test-{tmp_path.name}-{id(request)}")
    yield heard
    heard.close()


def well() -> tuple[bool, list[str]]:
    return True, []


def unwell() -> tuple[bool, list[str]]:
    return False, ["partition 1 is being restored", "20 s\nbehind"]


def test_ready_is_said_once_when_it_is_and_the_watchdog_is_fed_as_the_loop_turns(systemd: Systemd) -> None:
    supervisor = Supervisor(systemd.address)
    for tick, ready in ((1.0, unwell), (2.0, unwell), (3.0, well), (4.0, well)):
        supervisor.look(tick, ready)
    assert systemd.heard() == [
        ["STATUS=partition 1 is being restored; 20 s behind"],
        ["WATCHDOG=1"],
        ["WATCHDOG=1", "READY=1", "STATUS=ready"],
        ["WATCHDOG=1"],
    ]


def test_a_loop_that_stands_still_is_neither_ready_nor_kept_alive(systemd: Systemd) -> None:
    supervisor = Supervisor(systemd.address, patience=0.0)
    for _ in range(3):
        supervisor.look(1.0, well)
    assert systemd.heard() == [["STATUS=ready"]]
    supervisor.look(2.0, well)
    assert systemd.heard() == [["WATCHDOG=1", "READY=1"]]
    for _ in range(3):
        supervisor.look(2.0, well)
    assert systemd.heard() == []


def test_a_start_that_lasts_does_not_hold_up_the_machine_for_ever(systemd: Systemd) -> None:
    supervisor = Supervisor(systemd.address, patience=0.0)
    supervisor.look(1.0, unwell)
    supervisor.look(2.0, unwell)
    assert ["WATCHDOG=1", "READY=1"] in systemd.heard()


def test_a_reload_ends_when_the_loop_has_turned(systemd: Systemd) -> None:
    supervisor = Supervisor(systemd.address)
    supervisor.reloading()
    assert systemd.heard() == [], "while it starts, everything is read anyway"
    supervisor.look(1.0, well)
    supervisor.look(2.0, well)
    systemd.heard()
    supervisor.reloading()
    (told,) = systemd.heard()
    assert told[0] == "RELOADING=1" and told[1].removeprefix("MONOTONIC_USEC=").isdigit()
    supervisor.look(2.0, well)
    assert systemd.heard() == []
    supervisor.look(3.0, well)
    supervisor.look(4.0, well)
    assert systemd.heard() == [["WATCHDOG=1", "READY=1"], ["WATCHDOG=1"]]


def test_readiness_that_cannot_be_known_and_a_long_reason_do_no_harm(systemd: Systemd) -> None:
    def torn() -> tuple[bool, list[str]]:
        raise RuntimeError("dictionary changed size during iteration")

    supervisor = Supervisor(systemd.address)
    supervisor.look(1.0, torn)
    supervisor.look(2.0, torn)
    supervisor.look(3.0, lambda: (False, ["x" * 10_000]))
    assert systemd.heard() == [["WATCHDOG=1"], ["WATCHDOG=1", "STATUS=" + "x" * LONGEST_STATUS]]


def test_nobody_listening_is_no_failure_and_what_was_lost_is_said_again(tmp_path: Path) -> None:
    address = str(tmp_path / "notify")
    supervisor = Supervisor(address)
    supervisor.look(1.0, well)
    supervisor.look(2.0, well)
    supervisor.stopping()
    late = Systemd(address)
    supervisor.look(3.0, well)
    supervisor.stopping()
    assert late.heard() == [["WATCHDOG=1", "READY=1", "STATUS=ready"], ["STOPPING=1", "STATUS=stopping"]]
    late.close()


def test_a_listener_that_does_not_read_holds_up_nothing(systemd: Systemd) -> None:
    supervisor = Supervisor(systemd.address)
    for tick in range(5000):  # more than a socket's queue holds
        supervisor.look(float(tick), well)
    assert 0 < len(systemd.heard()) < 5000


def test_without_a_supervisor_nothing_is_asked_or_sent() -> None:
    def asked() -> tuple[bool, list[str]]:
        raise AssertionError("nobody wants to know")

    supervisor = Supervisor("")
    supervisor.look(1.0, asked)
    supervisor.reloading()
    supervisor.stopping()
