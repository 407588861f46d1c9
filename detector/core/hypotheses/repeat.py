"""Comes back to one person, day after day, without a reason that the log knows."""

from __future__ import annotations

from collections.abc import Sequence

from detector.core.hypotheses import Hypothesis, Reading, about


def says(readings: Sequence[Reading]) -> str:
    return (
        f"came back on another day, with a ticket at most, to a person who was not assigned to them then: weight "
        f"{about(readings[0].value)}; that is standard deviations above what is usual for them and their team, up to doubled for protected "
        f"people, half as much again for locations, less with a ticket"
    )


HYPOTHESIS = Hypothesis("repeat", ("repeat",), "value", says, needs_reasons=True)
