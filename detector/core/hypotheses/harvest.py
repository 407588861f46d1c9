"""Looks at many people never dealt with before, without a reason that the log knows."""

from __future__ import annotations

from collections.abc import Sequence

from detector.core.hypotheses import Hypothesis, Reading, about, lately, span, usual


def says(readings: Sequence[Reading]) -> str:
    r = lately(readings)
    return (
        f"looked at people never looked at before: weight {about(r.value)} {span(r)} ({usual(r)}); one without any reason counts 1, "
        f"one with a ticket a third or less, one assigned to them hardly"
    )


HYPOTHESIS = Hypothesis("harvest", ("harvest.1.5h.team", "harvest.16h.team"), "max", says)
