"""Explanation equals its slow and obvious version, and each of many small changes to it is noticed."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from alone import same_bytes, state_after
from histories import DAY, HOUR, MINUTE, START, Event, bursts, fast, names, person, slow
from hypothesis import given, settings
from hypothesis import strategies as st
from mutation import mutate
from slow_explanation import Explanation

from detector.core.signals import explanation

FAMILIES, TWINS = [explanation], [Explanation]
SEEDS = (1, 2, 3)


@cache
def history(seed: int) -> list[Event]:
    rng = np.random.default_rng(seed)
    return deadlines(rng) if seed % 3 == 0 else bursts(rng)


def deadlines(rng: np.random.Generator, cases: int = 45) -> list[Event]:
    """One person, for most of a year: assignments, and looks just before and just after what one counts for changes; some come late.

    In the end it is the year 2200, when seconds are no longer told from each other."""
    subjects, at, events = rng.integers(1, 2**63, 14).tolist(), START, []
    subjects[0] &= ~0xFFFFFFFF  # its last 32 bits look like those of none
    plain = {"purpose": 0, "exception": False, "own": False, "self": False, "valid_until": None}
    for _ in range(cases):
        subject, *others = rng.permutation(subjects).tolist()
        ends = rng.choice([at + int(rng.integers(2 * DAY)), at + 100 * 365 * DAY, 0], p=[0.4, 0.2, 0.4])
        made = [replace(person(rng, 1, at, 1, [subject]), **plain, action="assign", subject=subject)]
        made[0].valid_until = int(ends) or None
        made += [replace(made[0], subject=others[i % 13]) for i in range(rng.choice([0, 30, 31, 32], p=[0.7, 0.1, 0.1, 0.1]))]
        end = at + int(rng.choice([HOUR, 60 * HOUR]))
        if rng.random() < 0.5:
            made.append(replace(made[0], time=end, action="unassign", valid_until=None, purpose=int(rng.choice([0, 31]))))
        edges = [end, end + 4 * HOUR, at + 5 * DAY, at + 14 * DAY, (int(ends) or at) % (10 * START) + 6 * HOUR]
        looks = [
            replace(person(rng, 1, edge + step, 1, subjects), **plain, subject=subject) for edge in edges for step in (-MINUTE, MINUTE)
        ]
        made += [replace(look, action="read" if look.action.endswith("assign") else look.action) for look in looks]
        made = sorted((e for e in made if e.time < at + 20 * DAY), key=lambda e: e.time)
        late = replace(looks[0], action="read", time=at - MINUTE)
        events += [*made[:1], late, *made[1:], *(replace(e, time=e.time - DAY) for e in made[-2:] if rng.random() < 0.3)]
        at = max(e.time for e in events) + int(rng.integers(2 * DAY))
    far = replace(events[-1], **plain, time=7_300_000_000_000, action="assign", subject=subjects[0])
    return [*events, far, *(replace(far, time=far.time + step * DAY, action="read") for step in (0, 20, 40))]


@cache
def expected(seed: int) -> np.ndarray:
    return slow(FAMILIES, TWINS, history(seed))


def differing(seed: int) -> set[str]:
    far = ~np.isclose(fast(FAMILIES, history(seed)), expected(seed), rtol=1e-5, atol=1e-6)
    return {names(FAMILIES)[j] for j in np.flatnonzero(far.any(axis=0))}


def notices(seed: int) -> bool:
    try:
        return bool(differing(seed))
    except OverflowError:  # a number that the state cannot hold
        return True


@settings(derandomize=True, deadline=None, max_examples=15, database=None)
@given(st.integers(0, 2**32 - 1))
def test_it_equals_its_slow_version(seed: int) -> None:
    assert differing(seed) == set()


@pytest.mark.parametrize("seed", SEEDS)
def test_kernels_as_plain_python_equal_it_too(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    mutate(monkeypatch, explanation, "", "")
    assert differing(seed) == set()


@pytest.mark.parametrize("seed", SEEDS)
def test_where_batches_are_cut_changes_no_byte_of_the_state(seed: int) -> None:
    cuts = np.random.default_rng(seed).integers(1, 499, 9).tolist()
    assert same_bytes(state_after(FAMILIES, history(seed)), state_after(FAMILIES, history(seed), cuts))


def test_the_histories_reach_every_case() -> None:
    seen: Counter[str] = Counter()
    for seed in SEEDS:
        weights, counts = np.unique(expected(seed)[:, 0].round(6), return_counts=True)
        seen.update({f"w {w:g}": int(n) for w, n in zip(weights, counts, strict=True)})
        seen["a new subject"] += int(expected(seed)[:, 1].sum())
        seen["an event before the one before"] += sum(b.time < a.time for a, b in zip(history(seed), history(seed)[1:], strict=False))
    assert {f"w {w:g}" for w in (0.03, 0.1, 0.2, 0.3, 0.35, 1, 0.03 * 0.15, 0.15, 0.5)} <= seen.keys()
    assert seen["a new subject"] > 50 and seen["an event before the one before"] > 50


def test_the_state_of_an_employee_is_small() -> None:
    assert state_after(FAMILIES, []).bytes_per_key - 16 <= 1050


MUTATIONS = [
    ("GRACE, GRACE_UNASSIGNED, RECENT = 6 * 3600", "GRACE, GRACE_UNASSIGNED, RECENT = 5 * 3600"),
    ("6 * 3600, 4 * 3600, 5 * 86_400", "6 * 3600, 3 * 3600, 5 * 86_400"),
    ("4 * 3600, 5 * 86_400", "4 * 3600, 6 * 86_400"),
    ("OPEN_END = 14 * 86_400", "OPEN_END = 13 * 86_400"),
    ("GENERATION_DAYS = 30", "GENERATION_DAYS = 31"),
    ("\nRING = 32", "\nRING = 31"),
    ("W_PURPOSE, W_RECENT, W_NOTHING = 0.03,", "W_PURPOSE, W_RECENT, W_NOTHING = 0.04,"),
    ("0.1, 0.2, 0.35, 0.3, 1.0", "0.2, 0.2, 0.35, 0.3, 1.0"),
    ("0.2, 0.35, 0.3, 1.0", "0.3, 0.35, 0.3, 1.0"),
    ("0.35, 0.3, 1.0", "0.3, 0.3, 1.0"),
    ("0.3, 1.0\n", "0.35, 1.0\n"),
    ("0.3, 1.0\n", "0.3, 0.9\n"),
    ("OWN, SELF = 0.15, 0.5", "OWN, SELF = 0.1, 0.5"),
    ("OWN, SELF = 0.15, 0.5", "OWN, SELF = 0.15, 0.6"),
    ("if who != 0:", "if True:"),
    ("min(at + OPEN_END, LAST_SECOND)", "at + OPEN_END"),
    ("min(time // 1000, LAST_SECOND)", "time // 1000"),
    ("GRACE * 1000", "GRACE"),
    ("a_next[s] = j + 1", "a_next[s] = j"),
    ("_subject[s, j], a_purpose[s, j], a_at[s, j] = who, why, at", "_subject[s, j], a_purpose[s, j], a_at[s, j] = who, 0, at"),
    ("(purpose == 0 or a_purpose[s, j] == purpose)", "(a_purpose[s, j] == purpose)"),
    ("(purpose == 0 or a_purpose[s, j] == purpose)", "True"),
    ("min(np.int64(a_until[s, j]), at + GRACE_UNASSIGNED)", "at + GRACE_UNASSIGNED"),
    ("return W_PURPOSE if purpose != 0 else W_NOTHING", "return W_NOTHING"),
    ("if a_at[s, j] <= at <= a_until[s, j]", "if at <= a_until[s, j]"),
    ("if a_at[s, j] <= at <= a_until[s, j]", "if a_at[s, j] <= at"),
    ("0 <= at - np.int64(a_at[s, j]) < RECENT", "at - np.int64(a_at[s, j]) < RECENT"),
    ("    if exception:\n", "    if False:\n"),
    ("        if a_purpose[s, j] == purpose:\n", "        if a_purpose[s, j] == purpose and a_subject[s, j] == subject:\n"),
    ("if who != 0 and action[i] < GRANT", "if who != 0"),
    ("if who != 0 and action[i] < GRANT", "if action[i] < GRANT"),
    ("return 0.0 if young or old else 1.0", "return 0.0 if young else 1.0"),
    ("return 0.0 if young or old else 1.0", "return 0.0 if old else 1.0"),
    ("if day > seen_day[s]", "if day != seen_day[s]"),
    ("seen[s, 1] = seen[s, 0]", "seen[s, 1] |= seen[s, 0]"),
    ("            seen[s, 0] = 0\n", ""),
    ("            seen_days[s] = 0\n", ""),
    ("short(frame.subject)", "frame.subject.astype(np.uint32)"),
]


@pytest.mark.parametrize(("old", "new"), MUTATIONS, ids=[str(i) for i in range(len(MUTATIONS))])
def test_a_changed_kernel_is_noticed(old: str, new: str, monkeypatch: pytest.MonkeyPatch) -> None:
    mutate(monkeypatch, explanation, old, new)
    assert any(notices(seed) for seed in SEEDS)
