"""What the pipeline said of every event, and what it would have said with other hypotheses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detector.core.combination import POWER
from detector.core.frame import HOUR
from detector.core.hypotheses import Hypothesis
from detector.core.strings import Coded
from detector.replay import Replayed

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]
BOUND = 64.0
"""Over any score, so that groups can be told apart by multiples of it."""


class Seen:
    """Columns of the n events from a time on, in log order; `names` are the hypotheses."""

    def __init__(self, hypotheses: Sequence[Hypothesis], since: int) -> None:
        self.names = tuple(h.name for h in hypotheses)
        self.weights = np.array([h.weight for h in hypotheses])
        self.actors: list[str] = []
        self.subjects: list[str] = []
        self._since = since
        self._number: dict[tuple[str, str], int] = {}
        self._parts: dict[str, list[NDArray[Any]]] = {}
        self._whole: dict[str, NDArray[Any]] = {}

    def take(self, part: Replayed) -> None:
        """Adds a replayed batch."""
        batch = part.batch
        for scores in part.outcome.scores:
            kept = batch.time[scores.row] >= self._since
            rows = scores.row[kept]
            if not len(rows):
                continue
            columns: dict[str, NDArray[Any]] = {
                "time": batch.time[rows], "score": scores.score[kept], "rarity": scores.rarity[kept],
                "actor": self._coded("actor", batch.strings("actor"), self.actors)[rows],
                "subject": self._coded("subject", batch.strings("subject"), self.subjects)[rows],
                "hypothesis": scores.hypothesis[kept],
            }  # fmt: skip
            for name, column in columns.items():
                self._parts.setdefault(name, []).append(column)

    def _coded(self, member: str, column: Coded, names: list[str]) -> NDArray[np.int32]:
        """(n,) numbers that are the same in all batches; -1 where the member is absent."""
        numbers = []
        for value in column.values:
            number = self._number.setdefault((member, value), len(names))
            if number == len(names):
                names.append(value)
            numbers.append(number)
        return column.spread(np.array(numbers, np.int32), np.int32(-1))

    def column(self, name: str) -> NDArray[Any]:
        if name not in self._whole:
            self._whole[name] = np.concatenate(self._parts.pop(name))
        return self._whole[name]

    @property
    def actor(self) -> NDArray[np.int32]:
        return self.column("actor")

    @property
    def time(self) -> Ints:
        return self.column("time")

    @property
    def score(self) -> Floats:
        return self.column("score")

    @property
    def rarity(self) -> Floats:
        """Calibrated, of the score."""
        return self.column("rarity")

    @property
    def hypothesis(self) -> Floats:
        """(n, H) calibrated rarities of the event itself."""
        return self.column("hypothesis")

    def alerts(self, rows: Ints, score: Floats) -> list[dict[str, Any]]:
        """Events as alerts, in the form that the evaluation program reads them into."""
        columns = (self.time, score, self.actor, self.column("subject"))
        return [
            {
                "time": time, "score": value, "kind": "", "team": None, "actors": frozenset([self.actors[actor]]),
                "subjects": frozenset([self.subjects[subject]] if subject >= 0 else []),
            }
            for time, value, actor, subject in zip(*(column[rows].tolist() for column in columns), strict=True)
        ]  # fmt: skip


def subsets(seen: Seen) -> dict[str, Floats]:
    """The score of each event with all hypotheses, with one only and without one, combined as the product combines them.

    Raises ValueError where with all of them it is not what the pipeline said: then this is no longer how it combines.
    """
    actor, rarity = seen.actor.astype(np.int64), seen.hypothesis
    order = np.argsort(actor, kind="stable")
    hour = seen.time[order] // HOUR
    low, span = int(hour.min()), int(hour.max() - hour.min()) + 1
    group = np.maximum.accumulate(actor[order] * span + hour - low)  # an event that comes late counts in the hour that is open
    raised = np.empty((len(actor), rarity.shape[1]), np.float32)
    first = np.append(True, np.diff(group) != 0)
    offset = np.cumsum(first) * BOUND
    for d, weight in enumerate(seen.weights):
        most = np.maximum.accumulate(rarity[order, d] + offset) - offset
        raised[order, d] = weight * np.maximum(most, 0) ** POWER
    total = raised.sum(1, dtype=np.float64)
    out = {"all": (total ** (1 / POWER)).astype(np.float32)}
    same = np.abs(out["all"] - seen.score) < 1e-3 * (1 + seen.score)
    if same.mean() < 0.999:
        raise ValueError(f"{1 - same.mean():.1%} of the scores are not what the pipeline said: it combines hypotheses in another way")
    for d, name in enumerate(seen.names):
        out[f"only {name}"] = rarity[:, d]
        out[f"without {name}"] = (np.maximum(total - raised[:, d], 0) ** (1 / POWER)).astype(np.float32)
    return out


def day_maxima(actor: NDArray[np.int32], day: Ints, value: Floats) -> tuple[NDArray[np.int32], Ints, Floats]:
    """The largest value of each actor's day: actors, days, values (m,)."""
    order = np.lexsort((day, actor))
    first = np.flatnonzero(np.append(True, (np.diff(actor[order]) != 0) | (np.diff(day[order]) != 0)))
    return actor[order][first], day[order][first], np.maximum.reduceat(value[order], first)


def records(actor: NDArray[np.int32], day: Ints, value: Floats, share: float = 1.0) -> Ints:
    """Rows at which an actor's day had its largest value so far, on the `share` of the actor-days with the largest ones."""
    _, _, most = day_maxima(actor, day, value)
    least = max(float(np.quantile(most, 1 - share)), 1e-6) if share < 1 else 1e-6
    rows = np.flatnonzero(value >= least)
    order = rows[np.lexsort((rows, day[rows], actor[rows]))]
    if not len(order):
        return order
    begins = np.append(True, (np.diff(actor[order]) != 0) | (np.diff(day[order]) != 0))
    offset = np.cumsum(begins) * BOUND
    lifted = value[order].astype(np.float64) + offset
    before = np.append(0.0, np.maximum.accumulate(lifted)[:-1])
    return np.sort(order[begins | (lifted > before + 1e-6)])
