"""Three times the usual work for a week: a team is busy, and nobody does anything else than usual.

Everything the team did in the week happens twice more, some minutes later, for other people: of those whom the team dealt with in the
test part until then, with the same resource and region. Assignments go with it; tickets are the same, or new ones of the same kind. What is
about nobody or about the employee's own account stays so: who tests on it tests more, and does not look at colleagues.
"""

from __future__ import annotations

import csv
import math
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import companies
import numpy as np
from logs import WEEK, Company, Event, History, Log, largest_teams, over, working_days
from tables import Number, Table, one

from detector.core.frame import DAY

PARTS = ("a", "b")
BUDGETS, COPIES, DRAWS = (3.0, 10.0), 2, 3
BEGINS = 2 * WEEK


def here(data: Path, part: str) -> bool:
    return companies.here(data, part)


def joined(tables: list[Table]) -> list[Table]:
    """One table of both companies."""
    return [one("busy week", tables)]


def measure(data: Path, part: str) -> list[Table]:
    company = Company.of(data, part)
    model, log = company.trained(), Log.read(company.test)
    begins = company.since + BEGINS
    log = Log([line for line, time in zip(log.lines, log.time.tolist(), strict=True) if time < begins + WEEK])
    log.team = by_employee(log)
    own_account = accounts(company.folder)
    labelled = {event_id for campaign in company.truth.said["campaigns"] for event_id in campaign["ids"]}
    rows: dict[str, tuple[Number, ...]] = {}
    history = History(company)
    before = company.rarest(model, history.then(log.lines))
    for team in largest_teams(log, begins, begins + WEEK):
        own = working_days(log, team, begins, begins + WEEK) - company.truth.involved
        for tickets in ("same tickets", "new tickets"):
            extra = [more(log, team, begins, tickets.startswith("new"), labelled, own_account, draw) for draw in range(DRAWS)]
            after = [company.rarest(model, history.then(log.with_events(some))) for some in extra]
            for budget in BUDGETS:
                expected = budget * len(own) / 1000
                allowed = math.floor(expected + 2 * math.sqrt(expected))
                without, first, *others = (len(own & over(some, budget)) for some in (before, *after))
                figures = (len(own), len(extra[0]), without, first, max(first, *others), allowed)
                rows[f"{part}, {team}, {tickets}, budget {budget:g}"] = figures
    note = (
        "The team with the most members and the one with the most events, in the test part's third week, with three times their work. "
        "Alerted are employee-days without a campaign; allowed is what the budget promises and two standard deviations. At most: of "
        f"{DRAWS} draws of who is dealt with and how much later, the first of which is `alerted with`."
    )
    columns = ("employee-days", "events", "alerted without", "alerted with", "at most", "allowed")
    return [Table(f"busy week, company {part}", columns, rows, note, tuple(missed(rows)))]


def missed(rows: dict[str, tuple[Number, ...]]) -> Iterator[str]:
    """Lines that some draw does not reach: one that is reached in a single draw may be so by luck."""
    for name, (*_, first, most, allowed) in rows.items():
        if (most or 0) > (allowed or 0):
            yield f"{name}: {first} days are alerted, {most} in another draw, {allowed} are allowed"


def by_employee(log: Log) -> list[str | None]:
    """The team of each event: where a source does not name it, the one that the employee's events before it did."""
    said: dict[str, str] = {}
    out: list[str | None] = []
    for actor, team in zip(log.actor, log.team, strict=True):
        if team:
            said[actor] = team
        out.append(said.get(actor))
    return out


def accounts(folder: Path) -> set[tuple[str, str]]:
    """Employees and the accounts that are their own."""
    with (folder / "links.csv").open(newline="") as file:
        return {(row["linked"], row["subject"]) for row in csv.DictReader(file) if row["kind"] == "own_account"}


def more(log: Log, team: str, begins: int, new_tickets: bool, labelled: set[str], own: set[tuple[str, str]], draw: int) -> list[Event]:
    """The week's events again, for others, and the assignments before it, which explain them. Who stands for whom is the same all week."""
    rng = np.random.default_rng(draw)
    people: defaultdict[tuple[str, str | None], list[str]] = defaultdict(list)
    known = log.events(row for row in log.between(begins - 2 * WEEK, begins + WEEK) if log.team[row] == team)
    known = [event for event in known if event["event_id"] not in labelled]
    for who in dict.fromkeys((*_like(event), event["subject"]) for event in known if _about_another(event, own)):
        people[who[:2]].append(who[2])
    week = [event for event in known if event["time"] >= begins]
    stand_in: dict[Any, tuple[Any, int]] = {}
    for copy in range(COPIES):
        for event in week:
            if event.get("subject") != event["actor"]:  # rights and records of the employee do not become more
                fit = people[_like(event)] if _about_another(event, own) else [event.get("subject")]
                at_random = fit[int(rng.integers(len(fit)))], int(rng.integers(20_000, 1_200_000))
                stand_in.setdefault((copy, event["actor"], event.get("subject")), at_random)
    out: dict[str, Event] = {}
    assigned = [event for event in known if event["time"] < begins and event["action"] in ("assign", "unassign")]
    for event in [*assigned, *week]:
        for copy in range(COPIES):
            subject, later = stand_in.get((copy, event["actor"], event.get("subject")), (None, 0))
            if later == 0 or (event["time"] + later) // DAY != event["time"] // DAY:
                continue
            again = {**event, "event_id": f"more-{copy}-{event['event_id']}", "time": event["time"] + later}
            again |= {"subject": subject} if subject else {}
            again |= {"purpose": f"{event['purpose']}{copy}"} if new_tickets and event.get("purpose") else {}
            out[again["event_id"]] = again
    return list(out.values())


def _about_another(event: Event, own: set[tuple[str, str]]) -> bool:
    subject = event.get("subject")
    return bool(subject) and subject != event["actor"] and (event["actor"], subject) not in own


def _like(event: Event) -> tuple[str, str | None]:
    return event["resource"], event.get("subject_region")
