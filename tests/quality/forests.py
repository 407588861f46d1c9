"""The packed forest against scikit-learn's, on the labelled tables of ADBench: the same trees must find the same anomalies."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import IsolationForest
from sklearn.metrics import roc_auc_score
from tables import Number, Table, rounded

from detector.core.estimators import isolation_forest

PARTS = ("adbench",)
SEEDS, ROWS, TREES, SAMPLES = (0, 1, 2), 20_000, 100, 256
WITHIN = 0.01


def here(data: Path, part: str) -> bool:
    return any((data / part).glob("*.npz"))


def joined(tables: list[Table]) -> list[Table]:
    return tables


def measure(data: Path, part: str) -> list[Table]:
    rows: dict[str, tuple[Number, ...]] = {}
    for path in sorted((data / part).glob("*.npz"), key=lambda p: p.stem.split("_", 1)[1].lower()):
        X, y = table_of(path)
        found = np.array([areas(X, y, seed) for seed in SEEDS])
        figures = rounded([*found.mean(0), np.abs(found[:, 0] - found[:, 1]).max()], 4)
        rows[path.stem.split("_", 1)[1]] = (*X.shape, *figures)
    values = np.array(list(rows.values()), float)
    rows["mean"] = (None, None, *rounded(values[:, 2:4].mean(0), 4), float(values[:, 4].max()))
    missed = tuple(f"{name} differs by {cells[4]}" for name, cells in rows.items() if float(cells[4] or 0) > WITHIN)
    note = (
        f"Area under the ROC curve on ADBench's tables (at most {ROWS:,} rows of each), mean of {len(SEEDS)} seeds: the packed forest that "
        f"the service runs, scikit-learn's IsolationForest({TREES}, {SAMPLES}) with the same seed, and the largest difference of a seed; "
        f"{WITHIN:g} is allowed."
    )
    return [Table("forest", ("rows", "columns", "packed", "scikit-learn", "difference"), rows, note, missed)]


def table_of(path: Path) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """(rows, columns) and a label a row; large ones sampled."""
    with np.load(path) as said:
        X, y = said["X"].astype(np.float32), said["y"].astype(np.int64).ravel()
    rows = np.sort(np.random.default_rng(0).permutation(len(X))[:ROWS])
    return np.ascontiguousarray(X[rows]), y[rows]


def areas(X: NDArray[np.float32], y: NDArray[np.int64], seed: int) -> tuple[float, float]:
    """Ours, scikit-learn's."""
    stock = IsolationForest(n_estimators=TREES, max_samples=min(SAMPLES, len(X)), random_state=seed).fit(X)
    ours = isolation_forest.fit(X, seed, TREES, SAMPLES).score(X)
    return float(roc_auc_score(y, ours)), float(roc_auc_score(y, -stock.score_samples(X)))
