"""None of the others, but strange: the isolation forest on the one-sided rarities of the plain signals. Every event gets its score.

A forest's score is bounded, so it cannot rank the extreme tail; fed with rarities it finds combinations that nobody wrote a hypothesis for.
"""

from __future__ import annotations

from collections.abc import Sequence

from detector.core.hypotheses import Hypothesis, Reading, about, each_once, evidence, span, usual

SIGNALS = (
    "activity.16h.own", "activity.16h.team", "breadth.16h.own", "breadth.16h.team", "sensitive.16h.own", "sensitive.16h.team",
    "geo.16h.own", "geo.16h.team", "denied.16h.own", "denied.16h.team", "odd_hour.16h.own", "odd_hour.16h.team", "odd_step.16h.own",
    "odd_step.16h.team", "odd_pair", "travel",
)  # fmt: skip
CLIP = 0.3
"""Rarities below it are noise to the forest."""

NAMES = {
    "activity": "accesses", "breadth": "people not looked at before", "sensitive": "looks at location or content data",
    "geo": "unusual countries, devices or journeys", "denied": "refused accesses",
    "odd_hour": "work at hours unusual for them", "odd_step": "an order of work unusual for them", "odd_pair": "an action unusual for them",
    "travel": "a journey too fast to be made",
}  # fmt: skip
COUNTED = {"activity", "breadth"}
"""Those whose sums are numbers that a person can check."""


def says(readings: Sequence[Reading]) -> str:
    return "behaved unlike themselves and unlike others, all in all; most of it " + "; ".join(map(_says, each_once(readings)))


def _says(r: Reading) -> str:
    what = NAMES[evidence(r)]
    if evidence(r) not in COUNTED or r.own_usual is None:
        return what
    return f"{what}: about {about(r.value)} {span(r)} ({usual(r)})"


HYPOTHESIS = Hypothesis("general", SIGNALS, "forest", says, weight=0.5)
