"""A model's card says what the model says, and is the same each time."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import world

from detector import pictures, registry, training
from detector.cards import card_of
from detector.cli import main
from detector.core import hypotheses
from detector.core.calibration import least_value, threshold
from detector.core.model import Model


def manifest() -> dict[str, object]:
    model, report = world.trained()
    return training.artefact(model, report, 7)[1]


def card(model: Model | None = None) -> tuple[str, dict[str, bytes]]:
    return card_of(model or world.model(), manifest())


def test_it_names_what_the_model_was_trained_on_what_it_promises_and_looks_for() -> None:
    text, _ = card()
    report = world.trained()[1]
    assert f"| events | {report.events:,} |" in text and f"| employees | {report.employees} |" in text and "| seed | 7 |" in text
    least = least_value(world.model().total_tails, threshold(3.0))
    assert f"| 3 | 2.52 | {least:.2f} |" in text
    assert all(f"| `{name}` | " in text for name in hypotheses.names())
    assert "Looks at many people never dealt with before" in text


def test_the_pictures_it_shows_are_there_and_are_pictures() -> None:
    text, drawn = card()
    assert set(drawn) == {"score.svg", "hypotheses.svg"} and all(f"]({name})" in text for name in drawn)
    for data in drawn.values():
        assert ElementTree.fromstring(data).tag.endswith("svg")
        assert b"harvest" in data or b"budget 1" in data, "text stays text"


def test_hypotheses_that_are_off_are_named_with_what_they_need() -> None:
    model = world.model()
    kept = [d for d, h in enumerate(model.hypotheses) if h.name != "wall"]
    tails = type(model.joined_tails)(*(getattr(model.joined_tails, part)[kept] for part in ("value", "rarity", "scale", "soft")))
    without = replace(
        model, hypotheses=tuple(model.hypotheses[d] for d in kept), joined_tails=tails, weights=model.weights[kept],
        reference=replace(model.reference, edge=np.delete(model.reference.edge, -1, 0), count=np.delete(model.reference.count, -1, 1)),
    )  # fmt: skip
    assert "* `wall`, which needs residency.toml" in card(without)[0] and "Off:" not in card()[0]


def test_the_same_model_has_the_same_card_in_another_process(tmp_path: Path) -> None:
    registry.save(tmp_path, *training.artefact(*world.trained(), 7))
    code = f"""
import hashlib, pathlib, sys
from detector import cards, registry
from detector.core.views import EMPLOYEE
folder = pathlib.Path({str(tmp_path)!r})
model = registry.load_model(folder, "champion", EMPLOYEE.name, EMPLOYEE.names)
sys.stdout.write(hashlib.sha256(repr(cards.card_of(model, registry.show(folder, "champion"))).encode()).hexdigest())
"""
    elsewhere = {**os.environ, "PYTHONHASHSEED": "1"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=elsewhere)
    own = card_of(world.model(), registry.show(tmp_path, "champion"))
    assert done.stdout == hashlib.sha256(repr(own).encode()).hexdigest()


def test_without_matplotlib_the_card_says_that_it_has_no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures, "find_spec", lambda name: None)
    text, drawn = card()
    assert drawn == {} and "There are no pictures in it" in text and ".svg" not in text


def test_a_refreshed_model_names_its_parent_and_the_teams_that_were_held_back() -> None:
    refresh = {
        "days": 28,
        "first_day": 20_000,
        "last_day": 20_027,
        "records": 5000,
        "employees": 60,
        "excluded": 3,
        "nights": 1,
        "teams": 5,
    }
    held = {**refresh, "held_back": [{"team": "red", "times": 2.5, "in": "hours"}]}
    text = card_of(world.model(), {**manifest(), "parent": "abc", "refresh": held})[0]
    assert "It was made from `abc`" in text and "5,000 daily records of 60 employees on 28 days, 2024-10-04 to 2024-10-31" in text
    assert "* red: 2.5 times as far, most in hours" in text
    assert "* none" in card_of(world.model(), {**manifest(), "refresh": {**refresh, "held_back": []}})[0]


def test_training_writes_the_card_into_the_version_folder(tmp_path: Path) -> None:
    values = [value for day in world.company().days(world.END - world.DAYS * 86_400_000, world.END) for value in day.values]
    (tmp_path / "events.ndjson").write_bytes(b"\n".join(values) + b"\n")
    assert main(["train", "--events", str(tmp_path / "events.ndjson"), "--out", str(tmp_path / "models")]) == 0
    version = registry.resolve(tmp_path / "models", "champion")
    assert {path.name for path in (tmp_path / "models" / version).iterdir()} >= {"card.md", "score.svg", "hypotheses.svg"}
    assert registry.check(tmp_path / "models", version).files == ("card.md", "hypotheses.svg", "score.svg")
