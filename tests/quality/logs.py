"""Recorded logs that can be changed: events are planted, multiplied or stripped, and the product plays what comes of it."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
import zstandard
from companies import Truth, truth_of
from numpy.typing import NDArray
from product import played, recorded, trained
from subsets import Seen, day_maxima

from detector.core.calibration import threshold
from detector.core.context import Context
from detector.core.events import EventBatch, Records
from detector.core.formats.native import Limits, decode
from detector.core.frame import DAY
from detector.core.model import Model
from detector.core.pipeline import Policy
from detector.files import read_context

Event = dict[str, Any]
EmployeeDay = tuple[str, int]
WEEK = 7 * DAY
NEVER = 1 << 62
BATCH = 10_000
LIMITS = Limits()


class _Who(msgspec.Struct):
    time: int
    actor: str
    actor_team: str | None = None


class Log:
    """n lines of native events in order of arrival."""

    def __init__(self, lines: list[bytes]) -> None:
        self.lines = lines
        said = list(map(msgspec.json.Decoder(_Who).decode, lines))
        self.time: NDArray[np.int64] = np.fromiter((who.time for who in said), np.int64, len(said))
        self.actor = [who.actor for who in said]
        self.team = [who.actor_team for who in said]

    @staticmethod
    def read(path: Path) -> Log:
        with path.open("rb") as file:
            return Log(zstandard.ZstdDecompressor().stream_reader(file).read().splitlines())

    def events(self, rows: Iterable[int]) -> list[Event]:
        return [msgspec.json.decode(self.lines[row]) for row in rows]

    def between(self, start: int, stop: int) -> list[int]:
        """Rows of events that happened then. ms."""
        return np.flatnonzero((self.time >= start) & (self.time < stop)).tolist()

    def with_events(self, events: list[Event]) -> list[bytes]:
        """All lines, with those of further events where the log had come to their time."""
        events = sorted(events, key=lambda event: event["time"])
        at = np.searchsorted(np.maximum.accumulate(self.time), [event["time"] for event in events], "right")
        out: list[bytes] = []
        done = 0
        for place, event in zip(at.tolist(), events, strict=True):
            out += self.lines[done:place]
            out.append(msgspec.json.encode(event))
            done = place
        return out + self.lines[done:]


class Company(NamedTuple):
    folder: Path
    truth: Truth
    context: Context

    @staticmethod
    def of(data: Path, part: str) -> Company:
        folder = data / "company" / part
        return Company(folder, truth_of(data / "company" / "evaluate.py", folder), read_context(folder))

    @property
    def train(self) -> Path:
        return self.folder / "train.ndjson.zst"

    @property
    def test(self) -> Path:
        return self.folder / "test.ndjson.zst"

    @property
    def since(self) -> int:
        """Ms; the test part begins."""
        return int(self.truth.said["meta"]["test_start"])

    def trained(self) -> Model:
        return trained(self.train, self.folder)

    def alerts(self, model: Model, log: Iterable[EventBatch], budget: float) -> list[Event]:
        """Alerts on the test part, as the topic would hold them."""
        parts = played(log, model, self.context, Policy(budget, self.since))
        return [msgspec.json.decode(value) for part in parts for _, value in part.outcome.alerts]

    def rarest(self, model: Model, log: Iterable[EventBatch]) -> dict[EmployeeDay, float]:
        """The largest rarity of each employee-day of the test part: it is alerted where this reaches the budget's threshold."""
        seen = Seen(model.hypotheses, self.since)
        for part in played(log, model, self.context, Policy(1.0, NEVER)):
            seen.take(part)
        actor, day, most = day_maxima(seen.actor, seen.time // DAY, seen.rarity)
        return {(seen.actors[a], d): m for a, d, m in zip(actor.tolist(), day.tolist(), most.tolist(), strict=True)}


class History:
    """A training part that is played before each of many test parts; decoded once."""

    def __init__(self, company: Company) -> None:
        self._batches = list(recorded(company.train))

    def then(self, lines: list[bytes]) -> Iterator[EventBatch]:
        yield from self._batches
        yield from batches(lines)


def over(rarest: dict[EmployeeDay, float], budget: float) -> set[EmployeeDay]:
    """Employee-days that an operator with that budget is alerted of."""
    return {when for when, rarity in rarest.items() if rarity >= threshold(budget)}


def batches(lines: list[bytes]) -> Iterator[EventBatch]:
    for start in range(0, len(lines), BATCH):
        yield decode(Records.of(lines[start : start + BATCH]), LIMITS)


def write(lines: list[bytes], path: Path) -> None:
    path.write_bytes(zstandard.ZstdCompressor(1).compress(b"\n".join(lines) + b"\n"))


def largest_teams(log: Log, start: int, stop: int) -> list[str]:
    """The team of most members then, and the one of most events (or the second in members where it is the same)."""
    members: defaultdict[str, set[str]] = defaultdict(set)
    events: Counter[str] = Counter()
    for row in log.between(start, stop):
        if team := log.team[row]:
            members[team].add(log.actor[row])
            events[team] += 1
    largest = sorted(members, key=lambda team: (-len(members[team]), team))
    return list(dict.fromkeys([largest[0], max(sorted(events), key=lambda team: events[team]), largest[1]]))[:2]


def working_days(log: Log, team: str, start: int, stop: int) -> set[EmployeeDay]:
    """Active employee-days of a team."""
    return {(log.actor[row], int(log.time[row]) // DAY) for row in log.between(start, stop) if log.team[row] == team}
