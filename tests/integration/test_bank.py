"""Real events, a real broker, two services that are killed again and again: the alerts are those of an offline replay, to the byte.

BPI Challenge 2012: 67 employees of a bank and one service account at work on 13,087 customers' files, October 2011 to March 2012.
"""

from __future__ import annotations

import itertools
import json
import os
import random
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from harness import PARTITIONS, Serving, Stand, detector, wait

from detector.kafka.producer import Producer
from detector.sandbox.broker import Broker

SOURCE = Path(__file__).parents[2] / ".." / "shared" / "data" / "bpic" / "bpic2012_events.csv.gz"
SINCE = "2012-01-15T00:00:00Z"
KILLS = int(os.environ.get("KILLS", "20"))
SEED = int(os.environ.get("SEED", "1"))
PACE = 4000
"""Events a second at most: so that the kills meet work under way."""

pytestmark = [
    pytest.mark.broker,
    pytest.mark.skipif(not SOURCE.exists(), reason="left out: BPIC2012 is not beside this checkout (../shared/data/bpic)"),
]


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the events, the staff, and a model trained on the first months."""
    folder = tmp_path_factory.mktemp("bank")
    detector("sandbox", "bpic", str(SOURCE), str(folder / "events.ndjson"), "--context", str(folder / "context"))
    train = ("train", "--events", str(folder / "events.ndjson"), "--context", str(folder / "context"))
    detector(*train, "--until", SINCE, "--out", str(folder / "models"))
    return folder


def replayed(bank: Path, topic: str, folder: Path) -> tuple[dict[int, list[bytes]], dict[int, list[bytes]]]:
    """The alerts and the near misses of an offline replay, by partition, in order."""
    out = {name: folder / f"{name}.ndjson" for name in ("alerts", "notables")}
    command = ("replay", "--events", str(bank / "events.ndjson"), "--context", str(bank / "context"), "--models", str(bank / "models"))
    written = [part for name, path in out.items() for part in (f"--{name}", str(path))]
    detector(*command, "--from", SINCE, "--budget", "30", "--partitions", str(PARTITIONS), "--topic", topic, "--refresh", "none", *written)
    return by_partition(out["alerts"].read_bytes().splitlines()), by_partition(out["notables"].read_bytes().splitlines())


def by_partition(values: Iterable[bytes]) -> dict[int, list[bytes]]:
    """Of the input."""
    found: dict[int, list[bytes]] = {p: [] for p in range(PARTITIONS)}
    for value in values:
        found[json.loads(value)["evidence"][0]["partition"]].append(value)
    return found


def delivered(stand: Stand) -> tuple[dict[int, list[bytes]], dict[int, list[bytes]]]:
    alerts, notables = (itertools.chain(*stand.read(topic).values()) for topic in (stand.alerts, stand.notables))
    return by_partition(alerts), by_partition(notables)


def stand_of(bank: Path, broker: Broker, folder: Path, unique: object) -> Stand:
    return Stand(
        broker, folder, unique,  # type: ignore[arg-type]
        context={"folder": str(bank / "context")}, models={"registry": str(bank / "models")}, detection={"budget": 30.0},
        alerts={"start": SINCE}, input={"max_age": 1e10, "batch_limit": 2000},
    )  # fmt: skip


def lines_of(bank: Path) -> Iterator[tuple[bytes, bytes]]:
    with (bank / "events.ndjson").open("rb") as lines:
        for line in lines:
            value = line.rstrip(b"\n")
            yield json.loads(value)["actor"].encode(), value


def test_two_services_find_exactly_what_an_offline_replay_finds(bank, broker, tmp_path, unique):
    stand = stand_of(bank, broker, tmp_path, unique)
    expected = replayed(bank, stand.events, tmp_path)
    assert min(sum(map(len, outputs.values())) for outputs in expected) > 50, (
        "the replay found too little for the comparison to mean anything"
    )
    sent = stand.feed(lines_of(bank))
    with Serving(stand, 0) as one, Serving(stand, 1) as other:
        wait(lambda: one.metric("detector_events_total") + other.metric("detector_events_total") >= sent, 120, "all events are processed")
        assert one.stop() == other.stop() == 0
    assert delivered(stand) == expected


def test_killing_either_service_at_any_moment_changes_nothing(bank, broker, tmp_path, unique):
    stand = stand_of(bank, broker, tmp_path, unique)
    expected = replayed(bank, stand.events, tmp_path)
    dice = random.Random(SEED)
    feeding = threading.Thread(target=_feed_slowly, args=(stand, bank))
    feeding.start()
    services = [Serving(stand, 0), Serving(stand, 1)]
    try:
        for _ in range(KILLS):
            time.sleep(dice.uniform(0.2, 6.0))  # the moment of the kill is the point
            victim = dice.randrange(2)
            services[victim].kill()
            services[victim] = Serving(stand, victim)
        feeding.join(300)
        assert not feeding.is_alive()
        total = sum(map(len, expected[0].values()))
        wait(lambda: sum(map(len, stand.read(stand.alerts).values())) >= total, 120, f"{total} alerts are there")
        for service in services:
            service.until_ready()
        assert [service.stop() for service in services] == [0, 0]
    finally:
        for service in services:
            service.kill()
    assert delivered(stand) == expected, f"SEED={SEED}"


def _feed_slowly(stand: Stand, bank: Path) -> None:
    with Producer(stand.settings) as producer:
        begun = time.monotonic()
        for number, (key, value) in enumerate(lines_of(bank)):
            while number > PACE * (time.monotonic() - begun):
                time.sleep(0.01)
            producer.send(stand.events, key, value)
        producer.flush(60.0)
