"""A model is retrained on more of a bank's log, promoted while events flow, and rolled back: every alert is by the model that was in force,
and a replay that knows the changes comes to the same. Row F8 of the fault catalogue.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pytest
from harness import PARTITIONS, Serving, Stand, detector, wait
from oracle import Truth, all_delivered, assert_exact, truth
from watch import Watch

from detector.changes import Change, read_changes
from detector.config import moment
from detector.sandbox.bpic import directory, write
from detector.sandbox.broker import Broker

pytestmark = pytest.mark.broker
LOG = Path(__file__).parents[3] / "shared" / "data" / "bpic" / "bpic2012_events.csv.gz"
MONTH_4, MONTH_5 = "2012-01-01T00:00:00Z", "2012-02-01T00:00:00Z"
LONGEST_TURN = 3.0
"""Seconds; a machine that others use, too, is given some."""
Event = tuple[bytes, bytes]


class Bank(NamedTuple):
    folder: Path
    history: Path
    events: tuple[Event, ...]
    """(key, value) in order of time."""
    times: tuple[int, ...]

    def between(self, since: str, until: str) -> Sequence[Event]:
        start, stop = moment(since), moment(until)
        return [event for event, at in zip(self.events, self.times, strict=True) if start <= at < stop]

    def train(self, until: str) -> list[str]:
        out = ("--context", str(self.folder / "context"), "--out", str(self.folder / "models"))
        return [sys.executable, "-m", "detector.cli", "train", "--events", str(self.history), "--until", until, *out]

    def models(self, *words: str) -> str:
        return detector("models", *words, "--models", str(self.folder / "models")).stdout


@pytest.fixture(scope="module", params=[pytest.param(4, id="a fourth"), pytest.param(1, id="all", marks=pytest.mark.slow)])
def bank(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Bank:
    """Every so many-th of its cases; and a model of its first three months."""
    if not LOG.exists():
        pytest.skip(f"{LOG} is not here")
    folder, share = tmp_path_factory.mktemp("bank"), request.param
    write(LOG, folder / "all.ndjson")
    lines = (folder / "all.ndjson").read_bytes().splitlines()
    said = [(line, json.loads(line)) for line in lines]
    kept = [(line, one) for line, one in said if int(one["subject"]) % share == 0]
    history = folder / "history.ndjson"
    history.write_bytes(b"".join(line + b"\n" for line, _ in kept))
    (folder / "context").mkdir()
    (folder / "context" / "directory.csv").write_bytes(directory(one["actor"] for _, one in kept))
    made = Bank(folder, history, tuple((one["actor"].encode(), line) for line, one in kept), tuple(one["time"] for _, one in kept))
    subprocess.run(made.train(MONTH_4), check=True, capture_output=True)
    return made


def laid_out(bank: Bank, broker: Broker, folder: Path, unique) -> Stand:
    return Stand(
        broker, folder, unique, context={"folder": str(bank.folder / "context")}, models={"registry": str(bank.folder / "models")},
        detection={"budget": 100.0}, input={"max_age": 1e10}, alerts={"start": str(moment(MONTH_4))}, service={"snapshot_interval": 5},
    )  # fmt: skip


class Load:
    """Feeds events at a pace, beside the test."""

    def __init__(self, stand: Stand, events: Sequence[Event], seconds: float) -> None:
        self._stand, self._events, self._seconds = stand, events, seconds
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        began, steps = time.monotonic(), max(int(self._seconds * 4), 1)
        for step in range(steps):
            start, stop = (len(self._events) * at // steps for at in (step, step + 1))
            self._stand.feed(self._events[start:stop])
            time.sleep(max(began + (step + 1) * self._seconds / steps - time.monotonic(), 0.0))

    def __enter__(self) -> Load:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.join()


def in_use(service: Serving) -> str:
    lines = service.get("/metrics")[1].splitlines()
    return next((line.split('version="')[1][:12] for line in lines if line.startswith("detector_model_info{")), "")


def told(service: Serving) -> dict[int, list[Change]]:
    return read_changes(service.log, "employee")


def replayed(bank: Bank, stand: Stand, changes: Path) -> set[bytes]:
    """The alerts of a replay that knows what the service's log says."""
    out = stand.folder / "replayed.ndjson"
    where = ("--context", str(bank.folder / "context"), "--models", str(bank.folder / "models"), "--topic", stand.events)
    how = ("--from", MONTH_4, "--budget", "100", "--partitions", str(PARTITIONS), "--changes", str(changes), "--alerts", str(out))
    detector("replay", "--events", str(bank.history), *where, *how, "--set", "input.max_age=1e10")
    return set(out.read_bytes().splitlines())


def finished(stand: Stand, service: Serving) -> Truth:
    expected = truth(stand, moment(MONTH_4), told(service))
    wait(lambda: all_delivered(stand, expected), 120, "all is delivered")
    return truth(stand, moment(MONTH_4), told(service))


def test_F8_a_model_is_trained_promoted_and_rolled_back_while_events_flow(bank, broker, tmp_path, unique):
    first = bank.models("list", "--json")
    stand = laid_out(bank, broker, tmp_path, unique)
    stand.feed(bank.between("1970-01-01T00:00:00Z", MONTH_4))
    fourth, fifth = bank.between(MONTH_4, MONTH_5), bank.between(MONTH_5, "2013-01-01T00:00:00Z")
    with Serving(stand) as service:
        service.until_ready(120)
        old = in_use(service)
        with Load(stand, fourth, 10):
            subprocess.run(bank.train(MONTH_5), check=True, capture_output=True)  # beside the service
        (new,) = {one["version"] for one in json.loads(bank.models("list", "--json"))} - {old}
        assert old in first and in_use(service) == old, "nothing changes before somebody promotes it"
        with Watch(service) as watch, Load(stand, fifth[: len(fifth) // 2], 8):
            time.sleep(2)
            began = time.monotonic()
            bank.models("promote", new)
            wait(lambda: in_use(service) == new, 20, "the service has gone over")
            took = time.monotonic() - began
        with Load(stand, fifth[len(fifth) // 2 :], 8):
            time.sleep(2)
            bank.models("rollback")
            wait(lambda: in_use(service) == old, 20, "the service has gone back")
        expected = finished(stand, service)
        assert service.stop() == 0
    print(f"promoted: in use after {took:.1f} s; the loop's longest turn meanwhile: {watch.longest:.2f} s")
    assert took < 20 and watch.longest < LONGEST_TURN
    assert_exact(stand, expected)
    changes = told(service)
    assert sorted(changes) == list(range(PARTITIONS))
    for p, some in changes.items():  # a change is told with the next event of its partition
        assert [change.model for change in some] == [old, new, old][: max(len(some), 2)], p
    assert any(len(some) == 3 for some in changes.values())
    by = {p: {json.loads(value)["model"]["version"] for _, value in values} for p, values in expected.alerts.items()}
    assert set().union(*by.values()) == {old, new}, "alerts by both, so that the test can fail"
    assert replayed(bank, stand, service.log) == {value for values in expected.alerts.values() for _, value in values}
