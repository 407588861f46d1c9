"""Alerts for a person to read, with the facts counted anew: `python tests/quality/read_alerts.py --number 20`.

Each is printed with its sentences and signals, the events that it names as evidence, and beneath with what the raw events of the employee
say: in the last hours and days, on their median day and on the team's. Nothing of that is computed by the detector, so that each sentence
can be checked. The choice is random, over hypotheses, companies, and alerts that match a campaign or do not; the labels serve for that.
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
from companies import BUDGET
from logs import Company, Log
from product import recorded

from detector.core.frame import DAY, HOUR

DATA = Path(__file__).parents[3] / "shared" / "data"
NOT_DATA = ("login", "grant", "admin", "assign", "unassign")
OPEN_END = 14 * DAY
WINDOWS = (("3 h", 3 * HOUR), ("24 h", DAY), ("2 days", 2 * DAY), ("6 days", 6 * DAY))
BEFORE = 28 * DAY


class Event(msgspec.Struct):
    time: int
    actor: str
    action: str
    resource: str
    event_id: str | None = None
    actor_team: str | None = None
    actor_region: str | None = None
    subject: str | None = None
    subject_region: str | None = None
    fields: tuple[str, ...] = ()
    records: int = 0
    bytes: int = 0
    purpose: str | None = None
    outcome: str = "success"
    device: str | None = None
    src_country: str | None = None
    valid_until: int | None = None

    @property
    def on_person(self) -> bool:
        return self.subject is not None and self.action not in NOT_DATA


class Raw:
    """All events of a company, and what can be counted of them."""

    def __init__(self, company: Company) -> None:
        decoder = msgspec.json.Decoder(Event)
        self.all = [decoder.decode(line) for path in (company.train, company.test) for line in Log.read(path).lines]
        self.context = company.context
        self.by_actor: defaultdict[str, list[Event]] = defaultdict(list)
        self.by_team: defaultdict[str | None, list[Event]] = defaultdict(list)
        self.assigned: defaultdict[tuple[str, str | None], list[Event]] = defaultdict(list)
        self._first: dict[str, dict[str, int]] = {}
        for event in self.all:
            if event.action == "assign":
                self.assigned[event.actor, event.subject].append(event)
            self.by_actor[event.actor].append(event)
            self.by_team[event.actor_team].append(event)

    def first_looks(self, actor: str) -> dict[str, int]:
        """Subject -> ms of the actor's first look at their data."""
        if actor not in self._first:
            looks = [event for event in self.by_actor[actor] if event.on_person]
            self._first[actor] = {event.subject or "": event.time for event in reversed(looks)}
        return self._first[actor]

    def reason(self, event: Event) -> str:
        """Why somebody may have looked: assigned, a ticket, nothing."""
        for other in self.assigned[event.actor, event.subject]:
            if other.time <= event.time <= (other.valid_until or other.time + OPEN_END):
                return "assigned"
        return "ticket" if event.purpose else "nothing"

    def deserves_care(self, subject: str) -> str:
        """protected: its class; own account or household of a colleague; contact of somebody protected."""
        if said := self.context.protected_class(subject):
            return said
        for linked, kind in self.context.linked(subject):
            if kind != "contact":
                return f"{kind} of {linked}"
            if self.context.protected_class(linked):
                return f"contact of {linked}"
        return ""

    def walled(self, event: Event) -> bool:
        wall = self.context.wall(event.subject_region or "")
        region = event.actor_region or self.context.region(event.actor)
        return bool(wall and region and region not in wall.allowed_actor_regions and event.on_person)

    def facts(self, events: Sequence[Event], until: int) -> dict[str, Any]:
        """Counts of some events of one employee. `until`: ms, the alert."""
        on_people = [event for event in events if event.on_person]
        first = self.first_looks(events[0].actor) if events else {}
        began = events[0].time if events else 0
        people = list(dict.fromkeys(event.subject for event in on_people if event.subject))
        new = [who for who in people if first[who] >= began]
        reasons = {(event.subject, self.reason(event)) for event in on_people if event.time > until - 7 * DAY}
        reached: defaultdict[str, set[str]] = defaultdict(set)
        for event in on_people:
            reached[event.purpose or ""].add(event.subject or "")
        return {
            "events": len(events), "people": len(people), "new people": len(new),
            "new without a reason": len([who for who in new if (who, "nothing") in reasons]),
            "deserving care": len([who for who in people if self.deserves_care(who)]),
            "exports": sum(event.action == "export" for event in events),
            "records exported": sum(event.records for event in events if event.action == "export"),
            "MB": round(sum(event.bytes for event in events) / 1e6, 2), "denied": sum(event.outcome == "denied" for event in events),
            "over a wall": sum(map(self.walled, events)), "tickets": len([p for p in reached if p]),
            "most people of a ticket": max((len(who) for p, who in reached.items() if p), default=0),
            "devices": len({event.device for event in events if event.device}),
            "countries": len({event.src_country for event in events if event.src_country}),
        }  # fmt: skip

    def median_day(self, events: Iterable[Event]) -> dict[str, float]:
        """The median of each fact over employee-days, at most 60 of them."""
        by_day: defaultdict[tuple[str, int], list[Event]] = defaultdict(list)
        for event in events:
            by_day[event.actor, event.time // DAY].append(event)
        some = random.Random(0).sample(sorted(by_day), min(60, len(by_day)))
        facts = [self.facts(by_day[day], by_day[day][-1].time) for day in some]
        return {name: round(statistics.median(f[name] for f in facts), 2) for name in facts[0]} if facts else {}


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--number", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--company", choices=("a", "b"), action="append")
    parser.add_argument("--json", action="store_true", help="also the alert as it is")
    args = parser.parse_args()
    data, parts = Path(os.environ.get("DATA") or DATA), args.company or ["a", "b"]
    for part in parts:
        company = Company.of(data, part)
        alerts = company.alerts(company.trained(), recorded(company.train, company.test), BUDGET)
        raw = Raw(company)
        for alert, true in chosen(company, alerts, args.number // len(parts), args.seed):
            print(told(part, alert, true))
            if args.json:
                print(msgspec.json.encode(alert).decode())
            print(checked(raw, alert), "\n")
    return 0


def chosen(company: Company, alerts: list[dict[str, Any]], number: int, seed: int) -> list[tuple[dict[str, Any], bool]]:
    """In turns one of each (first hypothesis, true or false); one of an employee's day."""
    program, rng = company.truth.program, random.Random(seed)
    loaded = program.load_alerts((msgspec.json.encode(alert).decode() for alert in alerts), 0)
    hits = program.match_all(loaded, company.truth.said["campaigns"])
    groups: defaultdict[tuple[str, bool], list[dict[str, Any]]] = defaultdict(list)
    for i in rng.sample(range(len(alerts)), len(alerts)):
        groups[alerts[i]["reasons"][0]["hypothesis"], bool(hits[i])].append(alerts[i])
    out: list[tuple[dict[str, Any], bool]] = []
    seen: set[tuple[str, int]] = set()
    while len(out) < number and any(groups.values()):
        for (_, true), some in sorted(groups.items()):
            while some and len(out) < number:
                alert = some.pop()
                if (alert["actor"], alert["time"] // DAY) not in seen:
                    seen.add((alert["actor"], alert["time"] // DAY))
                    out.append((alert, true))
                    break
    return out


def told(part: str, alert: dict[str, Any], true: bool) -> str:
    lines = [
        f"=== company {part}: {alert['actor']} of {alert['team']}, {when(alert['time'])}, rarity {alert['rarity']}, {alert['severity']}, "
        f"{'a campaign' if true else 'no campaign'}; {alert['confidence']}"
    ]
    for reason in alert["reasons"]:
        lines.append(f"  {reason['share']:.2f} {reason['hypothesis']}: {reason['text']}")
        lines += [f"         {s['name']}: {s['value']} (own {s['own_usual']}, team {s['team_usual']})" for s in reason["signals"]]
    return "\n".join(lines)


def checked(raw: Raw, alert: dict[str, Any]) -> str:
    """The facts, and the events named."""
    actor, time = alert["actor"], alert["time"]
    named = [raw.all[evidence["offset"]] for evidence in alert["evidence"]]
    own = [event for event in raw.by_actor[actor] if event.time <= time]
    columns = {name: raw.facts([event for event in own if event.time > time - span], time) for name, span in WINDOWS}
    columns["own median day"] = raw.median_day(event for event in own if time - BEFORE < event.time < time - 2 * DAY)
    team = (event for event in raw.by_team[alert["team"]] if time - 14 * DAY < event.time < time - 2 * DAY and event.actor != actor)
    columns["team's median day"] = raw.median_day(team)
    lines = [f"  {'':24}" + "".join(f"{name:>18}" for name in columns)]
    for fact in columns["3 h"]:
        lines.append(f"  {fact:24}" + "".join(f"{column.get(fact, '-'):>18}" for column in columns.values()))
    last = [event for event in own if event.time > time - 2 * DAY]
    care = {event.subject: raw.deserves_care(event.subject) for event in last if event.on_person and event.subject}
    lines.append(f"  deserving care: {', '.join(f'{who} ({why})' for who, why in care.items() if why) or 'nobody'}")
    lines.append(f"  used (last 2 days; days the employee, days the team used it before): {habits(raw, alert, last)}")
    lines.append(f"  hours UTC: {hours(last)}; usual {hours([event for event in own if event.time < time - 2 * DAY])}")
    lines += [f"  named: {line(raw, event)}" for event in named]
    lines += [f"  before: {line(raw, event)}" for event in [e for e in own if e not in named][-8:]]
    return "\n".join(lines)


def habits(raw: Raw, alert: dict[str, Any], last: list[Event]) -> str:
    before = alert["time"] - 2 * DAY
    used = Counter((event.resource, event.action) for event in last)
    out = []
    for (resource, action), n in used.most_common(14):
        own = {e.time // DAY for e in raw.by_actor[alert["actor"]] if (e.resource, e.action) == (resource, action) and e.time < before}
        team = {(e.actor, e.time // DAY) for e in raw.by_team[alert["team"]] if (e.resource, e.action) == (resource, action)}
        team = {(who, day) for who, day in team if who != alert["actor"] and day < before // DAY}
        out.append(f"{action} {resource} {n} ({len(own)}, {len(team)})")
    return ", ".join(out)


def hours(events: Iterable[Event]) -> str:
    return " ".join(f"{hour}:{n}" for hour, n in sorted(Counter(event.time // HOUR % 24 for event in events).items()))


def line(raw: Raw, event: Event) -> str:
    about = ""
    if event.subject:
        care = raw.deserves_care(event.subject)
        looks = {e.time // DAY for e in raw.by_actor[event.actor] if e.on_person and e.subject == event.subject}
        known = sum(day < event.time // DAY for day in looks)
        about = (
            f" about {event.subject} of {event.subject_region}{f' ({care})' if care else ''}, looked at on {known} earlier days, "
            f"reason: {raw.reason(event)}"
        )
    return (
        f"{when(event.time)} {event.action} {event.resource} {event.outcome}{about}; {','.join(event.fields)} "
        f"{event.purpose or 'no ticket'} {event.records} records {event.bytes} B {event.src_country} {event.device}"
    )


def when(time: int) -> str:
    return f"{datetime.fromtimestamp(time / 1000, UTC):%a %d %b %H:%M:%S}"


if __name__ == "__main__":
    sys.exit(main())
