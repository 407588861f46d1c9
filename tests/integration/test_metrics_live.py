"""A scrape of a real service holds the names of the table and no others, labels of its sets, nothing of the input, and what is true."""

from __future__ import annotations

import csv
import json
import re
import time
from functools import partial

import pytest
from harness import PARTITIONS, Serving, wait
from office import Office
from oracle import truth
from prometheus_client.parser import text_string_to_metric_families

from detector import registry
from detector.config import moment
from detector.core.daily_blocks import decode
from detector.core.model import Model
from detector.core.views import EMPLOYEE
from detector.kafka.topics import create, design
from detector.metrics.table import METRICS, TABLE, most_series

pytestmark = pytest.mark.broker

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]
UNSEEN = {"detector_drift"}
"""Of the series that are not always there, those that this small company does not lead to."""
TEXTS = ("actor", "subject", "resource", "purpose", "event_id", "device", "src_ip")


def a_canary(office: Office) -> str:
    with (office.folder / "context" / "protected.csv").open() as file:
        return next(line["subject"] for line in csv.DictReader(file) if line["class"] == "canary")


def scrape(service: Serving) -> Samples:
    families = list(text_string_to_metric_families(service.get("/metrics")[1]))
    assert {family.name for family in families} == set(METRICS)
    return {(s.name, frozenset(s.labels.items())): s.value for family in families for s in family.samples}


def assert_of_the_table(found: Samples) -> None:
    assert len(found) <= most_series(PARTITIONS)
    of = {name: metric for metric in TABLE for name in (metric.exposed, *(f"{metric.name}_{part}" for part in ("bucket", "sum", "count")))}
    for name, labels in found:
        metric, own = of[name], {label: value for label, value in labels if label != "le"}
        assert own.keys() == metric.labels.keys(), name
        for label, value in own.items():
            allowed = metric.labels[label].values
            assert value in allowed if allowed else re.fullmatch(r"[0-9a-f.]{1,64}|[\w.+]{1,20}", value), (name, label, value)
    there = {of[name].name for name, _ in found}
    assert set(METRICS) - there == UNSEEN
    assert all(METRICS[name].absent for name in UNSEEN)


def assert_nothing_of_the_input(office: Office, text: str) -> dict[str, set[str]]:
    """No label is a text of an event. Gives those texts, by member."""
    said = {member: {str(json.loads(line).get(member)) for _, line in office.live} for member in TEXTS}
    words = set(re.findall(r'"([^"]*)"', text))
    assert not [member for member, values in said.items() if values & words]
    return said


def summed(found: Samples, name: str, **labels: str) -> float:
    return sum(value for (n, own), value in found.items() if n == "detector_" + name and labels.items() <= dict(own).items())


def assert_state(found: Samples, model: Model) -> None:
    """What is held and in use."""
    total = partial(summed, found)
    assert {dict(own)["partition"] for name, own in found if name == "detector_lag_seconds"} == {str(p) for p in range(PARTITIONS)}
    assert total("model_trained_until_timestamp_seconds") * 1000 == model.until > 0
    assert total("model_created_timestamp_seconds") * 1000 == model.stored
    assert (total("connected"), total("budget"), total("shadow"), total("max_keys")) == (1, 100, 0, 100_000 * PARTITIONS)
    assert total("state_bytes") > total("keys") * 1000 > 0
    now = time.time()
    for name in ("heartbeat", "last_commit", "oldest_snapshot", "context_loaded", "oldest_unreviewed_alert"):
        assert now - 300 < total(f"{name}_timestamp_seconds") <= now + 1, name


def test_a_scrape_holds_the_table_and_what_is_true(office, broker, tmp_path, unique):
    verdicts, canary = unique("verdicts"), a_canary(office)
    stand = office.stand(broker, tmp_path, unique, topics={"verdicts": verdicts}, service={"snapshot_interval": 1.0})
    create(stand.settings, design({"verdicts": verdicts}, PARTITIONS, 1))
    key, value = office.live[-1]
    last = json.loads(value)
    looked = json.dumps({**last, "subject": canary, "event_id": "of-the-canary"}).encode()
    sent = stand.feed([*office.live, (key, looked)])
    expected = truth(stand, office.starts)
    alerts = sum(map(len, expected.alerts.values()))
    model = registry.load_model(office.folder / "models", "champion", EMPLOYEE.name, EMPLOYEE.names)
    with Serving(stand) as service:
        wait(lambda: service.metric("detector_events_total") == sent, 60, "all is scored")
        wait(lambda: service.metric("detector_oldest_unreviewed_alert_timestamp_seconds") > 0, 60, "the alerts are followed")
        wait(lambda: service.metric("detector_snapshots_total") > 0, 60, "there is a snapshot")
        wait(lambda: service.metric("detector_daily_blocks_total") == sum(map(len, expected.daily.values())), 60, "daily records are out")
        wait(lambda: f'detector_lag_records{{partition="{PARTITIONS - 1}"}} 0.0' in service.get("/metrics")[1], 60, "nothing is left")
        found, text = scrape(service), service.get("/metrics")[1]
        assert service.stop() == 0
    assert_of_the_table(found)
    said = assert_nothing_of_the_input(office, text)
    total = partial(summed, found)
    days = sum(len(decode(value).records) for values in expected.daily.values() for _, value in values)
    assert total("alerts_total") == total("event_to_alert_seconds_count", since="broker") == alerts > 0
    assert total("event_to_alert_seconds_sum", since="event") > total("event_to_alert_seconds_sum", since="broker") > 0
    assert total("rarity_count") == total("score_count") == len(said["event_id"]) + 1 < sent  # some come twice
    assert total("employee_days_total") == days > 0
    assert total("promised_false_alerts_total") == pytest.approx(days * 100.0 / 1000)
    assert total("suppressed_alerts_total") > 0
    stages = [total("stage_seconds_sum", stage=stage) for stage in ("decode", "signals", "score")]
    assert min(stages) > 0 and sum(stages) <= total("batch_seconds_sum")
    assert_state(found, model)
    assert total("canary_seen_timestamp_seconds") * 1000 == pytest.approx(moment(str(last["time"])))
