"""Drift on a real broker: the service says that behaviour has moved away from its model's training, once it has seen enough of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from harness import PARTITIONS, Serving, wait
from oracle import home

from detector import registry, training
from detector.core import drift
from detector.core.drift import Reference
from detector.core.model import FORMAT
from detector.core.views import EMPLOYEE

pytestmark = pytest.mark.broker
DAY = 86_400_000
FIRST, DAYS, CROWD, EACH = 20_500, 8, 400, 10


def crowd() -> Iterator[tuple[bytes, bytes]]:
    """Four hundred people who do nothing but look at people. A last day closes the others in each partition."""
    for day in range(FIRST, FIRST + DAYS):
        for i in range(CROWD * EACH):
            yield event(f"e{i % CROWD}", day * DAY + i * 20_000, f"u{i}")
    done = set[int]()
    for employee in (f"e{i}" for i in range(CROWD)):
        if len(done) < PARTITIONS and (partition := home(employee)) not in done:
            done.add(partition)
            yield event(employee, (FIRST + DAYS) * DAY, "u1")


def event(actor: str, time: int, subject: str) -> tuple[bytes, bytes]:
    return actor.encode(), json.dumps({"time": time, "actor": actor, "action": "read", "resource": "a", "subject": subject}).encode()


def large(models: Path, folder: Path) -> str:
    """The champion, as if it had been trained on fifty times as many days as alike. Its own sample is too small to say anything against."""
    model = registry.load_model(models, "champion", EMPLOYEE.name, EMPLOYEE.names)
    arrays, said = replace(model, reference=Reference(model.reference.edge, 50 * model.reference.count)).to_arrays()
    registry.save(folder, arrays, {"format": FORMAT, "views": {model.view: said}, **training.made_with()})
    return str(folder)


def test_the_service_tells_of_drift(office: Any, broker: Any, tmp_path: Any, unique: Callable[[str], str]) -> None:
    models = large(office.folder / "models", tmp_path / "models")
    sections = {"alerts": {"start": str(2 * FIRST * DAY)}, "input": {"max_age": 1e10}, "models": {"registry": models}}
    stand = office.stand(broker, tmp_path, unique, **sections)
    stand.feed(crowd())
    with Serving(stand) as service:
        wait(lambda: service.metric("detector_drift_employee_days") == 7 * CROWD, 120, "a week is seen")
        lines = service.get("/metrics")[1].splitlines()
    told = {line.split('"')[1]: float(line.split()[-1]) for line in lines if line.startswith("detector_drift{")}
    assert max(told.values()) > drift.MUCH and "detector_retrain_wanted 1.0" in lines
    assert b"train a new model" in service.log.read_bytes()
    assert told.keys() <= set(drift.names(registry.load_model(Path(models), "champion", EMPLOYEE.name, EMPLOYEE.names).hypotheses))
