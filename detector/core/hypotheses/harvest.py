"""Looks at many people never dealt with before, without a reason that the log knows."""

from __future__ import annotations

from collections.abc import Sequence

from detector.core.hypotheses import Hypothesis, Reading, about, span, usual


def says(readings: Sequence[Reading]) -> str:
    r = readings[0]
    return f"looked at about {about(r.value)} people never looked at before {span(r)}, without a ticket for them ({usual(r)})"


HYPOTHESIS = Hypothesis("harvest", ("harvest.1.5h.team", "harvest.16h.team"), "max", says)
