"""Purposes, slow and obvious: the sets of people that each was used for."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from histories import Event

from detector.core.baselines import Baselines


@dataclass
class Purpose:
    key: int
    kind: int
    first: int
    people: set[int] = field(default_factory=set)
    """As far as they are told from each other: a sixty-fourth of all are one."""
    age: int = 0
    grown: int = -1
    """Day of the last further person."""

    @property
    def reach(self) -> float:
        """Log of the people who leave so many of 64 places empty."""
        empty = max(64 - len(self.people), 1)
        return math.log(-64 * math.log(empty / 64)) if len(self.people) > 1 else 0.0


class Purposes:
    def __init__(self) -> None:
        self.held: list[Purpose] = []
        self.newest = -1
        self.gone = 0

    def observe(self, e: Event, baselines: Baselines, said: dict[str, float]) -> None:
        day, second = min(e.day, 65_535), min(e.time // 1000, 2**32 - 1)
        self.newest = max(self.newest, day)
        if not e.on_person or not e.purpose:
            return
        known = [p for p in self.held if p.key == e.purpose]
        p = known[0] if known else Purpose(e.purpose, e.purpose_kind, second)
        if e.subject % 64 in p.people:
            return
        p.people.add(e.subject % 64)
        p.kind, p.age, p.grown = e.purpose_kind, max(second - p.first, 0), self.newest
        self.gone += not known and len(self.held) == 10
        self.held = [p, *(other for other in self.held if other is not p)][:10]
        z_reach, z_age = p.reach, math.log(1 + p.age / 86_400)
        if e.purpose_row != -1:
            mean, var, age_mean, age_var = baselines.purpose[e.team, e.purpose_row]
            z_reach, z_age = (z_reach - mean) / math.sqrt(var + 0.15), (z_age - age_mean) / math.sqrt(age_var + 0.1)
        unexplained = 1 if said["w"] > 0.21 else 0.4 if said["w"] > 0.11 else 0
        said["purpose"] = unexplained * (max(z_reach, 0) + 0.6 * max(z_age, 0)) * min(p.reach, 3)

    @property
    def day_record(self) -> list[list[float]]:
        """Kind, reach and age of each that came to a further person on the newest day."""
        today = [p for p in self.held if p.grown == self.newest]
        rows = [[p.kind, p.reach, math.log(1 + min(p.age // 900, 65_535) / 96)] for p in today]
        return rows + [[0, 0, 0]] * (10 - len(rows))
