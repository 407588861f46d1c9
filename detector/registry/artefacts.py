"""A model as bytes: what is in a version's folder, and in an exported file.

manifest.json names the sha256 of everything else, so a signature of the manifest covers all of it. What comes from outside is looked at in
this order: signature, manifest, hashes, arrays. What the arrays mean is checked by `core.model`.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Annotated, Any, NamedTuple

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from msgspec import Meta
from numpy.typing import NDArray

from detector.core.frame import DAY
from detector.core.model import FORMAT
from detector.errors import ModelError
from detector.registry.arrays import Arrays, pack, unpack, unzipped, zipped
from detector.registry.signatures import Trust, sign, signer

VERSION = re.compile("[0-9a-f]{12}")
FILE = re.compile(r"[A-Za-z0-9_\-]{1,64}\.(md|png|svg|csv|json)")
"""A file beside the model: its card, and the card's pictures."""
MANIFEST, ARRAYS, SIGNATURE = "manifest.json", "arrays.npz", "signature.json"
MAX_FILES = 64
ANYBODY = Trust()

Digest = Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]


class Artefact(NamedTuple):
    """A version as it is stored. `signature` is empty where nobody signed; `files` (name -> bytes) may be left out to save reading them."""

    version: str
    manifest: bytes
    arrays: bytes
    signature: bytes
    files: Mapping[str, bytes]


class Opened(NamedTuple):
    arrays: Arrays
    manifest: dict[str, Any]
    signed_by: str
    """Fingerprint of the key; "" where no signature was asked for."""


class Known(msgspec.Struct):
    """What this module itself goes by in a manifest."""

    sha256: Digest
    version: Annotated[str, Meta(pattern="^[0-9a-f]{12}$")]
    format: int = FORMAT
    files: Annotated[dict[str, Digest], Meta(max_length=MAX_FILES)] = {}
    views: dict[str, dict[str, Any]] = {}


LAST_TIME = 4_102_444_800_000
"""2100, ms."""


class _Training(msgspec.Struct, frozen=True):
    last: Annotated[int, Meta(ge=-1, le=LAST_TIME)] = -1


class _Refresh(msgspec.Struct, frozen=True):
    last_day: Annotated[int, Meta(ge=-1, le=LAST_TIME // DAY)] = -1


class _Learned(msgspec.Struct):
    """What a manifest says of the events behind a model."""

    training: _Training = _Training()
    refresh: _Refresh = _Refresh()


def version_of(arrays: Mapping[str, NDArray[Any]]) -> str:
    """What a model of such arrays is called."""
    return hashlib.sha256(pack(arrays)).hexdigest()[:12]


def learned_until(manifest: Mapping[str, Any]) -> int:
    """Ms: the newest event that the model learned from, by training or by refresh; -1 where the manifest does not say."""
    try:
        said = msgspec.convert(manifest, _Learned)
    except msgspec.ValidationError:
        return -1
    return max(said.training.last, (said.refresh.last_day + 1) * DAY - 1)


def make(
    arrays: Mapping[str, NDArray[Any]], manifest: Mapping[str, Any], files: Mapping[str, bytes], key: Ed25519PrivateKey | None
) -> Artefact:
    """The version is named by its arrays; `version`, `sha256` and the `files`' hashes are added to the manifest. Same in, same out."""
    assert all(FILE.fullmatch(name) and name not in (MANIFEST, SIGNATURE) for name in files), list(files)
    packed = pack(arrays)
    sha256 = hashlib.sha256(packed).hexdigest()
    said = {**manifest, "sha256": sha256, "version": sha256[:12]}
    if files:
        said["files"] = {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
    text = (json.dumps(said, sort_keys=True, indent=2, allow_nan=False, ensure_ascii=False) + "\n").encode()
    return Artefact(sha256[:12], text, packed, sign(key, sha256[:12], text) if key else b"", dict(files))


def open_(artefact: Artefact, trust: Trust = ANYBODY) -> Opened:
    """Arrays and manifest, checked for signature, size, names, dtypes and sha256. Raises ModelError."""
    signed_by = trust.check(artefact.version, artefact.manifest, artefact.signature)
    manifest, known = read_manifest(artefact.manifest)
    sha256 = hashlib.sha256(artefact.arrays).hexdigest()
    if sha256 != known.sha256 or not sha256.startswith(artefact.version) or known.version != artefact.version:
        raise ModelError(f"{ARRAYS}: is not what was stored ({sha256})\nput back the original, or promote another version")
    if known.format != FORMAT:
        raise ModelError(f"{MANIFEST}: is of format {known.format}, this program reads {FORMAT}\ntrain a new model with `detector train`")
    try:
        return Opened(unpack(artefact.arrays), manifest, signed_by)
    except ModelError as error:
        raise ModelError(f"{ARRAYS}: {error}\ntrain the model again, or promote another version") from error


def check_files(artefact: Artefact) -> tuple[str, ...]:
    """The names of the files beside the model, each there and as the manifest says. Raises ModelError."""
    named = read_manifest(artefact.manifest)[1].files
    for name, sha256 in named.items():
        if hashlib.sha256(artefact.files.get(name, b"")).hexdigest() != sha256:
            raise ModelError(f"{name}: is not what was stored\nput back the original, or import the version again")
    return tuple(sorted(named))


def read_manifest(data: bytes) -> tuple[dict[str, Any], Known]:
    """All that it says, and what must be right in it. Raises ModelError."""
    try:
        manifest = msgspec.json.decode(data, type=dict[str, Any])
        known = msgspec.convert(manifest, Known)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:  # a ValidationError is a DecodeError
        raise ModelError(f"{MANIFEST}: is damaged ({error})\nput back the original, or promote another version") from error
    if not all(map(FILE.fullmatch, known.files)) or {MANIFEST, SIGNATURE} & known.files.keys():
        raise ModelError(f"{MANIFEST}: names files that are none of a model\nput back the original, or promote another version")
    return manifest, known


def bundle(artefact: Artefact) -> bytes:
    """One file that holds a version: a ZIP of its folder. The same version and signature give the same bytes."""
    parts = {MANIFEST: artefact.manifest, ARRAYS: artefact.arrays}
    if artefact.signature:
        parts[SIGNATURE] = artefact.signature
    parts |= {name: artefact.files[name] for name in sorted(artefact.files)}
    return zipped({f"{artefact.version}/{name}": data for name, data in parts.items()})


def unbundle(data: bytes) -> Artefact:
    """What `bundle` made; its content is yet to be checked. Raises ModelError."""
    parts = unzipped(data, MAX_FILES + 3)
    version = next(iter(parts), "").partition("/")[0]
    if not VERSION.fullmatch(version):
        raise ModelError("holds no version of a model")
    inside = {name.removeprefix(f"{version}/"): part for name, part in parts.items()}
    core = [inside.pop(name, b"") for name in (MANIFEST, ARRAYS, SIGNATURE)]
    known = read_manifest(core[0])[1]
    if inside.keys() != known.files.keys():
        raise ModelError("holds other files than its manifest names")
    signer(core[2], version)  # a signature need not be right where nobody asks for one, but it must be one
    return Artefact(version, core[0], core[1], core[2], inside)
