"""Day maxima and thresholds; the exact least value of a rarity is tested with the tails."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mutation import mutate

from detector.core import calibration
from detector.core.estimators import tails

ROWS = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 3), st.floats(-5, 5, width=32), st.floats(0, 5, width=32)), max_size=40)


def check_day_maxima(rows: list[tuple[int, int, float, float]]) -> None:
    expected: dict[tuple[int, int], list[float]] = {}
    for key, day, a, b in rows:
        old = expected.get((key, day), [a, b])
        expected[key, day] = [max(old[0], a), max(old[1], b)]
    table = np.array(rows, np.float64).reshape(-1, 4)
    keys, days, maxima = calibration.day_maxima(table[:, 0].astype(np.int64), table[:, 1].astype(np.int64), table[:, 2:].astype(np.float32))
    assert list(zip(keys.tolist(), days.tolist(), strict=True)) == sorted(expected)
    assert maxima.tolist() == [expected[at] for at in sorted(expected)]
    assert maxima.dtype == np.float32


@settings(derandomize=True, deadline=None, max_examples=80, database=None)
@given(ROWS)
def test_day_maxima_are_the_largest_of_each_key_and_day(rows: list[tuple[int, int, float, float]]) -> None:
    check_day_maxima(rows)


Maxima = list[tuple[int, float, float, float]]
"""A key and three day maxima: dense, of few different values, nearly always 0."""


def day_maxima(seed: int, n: int = 400) -> Maxima:
    rng = np.random.default_rng(seed)
    keys = rng.choice([1, 2, 3, *range(4, 40)], n)
    dense = rng.exponential(1, n) + 3 * (keys == 1)
    few, seldom = rng.integers(0, 6, n) * (keys < 9), rng.exponential(1, n) * (rng.random(n) < 0.01)
    return list(zip(keys.tolist(), *np.array([dense, few, seldom], np.float32).tolist(), strict=True))


def slow_once_each(rows: Maxima) -> list[list[float]]:
    """In a column that is not 0 on nearly all days, those of an employee's days that are not their highest stay at the top 2 % at most."""
    out: list[list[float]] = [[] for _ in rows]
    for column in (1, 2, 3):
        ranked = sorted(row[column] for row in rows)
        at = 0.98 * (len(rows) - 1)
        low, high = ranked[int(at)], ranked[min(int(at) + 1, len(rows) - 1)]
        foot = low + (at - int(at)) * (high - low)
        for row, held in zip(rows, out, strict=True):
            highest = max(other[column] for other in rows if other[0] == row[0])
            held.append(row[column] if row[column] == highest or foot <= 0 else min(row[column], foot))
    return out


def check_once_each(seed: int, n: int = 400) -> None:
    rows = day_maxima(seed, n)
    table = np.array([row[1:] for row in rows], np.float32)
    before = table.copy()
    found = calibration.once_each(np.array([row[0] for row in rows]), table)
    assert found.dtype == np.float32 and np.array_equal(table, before), "what it is given is left alone"
    np.testing.assert_allclose(found, slow_once_each(rows), rtol=1e-6)


@settings(derandomize=True, deadline=None, max_examples=30, database=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([1, 2, 30, 400]))
def test_an_employee_counts_once_in_a_tail(seed: int, n: int) -> None:
    check_once_each(seed, n)


def test_a_campaign_of_many_days_does_not_move_the_tail_and_innocent_extremes_do() -> None:
    rng = np.random.default_rng(2)
    keys, values = rng.integers(0, 200, 4000), rng.exponential(1, (4000, 1))
    campaign = np.where(keys == 7, 50, values[:, 0])[:, None] + 1e-3 * values
    held = calibration.once_each(keys, campaign)
    assert (campaign > 40).sum() > 10 and (held > 40).sum() == 1
    assert tails.fit(held).scale[0] < 2 * tails.fit(values).scale[0]
    innocent = calibration.once_each(np.arange(4000), campaign)
    assert np.array_equal(innocent, campaign)


@pytest.mark.parametrize(("budget", "rarity"), [(1000, 0.0), (10, 2.0), (1, 3.0), (0.1, 4.0)])
def test_a_budget_of_false_alerts_is_a_rarity(budget: float, rarity: float) -> None:
    assert calibration.threshold(budget) == pytest.approx(rarity)


@pytest.mark.parametrize("budget", [0, -1])
def test_there_is_no_budget_of_nothing(budget: float) -> None:
    with pytest.raises(AssertionError):
        calibration.threshold(budget)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("np.maximum.reduceat(v,", "np.minimum.reduceat(v,"),
        ("np.lexsort((days, keys))", "np.arange(len(keys))"),
        ("(np.diff(k) != 0) | (np.diff(d) != 0)", "np.diff(k) != 0"),
        ("(np.diff(k) != 0) | (np.diff(d) != 0)", "np.diff(d) != 0"),
    ],
)
def test_a_change_is_noticed(old: str, new: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [(2, 1, 5.0, 1.0), (1, 1, 3.0, 2.0), (2, 1, 4.0, 4.0), (1, 2, 1.0, 1.0), (2, 3, 1.0, 1.0), (3, 3, 1.0, 1.0)]
    check_day_maxima(rows)
    mutate(monkeypatch, calibration, old, new)
    with pytest.raises(AssertionError):
        check_day_maxima(rows)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("np.quantile(maxima, 1 - TOP, axis=0)", "np.quantile(maxima, 1 - TOP)"),
        ("np.quantile(maxima, 1 - TOP, axis=0)", "np.quantile(maxima, 0.9, axis=0)"),
        ("np.quantile(maxima, 1 - TOP, axis=0)", "np.quantile(maxima, TOP, axis=0)"),
        ('np.argsort(keys, kind="stable")', "np.arange(len(keys))"),
        ("np.append(True, np.diff(keys[order]) != 0)", "np.append(True, np.diff(keys[order]) == 0)"),
        ("np.maximum.reduceat(maxima[order]", "np.minimum.reduceat(maxima[order]"),
        ("(maxima[order] < highest) & (foot > 0)", "(maxima[order] < highest)"),
        ("(maxima[order] < highest) & (foot > 0)", "foot > 0"),
        ("np.minimum(maxima[order], foot), ", "foot, "),
        ("np.minimum(maxima[order], foot), ", "0 * foot, "),
        ("    out[order] = np", "    out[:] = np"),
        ("out = np.array(maxima)", "out = maxima"),
    ],
)
def test_a_change_of_who_counts_is_noticed(old: str, new: str, monkeypatch: pytest.MonkeyPatch) -> None:
    mutate(monkeypatch, calibration, old, new)
    with pytest.raises(AssertionError):
        for seed in (1, 2, 3):
            check_once_each(seed)
