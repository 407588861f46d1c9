"""Six situations at once: a real service in each, on one real Kafka, in sight of one real Prometheus.

Each service is a job of its own. All are at work before the first fault; what differs then is one thing each.
"""

from __future__ import annotations

import csv
import itertools
import json
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from harness import PARTITIONS, Serving, Stand, detector, wait
from kafka import KafkaAdminClient
from kafka.admin import ConfigResource, ConfigResourceType
from office import Event, Office
from proxy import Proxy, in_front_of
from server import RULES, Prometheus, shortened

from detector import registry
from detector.config import moment
from detector.kafka.clients import connect
from detector.kafka.producer import Producer
from detector.kafka.security import client_settings
from detector.kafka.topics import create, design
from detector.sandbox.broker import Broker

SCALE = 30
"""So many times quicker than shipped are the rules: five minutes are ten seconds."""
STEP = 0.1
"""Seconds."""
PACE, FEW = 20, 4
"""Events a step of the load, in normal operation and elsewhere."""
DAY_MS = 86_400_000

EXPECTED: Mapping[str, frozenset[str]] = {
    "normal": frozenset(),
    "lag": frozenset({"DetectorBehind"}),
    "broker down": frozenset({"DetectorBrokerTrouble"}),
    "poison burst": frozenset({"DetectorRefusesRecords"}),
    "model too old": frozenset({"DetectorModelTooOld"}),
    "no heartbeat": frozenset({"DetectorDown", "DetectorNoHeartbeat"}),
}
"""Situation -> the alarms that fire in it, and in no other."""


def job(situation: str) -> str:
    return "detector-" + situation.replace(" ", "-")


def company(folder: Path) -> Office:
    """A small company whose history ended last Monday, and a model that is a few days old, of three weeks: what it promises, it keeps."""
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    monday = today - timedelta(days=today.weekday())
    since, end = ((monday - timedelta(days=days)).strftime("%Y-%m-%dT%H:%M:%SZ") for days in (4, 0))
    events, context = folder / "history.ndjson", str(folder / "context")
    told = ("sandbox", "company", "--employees", "60", "--seed", "3", "--end", end, "--incident", "story")
    detector(*told, "--history", str(events), "--days", "26", "--context", context)
    detector("train", "--events", str(events), "--context", context, "--until", since, "--out", str(folder / "models"))
    lines = [(line, json.loads(line)) for line in events.read_bytes().splitlines()]
    live = tuple((said["actor"].encode(), line) for line, said in lines if moment(str(said["time"])) >= moment(since))
    return Office(folder, live, moment(since))


def aged(models: Path, folder: Path, days: int) -> str:
    """A registry with the same champion, as if it had been trained so many days earlier."""
    arrays, manifest = registry.load(models, "champion")
    training = manifest["training"] | {name: manifest["training"][name] - days * DAY_MS for name in ("first", "last", "held_from")}
    own = {name: value for name, value in manifest.items() if name not in ("version", "sha256", "files")}
    registry.save(folder, arrays, own | {"training": training})
    return str(folder)


def staged(protected: Path) -> Event:
    """An access to a decoy, now."""
    subject = next(row["subject"] for row in csv.DictReader(protected.open()) if row["class"] == "canary")
    said = {"time": time.time_ns() // 1_000_000, "actor": "tester", "action": "read", "resource": "user_profile", "subject": subject}
    return b"tester", json.dumps(said).encode()


class Load(threading.Thread):
    """Feeds every situation at its pace until it is told to stop."""

    def __init__(self, settings: Mapping[str, Any], office: Office, topics: Mapping[str, str]) -> None:
        super().__init__(name="load", daemon=True)
        self._settings, self._office, self._topics = settings, office, topics
        self.poison = False
        self.failed: BaseException | None = None
        self._over = threading.Event()

    def run(self) -> None:
        try:
            with Producer(self._settings) as producer:
                for step in itertools.count():
                    if self._over.wait(STEP):
                        break
                    self._step(producer, step)
                    producer.flush(30.0)
        except BaseException as error:
            self.failed = error

    def _step(self, producer: Producer, step: int) -> None:
        for situation, topic in self._topics.items():
            pace = PACE if situation == "normal" else FEW
            for key, value in self._office.live[step * pace : (step + 1) * pace]:
                producer.send(topic, key, value)
        if self.poison and step % 5 == 0:
            for partition in range(PARTITIONS):
                producer.send(self._topics["poison burst"], b"e1", b'{"time": "yesterday"', partition=partition)

    def stop(self) -> None:
        self._over.set()
        self.join(60)
        assert self.failed is None and not self.is_alive(), self.failed


class Scenarios:
    """The services, by situation, and the Prometheus that sees them."""

    def __init__(self, office: Office, stands: Mapping[str, Stand], services: Mapping[str, Serving], proxy: Proxy, load: Load) -> None:
        self.office, self.stands, self.services, self.proxy, self.load = office, stands, services, proxy, load

    def break_things(self) -> None:
        """From now on, each situation is what it is called; the model was too old from the start."""
        self._backlog()
        self.load.poison = True
        self.proxy.closed = True
        self.services["no heartbeat"].process.send_signal(signal.SIGSTOP)

    def mend_things(self) -> None:
        """The broker is back, the process wakes, the source is mended; and somebody stages an access to a canary."""
        self.stands["normal"].feed([staged(self.office.folder / "context" / "protected.csv")])
        self.load.poison = False
        self.proxy.closed = False
        self.services["no heartbeat"].process.send_signal(signal.SIGCONT)

    def _backlog(self) -> None:
        """Events that the broker took ten minutes ago, as it says, and more of them than can be worked off soon in batches of two."""
        stand = self.stands["lag"]
        admin = connect(KafkaAdminClient, stand.settings, "letting records have a time of their own")
        own_time = {"message.timestamp.type": "CreateTime"}
        admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, stand.events, own_time)])
        admin.close()
        before = (time.time_ns() // 1_000_000) - 600_000
        with Producer(stand.settings) as producer:
            for key, value in self.office.live:
                producer.send(stand.events, key, value, timestamp_ms=before)
            producer.flush(60.0)


@contextmanager
def at_work(office: Office, folder: Path, unique: Callable[[str], str]) -> Iterator[Scenarios]:
    """Six services that are ready, and are fed."""
    own = Broker(folder / "broker")
    with ExitStack() as stack:
        proxy = stack.enter_context(in_front_of(own))
        stack.enter_context(own)
        create(client_settings({"bootstrap_servers": (own.bootstrap,)}), design({"verdicts": "verdicts"}, PARTITIONS, 1))
        stands = {}
        for situation, sections in settings(office, folder, proxy).items():
            (place := folder / job(situation)).mkdir()
            stands[situation] = office.stand(own, place, unique, **sections)
        services = {situation: stack.enter_context(Serving(stand)) for situation, stand in stands.items()}
        load = Load(stands["normal"].settings, office, {situation: stand.events for situation, stand in stands.items()})
        for service in services.values():
            service.until_ready(120)
        load.start()
        stack.callback(load.stop)
        for service in services.values():
            wait(lambda service=service: service.metric("detector_events_total") > 0, 60, "it is at work")
        yield Scenarios(office, stands, services, proxy, load)


def settings(office: Office, folder: Path, proxy: Proxy) -> dict[str, dict[str, dict[str, Any]]]:
    """Situation -> what its service is set to, besides what all are."""
    quick: dict[str, dict[str, Any]] = {"alerts": {"heartbeat": 1.0}, "service": {"snapshot_interval": 2.0}}
    return {
        "normal": quick,
        "lag": quick | {"input": {"batch_limit": 2}},
        # how long it waits for a broker that is away does not get shorter with the rules: 10 s for a transaction or a snapshot
        "broker down": quick
        | {
            "kafka": {"bootstrap_servers": [proxy.bootstrap]},
            "group": {"transaction_timeout": 1.0},
            "service": {"snapshot_interval": 300.0},
        },
        "poison burst": quick,
        "model too old": quick | {"models": {"registry": aged(office.folder / "models", folder / "aged", 60)}},
        "no heartbeat": quick,
    }


def prometheus(folder: Path, services: Mapping[str, Serving]) -> Prometheus:
    """Sees all of them, with the shipped rules made quicker."""
    files = {path.name: shortened(path.read_text("utf-8"), SCALE) for path in RULES}
    return Prometheus(folder, {job(situation): service.port for situation, service in services.items()}, files)


def keep(seen: Prometheus, folder: Path, **about: Any) -> None:
    """Copies what a Prometheus that has ended has recorded."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(seen.data, folder / "data")
    for name in ("prometheus.yml", *(path.name for path in RULES)):
        shutil.copy(seen.folder / name, folder)
    (folder / "recording.json").write_text(json.dumps(about, indent=2) + "\n")
