"""Models on disk: `VERSION/{manifest.json, arrays.npz, …}`, alias files `champion` and `challenger`, `history.jsonl`.

VERSION is the first 12 hex digits of the sha256 of arrays.npz, which is written so that the same arrays give the same bytes. What is in a
version's folder never changes, but a signature may be added; an alias is swapped atomically; history is only appended to, and is the only
place with a wall-clock time. Nothing is ever deleted here.

A model is data, and may be anybody's: what is read is bounded, nothing is unpickled, no link is followed, and a version is read once, as a
whole, before any of it is believed. Whatever is wrong with it, ModelError says so. Any thread may read.

reading < arrays, signatures < artefacts (a version as bytes) < history < aliases < versions < exchange
"""

from __future__ import annotations

from detector.registry.aliases import ALIASES, current, resolve
from detector.registry.artefacts import version_of
from detector.registry.exchange import check_file, export_version, import_version
from detector.registry.history import Entry, history
from detector.registry.signatures import Trust, read_private_key, read_public_keys
from detector.registry.versions import (
    Checked,
    Version,
    check,
    list_versions,
    load,
    load_model,
    promote,
    rollback,
    save,
    show,
    sign,
    signed_by,
)

__all__ = [
    "ALIASES",
    "Checked",
    "Entry",
    "Trust",
    "Version",
    "check",
    "check_file",
    "current",
    "export_version",
    "history",
    "import_version",
    "list_versions",
    "load",
    "load_model",
    "promote",
    "read_private_key",
    "read_public_keys",
    "resolve",
    "rollback",
    "save",
    "show",
    "sign",
    "signed_by",
    "version_of",
]
