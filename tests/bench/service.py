"""The whole service in one process, from poll to committed transaction, on events of a synthetic company."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from detector.core import hypotheses
from detector.core.events import Records
from detector.core.formats.native import Limits, decode
from detector.core.model import Model
from detector.core.pipeline import Pipeline, Policy
from detector.core.views import EMPLOYEE
from detector.files import read_context
from detector.kafka.consumer import Consumer
from detector.kafka.transactions import Doubt, Transactions
from detector.metrics import Metrics
from detector.sandbox.company import Company
from detector.service import Plan, Service
from detector.training import train

LIMITS = Limits()
_numbers = itertools.count()


class Stopwatch(Metrics):
    """Counts as the service does, and takes the CPU time between its first and its last batch."""

    def __init__(self, events: int) -> None:
        super().__init__()
        self.service: Service | None = None
        self._until, self._first, self._counted = events, 0.0, -1
        self.seconds = 0.0

    def batch(self, seconds: float, events: int, late: int = 0, dead_letters: Mapping[str, int] = {}) -> None:
        super().batch(seconds, events, late, dead_letters)
        if self._counted < 0:
            self._first, self._counted = time.process_time(), 0
            self._until -= events
            return
        self._counted += events
        if self._counted >= self._until and self.service is not None:
            self.seconds, self.service.stopping = time.process_time() - self._first, True

    @property
    def each(self) -> float:
        """Seconds an event."""
        return self.seconds / self._counted


def learned(company: Company, folder: Path, days: int) -> tuple[Model, Any]:
    """A model of the company, and its context."""
    company.write_context(folder)
    context = read_context(folder)
    batches = [decode(Records.of(day.values), LIMITS) for day in company.days(company.end - days * 86_400_000, company.end)]
    return train(lambda: batches, EMPLOYEE, hypotheses.names(), context, None, 0, 1_000_000)[0], context


def whole_service(settings: dict[str, Any], model: Model, context: Any, topic: str, events: int, batch: int) -> Callable[[], float]:
    """Drains the topic in a group of its own; CPU seconds an event."""

    def drain() -> float:
        name, watch = f"bench-{next(_numbers)}", Stopwatch(events)
        service = Service(
            lambda: Consumer(topic, name, settings), Transactions(name, settings), Doubt, lambda records: decode(records, LIMITS),
            lambda starts: Pipeline(EMPLOYEE, model, context, Policy(1.0, starts), 100_000), watch,
            Plan(topic, "alerts", "dead-letters", 0, batch),
        )  # fmt: skip
        watch.service = service
        service.run()
        return watch.each

    return drain
