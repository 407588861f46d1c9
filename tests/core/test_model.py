"""A model is data: it goes through arrays unharmed, and whatever array is damaged, in whatever way, it is refused before it is used."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import world

from detector.core.baselines import Baselines
from detector.core.model import GOLDEN, Model, forest_input, signals_of
from detector.core.signals import accumulators
from detector.core.views import EMPLOYEE
from detector.errors import ModelError

Damage = Callable[[np.ndarray], Any]


def read(arrays: dict[str, Any], said: dict[str, Any]) -> Model:
    return Model.from_arrays("employee", EMPLOYEE.names, arrays, said)


TAILS = ("value", "rarity", "scale", "soft")
PARTS = {
    "baselines": ("teams", "pair_resources", "pair_actions", "pair_company", "pair_team", "hour_team", "mean", "spread"),
    "signal": TAILS, "joined": TAILS, "total": TAILS, "forest": ("feature", "threshold", "path", "normal", "features"),
    "golden": ("features", "rarity"),
}  # fmt: skip
NAMES = [f"employee.{part}.{name}" for part, some in PARTS.items() for name in some]


def test_a_model_read_back_says_the_same() -> None:
    arrays, said = world.model().to_arrays()
    back = read({name: a.copy() for name, a in arrays.items()}, said)
    again, said_again = back.to_arrays()
    assert said_again == said
    assert {n: (a.dtype, a.shape, a.tobytes()) for n, a in again.items()} == {n: (a.dtype, a.shape, a.tobytes()) for n, a in arrays.items()}
    assert back.baselines.teams == world.model().baselines.teams and back.baselines.pairs == world.model().baselines.pairs


def test_baselines_without_any_vocabulary_go_through_arrays_too() -> None:
    blank = Baselines.blank((), accumulators.K)
    assert Baselines.from_arrays(blank.to_arrays(), accumulators.K).pairs == ()


def test_every_array_carries_the_views_name_and_no_objects() -> None:
    arrays, _ = world.model().to_arrays()
    assert sorted(arrays) == sorted(NAMES)
    assert all(a.dtype != object for a in arrays.values())


def test_golden_vectors_are_events_that_say_something() -> None:
    golden = world.model().golden
    assert golden.shape == (GOLDEN, len(EMPLOYEE.names)) and golden.dtype == np.float32
    assert (golden != 0).any(axis=1).all()
    rarity = world.model().rarities(golden).hypothesis
    assert (rarity > 0).any(axis=0).sum() >= 3, "a change of calibration would be seen"


def _sized(change: int) -> Damage:
    return lambda a: a[:change] if change < 0 else np.concatenate([a, a[:change]])


def _last(value: float) -> Damage:
    def damage(a: np.ndarray) -> np.ndarray:
        out = a.copy()
        out.flat[-1] = value
        return out

    return damage


ANY: dict[str, Damage] = {
    "shorter": _sized(-1),
    "longer": _sized(1),
    "of one more dimension": lambda a: a[None],
    "of another type": lambda a: a.astype("S9") if a.dtype.kind == "U" else a.astype("U9"),
    "empty": lambda a: a[:0],
}
FLOATS: dict[str, Damage] = {"NaN": _last(np.nan), "float16": lambda a: a.astype(np.float16), "infinite": _last(-np.inf)}


@pytest.mark.parametrize("name", NAMES)
def test_each_array_is_needed(name: str) -> None:
    arrays, said = world.model().to_arrays()
    with pytest.raises(ModelError, match="damaged"):
        read({n: a for n, a in arrays.items() if n != name}, said)


@pytest.mark.parametrize("how", [*ANY, *FLOATS])
@pytest.mark.parametrize("name", NAMES)
def test_each_array_damaged_is_refused(name: str, how: str) -> None:
    arrays, said = world.model().to_arrays()
    if how in FLOATS and arrays[name].dtype.kind != "f":
        return
    with pytest.raises(ModelError, match="damaged"):
        read({**arrays, name: {**ANY, **FLOATS}[how](arrays[name])}, said)


@pytest.mark.parametrize("code", [-1, 11, 1 << 40])
def test_an_action_that_is_none_is_refused(code: int) -> None:
    arrays, said = world.model().to_arrays()
    with pytest.raises(ModelError, match="known actions"):
        read({**arrays, "employee.baselines.pair_actions": _last(code)(arrays["employee.baselines.pair_actions"])}, said)


@pytest.mark.parametrize("part", ["signal", "joined", "forest"])
def test_learned_numbers_that_were_altered_score_golden_vectors_otherwise(part: str) -> None:
    arrays, said = world.model().to_arrays()
    name = {"signal": "value", "joined": "rarity", "forest": "path"}[part]
    with pytest.raises(ModelError, match="golden"):
        read({**arrays, f"employee.{part}.{name}": arrays[f"employee.{part}.{name}"] * 1.05}, said)
    with pytest.raises(ModelError, match="golden"):
        rarity = arrays["employee.golden.rarity"]
        read({**arrays, "employee.golden.rarity": np.nextafter(rarity, np.float32(9))}, said)


@pytest.mark.parametrize(
    ("member", "value", "says"),
    [
        ("schema", "0" * 64, "other features"),
        ("schema", None, "other features"),
        ("hypotheses", ["harvest", "nonsense"], "nonsense"),
        ("hypotheses", [], "damaged"),
        ("hypotheses", ["harvest"], "damaged"),
    ],
)
def test_a_manifest_that_does_not_fit_is_refused(member: str, value: Any, says: str) -> None:
    arrays, said = world.model().to_arrays()
    with pytest.raises(ModelError, match=says):
        read(arrays, {**said, member: value})


def test_a_model_of_other_features_is_refused() -> None:
    arrays, said = world.model().to_arrays()
    with pytest.raises(ModelError, match="detector train"):
        Model.from_arrays("employee", EMPLOYEE.names[::-1], arrays, said)


def test_signals_are_those_of_the_hypotheses_and_of_the_forest_once_each() -> None:
    model = world.model()
    assert len(set(model.signals)) == len(model.signals)
    assert {s for h in model.hypotheses for s in h.signals} <= set(model.signals)
    only = signals_of(model.hypotheses[:1])
    assert set(next(h for h in model.hypotheses if h.join == "forest").signals) <= set(only), "it scores every event, on or off"


def test_the_forest_does_not_see_noise() -> None:
    rarity = np.full((2, len(world.model().signals)), 0.1, np.float32)
    assert (forest_input(rarity, world.model().signals) == np.float32(0.3)).all()


def test_a_named_model_knows_its_version() -> None:
    named = world.model().named("v7", "ab" * 32)
    assert (named.version, named.sha256) == ("v7", "ab" * 32)
    assert replace(named, version="", sha256="").to_arrays()[0].keys() == world.model().to_arrays()[0].keys()
