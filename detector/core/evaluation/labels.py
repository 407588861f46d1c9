"""Labels: which events belong to which campaign. They are for evaluation alone: nothing is learned from them, no threshold comes from them.

`labels.csv` holds a row an event of a campaign; three files beside it say more, and may be absent:

    labels.csv       event_id, campaign, actor, time; scenario, subject, part (rows of another part than `test` are left out)
    campaigns.csv    campaign; scenario, subjects (those it was after, separated by spaces), team, contamination (not 0: left out)
    active_days.csv  actor, utc_day: who was active when, in days since 1970; the employee-days that false alerts are held against
    meta.json        test_start: ms; what was before is not judged. active_employee_days: their number

A time is ms since 1970 or RFC 3339.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import msgspec

from detector.core.context.tables import Problems, Row, rows
from detector.core.events import NO_TIME
from detector.core.frame import DAY
from detector.core.rfc3339 import milliseconds
from detector.errors import ConfigError

LABELS, CAMPAIGNS, ACTIVE, META = FILES = ("labels.csv", "campaigns.csv", "active_days.csv", "meta.json")
NEEDED = {LABELS: ("event_id", "campaign", "actor", "time"), CAMPAIGNS: ("campaign",), ACTIVE: ("actor", "utc_day")}
SHOWN = 50


@dataclass(frozen=True)
class Campaign:
    """Something that somebody was up to."""

    name: str
    scenario: str
    subjects: frozenset[str]
    """Whom it was after."""
    team: str | None
    events: tuple[tuple[int, str, str], ...]
    """(ms, actor, event_id), ascending; at least one."""

    @cached_property
    def actors(self) -> frozenset[str]:
        return frozenset(actor for _, actor, _ in self.events)

    @property
    def first(self) -> int:
        return self.events[0][0]

    @property
    def last(self) -> int:
        return self.events[-1][0]


@dataclass(frozen=True)
class Labels:
    campaigns: tuple[Campaign, ...]
    since: int = 0
    """Ms; nothing before it is judged."""
    active: frozenset[tuple[str, int]] = frozenset()
    """(employee, days since 1970) on which they did anything; empty: not known."""
    employee_days: int = 0
    """How many those are; 0: not known."""

    @cached_property
    def involved(self) -> frozenset[tuple[str, int]]:
        """(employee, day) of campaigns' actors while the campaign ran and the day after."""
        return frozenset((a, day) for c in self.campaigns for a in c.actors for day in range(c.first // DAY, (c.last + DAY) // DAY + 1))


class _Meta(msgspec.Struct):
    test_start: int = 0
    active_employee_days: int = 0


def parse(files: Mapping[str, bytes], since: int | None = None) -> Labels:
    """Labels from the files there are (name -> content), of which labels.csv must be one; `since`: ms, instead of what meta.json says.

    Raises ConfigError naming every problem of every file, a line each.
    """
    problems = Problems()
    try:
        meta = msgspec.json.decode(files.get(META, b"{}"), type=_Meta)
    except msgspec.DecodeError as error:
        problems.add(META, 1, 1, f"{error}; give it as it was written")
        meta = _Meta()
    start = meta.test_start if since is None else since
    table = {name: list(rows(name, files[name], problems, needed)) for name, needed in NEEDED.items() if name in files}
    active = frozenset(pair for row in table.get(ACTIVE, ()) if (pair := _active_day(row))[1] >= start // DAY)
    campaigns = _campaigns(table[LABELS], table.get(CAMPAIGNS, []), start)
    if not campaigns and not problems.lines:
        problems.add(LABELS, 1, "time", "holds no event of a campaign in the time that is judged; is this the file, and the period?")
    if lines := problems.lines:
        raise ConfigError("\n".join(lines[:SHOWN] + ([f"... and {len(lines) - SHOWN} more"] if len(lines) > SHOWN else [])))
    counted = len(active) if since is not None and active else meta.active_employee_days or len(active)
    return Labels(campaigns, start, active, counted)


def _campaigns(events: list[Row], said: list[Row], since: int) -> tuple[Campaign, ...]:
    """In the order of campaigns.csv where it names them, else of their first events."""
    found: defaultdict[str, list[tuple[int, str, str]]] = defaultdict(list)
    subjects: defaultdict[str, set[str]] = defaultdict(set)
    scenario: dict[str, str] = {}
    for row in events:
        time, name = _time(row), row["campaign"]
        if row["part"] in ("", "test") and time >= since:
            found[name].append((time, row["actor"], row["event_id"]))
            subjects[name] |= {row["subject"]} - {""}
            scenario.setdefault(name, row["scenario"])
    known = {row["campaign"]: row for row in said}
    order = [name for name in known if name in found] + sorted(found.keys() - known.keys(), key=lambda name: (min(found[name]), name))
    out = []
    for name in order:
        if (said_of := known.get(name)) is None:
            out.append(Campaign(name, scenario[name], frozenset(subjects[name]), None, tuple(sorted(found[name]))))
        elif said_of["contamination"] in ("", "0"):
            after = frozenset(said_of["subjects"].split()) if "subjects" in said_of.cells else frozenset(subjects[name])
            out.append(Campaign(name, said_of["scenario"] or scenario[name], after, said_of["team"] or None, tuple(sorted(found[name]))))
    return tuple(out)


def _active_day(row: Row) -> tuple[str, int]:
    if row["utc_day"].isdecimal():
        return row["actor"], int(row["utc_day"])
    row.wrong("utc_day", f"'{row['utc_day']}' is no day; write whole days since 1970-01-01")
    return row["actor"], -1


def _time(row: Row) -> int:
    text = row["time"]
    time = int(text) if text.isdecimal() else milliseconds(text)
    if time == NO_TIME:
        row.wrong("time", f"'{text}' is no time; write ms since 1970 or 2026-03-02T09:14:07Z")
    return time
