"""Isolation forest: fitted by scikit-learn, scored from packed arrays, bit-equal to scikit-learn's `score_samples`.

Every tree is padded to a perfect binary tree of the forest's depth, so that a row's way through it is `depth` steps without a branch, and
sixteen ways are gone together, sixteen rows' through one tree or one row's through sixteen: while one waits for memory, the others go on.

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
TOGETHER = 16
DEEPEST = 16
LONGEST = 128.0
"""No path is as long: DEEPEST steps, and what the rows that are left would need, 2 ln n, were there 10^20 of them."""
ONE, TWO = np.uint64(1), np.uint64(2)  # an index that cannot be negative needs no check for it


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
    expected: NDArray[np.float64]
    """(T, 2^D - 1) mean path length of the tree's training rows that came by here; in padding that of the leaf."""
    normal: float
    """Path length of the whole forest on average; scikit-learn's denominator."""

    def score(self, X: NDArray[np.float32]) -> NDArray[np.float64]:
        """Anomaly score of each row in (0, 1], higher is stranger: exactly -score_samples(X). X: (n, features), C order; NaN is refused."""
        depths = np.zeros(len(X))
        _depths(self.checked(X), self.feature, self.threshold, self.path, depths)
        return np.asarray(2 ** (-depths / self.normal))

    def checked(self, X: NDArray[np.float32]) -> NDArray[np.float32]:
        """The rows as the kernels need them. Raises ValueError for NaN; another type or shape is a bug."""
        assert X.dtype == np.float32 and X.ndim == 2 and X.shape[1] == self.features
        if np.isnan(X).any():
            raise ValueError("a feature is NaN")
        return np.ascontiguousarray(X)

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        return {
            "feature": self.feature, "threshold": self.threshold, "path": self.path, "expected": self.expected,
            "normal": np.array([self.normal]), "features": np.array([self.features], np.int64),
        }  # fmt: skip

    @staticmethod
    def from_arrays(arrays: Mapping[str, NDArray[Any]]) -> PackedForest:
        """Raises ValueError naming the array that cannot be right: a perfect tree has no cycles, so shapes and ranges are all there is."""
        feature, threshold, path, expected = (arrays[name] for name in ("feature", "threshold", "path", "expected"))
        for name, dtype in (("features", np.int64), ("normal", np.float64)):
            if arrays[name].dtype != dtype or arrays[name].shape != (1,):
                raise ValueError(f"{name}: expected one {np.dtype(dtype)}, found {arrays[name].dtype} of {arrays[name].shape}")
        features, normal = int(arrays["features"][0]), float(arrays["normal"][0])
        trees, leaves = path.shape if path.ndim == 2 else (0, 0)
        depth = leaves.bit_length() - 1
        if path.dtype != np.float64 or trees < 1 or leaves != 1 << max(depth, 0) or depth > DEEPEST or not _lengths(path):
            raise ValueError(f"path: expected float64 (trees, 2^depth) in 0..{LONGEST:g}, found {path.dtype} of {path.shape}")
        if feature.dtype != np.int16 or feature.shape != (trees, leaves - 1) or ((feature < 0) | (feature >= features)).any():
            raise ValueError(f"feature: expected int16 of {(trees, leaves - 1)} in 0..{features - 1}")
        if threshold.dtype != np.float32 or threshold.shape != feature.shape or not (threshold > -np.inf).all():
            raise ValueError(f"threshold: expected float32 of {feature.shape} over -inf")
        if expected.dtype != np.float64 or expected.shape != feature.shape or not _lengths(expected):
            raise ValueError(f"expected: expected float64 of {feature.shape} in 0..{LONGEST:g}, found {expected.dtype} of {expected.shape}")
        if not (np.isfinite(normal) and normal > 0):
            raise ValueError("normal: must be positive")
        return PackedForest(features, feature, threshold, path, expected, normal)


def _lengths(values: NDArray[np.float64]) -> bool:
    return bool(((values >= 0) & (values <= LONGEST)).all())  # NaN is neither


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
    path, expected = np.zeros((count, inner + 1)), np.zeros((count, inner))
    for k, (estimator, columns) in enumerate(zip(forest.estimators_, forest.estimators_features_, strict=True)):
        lengths = forest._decision_path_lengths[k] + forest._average_path_length_per_tree[k] - 1.0
        levels = _pack_tree(estimator.tree_, np.asarray(columns), depth, feature[k], threshold[k])
        means = _expected(estimator.tree_, lengths, levels)[np.concatenate(levels)]
        expected[k], path[k] = means[:inner], means[inner:]
    normal = count * float(_average_path_length([forest._max_samples])[0])
    return PackedForest(forest.n_features_in_, feature, threshold, path, expected, normal)


def _pack_tree(
    tree: Any, columns: NDArray[Any], depth: int, feature: NDArray[np.int16], threshold: NDArray[np.float32]
) -> list[NDArray[np.int64]]:
    """Fills one tree's arrays level by level and returns the nodes of each level, the last one's too; a leaf above the last level is handed
    down through padding to the leftmost leaf below it and all others."""
    levels = [np.zeros(1, np.int64)]
    for _ in range(depth):
        nodes = levels[-1]
        leaf = tree.children_left[nodes] < 0
        at = slice(len(nodes) - 1, 2 * len(nodes) - 1)
        feature[at] = np.where(leaf, 0, columns[np.maximum(tree.feature[nodes], 0)])
        threshold[at] = np.where(leaf, np.inf, _round_down(tree.threshold[nodes]))
        below = [np.where(leaf, nodes, tree.children_left[nodes]), np.where(leaf, nodes, tree.children_right[nodes])]
        levels.append(np.stack(below, 1).ravel())
    return levels


def _expected(tree: Any, lengths: NDArray[np.float64], levels: list[NDArray[np.int64]]) -> NDArray[np.float64]:
    """(nodes,) path lengths, of which those of leaves count -> mean over the training rows below each node, from the leaves up."""
    means, rows = lengths.copy(), tree.n_node_samples
    for level in reversed(levels):
        nodes = level[tree.children_left[level] >= 0]
        left, right = tree.children_left[nodes], tree.children_right[nodes]
        means[nodes] = (rows[left] * means[left] + rows[right] * means[right]) / rows[nodes]
    return means


def _round_down(threshold: NDArray[np.float64]) -> NDArray[np.float32]:
    """The largest float32 not above: for float32 x, x <= threshold is then the same question, bit for bit."""
    near = threshold.astype(np.float32)
    return np.where(near.astype(np.float64) > threshold, np.nextafter(near, np.float32(-np.inf)), near)


@nb.njit(cache=True, boundscheck=False)
def step(X, i, feature, threshold, k, p):  # type: ignore[no-untyped-def]
    """Row i at node p (uint64) of tree k -> the node below."""
    return TWO * p + ONE + np.uint64(X[i, np.uint64(feature[k, p])] > threshold[k, p])


@nb.njit(cache=True, boundscheck=False)
def _depths(X, feature, threshold, path, depths):  # type: ignore[no-untyped-def]
    trees, inner = feature.shape
    levels = 0
    while (1 << levels) - 1 < inner:
        levels += 1
    at = np.zeros(TOGETHER, np.uint64)
    whole = len(X) - len(X) % TOGETHER
    for i in range(0, whole, TOGETHER):
        for k in range(trees):
            at[:] = 0
            for _ in range(levels):
                for r in range(TOGETHER):
                    at[r] = step(X, i + r, feature, threshold, k, at[r])
            for r in range(TOGETHER):
                depths[i + r] += path[k, at[r] - np.uint64(inner)]
    for i in range(whole, len(X)):
        depths[i] = _depth(X, i, feature, threshold, path, levels, at)


@nb.njit(cache=True, boundscheck=False)
def _depth(X, i, feature, threshold, path, levels, at):  # type: ignore[no-untyped-def]
    """Of row i alone. Trees are added in their order, as for many rows: a sum of floats depends on it."""
    (trees, inner), depth = feature.shape, 0.0
    for k in range(0, trees, TOGETHER):
        some = min(TOGETHER, trees - k)
        at[:] = 0
        for _ in range(levels):
            for t in range(some):
                at[t] = step(X, i, feature, threshold, k + t, at[t])
        for t in range(some):
            depth += path[k + t, at[t] - np.uint64(inner)]
    return depth
