"""What two models say of the same employee-days: each against the other, by team, by budget, and how far signals have moved."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from detector.core.calibration import threshold
from detector.core.comparison import Comparison, Days
from detector.core.drift import MUCH
from detector.pictures import ALARM, FAINT, FIRST, SECOND, THIRD, drawn, plain_log

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TEAMS, SIGNALS = 14, 14
BUDGETS = (0.3, 1, 3, 10, 30, 100)
POINTS = 20_000
"""Employee-days drawn one by one at most, those below the threshold; of more, an even part."""


def comparison(found: Comparison, days: Days, kind: str = "svg") -> bytes:
    """The picture as a file of that kind."""
    names = tuple(f"{letter} {side.version}" for letter, side in zip("AB", found.models, strict=True))

    def draw(figure: Figure) -> None:
        (both, team), (budget, drift) = figure.subplots(2, 2, width_ratios=(1, 1.15))
        _both(both, found, days, names)
        _teams(team, found)
        _budgets(budget, found, days, names)
        _drift(drift, found)

    return drawn(draw, (11.5, 8.4), kind)


def _both(axes: Axes, found: Comparison, days: Days, names: tuple[str, ...]) -> None:
    least, rarity = threshold(found.budget), days.rarity
    over = rarity >= least
    rest = np.flatnonzero(~over.any(axis=1))
    quiet = rarity[rest[:: max(1, -(-len(rest) // POINTS))]]
    axes.plot(quiet[:, 0], quiet[:, 1], ".", color=THIRD, ms=2, alpha=0.35, mew=0, rasterized=True)
    kinds = ((True, True, THIRD, "s", "both"), (True, False, FIRST, "o", "A alone"), (False, True, SECOND, "^", "B alone"))
    for first, second, color, mark, said in kinds:
        some = rarity[(over[:, 0] == first) & (over[:, 1] == second)]
        axes.plot(some[:, 0], some[:, 1], mark, color=color, ms=5, alpha=0.9, mew=0, label=f"{said}: {len(some)}")
    most = max(float(rarity.max()), least) * 1.04
    axes.axvline(least, color=ALARM, lw=1, ls="--")
    axes.axhline(least, color=ALARM, lw=1, ls="--")
    axes.plot([0, most], [0, most], color=FAINT, lw=1, zorder=0)
    axes.set(xlim=(0, most), ylim=(0, most), xlabel=f"rarity by {names[0]}", ylabel=f"rarity by {names[1]}")
    axes.set_title("Each employee-day; dashed: the threshold")
    axes.legend(loc="upper left", title="employee-days alerted by", alignment="left")


def _teams(axes: Axes, found: Comparison) -> None:
    some = sorted((t for t in found.teams if any(t.alerted)), key=lambda t: -max(t.per_1000))[:TEAMS]
    axes.set_title("Alerts per 1,000 employee-days, by team")
    if not some:
        axes.text(0.5, 0.5, "no alert in either", transform=axes.transAxes, ha="center", color=THIRD)
        return
    place = np.arange(len(some))
    rates = np.array([t.per_1000 for t in some])
    axes.hlines(place, rates.min(axis=1), rates.max(axis=1), color=FAINT, lw=3, zorder=1)
    axes.plot(rates[:, 0], place, "o", color=FIRST, ms=7, label="A", clip_on=False)
    axes.plot(rates[:, 1], place, "^", color=SECOND, ms=6, label="B", clip_on=False)
    axes.axvline(found.budget, color=THIRD, lw=1, ls=":", label="budget")
    axes.set_yticks(place, [t.team or "no team" for t in some])
    axes.tick_params(axis="y", length=0)
    axes.grid(False, axis="y")
    axes.set(ylim=(len(some) - 0.4, -0.6), xlim=(0, float(rates.max()) * 1.05))
    axes.legend(loc="lower right")


def _budgets(axes: Axes, found: Comparison, days: Days, names: tuple[str, ...]) -> None:
    budget = np.geomspace(BUDGETS[0], BUDGETS[-1], 200)
    cuts = np.array([threshold(float(each)) for each in budget])
    floor = 0.5 * 1000 / len(days)
    for side, (color, style) in enumerate(((FIRST, "-"), (SECOND, (0, (5, 1.5))))):
        ordered = np.sort(days.rarity[:, side].astype(np.float64))
        given = 1000 * (len(ordered) - np.searchsorted(ordered, cuts)) / len(ordered)
        axes.plot(budget, np.maximum(given, floor), color=color, ls=style, lw=2, label=names[side])
    axes.plot(budget, budget, color=THIRD, lw=1, ls="--", label="as promised")
    plain_log(axes, "x", BUDGETS)
    plain_log(axes, "y", BUDGETS)
    axes.set(xlim=(BUDGETS[0], BUDGETS[-1]), ylim=(min(floor, BUDGETS[0]), None), xlabel="budget", ylabel="alerted, of 1,000 employee-days")
    axes.set_title("Alerts at other budgets (true ones and false ones)")
    axes.legend(loc="upper left")


def _drift(axes: Axes, found: Comparison) -> None:
    told = [each for each in found.signals if any(psi is not None for psi in each.psi)][:SIGNALS]
    axes.set_title("Drift of signals away from each model's training (PSI)")
    if not told:
        axes.text(0.5, 0.5, "too few employee-days to say", transform=axes.transAxes, ha="center", color=THIRD)
        return
    place = np.arange(len(told))
    for side, (color, letter) in enumerate(((FIRST, "A"), (SECOND, "B"))):
        axes.barh(place + 0.19 * (2 * side - 1), [each.psi[side] or 0 for each in told], 0.36, color=color, label=letter)
    axes.axvline(MUCH, color=ALARM, lw=1, ls="--")
    axes.set_yticks(place, [each.name for each in told])
    axes.tick_params(axis="y", length=0)
    axes.grid(False, axis="y")
    axes.set(ylim=(len(told) - 0.4, -0.6), xlabel=f"dashed: from {MUCH:g} on much has changed")
    axes.set_xlim(0, max(MUCH * 1.15, *(psi * 1.05 for each in told for psi in each.psi if psi is not None)))
    axes.legend(loc="lower right")
