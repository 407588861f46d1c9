"""No team moves farther in a night than it may; what moves less is left alone to the last bit; a real change arrives all the same."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest
from day_rows import as_days, rows
from mutation import mutate

from detector.core import restraint
from detector.core.baselines import Baselines, learn
from detector.core.restraint import MOST_SHARE, MOST_SHIFT, MOST_SPREAD, restrained
from detector.core.signals import accumulators

SHARES = ("pair", "step", "hour")


def learned(seed: int) -> Baselines:
    return learn(as_days(rows(seed, range(20_000, 20_010))), accumulators.K)


def distance(one: Baselines, other: Baselines, name: str) -> np.ndarray:
    """Total variation of each team's shares, word by word; both have the same teams."""
    words = {"pair": "pairs", "step": "steps"}.get(name)
    out = []
    for a, b in zip(getattr(one, f"{name}_team")[1:], getattr(other, f"{name}_team")[1:], strict=True):
        if words is None:
            out.append(np.abs(a - b).sum() / 2)
            continue
        mine, theirs = (dict(zip(getattr(x, words).tolist(), y, strict=False)) for x, y in ((one, a), (other, b)))
        known = set(getattr(other, words).tolist())
        rest = 1 - sum(share for word, share in mine.items() if word in known)
        out.append((sum(abs(mine.get(word, 0) - theirs[word]) for word in known) + abs(rest - b[-1])) / 2)
    return np.array(out)


def check_bounds() -> None:
    before, after = learned(1), learned(2)
    assert before.teams.tolist() != after.teams.tolist() or len(before.teams) > 2
    common = np.isin(after.teams[1:], before.teams[1:])
    after = replace(after, teams=np.append(after.teams[:1], after.teams[1:]))
    held, moves = restrained(before, after)
    assert moves.teams.tolist() == after.teams[1:][common].tolist() and len(moves.held) > 0
    for name in SHARES:
        shares = getattr(held, f"{name}_team")
        assert (shares > 0).all() and np.allclose(shares.sum(axis=1), 1)
        if before.teams.tolist() == after.teams.tolist():
            wanted, found = distance(before, after, name), distance(before, held, name)
            np.testing.assert_allclose(moves.parts[name], wanted / MOST_SHARE, atol=1e-6)
            np.testing.assert_allclose(found, np.minimum(wanted, MOST_SHARE), atol=1e-6)
    spread, then = np.maximum(before.spread, 0.15), np.searchsorted(before.teams, moves.teams)
    now = np.searchsorted(after.teams, moves.teams)
    assert (np.abs(held.mean[now] - before.mean[then]) <= MOST_SHIFT * spread[then] * (1 + 1e-9)).all()
    growth = np.maximum(held.spread[now], 0.15) / spread[then]
    assert (growth <= MOST_SPREAD * (1 + 1e-9)).all() and (growth >= (1 - 1e-9) / MOST_SPREAD).all()
    assert Baselines.from_arrays(held.to_arrays(), accumulators.K)
    assert (held.mean[0] == after.mean[0]).all() and (held.pair_team[0] == after.pair_team[0]).all(), "the company is not held"
    for f in fields(Baselines):
        if f.name not in {"pair_team", "step_team", "hour_team", "mean", "spread"}:
            assert getattr(held, f.name) is getattr(after, f.name)


def test_no_team_moves_farther_than_it_may() -> None:
    check_bounds()


def check_small_moves() -> None:
    before = learned(1)
    near = replace(before, mean=before.mean + 0.001, hour_team=0.999 * before.hour_team + 0.001 / 48)
    found, moves = restrained(before, near)
    assert all(np.array_equal(getattr(found, f.name), getattr(near, f.name)) for f in fields(Baselines)) and not len(moves.held)
    far, _ = restrained(before, learned(2), nights=1000.0)
    assert all(np.array_equal(getattr(far, f.name), getattr(learned(2), f.name)) for f in fields(Baselines)), "after long, nothing is held"


def test_what_moves_less_is_left_alone() -> None:
    check_small_moves()


def test_a_real_change_arrives_some_nights_later() -> None:
    now, wanted = learned(1), learned(2)
    left = []
    for _ in range(60):
        now, moves = restrained(now, wanted)
        left.append(float(moves.most.max()))
    assert left[0] > 1 >= left[-1] and all(np.array_equal(getattr(now, f.name), getattr(wanted, f.name)) for f in fields(Baselines))


def test_a_team_that_was_unknown_is_as_it_is() -> None:
    before, after = Baselines.blank(accumulators.K), learned(2)
    found, moves = restrained(before, after)
    assert not len(moves.teams) and all(np.array_equal(getattr(found, f.name), getattr(after, f.name)) for f in fields(Baselines))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("old, new = old + 1, new + 1", "old, new = old + 0, new + 1"),
        ("0.5 * np.abs(learned[new] - known)", "0.4 * np.abs(learned[new] - known)"),
        ("(MOST_SHARE * nights)", "MOST_SHARE"),
        ("nights * MOST_SHIFT * spread", "MOST_SHIFT * spread"),
        ("nights * MOST_SHIFT * spread", "2 * nights * MOST_SHIFT * spread"),
        ("nights * np.log(MOST_SPREAD)", "nights * MOST_SPREAD"),
        ("spread * np.exp(held)", "spread * 9"),
        ("np.abs(moved) > room, near", "np.abs(moved) > 9 * room, near"),
        ("near = new[parts[name] <= 1]", "near = new[:0]"),
        ("shares.sum(axis=1) - out.sum(axis=1)", "0 * out.sum(axis=1)"),
        ("old[at[found]] == new[found]", "old[at[found]] != new[found]"),
    ],
)
def test_a_change_is_noticed(old: str, new: str, monkeypatch: pytest.MonkeyPatch) -> None:
    mutate(monkeypatch, restraint, old, new)
    with pytest.raises((AssertionError, ValueError, IndexError)):
        check_bounds()
        check_small_moves()
