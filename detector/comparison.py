"""Two models on the same events: one pass, in which both see every event; what becomes of each employee-day is compared at the end.

Each model is played as it is, without a nightly refresh: what is compared is what would be put into use. Employee-days are those of the
daily records that the pipelines leave behind, so an event that is late by days counts in the day that was open.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import tee

import numpy as np

from detector.core.comparison import Comparison, Days, Shifted, compare, shifted
from detector.core.context import SERVICE, Context
from detector.core.daily import Daily, stacked
from detector.core.drift import WEEK, Window, names
from detector.core.events import EventBatch
from detector.core.frame import DAY
from detector.core.pipeline import Pipeline
from detector.core.strings import hash_strings
from detector.errors import ConfigError
from detector.replay import Replayed, replay

TOPIC = "access-events"
Two = tuple[Callable[[], Pipeline], Callable[[], Pipeline]]


def played(batches: Iterable[EventBatch], pipelines: Two, context: Context, since: int | None) -> tuple[Comparison, Days]:
    """Compares the days from `since` (ms; the first whole UTC day) to the end of the events, or the last seven.

    Events before that build state. Raises ConfigError where no employee-day is left to compare.
    """
    first, second = _Player(pipelines[0], since), _Player(pipelines[1], since)
    known = _Names(context)
    for one, other in zip(*(player.play(log) for player, log in zip((first, second), tee(batches), strict=True)), strict=True):
        known.take(one.batch)
        first.take(one)
        second.take(other)
    days = _joined(first, second)
    if not len(days):
        raise ConfigError("no employee was active in the days that are compared\ngive --from with an earlier time, or later events")
    versions = first.pipeline.model.version, second.pipeline.model.version
    return compare(days, known.names, versions, first.pipeline.policy.budget, [first.shift(), second.shift()]), days


class _Player:
    """One of the models, and what it said of each employee-day."""

    def __init__(self, pipeline: Callable[[], Pipeline], since: int | None) -> None:
        self.pipeline = pipeline()
        self._since = None if since is None else -(-since // DAY)
        self._window = Window(self.pipeline.model.reference)
        self.days: list[Daily] = []
        """With the column `rarity` alone."""

    def play(self, log: Iterable[EventBatch]) -> Iterator[Replayed]:
        return replay(log, lambda: self.pipeline, TOPIC, 1, nightly=False)

    def take(self, part: Replayed) -> None:
        for daily in part.outcome.daily:
            self._add(daily)

    def end(self) -> list[Daily]:
        """The day that is open counts."""
        if (open_day := self.pipeline.turn(self.pipeline.tracker.day + 1)) is not None:
            self._add(open_day)
        return self.days

    def _add(self, daily: Daily) -> None:
        least = daily.day - WEEK + 1 if self._since is None else self._since
        if daily.day < least:
            return
        self._window.add(0, daily)
        rarity = self.pipeline.model.total(daily.column("score"))
        self.days = [*(d for d in self.days if d.day >= least), Daily(daily.day, daily.key, daily.team, {"rarity": rarity})]

    def shift(self) -> dict[str, Shifted]:
        """Of the last seven days."""
        return shifted(names(self.pipeline.model.hypotheses), self._window.shift())


class _Names:
    """What hashes stand for: employees and teams, of events and of the directory."""

    def __init__(self, context: Context) -> None:
        teams = {team for known in context.employees.values() for _, team, _ in known.posts if team}
        services = {name for name, known in context.employees.items() if any(role == SERVICE for _, _, role in known.posts)}
        self.names: dict[int, str] = {}
        self._add(sorted(teams | services))

    def take(self, batch: EventBatch) -> None:
        for member in ("actor", "actor_team"):
            self._add(batch.strings(member).values)

    def _add(self, values: Iterable[str]) -> None:
        some = list(values)
        self.names.update(zip(hash_strings(some).tolist(), some, strict=True))


def _joined(first: _Player, second: _Player) -> Days:
    """The employee-days of both, which are the same ones in the same order: who was active is no matter of models."""
    pairs = list(zip(first.end(), second.end(), strict=True))
    if not pairs:
        return Days(np.zeros(0, np.uint64), np.zeros(0, np.int64), np.zeros(0, np.uint64), np.zeros((0, 2), np.float32))
    assert all(a.day == b.day and np.array_equal(a.key, b.key) for a, b in pairs)
    own, other = zip(*pairs, strict=True)
    rarity = np.stack([stacked(own, "rarity"), stacked(other, "rarity")], axis=1)
    day = np.concatenate([np.full(len(d), d.day) for d in own])
    return Days(np.concatenate([d.key for d in own]), day, np.concatenate([d.team for d in own]), rarity)
