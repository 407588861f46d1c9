"""The packed forest scores bit for bit what scikit-learn scores; hostile arrays and NaN are refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mutation import mutate
from sklearn.ensemble import IsolationForest

from detector.core.estimators import isolation_forest
from detector.core.estimators.isolation_forest import PackedForest, fit, pack


def data(seed: int, rows: int = 300, columns: int = 6) -> np.ndarray:
    """Continuous, coarse (many equal values), constant, huge and tiny columns."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(rows, columns))
    X[:, 1] = rng.integers(0, 4, rows)
    X[:, 2] = 0.3
    X[:, 3] *= 1e30
    X[:, 4] *= 1e-30
    return X.astype(np.float32)


def forest(seed: int, trees: int = 20, samples: int = 64, **more: Any) -> tuple[IsolationForest, PackedForest]:
    fitted = IsolationForest(n_estimators=trees, max_samples=samples, random_state=seed, **more).fit(data(seed))
    return fitted, pack(fitted)


def on_thresholds(packed: PackedForest, X: np.ndarray, seed: int) -> np.ndarray:
    """Rows with values that are exactly thresholds of the forest, or the floats next to them."""
    rng, X = np.random.default_rng(seed), X.copy()
    trees, nodes = np.nonzero(np.isfinite(packed.threshold))
    for i in range(len(X)):
        for t, n in zip(*(some[pick] for some in (trees, nodes) for pick in [rng.integers(0, len(trees), 4)]), strict=False):
            towards = np.float32(rng.choice([-np.inf, np.inf]))
            at = packed.threshold[t, n]
            X[i, packed.feature[t, n]] = at if rng.random() < 0.6 else np.nextafter(at, towards)
    return X


def check_equal(seed: int, rows: int = 120, **more: Any) -> None:
    theirs, ours = forest(seed, **more)
    X = np.concatenate([data(seed + 1, rows), on_thresholds(ours, data(seed + 2, rows), seed)])
    assert ours.score(X).tobytes() == (-theirs.score_samples(X)).tobytes()


@settings(derandomize=True, deadline=None, max_examples=12, database=None)
@given(st.integers(0, 2**31 - 10), st.sampled_from([2, 3, 17, 64, 256]), st.integers(1, 30))
def test_scores_are_those_of_scikit_learn_bit_for_bit(seed: int, samples: int, trees: int) -> None:
    check_equal(seed, samples=samples, trees=trees)


@pytest.mark.parametrize("features", [0.5, 1])
def test_so_they_are_with_features_left_out_of_trees(features: float) -> None:
    check_equal(3, max_features=features)


COUNTS = [1, 2, 7, 15, 16, 17, 31, 32, 33, 101, 999, 1_000, 2_047, 4_999, 5_000]


@pytest.mark.parametrize("distinct", [2, 5, 1_000_000])
def test_scores_are_equal_whatever_the_number_of_rows_and_of_equal_values(distinct: int) -> None:
    """As the detector uses it: 20 columns, 100 trees of 256 rows; trees of one forest end at different depths, so most are padded."""
    rng = np.random.default_rng(distinct)
    X = rng.integers(0, distinct, (5_000, 20)).astype(np.float32) / np.float32(7)
    X[rng.integers(0, 5_000, 500)] = X[rng.integers(0, 5_000, 500)]
    theirs = IsolationForest(n_estimators=100, max_samples=256, random_state=distinct).fit(X)
    ours = pack(theirs)
    inner = ours.feature.shape[1]
    assert np.isinf(ours.threshold[:, inner // 2 :]).any() and np.isfinite(ours.threshold[:, inner // 2 :]).any()
    for rows in COUNTS:
        some = X[rng.permutation(5_000)[:rows]]
        assert ours.score(some).tobytes() == (-theirs.score_samples(some)).tobytes(), rows


@settings(derandomize=True, deadline=None, max_examples=15, database=None)
@given(st.integers(1, 5_000), st.integers(1, 40))
def test_scores_are_equal_for_drawn_numbers_of_rows_and_trees(rows: int, trees: int) -> None:
    theirs, ours = forest(rows, trees=trees)
    X = data(rows + trees, rows)
    assert ours.score(X).tobytes() == (-theirs.score_samples(X)).tobytes()


@pytest.mark.parametrize("rows", [1, 7, 8, 9, 15, 16, 17, 33])
def test_any_number_of_rows_scores_as_each_alone(rows: int) -> None:
    theirs, ours = forest(4)
    X = on_thresholds(ours, data(5, rows), 6)
    together = ours.score(X)
    assert together.tobytes() == (-theirs.score_samples(X)).tobytes()
    assert together.tolist() == [float(ours.score(X[i : i + 1])[0]) for i in range(rows)]


def test_no_rows_have_no_scores() -> None:
    assert forest(4)[1].score(np.zeros((0, 6), np.float32)).shape == (0,)


def test_a_view_of_every_other_row_scores_the_same() -> None:
    ours, X = forest(4)[1], data(5, 20)
    assert ours.score(X[::2]).tolist() == ours.score(np.ascontiguousarray(X[::2])).tolist()


def test_constant_data_make_a_forest_of_leaves() -> None:
    constant = np.full((50, 3), 0.3, np.float32)
    theirs = IsolationForest(n_estimators=5, max_samples=32, random_state=1).fit(constant)
    assert pack(theirs).score(constant).tobytes() == (-theirs.score_samples(constant)).tobytes()


def test_fitting_twice_gives_the_same_arrays() -> None:
    one, two = fit(data(1), 7).to_arrays(), fit(data(1), 7).to_arrays()
    assert {n: a.tobytes() for n, a in one.items()} == {n: a.tobytes() for n, a in two.items()}
    assert not np.array_equal(one["threshold"], fit(data(1), 8).threshold)


@pytest.mark.parametrize("wrong", [lambda X: X.astype(np.float64), lambda X: X[:, :-1], lambda X: X[0]])
def test_rows_of_another_shape_or_type_are_a_bug(wrong: Any) -> None:
    with pytest.raises(AssertionError):
        forest(4)[1].score(wrong(data(5)))


def test_nan_is_refused() -> None:
    X = data(5)
    X[17, 2] = np.nan
    with pytest.raises(ValueError, match="NaN"):
        forest(4)[1].score(X)


def changed(array: np.ndarray, value: Any) -> np.ndarray:
    out = array.copy()
    out.flat[-1] = value
    return out


DAMAGES: list[tuple[str, Any]] = [
    ("feature", lambda a: changed(a, 6)),
    ("feature", lambda a: changed(a, -1)),
    ("feature", lambda a: a.astype(np.int64)),
    ("feature", lambda a: a[:, :-1]),
    ("feature", lambda a: a[:-1]),
    ("threshold", lambda a: changed(a, np.nan)),
    ("threshold", lambda a: changed(a, -np.inf)),
    ("threshold", lambda a: a.astype(np.float64)),
    ("threshold", lambda a: a[:-1]),
    ("path", lambda a: changed(a, np.inf)),
    ("path", lambda a: changed(a, np.nan)),
    ("path", lambda a: a[:, :-1]),
    ("path", lambda a: a[0]),
    ("path", lambda a: a.astype(np.float32)),
    ("path", lambda a: a[:0]),
    ("path", lambda a: np.zeros((len(a), 1 << 17))),
    ("expected", lambda a: changed(a, np.inf)),
    ("expected", lambda a: changed(a, np.nan)),
    ("expected", lambda a: a[:, :-1]),
    ("expected", lambda a: a[:-1]),
    ("expected", lambda a: a.astype(np.float32)),
    ("normal", lambda a: a * 0),
    ("normal", lambda a: -a),
    ("normal", lambda a: a * np.nan),
    ("features", lambda a: a - 1),
]


@pytest.mark.parametrize(("name", "damage"), DAMAGES, ids=[f"{name}-{i}" for i, (name, _) in enumerate(DAMAGES)])
def test_hostile_arrays_are_refused(name: str, damage: Any) -> None:
    arrays = forest(4)[1].to_arrays()
    assert PackedForest.from_arrays(arrays).score(data(1)).tolist() == forest(4)[1].score(data(1)).tolist()
    with pytest.raises(ValueError):
        PackedForest.from_arrays({**arrays, name: damage(arrays[name])})


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("feature[k, p])] > threshold[k, p]", "feature[k, p])] >= threshold[k, p]"),
        ("TWO * p + ONE + np.uint64(", "TWO * p + TWO - np.uint64("),
        ("step(X, i + r, feature, threshold, k, at[r])", "step(X, i, feature, threshold, k, at[r])"),
        ("step(X, i, feature, threshold, k + t, at[t])", "step(X, i, feature, threshold, k, at[t])"),
        ("some = min(TOGETHER, trees - k)", "some = min(TOGETHER, trees - k - 1)"),
        ("for k in range(0, trees, TOGETHER)", "for k in range(0, trees - TOGETHER, TOGETHER)"),
        ("depth += path[k + t, at[t]", "depth += path[k + t, at[0]"),
        ("for i in range(whole, len(X))", "for i in range(whole + 1, len(X))"),
        # trees added in another order
        ("for t in range(some):\n            depth", "for t in range(some)[::-1]:\n            depth"),
        ("np.where(near.astype(np.float64) > threshold, np.nextafter(near, np.float32(-np.inf)), near)", "near"),
        ("np.where(leaf, 0, columns[np.maximum(tree.feature[nodes], 0)])", "np.where(leaf, 0, 0 * tree.feature[nodes])"),
        ("np.stack(below, 1)", "np.stack(below, 0)"),
        ("[np.where(leaf, nodes, tree.children_left[nodes])", "[np.where(leaf, 0, tree.children_left[nodes])"),
        ("_average_path_length_per_tree[k] - 1.0", "_average_path_length_per_tree[k]"),
        ("normal = count * float(", "normal = 1.0001 * count * float("),
        ("2 ** (-depths / self.normal)", "np.exp2(-depths / self.normal * 1.0000001)"),
        ("depths[i + r] += path[k, at[r]", "depths[i + r] += path[k, at[0]"),
        ("for k in range(trees):\n            at", "for k in range(trees - 1):\n            at"),
    ],
)
def test_a_change_is_noticed(old: str, new: str, monkeypatch: pytest.MonkeyPatch) -> None:
    mutate(monkeypatch, isolation_forest, old, new)
    with pytest.raises(AssertionError):
        check_equal(1, rows=35)
