"""Random daily records, a row an employee and day, and the same as the product holds them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from detector.core.daily import Daily
from detector.core.signals import accumulators

HOURS = 48
TEAMS = (0, 2**63 + 5, 71, 72, 73)
KINDS = (501, 502, 2**63 + 9)
WORDS, PLACES, TICKETS, HYPOTHESES = 12, 5, 3, 13


@dataclass
class Row:
    day: int
    key: int
    team: int
    pair: dict[int, float]
    """Shares; none where there is too little to be a profile. So in `step` and `hours`."""
    step: dict[int, float]
    hours: list[float]
    level: list[float]
    repeat: tuple[float, float, float]
    purposes: list[tuple[int, float, float]]
    revoked: int
    joined: list[float]
    score: float


def _single(numbers: object) -> list[float]:
    """As a column of the records holds them."""
    made: list[float] = np.asarray(numbers, np.float32).tolist()
    return made


def a_row(rng: np.random.Generator, day: int, key: int, team: int) -> Row:
    profile = rng.random() < 0.7

    def shares() -> dict[int, float]:
        words = rng.choice(np.arange(1, WORDS + 1), rng.integers(1, PLACES + 1), replace=False, p=_often(WORDS))
        return dict(zip(words.tolist(), _single(rng.dirichlet(np.ones(len(words)))), strict=True)) if profile else {}

    values = rng.exponential(1, 9)
    n = int(rng.integers(4))
    return Row(
        day, key, team, shares(), shares(), _single(rng.dirichlet(np.full(HOURS, 0.2))) if profile else [0.0] * HOURS,
        _single(rng.exponential(0.5, accumulators.K) * rng.choice([0, 1, 30], accumulators.K, p=[0.2, 0.77, 0.03])),
        (n, *_single([values[:n].sum(), (values[:n] ** 2).sum()])),
        [(int(rng.choice(KINDS)), *_single(rng.exponential(1, 2))) for _ in range(rng.integers(TICKETS + 1))],
        int(rng.choice([0, 0, 905, 2**63 + 1])),
        _single(rng.exponential(1, HYPOTHESES) * (rng.random(HYPOTHESES) < [0.02, 0.3, *[1.0] * (HYPOTHESES - 2)])),
        _single(rng.exponential(1)) if rng.random() < 0.9 else 0.0,  # type: ignore[arg-type]
    )  # fmt: skip


def _often(words: int) -> np.ndarray:
    weight = 1.0 / np.arange(1, words + 1)
    return np.asarray(weight / weight.sum())


def rows(seed: int, days: Sequence[int], people: int = 12) -> list[Row]:
    """Of each day those who were active, by key; some change teams."""
    rng = np.random.default_rng(seed)
    keys = [int(k) for k in rng.integers(1, 2**64 - 1, people, np.uint64)]
    team = {key: int(rng.choice(TEAMS)) for key in keys}
    out = []
    for day in days:
        for key in sorted(keys):
            if rng.random() < 0.05:
                team[key] = int(rng.choice(TEAMS))
            if rng.random() < 0.7:
                out.append(a_row(rng, day, key, team[key]))
    return out


def as_daily(some: Sequence[Row]) -> Daily:
    """Rows of one day; there must be one."""

    def padded(numbers: list[list[float]], width: int, dtype: str) -> np.ndarray:
        return np.array([[*row, *[0] * (width - len(row))] for row in numbers], dtype)

    tickets = [list(zip(*row.purposes, strict=True)) or [[], [], []] for row in some]
    columns = {
        "level": np.array([row.level for row in some], np.float32),
        "hour_share": np.array([row.hours for row in some], np.float32),
        "repeat": np.array([row.repeat for row in some], np.float32),
        "revoked_resource": np.array([row.revoked for row in some], np.uint64),
        "joined": np.array([row.joined for row in some], np.float32),
        "score": np.array([row.score for row in some], np.float32),
    }
    for name in ("pair", "step"):
        columns[name] = padded([list(getattr(row, name)) for row in some], PLACES, "uint32")
        columns[f"{name}_share"] = padded([list(getattr(row, name).values()) for row in some], PLACES, "float32")
    for i, (name, dtype) in enumerate((("kind", "uint64"), ("reach", "float32"), ("age", "float32"))):
        columns[f"purpose_{name}"] = padded([list(one[i]) for one in tickets], TICKETS, dtype)
    (day,) = {row.day for row in some}
    return Daily(day, np.array([row.key for row in some], np.uint64), np.array([row.team for row in some], np.uint64), columns)


def as_days(some: Sequence[Row]) -> list[Daily]:
    return [as_daily([row for row in some if row.day == day]) for day in sorted({row.day for row in some})]
