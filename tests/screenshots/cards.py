"""The kinds of panels that are no lines over time: numbers, bars, bands, densities, tables."""

from __future__ import annotations

import re

import numpy as np
from matplotlib.patches import Rectangle
from paper import DIM, GRID, INK, NAMED, Card, Line, colour_of, inner, minutes, nothing
from units import written


def last(line: Line) -> float:
    """The value as it is at the end; NaN if there is none any more."""
    return float(line.values[-1])


def number(card: Card) -> None:
    axes, plain = card.axes, card.plain
    filled = card.panel["options"]["colorMode"].startswith("background")
    found = [line for line in card.lines if np.isfinite(last(line))]
    said = written(last(found[0]), card.unit) if found else "none"
    for mapping in plain.get("mappings", ()) if found else ():
        said = mapping["options"].get(f"{last(found[0]):g}", {"text": said})["text"]
    paint = colour_of(last(found[0]), plain) if found else DIM
    if filled and found:
        axes.add_patch(Rectangle((0, 0), 1, 1, color=paint, transform=axes.transAxes, lw=0))
        axes.texts[0].set_color("white")
    axes.text(0.5, 0.42, said, fontsize=21, fontweight="bold", ha="center", va="center", color="white" if filled and found else paint)


def bars(card: Card) -> None:
    lines = sorted((line for line in card.lines if np.isfinite(last(line))), key=last, reverse=True)[:12]
    top = card.plain.get("max", 1.0)
    if not lines:
        nothing(card)
        return
    axes = inner(card, 1.55, 0.15, right=0.75)
    for row, line in enumerate(lines):
        value = last(line)
        axes.barh(row, 1, 0.66, color="#f0f2f4")
        axes.barh(row, min(value / top, 1), 0.66, color=colour_of(value, card.plain))
        axes.text(1.02, row, written(value, card.unit), va="center", fontsize=8, color=INK)
    axes.set(xlim=(0, 1), ylim=(max(len(lines), 4) - 0.5, -0.5), xticks=[])
    axes.set_yticks(range(len(lines)), [line.name for line in lines])


def bands(card: Card) -> None:
    lines = sorted(card.lines, key=lambda line: line.name)
    axes = inner(card, 1.75, 0.5)
    step = card.at[1] - card.at[0]
    for row, line in enumerate(lines):
        for begin, end in runs(line):
            width = (end - begin) * step
            axes.barh(row, width, 0.72, left=card.at[begin], align="center", color=colour_of(float(line.values[begin]), card.plain), lw=0)
    axes.set_ylim(max(len(lines), 3) - 0.5, -0.5)
    axes.set_yticks(range(len(lines)), [line.name for line in lines])
    axes.grid(axis="x", color=GRID, lw=0.7)
    axes.set_axisbelow(True)
    minutes(axes, card)
    words = [word for mapping in card.plain["mappings"] for word in mapping["options"].values()]
    axes.legend(
        [Rectangle((0, 0), 1, 1, color=NAMED[word["color"]]) for word in words], [word["text"] for word in words], loc="upper left",
        bbox_to_anchor=(0, -0.1), ncols=4, fontsize=7.5, frameon=False, handlelength=1, handleheight=0.8, labelcolor=DIM, borderaxespad=0.4,
    )  # fmt: skip


def runs(line: Line) -> list[tuple[int, int]]:
    """[begin, end) of each stretch of one value."""
    values = np.append(line.values, np.nan)
    out, begin = [], 0
    for n in range(1, len(values)):
        if values[n] != values[begin]:
            if np.isfinite(values[begin]):
                out.append((begin, n))
            begin = n
    return out


def density(card: Card) -> None:
    """Buckets are cumulative: what is between two of them is their difference."""
    lines = sorted(card.lines, key=lambda line: float(line.labels["le"]))
    edges = [float(line.labels["le"]) for line in lines]
    table = np.diff(np.vstack([np.zeros_like(card.at), *(np.nan_to_num(line.values) for line in lines)]), axis=0)
    axes = inner(card, 0.78, 0.3)
    shade = np.ma.masked_less_equal(table, 0)
    axes.pcolormesh(card.at, np.arange(len(edges) + 1), shade[:, :-1] ** 0.3, cmap="Blues", vmin=0, rasterized=True)
    names = [f"≤ {edge:g}" if np.isfinite(edge) else "over" for edge in edges]
    axes.set_yticks(np.arange(len(edges)) + 0.5, names)
    minutes(axes, card)


def listing(card: Card) -> None:
    """The columns that the panel keeps, in its order; the rows that are there at the end."""
    keep = next(each["options"]["include"]["names"] for each in card.panel["transformations"] if each["id"] == "filterFieldsByName")
    rows = sorted(tuple(line.labels.get(name, "") for name in keep) for line in card.lines if np.isfinite(last(line)))
    axes = card.axes
    wide = card.panel["gridPos"]["w"] * 0.64
    sizes = [max([len(name), *(len(shortened(row[n])) for row in rows)]) + 3 for n, name in enumerate(keep)]
    for n, name in enumerate(keep):
        x = (0.15 + 0.085 * sum(sizes[:n])) / wide
        axes.text(x, 0.80, name, fontsize=8.5, fontweight="bold", color=DIM, va="center")
        for row, cells in enumerate(rows[:8]):
            axes.text(x, 0.71 - 0.09 * row, shortened(cells[n]), fontsize=8.5, color=INK, va="center", family="DejaVu Sans Mono")
    axes.plot([0.01, 0.99], [0.757, 0.757], color=GRID, lw=1)


def shortened(cell: str) -> str:
    """A hash needs not be read to its end."""
    return cell[:20] + "…" if re.fullmatch("[0-9a-f]{40,}", cell) else cell
