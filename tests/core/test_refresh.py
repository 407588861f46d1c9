"""The nightly refresh is a function of the last four weeks' records; day maxima for its calibration count once an employee."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from itertools import pairwise

import numpy as np
import pytest
import world
from day_rows import Row, as_daily, as_days, rows
from hypothesis import given, settings
from hypothesis import strategies as st
from mutation import mutate

from detector.core import daily, model, refresh, window
from detector.core.baselines import learn
from detector.core.calibration import once_each
from detector.core.daily import Daily
from detector.core.estimators import tails
from detector.core.model import Model
from detector.core.signals import accumulators

TODAY = 20_700
SEEDS = st.integers(0, 2**32 - 1)


def history(seed: int = 1, days: int = 9) -> list[Row]:
    return rows(seed, range(TODAY - days + 1, TODAY + 1))


def made(days: list[Daily]) -> Model:
    return refresh.refresh(world.model(), days)


def content(found: Model) -> dict[str, bytes]:
    return {name: a.tobytes() for name, a in found.to_arrays()[0].items()}


def blocks(some: list[Row], seed: int) -> list[Daily]:
    """As tasks would have written them: each day's rows in parts, in any order."""
    rng = np.random.default_rng(seed)
    out = []
    for day in sorted({row.day for row in some}):
        its = [row for row in some if row.day == day]
        its = [its[i] for i in rng.permutation(len(its))]
        cuts = sorted({0, len(its), *rng.integers(len(its) + 1, size=3).tolist()})
        out += [as_daily(its[a:b]) for a, b in pairwise(cuts)]
    return [out[i] for i in rng.permutation(len(out))]


@settings(derandomize=True, deadline=None, max_examples=15, database=None)
@given(SEEDS)
def test_whose_records_came_first_and_in_how_many_parts_does_not_matter(seed: int) -> None:
    check_order(seed)


def check_order(seed: int) -> None:
    some = history(seed % 5)
    days = [[row for row in some if row.day == day] for day in sorted({row.day for row in some})]
    backwards, halved = [as_daily(day[::-1]) for day in days], [as_daily(half) for day in days for half in (day[:2], day[2:]) if half]
    expected = made(as_days(some))
    for found in map(made, (blocks(some, seed), backwards, halved)):
        assert content(found) == content(expected)
        assert (found.version, found.sha256) == (expected.version, expected.sha256)


def check_window() -> None:
    """The last 28 days count, from the last that there are records of; those between without any are simply missing."""
    some = [row for row in history(days=31) if row.day % 7 < 5]
    last = max(row.day for row in some)
    recent = [row for row in some if row.day > last - 28]
    assert 0 < len({row.day for row in recent}) < len({row.day for row in some})
    assert content(made(as_days(some))) == content(made(as_days(recent)))
    oldest = min(row.day for row in recent)
    assert content(made(as_days([row for row in recent if row.day > oldest]))) != content(made(as_days(recent)))
    assert [d.day for d in daily.recent(as_days(some)[::-1])] == sorted({row.day for row in recent})


def test_the_last_four_weeks_count_and_nothing_before() -> None:
    check_window()


def check_few_days() -> None:
    some = history(days=40)
    for days in ([], as_days(some)[-6:], [*as_days(some)[:6], *as_days(some)[-6:]], blocks(some[-60:], 3)):
        if len({d.day for d in days if d.day > TODAY - 28}) < 7:
            assert made(days) is world.model()
    assert len({d.day for d in blocks(some[-60:], 3)}) >= 7 and made(blocks(some[-60:], 3)) is not world.model()
    assert made(as_days(some)[-7:]) is not world.model()


def test_with_fewer_than_seven_days_the_model_stays() -> None:
    check_few_days()


def check_parts() -> None:
    """What is learned anew, from what, and what stays."""
    busy = min(row.key for row in history())
    days, before = as_days([replace(row, score=row.score + 20 * (row.key == busy)) for row in history()]), world.model()
    after = made(days)
    expected = learn(days, accumulators.K)
    assert all(np.array_equal(getattr(after.baselines, f.name), getattr(expected, f.name)) for f in fields(expected))
    joined = np.concatenate([d.column("joined") for d in days])
    score, key = np.concatenate([d.column("score") for d in days]), np.concatenate([d.key for d in days])
    for found, wanted in ((after.joined_tails, tails.fit(joined)), (after.total_tails, tails.fit(once_each(key, score[:, None])))):
        assert {n: a.tobytes() for n, a in found.to_arrays().items()} == {n: a.tobytes() for n, a in wanted.to_arrays().items()}
    assert (after.signal_tails, after.forest, after.hypotheses, after.names) == (
        before.signal_tails, before.forest, before.hypotheses, before.names)  # fmt: skip
    assert after.golden is before.golden


def test_usual_and_calibration_are_learned_anew_and_the_rest_stays() -> None:
    check_parts()


def test_what_was_unknown_yesterday_is_in_the_vocabulary_today() -> None:
    some, tool = history(), 4_000_000_000
    rolled_out = [replace(row, pair={**dict(list(row.pair.items())[:4]), tool: 0.2}) if row.day == TODAY else row for row in some]
    assert tool in made(as_days(rolled_out)).baselines.pairs
    assert tool not in made(as_days([row for row in rolled_out if row.day < TODAY])).baselines.pairs
    assert tool not in made(as_days(some)).baselines.pairs


def test_a_model_read_back_after_a_refresh_is_the_same() -> None:
    after = made(as_days(history()))
    arrays, said = after.to_arrays()
    back = Model.from_arrays("employee", after.names, arrays, said)
    assert content(back) == content(after)
    assert content(refresh.refresh(back, as_days(history()))) == content(after), "a refresh of a refreshed model forgets nothing"


def check_names() -> None:
    """A version is named by what it says: equal bytes, equal names; and another number, type, shape or array another name."""
    one = made(as_days(history()))
    assert len(one.version) == 12 and one.sha256.startswith(one.version) and len(one.sha256) == 64
    again = world.model().refreshed(one.baselines, one.joined_tails, one.total_tails)
    assert (again.version, again.sha256) == (one.version, one.sha256)
    b, t = one.baselines, one.total_tails
    others = [
        one.refreshed(replace(b, mean=b.mean + 1e-12), one.joined_tails, t),
        one.refreshed(replace(b, mean=b.spread, spread=b.mean), one.joined_tails, t),
        one.refreshed(replace(b, mean=b.mean.reshape(-1)), one.joined_tails, t),
        one.refreshed(replace(b, mean=b.mean.view(np.int64)), one.joined_tails, t),
        one.refreshed(b, one.joined_tails, replace(t, scale=t.scale * 1.01)),
        made(as_days(history(2))),
    ]
    names = [one.sha256, *(other.sha256 for other in others)]
    assert len(set(names)) == len(names)
    assert made(as_days(history())).sha256 == one.sha256 != world.model().sha256


def test_a_version_is_named_by_what_it_says() -> None:
    check_names()


def test_the_latest_record_of_each_employee_is_found() -> None:
    days = daily.recent(as_days(history(4)))
    keys = np.concatenate([d.key for d in days]).tolist()
    expected = [i for i, key in enumerate(keys) if key not in keys[i + 1 :]]
    assert daily.latest(days).tolist() == expected


@pytest.mark.parametrize(
    ("check", "module", "old", "new"),
    [
        (check_window, daily, "WINDOW = 28", "WINDOW = 27"),
        (check_window, daily, "WINDOW = 28", "WINDOW = 29"),
        (check_window, daily, "for day in sorted(blocks)", "for day in blocks"),
        (check_few_days, refresh, "LEAST_DAYS = 7", "LEAST_DAYS = 6"),
        (check_few_days, refresh, "LEAST_DAYS = 7", "LEAST_DAYS = 8"),
        (check_window, window, "d.day > whole.day - WINDOW", "d.day > whole.day - WINDOW - 1"),
        (check_parts, window, "(old.column(VOTED) > whole.day - WINDOW)", "(old.column(VOTED) > whole.day - 2)"),
        (check_parts, window, "~np.isin(old.key, whole.key)", "(old.key > 0)"),
        (check_parts, refresh, 'once_each(key, stacked(window.days, "score")[:, None])', 'stacked(window.days, "score")[:, None]'),
        (check_parts, refresh, 'tails.fit(stacked(window.days, "joined"))', 'tails.fit(once_each(key, stacked(window.days, "joined")))'),
        (check_parts, window, "learn(self.days, accumulators.K,", "learn(self.days[1:], accumulators.K,"),
        (check_names, model, "{name} {array.dtype} {array.shape}", "{name} {array.shape}"),
        (check_names, model, "{name} {array.dtype} {array.shape}", "{name} {array.dtype}"),
        (check_names, model, "+ np.ascontiguousarray(array).tobytes())", ")"),
        (check_names, model, "total_tails=total_tails)", "total_tails=self.total_tails)"),
        (check_parts, model, "joined_tails=joined_tails,", "joined_tails=self.joined_tails,"),
    ],
)
def test_a_change_is_noticed(check: Callable[[], None], module: object, old: str, new: str, monkeypatch: pytest.MonkeyPatch) -> None:
    mutate(monkeypatch, module, old, new)  # type: ignore[arg-type]
    with pytest.raises(AssertionError):
        check()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('order = np.argsort(whole.key, kind="stable")', "order = np.arange(len(whole.key))"),
        ("(whole.key[1:] > whole.key[:-1]).all()", "True"),
        ("self.key[rows], self.team[rows]", "self.key[rows], self.team"),
        ("{name: a[rows] for", "{name: a for"),
        ("blocks[0] if len(blocks) == 1 else joined(blocks)", "blocks[0]"),
    ],
)
def test_a_change_of_the_merging_is_noticed(old: str, new: str, monkeypatch: pytest.MonkeyPatch) -> None:
    mutate(monkeypatch, daily, old, new)
    with pytest.raises((AssertionError, ValueError)):
        for seed in (1, 2, 3):
            check_order(seed)
