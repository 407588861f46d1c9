"""What an event costs: us of CPU, all threads of this process, from a real broker on loopback; and against a plain kafka-python consumer.

Run by `make bench`. One interleaved run, so that what else the machine does meets all alike; medians. Starts and ends its own broker.
"""

from __future__ import annotations

import itertools
import json
import multiprocessing
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from kafka import KafkaConsumer, KafkaProducer, TopicPartition

from detector.checkpoints import Checkpoints
from detector.core.formats.native import Limits, decode
from detector.core.pipeline import Pipeline, Policy
from detector.core.views import EMPLOYEE
from detector.delivery import Plan
from detector.holdings import Holdings
from detector.kafka.consumer import READING, Consumer
from detector.kafka.reader import Reader
from detector.kafka.security import client_settings
from detector.kafka.state_log import StateLog
from detector.kafka.topics import create, design
from detector.kafka.transactions import Doubt, Transactions
from detector.metrics import Metrics
from detector.refusals import Refusals
from detector.restore import Making
from detector.sandbox.broker import Broker
from detector.service import Service
from detector.takeovers import Takeovers

sys.path.insert(0, str(Path(__file__).parents[1]))
import world

EVENTS, PARTITIONS, WRITERS, ROUNDS = 200_000, 4, 2, 5
TOPIC = "access-events"
TARGET = 15.0
"""How many times cheaper than the stock drain the columnar one has to be."""


def event(number: int, rng: random.Random) -> bytes:
    """About 350 bytes, as an access log would say it."""
    actor = rng.randrange(5_000)
    return json.dumps({
        "event_id": f"{number:032x}", "time": time.time_ns() // 1_000_000, "actor": f"e{actor:05d}", "actor_team": f"team-{actor % 40}",
        "actor_region": "CN", "action": rng.choice(("read", "search", "list")), "resource": f"app/profile-{rng.randrange(300)}",
        "subject": f"u{rng.randrange(500_000)}", "subject_region": "US", "fields": ["email", "last_login"], "records": rng.randrange(1, 30),
        "bytes": rng.randrange(40_000), "src_ip": f"10.2.{actor % 200}.7", "src_country": "CN", "device": f"d-{actor}",
        "session": f"s-{number:x}",
    }, separators=(",", ":")).encode()  # fmt: skip


def write(settings: dict[str, Any], writer: int) -> None:
    """A producer that lingers for 64 KiB: about 190 events a batch, compressed with lz4."""
    rng = random.Random(writer)
    producer = KafkaProducer(**settings, linger_ms=50, batch_size=64 << 10, compression_type="lz4", metrics_enabled=False)
    for number in range(writer, EVENTS, WRITERS):
        value = event(number, rng)
        actor = value[value.index(b'"actor":"') + 9 :][:6]
        producer.send(TOPIC, value, key=actor, partition=int(actor[1:]) % PARTITIONS)
    producer.flush()
    producer.close()


def feed(settings: dict[str, Any]) -> None:
    create(
        settings, design({role: role for role in (TOPIC, "alerts", "notables", "daily", "dead-letters", "state-employee")}, PARTITIONS, 1)
    )
    writers = [multiprocessing.get_context("spawn").Process(target=write, args=(settings, writer)) for writer in range(WRITERS)]
    for process in writers:
        process.start()
    for process in writers:
        process.join()
        if process.exitcode:
            sys.exit("the events could not be written")


def stock(settings: dict[str, Any]) -> Callable[[], float]:
    """A KafkaConsumer as it comes, with the same fetch sizes."""
    client = KafkaConsumer(**settings, isolation_level="read_committed", **READING)
    places = [TopicPartition(TOPIC, p) for p in range(PARTITIONS)]
    client.assign(places)

    def drain() -> float:
        for place in places:
            client.seek(place, 0)
        seen, began = 0, time.process_time()
        while seen < EVENTS:
            seen += sum(map(len, client.poll(1000, max_records=10_000).values()))
        return (time.process_time() - began) / EVENTS * 1e6

    return drain


def columnar(settings: dict[str, Any], decoding: bool) -> Callable[[], float]:
    """The record reader; with `decoding`, up to events."""
    reader, limits = Reader(settings, TOPIC), Limits()

    def drain() -> float:
        seen, began = 0, time.process_time()
        for records in reader.read(dict.fromkeys(range(PARTITIONS), 0)):
            seen += len(decode(records, limits)) if decoding else len(records)
        assert seen == EVENTS, f"{seen} of {EVENTS}"
        return (time.process_time() - began) / EVENTS * 1e6

    return drain


class Stopwatch(Metrics):
    """Counts as the service does; takes the CPU time from its first batch to its last, so that joining the group is left out."""

    def __init__(self, enough: int) -> None:
        super().__init__()
        self.service: Service | None = None
        self._enough, self._events, self._begun, self._ended = enough, -1, 0.0, 0.0

    def batch(self, seconds: float, events: int, late: int = 0, dead_letters: Mapping[str, int] = {}) -> None:
        super().batch(seconds, events, late, dead_letters)
        if self._events < 0 < events:
            self._begun, self._events = time.process_time(), 0
            self._enough -= events
        elif events:
            self._events, self._ended = self._events + events, time.process_time()
            if self._events >= self._enough and self.service:
                self.service.stopping = True

    @property
    def each(self) -> float:
        """Us of CPU an event."""
        return (self._ended - self._begun) / self._events * 1e6


def whole_service(settings: dict[str, Any], batch: int) -> Callable[[], float]:
    """The service as it is, from poll to committed transaction, once it is under way; at most `batch` events a transaction."""
    enough, limits, runs = min(EVENTS, 100 * batch), Limits(), itertools.count()

    def pipeline(starts: int) -> Pipeline:
        return Pipeline(EMPLOYEE, world.model(), world.context(), Policy(1.0, starts), 10_000)

    def drain() -> float:
        name, watch = f"bench-{batch}-{next(runs)}", Stopwatch(enough)
        making = Making(TOPIC, pipeline, lambda: Refusals(1000, 0.5), "bench")
        watch.service = service = Service(
            lambda: Consumer(TOPIC, name, settings), Transactions(name, settings), Doubt, lambda records: decode(records, limits),
            Holdings(lambda: Takeovers(StateLog(settings, "state-employee")), making, None, watch), Checkpoints(60.0, "bench"), watch,
            Plan(TOPIC, "alerts", "notables", "daily", "dead-letters", "state-employee", batch, writer=name),
        )  # fmt: skip
        service.run()
        return watch.each

    return drain


def main() -> int:
    with tempfile.TemporaryDirectory() as folder, Broker(Path(folder)) as broker:
        settings = client_settings({"bootstrap_servers": broker.bootstrap})
        began = time.monotonic()
        feed(settings)
        size = sum(len(event(n, random.Random(0))) for n in range(100)) // 100
        print(f"{EVENTS:,} events of about {size} bytes written in {time.monotonic() - began:.0f} s; {ROUNDS} interleaved rounds")
        stages = {
            "stock kafka-python drain": stock(settings),
            "columnar drain": columnar(settings, False),
            "columnar drain and decode": columnar(settings, True),
            "whole service, batches of 500": whole_service(settings, 500),
            "whole service, batches of 10,000": whole_service(settings, 10_000),
        }
        spent: dict[str, list[float]] = {name: [] for name in stages}
        for turn in range(-1, ROUNDS):  # the first only warms
            for name, stage in stages.items():
                cost = stage()
                if turn >= 0:
                    spent[name].append(cost)
    return report(spent)


def report(spent: dict[str, list[float]]) -> int:
    medians = {name: statistics.median(values) for name, values in spent.items()}
    base, *_ = medians.values()
    print(f"{'stage':34s} {'us CPU/event':>13s} {'least':>8s} {'most':>8s} {'times stock':>12s}")
    for name, median in medians.items():
        print(f"{name:34s} {median:13.2f} {min(spent[name]):8.2f} {max(spent[name]):8.2f} {median / base:12.3f}")
    times = base / medians["columnar drain"]
    print(f"the columnar drain is {times:.1f} times cheaper than stock (target {TARGET:.0f})")
    return 0 if times >= TARGET else 1


if __name__ == "__main__":
    sys.exit(main())
