"""Is it alive, is it behind, is anything refused: in this order, from the top."""

from __future__ import annotations

from typing import Any

from expressions import age, grown, live, of, quantile, rate
from grafana_foundation_sdk.models.dashboard import Dashboard
from panels import GREEN, ORANGE, RED, Ask, assembled, bands, bars, graph, number, variable

SAYS = "Is the detector alive, is it behind, is anything refused? Read it from the top. Every alarm has a page of what to do."
PROCESS = {0: ("no answer", RED), 1: ("not connected to Kafka", ORANGE), 2: ("connected", GREEN)}
PARTITION = 'partition=~"$partition"'
CHOICES = (
    variable("job", "Job", "Prometheus' job: usually one for each installation.", "label_values(detector_build_info, job)"),
    variable("instance", "Process", "Processes of the group, and shadows.", 'label_values(detector_build_info{job=~"$job"}, instance)'),
)
PARTITIONS = variable(
    "partition",
    "Partition",
    "Partitions of the topic of events.",
    'label_values(detector_lag_records{job=~"$job",instance=~"$instance"}, partition)',
    ".*",
)


def dashboard() -> Dashboard:
    rows = [
        ("Is it alive?", alive()),
        ("Is it behind?", behind()),
        ("Is anything refused?", refused()),
        ("Is the broker well?", broker()),
        ("State and takeovers", state()),
    ]
    return assembled("detector-operations", "Detector: operations", SAYS, "now-6h", (*CHOICES, PARTITIONS), rows)


def alive() -> list[Any]:
    return [
        number("Processes that answer", "short", "Processes whose metrics Prometheus could read just now.", Ask(f"sum({of('up')})")),
        number(
            "Processes that do not",
            "short",
            "Prometheus knows of them, and cannot read their metrics: dead, stopped, or cut off. Alarm: DetectorDown.",
            Ask(f"sum(1 - {of('up')})"),
            limits=[(1, RED)],
        ),
        number(
            "Connected to Kafka",
            "none",
            "All processes are stable members of their group, and the broker answered the last call. Alarm: DetectorBrokerTrouble.",
            Ask(f"min({of('detector_connected')})"),
            words={0: ("no", RED), 1: ("yes", GREEN)},
        ),
        number(
            "Partitions held",
            "short",
            "By all processes together, shadows left out. It should be all that the topic of events has: the rest is read by nobody. "
            "Alarm: DetectorPartitionsUnread.",
            Ask(f"sum{live(of('detector_partitions'))}"),
        ),
        number(
            "Refused or halted",
            "short",
            "Partitions that nobody scores. Alarms: DetectorPartitionRefused, DetectorPartitionHalted.",
            Ask(f"sum({of('detector_refused_partitions')}) + sum({of('detector_halted_partitions')})"),
            limits=[(1, RED)],
        ),
        number(
            "Last heartbeat",
            "s",
            "How long ago the process that is quiet the longest delivered one to the topic of alerts: one comes every "
            "alerts.heartbeat (60 s). Alarm: DetectorNoHeartbeat.",
            Ask(f"max({live(age('detector_heartbeat_timestamp_seconds'))})"),
            limits=[(120, ORANGE), (300, RED)],
        ),
        bands(
            "Process by process",
            "Whether each process answers Prometheus, and whether it is connected to Kafka.",
            Ask(f"{of('up')} + on (job, instance) ({of('detector_connected')} or on (job, instance) 0 * {of('up')})", "{{instance}}"),
            words=PROCESS,
            width=12,
        ),
        bands(
            "Alarms that fire",
            "Of the rules that come with the detector; empty where none fires, or where Prometheus was not given the rules.",
            Ask('max by (alertname) (ALERTS{alertname=~"Detector.+",alertstate="firing"})', "{{alertname}}"),
            words={1: ("fires", RED)},
            width=12,
        ),
    ]


def behind() -> list[Any]:
    return [
        graph(
            "Lag, by partition",
            "s",
            "How long ago the broker took the oldest record that is not processed yet. Over service.ready_lag (60 s) the process calls "
            "itself not ready. Alarm: DetectorBehind.",
            Ask(f"max by (partition) {live(of('detector_lag_seconds', PARTITION))}", "{{partition}}"),
            limits=[(60, RED)],
        ),
        graph(
            "Records that wait, by partition",
            "short",
            "Records that are not processed yet, those of unfinished transactions of the sources included.",
            Ask(f"max by (partition) {live(of('detector_lag_records', PARTITION))}", "{{partition}}"),
            stacked=True,
        ),
        graph(
            "Events, by process",
            "eps",
            "Access events taken in and committed, by the second. Silence in working hours is a source that has stopped. Alarm: "
            "DetectorNoEvents.",
            Ask(f"sum by (instance) ({rate('detector_events_total')})", "{{instance}}"),
            Ask(f"sum({rate('detector_late_events_total')})", "late ones"),
            stacked=True,
        ),
        graph(
            "From event to alert, in the hour before",
            "s",
            "From the broker's time of an event to the commit of its alert: how long an investigator waits for us. The last line is since "
            "the event happened: how long the source took is in it.",
            Ask(quantile(0.5, "detector_event_to_alert_seconds", 'since="broker"', over="1h"), "half of them"),
            Ask(quantile(0.99, "detector_event_to_alert_seconds", 'since="broker"', over="1h"), "99 of 100"),
            Ask(quantile(0.5, "detector_event_to_alert_seconds", 'since="event"', over="1h"), "since the event, half of them"),
            log=True,
        ),
        graph(
            "Where the loop's time goes",
            "percentunit",
            "Share of a process's time by what it does, the mean of all; each process has one thread that does it all. Near 100 % it needs "
            "company: more processes, up to one for each partition.",
            Ask(f"avg by (stage) ({rate('detector_stage_seconds_sum')})", "{{stage}}"),
            Ask(f"avg({rate('detector_transaction_seconds_sum')})", "transaction"),
            Ask(f"avg({rate('detector_snapshot_seconds_sum')})", "snapshot"),
            limits=[(0.9, RED)],
            stacked=True,
        ),
        graph(
            "Seconds of a micro-batch",
            "s",
            "To decode, observe and score what one poll gave. Batches are small when there is little to do, and large when it is behind.",
            Ask(quantile(0.5, "detector_batch_seconds"), "half of them"),
            Ask(quantile(0.99, "detector_batch_seconds"), "99 of 100"),
            log=True,
        ),
    ]


def refused() -> list[Any]:
    return [
        graph(
            "Records refused, by reason",
            "cps",
            "Dead letters by the second. What is refused is not scored: somebody must mend the source. `processing-error` is a bug of "
            "ours. Alarm: DetectorRefusesRecords.",
            Ask(f"sum by (reason) ({rate('detector_dead_letters_total')}) > 0", "{{reason}}"),
            stacked=True,
        ),
        graph(
            "Share refused",
            "percentunit",
            "Dead letters among all records. At input.dead_letter_share (50 % of about 10,000) a partition is halted.",
            Ask(
                f"sum({rate('detector_dead_letters_total')}) / (sum({rate('detector_dead_letters_total')}) + "
                f"sum({rate('detector_events_total')}))",
                "refused",
            ),
            limits=[(0.01, ORANGE), (0.5, RED)],
        ),
        graph(
            "Partitions that are not live",
            "short",
            "Restoring is part of every takeover and passes. Refused and halted do not pass: nobody scores these partitions. "
            "Alarms: DetectorTakeoverSlow, DetectorPartitionHalted, DetectorPartitionRefused.",
            Ask(f"sum({of('detector_restoring_partitions')})", "restoring"),
            Ask(f"sum({of('detector_halted_partitions')})", "halted"),
            Ask(f"sum({of('detector_refused_partitions')})", "refused"),
            stacked=True,
        ),
        graph(
            "Log lines left out, by reason",
            "cps",
            "Lines that said the same again too often. The log says how many they were.",
            Ask(f"sum by (reason) ({rate('detector_log_lines_suppressed_total')}) > 0", "{{reason}}"),
            stacked=True,
        ),
    ]


def broker() -> list[Any]:
    return [
        graph(
            "Transactions",
            "cps",
            "Committed by the second, by process. Idle processes commit heartbeats alone.",
            Ask(f"sum by (instance) ({rate('detector_transaction_seconds_count')})", "{{instance}}"),
            width=8,
        ),
        graph(
            "Seconds of a transaction",
            "s",
            "From its first record to its commit. At group.transaction_timeout (15 s) the broker ends it.",
            Ask(quantile(0.5, "detector_transaction_seconds"), "half of them"),
            Ask(quantile(0.99, "detector_transaction_seconds"), "99 of 100"),
            limits=[(15, RED)],
            log=True,
            width=8,
        ),
        graph(
            "Trouble, in the five minutes before",
            "short",
            "Transactions whose outcome had to be read back, by where they broke; producers and consumers made anew; batches that failed. "
            "Nothing is lost by any of it. All the time, it is a broker or a network that is unwell. Alarms: "
            "DetectorBrokerTrouble, DetectorProcessingFails.",
            Ask(f"sum by (phase) ({grown('detector_doubts_total', over='5m')}) > 0", "in doubt: {{phase}}"),
            Ask(f"sum({grown('detector_producer_rebuilds_total', over='5m')})", "producers made anew"),
            Ask(f"sum({grown('detector_consumer_rebuilds_total', over='5m')})", "consumers made anew"),
            Ask(f"sum({grown('detector_processing_failures_total', over='5m')})", "batches that failed"),
            width=8,
        ),
    ]


def state() -> list[Any]:
    return [
        bars(
            "Room for employees",
            "percentunit",
            "Employees in memory, of those that detection.max_keys allows. Beyond it, those not seen for longest are forgotten, and begin "
            "anew. Alarm: DetectorStateFull.",
            Ask(f"sum by (instance) ({of('detector_keys')} / on (job, instance) {of('detector_max_keys')})", "{{instance}}"),
            limits=[(0.8, ORANGE), (0.95, RED)],
            width=8,
        ),
        graph(
            "State in memory",
            "bytes",
            "What a process keeps of its employees.",
            Ask(f"sum by (instance) ({of('detector_state_bytes')})", "{{instance}}"),
            width=8,
        ),
        graph(
            "Employees in memory, and forgotten",
            "short",
            "Forgotten to make room for others, by the partitions held now. If that rises, raise detection.max_keys.",
            Ask(f"sum{live(of('detector_keys'))}", "in memory"),
            Ask(f"sum{live(of('detector_evicted_keys'))}", "forgotten"),
            width=8,
        ),
        graph(
            "Age of the oldest snapshot",
            "s",
            "A takeover replays what came after it: an old one makes takeovers slow. Alarm: DetectorSnapshotTooOld.",
            Ask(f"max by (instance) ({age('detector_oldest_snapshot_timestamp_seconds')})", "{{instance}}"),
            limits=[(3600, RED)],
            width=8,
        ),
        graph(
            "Size of a snapshot",
            "bytes",
            "The last one of a partition, compressed, as it goes to the state topic.",
            Ask(f"max by (instance) ({of('detector_snapshot_bytes')})", "{{instance}}"),
            width=8,
        ),
        graph(
            "Takeovers, in the hour before",
            "short",
            "Partitions that went live, by what their state came from; and how often the group changed. `input` means that all retained "
            "events were read again.",
            Ask(f"sum by (source) ({grown('detector_takeovers_total', over='1h')}) > 0", "from {{source}}"),
            Ask(f"sum({grown('detector_rebalances_total', over='1h')})", "changes of the group"),
            width=8,
        ),
    ]
