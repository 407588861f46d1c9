"""The company as a live source of events: its clock runs faster than ours until it has reached the present, or as fast as a given rate."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

Send = Callable[[bytes, bytes], None]
Event = tuple[int, bytes, bytes]
"""Arrival (ms since 1970 UTC), key, value."""

_PATIENCE = 0.2
"""Seconds slept at most before `stop` is asked again."""


class Clock(Protocol):
    """The module `time` is one."""

    def time(self) -> float: ...
    def sleep(self, seconds: float, /) -> None: ...


def by_speed(events: Iterable[Event], start: int, speed: float, begun: float) -> Iterator[tuple[float, bytes, bytes]]:
    """When to send each, in s: the company's clock stood at `start` when ours was `begun`, and makes `speed` seconds of one of ours."""
    for arrival, key, value in events:
        yield max(begun + (arrival - start) / 1000 / speed, arrival / 1000), key, value


def by_rate(events: Iterable[Event], rate: float, begun: float) -> Iterator[tuple[float, bytes, bytes]]:
    """When to send each, in s: `rate` of them a second, whatever the company's clock says."""
    for number, (arrival, key, value) in enumerate(events):
        yield max(begun + number / rate, arrival / 1000), key, value


def send_when_due(timed: Iterable[tuple[float, bytes, bytes]], send: Send, clock: Clock, stop: Callable[[], bool]) -> int:
    """Sends each event at its moment until `stop()`; the number sent. An event is never sent before it has happened."""
    sent, now = 0, clock.time()
    for due, key, value in timed:
        while now < due:
            if stop():
                return sent
            clock.sleep(min(due - now, _PATIENCE))
            now = clock.time()
        if sent % 64 == 0:
            now = clock.time()
            if stop():
                return sent
        send(key, value)
        sent += 1
    return sent
