"""The laws of the house as checks: each raises AssertionError where it does not hold. `seed` chooses a stretch of the company's log."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import msgspec
import numpy as np
import pytest
import world

from detector import replay, training
from detector.core import alerts, tracking
from detector.core.baselines import Baselines
from detector.core.daily import Daily
from detector.core.events import EventBatch
from detector.core.frame import DAY, HOUR
from detector.core.pipeline import Outcome, Pipeline
from detector.core.views import EMPLOYEE

FEW = 20
"""As `max_keys`: fewer than work at the same time, so that keys are evicted."""


def story(seed: int, length: int = 700) -> EventBatch:
    """A stretch of the company's log over several days, made worse: late and early events, in places out of order, some sent twice."""
    rng = np.random.default_rng(seed)
    start = int(rng.integers(len(world.live()) - length))
    order = np.argsort(np.arange(length) + rng.integers(0, 4, length), kind="stable")
    sent_again = np.sort(rng.choice(length, 40)) + 1
    some = world.live().take(start + np.insert(order, sent_again, order[sent_again - 1]))
    n = len(some)
    some_days, some_minutes = rng.integers(-3 * DAY, DAY // 2, n), rng.integers(-HOUR, HOUR, n)
    moved = np.select([rng.random(n) < p for p in (0.05, 0.05)], [some_days, some_minutes], 0) + np.arange(n) // 200 * DAY
    repeated = np.array([row.event_id for row in some.rows])
    moved[1:] = np.where(repeated[1:] == repeated[:-1], moved[:-1], moved[1:])
    return EventBatch(some.topic, 0, np.arange(n), some.broker_time, some.time + moved, some.rows)


def task(max_keys: int = 1000) -> Pipeline:
    """A new task that has seen nothing, with a budget of so many alerts that a stretch of a day has some."""
    return world.pipeline(max_keys, budget=300.0)


def play(made: Pipeline, batch: EventBatch, cuts: Sequence[int] = ()) -> list[Outcome]:
    edges = [0, *sorted(cut % (len(batch) + 1) for cut in cuts), len(batch)]
    return [made.process(batch.take(slice(a, b))) for a, b in pairwise(edges)]


def told(outcomes: Sequence[Outcome]) -> list[bytes]:
    return [value for outcome in outcomes for _, value in outcome.alerts]


def recorded(outcomes: Sequence[Outcome]) -> list[Any]:
    """Daily records of the days that ended."""
    return [as_bytes(daily) for outcome in outcomes for daily in outcome.daily]


def as_bytes(daily: Daily) -> tuple[int, dict[str, tuple[str, tuple[int, ...], bytes]]]:
    return daily.day, frozen({"key": daily.key, "team": daily.team, **daily.columns})


def frozen(arrays: dict[str, Any]) -> dict[str, tuple[str, tuple[int, ...], bytes]]:
    return {name: (a.dtype.str, a.shape, a.tobytes()) for name, a in arrays.items()}


def differing(one: Pipeline, other: Pipeline) -> list[str]:
    """Columns of the snapshots that are not byte-equal."""
    a, b = frozen(one.snapshot()), frozen(other.snapshot())
    return sorted(name for name in a.keys() | b.keys() if a.get(name) != b.get(name))


# --- 1. Where batches are cut changes nothing


def cuts_change_nothing(seed: int, cuts: Sequence[int], max_keys: int = FEW) -> None:
    batch = story(seed)
    whole, pieces = task(max_keys), task(max_keys)
    expected, found = play(whole, batch), play(pieces, batch, cuts)
    assert told(found) == told(expected)
    assert recorded(found) == recorded(expected)
    assert differing(whole, pieces) == []
    for part in ("score", "rarity", "forest", "hypothesis"):
        a, b = (np.concatenate([getattr(s, part) for o in outcomes for s in o.scores]) for outcomes in (expected, found))
        assert a.tobytes() == b.tobytes()


# --- 3. A record delivered twice counts once


def twice_is_once(seed: int, again: Sequence[tuple[int, int]]) -> None:
    """`again`: (position, how many events later it comes once more)."""
    batch = story(seed, 400)
    n = len(batch)
    order = sorted([(float(i), i, 2 * i) for i in range(n)] + [(i % n + gap + 0.5, i % n, -1) for i, gap in again])
    rows = np.array([i for _, i, _ in order])
    offset = np.maximum.accumulate([at for *_, at in order]) + np.array([at < 0 for *_, at in order])
    doubled = EventBatch(batch.topic, 0, offset, batch.broker_time[rows], batch.time[rows], [batch.rows[i] for i in rows])
    once, double = task(), task()
    plain = EventBatch(batch.topic, 0, batch.offset * 2, batch.broker_time, batch.time, batch.rows)
    expected, found = play(once, plain), play(double, doubled)
    assert told(found) == told(expected)
    assert recorded(found) == recorded(expected)
    assert differing(once, double) == []
    assert double.tracker.repeated - once.tracker.repeated == len(again)


# --- 4. Saved and restored state is the same state


def restoring_changes_nothing(seed: int, at: int, max_keys: int = FEW) -> None:
    batch = story(seed)
    at %= len(batch)
    one, other = task(max_keys), task(max_keys)
    expected = play(one, batch, [at])
    first = task(max_keys)
    before = play(first, batch.take(slice(0, at)))
    other.restore({name: a.copy() for name, a in first.snapshot().items()})
    assert differing(first, other) == []
    after = play(other, batch.take(slice(at, None)))
    assert told([*before, *after]) == told(expected)
    assert recorded([*before, *after]) == recorded(expected)
    assert differing(one, other) == []


# --- 5. Live, replay and training see the same features


@contextmanager
def watched() -> Iterator[dict[str, bytes]]:
    """What every tracker computes meanwhile: event id -> its feature row."""
    seen: dict[str, bytes] = {}
    original = tracking.Tracker.observe

    def observe(self: tracking.Tracker, batch: EventBatch) -> Iterator[tracking.Observed]:
        for part in original(self, batch):
            seen.update((batch.rows[row].event_id, values.tobytes()) for row, values in zip(part.row, part.features.values, strict=True))
            yield part

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tracking.Tracker, "observe", observe)
        yield seen


def all_see_the_same(seed: int, poll: int = 97) -> None:
    """Training learns its baselines anew each day, and replay can; here all are held to the model's, which live service uses."""
    batch, baselines = world.history(), world.model().baselines
    with watched() as live:
        play(task(), batch, range(0, len(batch), poll))
    with watched() as replayed:
        parts = replay.replay([batch], task, world.TOPIC, 1 + seed % 5, nightly=False)
        assert sum(len(part.batch) for part in parts) == len(batch)
    with watched() as taught, pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "_fitted", lambda *_: lambda _: None)
        patch.setattr(training.Window, "learn", lambda *_: baselines)
        patch.setattr(Baselines, "blank", lambda *_: baselines)
        training.train([batch], EMPLOYEE, (), world.context(), None, 0, 1000)
    assert live.keys() == replayed.keys() == taught.keys()
    assert live == replayed
    assert live == taught


# --- 7. A row scored alone equals that row among many


def alone_is_among_many(seed: int, sizes: Sequence[int] = (1,)) -> None:
    tracker = task().tracker
    rows = np.concatenate([seen.features.values for seen in tracker.observe(story(seed, 300))])
    among, at = world.model().rarities(rows), 0
    for size in [*sizes, *[1] * len(rows)]:
        part = world.model().rarities(rows[at : at + size])
        for name in among._fields:
            assert getattr(part, name).tobytes() == getattr(among, name)[at : at + size].tobytes(), f"{name} of rows {at} to {at + size}"
        at += size
        if at >= len(rows):
            return


# --- 8. Memory is bounded


def memory_is_bounded(seed: int, max_keys: int = FEW) -> None:
    made = task(max_keys)
    play(made, story(seed, 1200), [100, 300])
    kept = made.tracker.state
    assert len(kept) <= max_keys and kept.evicted > 0
    assert all(len(a) <= max_keys for a in kept.columns.values())
    assert sum(a.nbytes for a in kept.columns.values()) == kept.bytes_per_key * max_keys
    assert kept.bytes_per_key <= 4096, f"{kept.bytes_per_key} bytes an employee"


# --- 10. Event time only


def clocks_do_not_matter(seed: int, shift: int = 11 * DAY + 5) -> None:
    batch = story(seed)
    broker = batch.broker_time + np.random.default_rng(seed).integers(0, abs(shift), len(batch)) * np.sign(shift)
    one, other = task(), task()
    expected = play(one, batch)
    found = play(other, EventBatch(batch.topic, 0, batch.offset, broker, batch.time, batch.rows))
    assert _without_lateness(found) == _without_lateness(expected)
    assert recorded(found) == recorded(expected)
    assert set(differing(one, other)) <= {"chain"}
    assert sum(o.late for o in found) == int((broker - batch.time > 7 * DAY).sum())


def _without_lateness(outcomes: Sequence[Outcome]) -> list[dict[str, Any]]:
    return [{**msgspec.json.decode(value), "late": None, "prev_hash": None} for value in told(outcomes)]


# --- Alerts are a chain, and the same event gives the same alert


def alerts_are_a_chain(seed: int) -> None:
    head = "0" * 64
    values = told(play(task(FEW), story(seed), range(0, 700, 50)))
    assert values
    for seq, value in enumerate(values):
        said = msgspec.json.decode(value)
        assert (said["seq"], said["prev_hash"]) == (seq, head)
        head = alerts.chain_hash(value)
