"""The dashboards that come with the detector: made by code, about what is measured, readable for whoever the alarm woke up."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import yaml

from detector.metrics.table import METRICS, TABLE, Metric

ROOT = Path(__file__).parents[2]
GRAFANA = ROOT / "config" / "grafana"
sys.path.insert(0, str(GRAFANA))

from queries import Query, panels, queries  # noqa: E402

OTHERS = {"up", "ALERTS"}
"""What Prometheus makes itself."""
UNSEEN = {
    "detector_takeover_seconds": "a takeover is seen as partitions that restore",
    "detector_snapshots": "how old they are says more",
    "detector_heartbeats": "how long ago the last one was says more",
    "detector_last_commit_timestamp_seconds": "heartbeats are commits",
    "detector_daily_blocks": "of interest to nobody but who mends them",
    "detector_context_loaded_timestamp_seconds": "how old its files are says more",
}
"""Metrics that are on no dashboard, and why."""
EVERYWHERE = {"job", "instance", "le"}
ALL = [(whole["title"], panel) for whole, panel in panels()]
SHOWN = [(board, panel) for board, panel in ALL if panel["type"] != "row"]
ASKED = list(queries())


def named(board: str, panel: dict[str, Any]) -> str:
    return f"{board}, {panel['title']}"


def metric(name: str) -> Metric | None:
    """What a name in a query is a series of; None if there is no such thing."""
    for kind, endings in (("counter", ("_total",)), ("histogram", ("_bucket", "_sum", "_count")), ("gauge", ("",))):
        for ending in endings:
            found = METRICS.get(name.removesuffix(ending) if ending else name)
            if name.endswith(ending) and found and found.kind == kind:
                return found
    return None


def selectors(query: Query) -> Iterator[tuple[str, dict[str, tuple[str, str]]]]:
    """(name, {label: (operator, value)}) of each selector."""
    for name, inside in re.findall(r"\b(\w+)\{([^}]*)\}", query.expr):
        yield name, {label: (how, value) for label, how, value in re.findall(r'(\w+)(=~|!~|!=|=)"([^"]*)"', inside)}


def test_the_dashboards_are_what_the_code_makes(tmp_path: Path) -> None:
    subprocess.run([sys.executable, GRAFANA, tmp_path], check=True)
    made = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    assert made == {file.name: file.read_bytes() for file in (GRAFANA / "dashboards").iterdir()}, "make dashboards"


def test_every_panel_says_what_it_is_in_sentences_and_in_which_unit() -> None:
    for board, panel in SHOWN:
        assert re.fullmatch(r"[A-Z1].{15,}\.", panel["description"], re.S), named(board, panel)
        assert panel["fieldConfig"]["defaults"]["unit"], named(board, panel)
        assert panel["title"], board


def test_panels_can_be_told_apart() -> None:
    for board in {board for board, _ in ALL}:
        here = [panel for name, panel in ALL if name == board]
        assert len({panel["id"] for panel in here}) == len(here)
        assert len({panel["title"] for panel in here}) == len(here)
        assert all(len({ask["refId"] for ask in panel["targets"]}) == len(panel["targets"]) for panel in here if "targets" in panel)
    assert len({whole["uid"] for whole, _ in panels()}) == 3


def test_panels_lie_side_by_side_in_full_rows() -> None:
    for board in {board for board, _ in ALL}:
        taken = [panel["gridPos"] for name, panel in ALL if name == board]
        assert sum(at["w"] * at["h"] for at in taken) == 24 * max(at["y"] + at["h"] for at in taken), f"{board} has holes"
        for a, b in combinations(taken, 2):
            apart = a["x"] + a["w"] <= b["x"] or b["x"] + b["w"] <= a["x"] or a["y"] + a["h"] <= b["y"] or b["y"] + b["h"] <= a["y"]
            assert apart, (board, a, b)


def test_operations_reads_from_the_top_alive_behind_refused() -> None:
    rows = [panel["title"] for board, panel in ALL if board == "Detector: operations" and panel["type"] == "row"]
    assert rows[:3] == ["Is it alive?", "Is it behind?", "Is anything refused?"]


def test_queries_name_only_what_is_measured_and_labels_that_it_has() -> None:
    for query in ASKED:
        for name, matchers in selectors(query):
            assert {"job", "instance"} <= set(matchers) or name == "ALERTS", f"{query.panel}: {name} of all jobs"
            if name in OTHERS:
                continue
            found = metric(name)
            assert found, f"{query.panel}: there is no {name}"
            for label, (how, value) in matchers.items():
                assert label in {*found.labels, *EVERYWHERE}, f"{query.panel}: {name} has no label {label}"
                known = found.labels[label].values if label in found.labels else ()
                assert how != "=" or not known or value in known, f"{query.panel}: {label} is never {value!r}"
        without = re.sub(r"\{[^}]*\}", "{", query.expr)
        assert not re.search(r"\bdetector_\w+\b(?!\{)", without), f"{query.panel}: a metric of all jobs"


def test_buckets_that_are_asked_for_are_buckets() -> None:
    for query in ASKED:
        for name, matchers in selectors(query):
            if "le" in matchers:
                found = metric(name)
                assert found and float(matchers["le"][1]) in found.buckets, query.panel


def test_legends_name_labels_that_the_query_leaves() -> None:
    for query in ASKED:
        left = set(re.findall(r"\w+", " ".join(re.findall(r"\bby \(([^)]*)\)", query.expr)))) or {"instance", "job"}
        assert set(re.findall(r"\{\{(\w+)\}\}", query.legend)) <= left, query


def test_every_metric_is_on_a_dashboard_or_has_a_reason_not_to_be() -> None:
    seen = {found.name for query in ASKED for name, _ in selectors(query) if (found := metric(name))}
    assert {each.name for each in TABLE} - seen == set(UNSEEN)


def test_variables_are_declared_and_times_are_relative() -> None:
    for whole, panel in panels():
        declared = {each["name"] for each in whole["templating"]["list"]}
        assert {"datasource", "job", "instance"} <= declared
        for ask in panel.get("targets", ()):
            used = set(re.findall(r"\$(\w+)", ask["expr"])) - {"__rate_interval", "__interval", "__range"}
            assert used <= declared, named(whole["title"], panel)
            assert ask["datasource"]["uid"] == "${datasource}"
        assert re.fullmatch(r"now-\d+[hd]", whole["time"]["from"])
        assert whole["time"]["to"] == "now"
        assert not {"timeFrom", "timeShift"} & set(panel)
    assert "partition" in {each["name"] for whole, _ in panels() for each in whole["templating"]["list"]}


def test_limits_rise() -> None:
    for board, panel in SHOWN:
        marks = [step["value"] for step in panel["fieldConfig"]["defaults"].get("thresholds", {"steps": []})["steps"]][1:]
        assert marks == sorted(marks), named(board, panel)


def test_every_alarm_is_named_by_the_panel_that_shows_why_and_no_other() -> None:
    rules = yaml.safe_load((ROOT / "config" / "prometheus" / "alarms.yml").read_text("utf-8"))
    alarms = {rule["alert"] for group in rules["groups"] for rule in group["rules"]}
    assert set(re.findall(r"\bDetector[A-Z]\w+", " ".join(panel["description"] for _, panel in SHOWN))) == alarms


def test_prometheus_can_read_every_query(tmp_path: Path) -> None:
    rules = [{"record": f"panel:{n}", "expr": query.expr} for n, query in enumerate(ASKED)]
    (tmp_path / "panels.yml").write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))
    done = subprocess.run(["promtool", "check", "rules", tmp_path / "panels.yml"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert f"{len(ASKED)} rules found" in done.stdout


def test_grafana_finds_the_dashboards_where_they_are_mounted() -> None:
    source = yaml.safe_load((GRAFANA / "provisioning/datasources/prometheus.yaml").read_text())["datasources"][0]
    provider = yaml.safe_load((GRAFANA / "provisioning/dashboards/detector.yaml").read_text())["providers"][0]
    services = yaml.safe_load((ROOT / "config/deploy/compose.yaml").read_text())["services"]
    mounts = dict(map(mount, services["grafana"]["volumes"]))
    assert mounts[provider["options"]["path"]] == GRAFANA / "dashboards"
    assert mounts["/etc/grafana/provisioning"] == GRAFANA / "provisioning"
    assert source["type"] == "prometheus"
    assert source["url"] == "http://prometheus:9090"
    assert "prometheus" in services
    scraped = yaml.safe_load((ROOT / "config/prometheus/prometheus.yml").read_text())["global"]["scrape_interval"]
    assert source["jsonData"]["timeInterval"] == scraped


def mount(said: str | dict[str, Any]) -> tuple[str, Path]:
    """(path in the container, path here)."""
    here, there = (said["source"], said["target"]) if isinstance(said, dict) else said.split(":")[:2]
    return there, (ROOT / "config/deploy" / here).resolve()


@pytest.mark.parametrize(
    "name", ["detector_events", "detector_events_count", "detector_lag_seconds_sum", "detector_batch_seconds", "detector_nothing"]
)
def test_a_name_that_is_not_measured_is_found(name: str) -> None:
    assert metric(name) is None


@pytest.mark.parametrize("name", ["operations", "detection", "model"])
def test_the_picture_of_a_dashboard_shows_its_panels(name: str) -> None:
    titles = [panel["title"] for board, panel in SHOWN if board == f"Detector: {name}"]
    assert shown_panels((ROOT / f"docs/images/{name}.png").read_bytes()) == titles, "make screenshots"


def shown_panels(png: bytes) -> list[str]:
    """What its text chunk says."""
    at = png.index(b"tEXtPanels\0")
    length = int.from_bytes(png[at - 4 : at], "big")
    return png[at + 4 : at + 4 + length].partition(b"\0")[2].decode("latin-1").split("\n")
