"""Re-weighting: hypotheses whose alerts investigators call false count a little less, those whose alerts are right a little more.

The idea that an expert's answers should change how parts of a detector are weighed is that of S. Das, W.-K. Wong, A. Fern, T. G.
Dietterich and M. A. Siddiqui, Incorporating feedback into tree-based anomaly detection (KDD workshop IDEA, 2017), who learn a weight of
each leaf of an isolation forest from labels, by optimisation with a prior that keeps it near uniform. Here a dozen hypotheses are
weighed, each with a name that a person knows, in closed form; so that whoever is asked why can answer in a sentence:

* An employee has one vote of each kind, however many alerts they had: nobody can drown a hypothesis in false alerts of their own.
* A vote is shared out among the hypotheses of the alert as the alert says. t and f are what a hypothesis got of right and of false ones.
* With P the share of right votes of all (a Bayesian mean, prior one of each), its own is (t + STRENGTH P) / (t + f + STRENGTH): few
  verdicts move little. The factor is the square root of the ratio of its odds to those of P, from 1/2 to 2.
* Whatever could alert by itself still can (`settled`): if not, all factors are drawn towards 1.

A factor is of a hypothesis and of nobody: no person, team or subject is ever weighed, so nobody is hidden.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from detector.core.calibration import least_value, threshold
from detector.core.combination import POWER
from detector.core.estimators.tails import PLAIN_MOST
from detector.core.model import LEAST_WEIGHT, MOST_WEIGHT, Model
from detector.core.verdicts import Case

STRENGTH = 20.0
"""So many votes are worth what is believed without any. Measured on two synthetic companies, the verdicts on one (about 70 votes) applied
to the other: recall stays as it was, or rises by one campaign of 21; with a strength of 2 it moves by two campaigns, either way."""
VALUE: Mapping[str, tuple[float, float]] = {"true_positive": (1.0, 0.0), "false_positive": (0.0, 1.0), "benign_expected": (0.0, 0.5)}
"""What a verdict is worth as a right and as a false one. What was expected was rightly found strange, and was work for nothing. A duplicate
says nothing of its own, and who needs information does not know yet."""
STEPS = 6
HIGHEST = 1e6
"""A joined value beyond all."""


class Votes(NamedTuple):
    """What a hypothesis got."""

    right: float
    false: float


def votes(cases: Iterable[Case]) -> tuple[dict[str, Votes], Votes]:
    """Of each hypothesis that is named in a case, and of all."""
    by_employee: dict[tuple[str, int], list[tuple[float, Mapping[str, float]]]] = {}
    for each in cases:
        for kind, worth in enumerate(VALUE.get(each.verdict.verdict, (0.0, 0.0))):
            if worth > 0:
                by_employee.setdefault((each.actor, kind), []).append((worth, each.shares))
    got: dict[str, list[float]] = {}
    total = [0.0, 0.0]
    for (_, kind), some in sorted(by_employee.items(), key=lambda item: item[0]):
        for worth, shares in some:
            total[kind] += worth / len(some)
            for name, share in shares.items():
                got.setdefault(name, [0.0, 0.0])[kind] += worth * share / len(some)
    return {name: Votes(*pair) for name, pair in got.items()}, Votes(*total)


def factors(cases: Iterable[Case], hypotheses: Sequence[str]) -> NDArray[np.float64]:
    """(H,) what each hypothesis' weight is to be multiplied with, 1 where nothing is said of it."""
    of_each, total = votes(cases)
    usual = (total.right + 1) / (total.right + total.false + 2)
    out = np.ones(len(hypotheses))
    for d, name in enumerate(hypotheses):
        if name in of_each:
            right, false = of_each[name]
            own = (right + STRENGTH * usual) / (right + false + STRENGTH)
            ratio = own * (1 - usual) / ((1 - own) * usual)
            out[d] = min(max(math.sqrt(ratio), LEAST_WEIGHT), MOST_WEIGHT)
    return out


def settled(model: Model, wanted: NDArray[np.float64], weighed: Callable[[NDArray[np.float64]], Model]) -> Model:
    """The model with these factors, calibrated with them: `weighed` makes it, from factors (H,).

    If a hypothesis that could alert by itself, at a budget of 1, could not any more, the factors' logarithms are halved until all can.
    """
    before = alone(model)
    for step in range(STEPS):
        made = weighed(np.clip(wanted ** (0.5**step), LEAST_WEIGHT, MOST_WEIGHT))
        if (alone(made) | ~before).all():
            return made
    return model


def alone(model: Model) -> NDArray[np.bool_]:
    """(H,) whether a hypothesis at the highest that it can show reaches the threshold of a budget of 1 with all others at 0."""
    highest = np.array([[_highest(h.join, len(h.signals)) for h in model.hypotheses]], np.float32)
    rarity = model.joined_tails.rarities(highest)[0].astype(np.float64)
    score = (model.wiring.weight * rarity**POWER) ** (1 / POWER)
    return np.asarray(score >= float(least_value(model.total_tails, threshold(1.0))))


def _highest(join: str, signals: int) -> float:
    """The largest joined value there can be."""
    if join in ("max", "min"):
        return PLAIN_MOST
    return {"sum": signals * (PLAIN_MOST - 0.5), "forest": 1.0, "value": HIGHEST}[join]


def explained(model: Model, cases: Iterable[Case]) -> list[str]:
    """A line for each hypothesis: what its weight is multiplied with, and why."""
    of_each, total = votes(cases)
    lines = []
    for h, factor in zip(model.hypotheses, model.weights.tolist(), strict=True):
        right, false = of_each.get(h.name, Votes(0.0, 0.0))
        if right + false == 0:
            lines.append(f"{h.name}: 1, no verdict is about it")
            continue
        lines.append(
            f"{h.name}: {factor:.2f}, of {right + false:.1f} votes on it {right / (right + false):.0%} were right"
            f" (all: {total.right / (total.right + total.false):.0%} of {total.right + total.false:.1f})"
        )
    return lines
