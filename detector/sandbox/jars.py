"""Apache Kafka's jars: named and pinned by sha256 in `kafka-4.1.2.sha256`, fetched once into the user's cache folder.

The list is the whole truth: nothing is resolved, so nothing can change behind it, and no Java is needed to fetch. It was made from
org.apache.kafka:kafka_2.13 and a log4j binding, without what a plain broker never loads (scala-reflect, jose4j, caffeine, commons-*).
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from pathlib import Path

from detector.errors import ConfigError

VERSION = "4.1.2"
PINNED = Path(__file__).with_name(f"kafka-{VERSION}.sha256")


def classpath() -> str:
    """Java's class path for the broker: every pinned jar, each just checked against its sha256.

    Fetches the jars (37 MB) if the cache has none. ConfigError if that fails or if a jar is not the pinned one.
    """
    folder = cache() / f"kafka-{VERSION}"
    with _alone(folder):
        if not folder.is_dir():
            _fetch(folder)
    check(folder)
    return os.pathsep.join(str(folder / _file(name)) for name in pinned())


def cache() -> Path:
    """$XDG_CACHE_HOME/detector, by default ~/.cache/detector."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "detector"


def pinned() -> dict[str, str]:
    """group:artifact:version -> sha256 in hex."""
    lines = (line.split() for line in PINNED.read_text().splitlines() if not line.startswith("#"))
    return {name: sha256 for sha256, name in lines}


def check(folder: Path) -> None:
    """ConfigError if `folder` lacks a pinned jar or holds other bytes under its name."""
    for name, expected in pinned().items():
        jar = folder / _file(name)
        found = hashlib.sha256(jar.read_bytes()).hexdigest() if jar.exists() else "no such file"
        if found != expected:
            raise ConfigError(f"{jar} is not the pinned {name}: sha256 {found}, expected {expected}; delete {folder} to fetch it again")


def _file(name: str) -> str:
    _, artifact, version = name.split(":")
    return f"{artifact}-{version}.jar"


def _fetch(folder: Path) -> None:
    # Checked before it gets its name: a folder of that name is whole, whenever and however a fetch was cut off.
    started = folder.with_name(f"{folder.name}.part")
    shutil.rmtree(started, ignore_errors=True)  # of a fetch that was killed: its lock is ours now
    jars = started / "jars"
    jars.mkdir(parents=True)
    try:
        _download(started / "repository", jars)
        check(jars)
        jars.rename(folder)
    finally:
        shutil.rmtree(started)


def _download(repository: Path, jars: Path) -> None:
    try:
        from jgo.maven import MavenContext
    except ImportError as error:
        raise ConfigError("fetching Apache Kafka needs jgo; install the extra: pip install 'detector[sandbox]'") from error
    context = MavenContext(repo_cache=repository, local_repos=[], timeout=30)

    def one(name: str) -> None:
        group, artifact, version = name.split(":")
        context.project(group, artifact).at_version(version).artifact().resolve().rename(jars / _file(name))

    names = list(pinned())
    with ThreadPoolExecutor(4) as pool:
        fetches = {pool.submit(one, name): name for name in names}
        for done, fetch in enumerate(as_completed(fetches), 1):
            if failure := fetch.exception():
                pool.shutdown(cancel_futures=True)
                raise ConfigError(f"could not fetch {fetches[fetch]}: {failure}; mend the network or proxy and try again") from failure
            if done % 10 == 0 or done == len(names):
                print(f"fetching Apache Kafka {VERSION}: {done} of {len(names)} jars", file=sys.stderr, flush=True)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """One process at a time; the kernel lets go of the lock when its holder dies."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_name(f"{folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
