"""What a process holds, over time: memory, file handles, threads."""

from __future__ import annotations

import statistics
import threading
import time
from pathlib import Path
from typing import Any, NamedTuple

MIB = 1 << 20
GROWTH = 16.0
"""MiB from the second third to the last that are still called flat."""
HANDLES = 3
"""File handles, or threads, more in the last third than in the second that are still called flat. The fewest count: a connection that
failed is a cycle and holds its socket until garbage is collected, which lowers the number again; a leak raises the lowest, too."""


class Sample(NamedTuple):
    seconds: float
    memory: float
    """MiB resident."""
    handles: int
    threads: int


def sample(pid: int, seconds: float = 0.0) -> Sample:
    status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    handles = sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())
    return Sample(seconds, int(status["VmRSS"].split()[0]) / 1024, handles, int(status["Threads"]))


class Sampler(threading.Thread):
    """Looks each second, until the process ends."""

    def __init__(self, process: Any) -> None:
        super().__init__(name="sampler", daemon=True)
        self.samples: list[Sample] = []
        self._process = process

    def run(self) -> None:
        begun = time.monotonic()
        while self._process.poll() is None:
            try:
                self.samples.append(sample(self._process.pid, time.monotonic() - begun))
            except OSError:
                return
            time.sleep(1.0)

    def report(self) -> bool:
        """Prints medians of the second and the last third, and the slope between them; whether it is flat."""
        third = len(self.samples) // 3
        if not third:
            return False
        middle, last = self.samples[third : 2 * third], self.samples[2 * third :]
        before, after = (Sample(*(statistics.median(column) for column in zip(*part, strict=True))) for part in (middle, last))
        slope = (after.memory - before.memory) / max(after.seconds - before.seconds, 1.0) * 3600
        most = max(s.memory for s in self.samples)
        print(f"memory {before.memory:.0f} -> {after.memory:.0f} MiB ({slope:+.0f} MiB an hour), most {most:.0f}")
        print(f"file handles {before.handles:g} -> {after.handles:g}, threads {before.threads:g} -> {after.threads:g}")
        fewest = [[min(column) for column in zip(*part, strict=True)] for part in (middle, last)]
        more = max(new - old for old, new in zip(*(row[2:] for row in fewest), strict=True))
        print(f"the fewest: file handles {fewest[0][2]} -> {fewest[1][2]}, threads {fewest[0][3]} -> {fewest[1][3]}")
        return after.memory - before.memory < GROWTH and more <= HANDLES
