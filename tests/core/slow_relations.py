"""Relations, slow and obvious: one object a pair, thirty-six of them, and the last twenty first looks of the day."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from histories import Event

from detector.core.baselines import Baselines

LAST = 65_535
"""The last day that is told from those after it, in the year 2149."""


@dataclass
class Pair:
    subject: int = 0
    day: int = 0
    unexplained: float = 0.0
    explained: float = 0.0

    @property
    def worth(self) -> float:
        """A day each, two weeks more for an unexplained one, six weeks more for having any."""
        return self.day + 14 * self.unexplained + (42 if self.unexplained > 0.25 else 0)


@dataclass
class Relations:
    pairs: list[Pair] = field(default_factory=lambda: [Pair() for _ in range(36)])
    newest: int = 0
    latest: list[int] = field(default_factory=list)
    today: list[float] = field(default_factory=list)
    looks: int = 0
    mean: float = 0.0
    var: float = 0.0
    gone: int = 0
    refused: int = 0
    again: int = 0
    forgotten: int = 0

    def observe(self, e: Event, baselines: Baselines, said: dict[str, float]) -> None:
        day, w = min(e.day, LAST), said["w"]
        if day > self.newest:
            self.newest, self.today, self.latest = day, [], []
        known = [p for p in self.pairs if p.subject == e.subject]
        if not e.on_person or (known and day <= known[0].day):
            return
        if day == self.newest:
            mark = max(max(e.subject % 2**32, 1) // 2**16, 1)
            if mark in self.latest[-20:]:
                self.again += 1
                return
            self.forgotten += mark in self.latest
            self.latest.append(mark)
        said["first"] = 1.0
        unexplained, explained = w, 1 - w
        if known:
            unexplained += known[0].unexplained / 2 ** (1 / 12)
            explained += known[0].explained
        self.keep(Pair(e.subject, day, round(unexplained * 1024) / 1024, min(round(explained * 256), 65_535) / 256), known)
        if w > 0.25:
            z = self.compare(unexplained / (1 + 0.7 * explained), *baselines.repeat[e.team])
            if unexplained > 1.5:
                said["repeat"] = w * max(z, 0) * (1 + e.special) * (1 + 0.5 * e.location)

    def keep(self, pair: Pair, known: list[Pair]) -> None:
        start = max(pair.subject % 2**32, 1) % 36
        old = known[0] if known else min(self.pairs[start:] + self.pairs[:start], key=lambda p: p.worth)
        if known or old.worth <= pair.worth:
            self.gone += not known and old.subject != 0
            self.pairs = [pair if p is old else p for p in self.pairs]
        else:
            self.refused += 1

    def compare(self, value: float, t_mean: float, t_var: float) -> float:
        n = self.looks
        mean, var = (n * self.mean + 15 * t_mean) / (n + 15), (n * self.var + 15 * t_var) / (n + 15)
        sd = math.sqrt(var + 0.1)
        self.today.append(value)
        self.looks = min(n + 1, 150)
        off = min(value, mean + 4 * sd) - self.mean
        self.mean += off / self.looks
        self.var += (off**2 - self.var) / max(self.looks, 5)
        return (value - mean) / sd

    @property
    def day_record(self) -> list[float]:
        return [len(self.today), sum(self.today), sum(v**2 for v in self.today)]
