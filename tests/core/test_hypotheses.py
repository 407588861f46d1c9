"""Contracts: a file in a family's folder is found under its own name and keeps the family's promises. Nothing is registered anywhere."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from types import ModuleType

import numpy as np
import pytest
from histories import as_frame, baselines, bursts

from detector.core import estimators, formats, hypotheses, signals
from detector.core.context import OFF_WITHOUT
from detector.core.events import ACTIONS, EventBatch, Records
from detector.core.features import FeatureBatch
from detector.core.hypotheses import Hypothesis, Reading, about, find, lately, names, span, usual
from detector.core.state import Column, KeyedState
from detector.core.views import EMPLOYEE


def family(package: ModuleType) -> list[ModuleType]:
    return [importlib.import_module(f"{package.__name__}.{m.name}") for m in pkgutil.iter_modules(package.__path__)]


def name(module: ModuleType) -> str:
    return module.__name__.rsplit(".", 1)[-1]


# --- signals


@pytest.mark.parametrize("module", family(signals), ids=name)
def test_a_family_of_signals_has_columns_features_and_observes(module: ModuleType) -> None:
    assert all(isinstance(c, Column) for c in module.COLUMNS)
    assert module.GIVES and all(isinstance(g, str) for g in module.GIVES)
    assert list(inspect.signature(module.observe).parameters) == ["state", "slots", "frame", "baselines", "out"]
    assert module.__doc__ and module in EMPLOYEE.signals, "a view uses it"


def test_families_read_only_what_families_before_them_give() -> None:
    given: set[str] = set()
    for module in EMPLOYEE.signals:
        assert set(getattr(module, "NEEDS", ())) <= given, f"{name(module)} comes too early"
        assert given.isdisjoint(module.GIVES), f"{name(module)} gives what another gives"
        given |= set(module.GIVES)
    assert EMPLOYEE.names == tuple(g for m in EMPLOYEE.signals for g in m.GIVES)


@pytest.mark.parametrize("module", EMPLOYEE.signals, ids=name)
def test_a_family_touches_only_its_own_state_columns(module: ModuleType) -> None:
    """Given none but those, it works; and what it writes are its own features."""
    events = bursts(np.random.default_rng(1), 400)
    frame, state = as_frame(events), KeyedState(module.COLUMNS, 64)
    ((_, slots),) = state.runs(np.array([e.key for e in events], np.uint64), frame.time)
    out = FeatureBatch.zeros(EMPLOYEE.names, len(events))
    out.values[:] = np.random.default_rng(1).random(out.values.shape)
    before = out.values.copy()
    module.observe(state, slots, frame, baselines(), out)
    written = {EMPLOYEE.names[j] for j in np.flatnonzero((out.values != before).any(axis=0))}
    assert written and written <= set(module.GIVES)
    assert np.isfinite(out.values).all()
    if hasattr(module, "daily"):
        told = module.daily(state, np.unique(slots))
        assert told and all(len(column) == len(np.unique(slots)) and column.dtype != object for column in told.values())


# --- hypotheses


def test_every_file_is_a_hypothesis_and_is_found() -> None:
    assert names() == tuple(sorted(name(m) for m in family(hypotheses)))
    assert len(names()) == 13 and {"export", "foreign", "general", "harvest", "masquerade", "off_hours", "snoop"} <= set(names())


@pytest.mark.parametrize("which", names())
def test_a_hypothesis_keeps_the_contract(which: str) -> None:
    h = find(which)
    assert isinstance(h, Hypothesis) and h.name == which and h.weight > 0
    assert set(h.signals) <= set(EMPLOYEE.names) and len(set(h.signals)) == len(h.signals)
    assert set(h.needs) <= OFF_WITHOUT.keys()
    assert h.join in ("max", "min", "sum", "value", "forest")
    assert h.join == "forest" or 1 <= len(h.signals) <= 3
    assert h.join != "value" or len(h.signals) == 1
    module = importlib.import_module(f"detector.core.hypotheses.{which}")
    assert module.__doc__, "what an investigator would suspect"


@pytest.mark.parametrize("which", names())
def test_a_hypothesis_says_a_sentence_from_any_readings(which: str) -> None:
    h = find(which)
    for signal in h.signals:
        for own, team in [(None, None), (0.4, 1.2), (0.0, 0.0)]:
            text = h.says([Reading(signal, 1234.5, own, team)] * min(3, len(h.signals)))
            assert text[0].islower() and not text.endswith(".") and "None" not in text and "nan" not in text


def test_an_unknown_hypothesis_is_named_with_those_there_are() -> None:
    with pytest.raises(KeyError, match=r"no hypothesis is called 'snooop'.*export.*snoop"):
        find("snooop")


@pytest.mark.parametrize("join", ["max", "min", "sum", "value"])
def test_joins_do_what_they_say(join: str) -> None:
    rarities, values = np.random.default_rng(2).uniform(0, 3, (2, 50, 3)).astype(np.float32)
    if join == "value":
        assert Hypothesis("x", ("s",), join, str).joined(rarities[:, :1], values[:, :1]).tolist() == values[:, 0].tolist()  # type: ignore[arg-type]
        return
    joined = Hypothesis("x", ("s", "t", "u"), join, str).joined(rarities, values)  # type: ignore[arg-type]
    expected = {"max": max, "min": min, "sum": lambda row: sum(max(r - 0.5, 0) for r in row)}[join]
    np.testing.assert_allclose(joined, [expected(row) for row in rarities.tolist()], rtol=1e-6)
    assert joined.dtype == np.float32


@pytest.mark.parametrize(
    ("number", "said"), [(0, "0"), (0.44, "0.4"), (1.02, "1"), (2.5, "2.5"), (9.4, "9.4"), (9.6, "10"), (99.4, "99"), (1234.5, "1,234")]
)
def test_numbers_are_said_as_a_person_would(number: float, said: str) -> None:
    assert about(number) == said


def test_what_is_usual_leaves_out_what_is_not_known() -> None:
    assert usual(Reading("x", 1, 0.4, 1.2)) == "usually 0.4, the team 1.2"
    assert usual(Reading("x", 1, None, 1.2)) == "usually the team 1.2"
    assert usual(Reading("x", 1, 3, None)) == "usually 3"
    assert usual(Reading("x", 1, None, None)) == ""
    assert usual(Reading("x", 1, 0, 0.0949)) == "usually under 0.1, the team under 0.1", "0 would be read as never"


def test_spans_are_said_in_words() -> None:
    assert [span(Reading(f"a.{h}.own", 1, 0, 0)) for h in ("1.5h", "16h", "6d")] == [
        "in the last few hours", "in the last day or so", "in the last week or so"]  # fmt: skip
    assert span(Reading("off_hours", 1, None, None)) == "at once"


def test_what_happened_just_now_is_not_said_to_be_of_a_week() -> None:
    week, day, other = Reading("a.6d.own", 1.0, 0, 0), Reading("a.16h.own", 0.8, 0, 0), Reading("b.1.5h.own", 1.0, 0, 0)
    assert lately([week, day]) is day and lately([week, other]) is week, "nearly all of the same evidence"
    assert lately([week, day._replace(value=0.79)]) is week


# --- formats and estimators


@pytest.mark.parametrize("module", family(formats), ids=name)
def test_a_format_decodes_records_into_a_batch_and_refuses_rubbish(module: ModuleType) -> None:
    good = b'{"time": 1790000000000, "actor": "a", "action": "read", "resource": "r"}'
    n, data = 3, good + b"rubbish" + good
    value = np.array([[0, len(good)], [len(good), len(good) + 7], [len(good) + 7, len(data)]])
    nothing = np.full((n, 2), -1)
    records = Records("t", 4, data, np.arange(n) + 10, np.zeros(n, np.int64), None, value, nothing, np.zeros(n, np.bool_))
    batch = module.decode(records, module.Limits())
    assert isinstance(batch, EventBatch) and (batch.topic, batch.partition) == ("t", 4)
    assert len(batch) + len(batch.dead) == n
    if name(module) == "native":
        assert batch.offset.tolist() == [10, 12] and [d.offset for d in batch.dead] == [11]
        assert batch.numbers("action").tolist() == [ACTIONS.index("read")] * 2


@pytest.mark.parametrize("module", [m for m in family(estimators) if hasattr(m, "fit")], ids=name)
def test_an_estimator_fits_and_goes_through_arrays(module: ModuleType) -> None:
    X = np.random.default_rng(1).exponential(1, (200, 3)).astype(np.float32)
    fitted = module.fit(X, 3) if "seed" in inspect.signature(module.fit).parameters else module.fit(X)
    arrays = fitted.to_arrays()
    assert arrays and all(isinstance(a, np.ndarray) and a.dtype != object for a in arrays.values())
    told = (3,) if "tails" in inspect.signature(type(fitted).from_arrays).parameters else ()
    read = type(fitted).from_arrays(arrays, *told)
    assert all(np.array_equal(a, arrays[n]) for n, a in read.to_arrays().items())
    assert "Reference:" in module.__doc__ or "view of" in module.__doc__, "it names where it comes from"
