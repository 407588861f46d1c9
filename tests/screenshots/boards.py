"""Dashboards as pictures: each panel's own queries, asked of a real Prometheus, drawn where the JSON places it.

Grafana does not draw them: it is not had here. Kinds of panels, units, limits, colours and words are those of the JSON, so a picture shows
what the dashboard says, in another hand.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from cards import bands, bars, density, listing, number
from lines import graph
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch
from numpy.typing import NDArray
from paper import CARD, DIM, GROUND, HIGH, INK, WIDE, Card, Line, nothing
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from queries import filled
from server import Prometheus

RANGE, STEP = 10, 1
"""Seconds: Grafana's rate interval, and the distance of two points."""
TOP = 0.75


class Window(NamedTuple):
    start: float
    end: float

    @property
    def span(self) -> str:
        return f"{round(self.end - self.start)}s"


def picture(board: Mapping[str, Any], prometheus: Prometheus, window: Window, path: Path) -> None:
    """A PNG of the whole dashboard; its `Panels` are the titles that it shows, a line each."""
    rows = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in board["panels"])
    size = 24 * WIDE + 0.3, rows * HIGH + TOP + 0.15
    figure = Figure(size, facecolor=GROUND)
    figure.text(0.2 / size[0], 1 - 0.28 / size[1], board["title"], fontsize=15, fontweight="bold", color=INK, va="center")
    figure.text(0.2 / size[0], 1 - 0.55 / size[1], board["description"], fontsize=9, color=DIM, va="center")
    at = np.arange(0.0, int(window.end - window.start) + 1, STEP)
    for panel in board["panels"]:
        box = panel["gridPos"]
        left, bottom = 0.15 + box["x"] * WIDE, size[1] - TOP - (box["y"] + box["h"]) * HIGH
        if panel["type"] == "row":
            x, y = (left + 0.05) / size[0], (bottom + 0.5 * HIGH) / size[1]
            figure.text(x, y, "▾ " + panel["title"], fontsize=11, color=INK, va="center")
            continue
        wide, high = box["w"] * WIDE - 0.1, box["h"] * HIGH - 0.1
        axes = figure.add_axes((left / size[0], bottom / size[1], wide / size[0], high / size[1]))
        lines = [line for ask in panel["targets"] for line in series(ask, prometheus, window, at)]
        draw(Card(panel, axes, lines, at / 60))
    save(figure, path, [panel["title"] for panel in board["panels"] if panel["type"] != "row"])


def save(figure: Figure, path: Path, titles: Sequence[str]) -> None:
    FigureCanvasAgg(figure)
    drawn = BytesIO()
    figure.savefig(drawn, format="png", dpi=100)
    told = PngInfo()
    told.add_text("Panels", "\n".join(titles))
    Image.open(drawn).convert("RGB").quantize(256, dither=Image.Dither.NONE).save(path, optimize=True, pnginfo=told)


def series(ask: Mapping[str, Any], prometheus: Prometheus, window: Window, at: NDArray[np.float64]) -> Iterator[Line]:
    expr = filled(ask["expr"], f"{RANGE}s", f"{STEP}s", window.span)
    for found in prometheus.over(expr, window.start, window.end):
        values = np.full(len(at), np.nan)
        for time, value in found["values"]:
            values[min(round((time - window.start) / STEP), len(at) - 1)] = float(value)
        yield Line(legend(ask["legendFormat"], found["metric"]), found["metric"], values)


def legend(form: str, labels: Mapping[str, str]) -> str:
    if form == "__auto":
        return ", ".join(value for name, value in labels.items() if name != "__name__")
    return re.sub(r"\{\{(\w+)\}\}", lambda found: labels.get(found[1], ""), form)


def draw(card: Card) -> None:
    kinds = {
        "timeseries": graph, "stat": number, "bargauge": bars, "state-timeline": bands, "heatmap": density, "table": listing,
    }  # fmt: skip
    whole = card.axes
    whole.set_axis_off()
    whole.set(xlim=(0, 1), ylim=(0, 1))
    inches = whole.get_position().height * whole.figure.get_size_inches()[1]  # type: ignore[union-attr]
    around = FancyBboxPatch((0, 0), 1, 1, boxstyle="square,pad=0", facecolor=CARD, edgecolor="#d5dae0", lw=0.8, transform=whole.transAxes)
    whole.add_patch(around)
    across = whole.get_position().width * whole.figure.get_size_inches()[0]  # type: ignore[union-attr]
    whole.text(0.1 / across, 1 - 0.16 / inches, card.panel["title"], fontsize=9, fontweight="bold", color=INK, va="center")
    if not card.lines and card.panel["type"] != "stat":
        nothing(card)
        return
    kinds[card.panel["type"]](card)
