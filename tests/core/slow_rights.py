"""Rights, slow and obvious: lists of everything, from the formulas."""

from __future__ import annotations

import math
from dataclasses import dataclass

from histories import DAY, MINUTE, Event

from detector.core.baselines import Baselines


@dataclass
class Grant:
    resource: int = 0
    minute: int = 0
    strength: float = 0.0


class Rights:
    def __init__(self) -> None:
        self.newest = -1
        self.uses: list[tuple[int, int]] = []
        self.grants = [Grant() for _ in range(4)]

    def observe(self, e: Event, baselines: Baselines, said: dict[str, float]) -> None:
        self.newest = max(self.newest, e.day)
        if not e.is_access:
            return
        w, denied = said["w"], e.outcome == "denied"
        said["wall"] = 0.4 * e.wall * w if denied else e.wall * (0.3 + 0.7 * w)
        said["revoked"] = (0.3 if denied else 1) * (self.taken_away(e, w) + self.old_team(e, w, baselines))
        if e.kind == 1:
            self.watch(e, said)
        if e.kind == 2 and e.action in ("grant", "admin") and e.self:
            said["privilege"] = 3 * (0.05 + 1.3 * max(w - 0.3, 0)) + self.change(e, w, said)
            return
        for grant in self.recent(e, e.resource):
            data = 1 if e.on_person else 0.15
            said["grant_use"] = grant.strength * (0.2 + 2.8 * w * data) * (1 + said["odd_pair"])
            said["privilege"] = 0.5 * grant.strength * w * data

    def taken_away(self, e: Event, w: float) -> float:
        if e.revoked < 0:
            return 0.0
        own = sum(0.84**later for later in range(len(self.uses)))
        if not self.uses or e.day > self.uses[-1][0]:
            self.uses.append((e.day, e.resource))
        return 1.4 * max(w - 0.3, 0.02) / (1 + 2 * max(e.revoked - own, 0))

    def old_team(self, e: Event, w: float, baselines: Baselines) -> float:
        days = (e.time - e.transferred) / DAY
        if not e.transferred or not 5 < days < 90 or e.old_team in (-1, e.team) or e.pair_row == -1:
            return 0.0
        then, now = (baselines.pair_team[team][e.pair_row] + 1e-4 for team in (e.old_team, e.team))
        q = math.log(then / now)
        return 0.4 * q * (1 - math.exp(-(days - 5) / 10)) * 1.4 * max(w - 0.3, 0) if q > 1.5 else 0.0

    def watch(self, e: Event, said: dict[str, float]) -> None:
        rare = max(math.log(0.02 / (said["own_share"] + 1e-4)), 0) if said["own_share"] else 0.0
        said["watch"] = (0.3 + 0.7 * said["w"]) * rare
        if e.self:
            said["watch"] += 1.5
            said["watch_self"] = 2 * (1 + rare)
        elif e.teammate and not e.purpose:
            said["watch"] += 0.5
            said["watch_self"] = 0.7 * (1 + rare)

    def change(self, e: Event, w: float, said: dict[str, float]) -> float:
        if not e.grants or e.outcome != "success":
            return 0.0
        if e.action == "admin":
            for grant in self.recent(e, e.grants):
                said["grant_use"] = 3 * grant.strength
                return said["grant_use"]
        same = [grant for grant in self.grants if grant.resource == e.grants]
        grant = same[0] if same else min(self.grants, key=lambda g: g.minute)
        if e.time // MINUTE >= grant.minute:
            grant.resource, grant.minute, grant.strength = e.grants, e.time // MINUTE, 0.03 + 1.3 * max(w - 0.3, 0)
        return 0.0

    def recent(self, e: Event, resource: int) -> list[Grant]:
        return [g for g in self.grants if g.resource == resource and 0 <= e.time // MINUTE - g.minute < 3 * 24 * 60]

    @property
    def used_today(self) -> int:
        """For the daily record."""
        return self.uses[-1][1] if self.uses and self.uses[-1][0] == self.newest else 0
