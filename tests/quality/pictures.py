"""The pictures of the page on detection: `make pictures`. Drawn from replays of two synthetic companies; without their data, none is.

The labels of the companies say what a campaign is; they are read for the curve and to choose what is shown, never by the detector.
"""

from __future__ import annotations

import os
import sys
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import companies
import msgspec
import numpy as np
from drawing import Drawing
from logs import Company
from numpy.typing import NDArray
from product import played, recorded
from subsets import Seen, day_maxima, records, subsets

from detector.core.calibration import threshold
from detector.core.frame import DAY
from detector.core.pipeline import Policy

ROOT = Path(__file__).parents[2]
PICTURES = ROOT / "docs" / "pictures"
BUDGET, DAYS, LEAST_ACTIVE = 10.0, 28, 15
RATES = np.geomspace(0.5, 30, 41)
KIND, BEFORE, COLLEAGUES = "stalking", 4, 5
"""What is shown: a campaign of this kind, from so many days before it on, in a team with so many others who are in none."""
CURVES = (("all", "first", "all together, p-norm"), ("best", "second", ""), ("only general", "third", "the plain forest alone"))


class Played(NamedTuple):
    """What the product says of a company's test part."""

    company: Company
    seen: Seen
    alerts: list[dict[str, Any]]


class Person(NamedTuple):
    """Days of an employee, for a timeline."""

    name: str
    team: str
    first: int
    """UTC day that the timeline begins with."""
    rarity: NDArray[np.float32]
    """(DAYS, H) highest of each hypothesis; NaN on days without events."""
    whole: NDArray[np.float32]
    """(DAYS,) highest calibrated rarity of S."""
    alerted: frozenset[int]
    campaign: tuple[int, int] | None
    """First and last day."""


def main() -> int:
    data = Path(os.environ.get("DATA") or ROOT.parent / "shared" / "data")
    parts = [part for part in companies.PARTS if companies.here(data, part)]
    if not parts:
        print(f"{data}: holds no company, so nothing was drawn; DATA=FOLDER names where they lie")
        return 0
    some = [play(Company.of(data, part)) for part in parts]
    budget_curve(some, PICTURES / "budget.svg")
    shown, alert, people = next(chosen(some))
    timeline(shown, people, PICTURES / "timeline.svg")
    one_alert(alert, PICTURES / "alert.svg")
    return 0


def play(company: Company) -> Played:
    model = company.trained()
    seen, alerts = Seen(model.hypotheses, company.since), []
    for part in played(recorded(company.train, company.test), model, company.context, Policy(BUDGET, company.since)):
        seen.take(part)
        alerts += [msgspec.json.decode(value) for _, value in part.outcome.alerts]
    return Played(company, seen, alerts)


# --- (a) recall at each budget


def budget_curve(some: Sequence[Played], path: Path) -> None:
    curves = [recall_curves(one) for one in some]
    hypotheses = [name for name in curves[0] if name.startswith("only ") and name != "only general"]
    best = max(hypotheses, key=lambda name: float(np.mean([curve[name] for curve in curves])))
    left, top, width, height = 70, 60, 560, 330
    picture = Drawing(
        860, "Recall at each budget",
        f"Share of planted campaigns found, against false alerts per 1,000 employee-days, on {len(some)} synthetic companies: all "
        f"hypotheses joined by the p-norm, the best single hypothesis ({best.removeprefix('only ')}), and the plain forest alone.",
    )  # fmt: skip
    picture.text(left, 30, f"Campaigns found at each budget: {len(some)} synthetic companies (thin) and their mean (thick)", "title")
    scale = np.log(RATES / RATES[0]) / np.log(RATES[-1] / RATES[0])
    for share in np.linspace(0, 1, 6):
        y = top + height * (1 - share)
        picture.line([(left, y), (left + width, y)], "grid")
        picture.text(left - 10, y + 4, f"{share:.0%}", "small end")
    for rate in (0.5, 1, 3, 10, 30):
        x = left + width * np.log(rate / RATES[0]) / np.log(RATES[-1] / RATES[0])
        picture.line([(x, top), (x, top + height)], "grid")
        picture.text(x, top + height + 20, f"{rate:g}", "small middle")
    picture.text(left + width / 2, top + height + 44, "false alerts per 1,000 employee-days", "middle")
    ends = []
    for name, style, label in CURVES:
        key = best if name == "best" else name
        whole = np.mean([curve[key] for curve in curves], axis=0)
        for recall, thin in [*((curve[key], " thin") for curve in curves), (whole, "")]:
            picture.line(zip(left + width * scale, top + height * (1 - recall), strict=True), style + thin)
        ends.append((top + height * (1 - float(whole[-1])), style, label or f"the best alone: {key.removeprefix('only ')}"))
    y = 0.0
    for at, style, label in sorted(ends):
        y = max(at, y + 22)
        picture.line([(left + width + 8, y), (left + width + 26, y)], style)
        picture.text(left + width + 32, y + 5, label)
    picture.save(path, top + height + 64)


def recall_curves(one: Played) -> Mapping[str, NDArray[np.float64]]:
    """Recall at each of RATES of all, of each hypothesis alone, and of all without each."""
    out = {}
    for name, score in subsets(one.seen).items():
        rows = records(one.seen.actor, one.seen.time // DAY, score, share=0.1)
        alerts = one.seen.alerts(rows, score)
        out[name] = np.array(companies.recalls(one.company.truth, alerts, budgets=RATES.tolist()))
    return out


# --- (b) four weeks of two employees


def chosen(some: Sequence[Played]) -> Iterator[tuple[Played, dict[str, Any], tuple[Person, Person]]]:
    """Of each company the rarest alert that an event of a campaign raised, the one alerted, and an ordinary colleague of theirs."""
    for one in some:
        involved = {name for name, _ in one.company.truth.involved}
        camps = [camp for camp in one.company.truth.said["campaigns"] if camp["scenario"] == KIND]
        for alert in sorted(one.alerts, key=lambda alert: -float(alert["rarity"])):
            raised_by = {event["event_id"] for event in alert["evidence"]}
            for camp in (camp for camp in camps if camp["ids"] & raised_by):
                first = max(camp["first"] // DAY - BEFORE, one.company.since // DAY)
                others = [person(one, name, first) for name in members(one, alert["team"], first) if name not in involved]
                others = [who for who in others if np.isfinite(who.whole).sum() >= LEAST_ACTIVE]
                if len(others) >= COLLEAGUES:
                    suspect = person(one, alert["actor"], first)._replace(campaign=(camp["first"] // DAY, camp["last"] // DAY))
                    yield one, alert, (suspect, ordinary(others))


def members(one: Played, team: str, first: int) -> list[str]:
    """Those who are in the team all the time."""
    of = one.company.context.team
    return sorted(name for name in one.seen.actors if of(name, first) == of(name, first + DAYS) == team)


def ordinary(people: Sequence[Person]) -> Person:
    """The one whose highest rarity of the four weeks is the median."""
    return sorted(people, key=lambda who: (float(np.nanmax(who.whole)), who.name))[len(people) // 2]


def person(one: Played, name: str, first: int) -> Person:
    seen, days = one.seen, one.seen.time // DAY
    rows = np.flatnonzero((seen.actor == seen.actors.index(name)) & (days >= first) & (days < first + DAYS))
    table = np.full((DAYS, len(seen.names) + 1), np.nan, np.float32)
    for column, values in enumerate([*seen.hypothesis[rows].T, seen.rarity[rows]]):
        _, day, most = day_maxima(seen.actor[rows], days[rows], values)
        table[day - first, column] = most
    alerted = frozenset(alert["time"] // DAY for alert in one.alerts if alert["actor"] == name)
    return Person(name, one.company.context.team(name, first) or "", first, table[:, :-1], table[:, -1], alerted, None)


def timeline(one: Played, people: tuple[Person, Person], path: Path) -> None:
    picture = Drawing(
        800, "Four weeks of two employees",
        "For each day and hypothesis a dot, the larger the rarer the day was; below it the day's rarity as a whole, against the threshold. "
        "One employee is up to something, as planted, and is alerted; the other is an ordinary colleague of the same team.",
    )  # fmt: skip
    picture.text(24, 30, "Four weeks of two colleagues in a synthetic company: the rarer, the larger the dot", "title")
    y = 52.0
    for who in people:
        what = "up to something (a planted campaign, shaded days)" if who.campaign else "an ordinary colleague (the team's median)"
        y = panel(picture, y, who, one.seen.names, f"{who.name} ({who.team}), {what}")
    for column, rarity in enumerate((1, 2, 3)):
        picture.circle(150 + 130 * column, y + 8, dot(rarity), "mark")
        picture.text(162 + 130 * column, y + 12, f"1 day in {10**rarity:,}", "small")
    picture.triangle(540, y + 13, 6, "alert")
    picture.text(552, y + 12, f"alert at a budget of {BUDGET:g}", "small")
    picture.save(path, y + 32)


def panel(picture: Drawing, y: float, who: Person, names: Sequence[str], title: str) -> float:
    """One employee's days; returns where the next one begins."""
    left, cell, row, bars = 130, 23, 17, 40
    picture.text(24, y + 12, title, "name")
    top, bottom = y + 40, y + 40 + row * len(names)
    if who.campaign:
        begin, end = (min(max(day - who.first, 0), DAYS - 1) for day in who.campaign)
        picture.rect(left + cell * begin, top, cell * (end - begin + 1), bottom - top + bars + 8, "band")
    for d, name in enumerate(names):
        picture.text(left - 8, top + row * d + 12.5, name, "small end")
        picture.line([(left, top + row * (d + 1)), (left + cell * DAYS, top + row * (d + 1))], "grid")
    floor, limit = bottom + bars + 8, threshold(BUDGET)
    for day in range(DAYS):
        x = left + cell * (day + 0.5)
        for d in range(len(names)):
            if np.isfinite(who.rarity[day, d]):
                rare = float(who.rarity[day, d])
                picture.circle(x, top + row * (d + 0.5), dot(rare), "mark" if rare >= 1 else "faint")
        if np.isfinite(who.whole[day]):
            height = bars * float(who.whole[day]) / 3.5
            picture.rect(x - 5, floor - height, 10, height, "alert" if who.whole[day] >= limit else "mark")
        if who.first + day in who.alerted:
            picture.triangle(x, top - 4, 6, "alert")
        if day % 7 == 0:
            picture.text(x, floor + 15, f"{datetime.fromtimestamp((who.first + day) * 86_400, UTC):%d %b}", "small middle")
    picture.line([(left, floor), (left + cell * DAYS, floor)], "axis")
    picture.line([(left, floor - bars * limit / 3.5), (left + cell * DAYS, floor - bars * limit / 3.5)], "cut")
    picture.text(left - 8, floor - 12, "all together", "small end")
    return floor + 40


def dot(rarity: float) -> float:
    """Radius; the area grows with the rarity."""
    return max(4.4 * float(np.sqrt(max(rarity, 0) / 2)), 0.7) if rarity >= 0.5 else 0.7


# --- (c) an alert


def one_alert(alert: Mapping[str, Any], path: Path) -> None:
    picture = Drawing(
        860, "An alert", "One alert of a synthetic company as a person reads it: reasons, what is usual, and where the events are."
    )
    when = datetime.fromtimestamp(alert["time"] / 1000, UTC)
    picture.rect(24, 20, 84, 24, "alert", 5)
    picture.text(66, 36.5, alert["severity"].upper(), "badge middle")
    picture.text(122, 38, f"{alert['actor']} ({alert['team']}), {when:%a %d %b %H:%M UTC}", "title")
    picture.text(24, 68, f"As unusual as one employee-day in {round(10 ** alert['rarity'], -1):,.0f}. Compared with {alert['confidence']}.")
    y = 96.0
    for reason in alert["reasons"]:
        y = one_reason(picture, y, reason)
    y += 12
    picture.text(24, y + 6, "The events", "name")
    for event in alert["evidence"]:
        y += 19
        last = f", event {event['event_id']}" if event["event_id"] else ""
        picture.text(24, y + 8, f"{event['topic']}, partition {event['partition']}, offset {event['offset']}{last}", "code")
    said = f"incident {alert['incident_id'][:12]}…, alert {alert['seq']} of its partition, model {alert['model']['version']}"
    picture.text(24, y + 38, f"{said}; the company is synthetic", "small")
    picture.save(path, y + 56)


def one_reason(picture: Drawing, y: float, reason: Mapping[str, Any]) -> float:
    """A reason with what its signals showed; returns where the next one begins."""
    lines = textwrap.wrap(reason["text"], 96)
    signals = [signal for signal in reason["signals"] if signal["own_usual"] is not None]
    height = 34 + 18 * len(lines) + 17 * len(signals)
    picture.rect(24, y, 812, height, "panel", 6)
    picture.rect(36, y + 12, 90 * reason["share"], 10, "mark", 2)
    picture.text(36, y + 38, f"{reason['share']:.0%}", "name")
    picture.text(140, y + 21, reason["hypothesis"], "name")
    for n, line in enumerate(lines):
        picture.text(140, y + 40 + 18 * n, line)
    for n, signal in enumerate(signals):
        said = f"{signal['name']}: {signal['value']:g}, usual {signal['own_usual']:g}, the team {signal['team_usual']:g}"
        picture.text(140, y + 40 + 18 * len(lines) + 17 * n, said, "code small")
    return y + height + 10


if __name__ == "__main__":
    sys.exit(main())
