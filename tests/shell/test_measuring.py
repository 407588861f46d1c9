"""Who may read the metrics, as it is set; and what a service says of itself when it begins."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from detector.cli.measuring import access_of
from detector.config import load
from detector.endpoints import Access
from detector.errors import ConfigError
from detector.files import newest_change


def test_the_password_is_read_from_its_file_without_the_end_of_its_line(tmp_path: Path) -> None:
    secret = tmp_path / "password"
    secret.write_text("two words \n")
    config = load(flags={"metrics.username": "prometheus", "metrics.password_file": str(secret)}).config
    assert access_of(config) == Access(user="prometheus", password="two words ")


@pytest.mark.parametrize("content", [None, b"", b"\n", b"\xff\xfe"])
def test_a_password_that_cannot_be_read_is_a_configuration_error(tmp_path: Path, content: bytes | None) -> None:
    secret = tmp_path / "password"
    if content is not None:
        secret.write_bytes(content)
    config = load(flags={"metrics.username": "prometheus", "metrics.password_file": str(secret)}).config
    with pytest.raises(ConfigError, match=r"metrics\.password_file"):
        access_of(config)


@pytest.mark.parametrize("alone", ["ssl_certfile", "ssl_keyfile", "ssl_cafile", "username", "password_file"])
def test_what_goes_together_is_not_taken_alone(alone: str) -> None:
    with pytest.raises(ConfigError, match=rf"metrics\.{alone}: set metrics\.\w+ as well"):
        load(flags={f"metrics.{alone}": "something"})


def test_the_newest_file_of_a_context_tells_when_it_was_changed(tmp_path: Path) -> None:
    assert newest_change(tmp_path) is None
    for name, at in (("directory.csv", 1000), ("links.csv", 3000), ("notes.txt", 9000)):
        (tmp_path / name).write_text("")
        os.utime(tmp_path / name, (at, at))
    assert newest_change(tmp_path) == 3000
