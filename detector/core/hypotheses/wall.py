"""Crosses a residency wall: reaches for data of people whose region is closed to the employee's."""

from __future__ import annotations

from collections.abc import Sequence

from detector.core.hypotheses import Hypothesis, Reading, about, lately, span, usual


def says(readings: Sequence[Reading]) -> str:
    r = lately(readings)
    return (
        f"reached over a residency wall, for data of people of another region: weight {about(r.value)} {span(r)} ({usual(r)}); a time that "
        f"nothing explains counts 1, an explained one from .3 on, a denied one .4 at most, one of an exempt team a tenth, one with an "
        f"approved exception hardly"
    )


HYPOTHESIS = Hypothesis("wall", ("wall.16h.team", "wall.6d.own"), "sum", says, needs=("residency.toml",))
