"""A small case, to be judged by hand: four campaigns, eleven days' alerts, 2,000 employee-days of which 1,001 are known by name."""

from __future__ import annotations

import json
from typing import Any

from detector.core.frame import DAY, HOUR

START = 20_000


def at(day: int, hour: float) -> int:
    """Ms; day 0 is the first."""
    return round((START + day) * DAY + hour * HOUR)


EVENTS = [
    ("e1", "a", "theft", "ann", at(1, 9), ""),
    ("e2", "a", "theft", "ann", at(2, 9), ""),
    ("e3", "a", "theft", "ann", at(3, 9), "file"),
    ("e4", "b", "theft", "bob", at(5, 10), ""),
    ("e5", "b", "theft", "bea", at(5, 12), ""),
    ("e6", "c", "snoop", "cid", at(8, 8), "by-the-way"),
    ("e7", "d", "snoop", "dan", at(20, 8), ""),
]
CAMPAIGNS = [("a", "theft", "", "", 0), ("b", "theft", "", "", 0), ("c", "snoop", "vip", "", 0), ("d", "snoop", "", "x", 0)]
ACTIVE = [(f"e{i}", START + day) for day in range(4) for i in range(250)] + [("ann", START + 2)]


def alert(score: float, time: int, actor: str | None = None, **more: Any) -> bytes:
    return json.dumps({"time": time, "score": score, "actor": actor, "kind": "employee", **more}).encode()


ALERTS = [
    b'{"kind":"heartbeat","seq":0}',
    b"",
    alert(0.99, at(1, 7), "eve", rarity=3.2),
    alert(0.98, at(2, 10), "ann", rarity=3.1),
    alert(0.97, at(1, 8), "eve", rarity=3.1),  # the same employee's day
    alert(0.96, at(2, 7), "eve", rarity=2.6),
    alert(0.95, at(8, 9), "zed", subject="vip"),  # an innocent who dealt with whom the campaign was after
    alert(0.94, at(3, 7), "fay", rarity=2.1),
    alert(0.94, at(3, 7), "gus", rarity=2.1),  # a tie: both or none
    alert(0.93, at(5, 11), "bob", actors=["x1", "x2", "x3"]),  # one of four
    alert(0.92, at(5, 13), "bob", actors=["bea"]),
    alert(0.91, at(4, 9) + 1, "ann", rarity=2.2),  # 24 h and 1 ms after the last event
    alert(0.905, at(4, 9), "ann"),
    alert(0.90, at(1, 9) - 1, "ann"),  # before the first
    alert(0.5, at(20, 9), None, team="x"),
]


def csv(header: str, rows: list[tuple[object, ...]]) -> bytes:
    return "\n".join([header, *(",".join(map(str, row)) for row in rows), ""]).encode()


def files() -> dict[str, bytes]:
    return {
        "labels.csv": csv("event_id,campaign,scenario,actor,time,subject", list(EVENTS)),
        "campaigns.csv": csv("campaign,scenario,subjects,team,contamination", list(CAMPAIGNS)),
        "active_days.csv": csv("actor,utc_day", list(ACTIVE)),
        "meta.json": json.dumps({"test_start": at(0, 0), "active_employee_days": 2000, "seed": 7}).encode(),
    }


SCORES = "event_id,time,actor,score\n" + "".join(
    f"{event},{at(1, 1)},ann,{score}\n" for event, score in [("e1", 9), ("n1", 8), ("e4", 7), ("n2", 7), ("e4", 2), ("n3", 1)]
)
"""Event e4 is scored twice; five of the seven are not scored at all."""
