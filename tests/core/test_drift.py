"""Drift: PSI equals its definition, says nothing of small samples, finds what moved, and takes a Sunday for a Sunday."""

from __future__ import annotations

import numpy as np
import pytest
import world
from day_rows import HYPOTHESES, as_days, rows

from detector.core import drift
from detector.core.daily import Daily
from detector.core.drift import BINS, MUCH, WEEK, Reference, Window, counted, edges_of, names, reason, shift
from detector.core.signals import accumulators

D = accumulators.K + HYPOTHESES + 1
MONDAY = 20_514 + WEEK * 5


def levels(rng: np.random.Generator, n: int, factor: float = 1.0) -> np.ndarray:
    """Three columns: mostly 0, always over 0, of few values."""
    rare = rng.exponential(1, n) * (rng.random(n) < 0.1)
    return factor * np.stack([rare, rng.lognormal(0, 1, n), rng.integers(0, 3, n)], axis=1).astype(np.float32)


def a_day(day: int, values: np.ndarray) -> Daily:
    """Records of which the first columns are given and the others 0."""
    n = len(values)
    level = np.zeros((n, accumulators.K), np.float32)
    level[:, : values.shape[1]] = values
    key = np.arange(1, n + 1, dtype=np.uint64)
    columns = {"level": level, "joined": np.zeros((n, HYPOTHESES), np.float32), "score": np.zeros(n, np.float32)}
    return Daily(day, key, np.zeros(n, np.uint64), columns)


def reference(days: list[Daily]) -> Reference:
    return Reference.of([(np.concatenate([drift.measured(d) for d in days]), np.repeat([d.day for d in days], list(map(len, days))))])


def test_psi_is_what_it_is_defined_to_be() -> None:
    edge = np.arange(BINS - 1, dtype=np.float32)[None]
    expected, found = np.array([[50, 30, 20, *[10] * 7]]) * 1000, np.array([[20, 30, 50, *[10] * 7]]) * 1000
    q, p = expected / expected.sum(), found / found.sum()
    assert shift(edge, expected, found).psi[0] == pytest.approx(((p - q) * np.log(p / q)).sum(), rel=1e-3)
    assert shift(edge, expected, 3 * expected).psi[0] == pytest.approx(0, abs=1e-6)


def test_every_value_is_in_one_bin_and_bins_hold_about_equally_many() -> None:
    values = levels(np.random.default_rng(1), 5000)
    found = counted(edges_of(values), values)
    assert (found.sum(axis=1) == 5000).all()
    assert found[0, 0] == (values[:, 0] == 0).sum() and found[1, 0] == 0
    assert found[1, 1:].max() - found[1, 1:].min() <= 1
    assert (found[2] > 0).sum() == 3
    slow = [[sum(b == int((v > e).sum()) for v in values[:50, d]) for b in range(BINS)] for d, e in enumerate(edges_of(values))]
    assert counted(edges_of(values), values[:50]).tolist() == slow


def test_without_a_change_psi_is_what_chance_shows_and_no_more() -> None:
    rng, over, ratio = np.random.default_rng(1), 0, []
    for _ in range(300):
        was, now = levels(rng, 2000), levels(rng, int(rng.integers(300, 3000)))
        edge = edges_of(was)
        found = shift(edge, counted(edge, was), counted(edge, now), dependent=1.0)
        over += int((found.psi > found.noise).sum())
        ratio.append(found.psi / (1 / len(was) + 1 / len(now)))
    assert over <= 6, "of 900 one in a thousand"
    np.testing.assert_allclose(np.mean(ratio, axis=0), [9, 8, 2], rtol=0.15)


def test_small_samples_say_nothing_however_odd_they_are() -> None:
    rng = np.random.default_rng(3)
    was = levels(rng, 4000)
    edge = edges_of(was)
    few, many = (shift(edge, counted(edge, was), counted(edge, levels(rng, n, 9.0))) for n in (40, 4000))
    assert few.psi[1] > MUCH and not few.told[1] and not few.moved.any()
    assert many.told.all() and many.moved[1]
    none = shift(edge, counted(edge, was), np.zeros((3, BINS), np.int64))
    assert np.isinf(none.noise).all() and not none.told.any() and np.isfinite(none.psi).all()


def test_a_window_finds_what_moved_and_names_it() -> None:
    rng = np.random.default_rng(4)
    usual = reference([a_day(MONDAY + d, levels(rng, 400)) for d in range(-14, 0)])
    still, moved = Window(usual), Window(usual)
    for d in range(WEEK):
        still.add(0, a_day(MONDAY + d, levels(rng, 400)))
        moved.add(0, a_day(MONDAY + d, levels(rng, 400) * np.array([1, 3, 1], np.float32)))
    columns = names(world.model().hypotheses)
    assert len(columns) == D and len(set(columns)) == D
    assert reason(columns, still.shift()) == "" and still.rows == WEEK * 400
    assert reason(columns, moved.shift()).split()[0] == columns[1] and moved.shift().moved.sum() == 1


def test_a_day_of_the_week_is_held_against_the_same_day_of_the_week() -> None:
    rng = np.random.default_rng(5)
    quiet = np.array([0.2, 0.05, 1], np.float32)

    def day(d: int) -> Daily:
        return a_day(MONDAY + d, levels(rng, 500) * (quiet if d % WEEK >= 5 else 1))

    window = Window(reference([day(d) for d in range(-21, 0)]))
    window.add(0, day(5))
    window.add(0, day(6))
    assert window.shift().told.all() and not window.shift().moved.any()
    window.add(0, a_day(MONDAY + 7, levels(rng, 500) * quiet))
    assert window.shift().psi[1] > 0.1


def test_a_weekday_that_training_never_saw_is_left_out() -> None:
    rng = np.random.default_rng(6)
    window = Window(reference([a_day(MONDAY, levels(rng, 900))]))
    window.add(0, a_day(MONDAY + 1, levels(rng, 900, 50.0)))
    assert not window.shift().told.any()


def test_a_window_is_bounded_and_a_day_told_again_counts_once() -> None:
    rng = np.random.default_rng(7)
    window = Window(reference([a_day(MONDAY + d, levels(rng, 50)) for d in range(WEEK)]))
    for task in range(3):
        for d in range(30):
            window.add(task, a_day(MONDAY + d, levels(rng, 50)))
            window.add(task, a_day(MONDAY + d, levels(rng, 50)))
    assert window.rows == 3 * WEEK * 50
    window.keep([1])
    assert window.rows == WEEK * 50


def test_a_large_day_is_looked_at_in_part() -> None:
    rng = np.random.default_rng(8)
    made = drift.measured(a_day(MONDAY, levels(rng, 3 * drift.MOST_ROWS + 5)))
    assert drift.MOST_ROWS // 2 < len(made) <= drift.MOST_ROWS and made.shape[1] == D


def test_columns_are_those_of_the_records() -> None:
    daily = as_days(rows(1, [MONDAY], people=30))[0]
    made = drift.measured(daily)
    assert made.shape == (len(daily), D)
    np.testing.assert_array_equal(made[:, accumulators.K : -1], daily.column("joined"))
    np.testing.assert_array_equal(made[:, -1], daily.column("score"))


def test_the_worlds_model_has_a_reference_of_its_held_out_days() -> None:
    model = world.model()
    made = model.reference
    assert len(made) == len(names(model.hypotheses))
    days = made.count.sum(axis=2)
    assert (days == days[:, :1]).all(), "each column has the same employee-days"
    assert days.sum() > 0 and made.count[:, -1, 1:].sum() > 0
