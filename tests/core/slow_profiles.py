"""Profiles, hours, masquerade and accumulators once more, slow and obvious, from their formulas: everything is kept, and summed anew."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass, field

from histories import DAY, HOUR, Event, step_hash

from detector.core.baselines import Baselines


@dataclass
class Counts:
    """Events of each kind, multiplied by `keep` when a later day than any before begins; at most `places` kinds, the rarest makes room.

    With `sixteenths` a count is held in whole ones of these, and all counts are halved before one would be over 65,535 of them.
    """

    keep: float
    places: int
    sixteenths: bool = True
    day: int = -1
    of: dict[int, float] = field(default_factory=dict)
    order: list[int] = field(default_factory=list)
    total: float = 0.0

    def turn(self, day: int) -> bool:
        if day <= self.day:
            return False
        self.day = day
        self.fade(self.keep)
        return True

    def fade(self, keep: float) -> None:
        self.of = {kind: math.floor(16 * n * keep) / 16 if self.sixteenths else n * keep for kind, n in self.of.items()}
        self.total *= keep

    def add(self, kind: int) -> None:
        if kind not in self.of:
            if len(self.order) < self.places:
                self.order.append(kind)
            else:
                rarest = min(range(self.places), key=lambda j: self.of[self.order[j]])
                del self.of[self.order[rarest]]
                self.order[rarest] = kind
        elif self.sixteenths and self.of[kind] + 1 > 65_535 / 16:
            self.fade(0.5)
        self.of[kind] = self.of.get(kind, 0.0) + 1
        self.total += 1


class SlowProfiles:
    def __init__(self) -> None:
        self.pairs, self.steps, self.last = Counts(0.965, 64), Counts(0.965, 70), 0

    def observe(self, event: Event, b: Baselines, said: dict[str, float]) -> None:
        if not event.is_access:
            return
        if self.pairs.turn(event.day):
            self.last = 0
        self.steps.turn(event.day)
        if event.pair_row >= 0:
            p_team, p_all = b.pair_team[event.team, event.pair_row], b.pair_company[event.pair_row]
            p_own, p_ref = shares(self.pairs, event.pair, p_team, p_all, len(b.pairs) + 1)
            theirs = p_own if event.team == 0 else (p_own + p_team) / 2
            said["foreign"] = said["w"] * max(math.log(p_ref / theirs) - 1, 0) * (0.5 if event.kind in (1, 2) else 1)
            said["odd_pair"] = max(math.log(p_ref / p_own), 0)
            said["own_share"] = p_own
            said["pair_llr"] = min(max(math.log(p_ref / p_own), -3), 6)
        this = step_hash(self.last, event.pair)
        known = b.steps.tolist()
        if this in known:
            at = known.index(this)
            p_own, p_ref = shares(self.steps, this, b.step_team[event.team, at], b.step_company[at], len(known) + 1)
            said["odd_step"] = max(math.log(p_ref / p_own), 0)
            said["step_llr"] = min(max(math.log(p_ref / p_own), -3), 6)
        self.pairs.add(event.pair)
        self.steps.add(this)
        self.last = event.pair


def shares(counts: Counts, kind: int, p_team: float, p_all: float, words: int) -> tuple[float, float]:
    p_own = (counts.of.get(kind, 0) + 12 * p_team + 0.3 * p_all) / (counts.total + 12.3)
    return p_own, 0.5 * p_all + 0.25 * p_team + 0.25 / words


class SlowHours:
    def __init__(self) -> None:
        self.counts = Counts(0.96, 48, sixteenths=False)

    def observe(self, event: Event, b: Baselines, said: dict[str, float]) -> None:
        if not event.is_access:
            return
        self.counts.turn(event.day)
        hour, kind = event.hour % 24, 24 * (event.hour // 24)
        near = [(kind + (hour + step) % 24, share) for step, share in ((-1, 0.25), (0, 0.5), (1, 0.25))]
        own = sum(self.counts.of.get(h, 0) * share for h, share in near)
        team, company = (sum(b.hour_team[g, h] * share for h, share in near) for g in (event.team, 0))
        p_hour = (own + 25 * team + 0.02) / (self.counts.total + 25 + 48 * 0.02)
        said["odd_hour"] = max(-math.log(24 * p_hour) - 1, 0)
        said["hour_llr"] = math.log((0.5 * company + 0.25 * team + 0.25 / 48) / p_hour)
        if event.on_person:
            said["off_hours"] = said["w"] * said["odd_hour"]
        self.counts.add(event.hour)


class SlowMasquerade:
    def __init__(self) -> None:
        self.seen: list[tuple[int, float]] = []
        self.clock = 0

    def observe(self, event: Event, b: Baselines, said: dict[str, float]) -> None:
        if not event.is_access:
            return
        self.clock = max(self.clock, event.time)
        self.seen.append((self.clock, said["pair_llr"] + said["step_llr"] + said["hour_llr"]))
        fresh = [(0.5 ** ((self.clock - at) / (4 * HOUR)), llr) for at, llr in self.seen]
        said["masquerade"] = max(sum(f * llr for f, llr in fresh) / (sum(f for f, _ in fresh) + 10), 0)


HALF_LIVES = {"1.5h": 1.5 * HOUR, "16h": 16 * HOUR, "6d": 6 * DAY}
SUMS = [
    "work.16h", "foreign.1.5h", "foreign.16h", "foreign.6d", "harvest.1.5h", "harvest.16h", "snoop.1.5h", "snoop.16h", "wall.16h",
    "wall.6d", "revoked.16h", "revoked.6d", "privilege.16h", "watch.1.5h", "export.16h", "bytes_out.16h", "activity.16h",
    "breadth.16h", "sensitive.16h", "geo.16h", "denied.16h", "odd_hour.16h", "odd_step.16h",
]  # fmt: skip
SCALES = {"export": 50, "bytes_out": 100_000}


@dataclass
class Usual:
    """An accumulator: all evidence so far, and what the days before were like."""

    evidence: list[tuple[int, float]] = field(default_factory=list)
    mean: float = 0.0
    var: float = 0.0
    highest_today: float = 0.0


class SlowAccumulators:
    def __init__(self) -> None:
        self.usual = defaultdict[str, Usual](Usual)
        self.clock, self.days, self.team_key = 0, 0.0, 0
        self.day: int | None = None

    def observe(self, event: Event, b: Baselines, said: dict[str, float]) -> None:
        if event.team_key and event.team_key != self.team_key:
            self.days *= 0.2 if self.team_key else 1.0
            self.team_key = event.team_key
        if self.day is None or event.day > self.day:
            if self.day is not None:
                self.close_day(event.team, b)
            self.day = event.day
        self.clock = max(self.clock, event.time)
        said["own_days"] = self.days
        for name in SUMS:
            if (x := said[name.split(".")[0]]) > 0:
                self.usual[name].evidence.append((self.clock, x))
        for k, name in enumerate(SUMS):
            if said[name.split(".")[0]] > 0:
                times = 1.0 if name == "work.16h" else self.times_the_usual_work(event.team, b)
                self.compare(name, b.mean[event.team, k], b.spread[event.team, k], b.busy[event.team, k], times, said)

    def times_the_usual_work(self, team: int, b: Baselines) -> float:
        usual, _ = blended(self.usual["work.16h"], self.days, b.mean[team, 0], b.spread[team, 0])
        own = (1 + self.total("work.16h")) / math.exp(usual)
        return float(max(min(own, math.exp(1.5)), math.exp(b.busy[team, 0])))

    def total(self, name: str) -> float:
        half_life = HALF_LIVES[name.split(".", 1)[1]]
        return sum(x * 0.5 ** ((self.clock - at) / half_life) for at, x in self.usual[name].evidence)

    def compare(self, name: str, t_mean: float, t_spread: float, busy: float, times: float, said: dict[str, float]) -> None:
        usual, total = self.usual[name], self.total(name) / SCALES.get(name.split(".")[0], 1)
        y = math.log(1 + total / times)
        m, s = blended(usual, self.days, t_mean, t_spread)
        said[f"{name}.level"] = math.log(1 + total)
        said[f"{name}.own"] = (y - m - busy) / max(s, 0.15)
        said[f"{name}.team"] = (y - t_mean - busy) / max(t_spread, 0.15)
        usual.highest_today = max(usual.highest_today, y)

    def close_day(self, team: int, b: Baselines) -> None:
        """A weighted mean and variance of the days' highest levels: the new day weighs 1, those before `days` together."""
        for k, name in enumerate(SUMS):
            usual, n = self.usual[name], self.days
            m, s = blended(usual, n, b.mean[team, k], b.spread[team, k])
            y = min(usual.highest_today, m + 3.5 * max(s, 0.3))
            if n == 0:
                usual.mean, usual.var = y, b.spread[team, k] ** 2 / 2
            else:
                mean = (n * usual.mean + y) / (n + 1)
                usual.var = (n * (usual.var + (usual.mean - mean) ** 2) + (y - mean) ** 2) / (n + 1)
                usual.mean = mean
            usual.highest_today = 0.0
        self.days = 0.975 * self.days + 1


def blended(usual: Usual, days: float, t_mean: float, t_spread: float) -> tuple[float, float]:
    """Own mean and standard deviation with three days' worth of the team's."""
    mean = (days * usual.mean + 3 * t_mean) / (days + 3)
    return mean, math.sqrt((days * usual.var + 3 * t_spread**2) / (days + 3))
