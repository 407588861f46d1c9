"""What it finds, and whether it keeps its promise: alerts against the budget, how rare what it sees is, whether behaviour has moved."""

from __future__ import annotations

from typing import Any

from expressions import age, grown, live, of, rate
from grafana_foundation_sdk.models.dashboard import Dashboard
from operations import CHOICES
from panels import GREEN, ORANGE, RED, Ask, assembled, bands, bars, density, graph, number, variable

SAYS = "What the detector finds, and whether it keeps its promise. Shadows are left out: they tell nobody anything."
VIEW = 'view=~"$view"'
VIEWS = variable("view", "View", "What is judged: employees.", 'label_values(detector_budget{job=~"$job",instance=~"$instance"}, view)')
RARE = ("2.0", "3.0", "4.0")
DAY = 86_400


def dashboard() -> Dashboard:
    rows = [
        ("Does it keep its promise?", promise()),
        ("What does it find?", found()),
        ("How rare is what it sees?", rarity()),
        ("Has behaviour moved?", drift()),
    ]
    return assembled("detector-detection", "Detector: detection", SAYS, "now-7d", (*CHOICES, VIEWS), rows)


def told(name: str, over: str, *more: str) -> str:
    """How much a counter grew over a time, in processes that are no shadows."""
    return live(grown(name, *more, over=over), over)


def total(name: str, over: str) -> str:
    return f"sum{told(name, over, VIEW)}"


def promise() -> list[Any]:
    return [
        number(
            "Alerts",
            "short",
            "Delivered in the time shown, true ones and false ones.",
            Ask(f"round({total('detector_alerts_total', '$__range')})"),
        ),
        number(
            "Promised false alerts",
            "short",
            "What the budget allows for the employee-days of the time shown. Many more alerts than that are an incident, a change of how "
            "people work, or a model that does not fit. Alarm: DetectorAlertsBeyondBudget.",
            Ask(total("detector_promised_false_alerts_total", "$__range")),
        ),
        number(
            "Alerts for 1,000 employee-days",
            "short",
            "In the time shown, true ones and false ones; to be held against the budget.",
            Ask(f"1000 * {total('detector_alerts_total', '$__range')} / {total('detector_employee_days_total', '$__range')}"),
        ),
        number(
            "Budget",
            "short",
            "False alerts aimed at, for each 1,000 days of active employees: detection.budget.",
            Ask(f"max{live(of('detector_budget', VIEW))}"),
        ),
        number(
            "Oldest alert without a verdict",
            "s",
            "How long it has waited for somebody to look at it. Alarm: DetectorAlertUnreviewed.",
            Ask(f"max{live(age('detector_oldest_unreviewed_alert_timestamp_seconds'))}"),
            limits=[(DAY, ORANGE), (3 * DAY, RED)],
        ),
        number(
            "Canary last seen",
            "s",
            "How long ago somebody last opened one of the made-up people of class canary in protected.csv; `none` where nobody ever did. "
            "Where a check opens one every day, a long silence is a chain that is broken. Alarm: DetectorCanaryMissing.",
            Ask(f"min{live(age('detector_canary_seen_timestamp_seconds'))}"),
            limits=[(1.5 * DAY, ORANGE), (2 * DAY, RED)],
        ),
        graph(
            "Alerts against the promise, in the day before",
            "short",
            "Alerts of 24 hours, and the false ones promised for the employee-days that ended in them: an employee's day counts when it is "
            "over.",
            Ask(total("detector_alerts_total", "1d"), "alerts"),
            Ask(total("detector_promised_false_alerts_total", "1d"), "promised false alerts", dashed=True),
        ),
        graph(
            "Employee-days, in the day before",
            "short",
            "Days of employees who did anything, counted when they are over. The budget is for each 1,000 of them.",
            Ask(f"sum by (view) {told('detector_employee_days_total', '1d', VIEW)}", "{{view}}"),
        ),
    ]


def found() -> list[Any]:
    return [
        graph(
            "Alerts by severity, in the hour before",
            "short",
            "Delivered to the topic of alerts.",
            Ask(f"sum by (severity) {told('detector_alerts_total', '1h', VIEW)}", "{{severity}}"),
            stacked=True,
        ),
        graph(
            "Alerts by view, in the hour before",
            "short",
            "A view is what is judged: employees.",
            Ask(f"sum by (view) {told('detector_alerts_total', '1h', VIEW)}", "{{view}}"),
            stacked=True,
        ),
        graph(
            "Not told again, in the hour before",
            "short",
            "Events over the threshold that raised nothing, being part of an incident that an alert has told already.",
            Ask(f"sum by (view) {told('detector_suppressed_alerts_total', '1h', VIEW)}", "{{view}}"),
        ),
        graph(
            "Near misses, in the hour before",
            "short",
            "Told to the topic of notables; and those that were too many for the day, which are told to nobody.",
            Ask(f"sum{told('detector_notables_total', '1h')}", "told"),
            Ask(f"sum{told('detector_notables_dropped_total', '1h')}", "too many for the day"),
            stacked=True,
        ),
    ]


def rarity() -> list[Any]:
    return [
        density(
            "Rarity of events",
            "none",
            "Of each scored event: 3 is as unusual as one employee-day in 1,000. The darker, the more events. A "
            "shift of the whole is a change of how people work, or of what the sources send. Alarm: DetectorSilent, if nothing comes near.",
            Ask(f"sum by (le) {live(grown('detector_rarity_bucket', VIEW))}", "{{le}}"),
        ),
        density(
            "Score of events",
            "none",
            "1 less the share of employee-days at least as unusual: 0.999 is a rarity of 3. The darker, the more events.",
            Ask(f"sum by (le) {live(grown('detector_score_bucket', VIEW))}", "{{le}}"),
        ),
        graph(
            "Share of rare events",
            "percentunit",
            "Of all scored events. Rarity is of the employee's day so far, so one odd morning makes many rare events.",
            *(Ask(beyond(least), f"rarity over {least.removesuffix('.0')}") for least in RARE),
            log=True,
        ),
        graph(
            "Events scored, by view",
            "eps",
            "Events that were given a rarity, by the second.",
            Ask(f"sum by (view) {live(rate('detector_rarity_count', VIEW))}", "{{view}}"),
        ),
    ]


def beyond(least: str) -> str:
    """Share of events; what is less than one in a million is none, and an error of rounding."""
    every, at_most = rate("detector_rarity_count", VIEW), rate("detector_rarity_bucket", VIEW, f'le="{least}"')
    return f"1 - sum{live(at_most)} / sum{live(every)} > 1e-6"


def drift() -> list[Any]:
    return [
        bars(
            "Signals that have moved most",
            "none",
            "Population stability index of the last seven days against training. Below 0.1 nothing to speak of has happened; above 0.25 "
            "much has. Signals are left out while too few employee-days are known. Alarm: DetectorRetrainWanted.",
            Ask(f"sort_desc(topk(12, max by (signal) {live(of('detector_drift'))}))", "{{signal}}"),
            limits=[(0.1, ORANGE), (0.25, RED)],
            top=0.5,
        ),
        graph(
            "How the five that move most have moved",
            "none",
            "The same over time, for those that are highest now.",
            Ask(f"topk(5, max by (signal) {live(of('detector_drift'))})", "{{signal}}"),
            limits=[(0.25, RED)],
        ),
        graph(
            "Employee-days that drift is made of",
            "short",
            "At most those of the last seven days, by process. About 1,000 are needed before most signals are told; after a restart it "
            "begins anew.",
            Ask(f"max by (instance) {live(of('detector_drift_employee_days'))}", "{{instance}}"),
        ),
        bands(
            "A new model is wanted",
            "Behaviour has moved away from what the model knows: look at what changed, then train.",
            Ask(f"max by (instance) {live(of('detector_retrain_wanted'))}", "{{instance}}"),
            words={0: ("no", GREEN), 1: ("wanted", ORANGE)},
            width=12,
            height=8,
        ),
    ]
