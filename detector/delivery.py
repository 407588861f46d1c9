"""What one transaction is to hold."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from detector.core.dead_letters import dead_letter_record
from detector.core.events import EventBatch
from detector.core.pipeline import Outcome
from detector.restore import Task


@dataclass(frozen=True)
class Plan:
    """What the operator decides about this service. The first three are topics."""

    events: str
    alerts: str
    dead_letters: str
    starts: int | None
    """Ms; events before it raise no alert. None: the time at which a partition is taken for the first time ever."""
    batch_limit: int
    """Most events of a transaction."""


@dataclass(slots=True)
class Delivery:
    """What one transaction is to hold: outputs of a batch, and for each of its partitions where it began and where it ends."""

    messages: list[tuple[str, bytes | None, bytes]] = field(default_factory=list)
    offsets: dict[int, tuple[int, str]] = field(default_factory=dict)
    began: dict[int, int] = field(default_factory=dict)
    tasks: dict[int, Task] = field(default_factory=dict)
    events: int = 0
    late: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    raised: list[tuple[str, int]] = field(default_factory=list)
    """For each alert: its severity, and the broker's time of the event that raised it."""

    def add(self, batch: EventBatch, outcome: Outcome, plan: Plan) -> None:
        """A piece of a batch. Its events are not kept, so that the next piece finds their memory warm."""
        self.messages += [(plan.alerts, (alert.actor or "").encode(), value) for alert, value in outcome.alerts]
        self.messages += [(plan.dead_letters, *dead_letter_record(letter)) for letter in outcome.dead]
        self.events += len(batch)
        self.late += outcome.late
        self.refused.update(letter.reason for letter in outcome.dead)
        if outcome.alerts:
            arrived = dict(zip(batch.offset.tolist(), batch.broker_time.tolist(), strict=True))
            self.raised += [(alert.severity, arrived[max(e.offset for e in alert.evidence)]) for alert, _ in outcome.alerts]

    def end(self, task: Task, began: int) -> None:
        """Its partition is read up to where the task stands now."""
        self.began[task.partition], self.tasks[task.partition] = began, task
        self.offsets[task.partition] = (task.position, task.metadata())
