"""Drift in the service: told in figures once enough is known, and said aloud once."""

from __future__ import annotations

import logging
from dataclasses import replace

import numpy as np
import pytest
import world

from detector.core.daily import Daily
from detector.core.drift import Reference, measured
from detector.core.model import Model
from detector.core.signals import accumulators
from detector.drift import Drift
from detector.metrics import Metrics

MONDAY = 20_549
RNG = np.random.default_rng(1)


def a_day(day: int, n: int, factor: float = 1.0) -> Daily:
    level = RNG.lognormal(0, 1, (n, accumulators.K)).astype(np.float32)
    level[:, 3] *= factor
    joined = np.zeros((n, len(world.model().hypotheses)), np.float32)
    key = np.arange(1, n + 1, dtype=np.uint64)
    return Daily(day, key, np.zeros(n, np.uint64), {"level": level, "joined": joined, "score": np.zeros(n, np.float32)})


def model() -> Model:
    days = [a_day(MONDAY - 1 - d, 900) for d in range(7)]
    parts = np.concatenate([measured(d) for d in days]), np.repeat([d.day for d in days], 900)
    return replace(world.model(), reference=Reference.of([parts]))


def read(figures: Metrics) -> dict[str, float]:
    lines = (line.rsplit(" ", 1) for line in figures.text().decode().splitlines() if not line.startswith("#"))
    return {name: float(value) for name, value in lines if name.startswith(("detector_drift", "detector_retrain"))}


def test_drift_is_told_once_enough_is_known_and_said_aloud_once(caplog: pytest.LogCaptureFixture) -> None:
    made, figures = model(), Metrics()
    drift, name = Drift(figures), accumulators.NAMES[3]
    label = f'detector_drift{{signal="{name}"}}'
    with caplog.at_level(logging.WARNING):
        drift.ended(0, [a_day(MONDAY, 100, 5.0)], made, [0, 1])
        assert read(figures).keys() == {"detector_drift_employee_days", "detector_retrain_wanted"}, "too few to say anything"
        assert read(figures)["detector_drift_employee_days"] == 100 and not caplog.records
        drift.ended(1, [a_day(MONDAY, 900, 5.0)], made, [0, 1])
        drift.ended(1, [a_day(MONDAY + 1, 900, 5.0)], made, [0, 1])
        said = read(figures)
        assert said[label] > 0.25 and said["detector_retrain_wanted"] == 1
        assert (
            max(value for key, value in said.items() if key not in (label, "detector_drift_employee_days", "detector_retrain_wanted")) < 0.1
        )
    assert [record.message.split(":")[0] for record in caplog.records] == ["train a new model"]
    assert name in caplog.records[0].psi  # type: ignore[attr-defined]


def test_a_partition_that_went_to_others_does_not_count_and_another_reference_begins_anew() -> None:
    made, figures = model(), Metrics()
    drift = Drift(figures)
    drift.ended(0, [a_day(MONDAY, 900, 5.0)], made, [0, 1])
    drift.ended(1, [a_day(MONDAY, 300)], made, [0, 1])
    assert read(figures)["detector_drift_employee_days"] == 1200
    drift.ended(1, [a_day(MONDAY + 1, 300)], made, [1])
    assert read(figures)["detector_drift_employee_days"] == 600
    refreshed = replace(made, version="later")
    drift.ended(1, [a_day(MONDAY + 2, 300)], refreshed, [1])
    assert read(figures)["detector_drift_employee_days"] == 900, "a refresh keeps the reference"
    drift.ended(1, [a_day(MONDAY + 3, 300)], model(), [1])
    assert read(figures)["detector_drift_employee_days"] == 300
