"""What `detector doctor` looks at, in which order, and what of it makes sense when something else is wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, NamedTuple

from detector.cli import kafka_checks, local_checks
from detector.cli.local_checks import Caution
from detector.errors import DetectorError

if TYPE_CHECKING:
    from detector.config import Config


class Check(NamedTuple):
    id: str
    """Stable: programs may rely on it."""
    title: str
    look: Callable[[Config], Iterator[str]]
    """See local_checks."""
    needs: tuple[str, ...] = ()
    """Ids of those without which it makes no sense."""


CHECKS = (
    Check("client", "kafka-python is a version that this was proven with", local_checks.client),
    Check("context", "the context can be read", local_checks.context),
    Check("context-age", "the context is not stale", local_checks.fresh, ("context",)),
    Check("model", "the model loads, fits this version and scores as it did when it was trained", local_checks.model),
    Check("exposure", "the metrics are shown to nobody else", local_checks.exposed),
    Check("listeners", "the brokers' listeners speak what is configured", kafka_checks.listeners),
    Check("reach", "Kafka can be reached", kafka_checks.reach, ("listeners",)),
    Check("brokers", "every broker can be reached where it says it is", kafka_checks.brokers, ("reach",)),
    Check("version", "the brokers can do what is needed", kafka_checks.version, ("reach",)),
    Check("rights", "this principal has the rights it needs", kafka_checks.rights, ("brokers",)),
    Check("topics", "the topics are there", kafka_checks.topics, ("rights",)),
    Check("settings", "the topics are set as they must be", kafka_checks.settings, ("topics",)),
    Check("retention", "events are kept long enough to take over", kafka_checks.retention, ("topics",)),
    Check("clock", "the clocks agree", kafka_checks.clock, ("topics",)),
    Check("transactions", "no transaction hangs", kafka_checks.transactions, ("topics",)),
    Check("state", "the state has room, and what comes after it is there", kafka_checks.state, ("topics",)),
)


def examine(config: Config, checks: tuple[Check, ...] = CHECKS) -> Iterator[tuple[Check, str, list[str], int]]:
    """Each check with its state (ok, warning, failed, skipped), what is to be said, and the exit code it stands for."""
    failed: set[str] = set()
    for check in checks:
        if lacking := [other.title for other in checks if other.id in check.needs and other.id in failed]:
            failed.add(check.id)
            yield check, "skipped", [f"(this needs that {' and '.join(lacking)})"], 0
            continue
        try:
            notes = list(check.look(config))
        except DetectorError as error:
            failed.add(check.id)
            yield check, "failed", str(error).splitlines(), error.exit_code
        else:
            yield check, "warning" if any(isinstance(note, Caution) for note in notes) else "ok", notes, 0
