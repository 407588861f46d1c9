"""Tails: value -> rarity, against an obvious version; monotone, bounded, and honest on data that were held out."""

from __future__ import annotations

import math
from dataclasses import dataclass

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
    return min(max(r, 0.0), max(4.6, fitted.soft[d]))


@dataclass
class SlowFit:
    """One tail, from its description: what is above the top 2 % is an exponential, what hardly ever happens is measured with more care."""

    threshold: float
    at_threshold: float
    scale: float
    soft: float
    days: list[float]

    @staticmethod
    def of(days: list[float], plain: bool) -> SlowFit:
        n, ranked, seen = len(days), sorted(days, reverse=True), sum(day > 0 for day in days)
        sparse = seen < 0.015 * n
        top = min(max(min(seen // 3, n // 50) if sparse else n // 50, 1), n - 1)
        threshold = max(ranked[top], 1e-6)
        excess = [max(day - threshold, 0) for day in ranked[:top]]
        if sparse:
            scale = max(sum(excess) / top if top >= 5 else 0, 0.15 * threshold + 0.001)
        elif excess:
            censored = min(math.ceil(n / 1000), top - 1)
            scale = max(sum(min(x, excess[censored]) for x in excess) / (top - censored), 0.001)
        else:
            scale = 1.0
        soft = 6 if plain else max(math.log10(n) - (0.9 if sparse else 0.6), 0.5)
        return SlowFit(threshold, max(-math.log10((top + (4 if sparse else 0.5)) / (n + 1)), 0), scale, soft, days)

    def knot(self, value: float) -> float:
        """The share of days that reach as high."""
        as_high = sum(day >= value for day in self.days)
        return min(max(-math.log10((as_high + 0.5) / (len(self.days) + 1)), 0), self.at_threshold)


def check_fit(seed: int, n: int = 3000, plain: bool = False) -> None:
    hardly = np.where(np.arange(n) < 0.017 * n, np.arange(n) + 1, 0)
    table = np.column_stack([days(seed, n), hardly])
    fitted = tails.fit(table, plain)
    for d, column in enumerate(table.T):
        slow = SlowFit.of(column.tolist(), plain)
        found = (fitted.value[d, -1], fitted.rarity[d, -1], fitted.scale[d], fitted.soft[d])
        np.testing.assert_allclose(found, (slow.threshold, slow.at_threshold, slow.scale, slow.soft), rtol=1e-9)
        knots = np.unique(fitted.value[d])
        below = sorted(day for day in slow.days if day <= slow.threshold)
        denser = [math.sqrt(i / (KNOTS - 2)) * (len(below) - 1) for i in range(KNOTS - 1)]
        assert knots.tolist() == sorted({slow.threshold, *(below[int(at)] for at in denser)})
        assert (np.diff(fitted.value[d]) >= 0).all()
        expected = [slow.knot(knot) for knot in knots[:-1]]
        np.testing.assert_allclose(fitted.rarity[d][np.unique(fitted.value[d], return_index=True)[1]][:-1], expected, rtol=1e-9)


@MANY
@given(SEEDS, st.sampled_from([1, 2, 30, 400, 3000]), st.booleans())
def test_tails_are_fitted_as_the_slow_version_fits_them(seed: int, n: int, plain: bool) -> None:
    check_fit(seed, n, plain)


def test_a_handful_of_days_is_never_taken_for_a_small_scale() -> None:
    """Who does a rare thing a little more than the few who ever did it is not as rare as can be."""
    few = np.zeros((3000, 1))
    few[:12] = 2.0
    assert tails.fit(few).scale[0] == pytest.approx(0.301)
    few[:15, 0] = [2, 2.1, 2.2] * 5
    assert 0.3 < tails.fit(few).scale[0] < 0.4
    few[:30, 0] = np.arange(1, 31)
    assert tails.fit(few).scale[0] == pytest.approx((1 + 10) / 2)


def check_rarities(seed: int, plain: bool = False) -> None:
    fitted = tails.fit(days(seed), plain)
    values = probes(fitted, seed)
    expected = [[slow_rarity(float(x), fitted, d) for d, x in enumerate(row)] for row in values]
    np.testing.assert_allclose(fitted.rarities(values), expected, rtol=1e-5, atol=1e-5)


@MANY
@given(SEEDS)
def test_rarities_equal_the_slow_version(seed: int) -> None:
    check_rarities(seed)
    check_rarities(seed, plain=True)


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
        check_rarities(1, plain=True)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("TOP, CENSORED = 0.02", "TOP, CENSORED = 0.03"),
        ("CENSORED = 0.02, 0.001", "CENSORED = 0.02, 0.002"),
        ("np.full(len(scale), PLAIN_MOST)", "np.full(len(scale), PLAIN_MOST - 1)"),
        ("carrying < SPARSE * n", "carrying < 2 * n"),
        ("carrying < SPARSE * n", "carrying < 0 * n"),
        ("(SPARSE_EXTRA if sparse else 0.5)", "0.5"),
        ("(SPARSE_EXTRA if sparse else 0.5)", "(SPARSE_EXTRA if sparse else 1)"),
        ("(SPARSE_EXTRA if sparse", "(SPARSE_EXTRA + 1 if sparse"),
        ("(SPARSE_SLOW_BELOW if sparse else SLOW_BELOW)", "SLOW_BELOW"),
        ("(SPARSE_SLOW_BELOW if sparse", "(SPARSE_SLOW_BELOW + 0.1 if sparse"),
        ("sparse else SLOW_BELOW)", "sparse else SLOW_BELOW + 0.1)"),
        ("carrying // 3", "carrying // 2"),
        ("len(excess) >= SPARSE_LEAST", "len(excess) >= SPARSE_LEAST + 20"),
        ("len(excess) >= SPARSE_LEAST", "True"),
        ("max(mean, 0.15 * threshold + 1e-3)", "mean"),
        ("0.15 * threshold", "0.2 * threshold"),
        ("threshold + 1e-3)", "threshold)"),
        ("_sparse_scale(excess, threshold) if sparse else _scale(excess, n)", "_scale(excess, n)"),
        ("np.maximum(v[n - top :] - threshold, 0)", "v[n - top :] - threshold"),
        ("np.maximum(v[n - top :] - threshold, 0)", "np.maximum(v[n - top :], 0)"),
        ("threshold = max(v[n - 1 - top], 1e-6)", "threshold = max(v[n - top], 1e-6)"),
        ('np.searchsorted(v, value, "left") + 0.5', 'np.searchsorted(v, value, "right") + 0.5'),
        ('np.searchsorted(v, value, "left") + 0.5', 'np.searchsorted(v, value, "left") + 1'),
        ("np.clip(rarity, 0.0, max(rarity[-1], 0.0))", "rarity"),
        ("** 0.5 * (len(below) - 1)", "* (len(below) - 1)"),
        ("** 0.5 * (len(below) - 1)", "** 0.5 * (len(v) - 1)"),
        ("(len(excess) - censored), 1e-3)", "len(excess), 1e-3)"),
        ("kept = np.minimum(excess, excess[len(excess) - 1 - censored])", "kept = excess"),
    ],
)
def test_a_changed_fit_is_noticed(old: str, new: str, monkeypatch: pytest.MonkeyPatch) -> None:
    mutate(monkeypatch, tails, old, new)
    with pytest.raises((AssertionError, IndexError)):
        for seed, n in ((1, 3000), (2, 3000), (3, 400), (4, 100), (5, 1), (6, 2)):
            check_fit(seed, n)
            check_fit(seed, n, plain=True)
        test_a_handful_of_days_is_never_taken_for_a_small_scale()
