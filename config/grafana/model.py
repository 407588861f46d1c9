"""What runs: models, their age, the context; and the challenger beside the champion."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from expressions import age, grown, live, of, rate, shadow
from grafana_foundation_sdk.models.dashboard import Dashboard
from operations import CHOICES
from panels import BLUE, GREEN, ORANGE, RED, Ask, assembled, bands, graph, listing, number

SAYS = "Which models run, how old they are, what they know of the company, and how a challenger in the shadow does beside the champion."
DAY = 86_400
Side = Callable[..., str]
SIDES: tuple[tuple[str, Side], ...] = (("champion", live), ("challenger", shadow))


def dashboard() -> Dashboard:
    rows = [
        ("What runs?", running()),
        ("What does it know of the company?", context()),
        ("The challenger beside the champion", challenger()),
        ("Is a new one wanted?", wanted()),
    ]
    return assembled("detector-model", "Detector: model", SAYS, "now-7d", CHOICES, rows)


def running() -> list[Any]:
    return [
        number(
            "Champions at once",
            "short",
            "Different models that serve just now, shadows left out. Two are normal for the minutes of a promotion; after it, a process "
            "did not take the new one. Alarm: DetectorModelsDiffer.",
            Ask(f"count(count by (sha256) {live(of('detector_model_info'))})"),
            limits=[(2, ORANGE)],
            width=6,
        ),
        number(
            "Newest event it learned from",
            "s",
            "How long ago that happened, for the oldest champion. A nightly refresh keeps it under two days. Alarm: DetectorModelTooOld.",
            Ask(f"max{live(age('detector_model_trained_until_timestamp_seconds'))}"),
            limits=[(2 * DAY, ORANGE), (14 * DAY, RED)],
            width=6,
        ),
        number(
            "Age of the model",
            "s",
            "Since it was made, for the oldest champion.",
            Ask(f"max{live(age('detector_model_created_timestamp_seconds'))}"),
            width=6,
        ),
        number(
            "Shadows",
            "short",
            "Processes that score with a challenger: counted, and told to nobody.",
            Ask(f"sum({of('detector_shadow')})"),
            width=6,
        ),
        listing(
            "Models in use",
            "By process: the version, and the hash of what was learned. The same hash is the same model.",
            Ask(f"max by (instance, version, sha256) ({of('detector_model_info')})"),
            shown=("instance", "version", "sha256"),
        ),
        bands(
            "Model by process",
            "A row for each process and each version that it ran: where one row ends and the next begins, the model changed.",
            Ask(f"max by (instance, version) ({of('detector_model_info')})", "{{instance}}: {{version}}"),
            words={1: ("in use", BLUE)},
            width=12,
            height=8,
        ),
    ]


def context() -> list[Any]:
    return [
        number(
            "Age of the context",
            "s",
            "Since its newest file was written, for the process with the oldest. Who joined, left or moved since then is judged as if they "
            "had not. Alarm: DetectorContextStale.",
            Ask(f"max({age('detector_context_modified_timestamp_seconds')})"),
            limits=[(2 * DAY, ORANGE), (7 * DAY, RED)],
            width=6,
            height=8,
        ),
        number(
            "Contexts at once",
            "short",
            "Different ones that processes use just now. Two for long: a process that was not told to read it again, or refused to.",
            Ask(f"count(count by (hash) ({of('detector_context_info')}))"),
            limits=[(2, ORANGE)],
            width=6,
            height=8,
        ),
        listing(
            "Versions of the program",
            "Of the detector, and the Python it runs on, by process.",
            Ask(f"max by (instance, version, python) ({of('detector_build_info')})"),
            shown=("instance", "version", "python"),
        ),
        listing(
            "Contexts in use",
            "By process: the hash of everything in the folder.",
            Ask(f"max by (instance, hash) ({of('detector_context_info')})"),
            shown=("instance", "hash"),
        ),
        graph(
            "Context and model read again, in the hour before",
            "short",
            "What was found anew, and whether it was taken. What is refused is invalid: the old one stays, and the log says why. Alarm: "
            "DetectorReloadRefused.",
            Ask(f"sum by (what, outcome) ({grown('detector_reloads_total', over='1h')})", "{{what}} {{outcome}}"),
        ),
    ]


def sides(told: Callable[[Side], str]) -> list[Ask]:
    """The same of champion and challenger."""
    return [Ask(told(side), name) for name, side in SIDES]


def daily(name: str, side: Side) -> str:
    return f"sum{side(grown(name, over='1d'), '1d')}"


def challenger() -> list[Any]:
    scored = rate("detector_stage_seconds_sum", 'stage="score"')
    return [
        graph(
            "Alerts, in the day before",
            "short",
            "The challenger's are counted, and told to nobody. Many more than the champion's is the commonest reason not to promote it.",
            *sides(lambda side: daily("detector_alerts_total", side)),
        ),
        graph(
            "Alerts for 1,000 employee-days, in the day before",
            "short",
            "Both are to be held against the budget, which is dashed.",
            *sides(lambda side: f"1000 * {daily('detector_alerts_total', side)} / {daily('detector_employee_days_total', side)}"),
            Ask(f"max{live(of('detector_budget'))}", "budget", dashed=True),
        ),
        graph(
            "Near misses, in the day before",
            "short",
            "Of both, those beyond the day's bound included.",
            *sides(lambda side: f"{daily('detector_notables_total', side)} + {daily('detector_notables_dropped_total', side)}"),
        ),
        graph(
            "Rarity that one event in 1,000 reaches",
            "none",
            "Of both. Both are calibrated, so they should lie close together.",
            *sides(lambda side: f"histogram_quantile(0.999, sum by (le) {side(rate('detector_rarity_bucket'))})"),
        ),
        graph(
            "Lag, the partition that is furthest behind",
            "s",
            "A challenger that is behind is not to be compared yet.",
            *sides(lambda side: f"max{side(of('detector_lag_seconds'))}"),
        ),
        graph(
            "Seconds to score 1,000 events",
            "s",
            "What a model costs.",
            *sides(lambda side: f"1000 * sum{side(scored)} / sum{side(rate('detector_events_total'))}"),
        ),
    ]


def wanted() -> list[Any]:
    return [
        graph(
            "The signal that has moved most",
            "none",
            "Population stability index of the last seven days against what each model was trained on. A challenger trained on newer days "
            "should be lower. Alarm: DetectorRetrainWanted.",
            *sides(lambda side: f"max{side(of('detector_drift'))}"),
            limits=[(0.1, ORANGE), (0.25, RED)],
        ),
        bands(
            "A new model is wanted",
            "A signal of the process's model is over 0.25.",
            Ask(f"max by (instance) ({of('detector_retrain_wanted')})", "{{instance}}"),
            words={0: ("no", GREEN), 1: ("wanted", ORANGE)},
            width=12,
            height=8,
        ),
    ]
