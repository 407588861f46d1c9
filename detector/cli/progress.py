"""A line on the terminal that says how far a long command is. Off a terminal, and within the first two seconds, there is none."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import TextIO

PATIENCE = 2.0
PACE = 0.2


class Progress:
    """`with Progress("reading") as bar: bar.update(done, total)`, in any unit; it shows share, rate and time left.

    Where nobody knows the total it is 0, and how much is done is shown instead.
    """

    def __init__(self, what: str, unit: str = "", stream: TextIO | None = None) -> None:
        self._what, self._unit, self._stream = what, unit, stream or sys.stderr
        self._begun = self._shown = time.monotonic()
        self._there = False

    def update(self, done: int, total: int) -> None:
        now = time.monotonic()
        if now - self._begun < PATIENCE or now - self._shown < PACE or not self._stream.isatty():
            return
        self._shown, self._there = now, True
        rate = done / (now - self._begun)
        left = f", {_span((total - done) / rate)} left" if rate > 0 and total >= done else ""
        share = f"{done / total:4.0%}" if total else f"{_number(done)}{self._unit}"
        self._stream.write(f"\r\x1b[K{self._what}: {share}, {_number(rate)}{self._unit}/s{left}")
        self._stream.flush()

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._there:
            self._stream.write("\r\x1b[K")
            self._stream.flush()


def _span(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"


def _number(number: float) -> str:
    for size, name in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{number / size:.1f} {name}"
    return f"{number:.0f} "
