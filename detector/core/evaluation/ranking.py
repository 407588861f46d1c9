"""Ranking: how high the scores of single events put those of campaigns; what a search by score would find, before any threshold.

Average precision is the area under the steps of the precision-recall curve, ties taken together (scikit-learn's definition). Events that
were never scored count as not found.
"""

from __future__ import annotations

import csv
from array import array
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, roc_auc_score

from detector.core.evaluation.labels import Labels
from detector.core.frame import DAY
from detector.core.strings import hash_strings
from detector.errors import ConfigError

CHUNK = 100_000


@dataclass(frozen=True)
class Scores:
    """Columns of n events, each once."""

    event: NDArray[np.uint64]
    """Hash of its id, ascending."""
    score: NDArray[np.float64]
    """The highest, where it was scored more than once."""
    active: frozenset[tuple[str, int]]
    """(employee, days since 1970); empty where the file does not say who and when."""


@dataclass(frozen=True)
class Ranking:
    events: int
    positives: int
    """Events of campaigns; those without a score among them."""
    unscored: int
    average_precision: float
    chance: float
    """The average precision of a random order: the share of positives."""
    auroc: float
    scenarios: dict[str, float]
    """Average precision of each kind's events among those of none."""


def read_scores(lines: Iterable[str], since: int = 0, name: str = "scores") -> Scores:
    """Of a CSV with the columns `event_id` and `score`, and perhaps `time` (ms) and `actor`, as `detector replay --scores` writes it.

    Events before `since` (ms) are left out where their time is known. Raises ConfigError naming the first line that does not fit.
    """
    reader = csv.reader(lines)
    header = next(reader, [])
    if not {"event_id", "score"} <= set(header):
        raise ConfigError(f"{name}:1: the header has no event_id and score; give what `detector replay --scores` writes")
    event, score = header.index("event_id"), header.index("score")
    time, actor = (header.index(column) if column in header else -1 for column in ("time", "actor"))
    hashes, ids = [np.zeros(0, np.uint64)], []
    values, active = array("d"), set()
    try:
        for row in reader:
            if time >= 0 and int(row[time]) < since:
                continue
            values.append(float(row[score]))
            ids.append(row[event])
            if time >= 0 and actor >= 0:
                active.add((row[actor], int(row[time]) // DAY))
            if len(ids) == CHUNK:
                hashes.append(hash_strings(ids))
                ids.clear()
    except (ValueError, IndexError) as error:
        raise ConfigError(
            f"{name}:{reader.line_num}: is no line of scores ({error}); give what `detector replay --scores` writes"
        ) from error
    return _highest(np.concatenate([*hashes, hash_strings(ids)]), np.frombuffer(values, np.float64), frozenset(active))


def _highest(event: NDArray[np.uint64], score: NDArray[np.float64], active: frozenset[tuple[str, int]]) -> Scores:
    if not len(event):
        return Scores(event, np.zeros(0), active)
    order = np.argsort(event, kind="stable")
    first = np.flatnonzero(np.append(True, np.diff(event[order]) != 0))
    return Scores(event[order][first], np.maximum.reduceat(score[order], first), active)


def rank(scores: Scores, labels: Labels) -> Ranking:
    kinds = sorted({campaign.scenario for campaign in labels.campaigns})
    kind = np.full(len(scores.event), -1)
    labelled = np.zeros(len(kinds), np.int64)
    for campaign in labels.campaigns:
        ids = np.unique(hash_strings([event_id for _, _, event_id in campaign.events]))
        at = np.searchsorted(scores.event, ids)
        found = at[(at < len(kind)) & (scores.event[np.minimum(at, len(kind) - 1)] == ids)] if len(kind) else at[:0]
        kind[found] = kinds.index(campaign.scenario)
        labelled[kinds.index(campaign.scenario)] += len(ids)
    total = int(labelled.sum())
    positive = kind >= 0
    share = {name: _precision(kind == k, scores.score, (kind == k) | ~positive, int(labelled[k])) for k, name in enumerate(kinds)}
    both = positive.any() and not positive.all()
    return Ranking(
        len(kind), total, total - int(positive.sum()), _precision(positive, scores.score, np.ones(len(kind), np.bool_), total),
        total / max(len(kind) + total - int(positive.sum()), 1), float(roc_auc_score(positive, scores.score)) if both else 0.5, share,
    )  # fmt: skip


def _precision(positive: NDArray[np.bool_], score: NDArray[np.float64], among: NDArray[np.bool_], total: int) -> float:
    """Average precision among some events, of `total` positives of which not all may have been scored."""
    found = int(positive.sum())
    return float(average_precision_score(positive[among], score[among])) * found / total if found else 0.0
