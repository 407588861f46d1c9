"""Verdicts judge incidents: each once, by the word that weighs most."""

from __future__ import annotations

import json
from typing import Any

import pytest

from detector.core.evaluation import Interval
from detector.core.evaluation.alerts import Alert, read_alerts
from detector.core.evaluation.feedback import Feedback, Share, judge
from detector.core.verdicts import Case, Verdict

TIME = 1_790_000_000_000


def name(number: int) -> str:
    return f"{number:032x}"


def alerts() -> list[Alert]:
    """Incidents 1 (alerts 1, 2), 3, 4, 5, 6; 7 has no id of an incident, and 8 no id."""
    some = [
        (1, 1, 2.1, "harvest"), (2, 1, 3.2, "export"), (3, 3, 2.6, "harvest"), (4, 4, 2.0, "snoop"), (5, 5, 3.6, "export"),
        (6, 6, 2.2, "snoop"), (7, None, 3.1, "wall"), (None, None, 3.1, "wall"),
    ]  # fmt: skip
    lines: list[dict[str, Any]] = [
        {
            "time": TIME + (number or 9), "score": 0.9, "actor": "a", "rarity": rarity, "alert_id": number and name(number),
            "incident_id": incident and name(incident), "reasons": [{"hypothesis": first, "share": 1}],
        }
        for number, incident, rarity, first in some
    ]  # fmt: skip
    return read_alerts(json.dumps(line).encode() for line in lines)


def case(alert: int, verdict: Any, incident: int | None = None) -> Case:
    return Case(Verdict(name(alert), verdict, "me", TIME), "a", TIME, name(incident or alert), {"harvest": 1.0})


CASES = [
    case(1, "false_positive"), case(2, "true_positive", 1), case(1, "benign_expected"), case(3, "false_positive"),
    case(4, "benign_expected"), case(5, "duplicate"), case(6, "needs_information"), case(7, "true_positive"), case(99, "true_positive"),
]  # fmt: skip


def test_incidents_are_judged_once_by_the_word_that_weighs_most() -> None:
    found: Feedback = judge(alerts(), CASES)
    assert found.incidents == 6
    assert found.verdicts == {"benign_expected": 2, "duplicate": 1, "false_positive": 2, "needs_information": 1, "true_positive": 2}
    assert found.all == Share("all", 4, 2, 1, Interval(0.5, 0.0, 1.0))


def test_a_smaller_budget_lets_only_rarer_incidents_through() -> None:
    """Incident 1 reaches 3.2 by its second alert."""
    counts = {share.name: (share.judged, share.right) for share in judge(alerts(), CASES).budgets}
    assert counts == {"0.3": (0, 0), "1": (2, 2), "3": (3, 2), "10": (4, 2)}
    assert judge(alerts(), CASES).budgets[0].precision is None


def test_each_hypothesis_is_told_by_the_incidents_that_it_began() -> None:
    counts = {share.name: (share.judged, share.right, share.expected) for share in judge(alerts(), CASES).hypotheses}
    assert counts == {"export": (0, 0, 0), "harvest": (2, 1, 0), "snoop": (1, 0, 1), "wall": (1, 1, 0)}


@pytest.mark.parametrize("cases", [[], [case(99, "true_positive")]])
def test_without_a_verdict_on_these_alerts_nothing_is_judged(cases: list[Case]) -> None:
    found = judge(alerts(), cases)
    assert found.verdicts == {} and found.all == Share("all", 0, 0, 0, None)
