"""`detector models` from the outside: what is printed, what is refused, and with which exit code."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from detector import registry
from detector.cli import main
from detector.registry.arrays import pack
from tests.models import plant, sound


class Program:
    """`detector` within this process, in a folder with a registry of two models."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.models = folder / "models"
        self._capsys = capsys
        self.first, self.second = registry.save(self.models, *sound()), registry.save(self.models, *sound(1), files={"card.md": b"# it\n"})

    def __call__(self, *words: str) -> str:
        """What a command that ends well prints."""
        self._capsys.readouterr()
        code = main(words)
        out, err = self._capsys.readouterr()
        assert code == 0, err
        return out

    def refused(self, *words: str) -> tuple[int, str]:
        """Exit code and message of one that does not."""
        self._capsys.readouterr()
        code = main(words)
        out, err = self._capsys.readouterr()
        assert code and not out and "Traceback" not in err
        return code, err


@pytest.fixture
def detector(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Program:
    monkeypatch.chdir(tmp_path)
    return Program(tmp_path, capsys)


def test_models_are_listed_promoted_rolled_back_and_all_of_it_is_in_the_history(detector: Program) -> None:
    assert detector("models", "promote", detector.second, "--by", "ada", "--why", "new teams") == f"champion is now {detector.second}\n"
    listed = json.loads(detector("models", "list", "--json"))
    assert {entry["version"]: entry["aliases"] for entry in listed} == {detector.first: [], detector.second: ["champion"]}
    assert [entry["version"] for entry in listed] == [detector.first, detector.second], "in the order in which they came"
    assert json.loads(detector("models", "show", "champion"))["version"] == detector.second
    assert detector("models", "rollback", "--why", "too many alerts") == f"champion is now {detector.first}\n"
    assert detector.first in detector("models", "list", "--models", str(detector.models))
    *_, promoted, back = json.loads(detector("models", "history", "--json"))
    assert (promoted["by"], promoted["why"]) == ("ada", "new teams")
    assert (back["undoes"], back["why"]) == (detector.second, "too many alerts")
    assert f"rollback of {detector.second}" in detector("models", "history")


def test_a_word_of_the_history_cannot_move_the_cursor(detector: Program) -> None:
    detector("models", "promote", detector.second, "--why", "\x1b[2Jall is well\u202e")
    assert "\x1b" not in detector("models", "history") and "\u202e" not in detector("models", "history")


def test_a_damaged_signature_does_not_hide_the_other_models(detector: Program) -> None:
    (detector.models / detector.second / "signature.json").write_bytes(b"hello")
    assert {entry["version"] for entry in json.loads(detector("models", "list", "--json"))} == {detector.first, detector.second}


def test_a_model_that_is_unsound_is_not_promoted(detector: Program) -> None:
    arrays, said = sound()
    unsound = plant(detector.models, pack({**arrays, "employee.total.scale": arrays["employee.total.scale"] * 0}), said)
    code, message = detector.refused("models", "promote", unsound)
    assert code == 4 and "scale must be positive" in message
    assert registry.current(detector.models, "champion") == detector.first
    assert detector.refused("models", "check", unsound)[0] == 4


def test_a_model_goes_out_as_a_file_is_checked_there_and_comes_in(detector: Program, tmp_path: Path) -> None:
    assert detector.second in detector("models", "export", detector.second, "model.zip")
    assert detector("models", "check", "model.zip").startswith(f"{detector.second}: sound; sha256 {detector.second}")
    detector("models", "import", "model.zip", "--models", "there", "--by", "bob")
    assert detector("models", "check", detector.second, "--models", "there")
    (tmp_path / "model.zip").write_bytes((tmp_path / "model.zip").read_bytes()[:-100])
    assert detector.refused("models", "check", "model.zip")[0] == 4
    code, message = detector.refused("models", "import", "model.zip", "--models", "elsewhere")
    assert code == 4 and "model.zip" in message and not (tmp_path / "elsewhere").exists()
    assert detector.refused("models", "import", "absent.zip")[0] == 4


def test_who_asks_for_signatures_gets_signed_models_only(detector: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "model.pem.pub" in detector("models", "keygen", "model.pem")
    assert detector.refused("models", "check", "champion", "--require-signed")[0] == 3, "whose signature?"
    monkeypatch.setenv("DETECTOR__MODELS__REQUIRE_SIGNED", "true")
    monkeypatch.setenv("DETECTOR__MODELS__PUBLIC_KEY", "model.pem.pub")
    code, message = detector.refused("models", "promote", detector.second)
    assert code == 4 and f"detector models sign {detector.second} --key" in message
    name = detector("models", "sign", detector.second, "--key", "model.pem").split()[-1]
    assert detector("models", "check", detector.second).endswith(f"signed by {name}\n")
    detector("models", "promote", detector.second)
    assert detector.refused("models", "rollback")[0] == 4, "the one before is not signed"
    assert {entry["signed_by"] for entry in json.loads(detector("models", "list", "--json"))} == {None, name}
    assert detector.refused("models", "sign", detector.first, "--key", "model.pem.pub")[0] == 3


def test_the_service_does_not_start_with_a_model_that_nobody_signed(detector: Program, tmp_path: Path) -> None:
    detector("models", "keygen", "model.pem")

    def serve(*words: str) -> tuple[int, str]:
        """A process of its own, for it sets up logging."""
        signing = ("--set", "models.require_signed=true", "--set", "models.public_key=model.pem.pub")
        command = [sys.executable, "-m", "detector.cli", "serve", *signing, *words]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
        return done.returncode, done.stderr

    code, message = serve()
    assert code == 4 and "is not signed" in message and "detector models sign" in message
    detector("models", "sign", "champion", "--key", "model.pem")
    code, message = serve("--set", "detection.hypotheses=harvest")
    assert code == 3 and "is calibrated for" in message, "past the signature, and ends before there is need of a broker"
