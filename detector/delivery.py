"""What one transaction is to hold."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from detector.core.daily_blocks import TOGETHER, Place
from detector.core.dead_letters import dead_letter_record
from detector.core.events import EventBatch
from detector.core.pipeline import Outcome
from detector.restore import Task


@dataclass(frozen=True)
class Plan:
    """What the operator decides about this service. The first five are topics."""

    events: str
    alerts: str
    notables: str
    daily: str
    dead_letters: str
    starts: int | None
    """Ms; events before it raise no alert. None: the time at which a partition is taken for the first time ever."""
    batch_limit: int
    """Most events of a transaction."""


@dataclass(slots=True)
class Delivery:
    """What one transaction is to hold: outputs of a batch, daily records that wait, and for each of the partitions where it ends."""

    messages: list[tuple[str, bytes | None, bytes]] = field(default_factory=list)
    offsets: dict[int, tuple[int, str]] = field(default_factory=dict)
    tasks: dict[int, Task] = field(default_factory=dict)
    sent: dict[int, Place] = field(default_factory=dict)
    """How far daily records of a partition are sent then."""
    events: int = 0
    late: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    raised: list[tuple[str, int]] = field(default_factory=list)
    """For each alert: its severity, and the broker's time of the event that raised it."""
    notables: int = 0
    dropped: Counter[int] = field(default_factory=Counter)
    """Near misses that are told to nobody, by rank."""
    blocks: int = 0
    """Of daily records."""

    def add(self, batch: EventBatch, outcome: Outcome, plan: Plan) -> None:
        """A piece of a batch. Its events are not kept, so that the next piece finds their memory warm."""
        self.messages += [(plan.alerts, (alert.actor or "").encode(), value) for alert, value in outcome.alerts]
        self.messages += [(plan.notables, (near.actor or "").encode(), value) for near, value in outcome.notables]
        self.messages += [(plan.dead_letters, *dead_letter_record(letter)) for letter in outcome.dead]
        self.events += len(batch)
        self.late += outcome.late
        self.refused.update(letter.reason for letter in outcome.dead)
        self.notables += len(outcome.notables)
        self.dropped += outcome.notables_dropped
        if outcome.alerts:
            arrived = dict(zip(batch.offset.tolist(), batch.broker_time.tolist(), strict=True))
            self.raised += [(alert.severity, arrived[max(e.offset for e in alert.evidence)]) for alert, _ in outcome.alerts]

    def end(self, task: Task, plan: Plan) -> None:
        """Outputs of its partition are here up to where the task stands now, and as many of its daily records as there is room for."""
        blocks, sent = task.backlog.next(TOGETHER - self.blocks)
        self.messages += [(plan.daily, str(task.partition).encode(), block) for block in blocks]
        self.blocks += len(blocks)
        self.tasks[task.partition], self.sent[task.partition] = task, sent
        self.offsets[task.partition] = task.to_commit(sent)
