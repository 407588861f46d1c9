"""What one transaction is to hold."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from detector.core import heartbeats
from detector.core.daily_blocks import TOGETHER
from detector.core.dead_letters import dead_letter_record
from detector.core.events import EventBatch
from detector.core.pipeline import Outcome
from detector.marks import POSITION, Mark, Position, encode_mark, encode_position
from detector.metrics.spread import UNSCORED, Scored
from detector.tasks import Task


@dataclass(frozen=True)
class Plan:
    """What the operator decides about this service. The first six are topics."""

    events: str
    alerts: str
    notables: str
    daily: str
    dead_letters: str
    state: str
    batch_limit: int
    """Most events of a transaction."""
    heartbeat: float = 60.0
    """Seconds between two heartbeats of a task."""
    writer: str = ""
    """Who writes, for the position records; empty: none are written, because they would not be in one transaction with the rest."""


class Message(NamedTuple):
    topic: str
    key: bytes | None
    value: bytes
    partition: int | None = None
    """None: the key says which."""


@dataclass(slots=True)
class Delivery:
    """What one transaction is to hold: outputs of a batch, daily records that wait, and for each of the partitions where it ends."""

    messages: list[Message] = field(default_factory=list)
    ends: dict[int, tuple[int, Mark]] = field(default_factory=dict)
    """Where each partition is committed, and what with."""
    tasks: dict[int, Task] = field(default_factory=dict)
    positions: dict[int, int] = field(default_factory=dict)
    """Which message is a partition's position record."""
    manifest: int | None = None
    """Which message is a snapshot's manifest."""
    events: int = 0
    late: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    raised: list[tuple[str, int, int]] = field(default_factory=list)
    """For each alert: its severity, the time of the event that raised it, and the broker's time of that event."""
    notables: int = 0
    dropped: Counter[int] = field(default_factory=Counter)
    """Near misses that are told to nobody, by rank."""
    suppressed: int = 0
    """Events over the threshold whose incident was told of already."""
    employee_days: int = 0
    """Days of employees that are over, and on which they could have been alerted."""
    canary: int = -1
    """Ms: the latest event on a canary."""
    scored: Scored = UNSCORED
    stages: Counter[str] = field(default_factory=Counter)
    """Seconds of each stage of processing."""
    blocks: int = 0
    """Of daily records."""
    beats: int = 0

    def add(self, batch: EventBatch, outcome: Outcome, plan: Plan) -> None:
        """A piece of a batch. Its events are not kept, so that the next piece finds their memory warm."""
        self.messages += [Message(plan.alerts, (alert.actor or "").encode(), value) for alert, value in outcome.alerts]
        self.messages += [Message(plan.notables, (near.actor or "").encode(), value) for near, value in outcome.notables]
        self.messages += [Message(plan.dead_letters, *dead_letter_record(letter)) for letter in outcome.dead]
        self.events += len(batch)
        self.late += outcome.late
        self.refused.update(letter.reason for letter in outcome.dead)
        self.notables += len(outcome.notables)
        self.dropped += outcome.notables_dropped
        self.suppressed += outcome.suppressed
        self.employee_days += outcome.employee_days
        self.canary = max(self.canary, outcome.canary)
        if outcome.scores:
            self.scored += Scored.of(np.concatenate([each.rarity for each in outcome.scores]))
        if outcome.alerts:
            arrived = dict(zip(batch.offset.tolist(), batch.broker_time.tolist(), strict=True))
            self.raised += [(alert.severity, alert.time, arrived[max(e.offset for e in alert.evidence)]) for alert, _ in outcome.alerts]

    def join(self, other: Delivery) -> None:
        """What another partition's batch led to, before any of it has an end."""
        self.messages += other.messages
        self.events, self.late, self.notables = self.events + other.events, self.late + other.late, self.notables + other.notables
        self.refused, self.dropped, self.raised = self.refused + other.refused, self.dropped + other.dropped, self.raised + other.raised
        self.suppressed, self.employee_days = self.suppressed + other.suppressed, self.employee_days + other.employee_days
        self.canary, self.scored, self.stages = max(self.canary, other.canary), self.scored + other.scored, self.stages + other.stages

    def beat(self, task: Task, plan: Plan, time_ms: int) -> None:
        """A sign of life of a task that is live: silence of the log can then be told from quiet."""
        made, (offset, _) = task.pipeline, task.to_commit(task.backlog.sent)
        origin = task.backlog.origin
        value = heartbeats.encode(origin, task.beats, made.seq, made.head, offset, time_ms, made.model, made.context.hash)
        task.beats += 1
        self.messages.append(Message(plan.alerts, heartbeats.key(origin), value))
        self.beats += 1

    def state(self, task: Task, chunks: Sequence[tuple[bytes, bytes]], complete: bool, plan: Plan) -> None:
        """Part of a snapshot; if it is then complete, the manifest is the last."""
        self.messages += [Message(plan.state, key, value, task.partition) for key, value in chunks]
        self.manifest = len(self.messages) - 1 if complete else None

    def end(self, task: Task, plan: Plan) -> None:
        """Outputs of its partition are here up to where the task stands now, and as many of its daily records as there is room for."""
        blocks, sent = task.backlog.next(TOGETHER - self.blocks)
        self.messages += [Message(plan.daily, str(task.partition).encode(), block) for block in blocks]
        self.blocks += len(blocks)
        self.tasks[task.partition] = task
        offset, mark = self.ends[task.partition] = task.to_commit(sent)
        if plan.writer:
            made = task.pipeline
            record = encode_position(Position(offset, mark, plan.writer, made.model.version, made.context.hash))
            self.positions[task.partition] = len(self.messages)
            self.messages.append(Message(plan.state, POSITION, record, task.partition))

    @property
    def offsets(self) -> Mapping[int, tuple[int, str]]:
        """What is to be committed."""
        return {p: (offset, encode_mark(mark)) for p, (offset, mark) in self.ends.items()}
