"""Is not themselves: somebody else works under this name."""

from __future__ import annotations

from collections.abc import Sequence

from detector.core.hypotheses import Hypothesis, Reading


def says(readings: Sequence[Reading]) -> str:
    return "what they did in the last hours is more like others' work than like their own: what they opened, in which order, and when"


HYPOTHESIS = Hypothesis("masquerade", ("masquerade",), "value", says, weight=0.5)
