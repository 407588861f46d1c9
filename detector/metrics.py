"""What the service measures: one closed table of names. No label comes from input data, with which an attacker could fill the memory."""

from __future__ import annotations

import platform
from collections.abc import Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from detector import __version__

SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30)
LATENCY = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 300, 3600)

COUNTERS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "detector_events": ("Access events scored.", ()),
    "detector_late_events": ("Access events older than input.max_age when they came; scored all the same.", ()),
    "detector_dead_letters": ("Records refused, by reason code.", ("reason",)),
    "detector_alerts": ("Alerts delivered.", ("severity",)),
    "detector_notables": ("Near misses delivered.", ()),
    "detector_notables_dropped": ("Near misses beyond a day's bound, by tenths of rarity above the threshold less 1.", ("rank",)),
    "detector_daily_blocks": ("Blocks of daily records delivered.", ()),
    "detector_doubts": ("Transactions whose outcome had to be read back from the broker, by where they broke.", ("phase",)),
    "detector_rebalances": ("Changes of the partitions that this process holds.", ()),
    "detector_processing_failures": ("Batches that made processing fail and were taken apart.", ()),
    "detector_heartbeats": ("Heartbeats delivered.", ()),
    "detector_snapshots": ("Snapshots of a partition's state that are complete.", ()),
    "detector_takeovers": ("Partitions taken over, by what their state came from: nothing, input, snapshot, or memory.", ("source",)),
    "detector_consumer_rebuilds": ("Consumers thrown away because they stood still.", ()),
}
HISTOGRAMS: Mapping[str, tuple[str, tuple[float, ...]]] = {
    "detector_batch_seconds": ("Time to decode and process a micro-batch.", SECONDS),
    "detector_transaction_seconds": ("Time of a transaction, from its first record to its commit.", SECONDS),
    "detector_snapshot_seconds": ("Time of the loop that a snapshot took, over all transactions it went with.", SECONDS),
    "detector_takeover_seconds": ("From the assignment of a partition until it was live.", LATENCY),
    "detector_event_to_alert_seconds": ("From the broker's time of the event to the commit of its alert.", LATENCY),
}
GAUGES: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "detector_lag_records": ("Records in the held partitions that are not processed yet.", ()),
    "detector_lag_seconds": ("Age of the oldest record that is not processed yet; 0 where there is none.", ()),
    "detector_partitions": ("Partitions held.", ()),
    "detector_restoring_partitions": ("Partitions held whose state is not restored yet.", ()),
    "detector_refused_partitions": ("Partitions held that cannot be processed; the log says why.", ()),
    "detector_halted_partitions": ("Partitions held that are not read on because too much of them was refused.", ()),
    "detector_snapshot_bytes": ("Size of the last snapshot of a partition, compressed.", ()),
    "detector_keys": ("Employees in memory.", ()),
    "detector_evicted_keys": ("Employees forgotten to make room for others, by the tasks now held.", ()),
    "detector_model_info": ("1 for the model in use.", ("version", "sha256")),
    "detector_drift": ("Population stability index of the last week against training, where the sample is large enough.", ("signal",)),
    "detector_drift_employee_days": ("Employee-days that detector_drift is made of.", ()),
    "detector_retrain_wanted": ("1 if a signal has drifted so far that a new model should be trained.", ()),
    "detector_build_info": ("1.", ("version", "python")),
}


class Metrics:
    """The figures of one service. Methods are named after what happened."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._counters = {name: Counter(name, text, labels, registry=self.registry) for name, (text, labels) in COUNTERS.items()}
        self._histograms = {
            name: Histogram(name, text, buckets=marks, registry=self.registry) for name, (text, marks) in HISTOGRAMS.items()
        }
        self._gauges = {name: Gauge(name, text, labels, registry=self.registry) for name, (text, labels) in GAUGES.items()}
        self._gauges["detector_build_info"].labels(__version__, platform.python_version()).set(1)

    def text(self) -> bytes:
        """All of it in Prometheus' text format."""
        return generate_latest(self.registry)

    def batch(self, seconds: float, events: int, late: int = 0, dead_letters: Mapping[str, int] = {}) -> None:
        """A micro-batch was delivered: it took `seconds` to process; `dead_letters` counts by reason code."""
        self._histograms["detector_batch_seconds"].observe(seconds)
        self._counters["detector_events"].inc(events)
        self._counters["detector_late_events"].inc(late)
        for reason, count in dead_letters.items():
            self._counters["detector_dead_letters"].labels(reason).inc(count)

    def transaction(self, seconds: float) -> None:
        """A transaction was committed."""
        self._histograms["detector_transaction_seconds"].observe(seconds)

    def alert(self, severity: str, seconds: float) -> None:
        """An alert was committed, `seconds` after the broker took its event."""
        self._counters["detector_alerts"].labels(severity).inc()
        self._histograms["detector_event_to_alert_seconds"].observe(max(seconds, 0.0))

    def notables(self, delivered: int, dropped: Mapping[int, int]) -> None:
        """Near misses were committed; others were too many, by rank."""
        self._counters["detector_notables"].inc(delivered)
        for rank, count in dropped.items():
            self._counters["detector_notables_dropped"].labels(str(rank)).inc(count)

    def daily(self, blocks: int) -> None:
        """Blocks of daily records were committed."""
        self._counters["detector_daily_blocks"].inc(blocks)

    def doubt(self, phase: str) -> None:
        """A transaction ended without a certain outcome."""
        self._counters["detector_doubts"].labels(phase).inc()

    def rebalance(self) -> None:
        """The group gave or took partitions."""
        self._counters["detector_rebalances"].inc()

    def held(self, partitions: int, restoring: int, refused: int, halted: int) -> None:
        """So many partitions; of these, so many each."""
        for name, count in zip(("", "restoring_", "refused_", "halted_"), (partitions, restoring, refused, halted), strict=True):
            self._gauges[f"detector_{name}partitions"].set(count)

    def taken_over(self, source: str, seconds: float) -> None:
        """A partition's state came from there, and is live."""
        self._counters["detector_takeovers"].labels(source).inc()
        self._histograms["detector_takeover_seconds"].observe(seconds)

    def processing_failed(self) -> None:
        self._counters["detector_processing_failures"].inc()

    def beats(self, count: int) -> None:
        """Heartbeats were committed."""
        self._counters["detector_heartbeats"].inc(count)

    def snapshot(self, seconds: float, size: int) -> None:
        """One is complete."""
        self._counters["detector_snapshots"].inc()
        self._histograms["detector_snapshot_seconds"].observe(seconds)
        self._gauges["detector_snapshot_bytes"].set(size)

    def consumer_rebuilt(self) -> None:
        self._counters["detector_consumer_rebuilds"].inc()

    def lag(self, records: int, seconds: float) -> None:
        self._gauges["detector_lag_records"].set(records)
        self._gauges["detector_lag_seconds"].set(max(seconds, 0.0))

    def keys(self, count: int, evicted: int) -> None:
        self._gauges["detector_keys"].set(count)
        self._gauges["detector_evicted_keys"].set(evicted)

    def model(self, version: str, sha256: str) -> None:
        """This model is in use from now on, and no other."""
        self._gauges["detector_model_info"].clear()
        self._gauges["detector_model_info"].labels(version, sha256).set(1)

    def drift(self, psi: Mapping[str, float], employee_days: int, wanted: bool) -> None:
        """How far signals have moved, those alone of which enough is known; and whether that is a reason to train anew."""
        gauge = self._gauges["detector_drift"]
        gauge.clear()
        for signal, value in psi.items():
            gauge.labels(signal).set(value)
        self._gauges["detector_drift_employee_days"].set(employee_days)
        self._gauges["detector_retrain_wanted"].set(wanted)
