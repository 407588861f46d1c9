"""Services that are killed, frozen and made to kill themselves, and a broker that is killed, by the seed's dice."""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from detector.failpoints import NAMES
from detector.sandbox.broker import Broker

sys.path.insert(0, str(Path(__file__).parents[1] / "integration"))
from harness import Serving, Stand

COMPILED = 300.0
"""Seconds until both are ready for the first time: in a new checkout everything is compiled, and who is killed at it begins anew."""
SHORTEST, LONGEST = 0.1, 6.0
"""Seconds between two faults."""
AT_WORK = 0.7
"""Share of kills that wait until the victim has delivered something; others may meet it at its start, or in a takeover."""
STARTED = 15.0
"""Seconds for which they wait at most."""
FREEZE = 0.08
"""Share of faults that freeze a service instead of killing it, ..."""
FROZEN = 9.0
"""... seconds long: the session timeout is 6."""
ARMED = 0.3
"""Share of starts that will kill themselves at a named step."""
RARE = {"mid_snapshot", "mid_restore", "mid_replay", "in_listener"}
ENOUGH = 5
"""Exits that nobody asked for, after which there is no point in going on."""
AWAY = 90.0
"""Seconds after the broker was killed in which a service that starts may give up because of it."""
UNREACHABLE = 6


class Torment:
    """Two services. `counts`: kills, "broker kills", freezes, failpoints, "gave up" (exit 6 while the broker was away), and
    "unexpected exits", of which `surprises` tells more.
    """

    def __init__(self, stand: Stand, broker: Broker, dice: random.Random, counts: Counter[str]) -> None:
        self.counts, self.surprises = counts, list[str]()
        self._stand, self._broker, self._dice = stand, broker, dice
        self._frozen: dict[int, float] = {}
        self._broker_died = 0.0
        self._services = [Serving(stand, ordinal) for ordinal in range(2)]
        try:
            for service in self._services:
                service.until_ready(COMPILED)
        except BaseException:
            self.end()
            raise

    def run(self, kills: int, broker_kills: int, told: Callable[[], None]) -> None:
        """Until so many happened in all."""
        while (left := kills - self.counts["kills"]) > 0 or self.counts["broker kills"] < broker_kills:
            self._pass(self._dice.uniform(SHORTEST, LONGEST), told)
            left_broker = max(broker_kills - self.counts["broker kills"], 0)
            if self._dice.random() * (max(left, 0) + left_broker) < left_broker:
                self._kill_broker(told)
            elif self._dice.random() < FREEZE and not self._frozen:
                self._freeze(self._dice.randrange(2))
            elif left > 0:
                victim = self._dice.randrange(2)
                if self._dice.random() < AT_WORK:
                    self._until_at_work(victim, told)
                self._kill(victim)

    def calm(self, told: Callable[[], None]) -> None:
        """From now on nothing happens: services that might still kill themselves make room for others."""
        self._pass(FROZEN if self._frozen else 0.0, told)
        for ordinal, service in enumerate(self._services):
            self._ended(service.stop(60.0), asked=True)
            self._services[ordinal] = Serving(self._stand, ordinal)

    def mind(self) -> None:
        """What ended by itself is started again, what was frozen long enough is woken."""
        for ordinal, until in list(self._frozen.items()):
            if time.monotonic() > until:
                self._services[ordinal].process.send_signal(signal.SIGCONT)
                del self._frozen[ordinal]
        for ordinal, service in enumerate(self._services):
            if service.process.poll() is not None:
                self._ended(service.process.returncode)
                self._restart(ordinal)

    def stop(self) -> None:
        """In order."""
        for service in self._services:
            self._ended(service.stop(60.0), asked=True)

    def end(self) -> None:
        """At once, whatever they do."""
        for service in self._services:
            service.kill()

    def _pass(self, seconds: float, told: Callable[[], None]) -> None:
        end = time.monotonic() + seconds
        while True:
            self.mind()
            told()
            if time.monotonic() > end:
                return
            time.sleep(min(0.05, max(end - time.monotonic(), 0.0)))

    def _until_at_work(self, ordinal: int, told: Callable[[], None]) -> None:
        end = time.monotonic() + STARTED
        while time.monotonic() < end and not self._services[ordinal].metric("detector_events_total"):
            self._pass(0.1, told)

    def _started(self, ordinal: int) -> Serving:
        if self._dice.random() < ARMED:
            name = self._dice.choice(NAMES)
            os.environ["DETECTOR_FAILPOINT"] = f"{name}:{self._dice.randint(1, 2 if name in RARE else 40)}:kill"
        try:
            return Serving(self._stand, ordinal)  # inherits the environment
        finally:
            os.environ.pop("DETECTOR_FAILPOINT", None)

    def _restart(self, ordinal: int) -> None:
        self._frozen.pop(ordinal, None)
        self._services[ordinal] = self._started(ordinal)

    def _kill(self, ordinal: int) -> None:
        self._services[ordinal].kill()
        self.counts["kills"] += 1
        self._restart(ordinal)

    def _freeze(self, ordinal: int) -> None:
        self._services[ordinal].process.send_signal(signal.SIGSTOP)
        self._frozen[ordinal] = time.monotonic() + FROZEN
        self.counts["freezes"] += 1

    def _kill_broker(self, told: Callable[[], None]) -> None:
        self._broker.kill()
        self.counts["broker kills"] += 1
        self._broker_died = time.monotonic()
        self._pass(self._dice.uniform(0.5, 5.0), told)
        self._broker.start()

    def _ended(self, code: int, asked: bool = False) -> None:
        """By itself, or because it was `asked` to by SIGTERM, which kills a process that has hardly begun."""
        if code == -signal.SIGKILL:
            self.counts["kills"] += 1
            self.counts["failpoints"] += 1
        elif code == UNREACHABLE and time.monotonic() - self._broker_died < AWAY:
            self.counts["gave up"] += 1
        elif code and not (asked and code == -signal.SIGTERM):
            self.counts["unexpected exits"] += 1
            self.surprises.append(f"a service ended with {code}")
            if len(self.surprises) == ENOUGH:
                raise RuntimeError(f"{self.surprises}: see serve-*.log; the run can be gone on with")
