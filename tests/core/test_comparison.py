"""What is said of two models is what they say of each employee-day; a gate that opens for a sound one closes for each kind of bad one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from detector.core.comparison import Comparison, Days, Limits, Person, Shifted, Signal, Team, compare, correlation, gate, shifted
from detector.core.drift import Shift

NAMES = {1: "ann", 2: "bob", 3: "cid", 4: "dan", 10: "red", 20: "blue"}
LIMITS = Limits(rate=2.0, lost=0.1, team=0.2, correlation=0.5)
ROWS = [  # employee, day, team, rarity by A, by B; the threshold is 2
    (1, 5, 10, 3.0, 2.5), (2, 5, 10, 2.5, 1.5), (3, 5, 20, 0.5, 2.2), (4, 5, 20, 0.1, 0.2),
    (1, 6, 10, 2.0, 2.0), (2, 6, 10, 2.9, 0.9), (3, 6, 20, 1.2, 2.4), (4, 6, 0, 0.1, 0.3),
    (1, 7, 10, 2.1, 0.3), (2, 7, 10, 1.9, 0.2),
]  # fmt: skip


def days(rows: list[tuple[int, int, int, float, float]] = ROWS) -> Days:
    key, day, team, *rarity = (np.array(column) for column in zip(*rows, strict=True))
    return Days(key.astype(np.uint64), day, team.astype(np.uint64), np.stack(rarity, axis=1).astype(np.float32))


def found(rows: list[tuple[int, int, int, float, float]] = ROWS) -> Comparison:
    return compare(days(rows), NAMES, ("aa", "bb"), 10.0, [{}, {}])


def test_it_counts_employee_days_over_the_threshold_and_the_people_they_are_of() -> None:
    said = found()
    assert (said.employee_days, said.employees, said.first_day, said.last_day, said.both) == (10, 4, 5, 7, 2)
    assert [(side.version, side.alerted, side.employees, side.per_1000) for side in said.models] == [("aa", 5, 2, 500), ("bb", 4, 2, 400)]


def test_it_names_whom_one_model_alerts_and_the_other_does_not_the_rarest_first() -> None:
    """Within 1 below the threshold is a near miss."""
    said = found()
    assert said.only_first == (
        Person("bob", "red", 2, 6, (pytest.approx(2.9), pytest.approx(0.9)), True),
        Person("ann", "red", 1, 7, (pytest.approx(2.1), pytest.approx(0.3)), False),
    )
    assert said.only_second == (Person("cid", "blue", 2, 6, (pytest.approx(1.2), pytest.approx(2.4)), True),)
    assert said.only == (2, 1)


def test_lost_is_whom_the_second_model_does_not_even_nearly_alert_on_any_day_that_the_first_did() -> None:
    assert found().lost == 0
    assert found([*ROWS, (4, 8, 20, 2.2, 0.9)]).lost == 1
    assert found([*ROWS, (4, 8, 20, 2.2, 0.9), (4, 9, 20, 2.2, 1.0)]).lost == 0


def test_teams_are_told_with_rates_and_members_the_largest_change_first() -> None:
    assert found().teams == (
        Team("blue", 3, 2, (0, 2), (0, pytest.approx(2000 / 3)), (0, 1), 0),
        Team("red", 6, 2, (5, 2), (pytest.approx(5000 / 6), pytest.approx(2000 / 6)), (2, 1), 0),
        Team("", 1, 1, (0, 0), (0, 0), (0, 0), 0),
    )


def test_the_rank_correlation_is_spearmans() -> None:
    rng = np.random.default_rng(1)
    one = rng.random(200).astype(np.float32)
    both = np.stack([one, np.exp(one)], axis=1)
    assert correlation(both) == pytest.approx(1) and correlation(both * [1, -1]) == pytest.approx(-1)
    other = rng.random(200).astype(np.float32)
    by_ranks = np.corrcoef(np.argsort(np.argsort(one)), np.argsort(np.argsort(other)))[0, 1]
    assert correlation(np.stack([one, other], axis=1)) == pytest.approx(by_ranks)
    assert correlation(both[:20]) is None and correlation(np.ones((200, 2), np.float32)) is None


def test_what_a_small_sample_says_of_drift_is_not_told() -> None:
    shift = Shift(np.array([0.1, 0.9, 0.4]), np.array([0.05, 9.0, 0.01]))
    first = shifted(("work", "export", "score"), shift)
    assert first == {"work": Shifted(0.1, False), "export": Shifted(None, False), "score": Shifted(pytest.approx(0.4), True)}
    said = compare(days(), NAMES, ("aa", "bb"), 10.0, [first, {"score": Shifted(0.6, True), "new": Shifted(0.5, True)}])
    assert said.signals == (
        Signal("score", (0.4, 0.6), (True, True)), Signal("new", (None, 0.5), (False, True)), Signal("work", (0.1, None), (False, False)),
        Signal("export", (None, None), (False, False)),
    )  # fmt: skip


def people(alerted_by: list[tuple[bool, bool]], low: float = 1.5) -> list[tuple[int, int, int, float, float]]:
    """An employee each, of team 10: alerted or not by either model."""
    return [(100 + i, 5, 10, 3.0 if a else low, 3.0 if b else low) for i, (a, b) in enumerate(alerted_by)]


def test_the_gate_is_open_for_the_same_model() -> None:
    assert gate(found(people([(True, True)] * 30 + [(False, False)] * 70)), LIMITS) == []


def test_the_gate_closes_on_too_many_alerts() -> None:
    """Twice the first's 10, and two standard deviations of 20: 28 are allowed."""
    some = [(True, True)] * 10 + [(False, True)] * 18 + [(False, False)] * 400
    open_for_teams = replace(LIMITS, team=1.0)
    assert gate(found(people(some)), open_for_teams) == []
    assert "29 employee-days alerted, where 28 are allowed" in gate(found(people([*some, (False, True)])), open_for_teams)[0]
    assert gate(found(people([*some, (False, True), *[(False, False)] * 600])), open_for_teams) == [], "the budget promises more"


def test_the_gate_closes_on_people_who_are_lost() -> None:
    """A tenth of 20, and two standard deviations of 2: 4 may be lost."""
    kept, rest = [(True, True)] * 16, [(False, False)] * 80
    assert gate(found(people([*kept, *[(True, False)] * 4, *rest], low=0.5)), LIMITS) == []
    assert "5 of 21 employees" in gate(found(people([*kept, *[(True, False)] * 5, *rest], low=0.5)), LIMITS)[0]
    assert gate(found(people([*kept, *[(True, False)] * 5, *rest], low=1.5)), LIMITS) == [], "near misses are not lost"


def test_a_team_that_the_first_flags_as_a_whole_is_not_lost_but_learned() -> None:
    """The second knows the tool that they got; of the other team's people one is lost, which chance grants."""
    team = [(200 + i, 5, 20, 3.0, 0.5) for i in range(6)] + [(210 + i, 5, 20, 0.5, 0.5) for i in range(6)]
    some = people([(True, True)] * 4 + [(True, False)] + [(False, False)] * 95, low=0.5)
    assert gate(found([*some, *team]), LIMITS) == []
    assert "7 of 11 employees" in gate(found([*some, *team]), replace(LIMITS, team=0.5))[0]


def test_the_gate_closes_on_a_team_that_is_flagged_as_a_whole() -> None:
    flagged, rest = people([(False, True)] * 5 + [(False, False)] * 19), [(1000 + i, 5, 20, 0.5, 0.5) for i in range(100)]
    limits = replace(LIMITS, rate=100)
    assert gate(found([*flagged, *rest]), limits) == ["team red: 5 of its 24 employees more are alerted (gate.team 0.2)"]
    assert gate(found([*people([(False, True)] * 4 + [(False, False)] * 4), *rest]), limits) == [], "four are no whole team"
    everywhere = [(1000 + i, 5, 20, 0.5, 3.0 if i < 15 else 0.5) for i in range(100)]
    assert gate(found([*flagged, *everywhere]), limits) == [], "of the whole company nearly as many are: that is for gate.rate"


def test_the_gate_closes_on_another_order() -> None:
    rng = np.random.default_rng(2)
    rows = [(i, 5, 10, a, b) for i, (a, b) in enumerate(rng.random((200, 2)).tolist())]
    assert len(gate(found(rows), LIMITS)) == 1 and "rank correlation" in gate(found(rows), LIMITS)[0]
    assert gate(found(rows), replace(LIMITS, correlation=-1.0)) == []
