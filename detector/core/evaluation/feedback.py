"""Feedback: alerts held against what investigators found out, where nobody knows all campaigns. It tells how many alerts are right, and
of which kind those are that are not; never how much is missed.

A verdict on an alert is one on its incident. Where an incident has several, a right one wins, then one that says it was expected, then a
false one; duplicates and those that wait for information judge nothing.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from detector.core.calibration import threshold
from detector.core.evaluation import RATES, Interval, bootstrap
from detector.core.evaluation.alerts import Alert
from detector.core.verdicts import Case

RIGHT, EXPECTED, FALSE = JUDGING = ("true_positive", "benign_expected", "false_positive")


@dataclass(frozen=True)
class Share:
    """Incidents that were judged, of a kind."""

    name: str
    judged: int
    right: int
    expected: int
    """Of those that were not right: rightly found strange, and nobody's fault."""
    precision: Interval | None
    """Right ones among those judged; None where none was."""


@dataclass(frozen=True)
class Feedback:
    incidents: int
    verdicts: dict[str, int]
    """Verdicts on these alerts, by kind."""
    all: Share
    budgets: tuple[Share, ...]
    """Of incidents whose rarity a smaller budget would have let through."""
    hypotheses: tuple[Share, ...]
    """By the hypothesis that made most of the incident's first alert."""


def judge(alerts: Sequence[Alert], cases: Iterable[Case], seed: int = 0) -> Feedback:
    """Alerts without an incident_id are incidents of their own, if they have an alert_id."""
    incident = {alert.alert_id: alert.incident_id or alert.alert_id for alert in alerts if alert.alert_id}
    first: dict[str, Alert] = {}
    rarity: defaultdict[str, float] = defaultdict(float)
    for alert in sorted(alerts, key=lambda alert: alert.time):
        if alert.alert_id:
            first.setdefault(incident[alert.alert_id], alert)
            rarity[incident[alert.alert_id]] = max(rarity[incident[alert.alert_id]], alert.rarity or 0.0)
    said, kinds = dict[str, str](), Counter[str]()
    for case in cases:
        of, kind = incident.get(case.verdict.alert_id, case.incident_id), case.verdict.verdict
        if of not in first:
            continue
        kinds[kind] += 1
        if kind in JUDGING and (of not in said or JUDGING.index(kind) < JUDGING.index(said[of])):
            said[of] = kind
    rng = np.random.default_rng(seed)

    def share(name: str, some: Iterable[str]) -> Share:
        judged = [said[of] for of in some if of in said]
        flags = [kind == RIGHT for kind in judged]
        return Share(name, len(judged), sum(flags), judged.count(EXPECTED), bootstrap(flags, rng) if judged else None)

    by_hypothesis: defaultdict[str, list[str]] = defaultdict(list)
    for of, alert in first.items():
        by_hypothesis[alert.hypothesis or ""].append(of)
    return Feedback(
        len(first), dict(sorted(kinds.items())), share("all", first),
        tuple(share(f"{rate:g}", [of for of in first if rarity[of] >= threshold(rate)]) for rate in RATES),
        tuple(share(name, by_hypothesis[name]) for name in sorted(by_hypothesis)),
    )  # fmt: skip
