"""How far behind a process is, partition by partition: those that it holds, and no others."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families

from detector import lag
from detector.core.events import Records
from detector.lag import Lag
from detector.metrics import Metrics

NOW = 1_700_000_000.0


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """Of the module: the hour stands still, and every look is due."""
    made = SimpleNamespace(now=NOW)
    ticks = iter(range(100, 100_000, 10))
    monkeypatch.setattr(lag, "time", SimpleNamespace(time=lambda: made.now, monotonic=lambda: float(next(ticks))))
    monkeypatch.setattr(lag, "STUCK", 1e9)
    return made


class Log:
    """As much of a source as lag looks at; `stands`: partition -> (position, end)."""

    def __init__(self, **stands: tuple[int, int]) -> None:
        self._stands = {int(p[1:]): stand for p, stand in stands.items()}

    def bounds(self, partitions: Any) -> dict[int, tuple[int, int]]:
        return {p: (0, self._stands[p][1]) for p in partitions}

    def position(self, partition: int) -> int:
        return self._stands[partition][0]

    def written(self, partition: int) -> int:
        return self._stands[partition][1]


def tasks(*partitions: int) -> Any:
    state = type("State", (), {"__len__": lambda _: 7, "evicted": 1, "max_keys": 1000, "capacity": 16, "bytes_per_key": 100})()
    return {p: SimpleNamespace(position=0, halted="", pipeline=SimpleNamespace(tracker=SimpleNamespace(state=state))) for p in partitions}


def run(partition: int, age: float) -> Records:
    """A record that came to the broker so many seconds ago."""
    one = Records.of([b"{}"], partition=partition)
    one.timestamp[:] = np.int64((NOW - age) * 1000)
    return one


def told(figures: Metrics, name: str) -> dict[str, float]:
    families = text_string_to_metric_families(figures.text().decode())
    return {s.labels["partition"]: s.value for family in families for s in family.samples if s.name == name}


def test_each_partition_is_told_of_by_itself_and_what_is_caught_up_with_is_not_behind() -> None:
    figures = Metrics()
    made = Lag(figures)
    assert made.look(Log(p0=(10, 10), p1=(5, 45)), [run(0, 30.0), run(1, 20.0)], 1000, tasks(0, 1))  # type: ignore[arg-type]
    assert told(figures, "detector_lag_records") == {"0": 0, "1": 40}
    assert told(figures, "detector_lag_seconds") == {"0": 0, "1": 20}
    assert made.seconds == 20


def test_what_is_given_away_is_told_of_no_more() -> None:
    figures = Metrics()
    made = Lag(figures)
    made.look(Log(p0=(1, 10), p1=(1, 10)), [run(0, 500.0), run(1, 20.0)], 1000, tasks(0, 1))  # type: ignore[arg-type]
    assert made.seconds == 500
    made.look(Log(p1=(1, 10)), [], 1000, tasks(1))  # type: ignore[arg-type]
    assert told(figures, "detector_lag_seconds") == {"1": 20} and made.seconds == 20
    made.forget()
    assert told(figures, "detector_lag_seconds") == told(figures, "detector_lag_records") == {} and made.seconds == 0


def test_a_partition_that_stands_still_grows_older_and_one_that_has_nothing_does_not(clock: SimpleNamespace) -> None:
    figures = Metrics()
    made = Lag(figures)
    stands = Log(p0=(3, 3), p1=(3, 9))
    made.look(stands, [run(1, 1.0)], 1000, tasks(0, 1))  # type: ignore[arg-type]
    clock.now += 60
    made.look(stands, [], 1000, tasks(0, 1))  # type: ignore[arg-type]
    assert told(figures, "detector_lag_seconds") == {"0": 0, "1": 61} and made.seconds == 61


def test_state_is_counted_over_all_that_is_held() -> None:
    figures = Metrics()
    Lag(figures).look(Log(p0=(0, 0), p1=(0, 0)), [], 1000, tasks(0, 1))  # type: ignore[arg-type]
    lines = figures.text().decode().splitlines()
    assert {"detector_keys 14.0", "detector_max_keys 2000.0", "detector_evicted_keys 2.0", "detector_state_bytes 3200.0"} <= set(lines)


def test_between_two_looks_nothing_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lag, "LOOK", 1e9)
    assert not Lag(Metrics()).look(None, [], 1000, tasks(0))  # type: ignore[arg-type]
