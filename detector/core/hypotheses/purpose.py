"""Uses one ticket for many people, or long after it was opened."""

from __future__ import annotations

from collections.abc import Sequence

from detector.core.hypotheses import Hypothesis, Reading


def says(readings: Sequence[Reading]) -> str:
    return (
        "used one ticket for more than one person: for more people, or longer after its first use, than tickets of its kind usually serve; "
        "it is one of those in the evidence"
    )


HYPOTHESIS = Hypothesis("purpose", ("purpose",), "value", says)
