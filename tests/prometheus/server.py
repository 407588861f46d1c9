"""A real Prometheus on this machine, and the shipped rules made quicker for it."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, Self

import yaml

from detector.sandbox.broker import free_port

ROOT = Path(__file__).parents[2]
RULES = (ROOT / "config/prometheus/recording.yml", ROOT / "config/prometheus/alarms.yml")
UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
MISSING = "`{}` is not on this machine. `make setup` says how to get it: apt-get install --no-install-recommends prometheus"


def program(name: str) -> str:
    """Where `prometheus` or `promtool` is. Fails, and does not skip, where it is not: rules that nobody tried are not rules."""
    found = shutil.which(name)
    assert found, MISSING.format(name)
    return found


def promtool(*words: str) -> str:
    """What it says; fails with that where it is not content."""
    said = subprocess.run([program("promtool"), *words], text=True, capture_output=True)
    assert said.returncode == 0, said.stdout + said.stderr
    return said.stdout


def rules(kind: str, files: tuple[Path, ...] = RULES) -> Iterator[dict[str, Any]]:
    """All rules that `record`, or that `alert`."""
    for file in files:
        for group in yaml.safe_load(file.read_text("utf-8"))["groups"]:
            yield from (rule for rule in group["rules"] if kind in rule)


def shortened(text: str, scale: float) -> str:
    """Rules in YAML whose every duration in time (`for`, ranges, offsets) is `scale` times shorter. Thresholds stay as they are: a lag of
    60 s is one of 60 s.
    """
    whole = yaml.safe_load(text)
    for group in whole["groups"]:
        for rule in group["rules"]:
            rule["expr"] = re.sub(r"(\[|\boffset )(\w+)", lambda found: found[1] + _shorter(found[2], scale), rule["expr"])
            if "for" in rule:
                rule["for"] = _shorter(rule["for"], scale)
    return str(yaml.safe_dump(whole, sort_keys=False))


def seconds(duration: str) -> float:
    """Of one in Prometheus' notation: 1h30m."""
    assert re.fullmatch(r"(\d+(ms|[smhdw]))+", duration), duration
    return sum(int(count) * UNITS[unit] for count, unit in re.findall(r"(\d+)(ms|[smhdw])", duration))


def _shorter(duration: str, scale: float) -> str:
    return f"{round(1000 * seconds(duration) / scale)}ms"


class Sample(NamedTuple):
    labels: Mapping[str, str]
    value: float


class Prometheus:
    """Scrapes each job's port once a second while its block lasts, and evaluates `rule_files` as often. Its data stays in `folder`."""

    def __init__(self, folder: Path, jobs: Mapping[str, int], rule_files: Mapping[str, str]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in rule_files.items():
            (folder / name).write_text(text)
        scraped = [{"job_name": job, "static_configs": [{"targets": [f"127.0.0.1:{port}"]}]} for job, port in jobs.items()]
        quick = {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"}
        (folder / "prometheus.yml").write_text(
            yaml.safe_dump({"global": quick, "rule_files": list(rule_files), "scrape_configs": scraped}, sort_keys=False)
        )
        self.folder, self.data = folder, folder / "data"
        self._url = f"http://127.0.0.1:{free_port()}"

    def __enter__(self) -> Self:
        command = [program("prometheus"), "--config.file=prometheus.yml", "--storage.tsdb.path=data", "--storage.tsdb.retention.time=100y"]
        with (self.folder / "prometheus.log").open("wb") as log:
            address = "--web.listen-address=" + self._url.removeprefix("http://")
            self._process = subprocess.Popen([*command, "--log.level=warn", address], cwd=self.folder, stdout=log, stderr=log)
        end = time.monotonic() + 60
        while not self._ready():
            said = (self.folder / "prometheus.log").read_text()
            assert self._process.poll() is None and time.monotonic() < end, f"Prometheus does not start: {said}"
            time.sleep(0.05)
        return self

    def __exit__(self, *_: object) -> None:
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def ask(self, path: str, **given: str | float) -> Any:
        """The `data` of an answer of its HTTP API. Fails with what it says is wrong."""
        url = f"{self._url}/api/v1/{path}?{urllib.parse.urlencode(given)}"
        try:
            with urllib.request.urlopen(url, timeout=30) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{given}: {error.read().decode()}") from error

    def query(self, expr: str) -> list[Sample]:
        """An instant vector, now."""
        return [Sample(one["metric"], float(one["value"][1])) for one in self.ask("query", query=expr)["result"]]

    def over(self, expr: str, start: float, end: float) -> list[Any]:
        """The series of a range query by the second."""
        return list(self.ask("query_range", query=expr, start=start, end=end, step="1s")["result"])

    def firing(self, over: float = 0.0) -> frozenset[tuple[str, str]]:
        """(job, alarm) of those that fire now, or at any time in so many seconds."""
        return self._alarms("firing", over)

    def waiting(self) -> frozenset[tuple[str, str]]:
        """Of those whose `for` is not over."""
        return self._alarms("pending", 0.0)

    def _alarms(self, state: str, over: float) -> frozenset[tuple[str, str]]:
        series = f'ALERTS{{alertstate="{state}"}}'
        found = self.query(f"last_over_time({series}[{round(1000 * over)}ms])" if over else series)
        return frozenset((one.labels.get("job", ""), one.labels["alertname"]) for one in found)

    def _ready(self) -> bool:
        try:
            with urllib.request.urlopen(self._url + "/-/ready", timeout=1) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False
