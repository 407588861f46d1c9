"""A few minutes in the life of a company, in sight of a real Prometheus: what the pictures of the dashboards show.

Two processes share the work, a third is a shadow with a challenger. They read four weeks of history, then the company goes live at a
multiple of its pace; a source breaks, the broker stands still, a process is killed, a context is renewed, one is refused, and the
challenger is promoted.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

sys.path += [str(Path(__file__).parents[1] / name) for name in ("integration", "prometheus")]
import yaml
from harness import PARTITIONS, Stand, detector, wait
from server import RULES, Prometheus, shortened

from detector.kafka.producer import Producer
from detector.sandbox.broker import Broker, free_port
from detector.sandbox.company import Company

EMPLOYEES, DAYS, SPEED = 400, 28, 450.0
LIVE_DAYS = 2
SCALE = 30
"""So many times quicker than shipped are the rules."""
BROKEN = (
    b"not JSON", b'{"time": "yesterday"', b'{"time": 1, "actor": "e1"}', b'{"event_id": "x", "time": "yesterday", "actor": "e1"}', b""
)  # fmt: skip
STEPS = (
    (55, "poison"), (65, "cure"), (95, "freeze"), (104, "thaw"), (140, "kill"), (165, "revive"), (185, "renew"),
    (205, "spoil"), (225, "promote"), (250, "look"), (260, "end"),
)  # fmt: skip
"""Seconds after the company goes live, and what happens then: a method of Recording."""


class Several(Prometheus):
    """As the tests have it, but with a few processes in one job: (name, port) each."""

    def __init__(self, folder: Path, jobs: Mapping[str, Sequence[tuple[str, int]]]) -> None:
        super().__init__(folder, {}, {file.name: shortened(file.read_text("utf-8"), SCALE) for file in RULES})
        told = yaml.safe_load((folder / "prometheus.yml").read_text())
        told["scrape_configs"] = [
            {"job_name": job, "static_configs": [{"targets": [f"127.0.0.1:{port}"], "labels": {"instance": name}} for name, port in ports]}
            for job, ports in jobs.items()
        ]
        (folder / "prometheus.yml").write_text(yaml.safe_dump(told))


class Recording:
    def __init__(self, folder: Path, broker: Broker) -> None:
        self.folder, self.broker = folder, broker
        self.ports = [free_port() for _ in range(3)]
        self.company = Company(EMPLOYEES, 1, end=beginning(datetime.now(UTC)))
        self.company.plant("story", self.company.end + 6 * 3_600_000)
        self.company.plant("bulk-export", self.company.end + 11 * 3_600_000)
        self.context = folder / "context"
        self.company.write_context(self.context)
        own: dict[str, dict[str, Any]] = {
            "context": {"folder": str(self.context)}, "models": {"registry": str(folder / "models")}, "detection": {"budget": 10.0},
            "input": {"max_age": 1e10}, "alerts": {"start": str(self.company.end), "heartbeat": 5.0},
            "service": {"snapshot_interval": 10.0, "ready_lag": 60.0},
        }  # fmt: skip
        self.stand = Stand(broker, folder, lambda name: name, **own)
        self.processes: dict[int, subprocess.Popen[bytes]] = {}
        self.over, self.poisoned = threading.Event(), threading.Event()
        self.failed: list[BaseException] = []

    def train(self) -> None:
        """A champion of all the history; a challenger of the last three weeks."""
        history = self.folder / "history.ndjson"
        self.company.write_history(history, DAYS)
        common = ("--config", str(self.stand.config()))
        detector("topics", "create", *common)  # those that nobody has made yet
        for since in (0, self.company.end - 21 * 86_400_000):
            said = detector("train", *common, "--events", str(history), "--from", str(since), "--out", str(self.folder / "models")).stdout
        self.challenger = said.split()[1]
        detector("models", "promote", self.challenger, "--as", "challenger", *common)

    def start(self, ordinal: int) -> None:
        """Process 2 is the shadow."""
        shadow = ("--shadow",) if ordinal == 2 else ()
        with (self.folder / f"serve-{ordinal}.log").open("ab") as log:
            command = [sys.executable, "-m", "detector.cli", "serve", "--config", str(self.stand.config(ordinal, self.ports[ordinal]))]
            self.processes[ordinal] = subprocess.Popen([*command, *shadow], stderr=log)

    def run(self) -> tuple[float, float]:
        """When it began and ended, in seconds since 1970."""
        names = [*zip(("detector-0", "detector-1", "shadow-0"), self.ports, strict=True)]
        jobs = {"detector": names[:2], "shadow": names[2:]}
        with Several(self.folder, jobs) as prometheus, ExitStack() as stack:
            stack.callback(self.stop)
            for ordinal in range(3):
                self.start(ordinal)
            wait(lambda: held(prometheus) == 2 * PARTITIONS, 120, "all partitions are held")
            begun = time.time()
            detector("sandbox", "load", str(self.folder / "history.ndjson"), "--config", str(self.stand.config()))
            wait(lambda: all(one.value == 0 for one in prometheus.query("detector_lag_records")), 120, "the history is read", pause=1.0)
            sources = [threading.Thread(target=self._guarded, args=(work,), daemon=True) for work in (self._live, self._poison)]
            for source in sources:
                source.start()
            live = time.time()
            for second, step in STEPS:
                time.sleep(max(live + second - time.time(), 0.0))
                getattr(self, step)()
                assert not self.failed, self.failed
            for source in sources:
                source.join(60)
            return begun, time.time()

    def _guarded(self, work: Any) -> None:
        try:
            with Producer(self.stand.settings) as producer:
                work(producer)
        except BaseException as error:
            self.failed.append(error)

    def _live(self, producer: Producer) -> None:
        self.company.live(lambda key, value: producer.send(self.stand.events, key, value), time, self.over.is_set, speed=SPEED)

    def _poison(self, producer: Producer) -> None:
        while not self.over.wait(0.1):
            for value in BROKEN * self.poisoned.is_set():
                producer.send(self.stand.events, b"e1", value, partition=1)

    # --- what happens

    def look(self) -> None:
        """A check opens the data of somebody made up, as it does every day. Late: the company's clock is behind, and this ends its day."""
        canary = next(line for line in (self.context / "protected.csv").read_text().splitlines() if line.endswith(",canary"))
        event = {
            "event_id": "look", "time": time.time_ns() // 1_000_000, "actor": "daily-check", "action": "read", "resource": "crm",
            "subject": canary.partition(",")[0],
        }  # fmt: skip
        self.stand.feed([(b"daily-check", json.dumps(event).encode())])

    def poison(self) -> None:
        self.poisoned.set()

    def cure(self) -> None:
        self.poisoned.clear()

    def freeze(self) -> None:
        self.broker.pause()

    def thaw(self) -> None:
        self.broker.resume()

    def kill(self) -> None:
        self.processes[1].kill()
        self.processes[1].wait()

    def revive(self) -> None:
        self.start(1)

    def renew(self) -> None:
        with (self.context / "protected.csv").open("a") as file:
            file.write("u30000,official\n")
        self._tell()

    def spoil(self) -> None:
        self.kept = (self.context / "protected.csv").read_bytes()
        (self.context / "protected.csv").write_text("no table at all\n")
        self._tell()

    def promote(self) -> None:
        (self.context / "protected.csv").write_bytes(self.kept)
        detector("models", "promote", self.challenger, "--config", str(self.stand.config()), "--why", "better")
        self._tell()

    def end(self) -> None:
        self.over.set()

    def _tell(self) -> None:
        for process in self.processes.values():
            process.send_signal(signal.SIGHUP)

    def stop(self) -> None:
        self.over.set()
        self.broker.resume()
        for process in self.processes.values():
            process.terminate()
        for process in self.processes.values():
            process.wait(60)


def beginning(now: datetime) -> int:
    """Midnight (ms) before the last working days that are over."""
    day = now.replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=LIVE_DAYS)
    while day.weekday() > 5 - LIVE_DAYS:
        day -= timedelta(days=1)
    return int(day.timestamp() * 1000)


def held(prometheus: Prometheus) -> float:
    return sum(one.value for one in prometheus.query("detector_partitions"))


def record(folder: Path) -> None:
    """Leaves Prometheus' data in `folder`, which is made, and the time to show (recording.json)."""
    folder.mkdir(parents=True)
    with Broker(folder / "broker") as broker:
        recording = Recording(folder, broker)
        recording.train()
        start, end = recording.run()
    (folder / "recording.json").write_text(json.dumps({"start": start, "end": end}) + "\n")
