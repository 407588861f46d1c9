"""Versions: what is in their folders, stored once and checked in full before it is used."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from numpy.typing import NDArray

from detector.core.model import Model
from detector.core.views import EMPLOYEE
from detector.errors import ModelError
from detector.files import whole_file, write_text
from detector.registry import artefacts, signatures
from detector.registry.aliases import ALIASES, champion_before, resolve, stand
from detector.registry.arrays import Arrays
from detector.registry.artefacts import ANYBODY, ARRAYS, MANIFEST, SIGNATURE, VERSION, Artefact, learned_until
from detector.registry.history import entry, kept, must_be_there, stored
from detector.registry.reading import blaming, entered, read, read_file
from detector.registry.signatures import Trust

VIEWS = {EMPLOYEE.name: EMPLOYEE}
MAX_ARRAYS_BYTES = 1 << 30
MAX_MANIFEST_BYTES = 16 << 20
MAX_FILE_BYTES = 16 << 20
MAX_SIGNATURE_BYTES = 4096


class Version(NamedTuple):
    version: str
    aliases: tuple[str, ...]


class Checked(NamedTuple):
    """What a full check found to be sound."""

    version: str
    sha256: str
    views: tuple[str, ...]
    files: tuple[str, ...]
    signed_by: str
    """Fingerprint of the trusted key; "" where there is no signature, or none was asked for."""


def save(
    registry: Path, arrays: Mapping[str, NDArray[Any]], manifest: Mapping[str, Any], files: Mapping[str, bytes] | None = None,
    key: Ed25519PrivateKey | None = None, why: str = "",
) -> str:  # fmt: skip
    """Stores a model and gives its version; it becomes the champion if there is none. To store the same again changes nothing.

    `files` (name -> bytes: the card and its pictures) and, with a `key`, the signature appear together with it; a version that is there
    already is given the signature that it lacks. `version`, `sha256` and the files' hashes are added to the manifest. Raises ModelError if
    the version is there with another manifest.
    """
    artefact = artefacts.make(arrays, manifest, files or {}, key)
    put(registry, artefact, "saved", "", why)
    with kept(registry) as append:
        if not (registry / "champion").exists():
            write_text(registry / "champion", artefact.version + "\n")
            append(entry("champion", artefact.version, why="the first"))
    return artefact.version


def load(registry: Path, which: str, trust: Trust = ANYBODY) -> tuple[Arrays, dict[str, Any]]:
    """(arrays, manifest) of a version or an alias, checked for signature, size, names, dtypes and sha256. Raises ModelError."""
    version = resolve(registry, which)
    with blaming(registry / version):
        opened = artefacts.open_(take(registry / version), trust)
    return opened.arrays, opened.manifest


def load_model(registry: Path, which: str, view: str, names: tuple[str, ...], trust: Trust = ANYBODY) -> Model:
    """A view's model, ready for use: checked as a file, and then for what it says. `names` are the features this version computes.

    Raises ModelError and nothing else; any thread may call it.
    """
    arrays, manifest = load(registry, which, trust)
    with blaming(registry / manifest["version"]):
        model = _model(view, names, arrays, manifest)
        return replace(model, until=learned_until(manifest), stored=stored(registry, model.version))


def check(registry: Path, which: str, trust: Trust = ANYBODY) -> Checked:
    """Checks all there is to a version: files, signature, arrays, ranges, and that each view scores as it did. Raises ModelError."""
    version = resolve(registry, which)
    with blaming(registry / version):
        return examine(take(registry / version, whole=True), trust)


def promote(registry: Path, alias: str, which: str, trust: Trust = ANYBODY, by: str = "", why: str = "") -> str:
    """Lets an alias stand for a version, after a full check of it; gives the version."""
    if alias not in ALIASES:
        raise ModelError(f"'{alias}' is no alias; there are {', '.join(ALIASES)}")
    return stand(registry, alias, check(registry, which, trust).version, by, why)


def rollback(registry: Path, trust: Trust = ANYBODY, by: str = "", why: str = "") -> str:
    """Makes the champion before the present one the champion again, after a full check; gives its version. Twice goes two steps back."""
    version, now = champion_before(registry)
    return stand(registry, "champion", check(registry, version, trust).version, by, why, undoes=now)


def sign(registry: Path, which: str, key: Ed25519PrivateKey, by: str = "", why: str = "") -> Checked:
    """Signs a version, after a full check of it; a signature that is there is replaced."""
    version = resolve(registry, which)
    with blaming(registry / version):
        artefact = take(registry / version, whole=True)
        checked = examine(artefact, ANYBODY)
    _add_signature(registry, version, signatures.sign(key, version, artefact.manifest), by, why)
    return checked._replace(signed_by=signatures.fingerprint(key.public_key()))


def list_versions(registry: Path) -> list[Version]:
    """Every version, with the aliases that stand for it, in order of name."""
    must_be_there(registry)
    stands = {alias: resolve(registry, alias) for alias in ALIASES if (registry / alias).exists()}
    found = sorted(path.name for path in registry.iterdir() if VERSION.fullmatch(path.name) and path.is_dir())
    return [Version(version, tuple(alias for alias, other in stands.items() if other == version)) for version in found]


def show(registry: Path, which: str) -> dict[str, Any]:
    """The manifest of a version or an alias; its arrays are not looked at."""
    version = resolve(registry, which)
    with blaming(registry / version):
        return artefacts.read_manifest(read_file(registry / version / MANIFEST, MAX_MANIFEST_BYTES))[0]


def signed_by(registry: Path, version: str) -> str:
    """The fingerprint that a version's signature names, "" without one; whether it is right is for `check` to say."""
    return signatures.signer(read_file(registry / version / SIGNATURE, MAX_SIGNATURE_BYTES, missing=b""), version)


def take(folder: Path, whole: bool = False) -> Artefact:
    """A version as it lies there, read once; `whole`: with the files beside the model. Raises ModelError."""
    with entered(folder) as inside:
        manifest = read(inside, MANIFEST, MAX_MANIFEST_BYTES)
        names = artefacts.read_manifest(manifest)[1].files if whole else ()
        return Artefact(
            folder.name, manifest, read(inside, ARRAYS, MAX_ARRAYS_BYTES), read(inside, SIGNATURE, MAX_SIGNATURE_BYTES, missing=b""),
            {name: read(inside, name, MAX_FILE_BYTES) for name in names},
        )  # fmt: skip


def examine(artefact: Artefact, trust: Trust) -> Checked:
    """The full check of a version that was read as a whole. Raises ModelError."""
    arrays, manifest, signer = artefacts.open_(artefact, trust)
    files, views = artefacts.check_files(artefact), manifest.get("views", {})
    if not views or not views.keys() <= VIEWS.keys():
        raise ModelError(f"{MANIFEST}: has no model, or one for a view that this program does not know\ntrain a new one")
    for name in views:
        _model(name, VIEWS[name].names, arrays, manifest)
    return Checked(artefact.version, manifest["sha256"], tuple(views), files, signer)


def put(registry: Path, artefact: Artefact, event: str, by: str, why: str) -> None:
    """Stores a version, all of it or nothing; one that is there is only given the signature that it lacks. Raises ModelError."""
    folder, signer = registry / artefact.version, signatures.signer(artefact.signature, artefact.version)
    if folder.exists():
        if read_file(folder / MANIFEST, MAX_MANIFEST_BYTES) != artefact.manifest:
            raise ModelError(f"{folder}: holds the same arrays with another manifest\ntake another registry, or move this version away")
        if signer and not signed_by(registry, artefact.version):
            _add_signature(registry, artefact.version, artefact.signature, by, why)
        return
    registry.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f".{artefact.version}.", dir=registry))
    try:
        parts = {ARRAYS: artefact.arrays, **artefact.files, SIGNATURE: artefact.signature, MANIFEST: artefact.manifest}
        for name, data in parts.items():
            if data or name in artefact.files:
                with whole_file(partial / name) as file:
                    file.write(data)
        partial.chmod(0o755)
        partial.rename(folder)
        _settle(registry)
    except OSError as error:
        if not folder.is_dir():
            raise ModelError(f"{registry}: cannot be written to ({error.strerror})\nlet this user write there") from error
        put(registry, artefact, event, by, why)  # somebody else stored it meanwhile
        return
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    with kept(registry) as append:
        append(entry(event, artefact.version, by, why, key=signer))


def _add_signature(registry: Path, version: str, signature: bytes, by: str, why: str) -> None:
    with whole_file(registry / version / SIGNATURE) as file:
        file.write(signature)
    with kept(registry) as append:
        append(entry("signed", version, by, why, key=signatures.signer(signature, version)))


def _model(view: str, names: tuple[str, ...], arrays: Arrays, manifest: Mapping[str, Any]) -> Model:
    said = manifest.get("views", {}).get(view)
    if said is None:
        raise ModelError(f"has no model for the {view} view\ntrain a new one with `detector train`")
    return Model.from_arrays(view, names, arrays, said).named(manifest["version"], manifest["sha256"])


def _settle(folder: Path) -> None:
    """A rename that a power cut does not undo."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
