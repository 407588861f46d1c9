"""What the tests of the fault catalogue share: services that are made to fail, and load that goes on meanwhile."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from harness import PARTITIONS, Serving, Stand, wait
from office import Event, Office
from oracle import Truth, all_delivered, assert_exact, assert_snapshots, committed, truth

from detector.kafka.producer import Producer
from detector.sandbox.broker import Broker, free_port

RIGGED = Path(__file__).with_name("rigged.py")
SESSION, TRANSACTION = 6.0, 4.0
"""Seconds; the shortest session that the broker allows."""
NOBODY = ("group.instance_id=",)
"""Settings of members without a name. One with a name does not leave the group when it stops: it may be only about to restart."""
SMALL: dict[str, dict[str, Any]] = {
    "input": {"max_age": 1e10, "batch_limit": 20},
    "group": {"session_timeout": SESSION, "transaction_timeout": TRANSACTION},
    "service": {"snapshot_interval": 1.0},
}
"""So that a fault meets work under way: hundreds of transactions, with snapshots among them; and that who died is soon given up."""


class Rigged(Serving):
    """A `detector serve` with a failpoint armed, run by way of another command, or with the defects of `rigged.py`."""

    def __init__(
        self, stand: Stand, ordinal: int = 0, *, failpoint: str = "", before: Sequence[str] = (), settings: Sequence[str] = (),
        stderr: Path | None = None, environment: dict[str, str] | None = None, **rig: Any,
    ) -> None:  # fmt: skip
        self.port = free_port()
        self.log = stand.folder / f"serve-{ordinal}.log"
        program = [str(RIGGED)] if rig else ["-m", "detector.cli"]
        own = [part for setting in settings for part in ("--set", setting)]
        command = [*before, sys.executable, *program, "serve", "--config", str(stand.config(ordinal, self.port)), *own]
        with (stderr or self.log).open("ab") as log:
            self.process = subprocess.Popen(
                command, stderr=log, env={**os.environ, "DETECTOR_FAILPOINT": failpoint, "RIG": json.dumps(rig), **(environment or {})}
            )

    def __enter__(self) -> Rigged:
        return self

    def times_at(self, place: str) -> int:
        """How often an armed failpoint was met."""
        return sum(line["message"] == "failpoint" and line["detector.failpoint"] == place for line in self.said())

    def takeovers(self, source: str) -> float:
        """How many partitions' state came from there: nothing, input, snapshot or memory."""
        lines = self.get("/metrics")[1].splitlines()
        return sum(float(line.split()[-1]) for line in lines if line.startswith(f'detector_takeovers_total{{source="{source}"}}'))

    def until_at(self, place: str, seconds: float = 120.0) -> None:
        def there() -> bool:
            assert self.process.poll() is None, f"serve ended with {self.process.returncode}: {self.log.read_text()[-2000:]}"
            return self.times_at(place) > 0

        wait(there, seconds, f"it comes to {place}", pause=0.02)

    def until_at_work(self, events: int = 100) -> None:
        wait(lambda: self.metric("detector_events_total") >= events, 120, "it is at work")


def laid_out(
    office: Office, broker: Broker, folder: Path, unique: Callable[[str], str], events: int, **sections: dict[str, Any]
) -> tuple[Stand, Truth]:
    """The input is there already: so much of it that a fault meets work under way."""
    own = {name: SMALL.get(name, {}) | sections.get(name, {}) for name in SMALL | sections}
    stand = office.stand(broker, folder, unique, **own)
    stand.feed(office.live[:events])
    return stand, truth(stand, office.starts)


@contextmanager
def load(stand: Stand, events: Iterable[Event], pace: float) -> Iterator[None]:
    """Feeds meanwhile, `pace` events a second; at the end of the block all is fed."""
    given_up = threading.Event()
    feeding = threading.Thread(target=_feed, args=(stand, events, pace, given_up))
    feeding.start()
    try:
        yield
    except BaseException:
        given_up.set()
        raise
    finally:
        feeding.join()


def _feed(stand: Stand, events: Iterable[Event], pace: float, given_up: threading.Event) -> None:
    with Producer(stand.settings) as producer:
        began = time.monotonic()
        for number, (key, value) in enumerate(events):
            while number > pace * (time.monotonic() - began):
                if given_up.wait(0.01):
                    return
            producer.send(stand.events, key, value)
        producer.flush(60.0)


def work_left(stand: Stand, expected: Truth) -> bool:
    return sum(at[0] for at in committed(stand).values() if at) < expected.records


def finished(stand: Stand, expected: Truth, seconds: float = 120.0) -> None:
    """All is delivered in time, and exact; snapshots may be on their way, so that a moment's look is not the last word."""
    wait(lambda: all_delivered(stand, expected), seconds, "all is delivered")
    end = time.monotonic() + 20
    while True:
        try:
            return assert_exact(stand, expected)
        except AssertionError:
            if time.monotonic() > end:
                raise
        time.sleep(0.5)


def finish(stand: Stand, expected: Truth, seconds: float = 120.0, ordinal: int = 9) -> None:
    """One more service takes everything over and works off the rest; then all is exact, and so is the state that it leaves behind."""
    with Serving(stand, ordinal) as service:
        wait(lambda: service.metric("detector_partitions") == PARTITIONS, seconds, "everything is its own")
        service.until_ready(seconds)
        finished(stand, expected, seconds)
        assert service.stop() == 0
    assert_exact(stand, expected)
    assert_snapshots(stand, expected)
