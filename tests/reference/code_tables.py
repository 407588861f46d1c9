"""Tables of reference pages, made from the code. A page holds one between `<!-- NAME -->` and `<!-- end -->`, settings under a heading."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from typing import Any, get_args, get_type_hints

import numpy as np

from detector.config.settings import Config
from detector.core import hypotheses
from detector.core.signals import accumulators
from detector.core.state import Column, KeyedState
from detector.core.views import EMPLOYEE
from detector.kafka.topics import AT_LEAST, DESIGN
from detector.metrics import page as page_of_metrics
from detector.metrics.table import Kind


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(list(head)), *(f"| {' | '.join(row)} |" for row in rows)]
    return "\n".join(lines) + "\n"


def allowed(meta: Any) -> str:
    low = f"over {meta.gt}" if meta.gt is not None else f"from {meta.ge}" if meta.ge is not None else ""
    return f"{low} to {meta.le}".strip() if meta.le is not None else low or ("not empty" if meta.min_length else "")


def settings(section: str) -> str:
    kind = get_type_hints(Config)[section]
    rows = []
    for key, annotation in get_type_hints(kind, include_extras=True).items():
        meta = get_args(annotation)[1]
        default = json.dumps(getattr(kind(), key), ensure_ascii=False)
        rows.append((f"`{section}.{key}`", f"`{default}`", allowed(meta), meta.description))
    return table(("key", "default", "allowed", "meaning"), rows)


PARTIES = {
    # role -> (setting, who writes, who reads, key, value)
    "access-events": ("events", "the sources", "the service; training", "the actor", "[access event](events.md)"),
    "alerts": (
        "alerts",
        "the service",
        "investigators, verifiers",
        "the actor",
        "[alert](alerts.md), or [heartbeat](alerts.md#heartbeats)",
    ),
    "notables": ("notables", "the service", "investigators", "the actor", "[near miss](alerts.md#notables)"),
    "daily": ("daily", "the service", "who refreshes the model", "number of the input partition", "[daily records](daily-records.md)"),
    "state-employee": ("state", "the service", "the service", "`P`, `M/0`, `M/1`, `S/0/N`, `S/1/N`", "[state](#state)"),
    "dead-letters": ("dead_letters", "the service", "who mends sources", "`TOPIC-PARTITION`", "[dead letter](dead-letters.md)"),
    "verdicts": (
        "verdicts",
        "investigators, their tools",
        "who trains; the service, for what waits for one",
        "the alert's `alert_id`",
        "[verdict](verdicts.md)",
    ),
}


def topics() -> str:
    rows = []
    for role in DESIGN:
        setting, writes, reads, key, value = PARTIES[role]
        rows.append((f"`{role}`", f"`topics.{setting}`", value, key, writes, reads))
    return table(("topic", "its name is", "holds", "key of a record", "who writes", "who reads"), rows)


def topic_settings() -> str:
    rows = []
    for role, wanted in DESIGN.items():
        said = [f"`{name}={value}`" + (" or more" if name in AT_LEAST else "") + _as_time(name, value) for name, value in wanted.items()]
        rows.append((f"`{role}`", ", ".join(said)))
    return table(("topic", "must be set to"), rows)


def _as_time(name: str, value: str) -> str:
    return f" ({int(value) // 86_400_000} days)" if name == "retention.ms" else ""


def levels() -> str:
    """Evidence that is summed up."""
    spelled = {"1.5h": "1.5 h", "16h": "16 h", "6d": "6 d"}
    rows = [(e.name, ", ".join(spelled[h] for h in e.half_lives.split()), f"{e.scale:,.0f}") for e in accumulators.EVIDENCE]
    return table(("evidence", "half-lives", "scale"), rows)


def columns() -> str:
    """Of the feature matrix and of the state, family by family."""
    rows = []
    for family in EMPLOYEE.signals:
        told = ", ".join(f"`{name}`" for name in family.GIVES)
        if family is accumulators:
            told = f"`EVIDENCE.HALFLIFE.level`, `.own`, `.team` of each of the {len(accumulators.NAMES)} above; `own_days`"
        rows.append((family.__name__.rsplit(".", 1)[1], told, f"{_bytes(family.COLUMNS):,}"))
    signals = sum(_bytes(family.COLUMNS) for family in EMPLOYEE.signals)
    rows.append(
        ("all besides", "what tells repetitions, the hour's combination, the open incident, the key", f"{bytes_an_employee() - signals:,}")
    )
    rows.append(("**together**", "", f"**{bytes_an_employee():,}**"))
    return table(("family", "columns of the feature matrix", "bytes of state an employee"), rows)


def bytes_an_employee() -> int:
    return _bytes(KeyedState(EMPLOYEE.columns(len(hypotheses.names())), 1024).schema)


def _bytes(columns: Iterable[Column]) -> int:
    return sum(int(np.prod(column.width, dtype=int)) * np.dtype(column.dtype).itemsize for column in columns)


def joins() -> str:
    """Which columns each hypothesis reads, and how they become one value."""
    how = {
        "max": "the rarest",
        "min": "the least rare",
        "sum": "what each is rarer than 0.5, added up",
        "value": "as it is",
        "forest": "isolation forest",
    }
    rows = []
    for name in hypotheses.names():
        found = hypotheses.find(name)
        told = ", ".join(f"`{signal}`" for signal in found.signals) if found.join != "forest" else f"{len(found.signals)} columns"
        rows.append((f"`{name}`", told, how[found.join], f"{found.weight:g}"))
    return table(("hypothesis", "of", "joined", "weight"), rows)


MADE: dict[str, Callable[[], str]] = {
    "topics": topics,
    "topic settings": topic_settings,
    "levels": levels,
    "columns": columns,
    "joins": joins,
}
"""Name of a region -> its table."""

_REGION = re.compile(r"(<!-- ([\w ]+) -->\n\n?)(.*?)(\n?<!-- end -->)", re.S)
_METRICS = re.compile(r"^(## (Counters|Histograms|Gauges)\n(?:(?!## ).*\n)*?)(\| name .*\n(?:\|.*\n)+)", re.M)
KINDS: dict[str, Kind] = {"Counters": "counter", "Histograms": "histogram", "Gauges": "gauge"}
_SETTINGS = re.compile(r"^(## (\w+)\n(?:(?!## ).*\n)*?)(\| key .*\n(?:\|.*\n)+)", re.M)


def rewritten(page: str) -> str | None:
    """The page with each of its regions as the code has it now; None where it has none."""
    names = {name for _, name, _, _ in _REGION.findall(page)}
    if not names & MADE.keys():
        return None
    return _REGION.sub(lambda found: f"<!-- {found[2]} -->\n\n{MADE[found[2]]()}\n<!-- end -->" if found[2] in MADE else found[0], page)


def rewritten_metrics(page: str) -> str:
    return _METRICS.sub(lambda found: found[1] + "\n".join(page_of_metrics.lines(KINDS[found[2]])) + "\n", page)


def rewritten_settings(page: str) -> str:
    return _SETTINGS.sub(lambda found: found[1] + settings(found[2]), page)
