"""The shipped rules: Prometheus reads them, promtool has seen each alarm fire and not fire, and each says where its page is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from page import alarms, recorded, shown
from server import ROOT, RULES, promtool, rules, seconds, shortened

from detector.metrics import METRICS

TESTS = sorted(Path(__file__).parent.glob("*.test.yml"))
RUNBOOKS = ROOT / "docs/how-to/runbooks"
ADDRESS = "https://docs.example.com/how-to/runbooks/"
SECTIONS = ["What it means", "Look", "Do", "It ends"]
NAME = re.compile(r"(?<![\w:])(?:\w+:)?detector_[\w:]+")
ALARMS = list(rules("alert"))


def test_prometheus_reads_the_rules_and_the_configuration() -> None:
    promtool("check", "rules", *map(str, RULES))
    promtool("check", "config", str(RULES[0].with_name("prometheus.yml")))


def test_promtool_sees_every_alarm_fire_and_not_fire() -> None:
    promtool("test", "rules", *map(str, TESTS))
    said = [test for path in TESTS for whole in yaml.safe_load(path.read_text("utf-8"))["tests"] for test in whole["promql_expr_test"]]
    fires = {name for test in said for sample in test["exp_samples"] for name in re.findall(r'alertname="(\w+)"', sample["labels"])}
    assert fires == {rule["alert"] for rule in ALARMS}


@pytest.mark.parametrize("rule", ALARMS, ids=lambda rule: rule["alert"])
def test_an_alarm_says_how_urgent_it_is_and_what_it_is_and_where_its_page_is(rule: dict) -> None:
    assert rule["labels"] in ({"severity": "page"}, {"severity": "ticket"})
    assert set(rule["annotations"]) == {"summary", "description", "runbook_url"}
    name = "-".join(re.findall(r"[A-Z][a-z]+", rule["alert"].removeprefix("Detector"))).lower()
    assert rule["annotations"]["runbook_url"] == f"{ADDRESS}{name}/"
    page = (RUNBOOKS / f"{name}.md").read_text("utf-8")
    assert page.startswith(f"# {rule['alert']}\n")
    assert re.findall(r"^## (.*)$", page, re.M)[:4] == SECTIONS


def test_every_page_is_of_an_alarm() -> None:
    pages = {path.stem for path in RUNBOOKS.glob("*.md")}
    assert pages == {rule["annotations"]["runbook_url"].removeprefix(ADDRESS).strip("/") for rule in ALARMS}


def test_the_page_of_alarms_shows_the_rules() -> None:
    assert shown("alarms", alarms()) == alarms(), "DETECTOR_ALARMS=write writes it anew"
    assert shown("recorded", recorded()) == recorded(), "DETECTOR_ALARMS=write writes it anew"


def test_rules_ask_for_nothing_that_is_not_measured() -> None:
    known = {METRICS[name].exposed for name in METRICS}
    known |= {f"{name}_{part}" for name, metric in METRICS.items() if metric.kind == "histogram" for part in ("bucket", "sum", "count")}
    known |= {rule["record"] for rule in rules("record")}
    asked = {name for kind in ("record", "alert") for rule in rules(kind) for name in NAME.findall(rule["expr"])}
    assert asked - known == set()


def test_rules_made_quicker_keep_their_thresholds() -> None:
    text = """
groups:
  - name: a
    rules:
      - record: r
        expr: sum(rate(x_total[5m])) / max_over_time(y[1d:1m] offset 1w) > 3600
      - alert: A
        expr: time() - z > 14 * 86400
        for: 1h30m
"""
    record, alert = yaml.safe_load(shortened(text, 60))["groups"][0]["rules"]
    assert record["expr"] == "sum(rate(x_total[5000ms])) / max_over_time(y[1440000ms:1m] offset 10080000ms) > 3600"
    assert (alert["expr"], alert["for"]) == ("time() - z > 14 * 86400", "90000ms")
    assert seconds("1h30m") == 5400


def test_the_shipped_rules_made_quicker_are_rules(tmp_path: Path) -> None:
    for path in RULES:
        (tmp_path / path.name).write_text(shortened(path.read_text("utf-8"), 30))
        promtool("check", "rules", str(tmp_path / path.name))
