"""The takeovers that are under way, each a step at a time, while other partitions flow."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from detector.core.events import Records
from detector.errors import StateError
from detector.restore import Reading, Span
from detector.tasks import Task

PATIENCE = 30.0
"""Seconds without progress after which a takeover is given up."""


class StateLog(Protocol):
    """The state topic."""

    def bounds(self, partition: int) -> Span: ...
    def begin(self, partition: int, offset: int) -> None: ...
    def end(self, partition: int) -> None: ...
    def position(self, partition: int) -> int: ...
    def poll(self, timeout: float) -> list[Records]: ...
    def diagnosis(self, partition: int) -> str: ...
    def close(self) -> None: ...


class NoStateLog:
    """For a service that keeps no state anywhere, and must not take another's for its own: a shadow."""

    def bounds(self, partition: int) -> Span:
        return 0, 0

    def begin(self, partition: int, offset: int) -> None: ...

    def end(self, partition: int) -> None: ...

    def position(self, partition: int) -> int:
        return sys.maxsize  # whatever is looked for, there is no more to read

    def poll(self, timeout: float) -> list[Records]:
        return []

    def diagnosis(self, partition: int) -> str:
        return ""

    def close(self) -> None: ...


class Takeovers:
    def __init__(self, log: StateLog) -> None:
        self._log = log
        self._under_way: dict[int, _Step] = {}

    def __len__(self) -> int:
        return len(self._under_way)

    def bounds(self, partition: int) -> Span:
        return self._log.bounds(partition)

    def begin(self, partition: int, reading: Reading[Task]) -> None:
        self._under_way[partition] = _Step(reading)

    def cancel(self, partition: int) -> None:
        if self._under_way.pop(partition, None) is not None:
            self._log.end(partition)

    def step(self, timeout: float) -> Mapping[int, Task | StateError]:
        """What came of those that are done; others are read a little further."""
        done: dict[int, Task | StateError] = {}
        for p, step in self._under_way.items():
            if (outcome := self._advance(p, step)) is not None:
                done[p] = outcome
        for p in done:
            self.cancel(p)
        if any(step.span is not None for step in self._under_way.values()):
            for run in self._log.poll(timeout):
                if (of := self._under_way.get(run.partition)) is not None and (outcome := self._send(of, run)) is not None:
                    done[run.partition] = outcome
                    self.cancel(run.partition)
        return done

    def close(self) -> None:
        self._under_way.clear()
        self._log.close()

    def _advance(self, partition: int, step: _Step) -> Task | StateError | None:
        """Whatever span is at its end is said to be."""
        while step.span is None or (at := self._position(partition, step.span)) >= step.span[1]:
            if (outcome := self._send(step, None)) is not None:
                return outcome
            if step.span is not None and step.span[0] < step.span[1]:
                self._log.begin(partition, step.span[0])
        now = time.monotonic()
        if at != step.at:
            step.at, step.since = at, now
        elif now - step.since > PATIENCE:
            return StateError(f"partition {partition}: no progress for {PATIENCE:g} s in the state topic at {at} of {step.span[1]}; "
                              + self._log.diagnosis(partition))  # fmt: skip
        return None

    def _position(self, partition: int, span: Span) -> int:
        return self._log.position(partition) if span[0] < span[1] else span[1]

    def _send(self, step: _Step, run: Records | None) -> Task | StateError | None:
        try:
            if step.span is None:
                step.span = next(step.reading)
            else:
                step.span = step.reading.send(_within(run, step.span))
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]
        except StateError as error:
            return error
        return None


@dataclass(slots=True)
class _Step:
    reading: Reading[Task]
    span: Span | None = None
    at: int = -1
    since: float = 0.0


def _within(run: Records | None, span: Span) -> Records | None:
    return None if run is None else run.take((run.offset >= span[0]) & (run.offset < span[1]))
