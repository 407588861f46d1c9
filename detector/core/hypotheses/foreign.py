"""Works on things that are not theirs: resources and actions that neither the employee nor the team uses."""

from __future__ import annotations

from collections.abc import Sequence

from detector.core.hypotheses import Hypothesis, Reading, about, lately, span, usual


def says(readings: Sequence[Reading]) -> str:
    r = lately(readings)
    return (
        f"used what others use, and they and their team hardly do: weight {about(r.value)} {span(r)} ({usual(r)}); one such use "
        f"without a reason counts 1 to 4, the rarer it is the more, one with a reason less"
    )


HYPOTHESIS = Hypothesis("foreign", ("foreign.1.5h.team", "foreign.16h.own", "foreign.6d.own"), "max", says)
