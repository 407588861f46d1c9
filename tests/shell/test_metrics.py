"""The metrics are a closed table: known names, labels that no input can set, a bounded number of series; and what happened is counted."""

from __future__ import annotations

import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families

from detector.metrics import Metrics
from detector.metrics.spread import Scored
from detector.metrics.table import METRICS, OTHER, RARITY, SCORE, TABLE, most_series

Sample = tuple[str, tuple[tuple[str, str], ...]]


def samples(metrics: Metrics) -> dict[Sample, float]:
    families = text_string_to_metric_families(metrics.text().decode())
    return {(s.name, tuple(sorted(s.labels.items()))): s.value for family in families for s in family.samples}


def names(metrics: Metrics) -> set[str]:
    return {family.name for family in text_string_to_metric_families(metrics.text().decode())}


def test_every_name_is_there_from_the_start_and_no_other() -> None:
    assert names(Metrics()) == set(METRICS)
    assert len(METRICS) == len(TABLE)


def test_every_series_of_a_closed_set_is_there_from_the_start() -> None:
    there = samples(Metrics())
    assert there["detector_dead_letters_total", (("reason", "not-json"),)] == 0
    assert there["detector_alerts_total", (("severity", "low"), ("view", "employee"))] == 0
    always = sum(metric.series(0) for metric in TABLE if not metric.absent)
    assert len(there) == always > 150


def test_a_label_never_takes_what_is_not_in_its_set() -> None:
    metrics = Metrics()
    metrics.batch(0.1, 1, 0, {"<script>": 2})
    metrics.alert("unheard-of", 1.0, 1.0)
    metrics.drift({"nonsense": 1.0}, 1, False)
    assert samples(metrics)["detector_dead_letters_total", (("reason", OTHER),)] == 2
    text = metrics.text().decode()
    assert "script" not in text and "unheard" not in text and "nonsense" not in text


def test_two_thousand_series_are_enough_for_256_partitions_with_every_label_in_use() -> None:
    metrics = Metrics()
    metrics.lag(dict.fromkeys(range(256), (1, 1.0)))
    metrics.drift(dict.fromkeys(METRICS["detector_drift"].labels["signal"].values, 1.0), 1, False)
    metrics.model("aaaa", "aaaa0000", 1, 1)
    metrics.context("cccc", 1.0, 1.0)
    metrics.oldest_snapshot(1.0)
    metrics.unreviewed(1.0)
    metrics.canary(1.0)
    metrics.beats(1, 1.0)
    metrics.transaction(0.1, 1.0)
    assert len(samples(metrics)) == most_series(256) < 1000  # as the page says


def test_what_happened_is_what_is_counted() -> None:
    metrics = Metrics()
    metrics.settings(20.0, True)
    metrics.batch(0.01, 500, 3, {"not-json": 2, "no-key": 1})
    metrics.batch(0.02, 10)
    metrics.stages({"decode": 0.25, "score": 0.5})
    metrics.transaction(0.015, 1000.0)
    metrics.alert("high", 3600.0, 0.05)
    metrics.alert("high", 1.0, -1.0)
    metrics.suppressed(7)
    metrics.active(250)
    metrics.canary(900.0)
    metrics.canary(800.0)
    metrics.notables(4, {9: 2})
    metrics.notables(1, {9: 1, 0: 5})
    metrics.daily(6)
    metrics.beats(4, 1001.0)
    metrics.doubt("commit")
    metrics.producer_rebuilt()
    metrics.reload("context", "refused")
    metrics.suppressed_lines("kafka", 9)
    high, view = (("severity", "high"), ("view", "employee")), (("view", "employee"),)
    expected = {
        ("detector_events_total", ()): 510, ("detector_late_events_total", ()): 3,
        ("detector_dead_letters_total", (("reason", "not-json"),)): 2, ("detector_dead_letters_total", (("reason", "no-key"),)): 1,
        ("detector_batch_seconds_count", ()): 2, ("detector_stage_seconds_sum", (("stage", "score"),)): 0.5,
        ("detector_transaction_seconds_sum", ()): 0.015, ("detector_alerts_total", high): 2,
        ("detector_last_commit_timestamp_seconds", ()): 1000,
        ("detector_event_to_alert_seconds_sum", (("since", "broker"),)): 0.05,
        ("detector_event_to_alert_seconds_sum", (("since", "event"),)): 3601, ("detector_suppressed_alerts_total", view): 7,
        ("detector_employee_days_total", view): 250, ("detector_promised_false_alerts_total", view): 5,
        ("detector_canary_seen_timestamp_seconds", ()): 900, ("detector_notables_total", ()): 5,
        ("detector_notables_dropped_total", (("rank", "9"),)): 3, ("detector_notables_dropped_total", (("rank", "0"),)): 5,
        ("detector_daily_blocks_total", ()): 6, ("detector_heartbeats_total", ()): 4, ("detector_heartbeat_timestamp_seconds", ()): 1001,
        ("detector_doubts_total", (("phase", "commit"),)): 1, ("detector_producer_rebuilds_total", ()): 1,
        ("detector_reloads_total", (("outcome", "refused"), ("what", "context"))): 1,
        ("detector_log_lines_suppressed_total", (("reason", "kafka"),)): 9,
    }  # fmt: skip
    found = samples(metrics)
    assert {name: found[name] for name in expected} == expected


def test_what_is_held_is_what_is_told() -> None:
    metrics = Metrics()
    metrics.settings(20.0, True)
    metrics.rebalance()
    metrics.held(3, 2, 1, 0)
    metrics.processing_failed()
    metrics.snapshot(0.5, 2000)
    metrics.oldest_snapshot(5.0)
    metrics.taken_over("snapshot", 1.5)
    metrics.consumer_rebuilt()
    metrics.connected(True)
    metrics.lag({3: (40, 1.5), 7: (2, -0.1)})
    metrics.state(67, 4096, 8, 1 << 20)
    metrics.unreviewed(77.0)
    view = (("view", "employee"),)
    expected = {
        ("detector_budget", view): 20, ("detector_shadow", ()): 1, ("detector_rebalances_total", ()): 1, ("detector_partitions", ()): 3,
        ("detector_restoring_partitions", ()): 2, ("detector_refused_partitions", ()): 1, ("detector_halted_partitions", ()): 0,
        ("detector_processing_failures_total", ()): 1, ("detector_snapshots_total", ()): 1, ("detector_snapshot_seconds_sum", ()): 0.5,
        ("detector_snapshot_bytes", ()): 2000, ("detector_oldest_snapshot_timestamp_seconds", ()): 5,
        ("detector_takeovers_total", (("source", "snapshot"),)): 1, ("detector_takeover_seconds_sum", ()): 1.5,
        ("detector_consumer_rebuilds_total", ()): 1, ("detector_connected", ()): 1, ("detector_lag_records", (("partition", "3"),)): 40,
        ("detector_lag_seconds", (("partition", "3"),)): 1.5, ("detector_lag_seconds", (("partition", "7"),)): 0, ("detector_keys", ()): 67,
        ("detector_max_keys", ()): 4096, ("detector_evicted_keys", ()): 8, ("detector_state_bytes", ()): 1 << 20,
        ("detector_oldest_unreviewed_alert_timestamp_seconds", ()): 77,
    }  # fmt: skip
    found = samples(metrics)
    assert {name: found[name] for name in expected} == expected


def test_what_is_held_no_more_is_told_no_more() -> None:
    metrics = Metrics()
    before = samples(metrics).keys()
    metrics.lag({3: (40, 1.5)})
    metrics.oldest_snapshot(5.0)
    metrics.unreviewed(77.0)
    assert len(samples(metrics)) == len(before) + 4
    metrics.lag({})
    metrics.oldest_snapshot(None)
    metrics.unreviewed(None)
    assert samples(metrics).keys() == before


def test_only_one_model_and_one_context_are_in_use() -> None:
    metrics = Metrics()
    metrics.model("aaaa", "aaaa0000", 5000, 6000)
    metrics.context("aaaa", 10.0, 5.0)
    assert samples(metrics)["detector_model_trained_until_timestamp_seconds", ()] == 5
    metrics.model("bbbb", "bbbb0000")
    metrics.context("bbbb", 20.0)
    found = samples(metrics)
    assert [labels for (name, labels) in found if name == "detector_model_info"] == [(("sha256", "bbbb0000"), ("version", "bbbb"))]
    assert [labels for (name, labels) in found if name == "detector_context_info"] == [(("hash", "bbbb"),)]
    assert found["detector_context_loaded_timestamp_seconds", ()] == 20
    absent = ("model_trained_until", "model_created", "context_modified")
    assert not {(f"detector_{name}_timestamp_seconds", ()) for name in absent} & found.keys()


def test_two_services_do_not_share_figures() -> None:
    one, other = Metrics(), Metrics()
    one.batch(0.1, 5)
    assert samples(other)["detector_events_total", ()] == 0


@pytest.mark.parametrize("name", ["score", "rarity"])
def test_scores_are_counted_as_a_histogram_counts(name: str) -> None:
    metrics = Metrics()
    rarity = np.concatenate([np.random.default_rng(5).exponential(1.2, 3000), [0.0, 0.5, 1.0, 2.0, 3.0, 4.0, 6.0, 6.5]]).astype(np.float32)
    for part in np.array_split(rarity, 7):
        metrics.scored(Scored.of(part))
    values = rarity.astype(np.float64) if name == "rarity" else np.round(1 - 10.0 ** -rarity.astype(np.float64), 9)
    found, view = samples(metrics), ("view", "employee")
    for edge in RARITY if name == "rarity" else SCORE:
        said = found[f"detector_{name}_bucket", tuple(sorted((view, ("le", str(float(edge))))))]
        assert said == (values <= edge).sum(), edge
    assert (
        found[f"detector_{name}_bucket", tuple(sorted((view, ("le", "+Inf"))))] == found[f"detector_{name}_count", (view,)] == len(rarity)
    )
    assert found[f"detector_{name}_sum", (view,)] == pytest.approx(values.sum(), rel=1e-5)
