"""compose.yaml without a container engine: its Kafka's settings, and each of its commands with its environment, as a process."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from files import compose, health_check, own_services

from detector.sandbox.broker import Broker, free_port

pytestmark = [pytest.mark.broker, pytest.mark.slow]
OURS = re.compile(r"listener|quorum|^log\.dirs$")
"""Kafka's settings that name places; the test has its own."""


class Stage:
    """The machine in place of the containers: folders for volumes, ports of 127.0.0.1 for names."""

    def __init__(self, folder: Path, broker: Broker) -> None:
        self.port, self._folder, self._broker = free_port(), folder, broker

    def here(self, text: str) -> str:
        return (
            text.replace("kafka:9092", self._broker.bootstrap)
            .replace("/var/lib/detector", str(self._folder))
            .replace("0.0.0.0", "127.0.0.1")
        )

    def command(self, service: Mapping[str, Any]) -> list[str]:
        return [sys.executable, "-m", "detector.cli", *map(self.here, service["command"])]

    def environment(self, service: Mapping[str, Any]) -> dict[str, str]:
        said = {key: self.here(value) for key, value in service["environment"].items()}
        return {**os.environ, **said, "DETECTOR__METRICS__PORT": str(self.port)}

    @contextmanager
    def running(self, service: Mapping[str, Any]) -> Iterator[subprocess.Popen[bytes]]:
        process = subprocess.Popen(self.command(service), env=self.environment(service), cwd=self._folder)
        try:
            yield process
        finally:
            process.terminate()
            process.wait(30)


def in_order(services: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """As depends_on asks."""
    done: list[str] = []
    while len(done) < len(services):
        done += [name for name, said in services.items() if name not in done and not set(said.get("depends_on", ())) - {"kafka", *done}]
    return done


def alerts(port: int) -> float:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
        lines = answer.read().decode().splitlines()
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith("detector_alerts_total"))


def test_the_services_of_compose_one_after_the_other_come_to_an_alert(tmp_path: Path) -> None:
    services = own_services()
    said = compose()["services"]["kafka"]["environment"]
    settings = {key.removeprefix("KAFKA_").lower().replace("_", "."): value for key, value in said.items() if key.startswith("KAFKA_")}
    order = in_order(services)
    assert order[-2:] == ["detector", "company"]
    with Broker(tmp_path / "kafka", settings={key: value for key, value in settings.items() if not OURS.search(key)}) as broker:
        stage = Stage(tmp_path, broker)
        for name in order[:-2]:
            subprocess.run(stage.command(services[name]), env=stage.environment(services[name]), cwd=tmp_path, check=True)
        python, *words = health_check()
        check = [{"python": sys.executable}[python], *words]
        well = {"env": stage.environment(services["detector"]), "capture_output": True}
        assert subprocess.run(check, **well).returncode == 1, "nothing runs yet"
        with stage.running(services["detector"]) as detector:
            until(lambda: subprocess.run(check, **well).returncode == 0, 120, "the image's own check finds it well")
            with stage.running(services["company"]):
                until(lambda: alerts(stage.port) > 0, 240, "the planted incident is alerted")
        assert detector.returncode == 0


def until(condition: Any, seconds: float, what: str) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"waited {seconds:g} s in vain until {what}"
        time.sleep(0.5)
