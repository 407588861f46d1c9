"""Reading what may be anybody's: bounded, from regular files only, and following no link out of the registry."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from detector.errors import ModelError

OPEN = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK  # a pipe must not make anybody wait


@contextmanager
def entered(folder: Path, link: bool = False) -> Iterator[int]:
    """A folder, held open: all that is read from it is of this one, though another is put in its place meanwhile. `link`: it may be one."""
    try:
        descriptor = os.open(folder.resolve() if link else folder, OPEN | os.O_DIRECTORY)
    except OSError as error:
        raise _unreadable(folder, error) from error
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def read(descriptor: int, name: str, most: int, missing: bytes | None = None) -> bytes:
    """A file of an entered folder, of at most so many bytes; `missing` is what one is taken for that is not there. Raises ModelError."""
    try:
        opened = os.open(name, OPEN, dir_fd=descriptor)
    except FileNotFoundError as error:
        if missing is None:
            raise _unreadable(Path(name), error) from error
        return missing
    except OSError as error:
        raise _unreadable(Path(name), error) from error
    try:
        return _whole(opened, name, most)
    except OSError as error:
        raise _unreadable(Path(name), error) from error
    finally:
        os.close(opened)


def _whole(opened: int, name: str, most: int) -> bytes:
    said = os.fstat(opened)
    if not stat.S_ISREG(said.st_mode):
        raise ModelError(f"{name}: is no file\nput back the original")
    if said.st_size > most:
        raise ModelError(f"{name}: has more than {most} bytes, which no model of this program has\nput back the original")
    with os.fdopen(opened, "rb", closefd=False) as file:
        data = file.read(said.st_size + 1)
    if len(data) != said.st_size:
        raise ModelError(f"{name}: was changed while it was read\ntry again; if it stays so, put back the original")
    return data


def read_file(path: Path, most: int, missing: bytes | None = None, link: bool = False) -> bytes:
    """The same of a single file. `link`: its folder may be a link, as that of the whole registry may."""
    with entered(path.parent, link) as descriptor, blaming(path.parent):
        return read(descriptor, path.name, most, missing)


@contextmanager
def blaming(place: Path) -> Iterator[None]:
    """Says where, of whatever is wrong with a model."""
    try:
        yield
    except ModelError as error:
        raise ModelError(f"{place}: {error}") from error


def _unreadable(place: Path, error: OSError) -> ModelError:
    if error.errno in (errno.ELOOP, errno.ENOTDIR):
        return ModelError(f"{place}: is a link, or no folder; links are not followed\nput the version itself there, or promote another one")
    return ModelError(f"{place}: cannot be read ({error.strerror})\nput it back, or promote another version")
