"""What the dashboards ask Prometheus, read back from their JSON, with Grafana's variables filled in. Needs nothing but the files."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

FOLDER = Path(__file__).parent / "dashboards"
MAYBE: Mapping[str, str] = {
    " == 1)": "only where a shadow runs",
    "detector_drift{": "only when a process has closed about 1,000 employee-days",
    "detector_canary_seen_timestamp_seconds": "only where a canary was ever opened",
    "detector_oldest_unreviewed_alert_timestamp_seconds": "only while an alert waits for its verdict",
    "detector_oldest_snapshot_timestamp_seconds": "only after the first snapshot",
    "detector_context_modified_timestamp_seconds": "only with a folder of context",
    "detector_model_created_timestamp_seconds": "only for a model that knows",
    "ALERTS": "only while an alarm fires",
    " > 0": "only while there is any",
    " > 1e-6": "only while anything is that rare",
    "detector_employee_days_total": "only when a day was closed",
}
"""What a query may hold that has no data in an ordinary hour, and why."""


class Query(NamedTuple):
    dashboard: str
    panel: str
    kind: str
    """Of the panel: timeseries, stat, bargauge, state-timeline, heatmap or table."""
    ref: str
    expr: str
    legend: str

    @property
    def maybe(self) -> str:
        """Why it may have no data; empty: it must."""
        return next((why for part, why in MAYBE.items() if part in self.expr), "")


def filled(expr: str, rate_interval: str = "1m", interval: str = "15s", span: str = "1h") -> str:
    """As Grafana fills it in where all jobs, processes, partitions and views are chosen."""
    known = {"__rate_interval": rate_interval, "__interval": interval, "__range": span}
    return re.sub(r"\$(\w+)", lambda found: known.get(found[1], ".*"), expr)


def panels(folder: Path = FOLDER) -> Iterator[tuple[Mapping[str, Any], Mapping[str, Any]]]:
    """(dashboard, panel), in reading order; rows are panels as well."""
    for file in ("operations", "detection", "model"):
        whole = json.loads((folder / f"{file}.json").read_text("utf-8"))
        yield from ((whole, panel) for panel in whole["panels"])


def queries(folder: Path = FOLDER, rate_interval: str = "1m", interval: str = "15s", span: str = "1h") -> Iterator[Query]:
    for whole, panel in panels(folder):
        for target in panel.get("targets", ()):
            expr = filled(target["expr"], rate_interval, interval, span)
            yield Query(whole["title"], panel["title"], panel["type"], target["refId"], expr, target["legendFormat"])
