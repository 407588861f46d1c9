"""What the tutorial shows, as pictures: the terminal with its alerts, the model's card, and the days of those who are alerted."""

from __future__ import annotations

import csv
import json
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from harness import detector
from matplotlib.axes import Axes
from matplotlib.dates import DateFormatter, HourLocator
from matplotlib.figure import Figure
from sheet import Sheet
from terminal import screen

from detector.core.calibration import threshold
from detector.pictures import ALARM, FAINT, FIRST, THIRD, drawn
from detector.sandbox.company import Company
from detector.sandbox.demo import sentence

TUTORIAL = Path(__file__).parents[2] / "docs/tutorial/first-alert.md"
EMPLOYEES, DAYS, BUDGET = 180, 2, 1.0
SHOWN = 3
"""Alerts in the picture of the terminal."""


class Person(NamedTuple):
    times: list[datetime]
    rarity: list[float]
    """Of each event."""
    alerts: list[tuple[datetime, float]]


def outputs(folder: Path, images: Path) -> None:
    """Takes the steps of the tutorial, without Kafka, in `folder`; the pictures go to `images`."""
    end = re.search(r"^END=(\S+)$", TUTORIAL.read_text("utf-8"), re.M)[1]  # type: ignore[index]
    history, context, models = folder / "history.ndjson", str(folder / "context"), folder / "models"
    made = ("--employees", str(EMPLOYEES), "--end", end, "--days", "28", "--history", str(history), "--context", context)
    detector("sandbox", "company", *made)
    detector("train", "--events", str(history), "--context", context, "--out", str(models))
    card = next(models.glob("*/card.md"))
    Sheet(card.parent).draw("The model's card", card.read_text("utf-8"), images / "card.svg")
    company = Company(EMPLOYEES, end=round(1000 * datetime.fromisoformat(end).timestamp()))
    story = company.plant("story")
    with (folder / "live.ndjson").open("wb") as file:
        for day in company.days(company.end, company.end + DAYS * 86_400_000):
            file.writelines(value + b"\n" for value in day.values)
    alerts, scores = folder / "alerts.ndjson", folder / "scores.csv"
    played = ("--alerts", str(alerts), "--scores", str(scores), "--budget", str(BUDGET), "--refresh", "none", "--from", end)
    detector("replay", "--events", str(history), str(folder / "live.ndjson"), "--context", context, "--models", str(models), *played)
    told = [json.loads(line) for line in alerts.read_bytes().splitlines()]
    said = "\n".join(sentence(alert, colour=True) for alert in told[:SHOWN])
    screen("alerts", "detector sandbox alerts", said, images / "alerts.svg")
    (images / "timeline.png").write_bytes(timeline(people(scores, told), story.actors))


def people(scores: Path, alerts: Sequence[dict[str, Any]]) -> dict[str, Person]:
    """By name."""
    found: dict[str, Person] = defaultdict(lambda: Person([], [], []))
    with scores.open() as file:
        for row in csv.DictReader(file):
            found[row["actor"]].times.append(moment(int(row["time"])))
            found[row["actor"]].rarity.append(float(row["rarity"]))
    for alert in alerts:
        found[alert["actor"]].alerts.append((moment(alert["time"]), alert["rarity"]))
    return found


def moment(ms: int) -> datetime:
    return datetime.fromtimestamp(ms / 1000, UTC)


def timeline(everybody: Mapping[str, Person], planted: Sequence[str]) -> bytes:
    """Two days: a row for each of the planted, and one for all others together."""

    def draw(figure: Figure) -> None:
        names = sorted(planted)
        rows = figure.subplots(len(names) + 1, 1, sharex=True, sharey=True)
        for axes, name in zip(rows, names, strict=False):
            who = everybody[name]
            axes.vlines(who.times, 0, who.rarity, color=FIRST, lw=1.2)
            if who.alerts:
                axes.plot(*zip(*who.alerts, strict=True), "v", color=ALARM, ms=6, clip_on=False, zorder=5)
            axes.set_title(f"{name}, {'alerted ' + str(len(who.alerts)) + ' times' if who.alerts else 'not alerted'}", fontsize=9)
        rest = [who for name, who in everybody.items() if name not in planted]
        rows[-1].set_title(f"the other {len(rest)} employees", fontsize=9)
        rows[-1].plot(
            [at for who in rest for at in who.times], [rare for who in rest for rare in who.rarity], ".", ms=2, mew=0, color=THIRD
        )
        for who in (who for who in rest if who.alerts):
            rows[-1].plot(*zip(*who.alerts, strict=True), "v", color=ALARM, ms=6, clip_on=False, zorder=5)
        marked(rows)
        words = "How rare is what they do: a line is an event, a triangle an alert; the threshold is dashed (one employee-day in 1,000)"
        figure.suptitle(words, fontsize=10, x=0.02, ha="left")

    return drawn(draw, (9, 7), "png")


def marked(rows: Sequence[Axes]) -> None:
    for axes in rows:
        axes.axhline(threshold(BUDGET), color=ALARM, lw=0.9, ls="--")
        axes.set(ylim=(0, 4), yticks=range(5))
        axes.set_yticks(range(1, 5), [f"1 in {10**rarity:,}" for rarity in range(1, 5)])
        axes.grid(color=FAINT, lw=0.6)
    rows[-1].xaxis.set_major_locator(HourLocator(range(0, 24, 6)))
    rows[-1].xaxis.set_major_formatter(DateFormatter("%a %H:%M"))
