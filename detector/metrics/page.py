"""The table as docs/reference/metrics.md shows it; a test holds the page to it."""

from __future__ import annotations

from detector.metrics.table import TABLE, Kind, Label, Metric

HEAD = {
    "counter": ("| name | labels | |", "|---|---|---|"),
    "histogram": ("| name | labels | unit | buckets | |", "|---|---|---|---|---|"),
    "gauge": ("| name | labels | unit | |", "|---|---|---|---|"),
}
SHOWN = 10
"""Values of a label that are written out."""


def lines(kind: Kind) -> list[str]:
    """The table of all metrics of a kind, in Markdown."""
    return [*HEAD[kind], *(_row(metric) for metric in TABLE if metric.kind == kind)]


def _row(metric: Metric) -> str:
    labels = "; ".join(f"`{name}`: {_values(label)}" for name, label in metric.labels.items())
    buckets = ", ".join(f"{edge:g}" for edge in metric.buckets)
    middle = {"counter": [], "histogram": [metric.unit, buckets], "gauge": [metric.unit]}[metric.kind]
    text = metric.text + (f" [More]({metric.more})." if metric.more else "") + (f" No series {metric.absent}." if metric.absent else "")
    return f"| `{metric.exposed}` | {' | '.join([labels, *middle, text])} |"


def _values(label: Label) -> str:
    if not label.values:
        return label.names
    if len(label.values) <= SHOWN:
        return ", ".join(f"`{value}`" for value in label.values)
    return f"one of {len(label.values)}"
