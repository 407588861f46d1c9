"""The endpoints answer over a real socket, and no client can hold them up."""

from __future__ import annotations

import json
import socket
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from detector import endpoints
from detector.endpoints import Endpoints, Health
from detector.errors import ConfigError


def well() -> tuple[bool, list[str]]:
    return True, []


@contextmanager
def served(live: Health = well, ready: Health = well) -> Iterator[Endpoints]:
    served = Endpoints("127.0.0.1", 0, lambda: b"detector_events_total 3\n", live, ready)
    try:
        yield served
    finally:
        served.close()


def get(at: Endpoints, path: str) -> tuple[int, bytes]:
    try:
        with urllib.request.urlopen(f"http://{at.host}:{at.port}{path}", timeout=10) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def test_metrics_are_served() -> None:
    with served() as at:
        assert get(at, "/metrics") == (200, b"detector_events_total 3\n")


def test_health_is_200_or_503_with_the_reasons() -> None:
    state = [(True, []), (False, ["2 partitions are being restored"])]
    with served(ready=lambda: state.pop(0)) as at:
        status, body = get(at, "/readyz")
        assert (status, json.loads(body)) == (200, {"ok": True, "reasons": []})
        status, body = get(at, "/readyz")
        assert (status, json.loads(body)) == (503, {"ok": False, "reasons": ["2 partitions are being restored"]})
        assert get(at, "/livez?verbose")[0] == 200


def test_a_health_check_that_fails_is_a_500_and_not_the_end() -> None:
    with served(live=lambda: (bool(1 / 0), [])) as at:
        assert get(at, "/livez") == (500, b"ZeroDivisionError\n")
        assert get(at, "/metrics")[0] == 200


@pytest.mark.parametrize("path", ["/", "/metrics/../etc/passwd", "/debug"])
def test_nothing_else_is_served(path: str) -> None:
    with served() as at:
        assert get(at, path)[0] == 404


def test_a_silent_client_holds_up_no_other() -> None:
    with served() as at, socket.create_connection((at.host, at.port)) as silent:
        silent.sendall(b"GET /metr")
        assert get(at, "/metrics")[0] == 200


def test_a_silent_client_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoints, "SLOWEST", 0.2)
    with served() as at, socket.create_connection((at.host, at.port), timeout=10) as silent:
        assert silent.recv(1) == b""


def test_more_clients_than_there_are_places_are_turned_away_and_the_places_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoints, "MOST_CLIENTS", 2)
    with served() as at:
        silent = [socket.create_connection((at.host, at.port), timeout=10) for _ in range(2)]
        with socket.create_connection((at.host, at.port), timeout=10) as third:
            assert third.recv(1) == b""
        for client in silent:
            client.close()
        for _ in range(1000):
            try:
                assert get(at, "/metrics")[0] == 200
                break
            except (urllib.error.URLError, ConnectionError):
                continue
        else:
            pytest.fail("no place came back")


def test_after_close_nobody_listens_and_no_thread_is_left() -> None:
    before = set(threading.enumerate())
    with served() as at:
        get(at, "/metrics")
    with pytest.raises(OSError):
        socket.create_connection((at.host, at.port), timeout=1)
    assert not [thread for thread in set(threading.enumerate()) - before if thread.name == "endpoints"]


def test_a_taken_port_is_a_configuration_error_that_says_what_to_do() -> None:
    with served() as at, pytest.raises(ConfigError, match=r"set metrics\.port"):
        Endpoints("127.0.0.1", at.port, lambda: b"", well, well)
