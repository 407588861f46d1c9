"""Two models on the same events: each says what it says alone, and what would change is told to people, programs and the nightly job."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import world

from detector import comparison, registry, training
from detector.cli import main
from detector.config.settings import Gate
from detector.core.calibration import threshold
from detector.core.comparison import Comparison, Days, Limits, gate
from detector.core.events import EventBatch
from detector.core.frame import DAY
from detector.core.model import Model
from detector.core.pipeline import Pipeline, Policy
from detector.core.strings import hash_strings
from detector.core.views import EMPLOYEE
from detector.errors import ConfigError
from detector.pictures.comparison import comparison as picture

DAYS = 5


def strict(model: Model, factor: float) -> Model:
    """The same, to which everything is so many times as far out; named otherwise."""
    tails = model.total_tails
    return replace(model, total_tails=replace(tails, value=tails.value / factor, scale=tails.scale / factor)).named("b" * 12, "b" * 64)


@cache
def log() -> tuple[EventBatch, ...]:
    return world.batches()[-DAYS:]


def played(first: Model, second: Model, since: int | None = None, budget: float = world.BUDGET) -> tuple[Comparison, Days]:
    def made(model: Model) -> Callable[[], Pipeline]:
        return lambda: Pipeline(EMPLOYEE, model, world.context(), Policy(budget), 1000)

    return comparison.played(log(), (made(first), made(second)), world.context(), since)


@cache
def same() -> tuple[Comparison, Days]:
    return played(world.model(), world.model())


@cache
def other() -> tuple[Comparison, Days]:
    return played(world.model(), strict(world.model(), 1.3))


def test_a_model_says_of_each_employee_day_what_it_says_when_it_is_played_alone() -> None:
    """The largest rarity of each employee's events on the day that was open when they came."""
    pipeline, expected, open_day = world.pipeline(), dict[tuple[int, int], float](), 0
    for batch in log():
        for scores in pipeline.process(batch).scores:
            for row, rarity in zip(scores.row.tolist(), scores.rarity.tolist(), strict=True):
                open_day = max(open_day, int(batch.time[row]) // DAY)
                key = int(batch.hashes("actor")[row]), open_day
                expected[key] = max(expected.get(key, 0.0), rarity)
    days = same()[1]
    said = dict(zip(zip(days.key.tolist(), days.day.tolist(), strict=True), days.rarity.tolist(), strict=True))
    assert said == {key: [rarity, rarity] for key, rarity in expected.items()}
    assert len(said) > 150


def test_a_model_against_itself_changes_nothing() -> None:
    found = same()[0]
    assert found.only == (0, 0) and found.lost == 0 and found.correlation == pytest.approx(1)
    assert found.models[0] == found.models[1] and found.models[0].alerted == found.both > 5
    assert {team.team for team in found.teams} >= {
        post[1] for who in world.context().employees.values() for post in who.posts if post[2] != "service"
    }


def test_a_stricter_model_alerts_more_and_whom_is_told_by_name() -> None:
    found, days = other()
    over = days.rarity >= threshold(world.BUDGET)
    anew = {int(key) for key in days.key[over[:, 1] & ~over[:, 0]]}
    assert found.models[1].alerted == over[:, 1].sum() > found.both == over[:, 0].sum()
    assert anew and {int(hash_strings([person.employee])[0]) for person in found.only_second} == anew
    assert all(world.context().is_employee(person.employee) for person in found.only_second)


def test_the_gates_default_limits_let_the_same_model_pass_and_not_one_gone_wild() -> None:
    limits = Limits(*(getattr(Gate(), name) for name in ("rate", "lost", "team", "correlation")))
    assert gate(same()[0], limits) == []
    assert "employee-days alerted" in gate(played(world.model(), strict(world.model(), 4.0))[0], limits)[0]
    assert "no near misses" in gate(played(world.model(), strict(world.model(), 0.1), budget=30.0)[0], limits)[0]


def test_only_whole_days_from_the_given_time_on_are_compared_and_else_the_last_seven() -> None:
    days = same()[1]
    last = int(days.day.max())
    assert played(world.model(), world.model(), since=(last - 1) * DAY)[1].day.min() == last - 1
    assert played(world.model(), world.model(), since=(last - 1) * DAY + 1)[1].day.min() == last
    whole = comparison.played(world.batches(), (world.pipeline, world.pipeline), world.context(), None)[1]
    assert sorted(set(whole.day.tolist())) == list(range(last - 6, last + 1))
    with pytest.raises(ConfigError, match="no employee was active"):
        played(world.model(), world.model(), since=(last + 2) * DAY)


def test_the_picture_is_the_same_each_time_and_can_be_drawn_of_nothing_much() -> None:
    found, days = other()
    assert picture(found, days) == picture(found, days)
    quiet = replace(found, teams=(), signals=(), both=0)
    assert b"<svg" in picture(quiet, Days(days.key[:2], days.day[:2], days.team[:2], np.zeros((2, 2), np.float32)))


# --- the command


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A registry with the model, and a stricter one as its challenger; events and context."""
    place = tmp_path_factory.mktemp("compared")
    report = world.trained()[1]
    registry.save(place / "models", *training.artefact(world.model(), report, 7))
    second = registry.save(place / "models", *training.artefact(strict(world.model(), 1.3), report, 7))
    registry.promote(place / "models", "challenger", second)
    days = list(world.company().days(world.END - world.DAYS * DAY, world.END))[-DAYS:]
    values = [value for day in days for value in day.values]
    (place / "events.ndjson").write_bytes(b"\n".join(values) + b"\n")
    for name, data in world.company().context_files().items():
        (place / "context" / name).parent.mkdir(exist_ok=True)
        (place / "context" / name).write_bytes(data)
    return place


def compared(place: Path, *more: str) -> int:
    said = [f"--{name}={place / where}" for name, where in (("events", "events.ndjson"), ("context", "context"), ("models", "models"))]
    return main(["models", "compare", "champion", "challenger", *said, "--budget", str(world.BUDGET), *more])


def test_programs_and_the_nightly_job_are_told_by_json_and_exit_code(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert compared(folder, "--json", "--gate") == 0
    out = json.loads(capsys.readouterr().out)
    expected = other()[0]
    assert out["gate"] == {"open": True, "why": []}
    assert [side["alerted"] for side in out["models"]] == [side.alerted for side in expected.models]
    assert [person["employee"] for person in out["only_second"]] == [person.employee for person in expected.only_second]
    closed = ("--json", "--set", "gate.rate=0.1")
    assert compared(folder, *closed, "--gate") == 1
    assert "employee-days alerted" in json.loads(capsys.readouterr().out)["gate"]["why"][0]
    assert compared(folder, *closed) == 0, "without --gate it only tells"


def test_people_get_tables_and_a_picture(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert compared(folder, "--plot", str(folder / "it.svg")) == 0
    out = capsys.readouterr().out
    assert "Alerted by B alone" in out and "Alerts by team" in out and "The gate is open" in out
    assert b"Each employee-day" in (folder / "it.svg").read_bytes()


def test_what_cannot_be_compared_is_said(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert compared(folder, "--plot", "it.gif") == 3
    assert compared(folder, "--from", "9999999999999") == 3
    assert (
        main(["models", "compare", "champion", "none", "--events", str(folder / "events.ndjson"), "--models", str(folder / "models")]) == 4
    )
    assert "Traceback" not in capsys.readouterr().err
