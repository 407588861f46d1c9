"""What a long run under faults stands on: a broker that may be killed, a company that never stops working, topics and a trained model.

Everything lies in one folder, under fixed names, so that a run that was interrupted finds it again.
"""

from __future__ import annotations

import json
import random
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

from kafka import KafkaConsumer, TopicPartition

from detector.config import moment
from detector.errors import BrokerError
from detector.kafka.producer import Producer
from detector.sandbox.broker import Broker
from detector.sandbox.company import Company

sys.path.insert(0, str(Path(__file__).parents[1] / "integration"))
from bad_records import BAD
from harness import PARTITIONS, Stand, detector
from oracle import ends, home

STARTS = moment("2026-02-26T00:00:00Z")
"""Ms; before it the model was trained, from then on events are fed: two months of them before the present is reached."""
DAY = 86_400_000
TRAINING = 10
"""Days."""
BAD_SHARE = 0.1
"""Of records, so that hardly any transaction is without an output."""
FOUR_DAYS = 4

Event = tuple[bytes, bytes | None]


class Ground:
    """`broker` is not started yet; `stand()` needs it running."""

    def __init__(self, folder: Path, seed: int, employees: int = 120) -> None:
        self.folder, self.seed, self.employees = folder, seed, employees
        self.broker = Broker(folder / "broker")

    def company(self) -> Company:
        """With somebody who exports in bulk every few days, so that there is something to find."""
        made = Company(self.employees, self.seed, end=STARTS)
        for day in range(1, 60, FOUR_DAYS):
            made.plant("bulk-export", STARTS + day * DAY)
        return made

    def prepare(self) -> None:
        """Context and model, where they are not there yet."""
        if (self.folder / "models").exists():
            return
        company, history = self.company(), self.folder / "history.ndjson"
        company.write_context(self.folder / "context")
        company.write_history(history, TRAINING)
        context = ("--context", str(self.folder / "context"))
        detector("train", "--events", str(history), *context, "--out", str(self.folder / "made"))
        (self.folder / "made").rename(self.folder / "models")  # all of it or nothing

    def stand(self, kind: type[Stand] = Stand, /, **sections: dict[str, Any]) -> Stand:
        own: dict[str, dict[str, Any]] = {
            "context": {"folder": str(self.folder / "context")}, "models": {"registry": str(self.folder / "models")},
            "detection": {"budget": 1000.0}, "input": {"max_age": 1e10}, "alerts": {"start": str(STARTS)},
        }  # fmt: skip
        return kind(self.broker, self.folder, lambda name: name, **{n: own.get(n, {}) | sections.get(n, {}) for n in own | sections})

    def records(self) -> Iterator[Event]:
        """Work, day after day, with a bad record now and then. Two calls give the same."""
        dice = random.Random(self.seed)
        number = 0
        for day in self.company().days(STARTS):
            for key, value in zip(day.keys, day.values, strict=True):
                number += 1
                if dice.random() < BAD_SHARE:
                    yield key, dice.choice(BAD)(number)
                yield key, value


@cache
def partition_of(key: bytes) -> int:
    return home(key.decode())


class Feeder(threading.Thread):
    """Feeds the records at `rate` a second, but never more than `ahead` beyond what is committed.

    What each partition holds already says where to go on: after an interruption, and where the broker was away for too long. So it needs
    no state of its own; that a record may then come twice is nothing that a log does not know.
    """

    def __init__(self, stand: Stand, records: Callable[[], Iterator[Event]], rate: float, ahead: int, gauge: Gauge) -> None:
        super().__init__(name="feeder", daemon=True)
        self.rate, self.sent, self.stopping = rate, 0, False
        self._stand, self._records, self._ahead, self._gauge = stand, records, ahead, gauge

    def run(self) -> None:
        while not self.stopping:
            try:
                self._feed(Counter(ends(self._stand, self._stand.events, "read_uncommitted")))
                return
            except BrokerError:
                time.sleep(0.5)

    def stop(self, seconds: float = 60.0) -> None:
        """All that was sent is in the log when this returns."""
        self.stopping = True
        self.join(seconds)
        assert not self.is_alive(), "the feeder does not end"

    def _feed(self, there: Counter[int]) -> None:
        self.sent = there.total()
        with Producer(self._stand.settings) as producer:
            due = time.monotonic()
            for key, value in self._records():
                place = partition_of(key)
                if there[place] > 0:
                    there[place] -= 1
                    continue
                while not self.stopping and (time.monotonic() < due or self.sent - self._gauge.events > self._ahead):
                    time.sleep(0.005)
                if self.stopping:
                    break
                producer.send(self._stand.events, key, value, partition=place)
                self.sent += 1
                due = max(due + 1 / self.rate, time.monotonic() - 1.0)  # what was missed is made up for a second at most
                if self.sent % 1000 == 0:
                    producer.flush(30.0)
            producer.flush(60.0)


class Gauge(threading.Thread):
    """How far the group has committed, each second, as long as the broker answers."""

    def __init__(self, stand: Stand) -> None:
        super().__init__(name="gauge", daemon=True)
        self.events = self.alerts = 0
        self.stopping = False
        self._stand = stand

    def run(self) -> None:
        client = None
        while not self.stopping:
            try:
                client = client or KafkaConsumer(**self._stand.settings, group_id=self._stand.group, enable_auto_commit=False)
                self._look(client)
            except Exception:  # the broker is away, on purpose
                if client is not None:
                    client.close(autocommit=False)
                client = None
            time.sleep(1.0)

    def _look(self, client: Any) -> None:
        places = [TopicPartition(self._stand.events, p) for p in range(PARTITIONS)]
        found = [client.committed(place, metadata=True, timeout_ms=3000) for place in places]
        known = [at for at in found if at is not None and at.offset >= 0]
        self.events = sum(at.offset for at in known)
        self.alerts = sum(int(json.loads(at.metadata)["seq"]) for at in known)
