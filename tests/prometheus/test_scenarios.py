"""Which alarm fires when: six situations on a real Kafka, in sight of a real Prometheus that has the shipped rules.

DETECTOR_ALARMS=write      writes the matrix into docs/reference/alarms.md before it is compared
DETECTOR_RECORDING=FOLDER  keeps what Prometheus has recorded there, and DETECTOR_RECORDING_SECONDS=90 of it
"""

from __future__ import annotations

import importlib.util
import itertools
import os
import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import pytest
from harness import wait
from page import matrix, shown
from scenarios import EXPECTED, SCALE, at_work, company, job, keep, prometheus
from server import ROOT, Prometheus, rules, seconds

pytestmark = pytest.mark.broker
LONGEST = 60.0
"""Seconds within which every alarm has to fire, on a machine that others use, too."""
WATCH = 30.0
"""Seconds that the situations last at least: the longest that one of their alarms takes, and half of it again."""
JOBS = {situation: job(situation) for situation in EXPECTED}
FROM_THE_START = {"DetectorModelTooOld"}
WANTED = {(job(situation), alarm) for situation, alarms in EXPECTED.items() for alarm in alarms}


class Run(NamedTuple):
    """What was seen, and the Prometheus that saw it."""

    seen: Prometheus
    start: float
    end: float
    fired: frozenset[tuple[str, str]]
    """(job, alarm)."""
    waiting: frozenset[tuple[str, str]]
    """Those that would fire if the situation went on for longer than it did."""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    folder, numbers = tmp_path_factory.mktemp("scenarios"), itertools.count(1)
    kept = os.environ.get("DETECTOR_RECORDING", "")
    longer = float(os.environ.get("DETECTOR_RECORDING_SECONDS", "0")) if kept else 0.0
    with at_work(company(folder / "company"), folder, lambda name: f"{name}-{next(numbers)}") as all_six:
        with prometheus(folder / "prometheus", all_six.services) as seen:
            wait(lambda: len(seen.query("up == 1")) == len(EXPECTED), 60, "every process is seen")
            wait(lambda: {alarm for _, alarm in seen.firing() | seen.waiting()} <= FROM_THE_START, 60, "the start is over")
            start = time.time()
            time.sleep(longer / 3)
            broken = time.time()
            all_six.break_things()
            until_all_fire(seen)
            time.sleep(max(broken + max(WATCH, longer / 3) - time.time(), 0.0))
            fired, waiting = seen.firing(over=time.time() - start), seen.waiting()
            all_six.mend_things()
            time.sleep(longer / 3)
            yield Run(seen, start, time.time(), fired, waiting - fired)
        if kept:
            keep(seen, Path(kept), start=start, broken=broken, end=time.time(), scale=SCALE, jobs=JOBS)


def until_all_fire(seen: Prometheus) -> None:
    end = time.monotonic() + LONGEST
    while missing := WANTED - seen.firing():
        assert time.monotonic() < end, f"{sorted(missing)} did not fire within {LONGEST:g} s; waiting: {sorted(seen.waiting())}"
        time.sleep(0.2)


def test_each_alarm_fires_in_its_situation_and_in_no_other(run: Run) -> None:
    print("\n" + matrix(run.fired, JOBS))
    assert run.fired == WANTED
    slow = {rule["alert"] for rule in rules("alert") if seconds(rule.get("for", "0s")) / SCALE > WATCH}
    assert not [(where, alarm) for where, alarm in run.waiting if alarm in slow], "these would fire later"


def test_the_page_shows_the_matrix_of_this_run(run: Run) -> None:
    table = matrix(run.fired, JOBS)
    assert shown("matrix", table) == table, "DETECTOR_ALARMS=write writes it anew"


def test_what_was_mended_alarms_no_longer(run: Run) -> None:
    """But for the backlog, which is still worked off, and the model, which is still old."""
    left = {"DetectorBehind", "DetectorModelTooOld"}
    wait(lambda: {alarm for _, alarm in run.seen.firing()} <= left, LONGEST, f"no more than {sorted(left)} fire", 0.2)


def test_prometheus_evaluates_every_rule_without_error(run: Run) -> None:
    said = [rule for group in run.seen.ask("rules")["groups"] for rule in group["rules"]]
    assert {rule["name"] for rule in said} == {rule["record"] for rule in rules("record")} | {rule["alert"] for rule in rules("alert")}
    assert [(rule["name"], rule.get("lastError")) for rule in said if rule["health"] != "ok"] == []


def test_every_recorded_name_has_data(run: Run) -> None:
    names = {rule["record"] for rule in rules("record")}
    assert [name for name in sorted(names) if not run.seen.over(name, run.start, run.end)] == []


def test_a_canary_and_alerts_without_a_verdict_are_seen(run: Run) -> None:
    """So that the alarms on what is missing have something to be about."""
    for name in ("detector_canary_seen_timestamp_seconds", "detector_oldest_unreviewed_alert_timestamp_seconds"):
        query = f'time() - {name}{{job="{job("normal")}"}} < 600'
        wait(lambda query=query: bool(run.seen.query(query)), LONGEST, f"{query} is so")


def test_what_a_person_is_told_names_the_process_and_is_a_whole_sentence(run: Run) -> None:
    for alert in run.seen.ask("alerts")["alerts"]:
        said = alert["annotations"]["summary"]
        assert "no value" not in said and "error" not in said and "{{" not in said, said
        assert alert["labels"].get("instance", alert["labels"]["job"]) in said, said


def test_every_panel_of_every_dashboard_gets_an_answer_and_where_it_must_data(run: Run) -> None:
    empty, seen = [], 0
    for one in asked().queries(rate_interval="10s", interval="1s", span="60s"):
        seen += 1
        found = run.seen.over(one.expr, run.start, time.time())  # an error of any query fails here
        if not found and not one.maybe:
            empty.append((one.dashboard, one.panel, one.expr))
    assert seen > 20 and empty == []


def test_every_query_that_a_runbook_shows_gets_an_answer(run: Run) -> None:
    pages = [ROOT / "docs/how-to/when-it-alarms.md", *(ROOT / "docs/how-to/runbooks").glob("*.md")]
    shown = [block for page in pages for block in re.findall(r"^```promql\n(.*?)^```", page.read_text("utf-8"), re.M | re.S)]
    assert len(shown) > 5
    for query in "".join(shown).splitlines():
        run.seen.query(query)  # fails with what Prometheus says


def asked() -> ModuleType:
    """What the dashboards ask: config/grafana/queries.py, which is no package."""
    spec = importlib.util.spec_from_file_location("queries_of_dashboards", ROOT / "config/grafana/queries.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module
