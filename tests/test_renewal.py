"""The nightly training: a version whose parent is the champion, made from daily records alone; what is excluded is left out."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import world

from detector import registry, training
from detector.cli import main
from detector.core.daily import Daily
from detector.core.daily_blocks import Origin, blocks_of, encode
from detector.core.exclusions import Exclusions, Span
from detector.core.refresh import refresh
from detector.core.strings import hash_strings
from detector.core.views import EMPLOYEE
from detector.errors import ModelError
from detector.files import read_blocks, write_blocks
from detector.registry import load_model
from detector.renewal import artefact, renew

MANIFEST = {"version": "0" * 12, "views": {}, "training": {"last": world.LIVE, "events": 7}}


@cache
def days() -> tuple[Daily, ...]:
    """What a task wrote in the whole history."""
    task = world.pipeline()
    return tuple(daily for batch in world.batches() for daily in task.process(batch).daily)


def write(folder: Path) -> None:
    blocks = [encode(Origin("employee", "access-events", 0), d, chunk) for d in days() for chunk in range(blocks_of(d))]
    write_blocks(folder / "daily", blocks)
    assert list(read_blocks(folder / "daily")) == blocks
    arrays, manifest = training.artefact(*world.trained(), 7)
    registry.save(folder / "models", arrays, manifest)
    world.company().write_context(folder / "context")


def run(folder: Path, *more: str) -> int:
    where = ["--out", str(folder / "models"), "--context", str(folder / "context")]
    return main(["train", "--refresh", "--from-daily", str(folder / "daily"), *where, *more])


def test_a_refresh_makes_a_version_with_a_parent(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path)
    assert run(tmp_path) == 0
    out = capsys.readouterr().out
    (version,) = {v.version for v in registry.list_versions(tmp_path / "models")} - {registry.resolve(tmp_path / "models", "champion")}
    manifest = registry.show(tmp_path / "models", version)
    assert manifest["parent"] == registry.resolve(tmp_path / "models", "champion")
    said = manifest["refresh"]
    assert said["last_day"] == days()[-1].day and said["days"] == len(days()) and said["records"] == sum(map(len, days()))
    assert f"model {version}" in out and f"refreshed from {manifest['parent']}" in out and f"{len(said['held_back'])} held back" in out
    assert manifest["training"] == registry.show(tmp_path / "models", "champion")["training"]
    found = load_model(tmp_path / "models", version, EMPLOYEE.name, EMPLOYEE.names)
    expected = renew(world.model(), {**MANIFEST, "training": manifest["training"]}, days()).model
    assert {n: a.tobytes() for n, a in found.to_arrays()[0].items()} == {n: a.tobytes() for n, a in expected.to_arrays()[0].items()}
    assert registry.resolve(tmp_path / "models", "champion") == manifest["parent"], "nobody is promoted by it"
    assert run(tmp_path) == 0, "the same again is the same version"


def test_those_excluded_are_left_out_of_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path)
    who = json.loads(next(iter(world.company().days(world.LIVE, world.END))).values[0])["actor"]
    (tmp_path / "incident.csv").write_text(f"employee\n{who}\n")
    assert run(tmp_path, "--exclude", str(tmp_path / "incident.csv")) == 0
    assert "records were left out, as told" in capsys.readouterr().out
    key = hash_strings([who])[0]
    without = [d.take(np.flatnonzero(d.key != key)) for d in days()]
    found = renew(world.model(), MANIFEST, days(), Exclusions.of([Span(who)]))
    assert found.model.sha256 == renew(world.model(), MANIFEST, without).model.sha256 != renew(world.model(), MANIFEST, days()).model.sha256
    assert found.excluded == sum(map(len, days())) - sum(map(len, without)) > 0


def test_replay_refreshes_in_the_same_way() -> None:
    last = days()[-1].day
    night = renew(world.model(), {**MANIFEST, "refresh": {"last_day": last - 1}}, days())
    assert night.nights == 1 and night.model.sha256 == refresh(world.model(), days()).sha256


def test_teams_held_back_are_named() -> None:
    odd = [Daily(d.day, d.key, d.team, {**d.columns, "level": d.column("level") + np.float32(2.0)}) for d in days()]
    made = renew(world.model(), {**MANIFEST, "refresh": {"last_day": days()[-1].day - 1}}, odd)
    teams = {int(h): name for name in ("support",) for h in hash_strings([name])}
    held = artefact(made, teams)[1]["refresh"]["held_back"]
    assert len(held) == len(made.moves.teams) > 5 and all(team["times"] > 1 and team["in"] == "mean" for team in held)
    assert [team["times"] for team in held] == sorted((team["times"] for team in held), reverse=True)


def test_too_few_days_and_other_hypotheses_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="there are 6 days of the last four weeks, 7 are needed"):
        renew(world.model(), MANIFEST, days()[:6])
    other = [Daily(d.day, d.key, d.team, {**d.columns, "joined": d.column("joined")[:, :5]}) for d in days()]
    with pytest.raises(ModelError, match=f"{len(days())} more are of a model with other hypotheses"):
        renew(world.model(), MANIFEST, other)
    mixed = renew(world.model(), MANIFEST, [*other[:1], *days()[1:]])
    assert mixed.unfit == 1 and mixed.days[0] == len(days()) - 1
    write(tmp_path)
    assert main(["train", "--refresh", "--events", "x.ndjson", "--out", str(tmp_path / "models")]) == 3
    (tmp_path / "daily").write_bytes((tmp_path / "daily").read_bytes()[:-1])
    assert run(tmp_path) == 3
