"""Verdicts on alerts bend the next training: a little, for told reasons, and reversibly; what was confirmed is not learned from."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest
import world

from detector import training
from detector.cli import main
from detector.core import hypotheses
from detector.core.attribution import shares
from detector.core.exclusions import Exclusions, around
from detector.core.model import LEAST_WEIGHT, Model
from detector.core.pipeline import Pipeline, Policy
from detector.core.verdicts import Case, case, checked, confirmed, encode_case
from detector.core.views import EMPLOYEE
from detector.shards import Here, Task

BLAMED = "off_hours"


def learned(cases: list[Case]) -> tuple[Model, training.Report]:
    excluded = Exclusions.of(around(confirmed(cases)))
    task = Task(EMPLOYEE, hypotheses.names(), world.context(), until=world.LIVE, excluded=excluded, seed=7, max_keys=1000)
    return training.lesson(training.by_day(world.batches(), world.LIVE), Here(task), task, cases)


@cache
def alerts() -> list[bytes]:
    pipeline = world.pipeline(budget=900.0)
    return [value for batch in world.batches() for _, value in pipeline.process(batch).alerts]


@cache
def cases() -> list[Case]:
    """Whatever an alert was for, it was for nothing; and those of one hypothesis were for nothing a hundred times over."""
    said = {"verdict": "false_positive", "by": "Ann", "time": world.END}
    found = [
        made for number, value in enumerate(alerts()) if (made := case(checked({**said, "alert_id": f"{number:032x}"}), value)) is not None
    ]
    right = {**said, "verdict": "true_positive", "alert_id": "f" * 32}
    more = [Case(checked({**said, "alert_id": "0" * 32}), f"nobody-{i}", world.END, "0" * 32, {BLAMED: 1.0}) for i in range(100)]
    return [*found, *more, *(Case(checked(right), f"nothing-{i}", world.END, "f" * 32, {"harvest": 1.0}) for i in range(100))]


@cache
def bent() -> tuple[Model, training.Report]:
    return learned(cases())


def test_verdicts_change_the_weights_and_the_calibration_of_s_and_nothing_else() -> None:
    model, report = bent()
    plain, made = world.model().to_arrays()[0], model.to_arrays()[0]
    changed = {name for name in plain if plain[name].tobytes() != made[name].tobytes()}
    assert {"employee.weights.factor", "employee.total.value"} <= changed
    assert changed <= {"employee.weights.factor", *(name for name in plain if name.startswith(("employee.total.", "employee.drift.")))}
    for name in ("edge", "count"):  # of drift's reference what is said of S alone
        one, other = (np.moveaxis(a[f"employee.drift.{name}"], -2, 0) for a in (plain, made))
        assert np.array_equal(one[:-1], other[:-1]) and not np.array_equal(one[-1], other[-1])
    weight = dict(zip([h.name for h in model.hypotheses], model.weights.tolist(), strict=True))
    assert LEAST_WEIGHT <= weight[BLAMED] < 0.75 and weight["harvest"] > 1.2
    assert any(line.startswith(f"{BLAMED}: {weight[BLAMED]:.2f}, of ") for line in report.weights) and len(report.weights) == len(weight)
    assert training.artefact(model, report, 7)[1]["training"]["weights"] == list(report.weights)


def test_the_same_history_without_verdicts_gives_the_model_as_it_was() -> None:
    model, report = learned([])
    plain, made = world.model().to_arrays()[0], model.to_arrays()[0]
    assert {name: a.tobytes() for name, a in plain.items()} == {name: a.tobytes() for name, a in made.items()}
    assert report.weights == () and "weights" not in training.artefact(model, report, 7)[1]["training"]


def test_alerts_of_a_weighed_model_keep_the_promise_and_tell_shares_as_they_are_weighed() -> None:
    model = bent()[0]
    counts = []
    for each in (world.model(), model):
        pipeline = Pipeline(EMPLOYEE, each, world.context(), Policy(world.BUDGET), 1000)
        found = [alert for batch in world.batches() for alert, _ in pipeline.process(batch).alerts]
        counts.append(len({(alert.actor, alert.time // 86_400_000) for alert in found}))
    assert 0.5 < counts[1] / counts[0] < 2, counts
    equal = np.ones(len(model.hypotheses), np.float32)
    part = shares(model, equal) / shares(world.model(), equal)
    assert np.argmin(part) == [h.name for h in model.hypotheses].index(BLAMED)


def test_what_was_confirmed_is_not_learned_from() -> None:
    victim = next(iter(cases()))
    right = checked({"alert_id": "e" * 32, "verdict": "true_positive", "by": "Ann", "time": world.END})
    model, report = learned([Case(right, victim.actor, world.LIVE, "e" * 32, {"harvest": 1.0})])
    assert report.excluded > 0
    assert model.joined_tails.value.tobytes() != world.model().joined_tails.value.tobytes()


def test_a_file_of_verdicts_that_was_tampered_with_is_refused_before_anything_is_learned(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = encode_case(cases()[0])
    (tmp_path / "verdicts.ndjson").write_bytes(good + b"\n" + good.replace(b"false_positive", b"innocent") + b"\n")
    words = ["train", "--events", "none.ndjson", "--out", str(tmp_path / "models"), "--verdicts", str(tmp_path / "verdicts.ndjson")]
    assert main(words) == 3
    assert "verdicts.ndjson:2: `verdict.verdict`" in capsys.readouterr().err
    assert not (tmp_path / "models").exists()
