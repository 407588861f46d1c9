"""None of the others, but strange: the isolation forest on the one-sided rarities of the plain signals. Every event gets its score.

A forest's score is bounded, so it cannot rank the extreme tail; fed with rarities it finds combinations that nobody wrote a hypothesis for.
"""

from __future__ import annotations

from collections.abc import Sequence

from detector.core.hypotheses import Hypothesis, Reading, about, span, usual

SIGNALS = (
    "activity.1.5h.own", "activity.1.5h.team", "activity.16h.own", "activity.16h.team",
    "breadth.1.5h.own", "breadth.1.5h.team", "breadth.16h.own", "breadth.16h.team",
    "export.16h.own", "export.16h.team", "foreign.16h.own", "harvest.16h.own", "odd_pair", "odd_hour",
)  # fmt: skip
CLIP = 0.3
"""Rarities below it are noise to the forest."""

NAMES = {
    "activity": "accesses", "breadth": "people not looked at before", "export": "records exported", "foreign": "use of others' resources",
    "harvest": "unexplained new people", "odd_pair": "an action unusual for them", "odd_hour": "an hour unusual for them",
}  # fmt: skip


def says(readings: Sequence[Reading]) -> str:
    parts = []
    for r in readings:
        what = NAMES[r.name.split(".", 1)[0]]
        parts.append(what if r.own_usual is None else f"{what}: {about(r.value)} {span(r)} ({usual(r)})")
    return "behaved unlike themselves and unlike others, all in all; most of it " + "; ".join(parts)


HYPOTHESIS = Hypothesis("general", SIGNALS, "forest", says, weight=0.5)
