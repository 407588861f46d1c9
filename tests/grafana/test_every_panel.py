"""On a real Prometheus that holds every series there can be, every panel has something to show, and can be drawn."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import pytest

from detector.metrics.table import TABLE, Metric

ROOT = Path(__file__).parents[2]
sys.path += [str(ROOT / name) for name in ("config/grafana", "tests/prometheus", "tests/screenshots")]

from boards import Window, legend, picture  # noqa: E402
from queries import queries  # noqa: E402
from server import Prometheus, promtool  # noqa: E402
from terminal import coloured, wrapped  # noqa: E402
from units import written  # noqa: E402

START, STEP, STEPS = 1_790_000_000, 5, 24
PROCESSES = ({"job": "detector", "instance": "a"}, {"job": "detector", "instance": "b"}, {"job": "shadow", "instance": "c"})


def samples(metric: Metric, labels: dict[str, str], step: int) -> Iterator[str]:
    """Lines of one series, or of a histogram's."""
    at = START + step * STEP
    if metric.kind == "counter":
        yield line(metric.exposed, labels, 3 * step, at)
    elif metric.kind == "gauge":
        one = metric.name.endswith("_info") or metric.name == "detector_connected"
        shadow = metric.name == "detector_shadow" and labels["job"] == "shadow"
        past = START - 1000 if metric.name.endswith("timestamp_seconds") else 0.5
        yield line(metric.name, labels, one or (shadow if metric.name == "detector_shadow" else past), at)
    else:
        for n, most in enumerate((*metric.buckets, math.inf)):
            yield line(metric.name + "_bucket", {**labels, "le": "+Inf" if math.isinf(most) else str(float(most))}, step * (n + 1), at)
        yield line(metric.name + "_sum", labels, step, at)
        yield line(metric.name + "_count", labels, step * (len(metric.buckets) + 1), at)


def line(name: str, labels: dict[str, str], value: float, at: float) -> str:
    return f"{name}{{{','.join(f'{key}={json.dumps(said)}' for key, said in labels.items())}}} {float(value)} {at}"


def everything() -> str:
    """In the OpenMetrics format."""
    out = []
    for metric in TABLE:
        out.append(f"# TYPE {metric.name} {metric.kind}")
        values = [label.values or ("0",) for label in metric.labels.values()]
        for process, chosen in product(PROCESSES, product(*values)):
            for step in range(STEPS + 1):
                out += samples(metric, process | dict(zip(metric.labels, chosen, strict=True)), step)
    alarm = {"alertname": "DetectorBehind", "alertstate": "firing"}
    for name, labels in [("up", process) for process in PROCESSES] + [("ALERTS", alarm)]:
        out += [f"# TYPE {name} gauge"] * (labels in (PROCESSES[0], alarm))
        out += [line(name, labels, 1, START + step * STEP) for step in range(STEPS + 1)]
    return "\n".join([*out, "# EOF", ""])


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    folder = tmp_path_factory.mktemp("full")
    (folder / "all.txt").write_text(everything())
    promtool("tsdb", "create-blocks-from", "openmetrics", str(folder / "all.txt"), str(folder / "data"))
    with Prometheus(folder, {}, {}) as prometheus:
        yield prometheus


def test_every_query_of_every_panel_finds_something(full: Prometheus) -> None:
    asked = list(queries(rate_interval="20s", interval="5s", span="120s"))
    found = {query: full.over(query.expr, START, START + STEP * STEPS) for query in asked}
    assert [(query.panel, query.expr) for query in asked if not found[query]] == []
    for query in asked:
        names = [legend(query.legend, series["metric"]) for series in found[query]]
        assert query.kind in ("stat", "table") or (all(names) and len(set(names)) == len(names)), (query.panel, names)


def test_a_dashboard_can_be_drawn(full: Prometheus, tmp_path: Path) -> None:
    board = json.loads((ROOT / "config/grafana/dashboards/detection.json").read_text("utf-8"))
    picture(board, full, Window(START, START + STEP * STEPS), tmp_path / "detection.png")
    drawn = (tmp_path / "detection.png").read_bytes()
    assert drawn.startswith(b"\x89PNG")
    assert b"Alerts against the promise" in drawn


@pytest.mark.parametrize(
    ("value", "unit", "said"),
    [
        (0.0, "s", "0 s"), (90.0, "s", "1.5 min"), (0.0123, "s", "12.3 ms"), (200_000.0, "s", "2.31 d"), (0.125, "percentunit", "12.5 %"),
        (3_565_158.0, "bytes", "3.4 MiB"), (1234.0, "eps", "1.23 K evt/s"), (7.0, "short", "7"), (0.2185, "none", "0.218"),
        (math.nan, "short", "none"), (6e-7, "none", "0"),
    ],
)  # fmt: skip
def test_values_are_written_as_people_say_them(value: float, unit: str, said: str) -> None:
    assert written(value, unit) == said


def test_what_a_terminal_shows_keeps_its_colours_and_fits() -> None:
    assert coloured("\x1b[31mHIGH\x1b[0m <e1>") == '<tspan class="red">HIGH</tspan> &lt;e1&gt;'
    first, *rest = wrapped("          38%  " + "used what others use " * 10)
    assert len(first) <= 118
    assert rest and all(line.startswith(" " * 15) and line[15] != " " for line in rest)
