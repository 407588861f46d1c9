"""What panels of every kind are drawn on, and in which colours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

WIDE, HIGH = 0.64, 0.40
"""Inches of a unit of Grafana's grid, 24 of which are side by side."""
NAMED = {
    "green": "#56a64b", "orange": "#e58a1f", "red": "#d0342c", "blue": "#2f6fc4", "purple": "#8f3bb8", "yellow": "#d9b012",
}  # fmt: skip
PALETTE = (
    "#56a64b", "#d9a514", "#3fa7c4", "#e0752d", "#d0342c", "#2f6fc4", "#a352cc", "#5b5fc7", "#3d7a34", "#a8842a", "#7a8794", "#c76b98",
)  # fmt: skip
INK, DIM, GRID, GROUND, CARD = "#1f2733", "#5c6773", "#e3e7ec", "#eef0f3", "#ffffff"


class Line(NamedTuple):
    """A series: a value for each step of the window, NaN where there is none."""

    name: str
    labels: Mapping[str, str]
    values: NDArray[np.float64]


class Card(NamedTuple):
    """A panel about to be drawn."""

    panel: Mapping[str, Any]
    axes: Axes
    lines: Sequence[Line]
    at: NDArray[np.float64]
    """Minutes since the window began, of each step."""

    @property
    def plain(self) -> Mapping[str, Any]:
        return self.panel["fieldConfig"]["defaults"]  # type: ignore[no-any-return]

    @property
    def unit(self) -> str:
        return str(self.plain["unit"])


def nothing(card: Card) -> None:
    """As Grafana says it."""
    card.axes.text(0.5, 0.5, "No data", fontsize=11, color=DIM, ha="center", va="center")


def inner(card: Card, left: float, bottom: float, right: float = 0.15, top: float = 0.32) -> Axes:
    """Axes within the card, so many inches from its edges."""
    figure, box = card.axes.figure, card.axes.get_position()
    wide, high = figure.get_size_inches()  # type: ignore[union-attr]
    axes: Axes = figure.add_axes(
        (box.x0 + left / wide, box.y0 + bottom / high, box.width - (left + right) / wide, box.height - (bottom + top) / high)
    )
    axes.tick_params(labelsize=7.5, length=0, colors=DIM)
    for side in axes.spines.values():
        side.set_visible(False)
    return axes


def minutes(axes: Axes, card: Card) -> None:
    axes.set_xlim(card.at[0], card.at[-1])
    axes.xaxis.set_major_formatter(lambda at, _: f"{int(at)}:{round(60 * (at % 1)):02d}")


def colour_of(value: float, plain: Mapping[str, Any]) -> str:
    """By words, if there are any for it, else by limits."""
    for each in plain.get("mappings", ()):
        if (found := each["options"].get(f"{value:g}")) is not None:
            return NAMED[found["color"]]
    steps = plain["thresholds"]["steps"]
    return NAMED[[step["color"] for step in steps if step["value"] is None or value >= step["value"]][-1]]
