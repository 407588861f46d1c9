"""history.jsonl: what happened to the registry, when, by whom and why; only appended to. Who it was is what they said, not proven."""

from __future__ import annotations

import fcntl
import getpass
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from detector.errors import ModelError
from detector.registry.reading import read_file

HISTORY = "history.jsonl"
MAX_HISTORY_BYTES = 64 << 20


class Entry(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A line: `event` is saved, imported, signed, or the alias that stands for the version from then on."""

    time: str
    event: str
    version: str
    by: str = ""
    why: str = ""
    undoes: str = ""
    """The version that a rollback went back from."""
    key: str = ""
    """Fingerprint of the key that signed."""


def history(registry: Path) -> list[Entry]:
    """Oldest first. A line that is none, because the disk was full say, is left out."""
    must_be_there(registry)
    found = []
    for line in read_file(registry / HISTORY, MAX_HISTORY_BYTES, missing=b"", link=True).splitlines():
        with suppress(msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            found.append(msgspec.json.decode(line, type=Entry))
    return found


def stored(registry: Path, version: str) -> int:
    """Ms: when a version was first put into this registry; -1 where the history does not say."""
    with suppress(ModelError, ValueError, OverflowError):  # a history that is damaged is no reason not to serve the model
        for each in history(registry):
            if each.version == version and each.event in ("saved", "imported"):
                return round(datetime.fromisoformat(each.time).timestamp() * 1000)
    return -1


def must_be_there(registry: Path) -> None:
    if not registry.is_dir():
        raise ModelError(f"{registry}: there is no such registry\ntrain a model into it (`detector train --out {registry}`)")


@contextmanager
def kept(registry: Path) -> Iterator[Callable[[Entry], None]]:
    """Gives what appends to the history; until the block ends, nobody else changes aliases."""
    descriptor = os.open(registry / HISTORY, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
    try:
        with suppress(OSError):  # some network file systems have no locks
            fcntl.flock(descriptor, fcntl.LOCK_EX)

        def append(entry: Entry) -> None:
            size = os.fstat(descriptor).st_size
            torn = size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"
            os.write(descriptor, b"\n" * torn + msgspec.json.encode(entry) + b"\n")
            os.fsync(descriptor)

        yield append
    finally:
        os.close(descriptor)


def entry(event: str, version: str, by: str = "", why: str = "", undoes: str = "", key: str = "") -> Entry:
    """Of now, by this user unless somebody else is named."""
    time = datetime.now(UTC).isoformat(timespec="milliseconds")
    return Entry(time=time, event=event, version=version, by=by or _user(), why=why, undoes=undoes, key=key)


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        return str(os.getuid())
