"""H2, a backlog; H3, a burst."""

from __future__ import annotations

import time

from ground import STARTS, Ground
from harness import Serving, wait
from latency import SPAWN, feed
from oracle import all_delivered, truth
from samples import Sampler, sample
from verdict import verdict

TIMES = 10
"""As many events in a burst as before."""
BURST, CALM = 30.0, 10.0
"""Seconds."""


def backlog(ground: Ground, events: int, live: float) -> bool:
    """Whether it is worked off three times as fast as events come, `live` a second, in memory that does not grow with it."""
    stand = ground.stand()
    _feed(ground, stand.settings, stand.events, 0.0, events)
    with Serving(stand) as service:
        wait(lambda: _done(service) > 0, 300, "it is at work")
        begun, first, held = time.monotonic(), _done(service), []
        for share in (0.25, 0.5, 0.75, 1.0):
            wait(lambda: _done(service) >= share * events, 1200, f"{share:.0%} are done")  # noqa: B023  called at once
            held.append(sample(service.process.pid).memory)
        rate = (events - first) / (time.monotonic() - begun)
        assert service.stop() == 0
    print(f"backlog of {events:,} events: {rate:,.0f} a second, {rate / live:.1f} times {live:,.0f}")
    print("memory at a quarter, half, three quarters, the end: " + ", ".join(f"{mib:.0f} MiB" for mib in held))
    return rate >= 3 * live and held[-1] - held[1] < 64


def burst(ground: Ground, live: float) -> bool:
    """Whether ten times the events for 30 s are worked off, and all is exact."""
    stand = ground.stand()
    with Serving(stand) as service:
        service.until_ready(300)
        sampler = Sampler(service.process)
        sampler.start()
        sent = 0
        for rate, seconds in ((live, CALM), (live * TIMES, BURST), (live, CALM)):
            begun = time.monotonic()
            _feed(ground, stand.settings, stand.events, rate, int(rate * seconds))
            sent += int(rate * seconds)
            behind = sent - _done(service)
            print(f"{rate:8,.0f} events a second for {time.monotonic() - begun:.0f} s: then {behind:,.0f} behind")
        begun = time.monotonic()
        wait(lambda: _done(service) == sent, 300, "all is worked off")
        print(f"caught up {time.monotonic() - begun:.1f} s after the end")
        sampler.report()
        expected = truth(stand, STARTS)
        wait(lambda: all_delivered(stand, expected), 60, "all is delivered", 0.5)
        assert service.stop() == 0
    found = verdict(stand, expected)
    print(f"events {expected.records}, {found}", found.wrong)
    return found.exact


def _feed(ground: Ground, settings: dict[str, object], topic: str, rate: float, count: int) -> None:
    process = SPAWN.Process(target=feed, args=(settings, topic, ground.folder, ground.seed, rate, count))
    process.start()
    process.join()


def _done(service: Serving) -> float:
    return service.metric("detector_events_total")
