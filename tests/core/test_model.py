"""A model is data: it goes through arrays unharmed, and whatever array is damaged, in whatever way, it is refused before it is used."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest
import world
from mutation import mutate

from detector.core import model
from detector.core.baselines import Baselines
from detector.core.estimators import path_attribution
from detector.core.model import GOLDEN, Model, forest_input, signals_of
from detector.core.signals import accumulators
from detector.core.views import EMPLOYEE
from detector.errors import ModelError

Damage = Callable[[np.ndarray], Any]


def read(arrays: dict[str, Any], said: dict[str, Any]) -> Model:
    return Model.from_arrays("employee", EMPLOYEE.names, arrays, said)


TAILS = ("value", "rarity", "scale", "soft")
PARTS = {
    "baselines": tuple(f.name for f in fields(Baselines)),
    "signal": TAILS, "joined": TAILS, "total": TAILS, "forest": ("feature", "threshold", "path", "expected", "normal", "features"),
    "golden": ("features", "rarity"), "drift": ("edge", "count"), "weights": ("factor",),
}  # fmt: skip
NAMES = [f"employee.{part}.{name}" for part, some in PARTS.items() for name in some]


def test_a_model_read_back_says_the_same() -> None:
    arrays, said = world.model().to_arrays()
    back = read({name: a.copy() for name, a in arrays.items()}, said)
    again, said_again = back.to_arrays()
    assert said_again == said
    assert {n: (a.dtype, a.shape, a.tobytes()) for n, a in again.items()} == {n: (a.dtype, a.shape, a.tobytes()) for n, a in arrays.items()}
    assert back.baselines.to_arrays().keys() == {f.name for f in fields(Baselines)}


def test_baselines_without_any_vocabulary_go_through_arrays_too() -> None:
    blank = Baselines.blank(accumulators.K)
    assert not len(Baselines.from_arrays(blank.to_arrays(), accumulators.K).pairs)


def test_every_array_carries_the_views_name_and_no_objects() -> None:
    arrays, _ = world.model().to_arrays()
    assert sorted(arrays) == sorted(NAMES)
    assert all(a.dtype != object for a in arrays.values())


def test_golden_vectors_are_events_that_say_something() -> None:
    golden = world.model().golden
    assert golden.shape == (GOLDEN, len(EMPLOYEE.names)) and golden.dtype == np.float32
    assert (golden != 0).any(axis=1).all()
    rarity = world.model().rarities(golden).rarity
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


def check_credit() -> None:
    """From a rarity of 2 on, the general hypothesis says what the forest's strangeness is due to; below it nothing is.

    So few days as the world's cannot be that rare, so the model is made to say so.
    """
    made, usual = world.model(), world.model().joined_tails
    made = replace(made, joined_tails=replace(usual, rarity=1.5 * usual.rarity, soft=1.5 * usual.soft))
    said = made.rarities(np.concatenate([seen.features.values for seen in world.pipeline().tracker.observe(world.history())]))
    general = next(d for d, h in enumerate(made.hypotheses) if h.name == "general")
    strange = said.rarity[:, general] >= 2.0
    assert 3 < strange.sum() < 0.2 * len(strange)
    expected, shown = np.zeros_like(said.signal), forest_input(said.signal, made.signals)
    parts = path_attribution.attribute(made.forest, shown[strange])
    for column, signal in enumerate(made.hypotheses[general].signals):
        expected[strange, made.signals.index(signal)] = parts[:, column]
    np.testing.assert_array_equal(said.credit, expected)
    assert (said.credit[strange] != 0).any(axis=1).all()
    harvest = tuple(h for h in made.hypotheses if h.name == "harvest")
    off = replace(made, hypotheses=harvest, joined_tails=replace(made.joined_tails, rarity=9 + usual.rarity))
    assert not off.rarities(made.golden).credit.any(), "nobody asks"


def test_what_is_strange_to_the_forest_is_credited_to_signals() -> None:
    check_credit()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("CREDITED = 2.0", "CREDITED = 1.5"),
        ("CREDITED = 2.0", "CREDITED = 2.5"),
        ("rarity[:, self.wiring.credited] >= CREDITED", "rarity[:, 0] >= CREDITED"),
        ("strange[rows])", "strange[: len(rows)])"),
        ("out[np.ix_(rows, columns)]", "out[np.ix_(rows, columns[::-1])]"),
        ("if self.wiring.credited >= 0:", "if True:"),
    ],
)
def test_a_change_of_the_credit_is_noticed(old: str, new: str, monkeypatch: pytest.MonkeyPatch) -> None:
    mutate(monkeypatch, model, old, new)
    with pytest.raises(AssertionError):
        check_credit()
