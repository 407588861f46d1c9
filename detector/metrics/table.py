"""The closed table of all that the service measures: names, kinds, labels, and every value that a label can have.

No label comes from input data, with which an attacker could fill the memory, and none tells of a person. Labels that are not listed value
by value are partition numbers, and names of what is in use, of which there is one at a time: so the number of series is bounded.
Times are seconds since 1970; ages are for PromQL to make (`time() - x`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from detector.core import drift, hypotheses
from detector.core.alerts import SEVERITIES
from detector.core.dead_letters import REASONS
from detector.core.notables import RANKS
from detector.core.views import EMPLOYEE

SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30)
LATENCY = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 300, 3600)
SCORE = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.99, 0.999, 0.9999)
RARITY = tuple(n / 2 for n in range(1, 13))

OTHER = "other"
"""Stands for a value that is not in its label's set. There is none, as far as is known."""


@dataclass(frozen=True, slots=True)
class Label:
    """What a label can be: one of `values`; or where there are none, what it names: a partition's number, or the one in use."""

    values: tuple[str, ...] = ()
    names: str = ""

    def most(self, partitions: int) -> int:
        """How many values there can be at a time, in a process that holds so many partitions."""
        if self.values:
            return len(self.values)
        return partitions if self is PARTITION else 1


PARTITION = Label(names="number of a held partition")
VERSION = Label(names="version of the model in use")
SHA256 = Label(names="its SHA-256")
HASH = Label(names="SHA-256 of the context in use")
DETECTOR = Label(names="version of the detector")
PYTHON = Label(names="version of Python")
VIEW = Label((EMPLOYEE.name,))
SEVERITY = Label((*(name for name, _ in SEVERITIES), "low"))
REASON = Label(REASONS)
RANK = Label(tuple(str(rank) for rank in range(RANKS)))
PHASE = Label(("begin", "send", "flush", "offsets", "commit", "state", OTHER))
SOURCE = Label(("nothing", "input", "snapshot", "memory"))
STAGE = Label(("decode", "signals", "score"))
SINCE = Label(("event", "broker"))
WHAT = Label(("context", "model"))
TAKEN = Label(("taken", "refused"))
LOGGED = Label(("detector", "kafka", OTHER))
SIGNAL = Label(drift.names(tuple(map(hypotheses.find, hypotheses.names()))))

Kind = Literal["counter", "histogram", "gauge"]


@dataclass(frozen=True, slots=True)
class Metric:
    """One name. A counter's series are called `NAME_total`, a histogram's `NAME_bucket`, `NAME_sum` and `NAME_count`."""

    name: str
    kind: Kind
    text: str
    labels: Mapping[str, Label] = field(default_factory=dict)
    buckets: tuple[float, ...] = ()
    unit: str = ""
    """Of the values: seconds, bytes, ... A plain count has none."""
    absent: str = ""
    """When there is no series of it. Empty: never, all of them are there from the start, with 0."""
    more: str = ""
    """Page, from docs/reference, that tells more."""

    @property
    def exposed(self) -> str:
        return f"{self.name}_total" if self.kind == "counter" else self.name

    def series(self, partitions: int) -> int:
        """How many there are at most, in a process that holds so many partitions."""
        each = len(self.buckets) + 3 if self.kind == "histogram" else 1
        return each * math.prod(label.most(partitions) for label in self.labels.values())


def _counter(name: str, text: str, labels: Mapping[str, Label] = {}, unit: str = "", more: str = "") -> Metric:
    return Metric("detector_" + name, "counter", text, labels, unit=unit, more=more)


def _histogram(
    name: str, text: str, buckets: tuple[float, ...], labels: Mapping[str, Label] = {}, unit: str = "seconds", more: str = ""
) -> Metric:
    return Metric("detector_" + name, "histogram", text, labels, buckets, unit, more=more)


def _gauge(name: str, text: str, labels: Mapping[str, Label] = {}, unit: str = "", absent: str = "", more: str = "") -> Metric:
    return Metric("detector_" + name, "gauge", text, labels, unit=unit, absent=absent, more=more)


_EACH = {"view": VIEW}
_TIME = "seconds since 1970"

TABLE = (
    _counter("events", "Access events taken in and committed, repeated ones included; those replayed at a takeover do not count again."),
    _counter("late_events", "Of them, those older than input.max_age when they came; scored all the same."),
    _counter("dead_letters", "Records refused, by reason code.", {"reason": REASON}, more="events.md#reason-codes"),
    _counter("alerts", "Alerts delivered.", {"view": VIEW, "severity": SEVERITY}, more="alerts.md"),
    _counter("suppressed_alerts", "Events over the threshold that raised no alert, for their incident was told of already.", _EACH),
    _counter("employee_days", "Days from alerts.start on, on which an employee was active; counted when the day is over.", _EACH),
    _counter("promised_false_alerts", "False alerts that the budget allows for these employee-days.", _EACH),
    _counter("notables", "Near misses delivered.", more="alerts.md#notables"),
    _counter(
        "notables_dropped", "Near misses beyond a day's bound, told to nobody: by tenths of rarity above the threshold less 1.",
        {"rank": RANK},
    ),
    _counter("daily_blocks", "Blocks of daily records delivered.", more="daily-records.md"),
    _counter("doubts", "Transactions whose outcome had to be read back from the broker, by where they broke.", {"phase": PHASE}),
    _counter("producer_rebuilds", "Producers made anew, because what the last one said was not to be believed."),
    _counter("consumer_rebuilds", "Consumers thrown away because they stood still."),
    _counter("heartbeats", "Heartbeats delivered.", more="alerts.md#heartbeats"),
    _counter("snapshots", "Snapshots of a partition's state that are complete."),
    _counter(
        "takeovers",
        "Partitions that went live, by what their state came from: nothing (there was nothing to restore), input (all retained events), "
        "snapshot (and the events since), memory (this process still had it).", {"source": SOURCE},
    ),
    _counter("processing_failures", "Batches that made processing fail; the partition was restored and goes on with care."),
    _counter("rebalances", "Changes of the partitions that this process holds."),
    _counter(
        "reloads", "Other contexts and models: taken, or refused while the old one stays.", {"what": WHAT, "outcome": TAKEN},
    ),
    _counter("log_lines_suppressed", "Log lines left out because there were too many of their kind.", {"reason": LOGGED}),
    _histogram("batch_seconds", "Time to decode and process a micro-batch.", SECONDS),
    _histogram("stage_seconds", "Of it, the time of each stage.", SECONDS, {"stage": STAGE}),
    _histogram("transaction_seconds", "Time of a transaction, from its first record to its commit.", SECONDS),
    _histogram("snapshot_seconds", "Time of the loop that a snapshot took, over all transactions that it went with.", SECONDS),
    _histogram("takeover_seconds", "From the assignment of a partition until it was live.", LATENCY),
    _histogram(
        "event_to_alert_seconds", "From the event's own time, or from the broker's time of it, to the commit of its alert.", LATENCY,
        {"since": SINCE},
    ),
    _histogram("score", "Score of every event that was scored, 1 - 10^-rarity.", SCORE, _EACH, ""),
    _histogram("rarity", "Calibrated rarity of every event that was scored: 3 is one employee-day in 1,000.", RARITY, _EACH, ""),
    _gauge(
        "lag_records",
        "Records that are not processed yet, those of unfinished transactions of sources included; looked at every five seconds.",
        {"partition": PARTITION}, absent="of partitions that are not held",
    ),
    _gauge(
        "lag_seconds", "How long ago the broker took the record that was processed last, or nothing was left; 0 where nothing is left.",
        {"partition": PARTITION}, "seconds", "of partitions that are not held",
    ),
    _gauge("connected", "1 while this process is a stable member of its group and the last it asked of the broker succeeded."),
    _gauge("partitions", "Partitions held and not refused."),
    _gauge("restoring_partitions", "Of them, those whose state is not restored yet."),
    _gauge(
        "halted_partitions", "Of them, those that are not read on because too much of them was refused.",
        more="../how-to/when-it-alarms.md#a-partition-is-halted",
    ),
    _gauge(
        "refused_partitions", "Partitions assigned to this process that it must not process; the log says why.",
        more="../how-to/when-it-alarms.md#a-partition-is-refused",
    ),
    _gauge("heartbeat_timestamp_seconds", "When heartbeats were last delivered.", {}, _TIME, "before the first"),
    _gauge("last_commit_timestamp_seconds", "When a transaction was last delivered.", {}, _TIME, "before the first"),
    _gauge("snapshot_bytes", "Size of the last snapshot of a partition, compressed.", {}, "bytes"),
    _gauge(
        "oldest_snapshot_timestamp_seconds",
        "When the oldest of the held partitions' last snapshots was made; one behind which no event has come counts as made now.",
        {}, _TIME, "while there is none, or none is to be made",
    ),
    _gauge("keys", "Employees in memory, over all held partitions."),
    _gauge("max_keys", "How many there may be: detection.max_keys for each held partition."),
    _gauge("evicted_keys", "Employees forgotten to make room for others, by the tasks now held; if it rises, raise detection.max_keys."),
    _gauge("state_bytes", "Memory that the held partitions' state takes.", {}, "bytes"),
    _gauge("budget", "False alerts aimed at, for each 1,000 employee-days.", _EACH),
    _gauge("shadow", "1 if this process is a shadow: it scores, and tells nobody."),
    _gauge("model_info", "1 for the model in use.", {"version": VERSION, "sha256": SHA256}, absent="before it is loaded"),
    _gauge(
        "model_trained_until_timestamp_seconds", "The newest event that the model learned from.", {}, _TIME, "where the model does not say",
    ),
    _gauge("model_created_timestamp_seconds", "When the model was stored in the registry.", {}, _TIME, "where the registry does not say"),
    _gauge(
        "drift", "Population stability index of the last week against training.", {"signal": SIGNAL},
        absent="as long as too little is known", more="#drift",
    ),
    _gauge("drift_employee_days", "Employee-days that detector_drift is made of: at most the last seven days of the held partitions."),
    _gauge("retrain_wanted", "1 while a signal has drifted so far that a new model should be trained; the log says which."),
    _gauge("context_info", "1 for the context in use.", {"hash": HASH}, absent="before it is loaded"),
    _gauge("context_loaded_timestamp_seconds", "When the context in use was read.", {}, _TIME, "before it is loaded"),
    _gauge("context_modified_timestamp_seconds", "When the newest file of its folder was changed.", {}, _TIME, "without context.folder"),
    _gauge(
        "oldest_unreviewed_alert_timestamp_seconds", "When the oldest alert was delivered on whose incident there is no verdict since.",
        {}, _TIME, "if there is none, or nobody writes verdicts",
    ),
    _gauge(
        "canary_seen_timestamp_seconds", "Time of the last event on a subject of the class `canary` of protected.csv.", {}, _TIME,
        "as long as this process has seen none",
    ),
    _gauge("build_info", "1.", {"version": DETECTOR, "python": PYTHON}),
)  # fmt: skip

METRICS: Mapping[str, Metric] = {metric.name: metric for metric in TABLE}


def most_series(partitions: int) -> int:
    """How many series a process can expose that holds so many partitions."""
    return sum(metric.series(partitions) for metric in TABLE)
