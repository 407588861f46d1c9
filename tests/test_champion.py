"""Model and context are followed while serving; what cannot be served is refused, and the old one stays."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import world
from promotions import models

from detector.champion import CONTEXTS, MODELS, Champion, Wish
from detector.changes import Change, read_changes
from detector.contexts import Contexts
from detector.core.context import DEFAULT_RESOURCES
from detector.core.model import Model
from detector.errors import ConfigError, ModelError
from detector.metrics import Metrics

FIRST, SECOND = models().values()
NAME = "zebedee-4711"


class Place:
    """A registry whose alias says what it is told to, and a folder with a context."""

    def __init__(self, folder: Path) -> None:
        self.named = FIRST.version
        self.models = dict(models())
        self.folder, self.history = folder / "context", folder / "history"
        self.folder.mkdir()
        for name, data in world.company().context_files().items():
            (self.folder / name).write_bytes(data)
        self.contexts = Contexts(str(self.folder), DEFAULT_RESOURCES, history=str(self.history))
        self.metrics, self.wish = Metrics(), Wish()
        self.champion = Champion(FIRST, self.contexts.read(), self, self.contexts, self.metrics, self.wish, every=0.0)

    def current(self) -> str:
        return self.named

    def load(self, version: str) -> Model:
        if version not in self.models:
            raise ModelError(f"there is no version {version}")
        return self.models[version]

    def protect(self, *names: str, header: str = "subject,class") -> None:
        (self.folder / "protected.csv").write_text("\n".join([header, *(f"{name},canary" for name in names)]) + "\n")

    def ask(self) -> None:
        """As SIGHUP does; until it was looked."""
        self.wish.open = True
        self.look(lambda: not self.wish.open and self.champion._coming is None)

    def look(self, until: Callable[[], bool], times: int = 3) -> None:
        for _ in range(times):
            self.champion.look()
            end = time.monotonic() + 30
            while not until():
                assert time.monotonic() < end
                self.champion.look()
                time.sleep(0.001)

    def looked(self, times: int = 3) -> Model:
        """After the registry was looked at some times."""
        for _ in range(times):
            self.look(lambda: self.champion._coming is not None, 1)
            self.look(lambda: self.champion._coming is None, 1)
        return self.champion.now.model

    def count(self, what: str, outcome: str) -> float:
        wanted = f'detector_reloads_total{{outcome="{outcome}",what="{what}"}}'
        return next(float(line.split()[-1]) for line in self.metrics.text().decode().splitlines() if line.startswith(wanted))


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    monkeypatch.setattr("detector.champion.REST", 0.0)
    return Place(tmp_path)


def test_a_champion_that_is_promoted_is_taken_over(place: Place) -> None:
    assert place.looked() is FIRST
    place.named = SECOND.version
    assert place.looked() is SECOND and place.count("model", "taken") == 1
    before, there = place.champion.find((FIRST.version, place.champion.now.context.version))
    assert there and before.model is FIRST, "it is still needed for takeovers"


def test_one_that_cannot_be_loaded_is_refused_once_and_the_old_one_stays(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    place.named = "0" * 12
    with caplog.at_level(logging.ERROR):
        assert place.looked(10) is FIRST
    assert [record.message for record in caplog.records] == ["the new model is refused, the old one stays"]
    assert vars(caplog.records[0])["error"] == f"there is no version {'0' * 12}" and place.count("model", "refused") == 1
    place.named = SECOND.version
    assert place.looked() is SECOND, "and it goes on looking"


def test_one_with_other_hypotheses_is_for_a_restart(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    fewer = replace(SECOND, hypotheses=SECOND.hypotheses[:-1], version="f" * 12)
    place.models[fewer.version], place.named = fewer, fewer.version
    assert place.looked() is FIRST
    assert any("restart to serve it" in str(vars(record).get("error")) for record in caplog.records)


def test_nothing_that_goes_wrong_in_the_registry_ends_the_service(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> str:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(place, "current", broken)
    assert place.looked() is FIRST and place.count("model", "refused") == 1


def test_a_version_that_is_gone_is_missed_and_memory_stays_bounded(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    champion, context = place.champion, place.champion.now.context.version
    assert champion.find(("0" * 12, context)) == (champion.now, False) and "a model that was served is missing" in caplog.text
    for number in range(3 * MODELS):
        version = f"{number:012x}"
        place.models[version] = replace(SECOND, version=version)
        assert champion.find((version, context))[0].model is place.models[version]
    assert len(champion._models) <= MODELS and champion.find((FIRST.version, context))[0].model is FIRST


def test_the_context_is_read_anew_when_somebody_asks_and_not_before(place: Place) -> None:
    before = place.champion.now.context
    place.protect(NAME)
    place.looked()
    assert place.champion.now.context is before
    place.ask()
    assert place.champion.now.context.protected == {NAME: "canary"} and place.count("context", "taken") == 1
    assert f'detector_context_info{{hash="{place.champion.now.context.hash}"}} 1' in place.metrics.text().decode()
    same, there = place.champion.find((FIRST.version, before.version))
    assert there and same.context is before and same.model is FIRST


def test_a_context_that_says_the_same_is_no_other(place: Place) -> None:
    now = place.champion.now
    (place.folder / "directory.csv").write_bytes((place.folder / "directory.csv").read_bytes() + b"\n")
    place.ask()
    assert place.champion.now is now and place.count("context", "taken") == place.count("context", "refused") == 0


def test_a_broken_context_is_refused_without_naming_anybody_and_the_old_one_stays(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    now = place.champion.now
    (place.folder / "protected.csv").write_text(f"subject,class\n{NAME},official\n{NAME},canary\n")
    place.ask()
    assert place.champion.now is now and place.count("context", "refused") == 1
    [record] = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert vars(record)["audit"] and vars(record)["error"].startswith("protected.csv:3\n") and NAME not in str(vars(record))
    place.protect(NAME)
    place.ask()
    assert place.champion.now is not now


def test_a_context_that_lacks_a_file_that_was_there_is_refused(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    """An export that is half done looks like this; or somebody who would rather nobody were protected."""
    now = place.champion.now
    (place.folder / "protected.csv").unlink()
    place.ask()
    assert place.champion.now is now and place.count("context", "refused") == 1
    assert any("protected.csv: was there, and is gone" in str(vars(record).get("error")) for record in caplog.records)
    place.folder.rename(place.folder.with_name("elsewhere"))
    place.ask()
    assert place.champion.now is now and place.count("context", "refused") == 2


def test_who_asks_gets_the_promoted_model_at_once(place: Place) -> None:
    place.champion._every = place.champion._due = 1e12
    place.named = SECOND.version
    place.champion.look()
    assert place.champion._coming is None
    place.ask()
    assert place.champion.now.model is SECOND


def test_however_often_somebody_asks_it_is_read_again_after_the_last_time_and_seldom(tmp_path: Path) -> None:
    place, read = Place(tmp_path), []
    reading = place.champion._contexts.read
    object.__setattr__(place.champion._contexts, "read", lambda: read.append(1) or reading())
    end = time.monotonic() + 2.2
    while time.monotonic() < end:
        place.wish.open = True
        place.champion.look()
        time.sleep(0.0005)
    assert 1 <= len(read) <= 4
    place.protect(NAME)
    place.wish.open = True
    end = time.monotonic() + 30
    while NAME not in place.champion.now.context.protected:
        assert time.monotonic() < end
        place.champion.look()
        time.sleep(0.001)


def test_a_context_that_was_served_is_found_in_the_history_by_another_process(place: Place, tmp_path: Path) -> None:
    before = place.champion.now.context
    place.protect(NAME)
    place.ask()
    after = place.champion.now.context
    assert {path.name for path in place.history.iterdir()} == {before.version, after.version}
    other = Champion(FIRST, place.contexts.read(), place, place.contexts, Metrics(), Wish())
    found, there = other.find((FIRST.version, before.version))
    assert there and found.context.hash == before.hash
    forgetful = Contexts(str(place.folder), DEFAULT_RESOURCES)
    assert forgetful.find(before.version) is None and forgetful.find(after.version) is not None, "the folder says so already"
    (place.history / before.version / "directory.csv").write_text("employee\n")
    assert place.contexts.find(before.version) is None, "what was changed since is another"


def test_contexts_in_memory_are_few_and_one_that_is_gone_is_looked_for_once(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    champion = place.champion
    for number in range(2 * CONTEXTS):
        place.protect(f"{NAME}-{number}")
        place.ask()
    assert len(champion._framers) <= CONTEXTS
    for _ in range(3):
        assert champion.find((FIRST.version, "0" * 16)) == (champion.now, False)
    assert caplog.text.count("a context that was served is missing") == 1


def test_a_history_that_cannot_be_written_is_told_and_the_context_is_served_all_the_same(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "history").write_text("a file")
    place = Place(tmp_path)
    assert "the context cannot be kept" in caplog.text and place.champion.now.context.employees


def test_another_key_is_another_context_and_its_version_does_not_tell_it(tmp_path: Path) -> None:
    place, key = Place(tmp_path), tmp_path / "key"
    versions = {place.champion.now.context.version}
    for text in ("00" * 32, "11" * 32):
        key.write_text(text + "\n")
        versions.add(replace(place.contexts, key_file=str(key)).read().context.version)
    assert len(versions) == 3 and all(len(version) == 16 for version in versions)
    key.write_text("no hex")
    with pytest.raises(ConfigError, match="openssl rand"):
        replace(place.contexts, key_file=str(key)).read()


MODEL = '{"message": "model changed", "detector": {"view": "%s", "model": "%s"}, "kafka": {"partition": %d, "offset": %d}}\n'
CONTEXT = MODEL.replace("model", "context")


def test_changes_are_read_from_a_services_log(tmp_path: Path) -> None:
    log = tmp_path / "serve.log"
    said = MODEL % ("employee", "b", 1, 7) + '{"message": "serving"}\nno JSON\n' + MODEL % ("employee", "a", 1, 0)
    said += CONTEXT % ("employee", "k", 1, 7) + MODEL % ("employee", "x", 0, 3) + MODEL % ("employee", "c", 1, 7)
    log.write_text(said + MODEL % ("subject", "z", 1, 9) + CONTEXT % ("employee", "l", 0, 5))
    assert read_changes(log, "employee") == {1: [Change(0, "a"), Change(7, "c", "k")], 0: [Change(3, "x"), Change(5, "", "l")]}


def test_changes_are_read_from_a_file_that_holds_nothing_else(tmp_path: Path) -> None:
    log = tmp_path / "changes.ndjson"
    where = '{"view": "employee", "partition": 1, "offset": 7, '
    log.write_text(where + '"model": "a"}\n' + where + '"context": "k"}\n')
    assert read_changes(log, "employee") == {1: [Change(7, "a", "k")]}


@pytest.mark.parametrize("text", ['{"message": "serving"}\n', '{"view": "employee", "partition": 1, "model": "a"}\n', ""])
def test_a_file_that_tells_of_no_change_is_an_error(text: str, tmp_path: Path) -> None:
    log = tmp_path / "serve.log"
    log.write_text(text)
    with pytest.raises(ConfigError, match=r"serve\.log"):
        read_changes(log, "employee")
    with pytest.raises(ConfigError, match="cannot be read"):
        read_changes(tmp_path / "none", "employee")
