"""Opens people's data at times that are not theirs."""

from __future__ import annotations

from collections.abc import Sequence

from detector.core.hypotheses import Hypothesis, Reading, about


def says(readings: Sequence[Reading]) -> str:
    return (
        f"opened a person's data at an hour at which, on such a day, they seldom work: strength {about(readings[0].value)}; 1 is an hour "
        f"with a seventh of the average hour's work and no reason for the access, and a reason makes it less"
    )


HYPOTHESIS = Hypothesis("off_hours", ("off_hours",), "value", says)
