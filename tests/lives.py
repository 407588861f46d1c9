"""Lives of processes against a broker that is a dictionary, one after the other until everything is done; and what must come of them."""

from __future__ import annotations

import dataclasses
import json
import math
import random
from collections import Counter
from collections.abc import Mapping
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import world
from clock import quick
from msgspec.structs import replace
from promotions import Registry, Versions, contexts, first, judging, models
from simulation import PARTITIONS, TOGETHER, Broker, Death, Poisoned, StateLog, log, making, pipeline, process, understood

from detector import checkpoints, delivery, failpoints, service
from detector.core import daily_blocks, heartbeats, snapshots
from detector.core.daily_blocks import Origin, Place, blocks_of, encode
from detector.core.snapshots import Assembly, chunk_key
from detector.core.views import EMPLOYEE
from detector.errors import StateError
from detector.marks import encode_mark, read_mark
from detector.restore import Found, take_over
from detector.takeovers import Takeovers
from detector.tasks import Saved, Task

SMALL = 5 << 10
"""So that a day of this small company is of several blocks, and its state of several chunks."""
NAMES = ("after_poll", "mid_snapshot", "mid_restore", "mid_replay")
END = 10**6
Outputs = dict[str, list[bytes]]


def origin(p: int) -> Origin:
    return Origin(EMPLOYEE.name, world.TOPIC, p)


def truth(changes: Mapping[int, Mapping[int, Versions]], without: tuple[tuple[int, int], ...] = ()) -> tuple[Outputs, list[bytes]]:
    """What has to be delivered of the whole log, partition after partition; and the final states. `changes`: by partition, from which
    offset on which model and context were in force. `without`: (partition, offset) of records that were set aside.
    """
    told: Outputs = {"alerts": [], "notables": [], "daily": []}
    final = []
    for p in range(PARTITIONS):
        task, records = pipeline(0), log()[p]
        aside = [offset for where, offset in without if where == p]
        kept = records.take(np.flatnonzero(~np.isin(records.offset, aside)))
        for start, stop in pairwise([*sorted(changes[p]), END]):
            task.adopt(*judging(changes[p][start]))
            outcome = task.process(understood(kept.take((kept.offset >= start) & (kept.offset < stop))))
            told["alerts"] += [value for _, value in outcome.alerts]
            told["notables"] += [value for _, value in outcome.notables]
            told["daily"] += [encode(origin(p), daily, chunk) for daily in outcome.daily for chunk in range(blocks_of(daily))]
        final.append(flat(task.snapshot()))
    assert all(map(len, told.values()))
    return told, final


def set_aside(broker: Broker) -> tuple[tuple[int, int], ...]:
    letters = [json.loads(value) for value in broker.values("dead-letters")]
    assert {letter["reason"] for letter in letters} <= {"processing-error"}
    found = sorted((letter["partition"], letter["offset"]) for letter in letters)
    assert len(set(found)) == len(found)
    return tuple(found)


def flat(arrays: dict[str, Any]) -> bytes:
    return b"".join(arrays[name].tobytes() for name in sorted(arrays))


def delivered(broker: Broker) -> Outputs:
    alerts = [value for value in broker.values("alerts") if not value.startswith(b'{"kind":"heartbeat"')]
    by_input = {"alerts": alerts, "notables": broker.values("notables")}
    told = {name: sorted(values, key=lambda v: json.loads(v)["evidence"][0]["partition"]) for name, values in by_input.items()}
    return told | {"daily": sorted(broker.values("daily"), key=lambda v: daily_blocks.decode(v).origin.partition)}


def states(broker: Broker) -> list[bytes]:
    """Of the newest snapshots."""
    found = []
    for p in range(PARTITIONS):
        mark, held = read_mark(broker.offsets[p][1]), broker.topics["state", p]
        assert mark is not None
        made = Assembly(held[mark.snapshot][1], origin(p))
        for i in range(made.chunks):
            chunk = next((value for key, value in held[made.since :] if key == chunk_key(made.generation, i)), None)
            assert chunk is not None, "the newest snapshot lacks a chunk"
            made.add(i, chunk)
        assert made.offset == broker.offsets[p][0]
        found.append(flat(made.arrays()))
    return found


def arranged(patch: pytest.MonkeyPatch) -> None:
    quick(patch)
    patch.setattr(checkpoints, "SHARE", 1e9)
    patch.setattr(checkpoints, "TOGETHER", 2)
    for module in (daily_blocks, delivery, service):
        patch.setattr(module, "TOGETHER", TOGETHER)
    patch.setattr(daily_blocks, "LIMIT", SMALL)
    patch.setattr(checkpoints, "Snapshot", _small_snapshot)


def _small_snapshot(*given: Any) -> Any:
    made = snapshots.Snapshot(*given)
    made._each = 8
    return made


def survives(seed: int, poisonous: bool = False) -> tuple[Broker, Counter[str]]:
    with pytest.MonkeyPatch.context() as patch:
        arranged(patch)
        broker, fates, dice = Broker(log()), Counter[str](), random.Random(seed)
        patch.setattr(failpoints, "at", _dying(seed, fates))
        for life in range(400):
            fates["lives"] += 1
            patch.setattr(Poisoned, "fails", poisonous and dice.random() < 0.5)
            if process(broker, seed * 1000 + life, fates):
                break
        assert fates["lives"] < 400, "it never came to an end"
        patch.setattr(Poisoned, "fails", False)
        expected, final = truth(broker.changes, set_aside(broker))
    assert delivered(broker) == expected
    assert [broker.offsets[p][0] for p in range(PARTITIONS)] == [len(records) for records in log()]
    assert states(broker) == final
    assert_chained(broker)
    fates["set aside"] = len(set_aside(broker))
    fates["changed"] = sum(len(changes) - 1 for changes in broker.changes.values())
    return broker, fates


def assert_chained(broker: Broker) -> None:
    """Heartbeats count on, and name a chain that was never longer than now."""
    for p in range(PARTITIONS):
        beats = [heartbeats.parse(value) for key, value in broker.topics["alerts", 0] if key == heartbeats.key(origin(p))]
        mark = read_mark(broker.offsets[p][1])
        assert mark is not None
        assert [beat.beat for beat in beats] == list(range(len(beats))) and len(beats) == mark.beats
        assert [beat.seq for beat in beats] == sorted(beat.seq for beat in beats)


def _dying(seed: int, fates: Counter[str]) -> Any:
    dice = random.Random(seed)

    def at(name: str) -> None:
        assert name in failpoints.NAMES
        if name in NAMES and dice.random() < (0.01 if name == "after_poll" else 0.03):
            fates[name] += 1
            raise Death

    return at


def goes_on() -> None:
    """Where the log was cut short, replaying does not tell the number of the next alert, nor the offset that was committed."""
    records, head = log()[0], "ab" * 32
    task = taken(Found(0, (1000, '{"alerts_start":0,"seq":7,"head":"%s"}' % head), 900, END, (0, 0), "", 0))  # noqa: UP031  braces
    offset, said = task.to_commit(Place(3, 1))
    assert (offset, said.seq, said.head, said.day, said.blocks) == (1000, 7, head, 3, 1)
    told = [alert for _, o in task.process(records.take(slice(900, None)), understood) for alert, _ in o.alerts]
    assert [alert.seq for alert in told] == list(range(7, 7 + len(told))) and told[0].prev_hash == head
    offset, said = task.to_commit(Place(3, 1))
    assert (offset, said.seq) == (len(records), 7 + len(told))


def taken(found: Found, broker: Broker | None = None, kept: Task | None = None, **settings: Any) -> Task:
    """By a takeover; its StateError raised."""
    broker = broker or Broker(log())
    takeovers = Takeovers(StateLog(broker))
    takeovers.begin(found.partition, take_over(found, kept, making(Registry(broker), **settings)))
    while not (done := takeovers.step(0.0)):
        pass
    outcome = done[found.partition]
    if isinstance(outcome, StateError):
        raise outcome
    return outcome


def passes_over() -> None:
    """What this process has at hand, and another has sent meanwhile."""
    kept = taken(Found(0, None, 0, END, (0, 0), "", 0))
    for _ in kept.process(log()[0], understood):
        pass
    waiting = len(kept.backlog)
    values, sent = kept.backlog.next(1)
    offset, mark = kept.to_commit(sent)
    task = taken(Found(0, (offset, encode_mark(replace(mark, state=-1))), 0, END, (0, 0), "", 0), kept=kept)
    assert task.pipeline is kept.pipeline and len(values) == 1 and len(task.backlog) == waiting - 1


def not_ahead() -> None:
    """A state that has seen more than is committed is of no use."""
    kept = taken(Found(0, None, 0, END, (0, 0), "", 0))
    for _ in kept.process(log()[0], understood):
        pass
    _, mark = kept.to_commit(kept.backlog.sent)
    task = taken(Found(0, (50, encode_mark(replace(mark, state=-1, seq=0))), 0, END, (0, 0), "", 0), kept=kept)
    assert task.pipeline is not kept.pipeline and task.position == 0


def looks_again() -> None:
    """A snapshot that this process has made and that is not named by what is committed, may not exist: another one is wanted."""
    kept = taken(Found(0, None, 0, END, (0, 0), "", 0))
    for _ in kept.process(log()[0], understood):
        pass
    waiting = len(kept.backlog)
    offset, mark = kept.to_commit(kept.backlog.next(1)[1])
    kept.delivered(offset, mark, None)
    assert len(kept.backlog) == waiting - 1
    found = Found(0, (offset, encode_mark(replace(mark, state=-1))), 0, END, (0, 0), "", 0)
    kept.saved = Saved(7, 1, offset)
    assert taken(found, kept=kept).saved.offset == -1
    kept.saved = Saved(mark.snapshot, mark.generation, offset)
    assert taken(found, kept=kept).saved.offset == offset


def plays_changes() -> None:
    """A takeover replays each event with the model and the context that it was judged by."""
    (model, stricter), (context, careless) = models(), contexts()
    turns = [judging((m, c)) for m, c in ((model, context), (stricter, context), (stricter, careless), (model, careless))]
    records, lived = log()[0], taken(Found(0, None, 0, END, (0, 0), "", 0))
    for stop, what in zip((500, 800, 1000), turns[1:], strict=True):
        for _ in lived.process(records.take((records.offset >= lived.position) & (records.offset < stop)), understood):
            pass
        lived.adopt(what)
    lived.backlog.reached(Place(END, 0))
    offset, mark = lived.to_commit(lived.backlog.sent)
    assert mark.changes == tuple((at, what.versions) for at, what in zip((0, 500, 800, 1000), turns, strict=True)) and offset == 1000
    task = taken(Found(0, (offset, encode_mark(replace(mark, state=-1))), 0, END, (0, 0), "", 0))
    for _ in task.process(records.take(records.offset < 1001), understood):
        break
    assert task.goes_by(turns[3])
    for _ in lived.process(records.take(records.offset == 1000), understood):
        pass
    assert flat(task.pipeline.snapshot()) == flat(lived.pipeline.snapshot())
    lived.snapshot_complete(Saved(7, 1, 700), "")
    assert [(at, what.versions) for at, what in lived.changes] == list(mark.changes[1:])
    for there in ((model, context), (model, careless)):  # changed by another process meanwhile
        elsewhere = replace(mark, state=-1, changes=((0, first()), (400, (stricter, context)), (900, there)))
        assert (taken(Found(0, (1500, encode_mark(elsewhere)), 0, END, (0, 0), "", 0), kept=lived).pipeline is lived.pipeline) == (
            there == lived.changes[-1][1].versions
        )


def tells_apart() -> None:
    """Transactions that move nothing, right after a takeover: the broker stand-in asserts that no two commit the same."""
    with pytest.MonkeyPatch.context() as patch:
        arranged(patch)
        broker, fates = Broker(log()), Counter[str]()
        for interval in (math.inf, 0.0):
            assert any(process(broker, seed, fates, interval, calm=True) for seed in range(50))
    assert fates["snapshot"] > 0


@cache
def done() -> Broker:
    """With everything processed, and snapshots."""
    return survives(0)[0]


def found(**changes: Any) -> Found:
    broker = done()
    return dataclasses.replace(Found(0, broker.offsets[0], 0, END, (0, len(broker.topics["state", 0])), "the log", 0), **changes)


def spoilt(change: Any) -> Broker:
    """A broker whose state topic says something else."""
    broker = Broker(log(), {place: list(held) for place, held in done().topics.items()}, dict(done().offsets))
    change(broker.topics["state", 0])
    return broker
