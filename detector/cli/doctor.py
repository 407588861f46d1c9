"""`detector doctor`: everything that can be wrong around the service, each with what to do."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from detector.cli.output import as_json, say
from detector.cli.settings import Commands, command, context_of, kafka_settings, read, setting, topics_of, trust_of
from detector.errors import BrokerError, DetectorError

if TYPE_CHECKING:
    from detector.config import Config

CLOCK_TOLERANCE = 5.0
"""Seconds that a broker's clock may be ahead of ours without a word."""

Check = Callable[["Config"], Iterator[str]]
"""Yields what a person should know but need not mend; raises DetectorError for what must be mended."""


def add(commands: Commands) -> None:
    made = command(
        commands, "doctor", "what is wrong around the service, and what to do about it", "  detector doctor\n  detector doctor --json"
    )
    setting(made, "--bootstrap-servers", "kafka.bootstrap_servers", "HOST:PORT,...", "the brokers")
    made.add_argument("--json", action="store_true", help="for programs")


def run(args: argparse.Namespace) -> int:
    """0 if all is well, else the exit code of the first thing that is not."""
    config = read(args).config
    results: list[dict[str, Any]] = []
    codes = []
    for name, check, needs in CHECKS:
        if any(result["check"] in needs and result["state"] == "failed" for result in results):
            continue
        result: dict[str, Any] = {"check": name, "state": "ok", "notes": []}
        try:
            result["notes"] = list(check(config))
        except DetectorError as error:
            result |= {"state": "failed", "notes": str(error).splitlines()}
            codes.append(error.exit_code)
        results.append(result)
        if not args.json:
            say(f"{result['state']:<6}  {name}" + "".join(f"\n        {line}" for line in result["notes"]))
    if args.json:
        as_json(results)
    return codes[0] if codes else 0


def _context(config: Config) -> Iterator[str]:
    if config.context.folder:
        yield from context_of(config).missing()
    else:
        yield "context.folder is empty: nothing is known but what events say"


def _model(config: Config) -> Iterator[str]:
    from detector.core.views import EMPLOYEE
    from detector.registry import load_model

    model = load_model(Path(config.models.registry), config.models.use, EMPLOYEE.name, EMPLOYEE.names, trust_of(config))
    yield f"{config.models.use} is {model.version}"


def _reach(config: Config) -> Iterator[str]:
    from detector.kafka import topics

    topics.check(kafka_settings(config), [])
    yield f"{config.kafka.security_protocol} to {', '.join(config.kafka.bootstrap_servers)}"


def _topics(config: Config) -> Iterator[str]:
    from detector.kafka import topics

    problems = topics.check(kafka_settings(config), topics_of(config))
    if problems:
        raise BrokerError("\n".join(problems))
    yield from ()


def _rights(config: Config) -> Iterator[str]:
    from detector.kafka.inspection import missing_rights

    topics = config.topics
    outputs = (topics.alerts, topics.notables, topics.daily, topics.dead_letters)
    wanted = {topics.events: ("READ",), topics.state: ("READ", "WRITE"), **dict.fromkeys(outputs, ("WRITE",))}
    problems = missing_rights(kafka_settings(config), wanted)
    if problems:
        raise BrokerError("\n".join(problems))
    yield from ()


def _clock(config: Config) -> Iterator[str]:
    from detector.kafka.inspection import newest

    stamped = newest(kafka_settings(config), config.topics.events)
    if stamped is None:
        yield f"topic '{config.topics.events}' is empty: nothing to compare the clock with"
        return
    ahead = stamped / 1000 - time.time()
    if ahead > CLOCK_TOLERANCE:
        raise BrokerError(
            f"the newest record of '{config.topics.events}' is stamped {ahead:.0f} s in the future\n"
            "set the clocks of the brokers and of this machine (NTP); detection goes by events' time, lag and latency go by these clocks"
        )
    yield f"the newest record was stamped {max(-ahead, 0):.0f} s ago"


CHECKS: tuple[tuple[str, Check, tuple[str, ...]], ...] = (
    ("the context can be read", _context, ()),
    ("the model loads and scores as it did when it was trained", _model, ()),
    ("Kafka can be reached", _reach, ()),
    ("the topics are as they must be", _topics, ("Kafka can be reached",)),
    ("this principal has the rights it needs", _rights, ("Kafka can be reached", "the topics are as they must be")),
    ("the clocks agree", _clock, ("Kafka can be reached", "the topics are as they must be")),
)
"""Name, check, the checks without which it makes no sense."""
