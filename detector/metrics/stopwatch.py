"""Where the time of a micro-batch goes."""

from __future__ import annotations

import time


class Stopwatch:
    """`start()`, then told each stage when it is done; a stage may come several times."""

    def __init__(self) -> None:
        self._seconds: dict[str, float] = {}
        self._at = 0.0

    def start(self) -> None:
        self._at = time.perf_counter()

    def __call__(self, stage: str) -> None:
        now = time.perf_counter()
        self._seconds[stage] = self._seconds.get(stage, 0.0) + now - self._at
        self._at = now

    def take(self) -> dict[str, float]:
        """Seconds by stage since this was asked last."""
        taken, self._seconds = self._seconds, {}
        return taken
