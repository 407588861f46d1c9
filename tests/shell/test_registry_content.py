"""Models whose files fit but whose content does not: numbers that cannot be, and bytes that were flipped."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detector import registry
from detector.core.estimators.isolation_forest import PackedForest
from detector.core.model import Model
from detector.core.pipeline import Pipeline, Policy
from detector.core.views import EMPLOYEE
from detector.errors import ModelError
from detector.registry.arrays import Arrays, pack, unpack
from tests import world
from tests.models import plant, sound

ARRAYS = {"a": np.linspace(0, 1, 12, dtype=np.float32).reshape(3, 4), "words": np.array(["read", "größe"]), "flag": np.array(True)}


def place(name: str, change: Callable[[Any], Any]) -> Callable[[Arrays], Arrays]:
    def made(arrays: Arrays) -> Arrays:
        return {**arrays, f"employee.{name}": change(arrays[f"employee.{name}"].copy())}

    return made


def at(value: Any) -> Callable[[Any], Any]:
    def put(array: Any) -> Any:
        array.reshape(-1)[len(array.reshape(-1)) // 2] = value
        return array

    return put


UNSOUND: dict[str, Callable[[Arrays], Arrays]] = {
    "a tree that looks at a feature beyond the last": place("forest.feature", at(16)),
    "a tree that looks at a feature before the first": place("forest.feature", at(-1)),
    "more features than there are": place("forest.features", at(17)),
    "a tree that is not perfect": place("forest.path", lambda a: a[:, :-1]),
    "a forest without trees": lambda a: {k: v[:0] if k.startswith("employee.forest") and v.ndim == 2 else v for k, v in a.items()},
    "trees too deep to be built": place("forest.path", lambda a: np.zeros((1, 1 << 17))),
    "a threshold that is NaN": place("forest.threshold", at(np.nan)),
    "a path that is NaN": place("forest.path", at(np.nan)),
    "a path that is infinite": place("forest.path", at(np.inf)),
    "a path before the root": place("forest.path", at(-1.0)),
    "a path longer than any": place("forest.path", at(1e300)),
    "an expected path that is NaN": place("forest.expected", at(np.nan)),
    "a forest that divides by nothing": place("forest.normal", at(0.0)),
    "wide integers for narrow ones": place("forest.feature", lambda a: a.astype(np.int64)),
    "big-endian numbers": place("forest.threshold", lambda a: a.astype(">f4")),
    "words for numbers": place("signal.scale", lambda a: a.astype("U8")),
    "a tail that is NaN": place("signal.value", at(np.nan)),
    "a tail that descends": place("signal.value", lambda a: a[:, ::-1]),
    "a tail without an end": place("joined.soft", at(1e300)),
    "a rarity beyond any": place("total.rarity", lambda a: a + 1e6),
    "a scale of nothing": place("total.scale", at(0.0)),
    "one tail too few": place("joined.value", lambda a: a[:-1]),
    "a vocabulary that does not ascend": place("baselines.pairs", lambda a: a[::-1]),
    "a team too many": place("baselines.mean", lambda a: np.concatenate([a, a[:1]])),
    "a share that is NaN": place("baselines.pair_team", at(np.nan)),
    "a spread of nothing": place("baselines.spread", at(0.0)),
    "a usual beyond what can be said": place("baselines.mean", at(710.0)),
    "more returns than there are": place("baselines.repeat", at(1e300)),
    "golden vectors that are NaN": place("golden.features", at(np.nan)),
    "golden vectors of another shape": place("golden.features", lambda a: a[:-1]),
    "golden scores that are others": place("golden.rarity", lambda a: a + np.float32(1e-6)),
    "golden scores that are words": place("golden.rarity", lambda a: a.astype("U8")),
    "no golden vectors": lambda a: {k: v for k, v in a.items() if "golden" not in k},
    "nothing of the view": lambda a: {k.replace("employee", "subject"): v for k, v in a.items()},
}  # fmt: skip


@pytest.mark.parametrize("spoil", UNSOUND.values(), ids=UNSOUND.keys())
def test_arrays_that_cannot_be_a_model_are_refused(spoil: Callable[[Arrays], Arrays], tmp_path: Path) -> None:
    arrays, said = sound()
    out = io.BytesIO()
    np.savez(out, **spoil(arrays))  # as somebody would make it, not as `pack` does
    version = plant(tmp_path, out.getvalue(), said)
    with pytest.raises(ModelError) as refused:
        registry.load_model(tmp_path, version, EMPLOYEE.name, EMPLOYEE.names)
    assert version in str(refused.value)


@pytest.mark.parametrize("value", [-1.0, 129.0, np.nan])
@pytest.mark.parametrize("name", ["path", "expected"])
def test_a_path_that_no_tree_has_is_refused_though_no_golden_vector_goes_there(name: str, value: float) -> None:
    forest = {key.removeprefix("employee.forest."): a for key, a in sound()[0].items() if key.startswith("employee.forest.")}
    PackedForest.from_arrays(forest)
    with pytest.raises(ValueError, match=f"^{name}: "):
        PackedForest.from_arrays({**forest, name: at(value)(forest[name].copy())})


SAID: dict[str, Any] = {
    "no hypotheses": {"hypotheses": []},
    "a hypothesis that is none": {"hypotheses": ["../../os"]},
    "a hypothesis twice": {"hypotheses": ["harvest", "harvest"]},
    "hypotheses that are a number": {"hypotheses": 7},
    "hypotheses in lists": {"hypotheses": [["harvest"]]},
    "other signals": {"signals": ["harvest"]},
    "another schema": {"schema": "0" * 16},
    "a schema that is a list": {"schema": []},
}


@pytest.mark.parametrize("lie", SAID.values(), ids=SAID.keys())
def test_a_manifest_that_says_what_the_arrays_are_not_is_refused(lie: dict[str, Any], tmp_path: Path) -> None:
    arrays, said = sound()
    version = plant(tmp_path, pack(arrays), {**said, "views": {"employee": {**said["views"]["employee"], **lie}}})
    with pytest.raises(ModelError, match=version):
        registry.load_model(tmp_path, version, EMPLOYEE.name, EMPLOYEE.names)


@given(st.data())
@settings(max_examples=200, deadline=None)
def test_damaged_arrays_are_refused_or_harmless(data: st.DataObject) -> None:
    packed = flipped(data, pack(ARRAYS))
    try:
        arrays = unpack(packed)
    except ModelError:
        return
    assert sum(array.nbytes for array in arrays.values()) <= len(packed) and all(not array.dtype.hasobject for array in arrays.values())


def flipped(data: st.DataObject, packed: bytes) -> bytes:
    out = bytearray(packed)
    if not out:
        return packed
    for _ in range(data.draw(st.integers(1, 4))):
        out[data.draw(st.integers(0, len(out) - 1))] = data.draw(st.integers(0, 255))
    return bytes(out)


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_flipped_bytes_of_a_stored_model_are_refused_or_change_nothing(data: st.DataObject) -> None:
    with TemporaryDirectory() as name:
        root = Path(name)
        version = registry.save(root, *sound())
        path = root / version / "arrays.npz"
        original = path.read_bytes()
        path.write_bytes(flipped(data, original))
        try:
            registry.load_model(root, version, EMPLOYEE.name, EMPLOYEE.names)
        except ModelError:
            return
        assert path.read_bytes() == original


EXTREME = (1e300, -1e300, 1e-300, 5e-324, 1e18, 100.0, -100.0, 1.0, -0.0)


@given(st.data())
@settings(max_examples=30, deadline=None)
def test_made_up_numbers_with_hashes_that_fit_are_refused_or_give_a_model_that_scores(data: st.DataObject) -> None:
    """Of an attacker who may write the registry and mends every hash: what is not refused must not bring the service down."""
    arrays, said = sound()
    name = data.draw(st.sampled_from(sorted(arrays)))
    changed = arrays[name].copy()
    if changed.dtype == np.float64 and changed.size and data.draw(st.booleans()):
        changed.reshape(-1)[data.draw(st.integers(0, changed.size - 1)) :] = data.draw(st.sampled_from(EXTREME))
    else:
        changed = np.frombuffer(flipped(data, changed.tobytes()), changed.dtype).reshape(changed.shape)
    try:
        model = Model.from_arrays(EMPLOYEE.name, EMPLOYEE.names, {**arrays, name: changed}, said["views"][EMPLOYEE.name])
    except ModelError:
        return
    assert np.isfinite(model.rarities(world.model().golden).rarity).all()
    made = Pipeline(EMPLOYEE, model, world.context(), Policy(world.BUDGET), 1000).process(world.live())
    for _, written in made.alerts:
        json.loads(written, parse_constant=lambda constant: pytest.fail(f"an alert says {constant}"))
