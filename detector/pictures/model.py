"""What a model learned, for its card: how rare each score is, and how often each hypothesis has anything to go by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from detector.core.calibration import least_value, threshold
from detector.core.model import Model
from detector.pictures import ALARM, FIRST, THIRD, drawn

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def score(model: Model, budgets: Sequence[float]) -> bytes:
    """SVG: S against its rarity, and the thresholds of some budgets."""
    tails = model.total_tails
    ends = [float(least_value(tails, least)) for least in (float(tails.soft[0]), *map(threshold, budgets))]
    most = 1.12 * max(float(tails.value[0, -1]), *(end for end in ends if np.isfinite(end)))

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        values = np.linspace(0, most, 400, dtype=np.float32)
        rarity = model.total(values)
        axes.plot(values, rarity, color=FIRST, lw=2)
        for budget in budgets:
            at, least = float(least_value(tails, threshold(budget))), threshold(budget)
            if at <= most:
                axes.plot([0, at, at], [least, least, 0], color=ALARM, lw=0.9, ls="--")
                axes.annotate(f"budget {budget:g}", (0, least), (5, 2), textcoords="offset points", color=ALARM)
        soft = float(tails.soft[0])
        axes.axhline(soft, color=THIRD, lw=0.9, ls=":")
        axes.annotate("held back from here on", (most, soft), (-4, -4), textcoords="offset points", ha="right", va="top", color=THIRD)
        top = max(float(rarity[-1]), soft) * 1.08
        axes.set(xlim=(0, most), ylim=(0, top), xlabel="highest score S of an employee's day", ylabel="one employee-day in …")
        marks = [mark for mark in range(5) if mark <= top]
        axes.set_yticks(marks, [f"{10**mark:,}" for mark in marks])
        axes.set_title("How rare a score is")

    return drawn(draw, (7, 3.8))


def hypotheses(model: Model, evident: Mapping[str, float]) -> bytes:
    """SVG: of each hypothesis the share of employee-days on which it had anything to go by."""
    order = sorted(evident, key=lambda name: (-evident[name], name))

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        share = np.array([evident[name] for name in order])
        axes.barh(np.arange(len(order)), share, 0.62, color=FIRST)
        for place, each in enumerate(share.tolist()):
            axes.annotate(f"{each:.1%}", (each, place), (4, 0), textcoords="offset points", va="center", color=THIRD)
        axes.set_yticks(range(len(order)), order)
        axes.tick_params(axis="y", length=0)
        axes.grid(False, axis="y")
        axes.set(ylim=(len(order) - 0.4, -0.6), xlim=(0, 1.08), xlabel="share of the employee-days held out to calibrate")
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
        axes.set_title("How often each hypothesis has anything to go by")

    return drawn(draw, (7, 0.9 + 0.26 * len(order)))
