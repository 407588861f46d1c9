"""The registry keeps models as data: the same bytes for the same arrays, nothing hostile gets in, aliases move atomically."""

from __future__ import annotations

import hashlib
import io
import json
import pickle
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detector import registry
from detector.errors import ModelError

ARRAYS = {
    "employee.forest.threshold": np.linspace(0, 1, 12, dtype=np.float32).reshape(3, 4),
    "employee.tails": np.arange(5, dtype=np.int64),
    "vocabulary": np.array(["read", "größe"]),
    "flag": np.array(True),
}
MANIFEST = {"format": 1, "seed": 7, "thresholds": {"general": 2.5}}


def npy(array: np.ndarray[Any, Any], allow_pickle: bool = False) -> bytes:
    out = io.BytesIO()
    np.save(out, array, allow_pickle=allow_pickle)
    return out.getvalue()


def archive(parts: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", compression) as file:
        for name, data in parts.items():
            file.writestr(name, data)
    return out.getvalue()


def plant(folder: Path, packed: bytes) -> str:
    """A version folder that an attacker made: everything fits, except what is in the arrays."""
    sha256 = hashlib.sha256(packed).hexdigest()
    (folder / sha256[:12]).mkdir(parents=True)
    (folder / sha256[:12] / "arrays.npz").write_bytes(packed)
    (folder / sha256[:12] / "manifest.json").write_text(json.dumps({"sha256": sha256}))
    return sha256[:12]


def test_what_is_saved_is_what_is_loaded(tmp_path: Path) -> None:
    version = registry.save(tmp_path, ARRAYS, MANIFEST, "# a model\n")
    arrays, manifest = registry.load(tmp_path, version)
    assert arrays.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        assert arrays[name].dtype == array.dtype and arrays[name].shape == array.shape
        np.testing.assert_array_equal(arrays[name], array)
    sha256 = hashlib.sha256((tmp_path / version / "arrays.npz").read_bytes()).hexdigest()
    assert manifest == {**MANIFEST, "sha256": sha256, "version": version} and version == sha256[:12]


def test_the_same_arrays_are_the_same_bytes_whatever_their_order_layout_and_byte_order() -> None:
    other = {name: np.asarray(array, array.dtype.newbyteorder(">"), order="F") for name, array in reversed(ARRAYS.items())}
    assert registry.pack(other) == registry.pack(ARRAYS)
    assert registry.pack({**ARRAYS, "flag": np.array(False)}) != registry.pack(ARRAYS)


def test_the_first_model_becomes_the_champion_and_the_second_does_not(tmp_path: Path) -> None:
    first = registry.save(tmp_path, ARRAYS, MANIFEST)
    second = registry.save(tmp_path, {"a": np.zeros(3)}, MANIFEST)
    assert registry.load(tmp_path, "champion")[1]["version"] == first
    assert {(v.version, v.aliases) for v in registry.list_versions(tmp_path)} == {(first, ("champion",)), (second, ())}


def test_saving_the_same_model_again_changes_nothing(tmp_path: Path) -> None:
    registry.save(tmp_path, ARRAYS, MANIFEST)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    registry.save(tmp_path, ARRAYS, MANIFEST)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_a_version_is_immutable(tmp_path: Path) -> None:
    registry.save(tmp_path, ARRAYS, MANIFEST)
    with pytest.raises(ModelError, match="another manifest"):
        registry.save(tmp_path, ARRAYS, {**MANIFEST, "seed": 8})


def test_promotion_and_rollback_move_the_alias_and_are_in_the_history(tmp_path: Path) -> None:
    first = registry.save(tmp_path, ARRAYS, MANIFEST)
    second = registry.save(tmp_path, {"a": np.zeros(3)}, MANIFEST)
    registry.promote(tmp_path, "champion", second)
    assert registry.resolve(tmp_path, "champion") == second
    assert registry.rollback(tmp_path) == first == registry.resolve(tmp_path, "champion")
    assert [(entry["event"], entry["version"]) for entry in registry.history(tmp_path)] == [
        ("saved", first), ("champion", first), ("saved", second), ("champion", second), ("champion", first),
    ]  # fmt: skip


def test_a_damaged_model_cannot_be_promoted(tmp_path: Path) -> None:
    first = registry.save(tmp_path, ARRAYS, MANIFEST)
    second = registry.save(tmp_path, {"a": np.zeros(3)}, MANIFEST)
    (tmp_path / second / "arrays.npz").write_bytes(b"")
    with pytest.raises(ModelError, match="is not what was stored"):
        registry.promote(tmp_path, "champion", second)
    assert registry.resolve(tmp_path, "champion") == first


class Evil:
    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return Path.touch, (Path("/tmp/detector-was-here"),)


HOSTILE = {
    "a pickle": archive({"a.npy": npy(np.array([Evil()], dtype=object), allow_pickle=True)}),
    "a bare pickle": pickle.dumps(Evil()),
    "an array of records": archive({"a.npy": npy(np.zeros(2, dtype=[("x", "f4")]))}),
    "an array of times": archive({"a.npy": npy(np.zeros(2, dtype="M8[s]"))}),
    "a zip bomb": archive({"a.npy": npy(np.zeros(8_000_000))}, zipfile.ZIP_DEFLATED),
    "a header that says more than is there": archive({"a.npy": npy(np.zeros(4)).replace(b"(4,), }         ", b"(4000000000,), }")}),
    "a header that says less": archive({"a.npy": npy(np.zeros(4)).replace(b"(4,)", b"(3,)")}),
    "a name that climbs": archive({"../../a.npy": npy(np.zeros(4))}),
    "a name from the root": archive({"/etc/a.npy": npy(np.zeros(4))}),
    "another format of header": archive({"a.npy": npy(np.zeros(4)).replace(b"\x93NUMPY\x01", b"\x93NUMPY\x03")}),
    "something that is no array": archive({"a.npy": b"hello"}),
    "half a file": registry.pack(ARRAYS)[:400],
    "nothing": b"",
}


@pytest.mark.parametrize("packed", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_arrays_are_refused(packed: bytes, tmp_path: Path) -> None:
    version = plant(tmp_path, packed)
    with pytest.raises(ModelError) as refused:
        registry.load(tmp_path, version)
    assert "\n" in str(refused.value), "it says what to do"
    assert not Path("/tmp/detector-was-here").exists()


def test_two_arrays_of_one_name_are_refused() -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as file, pytest.warns(UserWarning):
        file.writestr("a.npy", npy(np.zeros(2)))
        file.writestr("a.npy", npy(np.ones(2)))
    with pytest.raises(ModelError):
        registry.unpack(out.getvalue())


def test_a_file_over_the_cap_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    version = registry.save(tmp_path, ARRAYS, MANIFEST)
    monkeypatch.setattr(registry, "MAX_ARRAYS_BYTES", 100)
    with pytest.raises(ModelError, match="more than 100 bytes"):
        registry.load(tmp_path, version)


@given(st.data())
@settings(max_examples=300, deadline=None)
def test_damaged_arrays_are_refused_or_harmless(data: st.DataObject) -> None:
    packed = bytearray(registry.pack(ARRAYS))
    for _ in range(data.draw(st.integers(1, 4))):
        packed[data.draw(st.integers(0, len(packed) - 1))] = data.draw(st.integers(0, 255))
    try:
        arrays = registry.unpack(bytes(packed))
    except ModelError:
        return
    assert sum(array.nbytes for array in arrays.values()) <= len(packed) and all(not array.dtype.hasobject for array in arrays.values())


BROKEN: dict[str, tuple[Callable[[Path, str], Any], str]] = {
    "other arrays": (lambda root, v: (root / v / "arrays.npz").write_bytes(registry.pack({"a": np.ones(1)})), "is not what was stored"),
    "no arrays": (lambda root, v: (root / v / "arrays.npz").unlink(), "cannot be read"),
    "no manifest": (lambda root, v: (root / v / "manifest.json").unlink(), "cannot be read"),
    "half a manifest": (lambda root, v: (root / v / "manifest.json").write_text('{"sha256": "ab'), "damaged"),
    "a manifest that is a list": (lambda root, v: (root / v / "manifest.json").write_text("[]"), "damaged"),
    "a deep manifest": (lambda root, v: (root / v / "manifest.json").write_text("[" * 100_000), "damaged"),
    "a folder with another name": (lambda root, v: (root / v).rename(root / ("0" * (root / "champion").write_text("0" * 12))), "not what"),
    "an alias to nowhere": (lambda root, v: (root / "champion").write_text("0123456789ab\n"), "names no version"),
    "an alias that climbs": (lambda root, v: (root / "champion").write_text("../../etc\n"), "names no version"),
    "an empty alias": (lambda root, v: (root / "champion").write_text(""), "names no version"),
}  # fmt: skip


@pytest.mark.parametrize(("spoil", "says"), BROKEN.values(), ids=BROKEN.keys())
def test_a_broken_registry_is_refused_with_what_to_do(spoil: Callable[[Path, str], Any], says: str, tmp_path: Path) -> None:
    version = registry.save(tmp_path, ARRAYS, MANIFEST)
    spoil(tmp_path, version)
    with pytest.raises(ModelError, match=says) as refused:
        registry.load(tmp_path, "champion")
    assert "\n" in str(refused.value)


@pytest.mark.parametrize("which", ["", "..", "champion/..", "0123456789abcdef", "0123456789AB", "latest"])
def test_only_versions_and_aliases_name_a_model(which: str, tmp_path: Path) -> None:
    registry.save(tmp_path, ARRAYS, MANIFEST)
    with pytest.raises(ModelError):
        registry.load(tmp_path, which)


def test_a_save_that_was_cut_short_leaves_no_version(tmp_path: Path) -> None:
    (tmp_path / ".0123456789ab.xyz").mkdir(parents=True)
    assert registry.list_versions(tmp_path) == []
    with pytest.raises(ModelError, match="has no champion"):
        registry.load(tmp_path, "champion")


def test_several_may_save_the_same_model_at_once(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        versions = set(pool.map(lambda _: registry.save(tmp_path, ARRAYS, MANIFEST), range(16)))
    assert len(versions) == 1 and registry.load(tmp_path, "champion")[1]["version"] in versions
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]
