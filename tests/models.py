"""Sound models for tests of what stores them: that of the small world, in variants that differ in one number."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from detector import training
from detector.registry.arrays import Arrays
from tests import world


@cache
def sound(variant: int = 0) -> tuple[Arrays, dict[str, Any]]:
    """Arrays and manifest of a model that passes every check."""
    model, report = world.trained()
    tails = model.total_tails
    return training.artefact(replace(model, total_tails=replace(tails, scale=tails.scale * (1 + variant))), report, 7)


def plant(folder: Path, packed: bytes, said: dict[str, Any] | None = None) -> str:
    """A version folder that an attacker made: everything fits, except what is in the arrays."""
    sha256 = hashlib.sha256(packed).hexdigest()
    version = sha256[:12]
    (folder / version).mkdir(parents=True, exist_ok=True)
    (folder / version / "arrays.npz").write_bytes(packed)
    (folder / version / "manifest.json").write_text(json.dumps({**(said or {}), "sha256": sha256, "version": version}))
    return version


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
