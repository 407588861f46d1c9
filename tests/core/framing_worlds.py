"""Random contexts, baselines and events for frames, and batches of them as decoded."""

from __future__ import annotations

import hmac
import json
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
from slow_framing import DAY, hashed, pair

from detector.core.baselines import Baselines
from detector.core.context import DEFAULT_RESOURCES, Calendar, Context, Employee, Wall, Zone
from detector.core.events import ACTIONS, EventBatch, Records
from detector.core.formats.native import Limits, decode
from detector.files import read_zones

TODAY = 20_600  # 2026-05-27
KEY = b"k" * 32
ACTORS = tuple(f"e{i}" for i in range(8))
SUBJECTS = (*(f"u{i}" for i in range(10)), "e0", "e1", "e2", "e3", "e6", "e9")
TEAMS = ("a", "b", "c")
REGIONS = ("US", "EU", "SG", "MA", "XX")
RESOURCES = ("messages", "user_profile", "siem_alerts", "iam:messages", "iam:", "iam_console", "hr_pay", "asset_x", "tool", "té")
PURPOSES = ("C-1", "C-2", "EXC-7", "EXC", "EXCEPT-1", "EXC-LEGAL-3", "-x-1", "free text", "")
FIELDS = ("gps", "ip", "text", "iban", "diagnosis", "passport", "token", "colour", "a,b", 'q"')
CLASSES = {"gps": "location", "text": "content", "iban": "financial", "diagnosis": "health", "passport": "identity", "token": "credential",
           "ip": "device", "a,b": "content"}  # fmt: skip
ZONES = {"US": "America/New_York", "EU": "Europe/Dublin", "SG": "Asia/Singapore", "MA": "Africa/Casablanca"}


@cache
def zones() -> dict[str, Zone]:
    return read_zones(ZONES.values())


def maybe(rng: np.random.Generator, some: tuple[Any, ...], share: float = 0.5) -> Any:
    return some[rng.integers(len(some))] if rng.random() < share else None


def a_context(rng: np.random.Generator) -> Context:
    def post(day: int) -> tuple[int, str | None, str | None]:
        return day, maybe(rng, TEAMS, 0.9), "service" if rng.random() < 0.15 else maybe(rng, ("support",))

    def employee() -> Employee:
        moves = sorted(set((TODAY + rng.integers(-110, 20, rng.integers(4))).tolist()))
        return Employee(
            tuple(map(post, [int(rng.choice([0, TODAY - 111])), *moves])), maybe(rng, REGIONS, 0.8), listed=bool(rng.random() < 0.75)
        )

    links: dict[str, list[tuple[str, str]]] = {}
    for _ in range(12):
        kind = str(rng.choice(["own_account", "household", "contact"]))
        links.setdefault(str(rng.choice(SUBJECTS[:10])), []).append((str(rng.choice(SUBJECTS[:10] if kind == "contact" else ACTORS)), kind))
    protected = dict.fromkeys(rng.choice(SUBJECTS, 3).tolist(), "official")
    protected |= {"hmac:" + hmac.digest(KEY, str(rng.choice(SUBJECTS)).encode(), "sha256").hex(): "witness"}
    revoked = {(str(rng.choice(TEAMS)), str(rng.choice(RESOURCES))): TODAY + int(rng.integers(-110, 20)) for _ in range(6)}
    prefixes = ("EXC-", "EXC", "EXC-LEGAL-", "-x", "é")
    several = [frozenset(rng.choice(REGIONS, rng.integers(3)).tolist()) for _ in range(3)]
    return Context(
        employees={name: employee() for name in (*ACTORS[:6], "e9")}, protected=protected, links={s: tuple(x) for s, x in links.items()},
        fields=CLASSES, resources={p: kind for kind, patterns in DEFAULT_RESOURCES.items() for p in patterns} | {"tool": "watch"},
        owned={r: frozenset(rng.choice(TEAMS, rng.integers(1, 3)).tolist()) for r in rng.choice(RESOURCES, 5).tolist()}, revoked=revoked,
        walls={r: Wall(r, some, frozenset(rng.choice(TEAMS, 1).tolist()), maybe(rng, prefixes, 0.8))
               for r, some in zip(REGIONS, several, strict=False)},
        calendars={r: Calendar(zone, frozenset(rng.choice(7, 5).tolist()), frozenset((TODAY + rng.integers(-9, 9, 4)).tolist()))
                   for r, zone in ZONES.items() if rng.random() < 0.8},
        zones=zones(), key=KEY if rng.random() < 0.5 else b"",
    )  # fmt: skip


def some_baselines(rng: np.random.Generator) -> Baselines:
    pairs = sorted({pair(str(r), str(a)) for r, a in zip(rng.choice(RESOURCES, 30), rng.choice(ACTIONS, 30), strict=True)})
    used = [(hashed(str(rng.choice(TEAMS))), hashed(str(rng.choice(RESOURCES)))) for _ in range(4)]
    return replace(
        Baselines.blank(3), teams=np.array([0, *sorted(map(hashed, ("a", "b", "e5", "e1")))], np.uint64), pairs=np.array(pairs, np.uint32),
        purposes=np.array(sorted(map(hashed, ("C", "EXC", "free text"))), np.uint64),
        revoked_team=np.array([t for t, _ in used], np.uint64),
        revoked_resource=np.array([r for _, r in used], np.uint64), revoked_use=rng.uniform(0.1, 5, len(used)),
    )  # fmt: skip


def an_event(rng: np.random.Generator) -> dict[str, Any]:
    action, place = str(rng.choice(ACTIONS)), (1.5, -2.0) if rng.random() < 0.3 else (None, None)
    day = TODAY + int(rng.choice([rng.integers(-8, 8), rng.integers(-150, 250), rng.integers(-TODAY, 27_000)], p=[0.6, 0.3, 0.1]))
    members = {
        "time": day * DAY + int(rng.integers(DAY)), "actor": str(rng.choice(ACTORS)), "action": action,
        "resource": str(rng.choice(RESOURCES)),
        "subject": maybe(rng, SUBJECTS, 0.8), "purpose": maybe(rng, PURPOSES[:-1], 0.7), "actor_team": maybe(rng, (*TEAMS, "d")),
        "actor_region": maybe(rng, REGIONS, 0.4), "subject_region": maybe(rng, REGIONS, 0.8), "src_country": maybe(rng, ("IE", "US")),
        "device": maybe(rng, ("d1", "d2")), "outcome": maybe(rng, ("success", "denied", "error")), "records": maybe(rng, (0, 7)),
        "bytes": maybe(rng, (0, 2**40)), "src_lat": place[0], "src_lon": place[1],
        "fields": rng.choice(FIELDS, rng.integers(3)).tolist() if rng.random() < 0.7 else None,
        "valid_until": maybe(rng, (TODAY * DAY, 0)) if action == "assign" else None,
    }  # fmt: skip
    return {name: value for name, value in members.items() if value is not None}


def batch_of(events: list[dict[str, Any]], rng: np.random.Generator, of_rows: bool = False) -> EventBatch:
    """As the native format decodes them; or of rows alone, as any other format may give them."""
    gaps = [(",", ":"), (", ", ": "), (" , ", " : ")]
    values = [json.dumps(e, ensure_ascii=bool(rng.random() < 0.5), separators=gaps[rng.integers(3)]).encode() for e in events]
    batch = decode(Records.of(values), Limits())
    assert not batch.dead
    return EventBatch("t", 0, batch.offset, batch.broker_time, batch.time, batch.rows) if of_rows else batch


def world(seed: int, n: int = 120) -> tuple[Context, Baselines, list[dict[str, Any]], np.random.Generator]:
    rng = np.random.default_rng(seed)
    return a_context(rng), some_baselines(rng), [an_event(rng) for _ in range(n)], rng
