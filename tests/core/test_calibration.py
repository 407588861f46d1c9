"""Day maxima and thresholds; the exact least value of a rarity is tested with the tails."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mutation import mutate

from detector.core import calibration

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
        ("np.maximum.reduceat", "np.minimum.reduceat"),
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
