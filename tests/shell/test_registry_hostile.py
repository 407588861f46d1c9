"""Models that somebody made up, or that were damaged: each is refused with ModelError, never run, never a crash."""

from __future__ import annotations

import io
import json
import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from detector import registry
from detector.core.views import EMPLOYEE
from detector.errors import ModelError
from detector.registry import versions
from detector.registry.arrays import pack, unpack, unzipped, zipped
from tests.models import archive, npy, plant, sound

ARRAYS = {"a": np.linspace(0, 1, 12, dtype=np.float32).reshape(3, 4), "words": np.array(["read", "größe"]), "flag": np.array(True)}


def nested() -> bytes:
    """A ZIP of two files of which one lies in the other, so that together they are nearly twice as long as it is."""
    inner = archive({"b.npy": npy(np.zeros(1000))})
    at, end = inner.index(b"PK\x01\x02"), inner.index(b"PK\x05\x06")
    outer = archive({"a.npy": inner[:at]})
    first, last = outer.index(b"PK\x01\x02"), outer.index(b"PK\x05\x06")
    entry = inner[at : at + 42] + (30 + len("a.npy")).to_bytes(4, "little") + inner[at + 46 : end]
    directory = outer[first:last] + entry
    said = b"\2\0\2\0" + len(directory).to_bytes(4, "little")
    return outer[:first] + directory + outer[last : last + 8] + said + outer[last + 16 :]


class Evil:
    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return Path.touch, (Path("/tmp/detector-was-here"),)


OVER = b"(65536, 65536, 65536, 65536, 0), }".ljust(47)
HOSTILE = {
    "a pickle": archive({"a.npy": npy(np.array([Evil()], dtype=object), allow_pickle=True)}),
    "a bare pickle": pickle.dumps(Evil()),
    "an array of records": archive({"a.npy": npy(np.zeros(2, dtype=[("x", "f4")]))}),
    "an array of times": archive({"a.npy": npy(np.zeros(2, dtype="M8[s]"))}),
    "a zip bomb": archive({"a.npy": npy(np.zeros(8_000_000))}, zipfile.ZIP_DEFLATED),
    "a zip bomb that overlaps": nested(),
    "compressed, though nothing is gained": archive({"a.npy": npy(np.random.default_rng(1).random(100))}, zipfile.ZIP_DEFLATED),
    "a header that says more than is there": archive({"a.npy": npy(np.zeros(4)).replace(b"(4,), }         ", b"(4000000000,), }")}),
    "a header that says less": archive({"a.npy": npy(np.zeros(4)).replace(b"(4,)", b"(3,)")}),
    "a shape that overflows": archive({"a.npy": npy(np.zeros(4)).replace(b"(4,), }" + b" " * 40, OVER)}),
    "a deep header": archive({"a.npy": npy(np.zeros(4))[:8] + (900).to_bytes(2, "little") + b"[" * 900}),
    "a name that climbs": archive({"../../a.npy": npy(np.zeros(4))}),
    "a name from the root": archive({"/etc/a.npy": npy(np.zeros(4))}),
    "another format of header": archive({"a.npy": npy(np.zeros(4)).replace(b"\x93NUMPY\x01", b"\x93NUMPY\x03")}),
    "something that is no array": archive({"a.npy": b"hello"}),
    "too many arrays": archive({f"a{n}.npy": npy(np.zeros(1)) for n in range(4097)}),
    "half a file": pack(ARRAYS)[:400],
    "nothing": b"",
}  # fmt: skip


@pytest.mark.parametrize("packed", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_arrays_are_refused(packed: bytes, tmp_path: Path) -> None:
    version = plant(tmp_path, packed)
    with pytest.raises(ModelError) as refused:
        registry.load(tmp_path, version)
    assert "\n" in str(refused.value), "it says what to do"
    assert not Path("/tmp/detector-was-here").exists()


def test_what_is_longer_unpacked_than_packed_is_not_unpacked() -> None:
    with pytest.raises(ModelError, match="is compressed"):
        unpack(nested())


def test_two_arrays_of_one_name_are_refused() -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as file, pytest.warns(UserWarning):
        file.writestr("a.npy", npy(np.zeros(2)))
        file.writestr("a.npy", npy(np.ones(2)))
    with pytest.raises(ModelError):
        unpack(out.getvalue())


@pytest.mark.parametrize(("name", "cap"), [("arrays.npz", "MAX_ARRAYS_BYTES"), ("manifest.json", "MAX_MANIFEST_BYTES")])
def test_a_file_over_the_cap_is_not_read(name: str, cap: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    version = registry.save(tmp_path, ARRAYS, {})
    size = getattr(versions, cap)
    os.truncate(tmp_path / version / name, size + 1)  # of holes: it costs no disk
    with pytest.raises(ModelError, match=f"more than {size} bytes"):
        registry.load(tmp_path, version)


BROKEN: dict[str, tuple[Callable[[Path, str], Any], str]] = {
    "other arrays": (lambda root, v: (root / v / "arrays.npz").write_bytes(pack({"a": np.ones(1)})), "is not what was stored"),
    "no arrays": (lambda root, v: (root / v / "arrays.npz").unlink(), "cannot be read"),
    "no manifest": (lambda root, v: (root / v / "manifest.json").unlink(), "cannot be read"),
    "a folder that was half copied": (lambda root, v: os.truncate(root / v / "arrays.npz", 1000), "is not what was stored"),
    "a folder of nothing": (lambda root, v: [path.unlink() for path in (root / v).iterdir()], "cannot be read"),
    "half a manifest": (lambda root, v: (root / v / "manifest.json").write_text('{"sha256": "ab'), "damaged"),
    "a manifest that is a list": (lambda root, v: (root / v / "manifest.json").write_text("[]"), "damaged"),
    "a deep manifest": (lambda root, v: (root / v / "manifest.json").write_text("[" * 100_000), "damaged"),
    "a manifest that is no text": (lambda root, v: (root / v / "manifest.json").write_bytes(b'{"a": "\xff\xfe"}'), "damaged"),
    "a manifest of another version": (lambda root, v: change(root / v, "version", "0" * 12), "is not what was stored"),
    "a manifest of other arrays": (lambda root, v: change(root / v, "sha256", v + "0" * 52), "is not what was stored"),
    "a folder and a manifest under another name": (lambda root, v: renamed(root, v, "0" * 12), "is not what was stored"),
    "a manifest without a hash": (lambda root, v: change(root / v, "sha256", None), "damaged"),
    "a manifest of a later format": (lambda root, v: change(root / v, "format", 1 << 30), "is of format"),
    "a manifest whose views are none": (lambda root, v: change(root / v, "views", ["employee"]), "damaged"),
    "a manifest that names a file elsewhere": (lambda root, v: change(root / v, "files", {"../../secret.md": "0" * 64}), "names files"),
    "a manifest that names itself": (lambda root, v: change(root / v, "files", {"manifest.json": "0" * 64}), "names files"),
    "a folder with another name": (lambda root, v: (root / v).rename(root / ("0" * (root / "champion").write_text("0" * 12))), "not what"),
    "an alias to nowhere": (lambda root, v: (root / "champion").write_text("0123456789ab\n"), "names no version"),
    "an alias that climbs": (lambda root, v: (root / "champion").write_text("../../etc\n"), "names no version"),
    "an empty alias": (lambda root, v: (root / "champion").write_text(""), "names no version"),
    "an alias that is a folder": (lambda root, v: ((root / "champion").unlink(), (root / "champion").mkdir()), "is no file"),
    "a folder that is a link": (lambda root, v: away(root / v), "is a link"),
    "arrays that are a link": (lambda root, v: away(root / v / "arrays.npz"), "is a link"),
    "a manifest that is a link": (lambda root, v: away(root / v / "manifest.json"), "is a link"),
    "an alias that is a link": (lambda root, v: away(root / "champion"), "is a link"),
    "arrays that are a pipe": (lambda root, v: ((root / v / "arrays.npz").unlink(), os.mkfifo(root / v / "arrays.npz")), "is no file"),
    "a signature that is a pipe": (lambda root, v: os.mkfifo(root / v / "signature.json"), "is no file"),
}  # fmt: skip


def change(folder: Path, key: str, value: Any) -> None:
    said = json.loads((folder / "manifest.json").read_text())
    said[key] = value
    (folder / "manifest.json").write_text(json.dumps({k: v for k, v in said.items() if v is not None}))


def renamed(root: Path, version: str, name: str) -> None:
    change((root / version).rename(root / name), "version", name)
    (root / "champion").write_text(name)


def away(path: Path) -> None:
    """Moves something out of the registry, and leaves a link to it."""
    moved = path.rename(path.parents[1 if path.name == "champion" else 2] / f"moved-{path.name}")
    path.symlink_to(moved)


@pytest.mark.parametrize(("spoil", "says"), BROKEN.values(), ids=BROKEN.keys())
def test_a_broken_registry_is_refused_with_what_to_do(spoil: Callable[[Path, str], Any], says: str, tmp_path: Path) -> None:
    root = tmp_path / "a" / "models"
    version = registry.save(root, *sound())
    spoil(root, version)
    for look in (registry.check, lambda *place: registry.load_model(*place, EMPLOYEE.name, EMPLOYEE.names)):
        with pytest.raises(ModelError, match=says) as refused:
            look(root, "champion")
        assert "\n" in str(refused.value)


@pytest.mark.parametrize("which", ["", "..", "champion/..", "0123456789abcdef", "0123456789AB", "latest"])
def test_only_versions_and_aliases_name_a_model(which: str, tmp_path: Path) -> None:
    registry.save(tmp_path, ARRAYS, {})
    with pytest.raises(ModelError):
        registry.load(tmp_path, which)


def test_a_version_that_is_swapped_while_it_is_read_is_read_as_one_or_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    good, other = registry.save(tmp_path, *sound()), registry.save(tmp_path, *sound(1))
    read = versions.read

    def slowly(inside: int, name: str, *rest: Any, **more: Any) -> bytes:
        data = read(inside, name, *rest, **more)
        if name == "manifest.json" and (tmp_path / other).exists():  # between two of its files: another folder in its place
            (tmp_path / good).rename(tmp_path / "gone")
            (tmp_path / other).rename(tmp_path / good)
        return data

    monkeypatch.setattr(versions, "read", slowly)
    arrays, _ = registry.load(tmp_path, good)  # the folder that was entered, to its end
    assert pack(arrays) == pack(sound()[0])
    with pytest.raises(ModelError, match="is not what was stored"):
        registry.load(tmp_path, good)


def test_a_file_that_is_swapped_while_the_version_is_read_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    good = registry.save(tmp_path, *sound())
    read = versions.read

    def slowly(inside: int, name: str, *rest: Any, **more: Any) -> bytes:
        data = read(inside, name, *rest, **more)
        if name == "manifest.json":
            (tmp_path / good / "arrays.npz").write_bytes(pack(sound(1)[0]))
        return data

    monkeypatch.setattr(versions, "read", slowly)
    with pytest.raises(ModelError, match="is not what was stored"):
        registry.load(tmp_path, good)


def bundled(tmp_path: Path) -> bytes:
    registry.save(tmp_path / "from", *sound(), files={"card.md": b"# a model\n"})
    registry.export_version(tmp_path / "from", "champion", tmp_path / "good.zip")
    return (tmp_path / "good.zip").read_bytes()


def rebundled(data: bytes, **changed: bytes) -> bytes:
    parts = unzipped(data, 9)
    folder = next(iter(parts)).partition("/")[0]
    return zipped({**parts, **{name.format(folder): part for name, part in changed.items()}})


BUNDLES: dict[str, Callable[[bytes], bytes]] = {
    "half a file": lambda data: data[: len(data) // 2],
    "nothing": lambda data: b"",
    "no ZIP": lambda data: b"hello" * 100,
    "an empty ZIP": lambda data: zipped({}),
    "another card": lambda data: rebundled(data, **{"{0}/card.md": b"# finds everything\n"}),
    "a file that nobody named": lambda data: rebundled(data, **{"{0}/run.md": b"!"}),
    "a file that climbs": lambda data: rebundled(data, **{"{0}/../../x.md": b"!"}),
    "a file from the root": lambda data: rebundled(data, **{"/tmp/x.md": b"!"}),
    "a signature that is none": lambda data: rebundled(data, **{"{0}/signature.json": b"[]"}),
    "two versions": lambda data: rebundled(data, **{"0123456789ab/manifest.json": b"{}"}),
    "other arrays": lambda data: rebundled(data, **{"{0}/arrays.npz": pack(sound(1)[0])}),
    "no arrays": lambda data: rebundled(data, **{"{0}/arrays.npz": b""}),
    "compressed": lambda data: archive(unzipped(data, 9), zipfile.ZIP_DEFLATED),
}  # fmt: skip


@pytest.mark.parametrize("spoil", BUNDLES.values(), ids=BUNDLES.keys())
def test_a_hostile_file_is_not_imported_and_leaves_nothing(spoil: Callable[[bytes], bytes], tmp_path: Path) -> None:
    (tmp_path / "bad.zip").write_bytes(spoil(bundled(tmp_path)))
    (tmp_path / "to").mkdir()
    with pytest.raises(ModelError) as refused:
        registry.import_version(tmp_path / "to", tmp_path / "bad.zip")
    assert "bad.zip" in str(refused.value) and list((tmp_path / "to").iterdir()) == []
