"""Matching: which campaigns an alert tells of.

Its time lies within [first event, last event + 24 h], and it names an actor of the campaign, or a subject the campaign was after, or names
nobody and is about the campaign's team. Of an alert that names several actors at least a third must be the campaign's.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from detector.core.evaluation.alerts import Alert
from detector.core.evaluation.labels import Campaign
from detector.core.frame import DAY


def tells_of(alert: Alert, campaign: Campaign) -> bool:
    if not campaign.first <= alert.time <= campaign.last + DAY:
        return False
    hit = len(alert.actors & campaign.actors)
    if (hit and 3 * hit >= len(alert.actors)) or alert.subjects & campaign.subjects:
        return True
    return not alert.actors and not alert.subjects and alert.team is not None and alert.team == campaign.team


def matched(alerts: Sequence[Alert], campaigns: Sequence[Campaign]) -> list[tuple[int, ...]]:
    """For each alert the places of the campaigns it tells of; none: it is false."""
    near: defaultdict[tuple[str, str], set[int]] = defaultdict(set)
    for i, campaign in enumerate(campaigns):
        for kind, names in (("actor", campaign.actors), ("subject", campaign.subjects), ("team", {campaign.team} - {None})):
            for name in names:
                near[kind, str(name)].add(i)
    out = []
    for alert in alerts:
        named = [("actor", a) for a in alert.actors] + [("subject", s) for s in alert.subjects] + [("team", alert.team or "")]
        candidates: set[int] = set().union(*(near.get(name, ()) for name in named))
        out.append(tuple(i for i in sorted(candidates) if tells_of(alert, campaigns[i])))
    return out
