"""Path attribution: what each feature of a row adds to its strangeness for an isolation forest, or takes from it.

On a row's way through a tree, the path length that is to be expected changes at each split; the change is credited to the split's feature.
The changes of a way sum to what the tree says of the row, so credits explain the score without remainder, for about the price of scoring.
Reference: A. Saabas, "Interpreting random forests", 2014; here the expectation is the mean path length of training rows.

Shapley values (S. Lundberg, G. Erion, S.-I. Lee, "Consistent Individualized Feature Attribution for Tree Ensembles", 2018: TreeSHAP) have
the same sum and base value, but average over every order in which features may become known. Here there is one order, the tree's, so a
credit depends on where its split stands. An isolation forest draws the feature of each split by chance, and the mean over its trees makes
up for most of that. TreeSHAP visits every leaf for every row: hundreds of times the work.
"""

from __future__ import annotations

import numba as nb
import numpy as np
from numpy.typing import NDArray

from detector.core.estimators.isolation_forest import PackedForest, step


def attribute(forest: PackedForest, X: NDArray[np.float32]) -> NDArray[np.float32]:
    """(n, features) path lengths by which each feature makes its row stranger (below 0: more ordinary) than a training row is on average.

    They are mean splits a tree, like shap's for scikit-learn's IsolationForest, with the opposite sign. A row's sum is `expected_depth`
    minus its own mean path length d, and the score is 2^(-d / c), c = forest.normal / trees: a credit a multiplies it by 2^(a / c).
    A feature that no split of the row's ways asks for has exactly 0. X as for PackedForest.score; ValueError for NaN.
    """
    X = forest.checked(X)
    credit = np.zeros(X.shape)
    _credit(X, forest.feature, forest.threshold, forest.path, forest.expected, credit)
    return np.asarray(credit / len(forest.path), np.float32)


def expected_depth(forest: PackedForest) -> float:
    """The base value: path length of a training row, mean over each tree's own and over trees."""
    root = forest.expected if forest.expected.size else forest.path
    return float(root[:, 0].mean())


@nb.njit(cache=True, boundscheck=False)
def _credit(X, feature, threshold, path, expected, credit):  # type: ignore[no-untyped-def]
    trees, inner = feature.shape
    last = np.uint64(inner)
    for i in range(len(X)):
        for k in range(trees):
            p = np.uint64(0)
            while p < last:
                q = step(X, i, feature, threshold, k, p)
                below = expected[k, q] if q < last else path[k, q - last]
                credit[i, np.uint64(feature[k, p])] += expected[k, p] - below
                p = q
