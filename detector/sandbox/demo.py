"""The tour: a local Kafka, a synthetic company with one planted incident, a model, the live service, and its alerts as they come.

Nothing in it is special to the tour: topics, training and service are the commands that anybody would run, as processes of their own.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from detector.core.events import Records
from detector.errors import BrokerError, DetectorError
from detector.files import read_events
from detector.kafka.producer import Producer
from detector.kafka.reader import Reader
from detector.kafka.security import client_settings
from detector.sandbox.broker import Broker
from detector.sandbox.company import Company

DAYS = 28
SPEED = 600.0
PARTITIONS = 4
READY = 120.0
"""Seconds for the service to become ready."""
STOP = 25.0
SEVERITY = {"low": "\x1b[36m", "medium": "\x1b[33m", "high": "\x1b[31m", "critical": "\x1b[1;31m"}

Say = Callable[[str], None]


class _Keyed(msgspec.Struct):
    actor: str = ""


_ACTOR = msgspec.json.Decoder(_Keyed).decode


class Tour:
    def __init__(self, folder: Path, say: Say, colour: bool, metrics_port: int) -> None:
        self._folder, self._say, self._colour = folder, say, colour
        self._config, self._metrics_port = folder / "detector.toml", metrics_port
        self._stop = threading.Event()
        self._failed: list[Exception] = []

    def run(self, seconds: float | None) -> int:
        """Until Ctrl-C, or `seconds` after the service is ready. 0 if the planted story was alerted; else 1, unless Ctrl-C came first."""
        self._folder.mkdir(parents=True, exist_ok=True)
        company = Company.demo(time.time_ns() // 1_000_000, speed=SPEED)
        story = company.planted[0]
        alerted: set[str] = set()
        interrupted = True
        try:
            with ExitStack() as stack:
                settings = self._prepare(stack, company)
                reader = stack.enter_context(Reader(settings, "alerts"))
                stack.enter_context(self._service())
                stack.enter_context(self._live(company, settings))
                self._say(f"\nLive: {SPEED:g} times as fast as life. Metrics: http://127.0.0.1:{self._metrics_port}/metrics")
                self._say(f"Planted: {len(story.actors)} internal auditors look up journalists and colleagues, a few each. Alerts:\n")
                end = time.monotonic() + seconds if seconds else float("inf")
                while time.monotonic() < end and not self._failed:
                    for alert in alerts_of(reader):
                        alerted.add(alert["actor"])
                        self._say(sentence(alert, self._colour))
                    time.sleep(0.3)
            interrupted = False
        except KeyboardInterrupt:
            self._say("")
        if self._failed:
            raise self._failed[0]
        found, others = sorted(alerted & set(story.actors)), len(alerted - set(story.actors))
        self._say(f"\nAlerted of the story's {len(story.actors)} employees: {', '.join(found) or 'none'}; of others: {others or 'none'}.")
        self._say(f"Left in {self._folder}: settings, context, history, model.")
        return 0 if found or interrupted else 1

    def _prepare(self, stack: ExitStack, company: Company) -> dict[str, Any]:
        """Everything that must be there before the service starts."""
        self._say("Apache Kafka ...")
        broker = stack.enter_context(Broker(self._folder / "broker"))
        settings = client_settings({"bootstrap_servers": (broker.bootstrap,)})
        self._config.write_text(self._settings(broker.bootstrap, company.end))
        company.write_context(self._folder / "context")
        history = self._folder / "history.ndjson"
        count = company.write_history(history, DAYS)
        self._say(f"A company: {company.staff.count} employees, {DAYS} days, {count:,} events in {history}")
        self._detector("topics", "create")
        loading = threading.Thread(target=self._guarded, args=(lambda: load([history], settings, "access-events", lambda *_: None),))
        loading.start()
        self._detector("train", "--events", str(history), "--out", str(self._folder / "models"))
        loading.join()
        if self._failed:
            raise self._failed[0]
        return settings

    def _settings(self, bootstrap: str, starts: int) -> str:
        return (
            f'[kafka]\nbootstrap_servers = ["{bootstrap}"]\n[topics]\npartitions = {PARTITIONS}\nreplication = 1\n'
            f'[context]\nfolder = "{self._folder / "context"}"\n[models]\nregistry = "{self._folder / "models"}"\n'
            f'[alerts]\nstart = "{starts}"\n[metrics]\nport = {self._metrics_port}\n'
            "[input]\nmax_age = 31536000.0  # the company lives in the past\n"
        )

    def _detector(self, *command: str) -> None:
        whole = [sys.executable, "-m", "detector.cli", *command, "--config", str(self._config)]
        done = subprocess.run(whole, stdout=subprocess.PIPE, text=True)
        if done.returncode:
            raise DetectorError(f"`detector {' '.join(command)}` ended with {done.returncode}; what it said stands above")
        for line in done.stdout.splitlines():
            self._say("  " + line)

    @contextmanager
    def _service(self) -> Iterator[None]:
        log = self._folder / "service.log"
        self._say(f"The service starts, and reads the history (its log: {log}) ...")
        with log.open("wb") as file:
            command = [sys.executable, "-m", "detector.cli", "serve", "--config", str(self._config)]
            process = subprocess.Popen(command, stderr=file, start_new_session=True)  # Ctrl-C is ours to handle
            try:
                self._until_ready(process, log)
                yield
            finally:
                process.send_signal(signal.SIGTERM)
                try:
                    code = process.wait(STOP)
                except subprocess.TimeoutExpired:
                    process.kill()
                    code = process.wait()
        if code:
            raise DetectorError(f"the service ended with {code}; its log is {log}")

    def _until_ready(self, process: subprocess.Popen[bytes], log: Path) -> None:
        end = time.monotonic() + READY
        while time.monotonic() < end:
            if process.poll() is not None:
                raise DetectorError(f"the service ended with {process.returncode}\n{log.read_text(errors='replace')[-2000:]}")
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self._metrics_port}/readyz", timeout=2):
                    return
            except (urllib.error.URLError, OSError):
                time.sleep(0.1)
        raise BrokerError(f"the service was not ready within {READY:g} s; its log is {log}")

    @contextmanager
    def _live(self, company: Company, settings: dict[str, Any]) -> Iterator[None]:
        def produce() -> None:
            with Producer(settings) as producer:
                company.live(lambda key, value: producer.send("access-events", key, value), time, self._stop.is_set, speed=SPEED)

        thread = threading.Thread(target=self._guarded, args=(produce,), daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._stop.set()
            thread.join(10)

    def _guarded(self, work: Callable[[], object]) -> None:
        try:
            work()
        except Exception as error:
            self._failed.append(error)


def load(files: Sequence[Path], settings: Mapping[str, Any], topic: str, progress: Callable[[int, int], None]) -> int:
    """Recorded events into a topic. Returns how many. Raises BrokerError, ConfigError."""
    with Producer(settings) as producer:
        sent = sum(send(records, producer, topic) for records in read_events(files, progress))
        producer.flush(60.0)
    return sent


def send(records: Records, producer: Producer, topic: str) -> int:
    """Sends recorded events as they are, each under its actor's key; those without an actor under none. Returns how many."""
    for row in range(len(records)):
        value = records.part(records.value, row) or b""
        try:
            actor = _ACTOR(value).actor
        except msgspec.MsgspecError:
            actor = ""
        producer.send(topic, actor.encode() or None, value)
    return len(records)


def alerts_of(reader: Reader) -> Iterator[dict[str, Any]]:
    for records in reader.read():
        for row in range(len(records)):
            alert = json.loads(records.part(records.value, row) or b"{}")
            if alert.get("kind") == "employee":
                yield alert


def sentence(alert: dict[str, Any], colour: bool = False) -> str:
    """An alert for a person: who, when, how rare, and why."""
    when = datetime.fromtimestamp(alert["time"] / 1000, UTC).strftime("%a %d %b %H:%M UTC")
    on, off = (SEVERITY.get(alert["severity"], ""), "\x1b[0m") if colour else ("", "")
    head = f"{on}{alert['severity'].upper():8}{off} {when}  {alert['actor']} ({alert['team'] or 'team unknown'})"
    rare = f"as unusual as one employee-day in {round(10 ** alert['rarity'], -1):,.0f}" if alert["rarity"] > 1 else "unusual"
    reasons = [f"         {reason['share']:4.0%}  {reason['text']}" for reason in alert["reasons"]]
    return "\n".join([f"{head}: {rare}", *reasons])
