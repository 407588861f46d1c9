"""Isolation forest: fitted by scikit-learn, scored from packed arrays, bit-equal to scikit-learn's `score_samples`.

Every tree is padded to a perfect binary tree of the forest's depth, so that a row's way through it is `depth` steps without a branch, and
eight rows take their steps together: while one waits for memory, the others go on.

Reference: F. T. Liu, K. M. Ting, Z.-H. Zhou, "Isolation Forest", ICDM 2008.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numba as nb
import numpy as np
from numpy.typing import NDArray

TREES, SAMPLES = 100, 256
TOGETHER = 8
DEEPEST = 16


@dataclass(frozen=True, slots=True)
class PackedForest:
    """T perfect trees of depth D over `features` features. A row goes right where x > threshold."""

    features: int
    feature: NDArray[np.int16]
    """(T, 2^D - 1)"""
    threshold: NDArray[np.float32]
    """(T, 2^D - 1); +inf in padding."""
    path: NDArray[np.float64]
    """(T, 2^D) path length that a row ending here adds."""
    normal: float
    """Path length of the whole forest on average; scikit-learn's denominator."""

    def score(self, X: NDArray[np.float32]) -> NDArray[np.float64]:
        """Anomaly score of each row in (0, 1], higher is stranger: exactly -score_samples(X). X: (n, features), C order; NaN is refused."""
        assert X.dtype == np.float32 and X.ndim == 2 and X.shape[1] == self.features
        if np.isnan(X).any():
            raise ValueError("a feature is NaN")
        depths = np.zeros(len(X))
        _depths(np.ascontiguousarray(X), self.feature, self.threshold, self.path, depths)
        return np.asarray(2 ** (-depths / self.normal))

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        return {
            "feature": self.feature, "threshold": self.threshold, "path": self.path,
            "normal": np.array([self.normal]), "features": np.array([self.features], np.int64),
        }  # fmt: skip

    @staticmethod
    def from_arrays(arrays: Mapping[str, NDArray[Any]]) -> PackedForest:
        """Raises ValueError naming the array that cannot be right: a perfect tree has no cycles, so shapes and ranges are all there is."""
        feature, threshold, path = arrays["feature"], arrays["threshold"], arrays["path"]
        for name, dtype in (("features", np.int64), ("normal", np.float64)):
            if arrays[name].dtype != dtype or arrays[name].shape != (1,):
                raise ValueError(f"{name}: expected one {np.dtype(dtype)}, found {arrays[name].dtype} of {arrays[name].shape}")
        features, normal = int(arrays["features"][0]), float(arrays["normal"][0])
        trees, leaves = path.shape if path.ndim == 2 else (0, 0)
        depth = leaves.bit_length() - 1
        if path.dtype != np.float64 or trees < 1 or leaves != 1 << max(depth, 0) or depth > DEEPEST or not np.isfinite(path).all():
            raise ValueError(f"path: expected finite float64 (trees, 2^depth), found {path.dtype} of {path.shape}")
        if feature.dtype != np.int16 or feature.shape != (trees, leaves - 1) or ((feature < 0) | (feature >= features)).any():
            raise ValueError(f"feature: expected int16 of {(trees, leaves - 1)} in 0..{features - 1}")
        if threshold.dtype != np.float32 or threshold.shape != feature.shape or not (threshold > -np.inf).all():
            raise ValueError(f"threshold: expected float32 of {feature.shape} over -inf")
        if not (np.isfinite(normal) and normal > 0):
            raise ValueError("normal: must be positive")
        return PackedForest(features, feature, threshold, path, normal)


def fit(X: NDArray[np.float32], seed: int, trees: int = TREES, samples: int = SAMPLES) -> PackedForest:
    """Fits scikit-learn's IsolationForest to (n, features) rows, n >= 2, and packs it."""
    from sklearn.ensemble import IsolationForest  # slow to import, and only training needs it

    return pack(IsolationForest(n_estimators=trees, max_samples=min(samples, len(X)), random_state=seed).fit(X))


def pack(forest: Any) -> PackedForest:
    """A fitted sklearn.ensemble.IsolationForest as arrays."""
    from sklearn.ensemble._iforest import _average_path_length

    depth = max(e.tree_.max_depth for e in forest.estimators_)
    count, inner = len(forest.estimators_), (1 << depth) - 1
    feature = np.zeros((count, inner), np.int16)
    threshold = np.full((count, inner), np.inf, np.float32)
    path = np.zeros((count, inner + 1))
    for k, (estimator, columns) in enumerate(zip(forest.estimators_, forest.estimators_features_, strict=True)):
        lengths = forest._decision_path_lengths[k] + forest._average_path_length_per_tree[k] - 1.0
        _pack_tree(estimator.tree_, np.asarray(columns), lengths, depth, feature[k], threshold[k], path[k])
    normal = count * float(_average_path_length([forest._max_samples])[0])
    return PackedForest(forest.n_features_in_, feature, threshold, path, normal)


def _pack_tree(
    tree: Any, columns: NDArray[Any], lengths: NDArray[Any], depth: int, feature: NDArray[Any], threshold: NDArray[Any], path: NDArray[Any]
) -> None:
    """Walks level by level; a leaf above the last level is handed down through padding to the leftmost leaf below it and all others."""
    nodes = np.zeros(1, np.int64)
    first = 0
    for _ in range(depth):
        leaf = tree.children_left[nodes] < 0
        at = slice(first, first + len(nodes))
        feature[at] = np.where(leaf, 0, columns[tree.feature[nodes]])
        threshold[at] = np.where(leaf, np.inf, _round_down(tree.threshold[nodes]))
        first += len(nodes)
        nodes = np.stack([np.where(leaf, nodes, tree.children_left[nodes]), np.where(leaf, nodes, tree.children_right[nodes])], 1).ravel()
    path[:] = lengths[nodes]


def _round_down(threshold: NDArray[np.float64]) -> NDArray[np.float32]:
    """The largest float32 not above: for float32 x, x <= threshold is then the same question, bit for bit."""
    near = threshold.astype(np.float32)
    return np.where(near.astype(np.float64) > threshold, np.nextafter(near, np.float32(-np.inf)), near)


@nb.njit(cache=True, boundscheck=False)
def _depths(X, feature, threshold, path, depths):  # type: ignore[no-untyped-def]
    trees, inner = feature.shape
    levels = 0
    while (1 << levels) - 1 < inner:
        levels += 1
    at = np.zeros(TOGETHER, np.int64)
    whole = len(X) - len(X) % TOGETHER
    for i in range(0, whole, TOGETHER):
        for k in range(trees):
            at[:] = 0
            for _ in range(levels):
                for r in range(TOGETHER):
                    p = at[r]
                    at[r] = 2 * p + 1 + (X[i + r, feature[k, p]] > threshold[k, p])
            for r in range(TOGETHER):
                depths[i + r] += path[k, at[r] - inner]
    for i in range(whole, len(X)):
        for k in range(trees):
            p = 0
            for _ in range(levels):
                p = 2 * p + 1 + (X[i, feature[k, p]] > threshold[k, p])
            depths[i] += path[k, p - inner]
