"""Looks at protected people, at colleagues' accounts, or at their circle, without a reason that the log knows."""

from __future__ import annotations

from collections.abc import Sequence

from detector.core.hypotheses import Hypothesis, Reading, about, lately, span, usual


def says(readings: Sequence[Reading]) -> str:
    r = lately(readings)
    return (
        f"looked at protected people, at colleagues' own data or at those close to them: weight {about(r.value)} {span(r)} ({usual(r)}); a "
        f"day's first look at somebody protected counts 1 if nothing explains it, at a colleague .8, at a protected person's contact .6; "
        f"at where they are double, at somebody known less than half, with a reason less"
    )


HYPOTHESIS = Hypothesis("snoop", ("snoop.1.5h.team", "snoop.16h.own"), "min", says, needs=("protected.csv", "links.csv"))
