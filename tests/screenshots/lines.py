"""Lines over time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, MaxNLocator, MultipleLocator
from numpy.typing import NDArray
from paper import DIM, GRID, NAMED, PALETTE, WIDE, Card, Line, inner, minutes
from units import written

TIMES = (0.001, 0.01, 0.1, 1, 10, 60, 600, 3600, 36_000, 86_400, 864_000)
"""Where an axis of seconds is marked."""


def graph(card: Card) -> None:
    columns, rows = places(card.lines, card.panel["gridPos"]["w"] * WIDE - 0.6)
    axes = inner(card, 0.78, 0.37 + 0.14 * rows)
    custom, plain = card.plain["custom"], card.plain
    log, stacked = custom.get("scaleDistribution", {}).get("type") == "log", "stacking" in custom
    own = overrides(card)
    floor = np.zeros(len(card.at))
    for n, line in enumerate(card.lines):
        chosen = own.get(line.name, {})
        paint = NAMED.get(chosen.get("color", {}).get("fixedColor", ""), PALETTE[n % len(PALETTE)])
        values = line.values
        if stacked:
            top = floor + np.nan_to_num(values)
            axes.fill_between(card.at, floor, top, color=paint, alpha=0.35, lw=0)
            values, floor = np.where(np.isnan(values), np.nan, top), top
        axes.plot(card.at, values, color=paint, lw=1.2, ls="--" if "custom.lineStyle" in chosen else "-", label=line.name)
    heights(axes, card, floor if stacked else np.array([]), log)
    for step in plain["thresholds"]["steps"][1:]:
        axes.axhline(step["value"], color=NAMED[step["color"]], lw=0.9, ls=(0, (5, 4)), zorder=1)
    axes.grid(color=GRID, lw=0.7)
    axes.set_axisbelow(True)
    axes.yaxis.set_major_formatter(lambda value, _: written(value, card.unit))
    minutes(axes, card)
    told(axes, columns, rows)


def overrides(card: Card) -> dict[str, dict[str, Any]]:
    """Of a series by its name: what is set for it alone."""
    said = card.panel["fieldConfig"]["overrides"]
    return {each["matcher"]["options"]: {item["id"]: item["value"] for item in each["properties"]} for each in said}


def heights(axes: Axes, card: Card, stacked: NDArray[np.float64], log: bool) -> None:
    """The range that is shown: of the values, not of limits far above them."""
    every = np.concatenate([*(line.values for line in card.lines), stacked])
    every = every[np.isfinite(every)]
    if log:
        some = every[every > 0]
        low, high = (some.min(), some.max()) if len(some) else (0.1, 1.0)
        axes.set_yscale("log")
        axes.set_ylim(10 ** math.floor(math.log10(low) - 0.01), 10 ** math.ceil(math.log10(high) + 0.01))
        if card.unit == "s":
            axes.yaxis.set_major_locator(FixedLocator(TIMES))
        axes.yaxis.set_minor_formatter(lambda *_: "")
        axes.tick_params(which="minor", length=0)
        return
    high = float(every.max()) if len(every) else 0.0
    near = [step["value"] for step in card.plain["thresholds"]["steps"][1:] if step["value"] <= 4 * high]
    axes.set_ylim(0, 1.1 * max([high, *near]) or 1.0)
    if card.unit == "bytes" and high:
        axes.yaxis.set_major_locator(MultipleLocator(2 ** round(math.log2(high / 4))))
    else:
        axes.yaxis.set_major_locator(MaxNLocator(5))


def places(lines: Sequence[Line], room: float) -> tuple[int, int]:
    """(columns, rows) of the legend, in so many inches: one row if that does, three at most."""
    names = dict.fromkeys(line.name for line in lines)
    if sum(map(wide, names)) <= room:
        return len(names), 1
    columns = max(int(room / max(map(wide, names))), 1)
    return columns, min(math.ceil(len(names) / columns), 3)


def wide(name: str) -> float:
    """Inches that it takes in a legend."""
    return 0.42 + 0.066 * len(name)


def told(axes: Axes, columns: int, rows: int) -> None:
    """The legend, below, as far as there is room."""
    handles, names = axes.get_legend_handles_labels()
    if any(names):
        axes.legend(
            handles[: columns * rows], names[: columns * rows], loc="upper left", bbox_to_anchor=(-0.02, -0.1), ncols=columns, fontsize=7.5,
            frameon=False, handlelength=1.2, columnspacing=1.1, handletextpad=0.5, borderaxespad=0.1, labelcolor=DIM, labelspacing=0.3,
        )  # fmt: skip
