"""How long a partition is nobody's, with 100,000 employees in one task's state: after SIGKILL (less the session timeout) and after SIGTERM.

And what snapshots of such a state cost while events come: the longest time that the loop stood still, and the share of its time. Two real
`detector serve`, a real broker; all events go to one partition. A takeover ends when the other has delivered an event.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import re
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "torture"))
from ground import Ground
from harness import Serving, Stand, wait
from latency import cpu, sender
from watch import Watch

EMPLOYEES, ROUNDS = 100_000, 3
EACH = 3
"""Events of each employee before it begins."""
RATE = 500.0
"""Events a second while partitions are taken over."""
SESSION = 10.0
"""As it is by default."""
INTERVAL = 10.0
"""Seconds between snapshots, in this measurement only: so that there are some."""
WATCHED = 40.0
SPAWN = multiprocessing.get_context("spawn")


def event(number: int, employees: int) -> tuple[bytes, bytes]:
    """Everybody in turn."""
    actor = b"e%06d" % (number % employees)
    said = {"time": time.time_ns() // 1_000_000, "actor": actor.decode(), "action": "read", "resource": f"app/profile-{number % 300}",
            "subject": f"u{number % 500_000}", "records": number % 30, "device": f"d-{number % employees}"}  # fmt: skip
    return actor, json.dumps(said, separators=(",", ":")).encode()


def feed(settings: dict[str, Any], topic: str, employees: int, count: int, rate: float) -> None:
    """To partition 0; `rate` 0: as fast as it goes; `count` 0: until it is ended."""
    send, flush = sender(settings, topic)
    begun, number = time.monotonic(), 0
    while number < count or not count:
        if rate:
            time.sleep(max(begun + number / rate - time.monotonic(), 0.0))
        elif number % 10_000 == 0:
            flush()
        send(0, *event(number, employees))
        number += 1
    flush()


def snapshots(service: Serving) -> None:
    """Prints what they cost."""
    names = ("detector_snapshot_seconds_sum", "detector_snapshots_total")
    spent, made = (service.metric(name) for name in names)
    used, begun = cpu(service.process), time.monotonic()
    with Watch(service) as watch:
        time.sleep(WATCHED)  # the length of the measurement
    elapsed = time.monotonic() - begun
    spent, made = service.metric(names[0]) - spent, service.metric(names[1]) - made
    size, used = service.metric("detector_snapshot_bytes") / 2**20, (cpu(service.process) - used) / elapsed
    print(f"snapshots: {made:.0f} in {elapsed:.0f} s, of {size:.1f} MiB each, {spent / max(made, 1):.2f} s of the loop each")
    print(f"           {spent / elapsed:.1%} of the loop's time; the process used {used:.0%} of a core")
    print(f"           the loop's longest turn: {watch.longest:.2f} s")


def taken_over(services: list[Serving], end: Callable[[Serving], object]) -> tuple[float, int]:
    """Seconds from the end of the one that holds the partition until the other has delivered an event; and which one was ended."""
    before = [done(service) for service in services]
    wait(lambda: any(done(s) > b for s, b in zip(services, before, strict=True)), 60, "one of them is at work")
    owner = next(i for i, service in enumerate(services) if done(service) > before[i])
    other = services[1 - owner]
    at, begun = done(other), time.monotonic()
    end(services[owner])
    wait(lambda: done(other) > at, 120, "the other has taken over", 0.01)
    return time.monotonic() - begun, owner


def done(service: Serving) -> float:
    return service.metric("detector_events_total")


def measure(stand: Stand, employees: int) -> None:
    fill = SPAWN.Process(target=feed, args=(stand.settings, stand.events, employees, employees * EACH, 0.0))
    fill.start()
    fill.join()
    load = SPAWN.Process(target=feed, args=(stand.settings, stand.events, employees, 0, RATE), daemon=True)
    services = [Serving(stand, 0)]
    try:
        wait(lambda: done(services[0]) >= employees * EACH, 300, "the state is there")
        load.start()
        wait(lambda: services[0].metric("detector_snapshots_total") >= 1, 120, "there is a snapshot")
        print(f"{services[0].metric('detector_keys'):,.0f} employees in the state")
        snapshots(services[0])
        services.append(Serving(stand, 1))
        for what, end, less in (("SIGKILL", Serving.kill, SESSION), ("SIGTERM", ask, 0.0)):
            times = []
            for _ in range(ROUNDS):
                for service in services:
                    service.until_ready(120)
                seconds, ended = taken_over(services, end)
                times.append(seconds - less)
                services[ended].process.wait(60)
                services[ended] = Serving(stand, ended)
            less_what = f" less the session timeout of {SESSION:g} s" if less else ""
            print(f"takeover after {what}{less_what}: " + ", ".join(f"{seconds:.2f} s" for seconds in sorted(times)))
    finally:
        if load.pid:
            load.terminate()
        for service in services:
            service.kill()


class Dynamic(Stand):
    """Members without names: one with `group.instance_id` does not leave the group when it ends, and is waited for."""

    def config(self, ordinal: int = 0, port: int = 0) -> Path:
        path = super().config(ordinal, port)
        path.write_text(re.sub("(?m)^instance_id = .*$", 'instance_id = ""', path.read_text()))
        return path


def ask(service: Serving) -> None:
    service.process.terminate()


def main() -> int:
    parser = argparse.ArgumentParser(prog="takeover", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--employees", type=int, default=EMPLOYEES, help=f"in one task's state (default {EMPLOYEES:,})")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        ground = Ground(Path(folder), 1)
        ground.prepare()
        with ground.broker:
            stand = ground.stand(
                Dynamic,
                detection={"max_keys": args.employees + 20_000, "budget": 1.0}, input={"batch_limit": 10_000},
                service={"snapshot_interval": INTERVAL}, group={"session_timeout": SESSION},
            )  # fmt: skip
            measure(stand, args.employees)
    return 0


if __name__ == "__main__":
    sys.exit(main())
