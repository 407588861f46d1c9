"""The whole of detection for one task: a view on one input partition.

What `process` returns, and the state it leaves, depend on the records so far, the model, the context and the settings, and on nothing else:
no clock, no batch size. So live service, replay, recovery and tests are one mechanism.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detector.core import alerts, combination
from detector.core.alerts import Alert, Evidence, ModelRef, Over, Related
from detector.core.attribution import reasons, shares
from detector.core.calibration import least_value, threshold
from detector.core.context import Context
from detector.core.events import DeadLetter, EventBatch
from detector.core.frame import DAY
from detector.core.model import Model
from detector.core.tracking import Observed, Tracker
from detector.core.views import View


@dataclass(frozen=True, slots=True)
class Policy:
    """What an operator decides about alerts."""

    budget: float
    """False alerts aimed at, per 1,000 employee-days."""
    starts: int = 0
    """Ms; events before it build state and alert nothing."""
    max_age: int = 7 * DAY
    """Ms; an event that the broker got later than this after it happened is scored and flagged late."""


@dataclass(slots=True)
class Scores:
    """A score for each event that was not a repetition, as columns of length m."""

    row: NDArray[np.int64]
    """Position in the batch."""
    score: NDArray[np.float32]
    """Combined score S."""
    rarity: NDArray[np.float32]
    """Calibrated rarity of S."""
    forest: NDArray[np.float64]


@dataclass(slots=True)
class Outcome:
    """What a batch led to."""

    alerts: list[tuple[Alert, bytes]] = field(default_factory=list)
    """In log order, each with its encoded form."""
    dead: Sequence[DeadLetter] = ()
    scores: list[Scores] = field(default_factory=list)
    repeated: int = 0
    late: int = 0


class Pipeline:
    def __init__(self, view: View, model: Model, context: Context, policy: Policy, max_keys: int = 1_000_000) -> None:
        self.view, self.model, self.context, self.policy = view, model, context, policy
        self.tracker = Tracker(view, context, model.baselines, len(model.hypotheses), max_keys)
        self.seq, self.head = 0, alerts.GENESIS
        self._threshold = threshold(policy.budget)
        self._least = least_value(model.total_tails, self._threshold)
        self._ref = ModelRef(view.name, model.version, model.sha256)

    def process(self, batch: EventBatch) -> Outcome:
        """Scores every event as of that event, then the state has seen it."""
        outcome = Outcome(dead=batch.dead)
        if len(batch):
            late = batch.broker_time - batch.time > self.policy.max_age
            outcome.late, before = int(late.sum()), self.tracker.repeated
            for seen in self.tracker.observe(batch):
                self._score(batch, seen, late, outcome)
            outcome.repeated = self.tracker.repeated - before
        return outcome

    def _score(self, batch: EventBatch, seen: Observed, late: NDArray[np.bool_], outcome: Outcome) -> None:
        features, time, offset = seen.features.values, seen.frame.time, batch.offset[seen.row]
        said = self.model.rarities(features)
        score = np.zeros(len(time), np.float32)
        done = 0
        while done < len(time):
            done = combination.advance(
                self.tracker.state, seen.slots, time, offset, features, said.signal, said.hypothesis, self.model.wiring,
                (self._least, self.policy.starts, done), score,
            )  # fmt: skip
            last = done - 1
            if score[last] >= self._least and time[last] >= self.policy.starts:
                self._over(batch, seen, last, float(score[last]), bool(late[seen.row[last]]), outcome)
        outcome.scores.append(Scores(seen.row, score, self.model.total(score), said.forest))

    def _over(self, batch: EventBatch, seen: Observed, i: int, score: float, late: bool, outcome: Outcome) -> None:
        """Row i of a run is over the threshold: the state is as of it."""
        row, slot, c = int(seen.row[i]), int(seen.slots[i]), self.tracker.state.columns
        rarity = float(self.model.total(np.array([score], np.float32))[0])
        identity = alerts.alert_id(self.view.name, batch.topic, batch.partition, int(batch.offset[row]))
        evident = int(seen.frame.subject[i]) if seen.features.column("harvest")[i] > 0 else 0
        over = Over(int(batch.time[row]), rarity, shares(self.model, c["hour_rarity"][slot]), evident, identity)
        incident = alerts.incident(self.tracker.state, slot, over)
        if incident is None:
            return
        event = batch.rows[row]
        told = reasons(self.model, c["hour_rarity"][slot], c["hour_signal"][slot], c["hour_reading"][slot])
        alert = Alert(
            alert_id=identity, kind=self.view.name, time=over.time, actor=event.actor, subject=event.subject,
            team=self.tracker.framer.team_name(event.actor_team, event.actor, over.time), score=1 - 10.0**-rarity, rarity=round(rarity, 4),
            severity=alerts.severity(rarity, self._threshold), incident_id=incident, reasons=told,
            evidence=self._evidence(batch, row, slot, [r.hypothesis for r in told]),
            related=Related((event.actor,), (event.subject,) if event.subject else ()), model=self._ref, context=self.context.hash,
            confidence=alerts.confidence(float(seen.features.column("own_days")[i])), late=late, seq=self.seq, prev_hash=self.head,
        )  # fmt: skip
        value = alerts.encode(alert)
        self.seq, self.head = self.seq + 1, alerts.chain_hash(value)
        outcome.alerts.append((alert, value))

    def _evidence(self, batch: EventBatch, row: int, slot: int, told: Sequence[str]) -> tuple[Evidence, ...]:
        """The event itself, and the one that raised each hypothesis told of most."""
        raised = {int(self.tracker.state.columns["hour_offset"][slot, d]) for d, h in enumerate(self.model.hypotheses) if h.name in told}
        offset = int(batch.offset[row])
        return tuple(
            Evidence(batch.topic, batch.partition, o, batch.rows[row].event_id if o == offset else None) for o in sorted(raised | {offset})
        )

    def snapshot(self) -> dict[str, Any]:
        """All that the task knows, as named arrays."""
        return {**self.tracker.state.snapshot(), "chain": np.array([self.seq, *bytes.fromhex(self.head)], np.int64)}

    def restore(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """The inverse of `snapshot`. Raises StateError where it does not fit."""
        self.tracker.state.restore({name: a for name, a in arrays.items() if name != "chain"})
        self.seq, self.head = int(arrays["chain"][0]), bytes(arrays["chain"][1:].astype(np.uint8)).hex()
