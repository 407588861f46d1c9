"""What a frame says of one event, asked of the context string by string. Nothing is shared with `framing` and what it uses."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from functools import cache
from importlib.resources import files
from typing import Any
from zoneinfo import ZoneInfo

from detector.core.baselines import Baselines
from detector.core.context import Context
from detector.core.events import ACTIONS, NO_TIME, OUTCOMES
from detector.core.strings import hash_strings

DAY = 86_400_000
WORD = 2**64 - 1


@cache
def zone_of(name: str) -> ZoneInfo:
    """By the rules of the package, which may be newer than the machine's."""
    with files("tzdata").joinpath("zoneinfo", *name.split("/")).open("rb") as rules:
        return ZoneInfo.from_file(rules, name)


def hashed(text: str | None) -> int:
    return 0 if text is None else int(hash_strings([text])[0])


def mixed(x: int) -> int:
    x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9 & WORD
    x = (x ^ x >> 27) * 0x94D049BB133111EB & WORD
    return x ^ x >> 31


def pair(resource: str, action: str) -> int:
    inner = mixed(ACTIONS.index(action) + 0x9E3779B97F4A7C15 & WORD)
    return max(mixed(hashed(resource) + inner & WORD) >> 32, 1)


def row(values: Any, value: int) -> int:
    return values.tolist().index(value) if value in values.tolist() else -1


def slow_frame(context: Context, baselines: Baselines, event: dict[str, Any]) -> dict[str, Any]:
    """Column -> value. `event` as its JSON, with a time in ms."""
    time, actor, action, subject = event["time"], event["actor"], event["action"], event.get("subject")
    resource, purpose, day = event["resource"], event.get("purpose"), event["time"] // DAY
    team = actor if context.role(actor, day) == "service" else event.get("actor_team") or context.team(actor, day)
    region = event.get("actor_region") or context.region(actor)
    moved, old_team = context.transfer(actor, day) or (0, None)
    kind = None if purpose is None else purpose.split("-")[0]
    classes = {context.field_class(f) for f in event.get("fields", [])}
    granted = resource[4:] if resource.startswith("iam:") else ""
    colleague = subject is not None and context.is_employee(subject)
    return {
        "time": time, "hour": local_hour(context, time, region), "action": ACTIONS.index(action),
        "outcome": OUTCOMES.index(event.get("outcome", "success")), "resource": hashed(resource),
        "kind": [None, "watch", "iam", "hr", "asset"].index(context.resource_kind(resource)), "grants": hashed(granted or None),
        "pair": pair(resource, action), "pair_row": row(baselines.pairs, pair(resource, action)),
        "team": max(row(baselines.teams, hashed(team)), 0), "team_key": hashed(team),
        "old_team": row(baselines.teams, hashed(old_team)) if old_team else -1, "transferred": moved * DAY,
        "subject": hashed(subject), "purpose": hashed(purpose), "purpose_row": row(baselines.purposes, hashed(kind)),
        "purpose_kind": hashed(kind),
        "exception": purpose is not None and any(purpose.startswith(w.exception_prefix or "\0") for w in context.walls.values()),
        "valid_until": event.get("valid_until", NO_TIME), "records": event.get("records", 1), "bytes": event.get("bytes", 0),
        "special": care(context, subject), "own": ("own_account", actor) in [(k, who) for who, k in context.linked(subject or "")],
        "self": subject == actor and (colleague or context.resource_kind(resource) is not None),
        "teammate": colleague and subject != actor and team is not None and context.team(str(subject), day) == team,
        "location": "location" in classes, "content": bool(classes & {"content", "financial", "health", "identity", "credential"}),
        "wall": wall(context, event, region, team), "revoked": revoked(context, baselines, resource, team, old_team, moved, day),
        "country": hashed(event.get("src_country")), "device": hashed(event.get("device")),
        "latitude": event.get("src_lat", math.nan), "longitude": event.get("src_lon", math.nan),
    }  # fmt: skip


def local_hour(context: Context, time: int, region: str | None) -> int:
    calendar = context.calendars.get(region or "")
    zone = zone_of(calendar.time_zone) if calendar else UTC
    local = (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=time)).astimezone(zone)
    day = local.date().toordinal() - 719_163
    working, holidays = (calendar.working_days, calendar.holidays) if calendar else (range(5), ())
    return local.hour + (0 if local.weekday() in working and day not in holidays else 24)


def care(context: Context, subject: str | None) -> float:
    if subject is None:
        return 0.0
    links = context.linked(subject)
    cares = [0.8 for _, kind in links if kind != "contact"]
    cares += [0.6 for linked, kind in links if kind == "contact" and context.protected_class(linked) is not None]
    return max([0.0, *cares, 1.0 * (context.protected_class(subject) is not None)])


def wall(context: Context, event: dict[str, Any], region: str | None, team: str | None) -> float:
    found = context.walls.get(event.get("subject_region", ""))
    if found is None or region is None or region in found.allowed_actor_regions:
        return 0.0
    if found.exception_prefix and event.get("purpose", "").startswith(found.exception_prefix):
        return 0.02
    return 0.1 if team in found.exempt_teams else 1.0


def revoked(context: Context, baselines: Baselines, resource: str, team: str | None, old: str | None, moved: int, day: int) -> float:
    since = context.revoked_since(team or "", resource)
    taken = since is not None and 0 <= day - since <= 90
    owners = context.owners(resource)
    if owners and moved and 5 <= day - moved <= 90 and old in owners and team not in owners:
        taken = True
    if not taken:
        return -1.0
    uses = zip(baselines.revoked_team.tolist(), baselines.revoked_resource.tolist(), baselines.revoked_use.tolist(), strict=True)
    return next((use for t, r, use in uses if (t, r) == (hashed(team), hashed(resource))), 0.0)
