"""One file that holds a version: to carry a model to another place, to have it signed there, or to keep it."""

from __future__ import annotations

import hashlib
from pathlib import Path

from detector.files import whole_file
from detector.registry import artefacts
from detector.registry.aliases import resolve
from detector.registry.artefacts import ANYBODY, Artefact
from detector.registry.reading import blaming, read_file
from detector.registry.signatures import Trust
from detector.registry.versions import MAX_ARRAYS_BYTES, MAX_FILE_BYTES, Checked, examine, put, take

MAX_BUNDLE_BYTES = MAX_ARRAYS_BYTES + 4 * MAX_FILE_BYTES


def export_version(registry: Path, which: str, path: Path, trust: Trust = ANYBODY) -> tuple[Checked, str]:
    """Writes a version, after a full check of it, as one file; gives that file's sha256 too. The same version gives the same bytes."""
    version = resolve(registry, which)
    with blaming(registry / version):
        artefact = take(registry / version, whole=True)
        checked = examine(artefact, trust)
    data = artefacts.bundle(artefact)
    with whole_file(path) as file:
        file.write(data)
    return checked, hashlib.sha256(data).hexdigest()


def check_file(path: Path, trust: Trust = ANYBODY) -> Checked:
    """Checks an exported version in full, in memory. Raises ModelError."""
    return _unpacked(path, trust)[1]


def import_version(registry: Path, path: Path, trust: Trust = ANYBODY, by: str = "", why: str = "") -> Checked:
    """Stores what `export_version` wrote; nothing of it appears before all of it was checked. No alias is moved.

    If the version is there already, only a signature that it lacks is added. Raises ModelError.
    """
    artefact, checked = _unpacked(path, trust)
    put(registry, artefact, "imported", by, why)
    return checked


def _unpacked(path: Path, trust: Trust) -> tuple[Artefact, Checked]:
    data = read_file(path, MAX_BUNDLE_BYTES, link=True)
    with blaming(path):
        artefact = artefacts.unbundle(data)
        return artefact, examine(artefact, trust)
