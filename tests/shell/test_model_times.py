"""How new a model is: what its manifest says it learned from, and when the registry got it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from detector import registry
from detector.core.frame import DAY
from detector.core.views import EMPLOYEE
from detector.registry.artefacts import learned_until
from detector.registry.history import HISTORY
from tests.models import sound

LAST = 20_000 * DAY + 5


@pytest.mark.parametrize(
    ("manifest", "until"),
    [
        ({}, -1),
        ({"training": {"last": LAST, "first": 0}}, LAST),
        ({"training": {"last": LAST}, "refresh": {"last_day": 20_003, "days": 28}}, 20_004 * DAY - 1),
        ({"training": {"last": LAST}, "refresh": {"last_day": 19_000}}, LAST),
        ({"training": {"last": "yesterday"}}, -1),
        ({"training": [LAST]}, -1),
        ({"training": {"last": 10**30}}, -1),
        ({"refresh": {"last_day": -5}}, -1),
    ],
)
def test_the_newest_event_that_a_model_learned_from_is_in_its_manifest(manifest: dict[str, Any], until: int) -> None:
    assert learned_until(manifest) == until


def test_a_model_that_is_loaded_knows_how_new_it_is(tmp_path: Path) -> None:
    arrays, manifest = sound(0)
    version = registry.save(tmp_path, arrays, {**manifest, "training": {"last": LAST}})
    model = registry.load_model(tmp_path, version, EMPLOYEE.name, EMPLOYEE.names)
    assert model.until == LAST
    assert datetime.now(UTC) - datetime.fromtimestamp(model.stored / 1000, UTC) < timedelta(minutes=5)


@pytest.mark.parametrize("history", ["", "not JSON\n", '{"time":"never","event":"saved","version":"VERSION"}\n', None])
def test_a_history_that_does_not_say_is_no_reason_not_to_load_it(tmp_path: Path, history: str | None) -> None:
    version = registry.save(tmp_path, *sound(0))
    (tmp_path / HISTORY).unlink()
    if history is None:
        (tmp_path / HISTORY).mkdir()
    else:
        (tmp_path / HISTORY).write_text(history.replace("VERSION", version))
    assert registry.load_model(tmp_path, version, EMPLOYEE.name, EMPLOYEE.names).stored == -1
