"""What a score of the isolation forest costs: packed against scikit-learn's `score_samples`, and what explaining it costs.

Run by `make bench`. Wall time, interleaved, so that what else the machine does meets both alike and each finds the caches as the other left
them; medians. 100 trees of 256 rows over 20 features, one thread each.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable

import numpy as np
from sklearn.ensemble import IsolationForest

from detector.core.estimators.isolation_forest import pack
from detector.core.estimators.path_attribution import attribute

FEATURES, SEED = 20, 1
TARGETS = {1: 100, 100: 20, 1_000: 5, 5_000: 3}
"""Rows at a time -> how many times faster the packed forest has to be."""
MOST, MOST_EXPLAINED = 1.5, 10.0
"""Us a row: scored, 5,000 at a time; explained, 100 at a time."""


def interleaved(rounds: int, *jobs: Callable[[], object]) -> list[float]:
    """Median seconds of each job; the first round warms up and does not count."""
    taken: list[list[float]] = [[] for _ in jobs]
    for _ in range(rounds + 1):
        for job, times in zip(jobs, taken, strict=True):
            began = time.perf_counter()
            job()
            times.append(time.perf_counter() - began)
    return [statistics.median(times[1:]) for times in taken]


def main() -> int:
    X = np.random.default_rng(SEED).exponential(size=(20_000, FEATURES)).astype(np.float32)
    theirs = IsolationForest(n_estimators=100, max_samples=256, random_state=SEED).fit(X)
    ours, missed = pack(theirs), []
    print(f"{'rows':>6} {'packed us/row':>14} {'scikit-learn us/row':>20} {'ratio':>6} {'target':>7}")
    for rows, target in TARGETS.items():
        some = X[:rows]
        assert ours.score(some).tobytes() == (-theirs.score_samples(some)).tobytes()
        packed, plain = interleaved(151 if rows <= 100 else 41, lambda x=some: ours.score(x), lambda x=some: theirs.score_samples(x))
        print(f"{rows:>6} {packed / rows * 1e6:>14.2f} {plain / rows * 1e6:>20.2f} {plain / packed:>6.1f} {target:>7}")
        missed += [f"{rows} rows: {plain / packed:.1f} times"] if plain / packed < target else []
    if packed / rows * 1e6 > MOST:
        missed.append(f"{packed / rows * 1e6:.2f} us a row")
    strange = X[np.argsort(theirs.score_samples(X))[:100]]
    alone, many = interleaved(151, lambda: attribute(ours, strange[:1]), lambda: attribute(ours, strange))
    print(f"attribution: {many / 100 * 1e6:.1f} us a row of 100, {alone * 1e6:.1f} us for one (target {MOST_EXPLAINED:g})")
    if many / 100 * 1e6 > MOST_EXPLAINED:
        missed.append(f"{many / 100 * 1e6:.1f} us an explanation")
    print("missed: " + "; ".join(missed) if missed else "all targets met")
    return len(missed) > 0


if __name__ == "__main__":
    sys.exit(main())
