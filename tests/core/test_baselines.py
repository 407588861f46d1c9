"""What is usual for the company and its teams, against slow versions from the formulas."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mutation import mutate

from detector.core import baselines
from detector.core.baselines import HOURS, Baselines, learn

PAIRS = (("crm", 2), ("crm", 3), ("hr", 2))


def members(seed: int) -> tuple[list[str], np.ndarray, np.ndarray, list[str], np.ndarray]:
    """Names of teams, counts of pairs and hours; of days the team and the levels. Some members have hardly done anything."""
    rng = np.random.default_rng(seed)
    n, days = 12, 60
    team = rng.choice(["", "a", "b"], n).tolist()
    pairs, hours = rng.exponential(30, (n, 4)) * rng.choice([1, 0.05], (n, 1)), rng.exponential(2, (n, HOURS))
    hours *= (pairs.sum(1) / hours.sum(1))[:, None]
    levels = rng.exponential(0.5, (days, 2))
    levels[rng.integers(0, days, 2)] = 40
    return team, pairs, hours, rng.choice(["", "a", "b", "c"], days).tolist(), levels


def profiles(team: list[str], counts: np.ndarray, name: str | None) -> list[np.ndarray]:
    return [row / row.sum() for t, row in zip(team, counts, strict=True) if row.sum() > 20 and name in (None, t)]


def check(seed: int) -> None:
    team, pairs, hours, day_team, levels = members(seed)
    learned = learn(PAIRS, team, pairs, hours, day_team, levels)
    assert learned.teams == ("", *sorted({*team, *day_team} - {""})) and learned.pairs == PAIRS
    for counts, votes, found in ((pairs, 1, learned.pair_team), (hours, 2, learned.hour_team)):
        everyone = profiles(team, counts, None)
        company = (sum(everyone) + 0.02) / (len(everyone) + 0.02 * counts.shape[1])
        np.testing.assert_allclose(found[0], company)
        for row, name in enumerate(learned.teams[1:], 1):
            mine = profiles(team, counts, name)
            np.testing.assert_allclose(found[row], (sum(mine) + votes * company) / (len(mine) + votes))
    np.testing.assert_array_equal(learned.pair_company, learned.pair_team[0])
    check_levels(learned, day_team, levels)
    Baselines.from_arrays(learned.to_arrays(), 2)


def check_levels(learned: Baselines, day_team: list[str], levels: np.ndarray) -> None:
    """A team's days count once each; ten more are like the company's."""
    for k in range(levels.shape[1]):
        y = levels[:, k]
        y = np.minimum(y, y.mean() + 4 * max(y.std(), 0.3))
        for row, name in enumerate(learned.teams):
            mine = y[[t == name for t in day_team]] if row else y
            more = 10 if row else 0
            n = len(mine) + more
            mean = (mine.sum() + more * y.mean()) / n
            square = ((mine**2).sum() + more * (y**2).mean()) / n
            assert learned.mean[row, k] == pytest.approx(mean)
            assert learned.spread[row, k] == pytest.approx(np.sqrt(square - mean**2) + 0.02)


@settings(derandomize=True, deadline=None, max_examples=25, database=None)
@given(st.integers(0, 2**32 - 1))
def test_baselines_equal_the_slow_version(seed: int) -> None:
    check(seed)


def test_without_any_day_or_busy_member_all_is_equally_likely() -> None:
    learned = learn(PAIRS, ["a"], np.ones((1, 4)), np.ones((1, HOURS)), [], np.zeros((0, 2)))
    np.testing.assert_allclose(learned.pair_team, 0.25)
    np.testing.assert_allclose(learned.hour_team, 1 / HOURS)
    assert (learned.mean == 0).all() and (learned.spread == 0.3).all()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("LEAST_COUNTS = 20.0", "LEAST_COUNTS = 0.5"),
        ("COMPANY_DAYS = 10.0", "COMPANY_DAYS = 9.0"),
        ("CLIP = 4.0", "CLIP = 5.0"),
        ("len(teams), floor=0.02, company_votes=1.0)", "len(teams), floor=0.02, company_votes=2.0)"),
        ("profiles = counts / counts.sum(1, keepdims=True)", "profiles = counts"),
        ("company = (profiles.sum(0) + floor)", "company = profiles.sum(0)"),
        ("- m**2\n", "- 0.9 * m**2\n"),
        ("np.add.at(votes, team, profiles)", "votes[team] += profiles"),
        ("    m[0], v[0] = mean, var\n", ""),
        ("    hour_team[0] = hour_company\n", ""),
    ],
)
def test_a_change_is_noticed(old: str, new: str, monkeypatch: pytest.MonkeyPatch) -> None:
    mutate(monkeypatch, baselines, old, new)
    with pytest.raises(AssertionError):  # any of these histories
        for seed in (1, 2, 3):
            check(seed)
