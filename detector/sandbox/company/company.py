"""The company as a whole: its context, its days, its history as a file, its live stream, the incidents planted into them."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
import zstandard
from numpy.typing import NDArray

from detector.sandbox.company.calendar import DAY, HOUR, is_working_day, local_day, utc
from detector.sandbox.company.context import context_files
from detector.sandbox.company.customers import Customers
from detector.sandbox.company.events import Rows, rows
from detector.sandbox.company.incidents import STORY_REGION, Planted, plant
from detector.sandbox.company.lines import Lines
from detector.sandbox.company.live import Clock, Send, by_rate, by_speed, send_when_due
from detector.sandbox.company.staff import Staff
from detector.sandbox.company.work import work_day

SMALLEST = 60
_MORNING = 7.6
"""Local hour at which a demonstration goes live: the auditors' first visit is then early, before their day begins."""


@dataclass(frozen=True)
class Day:
    """The events that reach the log on one UTC day, in order of arrival."""

    arrival: NDArray[np.int64]
    """ms since 1970 UTC."""
    keys: list[bytes]
    values: list[bytes]

    def __len__(self) -> int:
        return len(self.keys)


class Company:
    """`end`, ms since 1970 UTC: where the history ends and the live stream begins. A day is a number of UTC days since 1970."""

    def __init__(self, employees: int = 200, seed: int = 1, *, end: int) -> None:
        if employees < SMALLEST:
            raise ValueError(f"a company of {employees} has too few people for its teams; take {SMALLEST} or more")
        self.seed, self.end = seed, end
        self.staff = Staff(employees, seed, end // DAY)
        self.customers = Customers(employees, seed)
        self.planted: list[Planted] = []
        self._lines = Lines(self.staff, self.customers)
        self._incidents = rows(0)
        self._made: dict[int, Rows] = {}

    @classmethod
    def demo(cls, now: int, seed: int = 1, employees: int = 180, speed: float = 600.0) -> Company:
        """A company with a `story` planted where its live stream begins: on a morning in the auditors' region, with two more working days
        to follow, and so long ago that an hour at `speed` does not reach the present."""
        day = local_day(STORY_REGION, live_start(now, max(speed, 24.0)))
        while not all(is_working_day(STORY_REGION, day + ahead) for ahead in range(3)):
            day -= 1
        company = cls(employees, seed, end=utc(STORY_REGION, day, _MORNING))
        company.plant("story")
        return company

    def plant(self, name: str, start: int | None = None) -> Planted:
        """Adds an incident (`story` or `bulk-export`) that begins at `start` (default: the end of the history); all else stays as it is."""
        made, planted = plant(name, self.staff, self.customers, self.seed, self.end if start is None else start)
        self._incidents = np.concatenate([self._incidents, made])
        self.planted.append(planted)
        return planted

    def context_files(self) -> dict[str, bytes]:
        return context_files(self.staff, self.customers, self.end // DAY)

    def write_context(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in self.context_files().items():
            (folder / name).write_bytes(content)

    def day(self, day: int) -> Day:
        # local days of other regions reach into this UTC day; each is made once while days are asked for in order
        near = range(day - 1, day + 2)
        self._made = {d: self._made[d] if d in self._made else work_day(self.staff, self.customers, self.seed, d) for d in near}
        made = np.concatenate([*self._made.values(), self._incidents])
        made = made[made["arrival"] // DAY == day]
        made = made[np.argsort(made["arrival"], kind="stable")]
        return Day(made["arrival"].astype(np.int64), self._lines.keys(made), self._lines.values(made))

    def days(self, start: int, stop: int | None = None) -> Iterator[Day]:
        """What arrives from `start` on and before `stop` (ms; None: for ever), UTC day by UTC day: the first and the last may be cut."""
        day = start // DAY
        while stop is None or day * DAY < stop:
            today = self.day(day)
            first, last = np.searchsorted(today.arrival, [start, (day + 1) * DAY if stop is None else stop])
            yield Day(today.arrival[first:last], today.keys[first:last], today.values[first:last])
            day += 1

    def write_history(self, path: Path, days: int = 28, progress: Callable[[int, int], None] | None = None) -> int:
        """The `days` before `end` as NDJSON, compressed if the name ends in .gz or .zst; `progress` is told days done and days in all.

        Returns the number of events."""
        count = 0
        with _opened(path) as file:
            for done, today in enumerate(self.days(self.end - days * DAY, self.end)):
                file.write(b"\n".join([*today.values, b""]))
                count += len(today)
                if progress is not None:
                    progress(min(done + 1, days), days)
        return count

    def live(
        self, send: Send, clock: Clock, stop: Callable[[], bool], *, start: int | None = None, speed: float = 1.0, rate: float | None = None
    ) -> int:
        """Sends events as they arrive, from `start` (ms; default: the end of the history) on, until `stop()`; the number sent.

        The company's clock makes `speed` seconds of one of ours; with `rate`, so many events are sent a second instead. Either way it
        stops running ahead when it has reached the present: no event comes before its time. `clock` is anything like the module `time`.
        """
        begin = self.end if start is None else start
        events = (event for day in self.days(begin) for event in zip(day.arrival.tolist(), day.keys, day.values, strict=True))
        begun = clock.time()
        return send_when_due(by_speed(events, begin, speed, begun) if rate is None else by_rate(events, rate, begun), send, clock, stop)


def live_start(now: int, speed: float) -> int:
    """Where to begin (ms), for a company's clock of that speed to run an hour of ours before it reaches `now` (ms)."""
    return now - int((speed - 1) * HOUR)


@contextmanager
def _opened(path: Path) -> Iterator[IO[bytes]]:
    """For writing; no time stamp inside, so that the same history gives the same bytes."""
    with path.open("wb") as file:
        if path.suffix == ".zst":
            with zstandard.ZstdCompressor().stream_writer(file, closefd=False) as packed:
                yield packed
        elif path.suffix == ".gz":
            with gzip.GzipFile(filename="", mode="wb", fileobj=file, mtime=0, compresslevel=6) as packed:
                yield packed  # type: ignore[misc]
        else:
            yield file
