"""The whole of detection for one task: a view on one input partition.

What `process` returns, and the state it leaves, depend on the records so far, the model, the context and the settings, and on nothing else:
no clock, no batch size. So live service, replay, recovery and tests are one mechanism.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from detector.core import alerts, combination, notables
from detector.core.alerts import Alert, Evidence, ModelRef, Over, Related
from detector.core.attribution import reasons, shares
from detector.core.calibration import least_value, threshold
from detector.core.context import Context
from detector.core.daily import Daily
from detector.core.events import DeadLetter, EventBatch
from detector.core.frame import DAY
from detector.core.framing import Framer
from detector.core.model import Model
from detector.core.notables import Notables
from detector.core.tracking import Observed, Tracker
from detector.core.views import View
from detector.errors import StateError

SMALL: Mapping[str, int] = {"chain": 34, "notables": 2}
"""Arrays of a task's snapshot that do not have a row for each slot, and their lengths."""


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
    hypothesis: NDArray[np.float32]
    """(m, H) calibrated rarity of each hypothesis at the event."""


@dataclass(slots=True)
class Outcome:
    """What a batch led to."""

    alerts: list[tuple[Alert, bytes]] = field(default_factory=list)
    """In log order, each with its encoded form."""
    notables: list[tuple[Alert, bytes]] = field(default_factory=list)
    """Near misses, likewise."""
    notables_dropped: Counter[int] = field(default_factory=Counter)
    """Near misses that are too many for the day, by their rank."""
    dead: Sequence[DeadLetter] = ()
    scores: list[Scores] = field(default_factory=list)
    daily: list[Daily] = field(default_factory=list)
    """Records of days that ended."""
    repeated: int = 0
    late: int = 0
    employee_days: int = 0
    """Of the days that ended, those of employees who could have been alerted."""
    suppressed: int = 0
    """Events over the threshold of incidents that were told of already."""
    canary: int = -1
    """Ms: the latest event on a canary; -1: there was none."""


class InForce(NamedTuple):
    """What events are judged by, besides settings."""

    model: Model
    framer: Framer
    """Of the context, with tables that all tasks can share."""

    @staticmethod
    def of(model: Model, context: Context) -> InForce:
        return InForce(model, Framer(context, model.baselines))

    @property
    def context(self) -> Context:
        return self.framer.context

    @property
    def versions(self) -> tuple[str, str]:
        """Of the model, and of the context."""
        return self.model.version, self.context.version


class Pipeline:
    def __init__(self, view: View, model: Model, context: Context, policy: Policy, max_keys: int = 1_000_000) -> None:
        self.view, self.context, self.policy = view, context, policy
        self.tracker = Tracker(view, context, model.baselines, len(model.hypotheses), max_keys)
        self.seq, self.head = 0, alerts.GENESIS
        self.notables = Notables()
        self.adopt(model)

    def adopt(self, model: Model, framer: Framer | None = None) -> None:
        """From here on, events are scored with this model: of the same signals and hypotheses; and with the context of that framer, if
        there is one.
        """
        self.model = model
        self.tracker.adopt(model.baselines, framer)
        self.context = self.tracker.context
        self._threshold = threshold(self.policy.budget)
        self._least = least_value(model.total_tails, self._threshold)
        self._near = least_value(model.total_tails, self._threshold - notables.WITHIN)
        self._ref = ModelRef(self.view.name, model.version, model.sha256)

    def turn(self, day: int) -> Daily | None:
        """The log, of this partition or of another, has come to a day: the records of the one that is over."""
        return self.tracker.turn(day)

    def process(self, batch: EventBatch, done: Callable[[str], None] = lambda stage: None) -> Outcome:
        """Scores every event as of that event, then the state has seen it. `done` is told when a stage is: `signals`, `score`."""
        outcome = Outcome(dead=batch.dead)
        if len(batch):
            late = batch.broker_time - batch.time > self.policy.max_age
            outcome.late, before = int(late.sum()), self.tracker.repeated
            outcome.canary = self.tracker.framer.canaries.seen(batch)
            for seen in self.tracker.observe(batch):
                done("signals")
                if seen.ended is not None:
                    outcome.daily.append(seen.ended)
                    outcome.employee_days += len(seen.ended) if seen.ended.day * DAY >= self.policy.starts else 0
                self._score(batch, seen, late, outcome)
                done("score")
            outcome.repeated = self.tracker.repeated - before
        return outcome

    def _score(self, batch: EventBatch, seen: Observed, late: NDArray[np.bool_], outcome: Outcome) -> None:
        features, time, offset = seen.features.values, seen.frame.time, batch.offset[seen.row]
        said = self.model.rarities(features)
        score = np.zeros(len(time), np.float32)
        done = 0
        while done < len(time):
            done = combination.advance(
                self.tracker.state, seen.slots, time, offset, features, said, self.model.wiring,
                (self._least, self.policy.starts, done), score, self._near,
            )  # fmt: skip
            last = done - 1
            if time[last] >= self.policy.starts:
                self._judge(batch, seen, last, score[last], bool(late[seen.row[last]]), outcome)
        outcome.scores.append(Scores(seen.row, score, self.model.total(score), said.forest, said.rarity))

    def _judge(self, batch: EventBatch, seen: Observed, i: int, score: np.float32, late: bool, outcome: Outcome) -> None:
        """Row i of a run is over the threshold, or near it, or the last: the state is as of it."""
        state, slot = self.tracker.state, int(seen.slots[i])
        if score < self._least and score < max(self._near, state.columns["near_bar"][slot]):
            return
        rarity = float(self.model.total(np.array([score], np.float32))[0])
        notables.raise_bar(state, slot, self.model.total_tails, rarity, self._threshold)
        if score >= self._least:
            self._over(batch, seen, i, rarity, late, outcome)
        elif self.notables.tells(self.tracker.day):
            identity = self._identity(batch, int(seen.row[i]))
            near = self._alert(batch, seen, i, rarity, late, (identity, notables.SEVERITY, None, None))
            outcome.notables.append((near, alerts.encode(near)))
        else:
            outcome.notables_dropped[notables.rank(rarity, self._threshold)] += 1

    def _over(self, batch: EventBatch, seen: Observed, i: int, rarity: float, late: bool, outcome: Outcome) -> None:
        row, slot, state = int(seen.row[i]), int(seen.slots[i]), self.tracker.state
        evident = int(seen.frame.subject[i]) if seen.features.column("harvest")[i] > 0 else 0
        share = shares(self.model, state.columns["hour_rarity"][slot])
        over = Over(int(batch.time[row]), rarity, share, evident, self._identity(batch, row))
        incident = alerts.incident(state, slot, over)
        if incident is None:
            outcome.suppressed += 1
            return
        alert = self._alert(batch, seen, i, rarity, late, (incident, alerts.severity(rarity, self._threshold), self.seq, self.head))
        value = alerts.encode(alert)
        self.seq, self.head = self.seq + 1, alerts.chain_hash(value)
        outcome.alerts.append((alert, value))

    def _identity(self, batch: EventBatch, row: int) -> str:
        return alerts.alert_id(self.view.name, batch.topic, batch.partition, int(batch.offset[row]))

    def _alert(
        self, batch: EventBatch, seen: Observed, i: int, rarity: float, late: bool, place: tuple[str, str, int | None, str | None]
    ) -> Alert:
        """About row i of a run; `place`: its incident, severity, number, and the hash of the one before."""
        row, slot, (incident, severity, seq, prev_hash) = int(seen.row[i]), int(seen.slots[i]), place
        event, time = batch.rows[row], int(batch.time[row])
        told = reasons(self.model, self.tracker.state, slot, int(seen.frame.team[i]))
        return Alert(
            alert_id=self._identity(batch, row), kind=self.view.name, time=time, actor=event.actor, subject=event.subject,
            team=self.tracker.framer.team_name(event.actor_team, event.actor, time), score=1 - 10.0**-rarity, rarity=round(rarity, 4),
            severity=severity, incident_id=incident, reasons=told, evidence=self._evidence(batch, row, slot, [r.hypothesis for r in told]),
            related=Related((event.actor,), (event.subject,) if event.subject else ()), model=self._ref, context=self.context.hash,
            confidence=alerts.confidence(float(seen.features.column("own_days")[i])), late=late, seq=seq, prev_hash=prev_hash,
        )  # fmt: skip

    def _evidence(self, batch: EventBatch, row: int, slot: int, told: Sequence[str]) -> tuple[Evidence, ...]:
        """The event itself, and the one that raised each hypothesis told of most."""
        raised = {int(self.tracker.state.columns["hour_offset"][slot, d]) for d, h in enumerate(self.model.hypotheses) if h.name in told}
        offset = int(batch.offset[row])
        return tuple(
            Evidence(batch.topic, batch.partition, o, batch.rows[row].event_id if o == offset else None) for o in sorted(raised | {offset})
        )

    def snapshot(self, room: NDArray[np.uint8] | None = None) -> dict[str, Any]:
        """All that the task knows, as named arrays; those of SMALL are short, the others have a row for each slot. `room`: memory for the
        latter, as for KeyedState.snapshot.
        """
        chain = np.array([self.seq, *bytes.fromhex(self.head), self.tracker.day], np.int64)
        return {**self.tracker.state.snapshot(room), "chain": chain, "notables": self.notables.snapshot()}

    def restore(self, arrays: Mapping[str, NDArray[Any]], own: bool = False) -> None:
        """The inverse of `snapshot`; `own` as for KeyedState.restore. Raises StateError where it does not fit; nothing is changed then."""
        for name, length in SMALL.items():
            if name not in arrays or arrays[name].dtype != np.int64 or arrays[name].shape != (length,):
                raise StateError(f"snapshot has no {name} of {length} numbers: rebuild the task from its input")
        self.tracker.state.restore({name: a for name, a in arrays.items() if name not in SMALL}, own)
        self.seq, self.head = int(arrays["chain"][0]), bytes(arrays["chain"][1:33].astype(np.uint8)).hex()
        self.tracker.day = int(arrays["chain"][33])
        self.notables.restore(arrays["notables"])
