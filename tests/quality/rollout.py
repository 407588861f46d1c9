"""A resource rolled out to a whole team must not flag the team: what nobody knows, and what only others used so far.

From a day on, the members of one team also read it every day, at their usual hours. What counts are days of theirs that are alerted in the
two weeks after and are not without the roll-out.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from pathlib import Path

import companies
import numpy as np
from logs import WEEK, Company, EmployeeDay, Event, History, Log, largest_teams, over
from tables import Number, Table, one

from detector.core.frame import DAY

PARTS = ("a", "b")
BUDGET, MOST, READS = 3.0, 2, 6
BEGINS, LASTS = 2 * WEEK, 2 * WEEK
NOT_WORK = ("login", "grant", "admin", "assign", "unassign")
VARIANTS = (
    "new, about nobody",
    "new, about their usual people",
    "another team's, about nobody",
    "another team's, about their usual people",
)


def here(data: Path, part: str) -> bool:
    return companies.here(data, part)


def joined(tables: list[Table]) -> list[Table]:
    """One table of both companies."""
    return [one("roll-out", tables)]


def measure(data: Path, part: str) -> list[Table]:
    company = Company.of(data, part)
    model, log = company.trained(), Log.read(company.test)
    begins = company.since + BEGINS
    ends = begins + LASTS
    log = Log([line for line, time in zip(log.lines, log.time.tolist(), strict=True) if time < ends])
    known, history = used(log, begins), History(company)
    before = over(company.rarest(model, history.then(log.lines)), BUDGET)
    rows: dict[str, tuple[Number, ...]] = {}
    for team in largest_teams(log, begins, ends):
        members = {log.actor[row] for row in log.between(begins, ends) if log.team[row] == team}
        for variant in VARIANTS:
            resource = "new_tool" if variant.startswith("new") else others(known, team)
            extra = rolled_out(log, team, resource, variant.endswith("people"), begins, ends)
            after = over(company.rarest(model, history.then(log.with_events(extra))), BUDGET)
            own = {(actor, day) for actor, day in after | before if actor in members and day * DAY >= begins}
            rows[f"{part}, {team}, {variant}"] = (
                len(members),
                len(extra),
                len(own & before),
                len(own & after),
                len(own & (after - before)),
            )
    missed = tuple(
        f"{name}: {cells[-1]} days are alerted because of it; {MOST} are allowed" for name, cells in rows.items() if due(cells) > MOST
    )
    note = (
        "A resource given to the team of most members, and to the one of most events, in the test part's third and fourth week, about "
        f"{READS} reads a member and day; at budget {BUDGET:g}. Alerted are "
        "employee-days of members; due to it are those that are not alerted without it."
    )
    return [Table(f"roll-out, company {part}", ("members", "events", "alerted without", "alerted with", "due to it"), rows, note, missed)]


def due(cells: tuple[Number, ...]) -> int:
    return int(cells[-1] or 0)


def used(log: Log, until: int) -> dict[str, Counter[str]]:
    """How often each team read each resource."""
    out: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for event in log.events(log.between(0, until)):
        if event["action"] == "read" and event.get("actor_team"):
            out[event["actor_team"]][event["resource"]] += 1
    return out


def others(known: dict[str, Counter[str]], team: str) -> str:
    """The resource that others read most and this team never did; not one of those that are watched for by name."""
    everywhere = sum(known.values(), Counter[str]())
    fit = [(n, name) for name, n in everywhere.items() if name not in known[team] and not name.startswith("iam")]
    plain = [(n, name) for n, name in fit if name not in ("siem_alerts", "access_audit_log", "detector_alerts", "iam_console")]
    return max(plain)[1]


def rolled_out(log: Log, team: str, resource: str, about_people: bool, begins: int, ends: int) -> list[Event]:
    """Reads some minutes after work of the day; nothing of a campaign's is needed, for it is the employee's day that counts."""
    rng = np.random.default_rng(0)
    work: defaultdict[EmployeeDay, list[int]] = defaultdict(list)
    for row in log.between(begins, ends):
        if log.team[row] == team:
            work[log.actor[row], int(log.time[row]) // DAY].append(row)
    out: list[Event] = []
    for _, rows in sorted(work.items()):
        done = [event for event in log.events(rows) if event["action"] not in NOT_WORK and (not about_people or event.get("subject"))]
        for i in rng.permutation(len(done))[:READS].tolist():
            keep = {k: v for k, v in done[i].items() if about_people or k not in ("subject", "subject_region", "purpose", "fields")}
            later = done[i]["time"] + int(rng.integers(30_000, 600_000))
            keep |= {"action": "read", "resource": resource, "time": later, "records": 1, "bytes": 2_000, "event_id": f"new-{len(out)}"}
            keep.pop("outcome", None)
            out.append(keep)
    return out
