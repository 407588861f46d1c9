"""Tails: value -> rarity, against an obvious version; monotone, bounded, and honest on data that were held out."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mutation import mutate

from detector.core.calibration import least_value
from detector.core.estimators import tails
from detector.core.estimators.tails import KNOTS, Tails

MANY = settings(derandomize=True, deadline=None, max_examples=40, database=None)
SEEDS = st.integers(0, 2**32 - 1)


def days(seed: int, n: int = 3000) -> np.ndarray:
    """Day maxima of four signals: dense, often zero, sparse, of few different values."""
    rng = np.random.default_rng(seed)
    often, seldom = rng.random((2, n))
    return np.stack(
        [rng.exponential(2, n), rng.exponential(1, n) * (often < 0.3), rng.exponential(3, n) * (seldom < 0.008), rng.integers(0, 4, n)], 1
    )


def probes(fitted: Tails, seed: int) -> np.ndarray:
    """Values around every knot and far above, float32 (m, D)."""
    rng = np.random.default_rng(seed)
    around = fitted.value[:, rng.integers(0, KNOTS, 60)].T + rng.normal(0, 0.2, (60, len(fitted)))
    return np.concatenate([fitted.value.T, around, rng.uniform(-1, 200, (40, len(fitted)))]).astype(np.float32)


def slow_rarity(x: float, fitted: Tails, d: int) -> float:
    """Straight lines between the knots, an exponential's straight line above the last one, flatter where few days can tell."""
    if x <= 0:
        return 0.0
    last = fitted.value[d, -1]
    if x >= last:
        r = fitted.rarity[d, -1] + (x - last) / fitted.scale[d] / math.log(10)
    else:
        knots, at = np.unique(fitted.value[d], return_index=True)
        r = float(np.interp(x, knots, fitted.rarity[d][at]))
    if r > fitted.soft[d]:
        r = fitted.soft[d] + 0.3 * (r - fitted.soft[d])
    return min(max(r, 0.0), 4.6)


def check_rarities(seed: int) -> None:
    fitted = tails.fit(days(seed))
    values = probes(fitted, seed)
    expected = [[slow_rarity(float(x), fitted, d) for d, x in enumerate(row)] for row in values]
    np.testing.assert_allclose(fitted.rarities(values), expected, rtol=1e-5, atol=1e-5)


@MANY
@given(SEEDS)
def test_rarities_equal_the_slow_version(seed: int) -> None:
    check_rarities(seed)


@MANY
@given(SEEDS)
def test_a_higher_value_is_never_less_rare_and_none_is_out_of_bounds(seed: int) -> None:
    fitted = tails.fit(days(seed))
    said = fitted.rarities(np.sort(probes(fitted, seed), axis=0))
    assert (np.diff(said, axis=0) >= 0).all()
    assert said.min() >= 0 and said.max() <= np.float32(4.6)
    assert (fitted.rarities(np.full((1, 4), 1e30, np.float32)) == np.float32(4.6)).all()
    assert (fitted.rarities(np.zeros((1, 4), np.float32)) == 0).all()


@pytest.mark.parametrize("n", [1, 2, 3, 10, 49, 51, 400])
def test_few_days_fit_too(n: int) -> None:
    fitted = tails.fit(days(n, n))
    Tails.from_arrays(fitted.to_arrays(), 4)
    said = fitted.rarities(np.linspace(0, 50, 200, dtype=np.float32)[:, None].repeat(4, 1))
    assert (np.diff(said, axis=0) >= 0).all() and np.isfinite(said).all()


@pytest.mark.parametrize("rarity", [1.0, 2.0, 2.5, 3.0])
def test_the_rate_on_held_out_days_is_about_what_was_promised(rarity: float) -> None:
    rng = np.random.default_rng(11)
    rates = []
    for _ in range(20):
        fitted = tails.fit(rng.exponential(2, (6000, 1)))
        rates.append((fitted.rarities(rng.exponential(2, (20_000, 1)).astype(np.float32)) >= rarity).mean())
    assert 0.8 < np.mean(rates) / 10**-rarity < 1.25


def test_incidents_in_the_history_hardly_set_the_scale() -> None:
    rng = np.random.default_rng(5)
    clean = rng.exponential(2, (6000, 1))
    with_incidents = np.concatenate([clean, np.full((5, 1), 500.0)])
    assert tails.fit(with_incidents).scale[0] < 1.3 * tails.fit(clean).scale[0]


@MANY
@given(SEEDS, st.floats(0.1, 4.5))
def test_the_least_value_of_a_rarity_is_exact(seed: int, rarity: float) -> None:
    fitted = tails.fit(days(seed, 500)[:, [seed % 4]])
    least = least_value(fitted, rarity)
    below = np.nextafter(least, np.float32(0))
    assert float(fitted.rarities(np.array([[least]]))[0, 0]) >= rarity
    assert float(fitted.rarities(np.array([[below]]))[0, 0]) < rarity


def test_a_rarity_that_no_value_has_is_infinitely_far() -> None:
    assert least_value(tails.fit(days(1)[:, :1]), 4.7) == np.inf


DAMAGES = {
    "value": [lambda a: a[:, ::-1].copy(), lambda a: a[:-1], lambda a: np.where(a == a.max(), np.nan, a), lambda a: a.astype(np.float32)],
    "rarity": [lambda a: a[:, ::-1].copy(), lambda a: a - 5, lambda a: a * np.inf, lambda a: a[:, 1:]],
    "scale": [lambda a: -a, lambda a: a * 0, lambda a: a + np.nan, lambda a: a[None]],
    "soft": [lambda a: a * np.inf, lambda a: a[:2], lambda a: a.astype(np.int64)],
}


@pytest.mark.parametrize(("name", "which"), [(name, i) for name, some in DAMAGES.items() for i in range(len(some))])
def test_damaged_arrays_are_refused(name: str, which: int) -> None:
    arrays = tails.fit(days(1)).to_arrays()
    assert np.array_equal(Tails.from_arrays(arrays, 4).value, arrays["value"])
    with pytest.raises(ValueError):
        Tails.from_arrays({**arrays, name: DAMAGES[name][which](arrays[name])}, 4)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("MOST, SLOW, SLOW_BELOW = 4.6", "MOST, SLOW, SLOW_BELOW = 4.5"),
        ("= 4.6, 0.3, 0.6", "= 4.6, 0.4, 0.6"),
        ("LN10 = math.log(10)", "LN10 = 1.0"),
        ("if x <= 0.0:", "if x < -1.0:"),
        ("if knot[d, mid] <= x:", "if knot[d, mid] > x:"),
        ("r = knot_rarity[d, low] + part *", "r = knot_rarity[d, high] + part *"),
        ("if r > soft[d]:", "if r < soft[d]:"),
        ("if x >= knot[d, last]:", "if x > 2 * knot[d, last]:"),
        ("last = KNOTS - 1", "last = KNOTS - 2"),
    ],
)
def test_a_changed_kernel_is_noticed(old: str, new: str, monkeypatch: pytest.MonkeyPatch) -> None:
    mutate(monkeypatch, tails, old, new)
    with pytest.raises(AssertionError):
        check_rarities(1)
