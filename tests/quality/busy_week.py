"""Three times the usual work for a week: a team is busy, and nobody does anything else than usual.

Everything the team did in the week happens twice more, some minutes later, for other people: of those whom the team dealt with in the
test part until then, with the same resource and region. Assignments go with it; tickets are the same, or new ones of the same kind.
"""

from __future__ import annotations

import math
from collections import defaultdict
from pathlib import Path
from typing import Any

import companies
import numpy as np
from logs import WEEK, Company, Event, History, Log, largest_teams, over, working_days
from tables import Number, Table, one

from detector.core.frame import DAY

PARTS = ("a", "b")
BUDGETS, COPIES = (3.0, 10.0), 2
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
    labelled = {event_id for campaign in company.truth.said["campaigns"] for event_id in campaign["ids"]}
    rows: dict[str, tuple[Number, ...]] = {}
    history = History(company)
    before = company.rarest(model, history.then(log.lines))
    for team in largest_teams(log, begins, begins + WEEK):
        own = working_days(log, team, begins, begins + WEEK) - company.truth.involved
        for tickets in ("same tickets", "new tickets"):
            extra = more(log, team, begins, tickets.startswith("new"), labelled)
            after = company.rarest(model, history.then(log.with_events(extra)))
            for budget in BUDGETS:
                expected = budget * len(own) / 1000
                allowed = math.floor(expected + 2 * math.sqrt(expected))
                counts = (len(own & over(some, budget)) for some in (before, after))
                rows[f"{part}, {team}, {tickets}, budget {budget:g}"] = (len(own), len(extra), *counts, allowed)
    missed = tuple(
        f"{name}: {cells[3]} days are alerted, {cells[4]} are allowed" for name, cells in rows.items() if (cells[3] or 0) > (cells[4] or 0)
    )
    note = (
        "The team with the most members and the one with the most events, in the test part's third week, with three times their work. "
        "Alerted are employee-days without a campaign; allowed is what the budget promises and two standard deviations."
    )
    return [
        Table(f"busy week, company {part}", ("employee-days", "events", "alerted without", "alerted with", "allowed"), rows, note, missed)
    ]


def more(log: Log, team: str, begins: int, new_tickets: bool, labelled: set[str]) -> list[Event]:
    """The week's events again, for others, and the assignments before it, which explain them. Who stands for whom is the same all week."""
    rng = np.random.default_rng(0)
    people: defaultdict[tuple[str, str | None], list[str]] = defaultdict(list)
    known = log.events(row for row in log.between(begins - 2 * WEEK, begins + WEEK) if log.team[row] == team)
    known = [event for event in known if event["event_id"] not in labelled]
    for who in dict.fromkeys((*_like(event), event["subject"]) for event in known if event.get("subject")):
        people[who[:2]].append(who[2])
    week = [event for event in known if event["time"] >= begins]
    stand_in: dict[Any, tuple[Any, int]] = {}
    for copy in range(COPIES):
        for event in week:
            if event.get("subject") != event["actor"]:  # what is about themselves stays so
                fit = people.get(_like(event), [event.get("subject")])
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


def _like(event: Event) -> tuple[str, str | None]:
    return event["resource"], event.get("subject_region")
