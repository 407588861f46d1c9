"""Opens people's data at times that are not theirs."""

from __future__ import annotations

from collections.abc import Sequence

from detector.core.hypotheses import Hypothesis, Reading


def says(readings: Sequence[Reading]) -> str:
    return "opened a person's data, without a ticket, at an hour when neither they nor the team usually work"


HYPOTHESIS = Hypothesis("off_hours", ("off_hours",), "value", says)
