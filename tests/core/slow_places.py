"""Places, slow and obvious: lists of everything, distances by the angle between two vectors."""

from __future__ import annotations

import math

from histories import HOUR, Event

from detector.core.baselines import Baselines


class Places:
    def __init__(self) -> None:
        self.days: list[int] = []
        self.countries: list[list[float]] = [[0, 0.0] for _ in range(8)]
        self.devices: list[int] = []
        self.position: tuple[int, float, float] | None = None

    def observe(self, e: Event, baselines: Baselines, said: dict[str, float]) -> None:
        if not e.is_access:
            return
        if not self.days or e.day > self.days[-1]:
            self.days.append(e.day)
            for place in self.countries:
                place[1] *= 0.97
        said["geo"] = 0.0
        if e.country:
            said["geo"] += self.country(e.country)
        if e.device:
            if e.device not in self.devices[-8:] and len(self.days) - 1 > 3:
                said["new_device"] = 1.0
                said["geo"] += 1.5
            self.devices = [d for d in self.devices if d != e.device] + [e.device]
        if not math.isnan(e.latitude) and not math.isnan(e.longitude):
            self.travel(e, said)

    def country(self, country: int) -> float:
        total = sum(count for _, count in self.countries)
        mine = [place for place in self.countries if place[0] == country]
        z = -math.log10(((mine[0][1] if mine else 0.0) + 0.3) / (total + 1))
        if not mine:
            mine = [min(self.countries, key=lambda place: place[1])]
            mine[0][:] = [country, 0.0]
        mine[0][1] += 1
        return z - 1 if total > 30 and z > 1.5 else 0.0

    def travel(self, e: Event, said: dict[str, float]) -> None:
        if self.position is not None:
            time, *before = self.position
            km, hours = distance(e.latitude, e.longitude, *before), abs(e.time - time) / HOUR
            if km > 400:
                said["travel"] = math.log(1 + km / max(hours, 0.1) / 900)
                said["geo"] += min(said["travel"], 3)
        if self.position is None or e.time >= self.position[0]:
            self.position = (e.time, e.latitude, e.longitude)


def distance(*degrees: float) -> float:
    a, b, c, d = map(math.radians, degrees)
    x, y = [(math.cos(n) * math.cos(m), math.cos(n) * math.sin(m), math.sin(n)) for n, m in ((a, b), (c, d))]
    cross = (x[1] * y[2] - x[2] * y[1], x[2] * y[0] - x[0] * y[2], x[0] * y[1] - x[1] * y[0])
    return 6371 * math.atan2(math.hypot(*cross), sum(p * q for p, q in zip(x, y, strict=True)))
