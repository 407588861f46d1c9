"""Purposes equal their slow and obvious version, and each of many small changes to them is noticed."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import replace
from functools import cache

import day_records
import numpy as np
import pytest
from alone import Said, said, same_bytes, state_after
from histories import DAY, MINUTE, START, Event, baselines, fast, names, person, slow
from hypothesis import given, settings
from hypothesis import strategies as st
from mutation import mutate
from slow_purposes import Purposes

from detector.core.signals import purposes

FAMILIES, TWINS = [said, purposes], [Said, Purposes]
SEEDS = (1, 2, 3)
STEP = 20


@cache
def history(seed: int) -> list[Event]:
    """A busy employee and others use more purposes than there is room for, one of them for very many people, some for long; at last it
    is the year 2100, and then 2200."""
    rng, at, events = np.random.default_rng(seed), START, []
    subjects, keys = rng.integers(1, 2**63, 400).tolist(), rng.integers(1, 2**63, 16).tolist()
    keys[1] &= ~0xFFFFFFFF  # its last 32 bits look like those of none
    for _ in range(600):
        at += int(rng.exponential(rng.choice([MINUTE, 0.1 * DAY, DAY], p=[0.5, 0.4, 0.1])))
        late = int(rng.choice([0, rng.integers(3 * DAY)], p=[0.9, 0.1]))
        e = person(rng, int(rng.choice([1, 2], p=[0.8, 0.2])), at - late, int(rng.integers(3)), subjects)
        purpose = int(rng.choice([0, *keys], p=[0.1, 0.4, 0.2, *[0.3 / 14] * 14]))
        row = keys.index(purpose) % 4 - 1 if purpose else -1
        kind = (row + 2) << 40
        events.append(replace(e, purpose=purpose, purpose_row=row, purpose_kind=kind if purpose else 0, exception=False))
        if rng.random() < 0.5:
            events[-1] = replace(events[-1], action="read")
    years = [4_100_000_000_000, 4_100_000_000_000 + 20 * DAY, 7_300_000_000_000, 7_300_000_000_000 + 20 * DAY]
    far = [replace(events[-1], time=y + k * MINUTE, action="read", subject=s) for y in years for k, s in enumerate(subjects[:9])]
    late_in_life = [replace(e, purpose=purpose) for e in far for purpose in (9, keys[0], keys[1], keys[5], e.time // DAY)]
    return [*events, *one_day(rng, events[-1], (at // DAY + 1) * DAY), *late_in_life]


def one_day(rng: np.random.Generator, like: Event, at: int) -> list[Event]:
    """More purposes than there is room for, then one for more people than can be told from each other, then one of its own."""
    many = [(purpose, person) for person in range(2) for purpose in range(20, 34)] + [(20, k) for k in range(80)] + [(9, 70)]
    return [
        replace(like, time=at + k * 7 * MINUTE, action="read", subject=(int(rng.integers(1, 2**50)) << 6) + person, purpose=purpose)
        for k, (purpose, person) in enumerate(many)
    ]


@cache
def expected(seed: int) -> np.ndarray:
    return slow(FAMILIES, TWINS, history(seed))


@cache
def expected_daily(seed: int) -> list[np.ndarray]:
    """(employees, 10, 3) after every so many events."""
    return [np.array([twin.day_record for twin in people]) for people in day_records.expected(TWINS, history(seed), STEP)]


def same_days(seed: int) -> bool:
    found = [np.stack(list(told.values()), axis=2) for told in day_records.told(FAMILIES, history(seed), STEP)]
    return all(np.allclose(a, b, rtol=1e-4, atol=1e-6) for a, b in zip(found, expected_daily(seed), strict=True))


def differing(seed: int) -> set[str]:
    far = ~np.isclose(fast(FAMILIES, history(seed)), expected(seed), rtol=2e-4, atol=1e-5)
    return {names(FAMILIES)[j] for j in np.flatnonzero(far.any(axis=0))}


def notices(seed: int) -> bool:
    try:
        return bool(differing(seed)) or not same_days(seed)
    except (OverflowError, IndexError):  # a number that the state, or a place that the table does not have
        return True


@settings(derandomize=True, deadline=None, max_examples=15, database=None)
@given(st.integers(0, 2**32 - 1))
def test_they_equal_their_slow_version(seed: int) -> None:
    assert differing(seed) == set()


@pytest.mark.parametrize("seed", SEEDS)
def test_the_daily_record_tells_what_came_to_a_further_person(seed: int) -> None:
    assert same_days(seed)


@pytest.mark.parametrize("seed", SEEDS)
def test_kernels_as_plain_python_equal_it_too(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    mutate(monkeypatch, purposes, "", "")
    assert differing(seed) == set()


@pytest.mark.parametrize("seed", SEEDS)
def test_where_batches_are_cut_changes_no_byte_of_the_state(seed: int) -> None:
    cuts = np.random.default_rng(seed).integers(1, 599, 9).tolist()
    assert same_bytes(state_after(FAMILIES, history(seed)), state_after(FAMILIES, history(seed), cuts))


def test_the_histories_reach_every_case() -> None:
    seen: Counter[str] = Counter()
    for seed in SEEDS:
        people: defaultdict[int, Purposes] = defaultdict(Purposes)
        for e, row in zip(history(seed), expected(seed), strict=True):
            on = dict(zip(names(FAMILIES), row, strict=True))
            people[e.key].observe(e, baselines(), defaultdict(float, w=on["w"]))
            seen[f"assigned {0.11 < on['w'] < 0.21}, known kind {e.purpose_row >= 0}"] += on["purpose"] > 0
            seen["explained"] += on["w"] <= 0.11 and on["purpose"] == 0 and e.purpose > 0 and e.on_person
            seen["all places taken"] += any(len(p.people) == 64 for p in people[e.key].held)
            seen["more than twenty people"] += on["purpose"] > 0 and people[e.key].held[0].reach > 3
        seen["a purpose had to go"] += sum(p.gone for p in people.values())
        seen["a whole day's record"] += 9 * sum(rows[:, -1, 0].any() for rows in expected_daily(seed))
    assert min(seen.values()) > 5, seen


def test_the_estimate_is_near_the_number_of_people() -> None:
    rng = np.random.default_rng(1)
    for people in (1, 2, 5, 20, 60, 120):
        ones = [len(set((rng.integers(0, 2**63, people) % 64).tolist())) for _ in range(200)]
        assert np.exp(purposes._LOG_PEOPLE[ones]).mean() == pytest.approx(people, rel=0.1)


def test_the_state_of_an_employee_is_small() -> None:
    assert state_after([purposes], []).bytes_per_key - 16 <= 263


MUTATIONS = [
    ("PLACES = 10", "PLACES = 11"),
    ("PLACES = 10", "PLACES = 9"),
    ("BITS = 64", "BITS = 32"),
    ("LAST_QUARTER = 2**32 - 1, 2**16 - 1, 2**16 - 1", "LAST_QUARTER = 2**31 - 1, 2**16 - 1, 2**16 - 1"),
    ("LAST_QUARTER = 2**32 - 1, 2**16 - 1, 2**16 - 1", "LAST_QUARTER = 2**32 - 1, 2**15 - 1, 2**16 - 1"),
    ("LAST_QUARTER = 2**32 - 1, 2**16 - 1, 2**16 - 1", "LAST_QUARTER = 2**32 - 1, 2**16 - 1, 2**15 - 1"),
    ("ASSIGNED, EXPLAINED = 0.21", "ASSIGNED, EXPLAINED = 0.32"),
    ("ASSIGNED, EXPLAINED = 0.21", "ASSIGNED, EXPLAINED = 0.19"),
    ("ASSIGNED, EXPLAINED = 0.21, 0.11", "ASSIGNED, EXPLAINED = 0.21, 0.16"),
    ("ASSIGNED, EXPLAINED = 0.21, 0.11", "ASSIGNED, EXPLAINED = 0.21, 0.09"),
    ("UN_ASSIGNED = 0.4", "UN_ASSIGNED = 0.5"),
    ("OF_AGE = 0.6", "OF_AGE = 0.5"),
    ("SPREAD_AGE = 0.15, 0.1", "SPREAD_AGE = 0.1, 0.1"),
    ("SPREAD_AGE = 0.15, 0.1", "SPREAD_AGE = 0.15, 0.15"),
    ("\nMOST = 3.0", "\nMOST = 4.0"),
    ("[1.0, 1.0, *", "[1.0, 1.01, *"),
    ("math.log(BITS / max(BITS - ones, 1))", "math.log(BITS / (BITS - ones + 1))"),
    ("max(BITS - ones, 1))", "max(BITS - ones, 0.5))"),
    ("today[s] += 1  #", "today[s] += 2  #"),
    ("if day > newest[s]", "if day != newest[s]"),
    ("newest[s], today[s] = day, 0", "newest[s] = day"),
    ("if purpose[i] == 0 or subject[i] == 0 or", "if subject[i] == 0 or"),
    ("if purpose[i] == 0 or subject[i] == 0 or", "if purpose[i] == 0 or"),
    (" or action[i] >= GRANT:", ":"),
    ("if j < PLACES and people[s, j] & bit != 0:", "if j < PLACES:"),
    ("if j < PLACES and people[s, j] & bit != 0:", "if False:"),
    ("if j >= today[s]:", "if j > today[s]:"),
    ("if j >= today[s]:", "if True:"),
    ("first = second if j == PLACES else", "first = second if True else"),
    ("known = np.uint64(0) if j == PLACES else", "known = np.uint64(0) if True else"),
    ("_make_front(s, min(j, PLACES - 1),", "_make_front(s, PLACES - 1,"),
    ("_make_front(s, min(j, PLACES - 1),", "_make_front(s, 0,"),
    ("max(second - first, 0)", "abs(second - first)"),
    ("age // 900", "age // 1000"),
    ("age / 86_400", "age / 80_000"),
    ("_unexplained(float(w[i]))", "1"),
    ("if row >= 0:", "if row > 0:"),
    ("usual[team, row, 0]", "usual[0, row, 0]"),
    ("usual[team, row, 1]", "usual[team, row, 3]"),
    ("usual[team, row, 2]", "usual[team, row, 0]"),
    ("usual[team, row, 3]", "usual[team, row, 1]"),
    ("max(z_reach, 0.0)", "z_reach"),
    ("max(z_age, 0.0)", "z_age"),
    ("* min(reach, MOST)", "* reach"),
    ('c["purpose_age"][slots] / 96', 'c["purpose_age"][slots] / 24'),
    ('c["purpose_kind"][slots], np.uint64(0)', "np.uint64(1), np.uint64(0)"),
    ('< c["purpose_today"]', '<= c["purpose_today"]'),
    ("short(frame.purpose)", "frame.purpose.astype(np.uint32)"),
]


@pytest.mark.parametrize(("old", "new"), MUTATIONS, ids=[str(i) for i in range(len(MUTATIONS))])
def test_a_changed_kernel_is_noticed(old: str, new: str, monkeypatch: pytest.MonkeyPatch) -> None:
    mutate(monkeypatch, purposes, old, new)
    assert any(notices(seed) for seed in SEEDS)
