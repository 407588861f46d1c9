"""Rights equals its slow and obvious version, and each of many small changes to it is noticed."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from alone import Said, said, same_bytes, state_after
from histories import DAY, MINUTE, PAIRS, START, Event, as_frame, baselines, fast, names, person, slow
from hypothesis import given, settings
from hypothesis import strategies as st
from mutation import mutate
from slow_rights import Rights

from detector.core.features import FeatureBatch
from detector.core.signals import rights

FAMILIES, TWINS = [said, rights], [Said, Rights]


@cache
def history(seed: int) -> list[Event]:
    """Months of a few people who change their own rights to more resources than there is room for, use them, are transferred, come late."""
    rng, at, events = np.random.default_rng(seed), START, []
    resources = rng.integers(1, 2**64, 7, dtype=np.uint64).tolist()
    resources[1] &= ~0xFFFFFFFF  # its last 32 bits look like those of none
    for _ in range(500):
        at += int(rng.exponential(rng.choice([0.01, 0.2, 1.2], p=[0.4, 0.5, 0.1])) * DAY)
        late = int(rng.choice([0, rng.integers(3 * DAY)], p=[0.85, 0.15]))
        e = person(rng, int(rng.choice([1, 2, 3, 4], p=[0.5, 0.2, 0.2, 0.1])), at - late, int(rng.integers(3)), [5, 6])
        e = replace(e, resource=int(rng.choice(resources)), device=0, transferred=int(rng.choice([0, START + 3 * DAY, START - 40 * DAY])))
        if rng.random() < 0.3:
            e = replace(e, action=str(rng.choice(["grant", "admin"])), kind=2, self=True, subject=5, own=False, teammate=False)
            e = replace(e, grants=resources[rng.integers(7 if rng.random() < 0.5 else 2)] if rng.random() < 0.9 else 0)
        if rng.random() < 0.15:
            e = replace(e, kind=1, self=rng.random() < 0.3, teammate=rng.random() < 0.5)
        events.append(e)
        if rng.random() < 0.1:  # just before and after the end of three days
            events += [replace(e, action=a, time=at + 3 * DAY + m * MINUTE, resource=e.grants) for m in (-1, 0) for a in ("read", "admin")]
    return sorted(events, key=lambda e: e.time + (e.time // MINUTE % 5 == 0) * DAY)


@cache
def expected(seed: int) -> np.ndarray:
    return slow(FAMILIES, TWINS, history(seed))


@cache
def expected_daily(seed: int) -> list[int]:
    """Of each employee, at the end of each fifth of the history."""
    people: defaultdict[int, tuple[Said, Rights]] = defaultdict(lambda: (Said(), Rights()))
    out = []
    for i, e in enumerate(history(seed)):
        so_far: dict[str, float] = defaultdict(float)
        for twin in people[e.key]:
            twin.observe(e, baselines(), so_far)
        if i % 20 == 19:
            out += [people[key][1].used_today for key in sorted(people)]
    return out


def daily(seed: int) -> list[int]:
    out: list[int] = []
    for stop in range(20, len(history(seed)) + 1, 20):
        state = state_after(FAMILIES, history(seed)[:stop])
        slots = np.flatnonzero(state.columns["key"])
        out += rights.daily(state, slots[np.argsort(state.columns["key"][slots])])["revoked_resource"].tolist()
    return out


def differing(seed: int) -> set[str]:
    seen, right = fast(FAMILIES, history(seed)), expected(seed)
    far = ~np.isclose(seen, right, rtol=2e-4, atol=1e-6) | ((seen == 0) != (right == 0))
    return {names(FAMILIES)[j] for j in np.flatnonzero(far.any(axis=0))}


@settings(derandomize=True, deadline=None, max_examples=15, database=None)
@given(st.integers(0, 2**32 - 1))
def test_every_signal_equals_its_slow_version(seed: int) -> None:
    assert differing(seed) == set()


SEEDS = range(8)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_daily_record_names_what_was_used_although_it_was_taken_away(seed: int) -> None:
    assert daily(seed) == expected_daily(seed)


@pytest.mark.parametrize("seed", SEEDS)
def test_kernels_as_plain_python_equal_it_too(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    mutate(monkeypatch, rights, "", "")
    assert differing(seed) == set()


@pytest.mark.parametrize("seed", SEEDS)
def test_where_batches_are_cut_changes_no_byte_of_the_state(seed: int) -> None:
    cuts = np.random.default_rng(seed).integers(1, 499, 9).tolist()
    assert same_bytes(state_after(FAMILIES, history(seed)), state_after(FAMILIES, history(seed), cuts))


def test_the_histories_reach_every_case() -> None:
    seen: Counter[str] = Counter()
    for seed in SEEDS:
        for e, row in zip(history(seed), expected(seed), strict=True):
            on = dict(zip(names(FAMILIES), row, strict=True))
            own_change = e.kind == 2 and e.self and e.action in ("grant", "admin")
            seen["a denied crossing of a wall"] += on["wall"] > 0 and e.outcome == "denied"
            seen["use of what was taken away"] += e.revoked >= 0 and on["revoked"] > 0
            seen["use of the old team's"] += e.revoked < 0 and on["revoked"] > 0
            seen["both"] += e.revoked >= 0 and on["revoked"] > 1.4
            seen["use of own grant"] += not own_change and on["grant_use"] > 0
            seen["removal of own grant"] += own_change and on["grant_use"] > 0
            seen["watching oneself"] += on["watch_self"] >= 2
            seen["watching a team-mate"] += 0 < on["watch_self"] < 2 and not e.self
        seen["a record of the day"] += sum(r != 0 for r in expected_daily(seed))
    assert min(seen.values()) > 5, seen


@pytest.mark.parametrize("plain", [False, True])
def test_what_is_in_no_vocabulary_is_not_the_old_teams(plain: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """However much of it the old team did: with the mutation that lets it count, it does."""
    e = replace(history(1)[0], action="read", old_team=1, team=2, transferred=START - 20 * DAY, revoked=-1.0, outcome="success")
    usual = baselines().pair_team.copy()
    usual[1, -1], usual[2, -1] = 0.9, 0.001
    state = state_after(FAMILIES, [e])
    if plain:
        mutate(monkeypatch, rights, " and pair_row[i] >= 0", "")
    for row, expected_evidence in ((-1, plain), (PAIRS, True)):
        out = FeatureBatch.zeros(names(FAMILIES), 1)
        out.column("w")[:] = 1
        rights.observe(state, np.zeros(1, np.int32), as_frame([replace(e, pair_row=row)]), replace(baselines(), pair_team=usual), out)
        assert (out.column("revoked")[0] > 0) == expected_evidence


def test_the_state_of_an_employee_is_small() -> None:
    assert state_after([rights], []).bytes_per_key - 16 <= 70


MUTATIONS = [
    ("GRANTS = 4", "GRANTS = 3"),
    ("float(np.float32(0.3))", "0.35"),
    ("0.3, 0.7, 0.4", "0.2, 0.7, 0.4"),
    ("0.3, 0.7, 0.4", "0.3, 0.6, 0.4"),
    ("0.3, 0.7, 0.4", "0.3, 0.7, 0.3"),
    ("1.4, 0.02, 0.3, 2.0, 0.84", "1.3, 0.02, 0.3, 2.0, 0.84"),
    ("0.02, 0.3, 2.0, 0.84", "0.03, 0.3, 2.0, 0.84"),
    ("0.3, 2.0, 0.84", "0.4, 2.0, 0.84"),
    ("2.0, 0.84", "1.0, 0.84"),
    ("2.0, 0.84", "2.0, 0.8"),
    ("0.4, 5.0, 10.0, 90.0, 1.5, 1e-4", "0.5, 5.0, 10.0, 90.0, 1.5, 1e-4"),
    ("5.0, 10.0, 90.0, 1.5, 1e-4", "6.0, 10.0, 90.0, 1.5, 1e-4"),
    ("10.0, 90.0, 1.5, 1e-4", "14.0, 90.0, 1.5, 1e-4"),
    ("90.0, 1.5, 1e-4", "40.0, 1.5, 1e-4"),
    ("90.0, 1.5, 1e-4", "100.0, 1.5, 1e-4"),
    ("1.5, 1e-4", "1.0, 1e-4"),
    ("1.5, 1e-4", "1.5, 1e-3"),
    ("0.02, 1.5, 0.5, 2.0, 0.7", "0.03, 1.5, 0.5, 2.0, 0.7"),
    ("1.5, 0.5, 2.0, 0.7", "1.4, 0.5, 2.0, 0.7"),
    ("0.5, 2.0, 0.7", "0.4, 2.0, 0.7"),
    ("2.0, 0.7\n", "2.1, 0.7\n"),
    ("2.0, 0.7\n", "2.0, 0.8\n"),
    ("1.3, 3.0, 0.05, 0.03, 3.0", "1.2, 3.0, 0.05, 0.03, 3.0"),
    ("3.0, 0.05, 0.03, 3.0", "3.1, 0.05, 0.03, 3.0"),
    ("0.05, 0.03, 3.0", "0.06, 0.03, 3.0"),
    ("0.03, 3.0", "0.04, 3.0"),
    ("0.03, 3.0", "0.03, 2.9"),
    ("0.2, 2.8, 0.5, 0.15", "0.3, 2.8, 0.5, 0.15"),
    ("2.8, 0.5, 0.15", "2.7, 0.5, 0.15"),
    ("0.5, 0.15", "0.4, 0.15"),
    ("0.5, 0.15", "0.5, 0.2"),
    ("3 * 24 * 60", "3 * 24 * 60 - 1"),
    ("3 * 24 * 60", "3 * 24 * 60 + 1"),
    ("last_day[s] = max(last_day[s], day)", "last_day[s] = day"),
    ("if action[i] >= ASSIGN", "if action[i] > ASSIGN"),
    ("DENIED_USE if outcome[i] == DENIED", "DENIED_USE if outcome[i] != 0"),
    ("DENIED_WALL * w[i] if outcome[i] == DENIED", "DENIED_WALL * w[i] if outcome[i] != 0"),
    ("DENIED_WALL * w[i] if", "DENIED_WALL if"),
    ("if taken[i] >= 0", "if taken[i] > 0"),
    ("revoked[i] = use * max", "revoked[i] = max"),
    ("revoked[i] += use * max", "revoked[i] += max"),
    ("revoked[i] += use", "revoked[i] = use"),
    ("old_team[i] >= 0 and ", ""),
    ("and old_team[i] != team[i]", "and old_team[i] < team[i]"),
    ("* max(w[i] - FREE_W, 0.0) * _clinging", "* max(w[i] - FREE_W, LEAST_W) * _clinging"),
    ("teammate[i] and purpose[i] == 0", "teammate[i]"),
    ("if kind[i] == WATCH:", "if kind[i] != IAM:"),
    ("if own_share[i] > 0 else 0.0", ""),
    ("(COMMON_SHARE / (own_share[i] + SHARE_FLOOR)), 0.0)", "(COMMON_SHARE / (own_share[i] + SHARE_FLOOR)), -0.5)"),
    ("(ALWAYS + BY_W * w[i]) * rare", "rare"),
    ("WATCH_SELF if oneself[i] else WATCH_MATE if about_mate", "WATCH_MATE if about_mate else WATCH_SELF if oneself[i]"),
    ("* (1.0 + rare)", "* rare"),
    ("action[i] == GRANT or action[i] == ADMIN", "action[i] == GRANT"),
    ("action[i] == GRANT or action[i] == ADMIN", "action[i] == ADMIN"),
    ("and kind[i] == IAM and", "and"),
    ("kind[i] == IAM and oneself[i]", "kind[i] == IAM"),
    ("grants[i] if outcome[i] == SUCCESS else", "grants[i] if outcome[i] != DENIED else"),
    ("grants[i] if outcome[i] == SUCCESS else", "grants[i] if True else"),
    ("            grant_use[i] = removal\n", ""),
    ("- FREE_W, 0.0)) + removal", "- FREE_W, 0.0))"),
    ("subject[i] != 0 and action[i] != LOGIN", "action[i] != LOGIN"),
    ("and action[i] != LOGIN", ""),
    ("!= LOGIN and not changes", "!= LOGIN"),
    ("(1.0 + odd_pair[i])", "1.0"),
    ("max(team_uses - days[s], 0.0)", "team_uses"),
    ("max(team_uses - days[s], 0.0)", "abs(team_uses - days[s])"),
    ("if day > last_day[s]:", "if day >= last_day[s]:"),
    ("if day > last_day[s]:", "if day != last_day[s]:"),
    ("days[s] = days[s] * KEEP + 1.0", "days[s] = days[s] * KEEP + 0.9"),
    ("1.0 - math.exp(", "math.exp("),
    ("    if resource == 0:\n", "    if False:\n"),
    ("action == ADMIN and strength > 0", "strength > 0"),
    ("action == ADMIN and strength > 0", "action == ADMIN"),
    ("        return REMOVAL * strength", "        granted[1][s] = 0\n        return REMOVAL * strength"),
    ("        if what[s, j] == resource:\n            oldest = j\n            break\n", ""),
    ("if at[s, j] < at[s, oldest]", "if at[s, j] > at[s, oldest]"),
    ("if minute >= at[s, oldest]", "if True"),
    ("if minute >= at[s, oldest]", "if at[s, oldest] == 0"),
    ('c["revoked_day"][slots] == c["rights_day"][slots]', 'c["revoked_day"][slots] >= 0'),
    ("0 <= minute - at[s, j] <", "minute - at[s, j] <"),
    ("if what[s, j] == resource and 0", "if 0"),
]


@pytest.mark.parametrize(("old", "new"), MUTATIONS, ids=range(len(MUTATIONS)))
def test_a_changed_kernel_is_noticed(old: str, new: str, monkeypatch: pytest.MonkeyPatch) -> None:
    mutate(monkeypatch, rights, old, new)
    assert any(differing(seed) for seed in SEEDS) or daily(1) != expected_daily(1)
