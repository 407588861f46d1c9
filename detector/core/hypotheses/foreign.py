"""Works on things that are not theirs: resources and actions that neither the employee nor the team uses."""

from __future__ import annotations

from collections.abc import Sequence

from detector.core.hypotheses import Hypothesis, Reading, about, span, usual


def says(readings: Sequence[Reading]) -> str:
    r = readings[0]
    return f"worked on things that are neither theirs nor their team's: strength {about(r.value)} {span(r)} ({usual(r)})"


HYPOTHESIS = Hypothesis("foreign", ("foreign.1.5h.team", "foreign.16h.own", "foreign.6d.own"), "max", says)
