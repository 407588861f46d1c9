"""What the service measures. The names, and what each can be labelled with, are the closed table of `table`."""

from __future__ import annotations

import platform
from bisect import bisect_left
from collections.abc import Iterator, Mapping
from itertools import accumulate, product
from threading import Lock

from prometheus_client import generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector

from detector import __version__
from detector.core.views import EMPLOYEE
from detector.metrics.spread import Scored
from detector.metrics.table import METRICS, OTHER, TABLE, Metric

Labels = tuple[str, ...]


class Metrics(Collector):
    """The figures of one service. Methods are named after what happened; any thread may call them."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._values = {metric.name: _zeros(metric) for metric in TABLE if metric.kind != "histogram"}
        self._spreads = {metric.name: _empty(metric) for metric in TABLE if metric.kind == "histogram"}
        """Of each series, how many between two edges, and their sum."""
        self._set("build_info", 1, __version__, platform.python_version())

    def text(self) -> bytes:
        """All of it in Prometheus' text format."""
        return generate_latest(self)

    def collect(self) -> Iterator[Family]:
        with self._lock:
            values = {name: dict(series) for name, series in self._values.items()}
            spreads = {name: {labels: tuple(spread) for labels, spread in series.items()} for name, series in self._spreads.items()}
        for metric in TABLE:
            yield _family(metric, values.get(metric.name, {}), spreads.get(metric.name, {}))

    # --- what the loop does

    def batch(self, seconds: float, events: int, late: int = 0, dead_letters: Mapping[str, int] = {}) -> None:
        """A micro-batch was delivered: it took `seconds` to process; `dead_letters` counts by reason code."""
        self._observe("batch_seconds", seconds)
        self._add("events", events)
        self._add("late_events", late)
        for reason, count in dead_letters.items():
            self._add("dead_letters", count, reason)

    def stages(self, seconds: Mapping[str, float]) -> None:
        """What each stage of a micro-batch took."""
        for stage, spent in seconds.items():
            self._observe("stage_seconds", spent, stage)

    def scored(self, scored: Scored, view: str = EMPLOYEE.name) -> None:
        """Events were scored, and what came of them is committed."""
        for name in ("score", "rarity"):
            counts, total = scored.spread(name)
            with self._lock:
                spread = self._spreads["detector_" + name][(view,)]
                spread[:] = [before + more for before, more in zip(spread, (*counts, total), strict=True)]

    def transaction(self, seconds: float, at: float) -> None:
        """A transaction was committed, at this time (seconds since 1970)."""
        self._observe("transaction_seconds", seconds)
        self._set("last_commit_timestamp_seconds", at)

    def alert(self, severity: str, since_event: float, since_broker: float, view: str = EMPLOYEE.name) -> None:
        """An alert was committed, so many seconds after its event happened and after the broker took it."""
        self._add("alerts", 1, view, severity)
        self._observe("event_to_alert_seconds", max(since_event, 0.0), "event")
        self._observe("event_to_alert_seconds", max(since_broker, 0.0), "broker")

    def suppressed(self, count: int, view: str = EMPLOYEE.name) -> None:
        """Events over the threshold were part of an incident that was told of."""
        self._add("suppressed_alerts", count, view)

    def active(self, employee_days: int, view: str = EMPLOYEE.name) -> None:
        """So many days of employees are over."""
        self._add("employee_days", employee_days, view)
        self._add("promised_false_alerts", employee_days * self._values["detector_budget"][(view,)] / 1000, view)

    def canary(self, at: float) -> None:
        """Somebody looked at a canary then, in seconds since 1970."""
        with self._lock:
            series = self._values["detector_canary_seen_timestamp_seconds"]
            series[()] = max(series.get((), at), at)

    def notables(self, delivered: int, dropped: Mapping[int, int]) -> None:
        """Near misses were committed; others were too many, by rank."""
        self._add("notables", delivered)
        for rank, count in dropped.items():
            self._add("notables_dropped", count, str(rank))

    def daily(self, blocks: int) -> None:
        """Blocks of daily records were committed."""
        self._add("daily_blocks", blocks)

    def beats(self, count: int, at: float) -> None:
        """Heartbeats were committed."""
        if count:
            self._add("heartbeats", count)
            self._set("heartbeat_timestamp_seconds", at)

    def doubt(self, phase: str) -> None:
        """A transaction ended without a certain outcome."""
        self._add("doubts", 1, phase)

    def producer_rebuilt(self) -> None:
        self._add("producer_rebuilds")

    def consumer_rebuilt(self) -> None:
        self._add("consumer_rebuilds")

    def processing_failed(self) -> None:
        self._add("processing_failures")

    def connected(self, well: bool) -> None:
        """Whether this process is a stable member of its group, and the broker does what it asks."""
        self._set("connected", well)

    # --- what it holds

    def rebalance(self) -> None:
        """The group gave or took partitions."""
        self._add("rebalances")

    def held(self, partitions: int, restoring: int, refused: int, halted: int) -> None:
        """So many partitions; of these, so many each."""
        for name, count in zip(("", "restoring_", "refused_", "halted_"), (partitions, restoring, refused, halted), strict=True):
            self._set(f"{name}partitions", count)

    def taken_over(self, source: str, seconds: float) -> None:
        """A partition's state came from there, and is live."""
        self._add("takeovers", 1, source)
        self._observe("takeover_seconds", seconds)

    def snapshot(self, seconds: float, size: int) -> None:
        """One is complete."""
        self._add("snapshots")
        self._observe("snapshot_seconds", seconds)
        self._set("snapshot_bytes", size)

    def oldest_snapshot(self, at: float | None) -> None:
        """When it was made; None: there is none."""
        self._only("oldest_snapshot_timestamp_seconds", _time(at))

    def lag(self, behind: Mapping[int, tuple[int, float]]) -> None:
        """Partition -> records and seconds, of all partitions that are held."""
        for i, name in enumerate(("lag_records", "lag_seconds")):
            self._only(name, {(str(p),): max(each[i], 0) for p, each in behind.items()})

    def state(self, keys: int, most: int, evicted: int, size: int) -> None:
        """Employees in memory, how many there may be, how many had to go; and the memory in bytes."""
        for name, value in (("keys", keys), ("max_keys", most), ("evicted_keys", evicted), ("state_bytes", size)):
            self._set(name, value)

    # --- what is in use

    def settings(self, budget: float, shadow: bool) -> None:
        self._set("budget", budget, EMPLOYEE.name)
        self._set("shadow", shadow)

    def model(self, version: str, sha256: str, until: int = -1, stored: int = -1) -> None:
        """This model is in use from now on, and no other. It learned from events `until` then, and was `stored` then; ms, -1: not known."""
        self._only("model_info", {(version, sha256): 1})
        self._only("model_trained_until_timestamp_seconds", _time(until / 1000 if until >= 0 else None))
        self._only("model_created_timestamp_seconds", _time(stored / 1000 if stored >= 0 else None))

    def context(self, hash: str, loaded: float, modified: float | None = None) -> None:
        """This context is in use from now on: read then, its newest file changed then, in seconds since 1970; None without a folder."""
        self._only("context_info", {(hash,): 1})
        self._only("context_loaded_timestamp_seconds", _time(loaded))
        self._only("context_modified_timestamp_seconds", _time(modified))

    def reload(self, what: str, outcome: str) -> None:
        """A `context` or a `model` was looked at anew: `taken`, or `refused`."""
        self._add("reloads", 1, what, outcome)

    def drift(self, psi: Mapping[str, float], employee_days: int, wanted: bool) -> None:
        """How far signals have moved, those alone of which enough is known; and whether that is a reason to train anew."""
        self._only("drift", {(signal,): value for signal, value in psi.items()})
        self._set("drift_employee_days", employee_days)
        self._set("retrain_wanted", wanted)

    # --- what is beside it

    def unreviewed(self, oldest: float | None) -> None:
        """When the oldest alert was delivered that nobody has looked at, in seconds since 1970; None: there is none."""
        self._only("oldest_unreviewed_alert_timestamp_seconds", _time(oldest))

    def suppressed_lines(self, reason: str, count: int = 1) -> None:
        """Log lines were left out."""
        self._add("log_lines_suppressed", count, reason)

    # --- how it is kept

    def _add(self, name: str, amount: float = 1, *labels: str) -> None:
        key = _known(name, labels)
        with self._lock:
            series = self._values["detector_" + name]
            series[key] = series.get(key, 0) + amount

    def _set(self, name: str, value: float, *labels: str) -> None:
        with self._lock:
            self._values["detector_" + name][_known(name, labels)] = float(value)

    def _only(self, name: str, series: Mapping[Labels, float]) -> None:
        """These and no other."""
        with self._lock:
            self._values["detector_" + name] = {_known(name, labels): float(value) for labels, value in series.items()}

    def _observe(self, name: str, value: float, *labels: str) -> None:
        with self._lock:
            spread = self._spreads["detector_" + name][_known(name, labels)]
            spread[bisect_left(METRICS["detector_" + name].buckets, value)] += 1
            spread[-1] += value


def _known(name: str, labels: Labels) -> Labels:
    """The labels; one that is none of those that it can be, which should not happen, is told as `other`."""
    of = METRICS["detector_" + name].labels.values()
    return tuple(value if not label.values or value in label.values else OTHER for value, label in zip(labels, of, strict=True))


def _all(metric: Metric) -> Iterator[Labels]:
    return product(*(label.values for label in metric.labels.values()))


def _zeros(metric: Metric) -> dict[Labels, float]:
    """The series that are there from the start: what rises from 0 is seen to rise."""
    return {} if metric.absent else dict.fromkeys(_all(metric), 0.0)


def _empty(metric: Metric) -> dict[Labels, list[float]]:
    return {labels: [0.0] * (len(metric.buckets) + 2) for labels in _all(metric)}


def _time(at: float | None) -> dict[Labels, float]:
    return {} if at is None else {(): at}


def _family(metric: Metric, values: Mapping[Labels, float], spreads: Mapping[Labels, tuple[float, ...]]) -> Family:
    names = tuple(metric.labels)
    if metric.kind == "histogram":
        family = HistogramMetricFamily(metric.name, metric.text, labels=names)
        marks = [*(str(float(edge)) for edge in metric.buckets), "+Inf"]
        for labels, (*counts, total) in spreads.items():
            family.add_metric(labels, list(zip(marks, accumulate(counts), strict=True)), total)
        return family
    simple = (CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily)(metric.name, metric.text, labels=names)
    for labels, value in values.items():
        simple.add_metric(labels, value)
    return simple
