"""Takes much out."""

from __future__ import annotations

from collections.abc import Sequence

from detector.core.hypotheses import Hypothesis, Reading, about, span, usual


def says(readings: Sequence[Reading]) -> str:
    r = readings[0]
    return f"exported about {about(r.value)} records {span(r)}, explained ones counted less ({usual(r)})"


HYPOTHESIS = Hypothesis("export", ("export.1.5h.own", "export.16h.own", "export.16h.team"), "max", says)
