"""The metrics are a closed table: known names, labels that no input can set."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from detector.metrics import COUNTERS, GAUGES, HISTOGRAMS, Metrics


def samples(metrics: Metrics) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    families = text_string_to_metric_families(metrics.text().decode())
    return {(s.name, tuple(sorted(s.labels.items()))): s.value for family in families for s in family.samples}


def test_every_name_is_there_from_the_start_and_no_other() -> None:
    families = {family.name for family in text_string_to_metric_families(Metrics().text().decode())}
    assert {*COUNTERS, *HISTOGRAMS, *GAUGES} == {name for name in families if not name.endswith("_created")}


def test_what_happened_is_what_is_counted() -> None:
    metrics = Metrics()
    metrics.batch(0.01, 500, 3, {"not-json": 2, "no-key": 1})
    metrics.batch(0.02, 10)
    metrics.transaction(0.015)
    metrics.alert("high", 0.05)
    metrics.alert("high", -1.0)
    metrics.notables(4, {9: 2})
    metrics.notables(1, {9: 1, 0: 5})
    metrics.daily(6)
    metrics.doubt("commit")
    metrics.rebalance()
    metrics.held(3, 2, 1, 0)
    metrics.processing_failed()
    metrics.beats(4)
    metrics.snapshot(0.5, 2000)
    metrics.taken_over("snapshot", 1.5)
    metrics.consumer_rebuilt()
    metrics.lag(40, 1.5)
    metrics.keys(67, 8)
    found = samples(metrics)
    expected = {
        ("detector_events_total", ()): 510, ("detector_late_events_total", ()): 3,
        ("detector_dead_letters_total", (("reason", "not-json"),)): 2, ("detector_dead_letters_total", (("reason", "no-key"),)): 1,
        ("detector_batch_seconds_count", ()): 2, ("detector_transaction_seconds_sum", ()): 0.015,
        ("detector_alerts_total", (("severity", "high"),)): 2, ("detector_event_to_alert_seconds_sum", ()): 0.05,
        ("detector_notables_total", ()): 5, ("detector_notables_dropped_total", (("rank", "9"),)): 3,
        ("detector_notables_dropped_total", (("rank", "0"),)): 5, ("detector_daily_blocks_total", ()): 6,
        ("detector_doubts_total", (("phase", "commit"),)): 1, ("detector_rebalances_total", ()): 1, ("detector_partitions", ()): 3,
        ("detector_restoring_partitions", ()): 2, ("detector_consumer_rebuilds_total", ()): 1, ("detector_lag_records", ()): 40,
        ("detector_lag_seconds", ()): 1.5, ("detector_keys", ()): 67, ("detector_evicted_keys", ()): 8,
    }  # fmt: skip
    expected |= {
        ("detector_refused_partitions", ()): 1, ("detector_halted_partitions", ()): 0, ("detector_processing_failures_total", ()): 1,
        ("detector_heartbeats_total", ()): 4, ("detector_snapshots_total", ()): 1, ("detector_snapshot_seconds_sum", ()): 0.5,
        ("detector_snapshot_bytes", ()): 2000, ("detector_takeovers_total", (("source", "snapshot"),)): 1,
        ("detector_takeover_seconds_sum", ()): 1.5,
    }  # fmt: skip
    assert {name: found[name] for name in expected} == expected


def test_only_one_model_is_in_use() -> None:
    metrics = Metrics()
    metrics.model("aaaa", "aaaa0000")
    metrics.model("bbbb", "bbbb0000")
    models = [labels for (name, labels) in samples(metrics) if name == "detector_model_info"]
    assert models == [(("sha256", "bbbb0000"), ("version", "bbbb"))]


def test_two_services_do_not_share_figures() -> None:
    one, other = Metrics(), Metrics()
    one.batch(0.1, 5)
    assert samples(other)["detector_events_total", ()] == 0
