"""What is usual for the company and its teams, against slow versions from the formulas; every change to them is noticed."""

from __future__ import annotations

from dataclasses import fields, replace
from types import ModuleType

import numpy as np
import pytest
from day_rows import HOURS, PLACES, Row, a_row, as_days, rows
from hypothesis import given, settings
from hypothesis import strategies as st
from mutation import mutate
from slow_baselines import slow_baselines

from detector.core import baselines, levels
from detector.core.baselines import Baselines, learn
from detector.core.signals import accumulators

K = accumulators.K


def differing(some: list[Row]) -> set[str]:
    """Arrays that are not as the slow version has them."""
    learned, expected = learn(as_days(some), K).to_arrays(), slow_baselines(some)
    assert learned.keys() == expected.keys()
    exact = {name for name, a in learned.items() if a.dtype.kind == "u"}
    wrong = {name for name in exact if learned[name].tolist() != expected[name].tolist()}
    for name in learned.keys() - exact:
        one, other = learned[name], expected[name]
        if (one.shape != other.shape and one.size + other.size) or not np.allclose(one.ravel(), other.ravel(), rtol=1e-6, atol=1e-9):
            wrong.add(name)
    return wrong


def crowd(words: int, kinds: int) -> list[Row]:
    """A day on which many work with many different things, some of them equally often."""
    rng = np.random.default_rng(3)
    one = a_row(rng, 20_000, 1, 71)
    out = []
    for i in range(words // PLACES):
        pair = dict.fromkeys(range(1 + i * PLACES, 1 + (i + 1) * PLACES), float(rng.choice([0.125, 0.25])))
        ticket = (600 + i % kinds if rng.random() < 0.8 else 600, 1.0, 1.0)
        out.append(replace(one, key=i + 1, pair=pair, step=pair, hours=[1 / 64] * HOURS, purposes=[ticket]))
    return out


@settings(derandomize=True, deadline=None, max_examples=25, database=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 30))
def test_baselines_equal_the_slow_version(seed: int, days: int) -> None:
    some = rows(seed, range(20_000, 20_000 + days))
    if some:
        assert differing(some) == set()
        learned = learn(as_days(some), K)
        Baselines.from_arrays(learned.to_arrays(), K)
        for shares in (learned.pair_company[None], learned.pair_team, learned.step_team, learned.hour_team):
            np.testing.assert_allclose(shares.sum(axis=1), 1, atol=1e-6)


def test_the_records_reach_every_case() -> None:
    some = [row for seed in range(4) for row in rows(seed, range(20_000, 20_010))]
    assert {bool(row.pair) for row in some} == {bool(row.revoked) for row in some} == {False, True}
    assert {len(row.purposes) for row in some} == {0, 1, 2, 3} and 0 in {row.team for row in some}
    assert len({(row.key, row.team) for row in some}) > len({row.key for row in some}), "some change teams"


def test_vocabularies_are_bounded_and_hold_what_most_work_with() -> None:
    some = crowd(5000, 100)
    learned = learn(as_days(some), K)
    assert (len(learned.pairs), len(learned.steps), len(learned.purposes)) == (2048, 4096, 64)
    expected = slow_baselines(some)
    for name in ("pairs", "steps", "purposes"):
        assert getattr(learned, name).tolist() == expected[name].tolist()
    np.testing.assert_allclose(learned.pair_company, expected["pair_company"])


def test_where_nobody_was_active_or_busy_all_is_equally_likely() -> None:
    learned, blank = learn([], K), Baselines.blank(K)
    assert all(np.array_equal(getattr(learned, f.name), getattr(blank, f.name)) for f in fields(Baselines))
    Baselines.from_arrays(blank.to_arrays(), K)
    idle = [replace(row, pair={}, step={}, hours=[0.0] * HOURS, purposes=[], revoked=0) for row in rows(5, [1])]
    learned = learn(as_days(idle), K)
    assert not len(learned.pairs) and not len(learned.purposes) and not len(learned.revoked_use)
    np.testing.assert_allclose(learned.hour_team, 1 / HOURS)
    np.testing.assert_allclose(learned.pair_team, 1)
    assert (blank.mean == 0).all() and (blank.spread == 0.3).all() and blank.repeat.tolist() == [[0, 1]]


DAMAGES = {
    "teams": lambda b: replace(b, teams=np.append(np.uint64(1), b.teams[1:])),
    "pairs": lambda b: replace(b, pairs=b.pairs[::-1].copy()),
    "steps": lambda b: replace(b, steps=np.repeat(b.steps[:1], len(b.steps))),
    "purposes": lambda b: replace(b, purposes=b.purposes[::-1].copy()),
    "pair_company": lambda b: replace(b, pair_company=0 * b.pair_company),
    "pair_team": lambda b: replace(b, pair_team=-b.pair_team),
    "step_company": lambda b: replace(b, step_company=0 * b.step_company),
    "step_team": lambda b: replace(b, step_team=0 * b.step_team),
    "hour_team": lambda b: replace(b, hour_team=0 * b.hour_team),
    "spread": lambda b: replace(b, spread=0 * b.spread),
    "busy": lambda b: replace(b, busy=-1 - b.busy),
    "repeat": lambda b: replace(b, repeat=-1 - b.repeat),
    "purpose": lambda b: replace(b, purpose=-1 - b.purpose),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_numbers_that_cannot_be_are_refused_by_name(name: str) -> None:
    learned = learn(as_days(rows(2, range(5))), K)
    with pytest.raises(ValueError, match=name):
        Baselines.from_arrays(DAMAGES[name](learned).to_arrays(), K)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("MAX_PAIRS, MAX_STEPS, MAX_PURPOSES = 2048", "MAX_PAIRS, MAX_STEPS, MAX_PURPOSES = 2047"),
        ("MAX_PURPOSES = 2048, 4096", "MAX_PURPOSES = 2048, 4095"),
        ("MAX_PURPOSES = 2048, 4096, 64", "MAX_PURPOSES = 2048, 4096, 63"),
        ("(found := distinct(team_key)[0])[found != COMPANY]", "(found := distinct(team_key)[0])"),
        ("voters = voters_of(days) if", "voters = voters_of(days[:1]) if"),
        ("voter_team, len(teams), MAX_STEPS)", "voter_team, len(teams), MAX_PAIRS)"),
        ("np.argsort(-np.bincount(which, minlength=len(kinds)),", "np.argsort(np.bincount(which, minlength=len(kinds)),"),
        ("LEAST_PURPOSES = 10", "LEAST_PURPOSES = 9"),
        ("REVOKED_HALF_LIFE = 4.0", "REVOKED_HALF_LIFE = 5.0"),
        ("int((totals > 0).sum())", "len(totals)"),
        ("np.argsort(-totals,", "np.argsort(totals,"),
        ("row = np.full(len(words), len(chosen), np.int64)", "row = np.full(len(words), 0, np.int64)"),
        ("company = votes.sum(0) + 0.02", "company = votes.sum(0) + 0.03"),
        ("    company /= company.sum()\n    by_team", "    by_team"),
        ("/ (votes.sum(1, keepdims=True) + 1.0)", "/ (votes.sum(1, keepdims=True) + 2.0)"),
        ("by_team = (votes + company)", "by_team = (votes + 2 * company)"),
        ("    by_team[0] = company\n", ""),
        ("company = 0.9 * votes", "company = 0.8 * votes"),
        ("+ 0.1 / HOURS", "+ 0.2 / HOURS"),
        ("(votes + 2.0 * company)", "(votes + 1.0 * company)"),
        ("(votes.sum(1, keepdims=True) + 2.0)", "(votes.sum(1, keepdims=True) + 1.0)"),
        ("    company /= company.sum()\n    out", "    out"),
        ("    out[0] = company\n", ""),
        ("- mean**2\n", "- 0.9 * mean**2\n"),
        ("(prior_var + prior_mean**2)", "prior_var"),
        ("(total + prior * prior_mean)", "total"),
        ("    by_team[0] = by_team.sum(0)\n", ""),
        ("squares[:1], 0.0, 1.0, 1.0)", "squares[:1], 0.0, 1.0, 2.0)"),
        ("all_mean, all_var, COMPANY_DAYS)", "all_mean, all_var, 1.0)"),
        ("used = kind != 0", "used = kind != 1"),
        ("sums[:, 0] = sums.sum(1)", "sums[:, 0] = sums[:, 0]"),
        ("x**power,", "x,"),
        ("sums[2, 0], 0.0, 1.0, 1.0)", "sums[2, 0], 0.0, 1.0, 2.0)"),
        ("((0, reach[used]), (2, age[used]))", "((0, age[used]), (2, reach[used]))"),
        ("(resource != 0) & (team_key != COMPANY)", "(resource != 0)"),
        ("(resource != 0) & (team_key != COMPANY)", "(team_key != COMPANY)"),
        ("day.max() - day[used]", "day[used].max() - day[used]"),
        ("day.max() - day[used]", "day[used] - day.min()"),
    ],
)
def test_a_change_is_noticed(old: str, new: str, monkeypatch: pytest.MonkeyPatch) -> None:
    check_change(baselines, old, new, monkeypatch)


LEVELS = [
    ("COMPANY_DAYS = 10.0", "COMPANY_DAYS = 9.0"),
    ("CLIP = 4.0", "CLIP = 5.0"),
    ("MOST_BUSY = 2, 3,", "MOST_BUSY = 1, 3,"),
    ("MOST_BUSY = 2, 3,", "MOST_BUSY = 2, 4,"),
    ("2, 3, 2.0,", "2, 3, 1.0,"),
    ("2.0, 0.2, 1.5\n", "2.0, 0.1, 1.5\n"),
    ("0.2, 1.5\n", "0.2, 0.1\n"),
    ("BUSY_BEYOND * spread, 0.0,", "BUSY_BEYOND * spread, -9.0,"),
    ("NORMAL = 1.4826", "NORMAL = 1.0"),
    ("START_SPREAD = 0.3", "START_SPREAD = 0.9"),
    ("    m[0], v[0] = mean, var\n", ""),
    ("- m**2\n", "- 0.9 * m**2\n"),
    ("np.sqrt(np.maximum(v, 0)) + 0.02", "np.sqrt(np.maximum(v, 0)) + 0.03"),
    ("2 * members[there, g] >= np.median(members[there, g])", "members[there, g] > 0"),
    ("middle = np.median(before, axis=0)", "middle = before.mean(0)"),
    ("NORMAL * np.median(np.abs", "NORMAL * np.mean(np.abs"),
    ("np.append(len(levels), members[known])", "np.append(0, members[known])"),
    ("min(float(levels[i, k]), limit[k])", "max(float(levels[i, k]), limit[k])"),
    ("        _add_squares(some, middle, around)", "        pass"),
    ("            column.sort()\n", ""),
    ("np.sort(levels.T, axis=1)", "np.sort(levels.T, axis=1)[:, ::-1]"),
]


@pytest.mark.parametrize(("old", "new"), LEVELS)
def test_a_change_of_levels_is_noticed(old: str, new: str, monkeypatch: pytest.MonkeyPatch) -> None:
    check_change(levels, old, new, monkeypatch)


def check_change(module: ModuleType, old: str, new: str, monkeypatch: pytest.MonkeyPatch) -> None:
    mutate(monkeypatch, module, old, new)
    late = [replace(row, revoked=0) for row in rows(9, [20_006])]
    thin = rows(5, range(20_000, 20_008)) + [replace(row, level=[9.0] * K) for row in rows(5, [20_008])[:1]]
    histories = [thin, rows(1, range(20_000, 20_005)), rows(2, range(20_000, 20_005)), rows(3, range(20_000, 20_005)) + late]
    with pytest.raises((AssertionError, ValueError)):
        test_where_nobody_was_active_or_busy_all_is_equally_likely()
        assert not any(map(differing, histories))
        test_vocabularies_are_bounded_and_hold_what_most_work_with()
