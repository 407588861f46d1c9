"""Evaluation: alerts held against labelled campaigns. How many are found, how soon, at the price of how many false alerts.

An alert that tells of no campaign is false; those that name the same on the same UTC day are one, for one person would look at them once.

Recall at a rate is the share of campaigns that are told of by alerts whose score is at least the lowest at which there are no more false
alerts than that. Its 95 % interval is a percentile bootstrap over campaigns (B. Efron and R. Tibshirani, An introduction to the bootstrap,
1993, chapter 13): it says how much luck is in which campaigns there were.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from detector.core.calibration import threshold
from detector.core.evaluation.alerts import Alert, Key
from detector.core.evaluation.labels import Labels
from detector.core.evaluation.matching import matched
from detector.core.frame import DAY, HOUR

RATES = (0.3, 1.0, 3.0, 10.0)
"""False alerts per 1,000 employee-days."""
A_DAY = (1, 3, 10)
RESAMPLES = 2000
EVERYTHING = -float("inf")
TeamOf = Callable[[str, int], str | None]
"""(employee, days since 1970) -> their team."""


class Interval(NamedTuple):
    """A share, and its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Scenario:
    """Campaigns of one kind; medians are over those caught, None where there is none."""

    campaigns: int
    caught: int
    missed: tuple[str, ...]
    events_before: float | None
    """Events of the campaign before the alert."""
    hours: float | None
    """From the first event of the campaign to the alert."""


@dataclass(frozen=True)
class Point:
    """Alerts from one score on."""

    at: float | None
    """The rate, or alerts a day, that was asked for; None: all alerts."""
    threshold: float | None
    """The lowest score that counts; None where there is none such."""
    alerts: int
    """Distinct ones: who is named, on which UTC day."""
    false_alerts: int
    recall: Interval
    all: Scenario
    scenarios: dict[str, Scenario]
    ended: bool
    """All alerts there are were within what was asked for: with a larger budget there may be more to find."""


@dataclass(frozen=True)
class Found:
    """One campaign, by all alerts there are; None where none tells of it."""

    campaign: str
    scenario: str
    price: float | None
    """False alerts per 1,000 employee-days from which on it is found."""
    hours: float | None
    """From its first event to the first alert."""


@dataclass(frozen=True)
class Promise:
    """What a budget promises, and what it gives on employee-days without a campaign."""

    budget: float
    rarity: float
    false_alerts: int
    per_1000: float
    given: float
    """Over promised: 1 is as promised."""


@dataclass(frozen=True)
class Team:
    team: str | None
    employee_days: int
    """0: not known."""
    false_alerts: int
    per_1000: float | None


@dataclass(frozen=True)
class Evaluation:
    alerts: int
    """Lines, each of which is one."""
    employee_days: int
    days: int
    """UTC days."""
    everything: Point
    rates: tuple[Point, ...]
    a_day: tuple[Point, ...]
    found: tuple[Found, ...]
    promised: tuple[Promise, ...]
    free_days: int
    """Employee-days without a campaign, which `promised` is held against."""
    teams: tuple[Team, ...]
    """Whom the false alerts are about, the highest rate first; empty where it was not asked for."""


class _Judged:
    """Alerts, and what they tell of. Points are asked for in order: each draws from the same random numbers."""

    def __init__(self, alerts: Sequence[Alert], labels: Labels, seed: int) -> None:
        self.alerts, self.labels = alerts, labels
        self.hits = matched(alerts, labels.campaigns)
        self._scores = sorted({alert.score for alert in alerts}, reverse=True)
        self._of_score: defaultdict[float, list[int]] = defaultdict(list)
        for i, alert in enumerate(alerts):
            self._of_score[alert.score].append(i)
        self._rng = np.random.default_rng(seed)

    def cut(self, allowed: float, false_only: bool) -> float:
        """The lowest score from which on there are at most so many distinct alerts; inf where there is none."""
        seen: set[Key] = set()
        best = float("inf")
        for score in self._scores:
            seen |= {self.alerts[i].key for i in self._of_score[score] if not (false_only and self.hits[i])}
            if len(seen) > allowed:
                break
            best = score
        return best

    def found(self) -> tuple[Found, ...]:
        false: set[Key] = set()
        price: dict[int, float] = {}
        first: dict[int, int] = {}
        for score in self._scores:
            some = self._of_score[score]
            false |= {self.alerts[i].key for i in some if not self.hits[i]}
            for i in some:
                for c in self.hits[i]:
                    price.setdefault(c, 1000 * len(false) / max(self.labels.employee_days, 1))
                    first[c] = min(first.get(c, self.alerts[i].time), self.alerts[i].time)
        hours = {c: max(0.0, (time - self.labels.campaigns[c].first) / HOUR) for c, time in first.items()}
        return tuple(Found(each.name, each.scenario, price.get(c), hours.get(c)) for c, each in enumerate(self.labels.campaigns))

    def point(self, at: float | None, cut: float) -> Point:
        over = [i for i, alert in enumerate(self.alerts) if alert.score >= cut]
        caught: dict[int, int] = {}
        for i in over:
            for c in self.hits[i]:
                caught[c] = min(caught.get(c, self.alerts[i].time), self.alerts[i].time)
        kinds: defaultdict[str, list[int]] = defaultdict(list)
        for c, campaign in enumerate(self.labels.campaigns):
            kinds[campaign.scenario].append(c)
        false = {self.alerts[i].key for i in over if not self.hits[i]}
        whole = range(len(self.labels.campaigns))
        return Point(
            at, cut if np.isfinite(cut) else None, len({self.alerts[i].key for i in over}), len(false),
            bootstrap([c in caught for c in whole], self._rng), self._scenario(whole, caught),
            {name: self._scenario(kinds[name], caught) for name in sorted(kinds)}, len(over) == len(self.alerts),
        )  # fmt: skip

    def _scenario(self, some: Iterable[int], caught: dict[int, int]) -> Scenario:
        campaigns = [(c, self.labels.campaigns[c]) for c in some]
        found = [(caught[c], campaign) for c, campaign in campaigns if c in caught]
        before = [sum(time < alerted for time, _, _ in campaign.events) for alerted, campaign in found]
        hours = [max(0.0, (alerted - campaign.first) / HOUR) for alerted, campaign in found]
        missed = tuple(campaign.name for c, campaign in campaigns if c not in caught)
        return Scenario(len(campaigns), len(found), missed, median(before), median(hours))


def evaluate(alerts: Sequence[Alert], labels: Labels, budget: float = 1.0, seed: int = 0, team: TeamOf | None = None) -> Evaluation:
    """`labels.employee_days` must be known. `budget`: that of the alerts, if they show no larger one; `seed`: of the bootstrap; `team`: of
    an employee on a day, where it is known.
    """
    judged, days = _Judged(alerts, labels, seed), days_of(alerts, labels)
    everything = judged.point(None, EVERYTHING)
    rates = [judged.point(rate, judged.cut(rate * labels.employee_days / 1000, false_only=True)) for rate in RATES]
    a_day = [judged.point(n, judged.cut(n * days, false_only=False)) for n in A_DAY]
    free = len(labels.active - labels.involved) or labels.employee_days
    promised, teams = promises(judged, budget, free), by_team(judged, team) if team else ()
    points = everything, tuple(rates), tuple(a_day)
    return Evaluation(len(alerts), labels.employee_days, days, *points, judged.found(), promised, free, teams)


def by_team(judged: _Judged, team: TeamOf) -> tuple[Team, ...]:
    """An alert that names several is held against the team of each."""
    active = Counter(team(*each) for each in judged.labels.active)
    false = {(actor, alert.time // DAY) for alert, hit in zip(judged.alerts, judged.hits, strict=True) if not hit for actor in alert.actors}
    counts = Counter(team(*each) for each in false)
    some = [
        Team(name, active[name], counts[name], 1000 * counts[name] / active[name] if active[name] else None) for name in active | counts
    ]
    return tuple(sorted(some, key=lambda each: (-(each.per_1000 or 0), -each.false_alerts, each.team or "")))


def promises(judged: _Judged, budget: float, free: int) -> tuple[Promise, ...]:
    """For the rates that the alerts reach down to. free: employee-days without a campaign."""
    rarities = [alert.rarity for alert in judged.alerts if alert.rarity is not None]
    if not rarities or not free:
        return ()
    least = min(threshold(budget), *rarities)
    false = [(alert.key, alert.rarity) for alert, hit in zip(judged.alerts, judged.hits, strict=True) if not hit]
    out = []
    for rate in sorted({*RATES, budget}):
        cut = threshold(rate)
        if cut < least:
            continue
        keys = {key for key, rarity in false if rarity is not None and rarity >= cut and key not in judged.labels.involved}
        per_1000 = 1000 * len(keys) / free
        out.append(Promise(rate, cut, len(keys), per_1000, per_1000 / rate))
    return tuple(out)


def bootstrap(flags: Sequence[bool], rng: np.random.Generator) -> Interval:
    """The share of True, and its interval."""
    if not flags:
        return Interval(0.0, 0.0, 0.0)
    some = np.asarray(flags, np.float64)
    low, high = np.percentile(some[rng.integers(0, len(some), (RESAMPLES, len(some)))].mean(axis=1), [2.5, 97.5])
    return Interval(float(some.mean()), float(low), float(high))


def median(values: Sequence[float]) -> float | None:
    return float(np.median(values)) if values else None


def days_of(alerts: Sequence[Alert], labels: Labels) -> int:
    """UTC days that were judged: those on which anybody was active, else from the first thing known to the last."""
    known = {day for _, day in labels.active}
    if known:
        return len(known)
    ends = [alert.time // DAY for alert in alerts] + [time // DAY for c in labels.campaigns for time in (c.first, c.last)]
    return max(ends) - min(ends) + 1 if ends else 0
