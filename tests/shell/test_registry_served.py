"""Whatever is put into the registry while a service runs, it keeps the model that it has; and takes the next one that is sound."""

from __future__ import annotations

import os
import pickle
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from detector import registry
from detector.champion import Champion, Wish
from detector.contexts import Contexts
from detector.core.context import DEFAULT_RESOURCES
from detector.core.model import Model
from detector.core.views import EMPLOYEE
from detector.metrics import Metrics
from detector.registry.arrays import pack, unzipped
from tests.models import archive, npy, plant, sound

KEY = Ed25519PrivateKey.from_private_bytes(bytes(32))
ANYBODY, SIGNED = registry.Trust(), registry.Trust((KEY.public_key(),), required=True)


def changed(root: Path, name: str, value: float) -> str:
    """A model that differs in one number, with hashes that fit."""
    arrays, said = sound(1)
    other = arrays[f"employee.{name}"].copy()
    other.reshape(-1)[0] = value
    return plant(root, pack({**arrays, f"employee.{name}": other}), said)


def half(root: Path) -> str:
    version = plant(root, pack(sound(1)[0]), sound(1)[1])
    os.truncate(root / version / "arrays.npz", 10_000)
    return version


def linked(root: Path) -> str:
    version = registry.save(root / "elsewhere", *sound(1), key=KEY)
    (root / version).symlink_to(root / "elsewhere" / version)
    return version


def swapped(root: Path) -> str:
    version = registry.save(root, *sound(1), key=KEY)
    (root / version / "arrays.npz").write_bytes(pack(sound(2)[0]))
    return version


HOSTILE: dict[str, Callable[[Path], str]] = {
    "a pickle": lambda root: plant(root, pickle.dumps({"a": 1}), sound()[1]),
    "an array of objects": lambda root: plant(root, archive({"a.npy": npy(np.array([{}], object), allow_pickle=True)}), sound()[1]),
    "a zip bomb": lambda root: plant(root, archive(unzipped(pack(sound(1)[0]), 99), zipfile.ZIP_DEFLATED), sound(1)[1]),
    "a tree that leads out of the features": lambda root: changed(root, "forest.feature", 16),
    "a number that is none": lambda root: changed(root, "forest.threshold", np.nan),
    "scores that were never made": lambda root: changed(root, "golden.rarity", 4.0),
    "half a folder": half,
    "an empty folder": lambda root: [(root / ("0" * 12)).mkdir(), "0" * 12][1],  # type: ignore[list-item,return-value]
    "a link out of the registry": linked,
    "other arrays than were stored": swapped,
}  # fmt: skip
UNSIGNED: dict[str, Callable[[Path], str]] = {
    "a sound model that nobody signed": lambda root: registry.save(root, *sound(1)),
    "a sound model that somebody else signed": lambda root: registry.save(root, *sound(1), key=Ed25519PrivateKey.generate()),
}
CASES = {name: (put, ANYBODY) for name, put in HOSTILE.items()} | {name: (put, SIGNED) for name, put in UNSIGNED.items()}


@pytest.mark.parametrize(("put", "trust"), CASES.values(), ids=CASES.keys())
def test_a_hostile_champion_is_refused_and_the_old_one_is_served(
    put: Callable[[Path], str], trust: registry.Trust, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first = registry.save(tmp_path, *sound(), key=KEY)
    good = registry.save(tmp_path, *sound(3), key=KEY)

    def load(version: str) -> Model:
        return registry.load_model(tmp_path, version, EMPLOYEE.name, EMPLOYEE.names, trust)

    named = SimpleNamespace(current=lambda: registry.resolve(tmp_path, "champion"), load=load)
    contexts = Contexts("", DEFAULT_RESOURCES)
    champion = Champion(load(first), contexts.read(), named, contexts, Metrics(), Wish(), every=0.0)
    (tmp_path / "champion").write_text(put(tmp_path) + "\n")  # as somebody writes it who does not use `promote`
    until(lambda: champion.look() or "the old one stays" in caplog.text)
    assert champion.now.model.version == first and "the old one stays" in caplog.text
    registry.promote(tmp_path, "champion", good, trust)
    until(lambda: champion.look() or champion.now.model.version == good)


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)
