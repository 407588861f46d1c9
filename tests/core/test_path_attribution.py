"""Credits explain a score without remainder, are those of a slow, obvious version, and of the features that shap names."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mutation import mutate
from sklearn.ensemble import IsolationForest
from sklearn.ensemble._iforest import _average_path_length

from detector.core.estimators import isolation_forest, path_attribution
from detector.core.estimators.isolation_forest import pack
from detector.core.estimators.path_attribution import attribute, expected_depth


def data(seed: int, rows: int = 200) -> np.ndarray:
    """Two columns that go together, a coarse one, a constant one, two mostly 0: the shapes that evidence has."""
    rng = np.random.default_rng(seed)
    X = rng.exponential(size=(rows, 6))
    X[:, 1] += X[:, 0]
    X[:, 2] = rng.integers(0, 3, rows)
    X[:, 3] = 0.3
    X[:, 4:] = np.where(X[:, 4:] < 1.5, 0, X[:, 4:])
    return X.astype(np.float32)


def grown(seed: int, trees: int = 7, samples: int = 64, **more: Any) -> IsolationForest:
    return IsolationForest(n_estimators=trees, max_samples=samples, random_state=seed, **more).fit(data(seed))


def mean_depths(forest: IsolationForest, X: np.ndarray) -> np.ndarray:
    """From scikit-learn's scores alone: 2^(-d / c)."""
    return -np.log2(-forest.score_samples(X)) * float(_average_path_length([forest.max_samples_])[0])


def slow_way(tree: Any, columns: np.ndarray, x: np.ndarray, node: int = 0, depth: int = 0) -> tuple[float, np.ndarray]:
    """(expected path length at a node, credits from there on for row x), recursively and for one tree of scikit-learn."""
    left, right, credit = tree.children_left[node], tree.children_right[node], np.zeros(len(x))
    if left < 0:
        return depth + float(_average_path_length([tree.n_node_samples[node]])[0]), credit
    means = {child: slow_way(tree, columns, x, child, depth + 1) for child in (left, right)}
    mean = sum(tree.n_node_samples[child] * means[child][0] for child in means) / tree.n_node_samples[node]
    column = columns[tree.feature[node]]
    went, credit = means[left if float(x[column]) <= tree.threshold[node] else right]
    credit[column] += mean - went
    return mean, credit


def slow(forest: IsolationForest, x: np.ndarray) -> tuple[float, np.ndarray]:
    trees = zip(forest.estimators_, forest.estimators_features_, strict=True)
    ways = [slow_way(estimator.tree_, np.asarray(columns), x) for estimator, columns in trees]
    return float(np.mean([mean for mean, _ in ways])), np.mean([credit for _, credit in ways], axis=0)


def check(seed: int, rows: int = 12, **more: Any) -> None:
    forest = grown(seed, **more)
    packed, X = pack(forest), np.concatenate([data(seed + 1, rows), data(seed, rows), 3 * data(seed + 2, rows)])
    credits, base = attribute(packed, X), expected_depth(packed)
    assert credits.shape == X.shape and credits.dtype == np.float32
    np.testing.assert_allclose(credits.sum(1), base - mean_depths(forest, X), rtol=0, atol=2e-5)
    for x, credit in zip(X, credits, strict=True):
        mean, expected = slow(forest, x)
        np.testing.assert_allclose(base, mean, rtol=1e-12)
        np.testing.assert_allclose(credit, expected, rtol=1e-5, atol=1e-6)
        assert not credit[expected == 0].any(), "a feature that no split asked for has a credit"


@settings(derandomize=True, deadline=None, max_examples=15, database=None)
@given(st.integers(0, 2**31 - 10), st.sampled_from([2, 3, 17, 64, 200]), st.integers(1, 12))
def test_credits_sum_to_what_scikit_learn_says_and_are_those_of_the_slow_version(seed: int, samples: int, trees: int) -> None:
    check(seed, rows=4, samples=samples, trees=trees)


@pytest.mark.parametrize("more", [{"max_features": 0.5}, {"bootstrap": True}, {"max_features": 2, "trees": 1}])
def test_so_they_are_in_forests_of_other_kinds(more: dict[str, Any]) -> None:
    check(3, rows=5, **more)


def test_the_kernel_is_the_same_as_plain_python(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (isolation_forest, path_attribution):
        mutate(monkeypatch, module, "", "")
    check(1, rows=5)


def test_a_credit_multiplies_the_score() -> None:
    packed, X = pack(grown(1)), data(2)
    c = packed.normal / len(packed.path)
    np.testing.assert_allclose(2 ** ((attribute(packed, X).sum(1) - expected_depth(packed)) / c), packed.score(X), rtol=1e-6)


def test_the_base_value_is_the_mean_over_the_rows_a_forest_was_grown_from() -> None:
    """Of a forest that saw all rows in each tree: so credits of its own rows sum to nothing on average."""
    forest = grown(1, samples=200)
    packed = pack(forest)
    assert expected_depth(packed) == pytest.approx(mean_depths(forest, data(1)).mean())
    assert abs(attribute(packed, data(1)).sum(1).mean()) < 1e-5


def test_a_row_that_is_strange_in_one_feature_says_so() -> None:
    packed = pack(grown(1, trees=100))
    for column in (0, 1, 4, 5):
        X = np.repeat(np.median(data(1), axis=0)[None], 3, axis=0).astype(np.float32)
        X[1, column] = 12
        credits = attribute(packed, X)
        assert credits[1].argmax() == column and credits[1, column] > 1
        assert credits[0].tolist() == credits[2].tolist() and credits[0].sum() < 0
        assert not credits[:, 3].any(), "a constant feature isolates nobody"


def test_each_row_is_explained_for_itself() -> None:
    packed, X = pack(grown(1)), data(2)
    together = attribute(packed, X)
    assert together[::3].tobytes() == attribute(packed, X[::3]).tobytes()
    assert all(together[i].tobytes() == attribute(packed, X[i : i + 1]).tobytes() for i in range(20))
    assert attribute(packed, X[:0]).shape == (0, 6)


def test_a_forest_of_leaves_explains_nothing() -> None:
    constant = np.full((50, 3), 0.3, np.float32)
    forest = IsolationForest(n_estimators=5, max_samples=32, random_state=1).fit(constant)
    assert not attribute(pack(forest), constant).any()
    assert expected_depth(pack(forest)) == pytest.approx(mean_depths(forest, constant)[0])


@pytest.mark.parametrize("wrong", [lambda X: X.astype(np.float64), lambda X: X[:, :-1], lambda X: X[0]])
def test_rows_of_another_shape_or_type_are_a_bug(wrong: Any) -> None:
    with pytest.raises(AssertionError):
        attribute(pack(grown(1)), wrong(data(5)))


def test_nan_is_refused() -> None:
    X = data(5)
    X[17, 2] = np.nan
    with pytest.raises(ValueError, match="NaN"):
        attribute(pack(grown(1)), X)


@pytest.mark.parametrize(
    ("module", "old", "new"),
    [
        (path_attribution, "credit[i, np.uint64(feature[k, p])] +=", "credit[i, np.uint64(feature[k, q % last])] +="),
        (path_attribution, "credit[i, np.uint64(feature[k, p])] +=", "credit[i, np.uint64(feature[k, p])] ="),
        (path_attribution, "expected[k, p] - below", "below - expected[k, p]"),
        (path_attribution, "expected[k, p] - below", "expected[k, 0] - below"),
        (path_attribution, "path[k, q - last]", "path[k, q - q]"),
        (path_attribution, "while p < last", "while p < last // np.uint64(2)"),
        (path_attribution, "for k in range(trees)", "for k in range(trees - 1)"),
        (path_attribution, "credit / len(forest.path)", "credit / (1 + len(forest.path))"),
        (path_attribution, "credit / len(forest.path), np.float32", "credit / len(forest.path), np.float64"),
        (path_attribution, "root[:, 0].mean()", "root[:, 0].max()"),
        (path_attribution, "root[:, 0].mean()", "root.mean()"),
        (path_attribution, "forest.expected if forest.expected.size else forest.path", "forest.path"),
        (isolation_forest, "rows[left] * means[left]", "rows[right] * means[left]"),
        (isolation_forest, "rows[right] * means[right]", "rows[right]"),
        (isolation_forest, "/ rows[nodes]", "/ (rows[nodes] + 1)"),
        (isolation_forest, "np.zeros((count, inner))\n", "np.zeros((count, inner), np.float32)\n"),
        (isolation_forest, "for level in reversed(levels)", "for level in levels"),
        (isolation_forest, "for level in reversed(levels)", "for level in reversed(levels[1:])"),
        (isolation_forest, "means[:inner], means[inner:]", "means[:inner], means[1 : inner + 2]"),
        (isolation_forest, "lengths, levels)[np.concatenate(levels)]", "lengths, levels)[np.concatenate(levels[::-1])]"),
    ],
)
def test_a_change_is_noticed(module: Any, old: str, new: str, monkeypatch: pytest.MonkeyPatch) -> None:
    mutate(monkeypatch, module, old, new)
    with pytest.raises(AssertionError):
        check(1, rows=5)
        check(1, rows=5, trees=1, max_features=2)  # no split asks for feature 0, only padding does


KINDS = ("exponential", "correlated", "sparse")


def evidence(kind: str, rows: int = 5_000, columns: int = 20) -> np.ndarray:
    rng = np.random.default_rng(KINDS.index(kind))
    X = rng.exponential(size=(rows, columns))
    if kind == "correlated":
        X = np.abs(rng.normal(size=(rows, 5)) @ rng.normal(size=(5, columns)))
    if kind == "sparse":
        X = np.where(X < 1.5, 0, X)
    return X.astype(np.float32)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_shap_says_nearly_the_same(kind: str) -> None:
    """TreeSHAP on the same forest: equal base value and sums, and for most of the strangest 2 % of rows the same feature first."""
    import shap

    X = evidence(kind)
    forest = IsolationForest(n_estimators=100, max_samples=256, random_state=1).fit(X)
    packed, explainer = pack(forest), shap.TreeExplainer(forest)
    strange = X[np.argsort(forest.score_samples(X))[:100]]
    theirs, ours = -explainer.shap_values(strange), attribute(packed, strange)
    np.testing.assert_allclose(expected_depth(packed), np.ravel(explainer.expected_value)[0], rtol=1e-9)
    np.testing.assert_allclose(ours.sum(1), theirs.sum(1), rtol=0, atol=1e-5)
    top = theirs.argmax(1)
    first, firsts = (top == ours.argmax(1)).mean(), (np.argsort(-ours, 1)[:, :3] == top[:, None]).any(1).mean()
    together = np.corrcoef(theirs.ravel(), ours.ravel())[0, 1]
    print(f"{kind}: same top feature {first:.0%}, shap's top among our first three {firsts:.0%}, correlation {together:.3f}")
    assert first >= 0.7 and firsts >= 0.95 and together > 0.97
