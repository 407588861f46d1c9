from __future__ import annotations

import os
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from detector.errors import BrokerError
from detector.sandbox import broker as module
from detector.sandbox.broker import Broker, free_port, is_ready

pytestmark = pytest.mark.broker


def wait_until(condition: Callable[[], bool], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_the_shared_broker_answers(broker: Broker) -> None:
    assert is_ready(broker.port)
    assert broker.bootstrap == f"127.0.0.1:{broker.port}"


def test_nobody_listening_or_somebody_who_is_not_kafka_is_not_ready() -> None:
    assert not is_ready(free_port())
    with socket.create_server(("127.0.0.1", 0)) as server:
        assert not is_ready(server.getsockname()[1])


@pytest.mark.parametrize(("brokers", "ready"), [(0, False), (1, True)])
def test_a_controller_that_knows_no_broker_yet_is_not_ready(brokers: int, ready: bool) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, ThreadPoolExecutor(1) as pool:
        asked = pool.submit(is_ready, server.getsockname()[1])
        connection, _ = server.accept()
        with connection:
            connection.sendall(struct.pack(">iii", 8, 0, brokers))
            assert asked.result() is ready


def test_a_killed_or_stopped_broker_goes_on_with_its_port_and_data(tmp_path: Path) -> None:
    with Broker(tmp_path) as broker:
        port, first = broker.port, broker.pid
        formatted = (tmp_path / "data" / "meta.properties").read_bytes()
        broker.kill()
        assert broker.pid is None and not is_ready(port)
        broker.start()
        assert broker.pid != first and is_ready(port)
        broker.stop()
        assert not is_ready(port)
        broker.start()
        assert is_ready(port)
        assert (tmp_path / "data" / "meta.properties").read_bytes() == formatted


def test_one_that_died_by_itself_can_be_started_again(tmp_path: Path) -> None:
    with Broker(tmp_path) as broker:
        assert broker.pid
        os.kill(broker.pid, signal.SIGKILL)
        wait_until(lambda: broker.pid is None)
        broker.start()
        assert is_ready(broker.port)


def test_a_paused_broker_is_silent_until_resumed_and_can_be_stopped_while_paused(tmp_path: Path) -> None:
    with Broker(tmp_path) as broker:
        broker.pause()
        assert not is_ready(broker.port)
        broker.resume()
        wait_until(lambda: is_ready(broker.port))
        broker.pause()
        asked = time.monotonic()
        broker.stop()
        assert broker.pid is None
        assert time.monotonic() - asked < module.STOP, "it did not end in order, it was killed"


@pytest.mark.parametrize("ending", [signal.SIGKILL, signal.SIGTERM])
def test_it_does_not_outlive_the_process_that_started_it(tmp_path: Path, ending: signal.Signals) -> None:
    # Started by a thread that then ends: it must live on, and still end with the process.
    program = f"""
import threading, time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from detector.sandbox.broker import Broker
broker = Broker(Path({str(tmp_path)!r}))
starter = threading.Thread(target=broker.start)
starter.start()
starter.join()
print(broker.pid, broker.port, flush=True)
time.sleep(600)
"""
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout
        pid, port = map(int, parent.stdout.readline().split())
        assert is_alive(pid) and is_ready(port)
        parent.send_signal(ending)
        parent.wait(30)
    wait_until(lambda: not is_alive(pid))


def test_a_failed_start_names_the_log_and_shows_its_end(tmp_path: Path) -> None:
    broker = Broker(tmp_path, settings={"num.io.threads": "none at all"})
    with pytest.raises(BrokerError) as failed:
        broker.start()
    assert str(broker.log) in str(failed.value)
    assert "none at all" in str(failed.value)
    assert broker.pid is None


def test_a_broker_whose_port_is_taken_does_not_pass_for_started(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other, pytest.raises(BrokerError, match="Address already in use"):
        Broker(tmp_path, port=other.getsockname()[1]).start()


def test_one_that_takes_too_long_to_format_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "START", 0.05)
    with pytest.raises(BrokerError, match=r"did not format its data folder within 0\.05 s; its log is"):
        Broker(tmp_path).start()


def test_one_that_never_gets_ready_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = Broker._format

    def format_then_hurry(broker: Broker) -> None:
        whole(broker)
        monkeypatch.setattr(module, "START", 5.0)

    monkeypatch.setattr(Broker, "_format", format_then_hurry)
    broker = Broker(tmp_path, settings={"listeners": f"PLAINTEXT://127.0.0.1:{free_port()},CONTROLLER://127.0.0.1:{free_port()}"})
    with pytest.raises(BrokerError, match="not ready within 5 s"):
        broker.start()
    assert broker.pid is None
