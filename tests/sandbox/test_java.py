from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from detector.errors import ConfigError
from detector.sandbox import java as module
from detector.sandbox.java import java, java_version


@pytest.fixture
def only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The one folder on the PATH, empty."""
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path


def plant(folder: Path, printed: str) -> Path:
    program = folder / "java"
    program.write_text(f"#!/bin/sh\necho '{printed}' >&2\n")
    program.chmod(0o755)
    return program


@pytest.mark.parametrize(
    ("printed", "version"),
    [
        ('openjdk version "17.0.15" 2025-04-15', 17),
        ('openjdk version "25" 2025-09-16', 25),
        ('java version "1.8.0_412"', 8),
        ('openjdk version "24-ea" 2025-03-18', 24),
        ("No Java runtime present, requesting install.", None),
    ],
)
def test_the_version_is_read_from_what_it_prints(only: Path, printed: str, version: int | None) -> None:
    assert java_version(plant(only, printed)) == version


def test_a_java_that_is_new_enough_on_the_path_is_taken(only: Path) -> None:
    planted = plant(only, 'openjdk version "17.0.15"')
    assert java() == planted


@pytest.mark.parametrize("printed", ['java version "1.8.0_412"', 'openjdk version "16.0.2"', "nonsense", None])
def test_else_the_one_of_the_wheel_which_runs(only: Path, printed: str | None) -> None:
    if printed:
        plant(only, printed)
    chosen = java()
    assert only not in chosen.parents
    assert 'version "' in subprocess.run([chosen, "-version"], capture_output=True, text=True, check=True).stderr


def test_without_either_the_error_says_what_was_found_and_what_to_install(only: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"no java on the PATH.*detector\[sandbox\]"):
        java()
    plant(only, 'openjdk version "11.0.2"')
    with pytest.raises(ConfigError, match="is version 11"):
        java()
