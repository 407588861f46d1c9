"""What an evaluation found: recall at each price, what each campaign costs and how soon it is found, promised against given."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from detector.core.evaluation import Evaluation
from detector.pictures import ALARM, FAINT, FIRST, SECOND, THIRD, drawn, plain_log

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MARKS = (0.1, 0.3, 1, 3, 10, 30, 100)
PRICE = "false alerts per 1,000 employee-days"


def evaluation(found: Evaluation, kind: str = "svg") -> bytes:
    """The picture as a file of that kind."""
    kinds = len({each.scenario for each in found.found})

    def draw(figure: Figure) -> None:
        (recall, campaigns), (promise, hours) = figure.subplots(2, 2, width_ratios=(1, 1.15))
        prices = [each.price for each in found.found if each.price is not None]
        least = max(min((0.5 * 1000 / found.employee_days, 0.3)), 1e-3)
        span = (least, 1.5 * max(10.0, found.everything.false_alerts * 1000 / found.employee_days, *prices))
        _recall(recall, found, span)
        _campaigns(campaigns, found, span)
        _promise(promise, found)
        _hours(hours, found)

    return drawn(draw, (11, 5.4 + 0.32 * max(kinds - 4, 0)), kind)


def _recall(axes: Axes, found: Evaluation, span: tuple[float, float]) -> None:
    n = len(found.found)
    prices = np.sort([max(each.price, span[0]) for each in found.found if each.price is not None])
    ends = 1000 * found.everything.false_alerts / found.employee_days
    axes.step(
        [span[0], *prices, max(ends, span[0])], [0, *np.arange(1, len(prices) + 1) / n, len(prices) / n], where="post", color=FIRST, lw=2
    )
    known = [point for point in found.rates if not point.ended or (point.at or 0) <= ends]
    at, value = [point.at or 0 for point in known], np.array([point.recall.value for point in known])
    ranges = np.array([[point.recall.value - point.recall.low, point.recall.high - point.recall.value] for point in known]).T
    axes.errorbar(at, value, ranges if len(known) else None, fmt="o", color=FIRST, ms=5, capsize=3, lw=1, label="95 % interval")
    axes.plot([max(ends, span[0])], [len(prices) / n], "|", color=THIRD, ms=14, mew=2)
    axes.annotate("the last alert", (max(ends, span[0]), len(prices) / n), (-6, 8), textcoords="offset points", ha="right", color=THIRD)
    plain_log(axes, "x", [mark for mark in MARKS if span[0] <= mark <= span[1]])
    axes.set(xlim=span, ylim=(0, 1.03), xlabel=PRICE, ylabel=f"share of {n} campaigns found", title="Recall at each price")
    axes.yaxis.set_major_formatter(lambda share, _: f"{share:.0%}")
    axes.legend(loc="upper left")


def _campaigns(axes: Axes, found: Evaluation, span: tuple[float, float]) -> None:
    kinds = _kinds(axes, found)
    missed = span[1] * 1.6
    for place, name in enumerate(kinds):
        some = [each.price for each in found.found if each.scenario == name]
        got = [max(price, span[0]) for price in some if price is not None]
        axes.plot(got, place + _spread(len(got)), "o", color=FIRST, ms=6, alpha=0.8, clip_on=False)
        axes.plot([missed] * (len(some) - len(got)), place + _spread(len(some) - len(got)), "x", color=ALARM, ms=6, mew=2, clip_on=False)
    axes.axvline(span[1], color=THIRD, lw=0.8, ls=":")
    plain_log(axes, "x", [mark for mark in MARKS if span[0] <= mark <= span[1]])
    axes.set(xlim=(span[0], missed * 1.4), xlabel=PRICE, title="From which price on each campaign is found; cross: never")


def _hours(axes: Axes, found: Evaluation) -> None:
    kinds = _kinds(axes, found)
    least = 1 / 12
    for place, name in enumerate(kinds):
        hours = [max(each.hours, least) for each in found.found if each.scenario == name and each.hours is not None]
        axes.plot(hours, place + _spread(len(hours)), "o", color=SECOND, ms=6, alpha=0.8, clip_on=False)
    axes.set(xlabel="from the first event to the first alert", title="How soon, by all alerts there are")
    axes.set_xscale("log")
    marks = {least: "≤ 5 min", 1: "1 h", 8: "8 h", 24: "1 day", 168: "1 week", 672: "4 weeks"}
    most = max([24.0, *(each.hours for each in found.found if each.hours is not None)])
    axes.xaxis.set_ticks([at for at in marks if at <= 2 * most], labels=[said for at, said in marks.items() if at <= 2 * most])
    axes.xaxis.set_ticks([], minor=True)
    axes.set_xlim(least * 0.8, most * 1.5)


def _kinds(axes: Axes, found: Evaluation) -> list[str]:
    """The kinds of campaigns as rows, from the top; their names in order."""
    kinds = sorted({each.scenario for each in found.found})
    axes.set_yticks(range(len(kinds)), [name.replace("_", " ") or "campaigns" for name in kinds])
    axes.set_ylim(len(kinds) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)
    axes.grid(False, axis="y")
    for place in range(1, len(kinds)):
        axes.axhline(place - 0.5, color=FAINT, lw=0.8)
    return kinds


def _spread(n: int) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Places of n marks beside each other, so that equal ones are all seen."""
    return np.linspace(-0.22, 0.22, n) if n > 1 else np.zeros(n)


def _promise(axes: Axes, found: Evaluation) -> None:
    axes.set(xlabel="promised: the budget", ylabel="given", title=f"False alerts, {PRICE.removeprefix('false alerts ')}")
    known = [each for each in found.promised if each.budget > 0]
    if not known:
        axes.text(0.5, 0.5, "the alerts do not say how rare they are", transform=axes.transAxes, ha="center", color=THIRD)
        return
    floor = 0.3 * 1000 / found.free_days
    low, high = (
        min(floor, *(each.budget for each in known)) * 0.7,
        max([each.per_1000 for each in known] + [each.budget for each in known]) * 1.5,
    )
    axes.plot([low, high], [low, high], color=THIRD, lw=1, ls="--", label="as promised")
    for each in known:  # what a count of so many tells of its mean: about its root
        axes.plot([each.budget] * 2, [_rate(each.false_alerts, side, found.free_days, floor) for side in (-2, 2)], color=FIRST, lw=1)
    axes.plot([each.budget for each in known], [max(each.per_1000, floor) for each in known], "o", color=FIRST, ms=6, label="given, ± 2 √n")
    marks = [mark for mark in MARKS if low <= mark <= high]
    plain_log(axes, "x", marks)
    plain_log(axes, "y", marks)
    axes.set(xlim=(low, high), ylim=(low, high))
    axes.legend(loc="upper left")


def _rate(count: int, sigmas: int, days: int, floor: float) -> float:
    return max(1000 * (count + sigmas * math.sqrt(max(count, 1))) / days, floor)
