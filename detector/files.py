"""Files of a machine: the context folder, recorded events, and what is written for people and programs."""

from __future__ import annotations

import gzip
import os
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from importlib.resources import files as resources_of
from pathlib import Path
from secrets import token_hex
from typing import BinaryIO
from zoneinfo import ZoneInfo

import numpy as np
import zstandard

from detector.core.context import DEFAULT_RESOURCES, OFF_WITHOUT, Context, Zone
from detector.core.events import Ints, Records
from detector.errors import ConfigError, ContextError

CHUNK = 4 << 20
FIRST_YEAR, LAST_YEAR = 1970, 2100
"""Of the local times that are known; events before and after have the first and the last offset."""
LONGEST_LINE = 64 << 20
"""A line without an end is not an event; reading stops there rather than filling the memory."""


def read_context(folder: Path, resources: Mapping[str, tuple[str, ...]] = DEFAULT_RESOURCES) -> Context:
    """The context of a folder; files it does not hold are `missing()`. Raises ContextError with all problems of all files."""
    return context_of(context_files(folder), resources)


def context_files(folder: Path) -> dict[str, bytes]:
    """What a folder holds of the files of a context: name -> content. Raises ContextError where it cannot be read."""
    if not folder.is_dir():
        raise ContextError(f"{folder}: there is no such folder; name the folder that holds directory.csv and the like")
    try:
        return {name: (folder / name).read_bytes() for name in OFF_WITHOUT if (folder / name).exists()}
    except OSError as error:
        raise ContextError(f"{error.filename}: cannot be read ({error.strerror}); let this user read it") from error


def newest_change(folder: Path) -> float | None:
    """When a file of a context folder was last changed, in seconds since 1970; None where it holds none."""
    found = []
    for name in OFF_WITHOUT:
        with suppress(OSError):
            found.append((folder / name).stat().st_mtime)
    return max(found, default=None)


def context_of(files: Mapping[str, bytes], resources: Mapping[str, tuple[str, ...]] = DEFAULT_RESOURCES) -> Context:
    """The context of such files at hand (name -> content). Raises ContextError with all problems of all of them."""
    return Context.parse(files, resources, read_zones(Context.zones_named(files)))


def read_zones(names: Iterable[str]) -> dict[str, Zone]:
    """The rules of those names that are IANA time zones, for FIRST_YEAR to LAST_YEAR: those of the package tzdata, for a container may
    have none of its own, and machines must agree.
    """
    package = resources_of("tzdata")
    known, rules = set((package / "zones").read_text().split()), {}
    for name in known.intersection(names):
        with (package / "zoneinfo").joinpath(*name.split("/")).open("rb") as file:
            rules[name] = _zone(ZoneInfo.from_file(file, name))
    return rules


def _zone(rules: ZoneInfo) -> Zone:
    """Found by looking at each day's first second, as zoneinfo tells no transitions; on a day that has one, its second by halving."""

    def offset(second: int) -> int:
        shift = datetime.fromtimestamp(second, rules).utcoffset()
        assert shift is not None
        return int(shift.total_seconds()) * 1000

    first, last = (int(datetime(year, 1, 1, tzinfo=UTC).timestamp()) for year in (FIRST_YEAR, LAST_YEAR + 1))
    since, offsets = [first], [offset(first)]
    for before in range(first, last, 86_400):
        if offset(before + 86_400) != offsets[-1]:
            at = before + 1 + bisect_left(range(before + 1, before + 86_400), True, key=lambda second: offset(second) != offsets[-1])
            since.append(at)
            offsets.append(offset(at))
    return Zone(tuple(second * 1000 for second in since), tuple(offsets))


def read_events(
    paths: Sequence[Path], progress: Callable[[int, int], None] = lambda done, total: None, topic: str = "access-events", partition: int = 0
) -> Iterator[Records]:
    """Several NDJSON files (.gz, .zst too) as one log: records without key, timestamp 0, offset = number of the line over all files.

    Empty lines count but are no records. `progress` is told bytes read and bytes in all, as they lie on disk. Raises ConfigError for a
    file that cannot be read.
    """
    total = sum(_size(path) for path in paths)
    before, offset = 0, 0
    for path in paths:
        try:
            with path.open("rb") as file:
                for data in _whole_lines(_pieces(path, file), path):
                    lines = _lines(data)
                    some = np.flatnonzero(lines[:, 1] > lines[:, 0])
                    if len(some):
                        yield _records(topic, partition, data, lines[some], some + offset)
                    offset += len(lines)
                    progress(before + file.tell(), total)
        except (OSError, EOFError, zstandard.ZstdError) as error:
            raise ConfigError(f"{path}: cannot be read ({error}); give a whole NDJSON file, .ndjson, .gz or .zst") from error
        before += _size(path)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}); give the path of a recorded NDJSON file") from error


def _pieces(path: Path, file: BinaryIO) -> Iterator[bytes]:
    """The file's content, unpacked, in pieces that are never empty. Raises EOFError where a packed file is cut short."""
    if path.suffix == ".zst":
        yield from _unpacked_zstd(file)
        return
    stream = gzip.GzipFile(fileobj=file) if path.suffix == ".gz" else file
    while piece := stream.read(CHUNK):
        yield piece


def _unpacked_zstd(file: BinaryIO) -> Iterator[bytes]:
    """Frame after frame; zstandard's own reader takes a file that was cut short for a whole one."""
    frame = zstandard.ZstdDecompressor().decompressobj()
    begun = False
    while packed := file.read(CHUNK // 16):
        while packed:
            begun = True
            if piece := frame.decompress(packed):
                yield piece
            packed = frame.unused_data
            if frame.eof:
                frame, begun = zstandard.ZstdDecompressor().decompressobj(), False
    if begun:
        raise EOFError("the file ends before its data do")


def _whole_lines(pieces: Iterator[bytes], path: Path) -> Iterator[bytes]:
    """The pieces cut anew, so that each ends where a line ends."""
    rest: list[bytes] = []
    for data in pieces:
        cut = data.rfind(b"\n") + 1
        if cut:
            yield b"".join([*rest, data[:cut]])
            rest = [data[cut:]]
        else:
            rest.append(data)
            if sum(map(len, rest)) > LONGEST_LINE:
                raise ConfigError(f"{path}: a line of more than {LONGEST_LINE >> 20} MiB; is this NDJSON, one event a line?")
    if any(rest):
        yield b"".join(rest)


def _lines(data: bytes) -> Ints:
    """Where each line stands without its end, LF or CR LF; int64 (n, 2)."""
    raw = np.frombuffer(data, np.uint8)
    stop = np.flatnonzero(raw == ord("\n"))
    if not data.endswith(b"\n"):
        stop = np.append(stop, len(data))
    start = np.concatenate([[0], stop[:-1] + 1])
    stop = stop - ((stop > start) & (raw[np.maximum(stop - 1, 0)] == ord("\r")))
    return np.stack([start, stop], axis=1).astype(np.int64)


def _records(topic: str, partition: int, data: bytes, value: Ints, offset: Ints) -> Records:
    n = len(value)
    nothing = np.tile(np.array([0, -1], np.int64), (n, 1))
    return Records(topic, partition, data, offset, np.zeros(n, np.int64), None, value, nothing, np.zeros(n, np.bool_))


@contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """A file to write into that appears under its name only when the block ends well; until then what was there stays.

    Makes the folder where there is none.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{token_hex(4)}.partial")
    try:
        with partial.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    with whole_file(path) as file:
        file.write(text.encode())


def write_lines(path: Path, lines: Iterable[bytes]) -> None:
    """NDJSON, or any other lines: each item without its end."""
    with whole_file(path) as file:
        file.writelines(line + b"\n" for line in lines)


def write_blocks(path: Path, blocks: Iterable[bytes]) -> None:
    """Bytes that mean something each, one after the other: four bytes, little-endian, say how long each is."""
    with whole_file(path) as file:
        for block in blocks:
            file.write(len(block).to_bytes(4, "little") + block)


def read_blocks(path: Path) -> Iterator[bytes]:
    """The inverse of `write_blocks`. Raises ConfigError for a file that cannot be read, or was cut short."""
    try:
        with path.open("rb") as file:
            while head := file.read(4):
                size = int.from_bytes(head, "little")
                block = file.read(size) if len(head) == 4 and size <= LONGEST_LINE else b""
                if len(block) < size or len(head) < 4:
                    raise ConfigError(f"{path}: is no whole file of blocks; give one that --keep-daily wrote")
                yield block
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}); give the path of a file of blocks") from error
