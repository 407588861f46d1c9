"""A history that is not clean: one campaign of each kind in the training part, which is then taken for normal.

They are the first campaigns of each kind in the test part, moved back by as few whole weeks as bring them before its beginning, which is
where the calibration is learned. Nothing else changes; what counts is how many of the *other* campaigns are caught.
"""

from __future__ import annotations

import csv
import json
import tempfile
from pathlib import Path
from typing import Any

import companies
from logs import WEEK, Company, Event, Log, write
from product import recorded, trained
from tables import Table

PARTS = ("a", "b")
MOST_LOSS = 0.05


def here(data: Path, part: str) -> bool:
    return companies.here(data, part)


def measure(data: Path, part: str) -> list[Table]:
    company = Company.of(data, part)
    planted = first_of_each_kind(company.truth.said["campaigns"])
    events = moved_back(company, planted)
    with tempfile.TemporaryDirectory() as place:
        history = Path(place) / "train.ndjson.zst"
        write(Log.read(company.train).with_events(events), history)
        rows = {
            "clean": caught(company, company.train, planted),
            "contaminated": caught(company, history, planted),
        }
    note = (
        f"Campaigns caught of those that were not planted. Planted into the training part: one campaign of each kind, in {part} "
        f"{len(events)} events of {len({event['actor'] for event in events})} employees."
    )
    return [Table(f"contamination, company {part}", ("campaigns", *(f"at {b:g}" for b in companies.BUDGETS)), rows, note)]


def joined(tables: list[Table]) -> list[Table]:
    """Both companies together, which is what is judged: one campaign of one company is too much of it."""
    rows: dict[str, tuple[float, ...]] = {
        name: tuple(map(sum, zip(*(table.rows[name] for table in tables), strict=True))) for name in tables[0].rows
    }
    n, *clean = rows["clean"]
    loss = tuple(round((was - now) / n, 3) for was, now in zip(clean, rows["contaminated"][1:], strict=True))
    rows["loss of recall"] = (n, *loss)
    missed = tuple(
        f"contamination loses {share:g} of recall at {b:g}; {MOST_LOSS:g} is allowed"
        for share, b in zip(loss, companies.BUDGETS, strict=True)
        if share > MOST_LOSS
    )
    return [*tables, Table("contamination, both companies", tables[0].columns, rows, "", missed)]


def first_of_each_kind(campaigns: list[dict[str, Any]]) -> list[dict[str, Any]]:
    first: dict[str, dict[str, Any]] = {}
    for campaign in sorted(campaigns, key=lambda c: (c["first"], c["id"])):
        first.setdefault(campaign["scenario"], campaign)
    return list(first.values())


def moved_back(company: Company, planted: list[dict[str, Any]]) -> list[Event]:
    log = Log.read(company.test)
    of = {event_id: campaign for campaign in planted for event_id in campaign["ids"]}
    with (company.folder / "labels" / "labels.csv").open(newline="") as file:
        times = {int(row["time"]) for row in csv.DictReader(file) if row["event_id"] in of}
    rows = [row for row, time in enumerate(log.time.tolist()) if time in times]
    out = {}
    for event in log.events(rows):
        if campaign := of.get(event["event_id"]):
            weeks = -(-(campaign["last"] + 1 - company.since) // WEEK)
            out[event["event_id"]] = {**event, "event_id": f"planted-{event['event_id']}", "time": event["time"] - weeks * WEEK}
    return list(out.values())


def caught(company: Company, history: Path, planted: list[dict[str, Any]]) -> tuple[int, ...]:
    """Of the campaigns that were not planted: how many there are, how many are caught at each budget."""
    model = trained(history, company.folder)
    program, truth = company.truth.program, company.truth.said
    said = company.alerts(model, recorded(history, company.test), companies.BUDGET)
    alerts = program.load_alerts(map(json.dumps, said), company.since)
    hits = program.match_all(alerts, truth["campaigns"])
    others = [campaign not in planted for campaign in truth["campaigns"]]
    out = [sum(others)]
    for budget in companies.BUDGETS:
        cut, _ = program.threshold(alerts, hits, budget * truth["meta"]["active_employee_days"] / 1000)
        first = program.caught(alerts, hits, truth["campaigns"], cut)
        out.append(sum(other and time is not None for other, time in zip(others, first, strict=True)))
    return tuple(out)
