"""Looks at protected people, at colleagues' accounts, or at their circle, for the first time and without a reason that the log knows."""

from __future__ import annotations

from collections.abc import Sequence

from detector.core.hypotheses import Hypothesis, Reading, about, span, usual


def says(readings: Sequence[Reading]) -> str:
    r = readings[0]
    return (
        f"looked at people who deserve special care (protected, colleagues, or close to them), without a ticket: "
        f"about {about(r.value)} {span(r)}, location data counting double ({usual(r)})"
    )


HYPOTHESIS = Hypothesis("snoop", ("snoop.1.5h.team", "snoop.16h.own"), "min", says, needs=("protected.csv", "links.csv"))
