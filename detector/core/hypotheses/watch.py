"""Looks into the watching: alerts and audit logs that are not their work, or that are about themselves."""

from __future__ import annotations

from collections.abc import Sequence

from detector.core.hypotheses import Hypothesis, Reading, about, span, usual


def says(readings: Sequence[Reading]) -> str:
    r = readings[0]
    if r.name == "watch_self":
        return "looked into alerts or audit logs about themselves, or without a ticket about a colleague of their team"
    return (
        f"looked into alerts or audit logs: weight {about(r.value)} {span(r)} ({usual(r)}); a look counts the more, the smaller a part of "
        f"their work it is, one about themselves 1.5 more, one without a ticket about a colleague of their team .5 more"
    )


HYPOTHESIS = Hypothesis("watch", ("watch.1.5h.team", "watch_self"), "max", says)
