"""Models on disk: `VERSION/{manifest.json, arrays.npz, card.md}`, alias files `champion` and `challenger`, `history.jsonl`.

VERSION is the first 12 hex digits of the sha256 of arrays.npz, which is written so that the same arrays give the same bytes. A version
folder never changes; an alias is swapped atomically; history is only appended to, and is the only place with a wall-clock time. A model is
data: nothing here unpickles, and what is read is bounded and checked before it is used. What the arrays mean is checked by `core.model`.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import shutil
import tempfile
import zipfile
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from detector.core.model import Model
from detector.errors import ModelError
from detector.files import whole_file, write_text

Arrays = dict[str, NDArray[Any]]

ALIASES = ("champion", "challenger")
MAX_ARRAYS_BYTES = 1 << 30
MAX_MANIFEST_BYTES = 16 << 20
MAX_ARRAYS = 4096
_VERSION = re.compile("[0-9a-f]{12}")
_NAME = re.compile(r"[A-Za-z0-9_\-]+(\.[A-Za-z0-9_\-]+)*")
_KINDS = "biufSU"
"""Booleans, integers, floats, strings: what an array may hold. Never objects."""


class Version(NamedTuple):
    version: str
    aliases: tuple[str, ...]


def save(registry: Path, arrays: Mapping[str, NDArray[Any]], manifest: Mapping[str, Any], card: str = "") -> str:
    """Stores a model and gives its version; it becomes the champion if there is none. To store the same again changes nothing.

    `version` and `sha256` are added to the manifest. Raises ModelError if the version is there with another manifest.
    """
    packed = pack(arrays)
    sha256 = hashlib.sha256(packed).hexdigest()
    version = sha256[:12]
    said = {**manifest, "sha256": sha256, "version": version}
    text = json.dumps(said, sort_keys=True, indent=2, allow_nan=False, ensure_ascii=False) + "\n"
    folder = registry / version
    if not folder.exists():
        registry.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=f".{version}.", dir=registry))
        try:
            for name, data in (("arrays.npz", packed), ("manifest.json", text.encode()), ("card.md", card.encode())):
                if data:
                    with whole_file(partial / name) as file:
                        file.write(data)
            partial.chmod(0o755)
            partial.rename(folder)
        except OSError as error:
            if not folder.is_dir():
                raise ModelError(f"{registry}: cannot be written to ({error.strerror})\nlet this user write there") from error
            return save(registry, arrays, manifest, card)  # somebody else stored it meanwhile
        finally:
            shutil.rmtree(partial, ignore_errors=True)
        _note(registry, "saved", version)
    elif _read(folder / "manifest.json", MAX_MANIFEST_BYTES) != text.encode():
        raise ModelError(f"{folder}: holds the same arrays with another manifest\ntrain into another registry, or move this version away")
    if not (registry / "champion").exists():
        promote(registry, "champion", version)
    return version


def load(registry: Path, which: str) -> tuple[Arrays, dict[str, Any]]:
    """(arrays, manifest) of a version or an alias, checked for size, names, dtypes and sha256. Raises ModelError."""
    folder = registry / resolve(registry, which)
    manifest = _manifest(folder)
    packed = _read(folder / "arrays.npz", MAX_ARRAYS_BYTES)
    sha256 = hashlib.sha256(packed).hexdigest()
    if sha256 != manifest.get("sha256") or sha256[:12] != folder.name:
        raise ModelError(f"{folder / 'arrays.npz'}: is not what was stored ({sha256})\nput back the original, or promote another version")
    try:
        return unpack(packed), manifest
    except ModelError as error:
        raise ModelError(f"{folder / 'arrays.npz'}: {error}\ntrain the model again, or promote another version") from error


def load_model(registry: Path, which: str, view: str, names: tuple[str, ...]) -> Model:
    """A view's model, ready for use: checked as a file, and then for what it says. `names` are the features this version computes."""
    arrays, manifest = load(registry, which)
    said = manifest.get("views", {}).get(view)
    if said is None:
        raise ModelError(f"{registry / manifest['version']}: has no model for the {view} view\ntrain a new one with `detector train`")
    return Model.from_arrays(view, names, arrays, said).named(manifest["version"], manifest["sha256"])


def resolve(registry: Path, which: str) -> str:
    """The version that an alias, or a version itself, stands for."""
    if _VERSION.fullmatch(which):
        if not (registry / which).is_dir():
            raise ModelError(f"{registry}: there is no version {which}\n`detector models list` shows those there are")
        return which
    if which not in ALIASES:
        raise ModelError(f"'{which}' is no version (12 hex digits) and no alias\ntake one of `detector models list`")
    if not (registry / which).exists():
        raise ModelError(f"{registry}: has no {which}\ntrain a model into it (`detector train --out {registry}`), or promote one")
    version = _read(registry / which, 64).decode("ascii", "replace").strip()
    if not _VERSION.fullmatch(version) or not (registry / version).is_dir():
        raise ModelError(f"{registry / which}: names no version of this registry\n`detector models promote VERSION` sets it anew")
    return version


def list_versions(registry: Path) -> list[Version]:
    """Every version, with the aliases that stand for it, in order of name."""
    if not registry.is_dir():
        raise ModelError(f"{registry}: there is no such registry\ntrain a model into it (`detector train --out {registry}`)")
    stands = {alias: resolve(registry, alias) for alias in ALIASES if (registry / alias).exists()}
    found = sorted(path.name for path in registry.iterdir() if _VERSION.fullmatch(path.name) and path.is_dir())
    return [Version(version, tuple(alias for alias, other in stands.items() if other == version)) for version in found]


def show(registry: Path, which: str) -> dict[str, Any]:
    """The manifest of a version or an alias; its arrays are not looked at."""
    return _manifest(registry / resolve(registry, which))


def promote(registry: Path, alias: str, which: str) -> str:
    """Lets an alias stand for a version, after a full check of it; gives the version."""
    if alias not in ALIASES:
        raise ModelError(f"'{alias}' is no alias; there are {', '.join(ALIASES)}")
    version = resolve(registry, which)
    load(registry, version)
    write_text(registry / alias, version + "\n")
    _note(registry, alias, version)
    return version


def rollback(registry: Path) -> str:
    """Makes the champion before the present one the champion again; gives its version."""
    now = resolve(registry, "champion")
    before = [entry["version"] for entry in history(registry) if entry.get("event") == "champion" and entry.get("version") != now]
    if not before:
        raise ModelError(f"{registry}: there was no champion before {now}\n`detector models promote VERSION` names one")
    return promote(registry, "champion", before[-1])


def history(registry: Path) -> list[dict[str, Any]]:
    """What happened to the registry, oldest first: {time, event: saved | champion | challenger, version}."""
    path = registry / "history.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines() if line] if path.exists() else []


def pack(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """arrays.npz as bytes: sorted names, little-endian, C order, stored, no time, so that the same arrays are the same bytes."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(arrays):
            array = np.asarray(arrays[name], order="C")
            assert _NAME.fullmatch(name) and array.dtype.kind in _KINDS, (name, array.dtype)
            part = io.BytesIO()
            np.lib.format.write_array(part, array.astype(array.dtype.newbyteorder("<"), copy=False), version=(1, 0), allow_pickle=False)
            entry = zipfile.ZipInfo(name + ".npy", date_time=(1980, 1, 1, 0, 0, 0))
            entry.create_system, entry.external_attr = 3, 0o644 << 16
            archive.writestr(entry, part.getvalue())
    return out.getvalue()


def unpack(packed: bytes) -> Arrays:
    """What `pack` packed. The directory is read first; nothing is allocated that the bytes given do not fill. Raises ModelError."""
    try:
        with zipfile.ZipFile(io.BytesIO(packed)) as archive:
            entries = archive.infolist()
            names = [entry.filename.removesuffix(".npy") for entry in entries]
            if len(entries) > MAX_ARRAYS or len(set(names)) != len(names) or not all(map(_NAME.fullmatch, names)):
                raise ModelError("has names, or a number of names, that no model has")
            stored = all(entry.compress_type == zipfile.ZIP_STORED for entry in entries)
            if not stored or sum(entry.file_size for entry in entries) > len(packed):
                raise ModelError("is packed; a model's arrays are stored as they are")
            return {name: _array(name, archive.read(entry)) for name, entry in zip(names, entries, strict=True)}
    except (zipfile.BadZipFile, ValueError, EOFError, RuntimeError, OSError, SyntaxError, OverflowError, TypeError, KeyError) as error:
        raise ModelError(f"is damaged ({error})") from error


def _array(name: str, data: bytes) -> NDArray[Any]:
    part = io.BytesIO(data)
    if np.lib.format.read_magic(part) != (1, 0):
        raise ModelError(f"{name} is in a format that this program does not write")
    shape, fortran, dtype = np.lib.format.read_array_header_1_0(part)
    if dtype.hasobject or dtype.kind not in _KINDS or fortran or dtype.itemsize == 0:
        raise ModelError(f"{name} holds {dtype}; only numbers and strings may be in a model")
    count = 1
    for length in shape:
        count *= length
    if min(shape, default=0) < 0 or count * dtype.itemsize != len(data) - part.tell():
        raise ModelError(f"{name} says shape {shape} of {dtype}, but holds {len(data) - part.tell()} bytes")
    return np.frombuffer(data, dtype, count, part.tell()).reshape(shape).copy()


def _manifest(folder: Path) -> dict[str, Any]:
    path = folder / "manifest.json"
    try:
        return msgspec.json.decode(_read(path, MAX_MANIFEST_BYTES), type=dict[str, Any])
    except (msgspec.DecodeError, RecursionError) as error:
        raise ModelError(f"{path}: is damaged ({error})\nput back the original, or promote another version") from error


def _read(path: Path, most: int) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(most + 1)
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror})\nput it back, or promote another version") from error
    if len(data) > most:
        raise ModelError(f"{path}: has more than {most} bytes, which no model of this program has\nput back the original")
    return data


def _note(registry: Path, event: str, version: str) -> None:
    line = json.dumps({"time": datetime.now(UTC).isoformat(timespec="milliseconds"), "event": event, "version": version})
    with (registry / "history.jsonl").open("a") as file:
        file.write(line + "\n")
