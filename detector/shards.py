"""Shards: a training's work on some of the employees, and the crew that does it, in this process or anywhere else.

THE SEAM FOR A CLUSTER. Training knows a `Crew`, and a crew holds `Shard`s, each in a place of its own. All of an employee's events go to
one shard, in order (core/routing cuts the log). Once a day, and at the end, all shards are asked the same and all answers awaited: the
barrier. Whoever wants to train elsewhere makes one `Shard(Task(...))` in each place and a class with these methods:

    take(parts)        parts[i] is for shard i; it may come back before the work is done, but work is done in the order of the calls
    each(name, *args)  calls that method of every shard after all that was taken, and gives the answers in the order of shards
    close()

All that goes to a shard and all that comes back are dataclasses and tuples of arrays and plain values. `detector/processes.py` does it
with processes of this machine; `Here` below without any.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from detector.core import hypotheses as catalogue
from detector.core.baselines import Baselines
from detector.core.collecting import Bars, Collection
from detector.core.context import Context
from detector.core.daily import Daily
from detector.core.estimators.isolation_forest import PackedForest
from detector.core.estimators.tails import Tails
from detector.core.events import EventBatch, Records
from detector.core.exclusions import NOBODY, Exclusions
from detector.core.features import Matrix
from detector.core.fitting import FOREST_ROWS, Held, Maxima
from detector.core.formats.native import Limits, decode
from detector.core.frame import DAY
from detector.core.lookups import Hashes
from detector.core.model import signals_of
from detector.core.signals import accumulators, explanation
from detector.core.tracking import Observed, Tracker
from detector.core.views import View


@dataclass(frozen=True, slots=True)
class Task:
    """What every shard of a training must know."""

    view: View
    hypotheses: tuple[str, ...]
    context: Context
    limits: Limits = field(default_factory=Limits)
    begin: int = 0
    """Ms; events before it are left out."""
    until: int | None = None
    """Ms; events at it or after are left out."""
    excluded: Exclusions = NOBODY
    seed: int = 0
    max_keys: int = 10_000_000

    @property
    def signals(self) -> tuple[str, ...]:
        return signals_of([catalogue.find(name) for name in self.hypotheses])


@dataclass(slots=True)
class Seen:
    """What a shard has seen; of several shards, the sum."""

    events: int = 0
    repeated: int = 0
    excluded: int = 0
    """Events that built state, and were not learned from."""
    employees: int = 0
    first: int = np.iinfo(np.int64).max
    last: int = 0
    on_people: int = 0
    """Accesses to a person's data."""
    with_reason: int = 0
    """Those of them with a purpose, or to somebody assigned."""
    refused: Counter[str] = field(default_factory=Counter)
    """Records that were no events, by reason."""

    def __add__(self, other: Seen) -> Seen:
        return Seen(
            self.events + other.events, self.repeated + other.repeated, self.excluded + other.excluded, self.employees + other.employees,
            min(self.first, other.first), max(self.last, other.last), self.on_people + other.on_people,
            self.with_reason + other.with_reason, self.refused + other.refused,
        )  # fmt: skip


class Turned(NamedTuple):
    """What a shard says at a day's turn."""

    ended: Daily | None
    """Records of the day that is over, without those that are not learned from."""
    last: int
    """Ms; the latest event so far."""
    held: int
    """Events that are kept for the held-out days."""
    sampled: int


class Shard:
    """The one pass over the history of some employees: features of each day against baselines learned from the days before."""

    def __init__(self, task: Task) -> None:
        self.task, self.seen = task, Seen()
        self.tracker = Tracker(task.view, task.context, Baselines.blank(accumulators.K), len(task.hypotheses), task.max_keys)
        names = task.view.names
        columns = np.array([names.index(s) for s in task.signals], np.int64)
        self.kept = Collection(columns, names.index("harvest"), task.seed)
        self._spoilt: list[Hashes] = []
        self._held: Held | None = None

    def take(self, part: Records | EventBatch) -> None:
        """Events of the open day, and late ones."""
        if isinstance(part, Records):
            part = decode(part, self.task.limits)
            self.seen.refused.update(letter.reason for letter in part.dead)
        until = np.iinfo(np.int64).max if self.task.until is None else self.task.until
        outside = (part.time < self.task.begin) | (part.time >= until)
        batch = part.take(np.flatnonzero(~outside)) if outside.any() else part
        if not len(batch):
            return
        seen = self.seen
        seen.events += len(batch)
        seen.first, seen.last = min(seen.first, int(batch.time.min())), max(seen.last, int(batch.time.max()))
        for observed in self.tracker.observe(batch):
            self._collect(batch, observed)

    def turn(self, day: int) -> Turned:
        """The log has come to this day."""
        ended = self.tracker.turn(day)
        if ended is not None:
            covered = self.task.excluded.covers(ended.key, np.full(len(ended), ended.day * DAY), lasting=DAY)
            spoilt = np.isin(ended.key, np.concatenate(self._spoilt)) if self._spoilt else covered
            ended = ended.take(np.flatnonzero(~(covered | spoilt))) if (covered | spoilt).any() else ended
        self._spoilt.clear()
        return Turned(ended, self.seen.last, *self.kept.counts())

    def adopt(self, baselines: Baselines, bars: Bars) -> None:
        self.tracker.adopt(baselines)
        self.kept.keep(bars)

    # --- when all is seen

    def summary(self) -> tuple[Seen, tuple[Hashes, Matrix]]:
        """What was seen, and some golden vectors."""
        self.seen.repeated, self.seen.employees = self.tracker.repeated, len(self.tracker.state)
        return self.seen, self.kept.golden()

    def hold_out(self, hypotheses: Sequence[str], held_from: int) -> tuple[Maxima, tuple[Hashes, Matrix]]:
        """Day maxima of the signals of these hypotheses on the held-out days, and some of what came before: (priority, values)."""
        on = [catalogue.find(name) for name in hypotheses]
        priority, values = self.kept.taught(held_from, FOREST_ROWS)
        columns = [self.task.signals.index(s) for s in signals_of(on)]
        self._held = Held(self.kept.hold_out(held_from), on, self.task.signals, self.task.view.names)
        return self._held.signals(), (priority, values.reshape(-1, len(self.task.signals))[:, columns])

    def joined(self, signal_tails: Tails, forest: PackedForest) -> Maxima:
        assert self._held is not None
        return self._held.joined(signal_tails, forest)

    def scores(self, joined_tails: Tails, factors: NDArray[np.float64] | float = 1.0) -> Maxima:
        assert self._held is not None
        return self._held.scores(joined_tails, factors)

    def _collect(self, batch: EventBatch, observed: Observed) -> None:
        frame, features, rows = observed.frame, observed.features, observed.row
        key = batch.hashes(self.task.view.key)[rows]
        event, time, values = batch.hashes("event_id")[rows], frame.time, features.values
        on_people = frame.on_person()
        self.seen.on_people += int(on_people.sum())
        reason = (frame.purpose != 0) | (features.column("w") < 2 * explanation.W_ASSIGNED)
        self.seen.with_reason += int((on_people & reason).sum())
        covered = self.task.excluded.covers(key, time)
        if covered.any():
            self.seen.excluded += int(covered.sum())
            self._spoilt.append(np.unique(key[covered]))
            key, event, time, values = key[~covered], event[~covered], time[~covered], values[~covered]
        self.kept.add(self.tracker.day, key, event, time, values)


class Crew(Protocol):
    """Shards at work; see above."""

    def take(self, parts: Sequence[Records | EventBatch]) -> None: ...
    def each(self, name: str, *args: Any) -> list[Any]: ...
    def close(self) -> None: ...


class Here:
    """A crew of one, in this process."""

    def __init__(self, task: Task) -> None:
        self._shard = Shard(task)

    def take(self, parts: Sequence[Records | EventBatch]) -> None:
        (part,) = parts
        self._shard.take(part)

    def each(self, name: str, *args: Any) -> list[Any]:
        return [getattr(self._shard, name)(*args)]

    def close(self) -> None:
        pass
