"""What integration tests share: real services as processes of their own, fed and read through the real broker."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from detector.core.heartbeats import Heartbeat, parse
from detector.kafka.producer import Producer
from detector.kafka.reader import Reader
from detector.kafka.security import client_settings
from detector.kafka.topics import create, design
from detector.sandbox.broker import Broker, free_port

PARTITIONS = 4
BEAT = b'{"kind":"heartbeat"'


def detector(*command: str, check: bool = True, **options: Any) -> subprocess.CompletedProcess[str]:
    """Runs the command line as a user would."""
    return subprocess.run([sys.executable, "-m", "detector.cli", *command], text=True, capture_output=True, check=check, **options)


def wait(condition: Callable[[], bool], seconds: float, what: str, pause: float = 0.05) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"waited {seconds:g} s in vain until {what}"
        time.sleep(pause)


@contextmanager
def frozen(own: Broker) -> Iterator[None]:
    """It answers nobody while the block lasts, and its connections stay."""
    own.pause()
    try:
        yield
    finally:
        own.resume()


def flat(line: str) -> dict[str, Any]:
    """A line of a service's log, its members by their dotted names."""

    def leaves(said: dict[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
        for key, value in said.items():
            if isinstance(value, dict):
                yield from leaves(value, f"{above}{key}.")
            else:
                yield above + key, value

    return dict(leaves(json.loads(line)))


class Stand:
    """A set of topics on the shared broker, with settings for services that use them."""

    def __init__(self, broker: Broker, folder: Path, unique: Callable[[str], str], **sections: dict[str, Any]) -> None:
        self.folder, self.settings = folder, client_settings({"bootstrap_servers": (broker.bootstrap,)})
        names = {role: unique(role) for role in ("access-events", "alerts", "notables", "daily", "state-employee", "dead-letters")}
        self.events, self.alerts, self.notables, self.daily, self.state, self.dead_letters = names.values()
        self.outputs = tuple(names.values())[1:]
        self.group = unique("detector")
        create(self.settings, design(names, PARTITIONS, 1))
        self.sections: dict[str, dict[str, Any]] = {
            "kafka": {"bootstrap_servers": [broker.bootstrap]},
            "topics": {
                "events": self.events, "alerts": self.alerts, "notables": self.notables, "daily": self.daily,
                "state": self.state, "dead_letters": self.dead_letters, "partitions": PARTITIONS, "replication": 1,
            },
            "group": {"id": self.group, "transactional_id_prefix": self.group, "session_timeout": 6.0},
        }  # fmt: skip
        for name, values in sections.items():
            self.sections.setdefault(name, {}).update(values)

    def config(self, ordinal: int = 0, port: int = 0) -> Path:
        path = self.folder / f"detector-{ordinal}.toml"
        lines = []
        for name, values in self.sections.items():
            own = {"group": {"ordinal": ordinal, "instance_id": f"{self.group}-{ordinal}"}}.get(name, {})
            lines += [f"[{name}]", *(f"{key} = {json.dumps(value)}" for key, value in {**values, **own}.items())]
        path.write_text("\n".join([*lines, "[metrics]", f"port = {port}", ""]))
        return path

    def feed(self, events: Iterable[tuple[bytes | None, bytes | None]]) -> int:
        """Sends (key, value) pairs, each to the partition its key chooses; returns how many."""
        sent = 0
        with Producer(self.settings) as producer:
            for key, value in events:
                producer.send(self.events, key, value, partition=0 if key is None else None)
                sent += 1
            producer.flush(60.0)
        return sent

    def read(self, topic: str, isolation: str = "read_committed") -> dict[int, list[bytes]]:
        """Every value of a topic, in order, by partition; heartbeats left out."""
        found: dict[int, list[bytes]] = {p: [] for p in range(PARTITIONS)}
        with Reader(self.settings, topic, isolation) as reader:
            for records in reader.read():
                values = (records.part(records.value, row) or b"" for row in range(len(records)))
                found[records.partition] += [value for value in values if not value.startswith(BEAT)]
        return found

    def heartbeats(self) -> list[Heartbeat]:
        """In the order of each task's."""
        with Reader(self.settings, self.alerts) as reader:
            values = [run.part(run.value, row) or b"" for run in reader.read() for row in range(len(run))]
        return [parse(value) for value in values if value.startswith(BEAT)]


class Serving:
    """One `detector serve`, ended with the block."""

    def __init__(self, stand: Stand, ordinal: int = 0) -> None:
        self.port = free_port()
        self.log = stand.folder / f"serve-{ordinal}.log"
        command = [sys.executable, "-m", "detector.cli", "serve", "--config", str(stand.config(ordinal, self.port))]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(command, stderr=log)

    def __enter__(self) -> Serving:
        return self

    def __exit__(self, failed: type[BaseException] | None, *_: object) -> None:
        self.kill()
        if failed:
            own = (line for line in self.log.read_text(errors="replace").splitlines() if '"logger":"kafka.' not in line)
            print(self.log.name, *deque(own, 40), sep="\n")  # pytest shows it

    def said(self) -> Iterator[dict[str, Any]]:
        """What it logged, this service and those of the same number before it; members by their dotted names."""
        for line in self.log.read_text(errors="replace").splitlines():
            if line.startswith("{") and line.endswith("}"):
                yield flat(line)

    def troubles(self) -> list[dict[str, Any]]:
        """What it complained of itself; kafka-python warns of a busy machine as well."""
        bad = (line for line in self.said() if line["log.level"] in ("warning", "error") and not line["log.logger"].startswith("kafka."))
        return [line for line in bad if line["log.logger"] != "detector.failpoints"]

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def stop(self, seconds: float = 25.0) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(seconds)

    def get(self, path: str) -> tuple[int, str]:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as answer:
            return answer.code, answer.read().decode()
        except OSError:
            return 0, ""

    def metric(self, name: str) -> float:
        """Sum of a metric over its labels; 0 while there is none."""
        lines = self.get("/metrics")[1].splitlines()
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.split("{")[0].split(" ")[0] == name)

    def until_ready(self, seconds: float = 60.0) -> None:
        def ready() -> bool:
            assert self.process.poll() is None, f"serve ended with {self.process.returncode}: {self.log.read_text()[-2000:]}"
            return self.get("/readyz")[0] == 200

        wait(ready, seconds, "the service is ready")
