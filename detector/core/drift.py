"""Drift: how far what employees do has moved away from what a model was trained on, and whether the sample is large enough to say so.

The measure is the population stability index of the largest values of employee-days, sum of (p - q) ln(p / q) over bins, q the shares in
training and p those of late. Rule of thumb (N. Siddiqi, Credit Risk Scorecards, 2006): below 0.1 nothing happened, above 0.25 much did.
That is true of large samples alone. Where nothing has changed, PSI is about (1/N + 1/M) times a chi-squared variable with as many degrees
of freedom as bins but one, for samples of N and M (B. Yurdakul and J. Naranjo, Journal of Risk Model Validation 14(4), 2020): so what
chance alone can show is known, and as long as that is much, nothing is said.

Days of the week differ. The reference is kept for each, and what is found is held against the same days of the week.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from detector.core.daily import Daily
from detector.core.hypotheses import Hypothesis
from detector.core.signals import accumulators

BINS = 10
WEEK = 7
MUCH = 0.25
NORMAL = 3.0902
"""Quantile of the normal distribution that one value in a thousand exceeds."""
DEPENDENT = 4.0
"""Employee-days count as so many times fewer: days of one person resemble each other, and so do people on one day. Measured on three
synthetic companies: what had not moved stayed below three times what independent days would show."""
MOST_ROWS = 5_000
"""Of a day: more would say nothing more, and take time."""
SCORE = "score"

Counts = NDArray[np.int64]


def names(hypotheses: Sequence[Hypothesis]) -> tuple[str, ...]:
    """What is looked at, D columns: evidence as it was summed up, the joined value of each hypothesis, and the score S."""
    return (*accumulators.NAMES, *(h.name for h in hypotheses), SCORE)


def measured(daily: Daily) -> NDArray[np.float32]:
    """(n, D) of the records of a day; of many, an even part."""
    rows = slice(None, None, math.ceil(len(daily) / MOST_ROWS))
    return np.concatenate([np.asarray(daily.column(name)[rows]).reshape(-1, width) for name, width in _widths(daily)], axis=1)


def _widths(daily: Daily) -> list[tuple[str, int]]:
    return [(name, math.prod(daily.column(name).shape[1:])) for name in ("level", "joined", "score")]


@dataclass(frozen=True, slots=True)
class Reference:
    """How D columns of day maxima were distributed in training."""

    edge: NDArray[np.float32]
    """(D, BINS - 1) ascending: bin j holds what is over edge j - 1 and not over edge j. The first bin is 0, for most evidence is rare."""
    count: Counts
    """(WEEK, D, BINS) employee-days, by day of the week: day 0, a Thursday, is of the first."""

    @staticmethod
    def of(parts: Iterable[tuple[NDArray[np.float32], NDArray[np.int64]]]) -> Reference:
        """From parts of the columns, each (n, d) day maxima and the (n,) days they are of; a part's n is its own."""
        edges, counts = [], []
        for values, day in parts:
            edges.append(edges_of(values))
            of_week = [counted(edges[-1], values[day % WEEK == weekday]) for weekday in range(WEEK)]
            counts.append(np.stack(of_week))
        return Reference(np.concatenate(edges), np.concatenate(counts, axis=1))

    def __len__(self) -> int:
        return len(self.edge)

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        return {"edge": self.edge, "count": self.count}

    @staticmethod
    def from_arrays(arrays: Mapping[str, NDArray[Any]], columns: int) -> Reference:
        """Raises ValueError naming the array that cannot be right."""
        edge, count = arrays["edge"], arrays["count"]
        if edge.dtype != np.float32 or edge.shape != (columns, BINS - 1) or not np.isfinite(edge).all() or (np.diff(edge) < 0).any():
            raise ValueError(f"edge: expected finite float32 of {(columns, BINS - 1)}, ascending")
        if count.dtype != np.int64 or count.shape != (WEEK, columns, BINS) or (count < 0).any() or (count > 1 << 40).any():
            raise ValueError(f"count: expected int64 of {(WEEK, columns, BINS)}, not negative")
        return Reference(edge, count)

    def same(self, other: Reference) -> bool:
        return np.array_equal(self.edge, other.edge) and np.array_equal(self.count, other.count)


def edges_of(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """(n, D) values -> (D, BINS - 1) edges: 0, then quantiles of what is over 0, so that the bins but the first hold equally many."""
    out = np.zeros((values.shape[1], BINS - 1), np.float32)
    for d, column in enumerate(values.T):
        if len(positive := column[column > 0]):
            out[d, 1:] = np.quantile(positive, np.arange(1, BINS - 1) / (BINS - 1), method="inverted_cdf")
    return out


def counted(edge: NDArray[np.float32], values: NDArray[np.float32]) -> Counts:
    """(n, D) values -> (D, BINS) how many of each column are in each bin."""
    bins = (np.searchsorted(edge[d], values[:, d], "left") for d in range(len(edge)))
    return np.array([np.bincount(found, minlength=BINS) for found in bins], np.int64).reshape(-1, BINS)


class Shift(NamedTuple):
    """How far each of D columns has moved."""

    psi: NDArray[np.float64]
    noise: NDArray[np.float64]
    """What chance alone exceeds once in a thousand, for samples of these sizes; inf where there is no sample."""

    @property
    def told(self) -> NDArray[np.bool_]:
        """(D,) whether the samples are large enough to say anything: chance alone does not look like much."""
        return self.noise <= MUCH

    @property
    def moved(self) -> NDArray[np.bool_]:
        return self.told & (self.psi > MUCH)


def shift(edge: NDArray[np.float32], expected: NDArray[Any], found: NDArray[Any], dependent: float = DEPENDENT) -> Shift:
    """PSI of (D, BINS) counts against expected ones. `dependent`: so many rows say as much as one that is independent of all others."""
    possible = np.ones(expected.shape, np.bool_)
    possible[:, 1:-1] = np.diff(edge) > 0  # between equal edges there is nothing
    bins = possible.sum(axis=1)
    n, m = expected.sum(axis=1), found.sum(axis=1)
    q, p = ((c + 0.5) / (c.sum(axis=1) + 0.5 * bins)[:, None] for c in (expected, found))
    psi = np.where(possible, (p - q) * np.log(p / q), 0.0).sum(axis=1)
    with np.errstate(divide="ignore"):
        noise = dependent * _chi_squared(bins - 1.0) * (1 / n + 1 / m)
    return Shift(psi, np.where((n > 0) & (m > 0), noise, np.inf))


def _chi_squared(freedom: NDArray[np.float64]) -> NDArray[np.float64]:
    """What a chi-squared variable exceeds once in a thousand (E. B. Wilson and M. M. Hilferty, PNAS 17, 1931)."""
    part = 2 / (9 * freedom)
    out: NDArray[np.float64] = freedom * (1 - part + NORMAL * np.sqrt(part)) ** 3
    return out


@dataclass(slots=True)
class Window:
    """The last WEEK days of some tasks, against one reference. Memory: WEEK x D x BINS numbers a task."""

    reference: Reference
    _days: dict[int, dict[int, Counts]] = field(default_factory=dict)
    """Task -> day -> counts."""

    def add(self, task: int, daily: Daily) -> None:
        """A day of a task is over; one that is told again replaces itself."""
        days = self._days.setdefault(task, {})
        days[daily.day] = counted(self.reference.edge, measured(daily))
        self._forget(max(day for each in self._days.values() for day in each))

    def keep(self, tasks: Iterable[int]) -> None:
        """Only these are held still."""
        self._days = {task: self._days[task] for task in tasks if task in self._days}

    def _forget(self, last: int) -> None:
        for task, days in self._days.items():
            self._days[task] = {day: counts for day, counts in days.items() if day > last - WEEK}

    @property
    def rows(self) -> int:
        """Employee-days in it."""
        return int(sum(counts[0].sum() for days in self._days.values() for counts in days.values()))

    def shift(self) -> Shift:
        """Against what was usual in training on the same days of the week; a day of the week without any is left out."""
        found = np.zeros(self.reference.count.shape, np.int64)
        for days in self._days.values():
            for day, counts in days.items():
                found[day % WEEK] += counts
        usual = self.reference.count
        n, m = usual.sum(axis=2, keepdims=True), found.sum(axis=2, keepdims=True)
        known = np.where(n > 0, m, 0)
        # the shares of each day of the week, as often as it was found; and how large a sample says as much as this mixture does
        weight = known / np.maximum(n, 1)
        mixed = (usual * weight).sum(axis=0)
        size = known.sum(axis=0) / np.maximum((known * weight).sum(axis=0), 1e-12)
        return shift(self.reference.edge, mixed * size, np.where(n > 0, found, 0).sum(axis=0))


def reason(columns: Sequence[str], shift: Shift) -> str:
    """Why a model should be trained anew, furthest first; empty where it need not be."""
    order = [int(d) for d in np.argsort(-shift.psi, kind="stable") if shift.moved[d]]
    return ", ".join(f"{columns[d]} {shift.psi[d]:.2f}" for d in order)
