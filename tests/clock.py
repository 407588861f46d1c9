"""Time of a simulated run."""

from __future__ import annotations

from typing import Any

from detector import checkpoints, holdings, lag, service, takeovers

STEP = 200_000
"""Ns; a heartbeat comes about every tenth turn."""


class Clock:
    """Goes on by being looked at, so that a run is a function of its seed on a machine however busy."""

    def __init__(self) -> None:
        self._now = 1_600_000_000 * 10**9

    def time_ns(self) -> int:
        self._now += STEP
        return self._now

    def time(self) -> float:
        return self.time_ns() / 1e9

    monotonic = perf_counter = time

    def sleep(self, seconds: float) -> None:
        self._now += round(seconds * 1e9)


def quick(patch: Any) -> None:
    """Waits that are for a real broker are none here."""
    for name in ("FIRST_PAUSE", "LONGEST_PAUSE", "POLL", "PACE"):
        patch.setattr(service, name, 0.0)
    clock = Clock()
    for module in (checkpoints, holdings, lag, service, takeovers):
        patch.setattr(module, "time", clock)
