"""The champion is followed while serving; what cannot be served is refused, and the old one stays."""

from __future__ import annotations

import logging
import time
from dataclasses import replace
from pathlib import Path

import pytest
from promotions import models

from detector.champion import REMEMBERED, Champion
from detector.changes import read_changes
from detector.core.model import Model
from detector.errors import ConfigError, ModelError

FIRST, SECOND = models().values()


class Shelf:
    """A registry whose alias says what it is told to."""

    def __init__(self) -> None:
        self.named = FIRST.version
        self.models = dict(models())

    def load(self, version: str) -> Model:
        if version not in self.models:
            raise ModelError(f"there is no version {version}")
        return self.models[version]

    def champion(self) -> Champion:
        return Champion(FIRST, lambda: self.named, self.load, every=0.0)


def looked(champion: Champion, times: int = 3) -> bool:
    """Whether one of some looks found another model."""
    found = False
    for _ in range(times):
        while not champion.look() and champion._coming is not None and not champion._coming.done():
            time.sleep(0.001)
        found |= champion.look()
        found |= champion.model.version != FIRST.version
    return found


def test_a_champion_that_is_promoted_is_taken_over() -> None:
    shelf = Shelf()
    champion = shelf.champion()
    assert not looked(champion) and champion.model is FIRST
    shelf.named = SECOND.version
    assert looked(champion) and champion.model is SECOND
    assert champion.find(FIRST.version) is FIRST, "it is still needed for takeovers"


def test_one_that_cannot_be_loaded_is_refused_once_and_the_old_one_stays(caplog: pytest.LogCaptureFixture) -> None:
    shelf = Shelf()
    champion = shelf.champion()
    shelf.named = "0" * 12
    with caplog.at_level(logging.ERROR):
        assert not looked(champion, 10) and champion.model is FIRST
    assert [record.message for record in caplog.records] == [f"the new model is refused, the old one stays: there is no version {'0' * 12}"]
    shelf.named = SECOND.version
    assert looked(champion), "and it goes on looking"


def test_one_with_other_hypotheses_is_for_a_restart(caplog: pytest.LogCaptureFixture) -> None:
    shelf = Shelf()
    champion = shelf.champion()
    fewer = replace(SECOND, hypotheses=SECOND.hypotheses[:-1], version="f" * 12)
    shelf.models[fewer.version], shelf.named = fewer, fewer.version
    assert not looked(champion) and champion.model is FIRST
    assert "restart to serve it" in caplog.text


def test_a_version_that_is_gone_is_missed_and_memory_stays_bounded(caplog: pytest.LogCaptureFixture) -> None:
    shelf = Shelf()
    champion = shelf.champion()
    assert champion.find("0" * 12) is None and "a model that was served is missing" in caplog.text
    for number in range(3 * REMEMBERED):
        version = f"{number:012x}"
        shelf.models[version] = replace(SECOND, version=version)
        assert champion.find(version) is shelf.models[version]
    assert len(champion._known) <= REMEMBERED and champion.find(FIRST.version) is FIRST


LINE = '{"message": "model changed", "view": "employee", "partition": %d, "offset": %d, "version": "%s"}\n'


def test_changes_are_read_from_a_services_log(tmp_path: Path) -> None:
    log = tmp_path / "serve.log"
    said = LINE % (1, 7, "b") + '{"message": "serving"}\nno JSON\n' + LINE % (1, 0, "a") + LINE % (0, 3, "x") + LINE % (1, 7, "c")
    log.write_text(said + '{"message": "model changed", "view": "subject", "partition": 1, "offset": 9, "version": "z"}\n')
    assert read_changes(log, "employee") == {1: [(0, "a"), (7, "c")], 0: [(3, "x")]}


@pytest.mark.parametrize("text", ['{"message": "serving"}\n', '{"view": "employee", "partition": 1, "version": "a"}\n', ""])
def test_a_file_that_tells_of_no_change_is_an_error(text: str, tmp_path: Path) -> None:
    log = tmp_path / "serve.log"
    log.write_text(text)
    with pytest.raises(ConfigError, match=r"serve\.log"):
        read_changes(log, "employee")
    with pytest.raises(ConfigError, match="cannot be read"):
        read_changes(tmp_path / "none", "employee")
