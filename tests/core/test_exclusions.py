"""What is left out of training: exactly the spans that were given, whatever they came from and however they overlap."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detector.core.context import Context
from detector.core.exclusions import AFTER, BEFORE, DAY, EVER, FOREVER, NOBODY, Exclusions, Span, around, leavers, listed
from detector.core.strings import hash_strings
from detector.errors import ConfigError

NAMES = ("ann", "bob", "cem", "dee")
TIMES = st.one_of(st.integers(-5, 40), st.sampled_from([EVER, FOREVER]))
SPANS = st.lists(st.builds(Span, st.sampled_from(NAMES[:3]), TIMES, TIMES), max_size=12)


def covered(found: Exclusions, employee: str, time: int, lasting: int = 1) -> bool:
    return bool(found.covers(hash_strings([employee]), np.array([time]), lasting)[0])


@settings(derandomize=True, deadline=None, max_examples=300, database=None)
@given(SPANS, st.lists(st.tuples(st.sampled_from(NAMES), st.integers(-8, 45)), max_size=20), st.integers(1, 9))
def test_an_event_is_covered_exactly_if_one_of_its_employees_spans_holds_some_of_its_time(
    spans: list[Span], events: list[tuple[str, int]], lasting: int
) -> None:
    found = Exclusions.of(spans)
    actor, time = hash_strings([name for name, _ in events]), np.array([t for _, t in events], np.int64)
    slow = [
        any(s.employee == name and s.since < s.until and s.since < t + lasting and s.until > t for s in spans) for name, t in events
    ]  # fmt: skip
    assert found.covers(actor, time, lasting).tolist() == slow


@settings(derandomize=True, deadline=None, max_examples=100, database=None)
@given(SPANS, st.randoms(use_true_random=False))
def test_the_order_of_spans_does_not_matter(spans: list[Span], chance: object) -> None:
    other = list(spans)
    chance.shuffle(other)  # type: ignore[attr-defined]
    one, two = Exclusions.of(spans), Exclusions.of(other)
    for name in ("actor", "since", "until"):
        assert getattr(one, name).tobytes() == getattr(two, name).tobytes()
    assert (one.since < one.until).all()


def test_nobody_is_excluded_by_nothing() -> None:
    assert len(NOBODY) == NOBODY.employees == 0
    assert not covered(NOBODY, "ann", 0)


def test_a_list_may_say_from_when_and_until_when() -> None:
    found = Exclusions.of(
        listed(
            "x.csv",
            b"employee,from,until,why\nann,,,left\nbob,2026-03-02,2026-03-03,case 7\ncem,2026-03-02T12:00:00+02:00,,\ndee,,2026-03-02,\n",
        )
    )
    start = 20_514 * DAY  # 2026-03-02
    assert found.employees == 4
    assert covered(found, "ann", 0) and covered(found, "ann", 1 << 50)
    assert [covered(found, "bob", start + t) for t in (-1, 0, 2 * DAY - 1, 2 * DAY)] == [False, True, True, False]
    assert [covered(found, "cem", start + t * 3_600_000) for t in (9, 10, 999)] == [False, True, True]
    assert [covered(found, "dee", start + t) for t in (-DAY, DAY - 1, DAY)] == [True, True, False]


def test_every_problem_of_a_list_is_named_at_once() -> None:
    with pytest.raises(ConfigError) as error:
        listed("x.csv", b"employee,from,until\n,2026-03-02,\nann,yesterday,\nbob,2026-03-02,2026-03-01\ncem,1,2,3\n")
    lines = str(error.value).split("\n")
    assert [line.split(": ")[0] for line in lines] == ["x.csv:2:employee", "x.csv:3:from", "x.csv:4:until", "x.csv:5:4"]
    with pytest.raises(ConfigError, match="has no such column"):
        listed("x.csv", b"name\nann\n")
    with pytest.raises(ConfigError, match="not UTF-8"):
        listed("x.csv", b"employee\n\xff\n")


def test_leavers_are_left_out_from_four_weeks_before_they_leave() -> None:
    context = Context.parse({"directory.csv": b"employee,left\nann,2026-03-02\nbob,\n"})
    found, start = Exclusions.of(leavers(context)), 20_514 * DAY
    assert found.employees == 1
    assert [covered(found, "ann", t) for t in (start - BEFORE - 1, start - BEFORE, start + 999 * DAY)] == [False, True, True]


def test_the_time_around_alerts_is_left_out_of_whoever_they_are_about() -> None:
    found, time = Exclusions.of(around([("ann", 100 * DAY), ("ann", 101 * DAY), ("bob", 0)])), 100 * DAY
    assert len(found) == 2
    assert [covered(found, "ann", t) for t in (time - BEFORE - 1, time - BEFORE, time + DAY + AFTER - 1, time + DAY + AFTER)] == [
        False, True, True, False,
    ]  # fmt: skip
    assert not covered(found, "bob", time)


def test_a_whole_day_is_covered_by_a_part_of_it() -> None:
    found = Exclusions.of([Span("ann", 5 * DAY + 7, 5 * DAY + 8)])
    assert [covered(found, "ann", day * DAY, DAY) for day in (4, 5, 6)] == [False, True, False]
    assert not covered(found, "ann", 5 * DAY)
