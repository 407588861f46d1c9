from __future__ import annotations

import os
import shutil
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from detector.errors import ConfigError
from detector.sandbox import jars as module
from detector.sandbox.jars import cache, check, classpath, pinned

pytestmark = pytest.mark.broker


@pytest.fixture(scope="module")
def genuine() -> Path:
    """The real jars in the user's cache, fetched if they were not."""
    return Path(classpath().split(os.pathsep)[0]).parent


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the jars go when the cache is new."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return cache() / "kafka-4.1.2"


def test_every_pinned_jar_is_on_the_class_path_once(genuine: Path) -> None:
    entries = classpath().split(os.pathsep)
    assert len(entries) == len(set(entries)) == len(pinned()) > 30
    assert all(Path(entry).is_file() for entry in entries)
    assert {"kafka_2.13-4.1.2.jar", "log4j-slf4j-impl-2.24.3.jar"} <= {Path(entry).name for entry in entries}


def test_one_flipped_byte_is_refused_and_named(genuine: Path, tmp_path: Path) -> None:
    copied = tmp_path / "jars"
    shutil.copytree(genuine, copied)
    check(copied)
    jar = copied / "kafka-clients-4.1.2.jar"
    damaged = bytearray(jar.read_bytes())
    damaged[1000] ^= 1
    jar.write_bytes(damaged)
    with pytest.raises(ConfigError, match=r"not the pinned org\.apache\.kafka:kafka-clients:4\.1\.2"):
        check(copied)


def test_a_damaged_or_incomplete_cache_is_not_used(genuine: Path, folder: Path) -> None:
    shutil.copytree(genuine, folder)
    assert classpath()
    (folder / "kafka-clients-4.1.2.jar").unlink()
    with pytest.raises(ConfigError, match=f"no such file.*delete {folder}"):
        classpath()


def test_what_was_fetched_wrong_leaves_nothing_to_use(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def download(repository: Path, jars: Path) -> None:
        for name in pinned():
            (jars / module._file(name)).write_bytes(b"not a jar")

    monkeypatch.setattr(module, "_download", download)
    with pytest.raises(ConfigError, match="not the pinned"):
        classpath()
    assert [path.name for path in folder.parent.iterdir()] == ["kafka-4.1.2.lock"]


def test_a_fetch_that_was_killed_is_begun_again(genuine: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    left = folder.with_name("kafka-4.1.2.part") / "jars"
    left.mkdir(parents=True)
    (left / "kafka-clients-4.1.2.jar").write_bytes(b"half of it")
    monkeypatch.setattr(module, "_download", lambda repository, jars: shutil.copytree(genuine, jars, dirs_exist_ok=True))
    assert classpath().startswith(str(folder))
    assert not left.parent.exists()


def test_two_that_come_at_once_fetch_once(genuine: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls, both = [], threading.Barrier(2)

    def slow(repository: Path, jars: Path) -> None:
        calls.append(jars)
        time.sleep(0.5)  # time for the other to come and find no folder
        shutil.copytree(genuine, jars, dirs_exist_ok=True)

    def ask() -> str:
        both.wait(10)
        return classpath()

    monkeypatch.setattr(module, "_download", slow)
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.submit(ask), pool.submit(ask)
        assert first.result() == second.result()
    assert len(calls) == 1


def test_an_unreachable_network_is_said_in_a_sentence(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTPS_PROXY", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ConfigError, match=r"could not fetch .*mend the network"):
        classpath()
    assert not folder.exists()
