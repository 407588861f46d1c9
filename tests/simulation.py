"""A broker that is a dictionary, for the service as it is: every fate that a transaction can have, by a die, thousands of times a minute.

It stands in for nothing that a real broker is asked in other tests; it shows what no real one can be made to: that whatever dies, at any
step and in any order, the outputs are those of an undisturbed run.
"""

from __future__ import annotations

import gc
import random
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
import world
from promotions import Registry, Versions, first, judging

from detector.checkpoints import Checkpoints
from detector.core.events import EventBatch, Records
from detector.core.formats.native import Limits, decode
from detector.core.frame import DAY
from detector.core.pipeline import InForce, Outcome, Pipeline, Policy
from detector.core.views import EMPLOYEE
from detector.delivery import Message, Plan
from detector.holdings import Holdings
from detector.marks import Mark, read_mark
from detector.metrics import Metrics
from detector.refusals import Refusals
from detector.restore import Making
from detector.sandbox.company import Day
from detector.service import Service
from detector.takeovers import Takeovers

PLAN = Plan(world.TOPIC, "alerts", "notables", "daily", "dead-letters", "state", 1000, 0.02, "writer")
PARTITIONS = 2
TOGETHER = 1
"""Blocks of daily records in a transaction, so that they have to wait."""


class Death(BaseException):
    """Of the process."""


class Doubt(Exception):  # noqa: N818  as in detector.kafka
    phase = "commit"


@cache
def log() -> tuple[Records, ...]:
    """The company's last four days, a half for each partition."""
    days = list(world.company().days(world.END - 4 * DAY, world.END))
    arrival = np.concatenate([day.arrival for day in days])
    keys, values = ([part for day in days for part in getattr(day, name)] for name in ("keys", "values"))
    halves = []
    for p in range(PARTITIONS):
        rows = [i for i, key in enumerate(keys) if key[-1] % PARTITIONS == p]
        halves.append(world.as_records(Day(arrival[rows], [keys[i] for i in rows], [values[i] for i in rows]), 0))
    return tuple(
        Records(r.topic, p, r.data, r.offset, r.timestamp, r.key, r.value, r.headers, r.broken) for p, r in enumerate(halves)
    )  # fmt: skip


def understood_mark(metadata: str) -> Mark:
    mark = read_mark(metadata)
    assert mark is not None
    return mark


def understood(records: Records) -> EventBatch:
    return decode(records, Limits())


class Poisoned(Pipeline):
    """Fails at some records, when the state has seen them already; in some processes, and in others it does not."""

    fails = False
    at = (100, 101, 700)

    def process(self, batch: EventBatch, *args: Any) -> Outcome:
        outcome = super().process(batch, *args)
        if self.fails and np.isin(batch.offset, self.at).any():
            raise RuntimeError("poison")
        return outcome


def pipeline(starts: int, what: InForce | None = None) -> Pipeline:
    model, framer = what or judging(first())
    return Poisoned(EMPLOYEE, model, framer.context, Policy(world.BUDGET, starts), 1000)


@dataclass
class Broker:
    """What outlives a process."""

    events: tuple[Records, ...]
    topics: dict[tuple[str, int], list[tuple[bytes, bytes]]] = field(default_factory=dict)
    """What was compacted away is (b"", b"")."""
    offsets: dict[int, tuple[int, str]] = field(default_factory=dict)
    served: Versions = field(default_factory=first)
    changes: dict[int, dict[int, Versions]] = field(default_factory=lambda: {p: {} for p in range(PARTITIONS)})
    """By partition: from which offset on which model and context were in force, as committed."""

    def take(self, messages: Sequence[Message], offsets: Mapping[tuple[str, int], tuple[int, str]]) -> list[int]:
        """A transaction that is committed."""
        places = []
        for topic, key, value, partition in messages:
            held = self.topics.setdefault((topic, partition or 0), [])
            if topic == PLAN.state:  # as a cleaner that never rests would
                held[:] = [(b"", b"") if old == key else (old, said) for old, said in held]
            places.append(len(held))
            held.append((key or b"", value))
        for (_, p), to in offsets.items():
            assert self.offsets.get(p) != to, "after a doubt, nobody could tell whether this transaction happened"
        self.offsets |= {p: to for (_, p), to in offsets.items()}
        for p, (_, mark) in self.offsets.items():
            self.changes[p] |= dict(understood_mark(mark).changes)
        return places

    def values(self, topic: str) -> list[bytes]:
        return [value for _, value in self.topics.get((topic, 0), [])]


class Source:
    """A member of a group of one, which loses partitions and gets them back."""

    def __init__(self, broker: Broker, dice: random.Random) -> None:
        self._broker, self._dice = broker, dice
        self._at = dict.fromkeys(range(PARTITIONS), 0)
        self._flowing: set[int] = set()
        self._changes: deque[tuple[str, frozenset[int]]] = deque([("assigned", frozenset(self._at))])
        self._lost: set[int] = set()
        self.idle = self.turns = 0
        self.stop: Callable[[bool], None] = lambda finished: None

    def poll(self, timeout: float, limit: int) -> list[Records]:
        found = []
        for p in sorted(self._flowing):
            most = self._dice.choice([1, 20, 100, 300])
            if len(run := self._broker.events[p].take(slice(self._at[p], self._at[p] + most))):
                self._at[p] += len(run)
                found.append(run)
        if self._lost and self._dice.random() < 0.4:
            self._changes.append(("assigned", frozenset(self._lost)))
            self._lost.clear()
        elif self._dice.random() < 0.06:  # what is lost comes back, at once or later; what was just read of it is handed out all the same
            self._lost = {p for p in self._at if self._dice.random() < 0.6}
            self._flowing -= self._lost
            self._changes.append(("revoked", frozenset(self._lost)))
            if self._dice.random() < 0.5:
                self._changes.append(("assigned", frozenset(self._lost)))
                self._lost.clear()
        self.idle = 0 if found or len(self._flowing) < PARTITIONS else self.idle + 1
        self.turns += 1
        if self.idle > 3:
            self.stop(True)
        elif self._dice.random() < 0.03 or self.turns > 200:  # it may wait for what a person has to mend
            self.stop(False)
        return found

    def membership(self) -> frozenset[int]:
        return frozenset(self._at) - self._lost

    def changes(self) -> Sequence[tuple[str, frozenset[int]]]:
        found = list(self._changes)
        self._changes.clear()
        return found

    def committed(self, partitions: Iterable[int]) -> Mapping[int, tuple[int, str] | None]:
        return {p: self._broker.offsets.get(p) for p in partitions}

    def bounds(self, partitions: Iterable[int]) -> Mapping[int, tuple[int, int]]:
        return {p: (0, len(self._broker.events[p])) for p in partitions}

    def position(self, partition: int) -> int:
        return self._at[partition]

    def written(self, partition: int) -> int:
        return len(self._broker.events[partition])

    def topic_id(self) -> str:
        return "the log"

    def seek(self, partition: int, offset: int) -> None:
        self._at[partition] = offset

    def pause(self, partitions: Iterable[int]) -> None:
        self._flowing -= set(partitions)

    def resume(self, partitions: Iterable[int]) -> None:
        self._flowing |= set(partitions)

    def close(self, timeout: float) -> None: ...


class Sink:
    """Decides what becomes of a transaction."""

    def __init__(self, broker: Broker, dice: random.Random, fates: Counter[str]) -> None:
        self._broker, self._dice, self._fates = broker, dice, fates
        self.stop: Callable[[bool], None] = lambda finished: None
        self.calm = False
        """Nothing happens any more."""

    def deliver(self, messages: Sequence[Message], offsets: Mapping[Any, Any], membership: Any) -> Sequence[int]:
        assert {p for _, p in offsets} <= membership, "a broker refuses who does not have the partition"
        fate = self._dice.choices(
            ("done", "doubt before", "doubt after", "death before", "death after"), (1, 0, 0, 0, 0) if self.calm else (30, 3, 3, 1, 1)
        )[0]
        self._fates[fate] += 1
        assert sum(message.topic == PLAN.daily for message in messages) <= TOGETHER
        places = self._broker.take(messages, offsets) if fate in ("done", "doubt after", "death after") else []
        if fate.startswith("doubt"):
            if self._dice.random() < 0.2:
                self.stop(False)
            raise Doubt
        if fate.startswith("death"):
            raise Death
        return places

    def settle(self, deadline: float) -> bool:
        return False

    def close(self) -> None: ...


class StateLog:
    """The state topic, read a few records at a time."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._at: dict[int, int] = {}

    def _held(self, partition: int) -> list[tuple[bytes, bytes]]:
        return self._broker.topics.get(("state", partition), [])

    def bounds(self, partition: int) -> tuple[int, int]:
        return 0, len(self._held(partition))

    def begin(self, partition: int, offset: int) -> None:
        self._at[partition] = offset

    def end(self, partition: int) -> None:
        self._at.pop(partition, None)

    def position(self, partition: int) -> int:
        return self._at[partition]

    def poll(self, timeout: float) -> list[Records]:
        found = []
        for p, at in self._at.items():
            if some := self._held(p)[at : at + 3]:
                self._at[p] += len(some)
                day = Day(np.zeros(len(some), np.int64), [key for key, _ in some], [value for _, value in some])
                run = world.as_records(day, at)
                found.append(Records("state", p, run.data, run.offset, run.timestamp, run.key, run.value, run.headers, run.broken))
        return found

    def diagnosis(self, partition: int) -> str:
        return "nobody knows"

    def close(self) -> None: ...


def making(registry: Registry, **settings: Any) -> Making:
    return Making(world.TOPIC, pipeline, registry, lambda: Refusals(10**9, 1.0), **{"basis": "as ever", **settings})


def process(broker: Broker, seed: int, fates: Counter[str], interval: float = 0.0, calm: bool = False) -> bool:
    """One process, from its start to its end. Whether it ended because there was nothing left to do. `interval`: between snapshots."""
    dice = random.Random(seed)
    source, sink, figures = Source(broker, dice), Sink(broker, dice, fates), Metrics()
    running = Service(
        lambda: source, sink, Doubt, understood,
        Holdings(lambda: Takeovers(StateLog(broker)), making(Registry(broker, dice)), 0, figures),
        Checkpoints(interval, "as ever", lambda *_: fates.update(["snapshot"])),
        figures, PLAN,
    )  # fmt: skip
    finished: list[bool] = []
    sink.calm = calm

    def stop(all_done: bool) -> None:
        finished[:] = [all_done]
        sink.calm = calm or all_done
        running.stopping = True

    source.stop = sink.stop = stop
    gc.freeze()  # as `serve` does: each heartbeat collects garbage
    try:
        running.run()
    except Death:
        return False
    finally:
        gc.unfreeze()
    return any(finished)
