"""Little to go by: sources that say next to nothing, new colleagues, transfers, unknown teams, and a service that begins with no history.

Nothing may fail, and the promise of alerts must hold where nothing but time, actor, action and resource is known.
"""

from __future__ import annotations

import csv
import tempfile
from datetime import date
from pathlib import Path

import companies
import msgspec
from logs import WEEK, Company, EmployeeDay, History, Log, batches, largest_teams, over, write
from product import recorded
from tables import Number, Table

from detector.core.frame import DAY
from detector.core.model import Model

PARTS = ("a", "b")
BUDGET, LEAST, MOST, MOST_NEW = 10.0, 0.6, 1.6, 3.0
NEW = 14
"""Days for which somebody is new, or newly transferred."""


class Bare(msgspec.Struct):
    """What every source says."""

    time: int
    actor: str
    action: str
    resource: str


def here(data: Path, part: str) -> bool:
    return companies.here(data, part)


def joined(tables: list[Table]) -> list[Table]:
    return tables


def measure(data: Path, part: str) -> list[Table]:
    company = Company.of(data, part)
    model, log, history = company.trained(), Log.read(company.test), History(company)
    return [stripped(part, company), who(part, company, model, log, history), begun(part, company, model, log, history)]


def stripped(part: str, company: Company) -> Table:
    """The company with four members an event and no context."""
    decoder, encoder = msgspec.json.Decoder(Bare), msgspec.json.Encoder()
    with tempfile.TemporaryDirectory() as place:
        for path in (company.train, company.test):
            write([encoder.encode(decoder.decode(line)) for line in Log.read(path).lines], Path(place) / path.name)
        seen, _ = companies.replayed(Path(place), company.since)
    rows = companies.promise(part, company.truth, seen).rows
    given = float(rows["given over promised"][-1] or 0)
    missed = (f"gives {given:g} times what it promises at {BUDGET:g}",) if not LEAST <= given <= MOST else ()
    note = (
        "Trained and replayed on time, actor, action and resource alone, without any context. "
        f"At {BUDGET:g}, {LEAST:g} to {MOST:g} times what is promised is allowed."
    )
    return Table(f"bare events, company {part}", tuple(f"budget {b:g}" for b in companies.BUDGETS), rows, note, missed)


def who(part: str, company: Company, model: Model, log: Log, history: History) -> Table:
    """Whether some are alerted more than their part of the days."""
    free = company.truth.free
    alerted = over(company.rarest(model, history.then(log.lines)), BUDGET) & free
    rows: dict[str, tuple[Number, ...]] = {}
    for name, some in groups(company, log, free).items():
        share, of_alerts = len(some) / len(free), len(some & alerted) / max(len(alerted), 1)
        rows[name] = (
            len(some),
            len(some & alerted),
            round(100 * share, 2),
            round(100 * of_alerts, 2),
            round(of_alerts / share, 2) if share else None,
        )
    ratio = float(rows["new"][-1] or 0)
    missed = (f"new employees have {ratio:g} times their part of the alerts",) if ratio > MOST_NEW else ()
    note = (
        f"Part of some employees in the days without a campaign and in those alerted at budget {BUDGET:g}, in percent. New: the first "
        f"{NEW} days of those whose first event is in the test part, at most {MOST_NEW:g} times; transferred, leaving: the {NEW} days "
        "after, before."
    )
    return Table(f"who is alerted, company {part}", ("days", "alerted", "% of days", "% of alerts", "ratio"), rows, note, missed)


def groups(company: Company, log: Log, free: set[EmployeeDay]) -> dict[str, set[EmployeeDay]]:
    known = {event.actor for batch in recorded(company.train) for event in batch.rows}
    first: dict[str, int] = {}
    for actor, time in zip(log.actor, log.time.tolist(), strict=True):
        first[actor] = min(first.get(actor, time // DAY), time // DAY)
    moved = {row["employee"]: _day(row["date"]) for row in _rows(company.folder / "directory_changes.csv")}
    left = {row["employee"]: _day(row["left"]) for row in _rows(company.folder / "directory.csv") if row["left"]}
    return {
        "new": {(a, d) for a, d in free if a not in known and d < first.get(a, 0) + NEW},
        "transferred": {(a, d) for a, d in free if a in moved and moved[a] <= d < moved[a] + NEW},
        "leaving": {(a, d) for a, d in free if a in left and left[a] - NEW <= d <= left[a]},
        "service accounts": {(a, d) for a, d in free if a.startswith("svc-")},
        "not in the directory": free - {(a, d) for a, d in free if a in company.context.employees},
    }


def begun(part: str, company: Company, model: Model, log: Log, history: History) -> Table:
    """How many of the days are alerted where the service begins with a model and no history, and where teams get other names."""
    ends = company.since + 2 * WEEK
    early = [line for line, time in zip(log.lines, log.time.tolist(), strict=True) if time < ends]
    day = ends // DAY
    free = {(a, d) for a, d in company.truth.free if d < day}
    usual = over(company.rarest(model, history.then(early)), BUDGET)
    cold = over(company.rarest(model, batches(early)), BUDGET)
    teams = largest_teams(log, company.since, ends)
    members = {actor for actor, team in zip(log.actor, log.team, strict=True) if team in teams}
    renamed = over(company.rarest(model, history.then([_renamed(line, teams) for line in early])), BUDGET)
    own = {(a, d) for a, d in free if a in members}
    rows = {
        "all, with their history": _per_thousand(usual, free),
        "all, without any": _per_thousand(cold, free),
        "two teams": _per_thousand(usual, own),
        "two teams, renamed": _per_thousand(renamed, own),
    }
    note = (
        f"The first two weeks of the test part at budget {BUDGET:g}: employee-days alerted, of those without a campaign. Without any "
        "history a trained model begins with empty state; renamed, the two largest teams are called as nobody was before."
    )
    return Table(f"a new beginning, company {part}", ("days", "alerted", "per 1,000", "over promised"), rows, note)


def _renamed(line: bytes, teams: list[str]) -> bytes:
    for team in teams:
        line = line.replace(f'"actor_team":"{team}"'.encode(), f'"actor_team":"{team}-of-another-name"'.encode())
    return line


def _per_thousand(alerted: set[EmployeeDay], of: set[EmployeeDay]) -> tuple[Number, ...]:
    each = 1000 * len(alerted & of) / max(len(of), 1)
    return len(of), len(alerted & of), round(each, 2), round(each / BUDGET, 2)


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def _day(text: str) -> int:
    return (date.fromisoformat(text) - date(1970, 1, 1)).days
