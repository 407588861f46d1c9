"""Evidence equals its slow and obvious version, behind the families that it reads, and each of many small changes to it is noticed."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from histories import Event, bursts, fast, names, slow
from hypothesis import given, settings
from hypothesis import strategies as st
from mutation import mutate
from slow_evidence import Evidence
from slow_explanation import Explanation
from slow_relations import Relations

from detector.core.signals import evidence, explanation, relations

FAMILIES, TWINS = [explanation, relations, evidence], [Explanation, Relations, Evidence]
SEEDS = (1, 2, 3)


@cache
def history(seed: int) -> list[Event]:
    return bursts(np.random.default_rng(seed))


@cache
def expected(seed: int) -> np.ndarray:
    return slow(FAMILIES, TWINS, history(seed))


def differing(seed: int) -> set[str]:
    far = ~np.isclose(fast(FAMILIES, history(seed)), expected(seed), rtol=2e-4, atol=1e-6)
    return {names(FAMILIES)[j] for j in np.flatnonzero(far.any(axis=0))}


@settings(derandomize=True, deadline=None, max_examples=15, database=None)
@given(st.integers(0, 2**32 - 1))
def test_it_equals_its_slow_version(seed: int) -> None:
    assert differing(seed) == set()


def test_the_histories_reach_every_case() -> None:
    carried = sum((expected(seed) != 0).sum(axis=0) for seed in SEEDS)
    assert min(carried) > 20, dict(zip(names(FAMILIES), carried, strict=True))


MUTATIONS = [
    ("frame.on_person()", "frame.subject != 0"),
    ("0.2 + 0.8 * w", "0.1 + 0.9 * w"),
    ("again = on_person & (first == 0)", "again = on_person"),
    ("[:] = w * new", "[:] = new"),
    ("np.where(frame.own, 0, first", "np.where(False, 0, first"),
    ("0, first * w * frame.special", "0, w * frame.special"),
    ("first * w * frame.special", "first * frame.special"),
    ("w * frame.special *", "w *"),
    (" * (1 + frame.location)", ""),
    ("np.where(new > 0, 1, 0.4)", "np.where(new > 0, 1, 0.5)"),
    ("np.where(new > 0, 1, 0.4)", "0.4"),
    ("np.where(frame.action == EXPORT, frame.records", "np.where(access, frame.records"),
    ("frame.records * taken", "frame.records * w"),
    ("np.where(frame.action == EXPORT, frame.bytes * taken, 0)", "frame.bytes * taken"),
    ("frame.bytes * taken", "frame.bytes"),
    ("access & (frame.action != LOGIN)", "access"),
    ("access & (frame.action != LOGIN)", "frame.action != LOGIN"),
    ('out.column("breadth")[:] = new', 'out.column("breadth")[:] = w * new'),
    ("w * (first * (frame", "1 * (first * (frame"),
    ("0.5 * frame.content", "frame.content"),
    ("0.2 * (again", "0.3 * (again"),
    ("(again & frame.location)", "again"),
    ("frame.outcome == DENIED, w, 0", "frame.outcome == DENIED, 1, 0"),
    ("frame.outcome == DENIED", "frame.outcome > 0"),
    ("active & ~again, 1 - w", "active, 1 - w"),
    ("active & ~again, 1 - w", "access & ~again, 1 - w"),
    ("active & ~again, 1 - w", "active & ~on_person, 1 - w"),
    ("active & ~again, 1 - w", "active & ~again, 1"),
]


@pytest.mark.parametrize(("old", "new"), MUTATIONS, ids=[str(i) for i in range(len(MUTATIONS))])
def test_a_changed_formula_is_noticed(old: str, new: str, monkeypatch: pytest.MonkeyPatch) -> None:
    mutate(monkeypatch, evidence, old, new)
    assert any(differing(seed) for seed in SEEDS)
