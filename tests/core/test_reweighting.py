"""Verdicts bend the weights of hypotheses a little, within bounds, for reasons that can be told, and hide nobody."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import world
from day_rows import as_days, rows
from hypothesis import given, settings
from hypothesis import strategies as st
from mutation import mutate

from detector.core import refresh, reweighting
from detector.core.calibration import least_value, once_each, threshold
from detector.core.combination import Wiring
from detector.core.estimators import tails
from detector.core.frame import DAY
from detector.core.model import LEAST_WEIGHT, MOST_WEIGHT, Model
from detector.core.pipeline import Pipeline, Policy
from detector.core.reweighting import STRENGTH, alone, explained, factors, settled, votes
from detector.core.verdicts import KINDS, Case, Verdict
from detector.core.views import EMPLOYEE

NAMES = ("harvest", "foreign", "export", "repeat")
TIME = 1_790_000_000_000
SHARES = st.dictionaries(st.sampled_from(NAMES), st.floats(0.1, 1.0), min_size=1, max_size=3)


def a_case(kind: str, actor: str, shares: dict[str, float], number: int = 0) -> Case:
    identity = f"{number:032x}"
    return Case(Verdict(identity, kind, "Ann", TIME), actor, TIME, identity, shares)  # type: ignore[arg-type]


CASES = st.lists(st.builds(a_case, st.sampled_from(KINDS), st.sampled_from(["e1", "e2", "e3", "e4"]), SHARES), max_size=30)


def one_each(kind: str, shares: dict[str, float], people: int, first: int = 0) -> list[Case]:
    return [a_case(kind, f"p{first + i}", shares) for i in range(people)]


def of(cases: list[Case]) -> dict[str, float]:
    return dict(zip(NAMES, factors(cases, NAMES).tolist(), strict=True))


def test_without_verdicts_nothing_changes_to_the_last_bit() -> None:
    model = world.model()
    assert (factors([], NAMES) == 1).all() and (model.weights == 1).all()
    undecided = [*one_each("duplicate", {"harvest": 1.0}, 50), *one_each("needs_information", {"foreign": 1.0}, 50)]
    assert (factors(undecided, NAMES) == 1).all()
    plain = Wiring.of(model.hypotheses, model.signals, model.names)
    assert model.wiring.weight.tobytes() == plain.weight.tobytes() == np.array([h.weight for h in model.hypotheses]).tobytes()


@settings(derandomize=True, deadline=None, max_examples=200, database=None)
@given(CASES)
def test_factors_are_bounded_and_do_not_depend_on_who_the_employees_are(cases: list[Case]) -> None:
    check_factors(cases)


def check_factors(cases: list[Case]) -> None:
    found = factors(cases, NAMES)
    assert ((found >= LEAST_WEIGHT) & (found <= MOST_WEIGHT)).all()
    other = {"e1": "x9", "e2": "e1", "e3": "zz", "e4": "a"}
    renamed = [Case(c.verdict, other[c.actor], c.time, c.incident_id, c.shares) for c in reversed(cases)]
    np.testing.assert_allclose(factors(renamed, NAMES), found, rtol=1e-12)
    named = {name for c in cases for name in c.shares}
    assert all(f == 1 for name, f in zip(NAMES, found.tolist(), strict=True) if name not in named)


def test_those_that_find_are_raised_and_those_that_cry_wolf_are_lowered() -> None:
    found = of([*one_each("true_positive", {"harvest": 0.7, "foreign": 0.3}, 20), *one_each("false_positive", {"export": 1.0}, 30, 100)])
    assert found["harvest"] > found["foreign"] > 1 > found["export"] >= LEAST_WEIGHT
    assert found["repeat"] == 1
    many = of([*one_each("true_positive", {"harvest": 1.0}, 900), *one_each("false_positive", {"export": 1.0}, 900, 1000)])
    assert many["harvest"] == MOST_WEIGHT and many["export"] == LEAST_WEIGHT


def test_few_verdicts_move_little() -> None:
    for kind, people in (("false_positive", 1), ("true_positive", 1), ("false_positive", 3)):
        found = of([*one_each(kind, {"harvest": 1.0}, people), *one_each("true_positive", {"foreign": 1.0}, 1, 50)])
        assert 0.87 < found["harvest"] < 1.1, (kind, people)


def test_what_was_expected_counts_half_of_what_was_false() -> None:
    right = one_each("true_positive", {"foreign": 1.0}, 10, 500)
    expected, false = (of([*right, *one_each(kind, {"harvest": 1.0}, 10)])["harvest"] for kind in ("benign_expected", "false_positive"))
    assert false < expected < 1


def test_one_employee_has_one_vote_however_many_alerts_they_had() -> None:
    check_votes()


def check_votes() -> None:
    flood = [a_case("false_positive", "mallory", {"harvest": 1.0}, i) for i in range(5000)]
    right = one_each("true_positive", {"foreign": 1.0}, 5)
    assert of([*flood, *right]) == pytest.approx(of([*flood[:1], *right]))
    each, total = votes([*flood, *right, a_case("true_positive", "mallory", {"harvest": 0.5, "export": 0.5})])
    assert (each["harvest"].right, each["harvest"].false, total.right, total.false) == (0.5, pytest.approx(1), 6, pytest.approx(1))


def test_one_votes_worth_is_what_the_docstring_says() -> None:
    right, false = one_each("true_positive", {"foreign": 1.0}, 6), one_each("false_positive", {"harvest": 1.0}, 4, 50)
    usual = 7 / 12
    own = STRENGTH * usual / (4 + STRENGTH)
    assert of([*right, *false])["harvest"] == pytest.approx(np.sqrt(own / (1 - own) / (usual / (1 - usual))))


@cache
def day_scores(weights: tuple[float, ...]) -> tuple[np.ndarray, np.ndarray]:
    """(keys, S) of the world's employee-days under these weights."""
    model = replace(world.model(), weights=np.array(weights))
    pipeline = Pipeline(EMPLOYEE, model, world.context(), Policy(world.BUDGET), 1000)
    days = [d for batch in world.batches() for d in pipeline.process(batch).daily if d.day >= world.trained()[1].held_from // DAY]
    return np.concatenate([d.key for d in days]), np.concatenate([d.column("score") for d in days])


def weighed(weights: np.ndarray) -> Model:
    key, score = day_scores(tuple(weights.tolist()))
    return replace(world.model(), weights=weights, total_tails=tails.fit(once_each(key, score[:, None])))


@cache
def large() -> Model:
    """The world's model, calibrated as by a company of many employee-days."""
    model, rng = world.model(), np.random.default_rng(1)
    scale = np.array([0.06 if h.join == "forest" else 0.4 for h in model.hypotheses])
    joined, total = (tails.fit(rng.exponential(each, (50_000, np.size(each)))) for each in (scale, 0.45))
    return replace(model, joined_tails=joined, total_tails=total)


def test_s_is_calibrated_with_the_weights() -> None:
    model = world.model()
    wanted = np.linspace(LEAST_WEIGHT, MOST_WEIGHT, len(model.weights))
    made = settled(model, wanted, weighed)
    key, score = day_scores(tuple(made.weights.tolist()))
    rarity = made.total(score)
    reached = [float((rarity >= r).mean()) for r in (0.5, 1.0)]
    assert reached == pytest.approx([10**-0.5, 0.1], rel=0.35)
    assert len(key) == len(score) and made.total_tails.value.tobytes() != model.total_tails.value.tobytes()


@settings(derandomize=True, deadline=None, max_examples=25, database=None)
@given(st.lists(st.floats(LEAST_WEIGHT, MOST_WEIGHT), min_size=13, max_size=13))
def test_a_hypothesis_that_could_alert_alone_still_can(wanted: list[float]) -> None:
    check_alone(np.array(wanted))


def check_alone(wanted: np.ndarray) -> None:
    model = large()
    assert len(wanted) == len(model.weights) and alone(model).sum() > 6

    def grown(weights: np.ndarray) -> Model:
        """S as if each employee-day rested on all hypotheses alike: it grows with the mean of the weights."""
        by, total = float(np.mean(weights)) ** (2 / 3), model.total_tails
        return replace(model, weights=weights, total_tails=replace(total, value=total.value * by, scale=total.scale * by))

    made = settled(model, wanted, grown)
    assert (alone(made) | ~alone(model)).all()
    assert ((made.weights >= LEAST_WEIGHT) & (made.weights <= MOST_WEIGHT)).all()
    assert ((made.weights >= 1) == (wanted >= 1)).all() or (made.weights == 1).all()


def test_alone_is_what_an_event_of_one_hypothesis_alone_would_reach() -> None:
    model = large()
    least = float(least_value(model.total_tails, threshold(1.0)))
    highest = model.joined_tails.rarities(np.full((1, len(model.hypotheses)), 1e6, np.float32))[0]
    for d, able in enumerate(alone(model).tolist()):
        by_hand = (model.hypotheses[d].weight * float(highest[d]) ** 1.5) ** (1 / 1.5)
        if model.hypotheses[d].join == "value":
            assert able == (by_hand >= least)
        else:
            assert by_hand >= least or not able


def test_each_weight_is_explained_in_a_line() -> None:
    model = world.model()
    cases = [*one_each("true_positive", {"harvest": 1.0}, 3), *one_each("false_positive", {"harvest": 0.5, "foreign": 0.5}, 2, 50)]
    made = replace(model, weights=factors(cases, [h.name for h in model.hypotheses]))
    said = dict(line.split(": ", 1) for line in explained(made, cases))
    assert said.keys() == {h.name for h in model.hypotheses}
    assert said["harvest"].startswith("1.0") and "of 4.0 votes on it 75% were right (all: 60% of 5.0)" in said["harvest"]
    assert said["export"] == "1, no verdict is about it"


def test_weights_go_with_the_model_and_bounds_are_checked() -> None:
    model = world.model()
    made = replace(model, weights=np.linspace(LEAST_WEIGHT, MOST_WEIGHT, len(model.weights)))
    arrays, said = made.to_arrays()
    back = Model.from_arrays("employee", EMPLOYEE.names, arrays, said)
    assert back.wiring.weight.tolist() == [h.weight * f for h, f in zip(made.hypotheses, made.weights, strict=True)]
    for bad in (0.4999, 2.001, np.nan, 0.0, -1.0):
        wrong = made.weights.copy()
        wrong[3] = bad
        with pytest.raises(Exception, match="weights"):
            Model.from_arrays("employee", EMPLOYEE.names, {**arrays, "employee.weights.factor": wrong}, said)


@pytest.mark.parametrize(
    ("old", "new", "check"),
    [
        ("math.sqrt(ratio), LEAST_WEIGHT)", "math.sqrt(ratio), 0.1)", "factors"),
        ("total[kind] += worth / len(some)", "total[kind] += worth", "votes"),
        ("[kind] += worth * share / len(some)", "[kind] += worth * share", "votes"),
        ("if (alone(made) | ~before).all():", "if True:", "alone"),
    ],
)
def test_a_change_of_the_rules_is_noticed(old: str, new: str, check: str, monkeypatch: pytest.MonkeyPatch) -> None:
    mutate(monkeypatch, reweighting, old, new)
    with pytest.raises(AssertionError):
        if check == "factors":
            check_factors([*one_each("true_positive", {"harvest": 1.0}, 900), *one_each("false_positive", {"export": 1.0}, 900, 1000)])
        elif check == "votes":
            check_votes()
        else:
            check_alone(np.array([LEAST_WEIGHT] * 6 + [MOST_WEIGHT] * 7))


def test_a_refresh_keeps_the_weights_and_what_drift_is_held_against() -> None:
    model = replace(world.model(), weights=np.linspace(LEAST_WEIGHT, MOST_WEIGHT, len(world.model().weights)))
    made = refresh.refresh(model, as_days(rows(1, range(20_700, 20_709))))
    assert made.version != model.version and made.joined_tails.value.tobytes() != model.joined_tails.value.tobytes()
    assert made.weights.tobytes() == model.weights.tobytes() and made.reference.same(model.reference)
