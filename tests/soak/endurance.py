"""H5: load for a long time, with a fault now and then. One service lives through all of it and is watched; another is the victim."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable
from itertools import cycle

from ground import STARTS, Feeder, Gauge, Ground
from harness import Serving, Stand, wait
from oracle import all_delivered, truth
from samples import Sampler
from verdict import verdict

SECONDS_AWAY = 3.0
"""For which a killed broker stays down."""
FROZEN = 9.0
"""Seconds: the session timeout is 6."""
SETTLED = 60.0
"""Seconds at the end without a fault, and after a fault until all must be ready."""


def soaked(ground: Ground, minutes: float, every: float, rate: float) -> bool:
    """Whether nothing grew and all is exact. `every`: minutes between two faults."""
    stand = ground.stand()
    gauge = Gauge(stand)
    feeder = Feeder(stand, ground.records, rate, 10**9, gauge)
    services = [Serving(stand, ordinal) for ordinal in range(2)]
    try:
        for service in services:
            service.until_ready(300)
        sampler = Sampler(services[0].process)
        for thread in (sampler, gauge, feeder):
            thread.start()
        _suffer(ground, stand, services, minutes * 60, every * 60, lambda: _tell(feeder, gauge))
        feeder.stop()
        flat = sampler.report()
        expected = truth(stand, STARTS)
        wait(lambda: all_delivered(stand, expected), 120, "all is delivered", 0.5)
        assert [service.stop() for service in services] == [0, 0], "a service did not end in order"
    finally:
        for service in services:
            service.kill()
    found = verdict(stand, expected)
    print(f"events {expected.records}, {found}", found.wrong)
    return flat and found.exact


def _suffer(ground: Ground, stand: Stand, services: list[Serving], seconds: float, every: float, tell: Callable[[], None]) -> None:
    begun = time.monotonic()
    due = begun + every / 2
    faults = cycle((_kill_service, _kill_broker, _freeze))
    while (left := begun + seconds - time.monotonic()) > 0:
        tell()
        if time.monotonic() >= due and left > SETTLED:
            due += every
            fault = next(faults)
            print(f"{time.monotonic() - begun:.0f} s: {fault.__name__.strip('_').replace('_', ' ')}", file=sys.stderr)
            fault(ground, stand, services)
            for service in services:
                service.until_ready(SETTLED)
        time.sleep(min(1.0, left))


def _kill_service(ground: Ground, stand: Stand, services: list[Serving]) -> None:
    services[1].kill()
    services[1] = Serving(stand, 1)


def _kill_broker(ground: Ground, stand: Stand, services: list[Serving]) -> None:
    ground.broker.kill()
    time.sleep(SECONDS_AWAY)
    ground.broker.start()


def _freeze(ground: Ground, stand: Stand, services: list[Serving]) -> None:
    services[1].process.send_signal(signal.SIGSTOP)
    time.sleep(FROZEN)
    services[1].process.send_signal(signal.SIGCONT)


def _tell(feeder: Feeder, gauge: Gauge) -> None:
    if sys.stderr.isatty():
        print(f"\r\x1b[Kevents {feeder.sent:,} ({gauge.events:,} done), alerts {gauge.alerts:,}", end="", file=sys.stderr, flush=True)
