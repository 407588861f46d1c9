"""Recorded events are read as the lines they are, however the file is packed or cut; what is written appears whole or not at all."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from detector import files
from detector.errors import ConfigError
from detector.files import read_events, read_zones, whole_file, write_lines, write_text

PACKERS = {"plain": ("x.ndjson", bytes), "gzip": ("x.ndjson.gz", gzip.compress), "zstd": ("x.ndjson.zst", zstandard.compress)}


def lines(*paths: Path) -> list[tuple[int, bytes | None]]:
    return [(int(records.offset[i]), records.part(records.value, i)) for records in read_events(paths) for i in range(len(records))]


@pytest.mark.parametrize(("name", "pack"), PACKERS.values(), ids=PACKERS.keys())
def test_lines_are_records_numbered_from_zero(name: str, pack: object, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(pack(b'{"a":1}\n{"b":2}\r\n\n{"c":3}'))  # type: ignore[operator]
    assert lines(tmp_path / name) == [(0, b'{"a":1}'), (1, b'{"b":2}'), (3, b'{"c":3}')]


def test_frames_of_zstd_follow_each_other(tmp_path: Path) -> None:
    (tmp_path / "x.zst").write_bytes(zstandard.compress(b"1\n2") + zstandard.compress(b"") + zstandard.compress(b"3\n4\n"))
    assert lines(tmp_path / "x.zst") == [(0, b"1"), (1, b"23"), (2, b"4")]


def test_several_files_are_one_log(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"1\n2\n")
    (tmp_path / "b").write_bytes(b"")
    (tmp_path / "c").write_bytes(b"\n")
    (tmp_path / "d").write_bytes(b"3")
    assert lines(*(tmp_path / name for name in "abcd")) == [(0, b"1"), (1, b"2"), (3, b"3")]


def test_a_record_of_a_file_has_neither_key_nor_headers_nor_a_brokers_time(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"1\n2\n")
    [records] = read_events([tmp_path / "a"], topic="t", partition=3)
    assert records.key is None and records.part(records.headers, 0) is None and not records.broken.any()
    assert records.timestamp.tolist() == [0, 0] and (records.topic, records.partition) == ("t", 3)


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("files")


LINES = st.lists(st.binary(max_size=9).filter(lambda line: b"\n" not in line and not line.endswith(b"\r")))


@given(LINES, st.integers(1, 12), st.booleans())
def test_where_the_file_is_cut_changes_nothing(folder: Path, said: list[bytes], chunk: int, ended: bool) -> None:
    path = folder / "cut"
    path.write_bytes(b"\n".join(said) + (b"\n" if ended else b""))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files, "CHUNK", chunk)
        assert lines(path) == [(i, line) for i, line in enumerate(said) if line]


def test_progress_ends_at_all_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "CHUNK", 10)
    (tmp_path / "a").write_bytes(b"12345\n" * 10)
    (tmp_path / "b.gz").write_bytes(gzip.compress(b"12345\n" * 10))
    told: list[tuple[int, int]] = []
    for _ in read_events([tmp_path / "a", tmp_path / "b.gz"], lambda done, total: told.append((done, total))):
        pass
    total = 60 + (tmp_path / "b.gz").stat().st_size
    assert told[0] == (10, total) and told[-1] == (total, total) and told == sorted(told)


BROKEN = {
    "half a gzip": ("x.gz", gzip.compress(b"1\n" * 10_000)[:30]),
    "no gzip": ("x.gz", b"1\n"),
    "no zstd": ("x.zst", b"1\n"),
}


@pytest.mark.parametrize(("name", "data"), BROKEN.values(), ids=BROKEN.keys())
def test_a_broken_file_is_named(name: str, data: bytes, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(ConfigError, match=f"{name}: cannot be read"):
        lines(tmp_path / name)


def test_half_a_zstd_is_not_taken_for_a_whole_one(tmp_path: Path) -> None:
    data = zstandard.compress(b"".join(b"%d\n" % i for i in range(10_000)))
    (tmp_path / "x.zst").write_bytes(data[:-20])
    with pytest.raises(ConfigError, match="cannot be read"):
        lines(tmp_path / "x.zst")


def test_an_absent_file_and_a_folder_are_named(tmp_path: Path) -> None:
    for path in (tmp_path / "absent.ndjson", tmp_path):
        with pytest.raises(ConfigError, match=f"{path}: cannot be read"):
            lines(path)


def test_a_line_without_end_does_not_fill_the_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "LONGEST_LINE", 50)
    monkeypatch.setattr(files, "CHUNK", 10)
    (tmp_path / "x").write_bytes(b"1" * 100)
    with pytest.raises(ConfigError, match="one event a line"):
        lines(tmp_path / "x")


def test_what_fails_halfway_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "new" / "alerts.ndjson"
    write_lines(path, [b"1", b"2"])
    with pytest.raises(ZeroDivisionError), whole_file(path) as file:
        file.write(b"half")
        assert 1 / 0
    assert path.read_bytes() == b"1\n2\n" and list(path.parent.iterdir()) == [path]
    write_text(path, "größe")
    assert path.read_text("utf-8") == "größe"


def test_zones_are_those_of_the_package_and_nothing_beside_it() -> None:
    zones = read_zones(["Europe/Dublin", "UTC", "Nowhere", "../UTC", "/etc/localtime", "Europe", ""])
    assert sorted(zones) == ["Europe/Dublin", "UTC"] and zones["UTC"].offset == (0,) and len(zones["UTC"].since) == 1
    dublin = zones["Europe/Dublin"]
    spring, autumn = 1_774_746_000_000, 1_792_890_000_000  # 2026-03-29 and 2026-10-25, 01:00 UTC
    assert dublin.offset[dublin.since.index(spring)] == 3_600_000 and dublin.offset[dublin.since.index(autumn)] == 0
    assert list(dublin.since) == sorted(set(dublin.since)) and len(dublin.since) == len(dublin.offset)
