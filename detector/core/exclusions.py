"""Exclusions: whose work, and when, nothing is learned from. They are scored like everybody else; this is about training alone.

A model that learns from an incident takes it for usual. So the time around confirmed incidents, what leavers did in their last weeks, and
what an operator lists is left out of what is learned. Everything becomes spans of (employee, from, until), whatever it came from.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from detector.core.context import Context
from detector.core.context.tables import Problems, Row, day_of, rows
from detector.core.events import NO_TIME
from detector.core.rfc3339 import milliseconds
from detector.core.strings import hash_strings
from detector.errors import ConfigError

DAY = 86_400_000
EVER, FOREVER = np.iinfo(np.int64).min, np.iinfo(np.int64).max
BEFORE = 28 * DAY
"""Before an alert or a leaving: what was wrong, or unlike the work of one who stays, began earlier than anybody noticed."""
AFTER = 3 * DAY
"""After an alert: the quiet days that end its incident."""
SHOWN = 50


class Span(NamedTuple):
    """Ms since 1970 UTC, from `since` up to and without `until`."""

    employee: str
    since: int = EVER
    until: int = FOREVER


@dataclass(frozen=True, slots=True)
class Exclusions:
    """Spans, by employee and time; those of one employee do not touch. Columns of length n."""

    actor: NDArray[np.uint64]
    """Hash of the employee."""
    since: NDArray[np.int64]
    until: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.actor)

    @property
    def employees(self) -> int:
        """How many people they are about."""
        return len(np.unique(self.actor))

    @staticmethod
    def of(spans: Iterable[Span]) -> Exclusions:
        """From spans in any order, which may overlap; those that end before they begin say nothing."""
        some = [span for span in spans if span.since < span.until]
        actor = hash_strings([span.employee for span in some])
        since, until = (np.array([getattr(span, name) for span in some], np.int64) for name in ("since", "until"))
        order = np.lexsort((since, actor))
        merged: list[list[int]] = []
        for who, begin, end in zip(actor[order].tolist(), since[order].tolist(), until[order].tolist(), strict=True):
            if merged and merged[-1][0] == who and begin <= merged[-1][2]:
                merged[-1][2] = max(merged[-1][2], end)
            else:
                merged.append([who, begin, end])
        columns = list(zip(*merged, strict=True)) or [(), (), ()]
        return Exclusions(np.array(columns[0], np.uint64), np.array(columns[1], np.int64), np.array(columns[2], np.int64))

    def covers(self, actor: NDArray[np.uint64], time: NDArray[np.int64], lasting: int = 1) -> NDArray[np.bool_]:
        """(n,) hashes and times, ms -> (n,) whether any of the `lasting` ms from the time on is excluded: DAY for whole days."""
        out = np.zeros(len(actor), np.bool_)
        known = np.unique(self.actor)
        row = np.flatnonzero(np.isin(actor, known))  # few: the rest costs nothing
        if not len(row):
            return out
        marks = np.unique(self.since)
        width = len(marks) + 1
        place = np.searchsorted(known, self.actor) * width + np.searchsorted(marks, self.since, "right")
        begun = np.searchsorted(marks, time[row] + (lasting - 1), "right")
        last = np.searchsorted(place, np.searchsorted(known, actor[row]) * width + begun, "right") - 1
        out[row] = (last >= 0) & (self.actor[last] == actor[row]) & (self.until[last] > time[row])
        return out


NOBODY = Exclusions.of(())


def around(incidents: Iterable[tuple[str, int]], before: int = BEFORE, after: int = AFTER) -> list[Span]:
    """The time around alerts, (employee, ms) each."""
    return [Span(employee, time - before, time + after) for employee, time in incidents]


def leavers(context: Context, before: int = BEFORE) -> list[Span]:
    """The last weeks, and whatever came after, of those for whom the directory has a day of leaving."""
    return [Span(name, known.left * DAY - before) for name, known in context.employees.items() if known.left is not None]


def listed(name: str, data: bytes) -> list[Span]:
    """A CSV file with the column `employee`, and perhaps `from` and `until`: RFC 3339 times, or dates, of which the last still counts.
    An empty or absent one is without end. Raises ConfigError naming every problem of the file, which is called `name`, a line each.
    """
    problems = Problems()
    spans = [_span(row) for row in rows(name, data, problems, ("employee",))]
    if lines := problems.lines:
        raise ConfigError("\n".join(lines[:SHOWN] + ([f"... and {len(lines) - SHOWN} more"] if len(lines) > SHOWN else [])))
    return spans


def _span(row: Row) -> Span:
    since, until = _time(row, "from", 0), _time(row, "until", DAY)
    if since is not None and until is not None and since >= until:
        row.wrong("until", f"'{row['until']}' is not after '{row['from']}'; nothing would be excluded")
    return Span(row["employee"], EVER if since is None else since, FOREVER if until is None else until)


def _time(row: Row, column: str, of_day: int) -> int | None:
    """Ms; of a date, so much after its beginning. None where the cell is empty or, noted, neither."""
    text = row[column]
    if not text:
        return None
    if (day := day_of(text)) is not None:
        return day * DAY + of_day
    if (time := milliseconds(text)) != NO_TIME:
        return time
    row.wrong(column, f"'{text}' is no time; write 2026-03-02 or 2026-03-02T09:14:07Z")
    return None
