"""Training is a function of the events before `until`: not of how they were batched, of labels, of what came later."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from functools import cache
from types import SimpleNamespace

import numpy as np
import pytest
import world
from laws import watched
from mutation import mutate

from detector import training
from detector.core import hypotheses
from detector.core.baselines import Baselines
from detector.core.events import ACTIONS, EventBatch
from detector.core.formats.native import Limits, decode
from detector.core.frame import DAY
from detector.core.model import Model
from detector.core.signals import accumulators
from detector.core.views import EMPLOYEE
from detector.errors import ModelError

BEGIN = world.END - world.DAYS * DAY
WEEK = BEGIN + 7 * DAY


@cache
def week() -> EventBatch:
    batch = world.history()
    return batch.take(np.flatnonzero(batch.broker_time < WEEK))


def train(*batches: EventBatch, until: int | None = None, seed: int = 7) -> tuple[Model, training.Report]:
    return training.train(lambda: batches, EMPLOYEE, hypotheses.names(), world.context(), until, seed, 1000)


@cache
def expected() -> str:
    return digest(train(week())[0])


def digest(model: Model) -> str:
    arrays = model.to_arrays()[0]
    return hashlib.sha256(b"".join(name.encode() + str(a.dtype).encode() + a.tobytes() for name, a in sorted(arrays.items()))).hexdigest()


def parts(batch: EventBatch, sizes: Sequence[int]) -> list[EventBatch]:
    cuts = np.cumsum(sizes)
    return [batch.take(slice(a, b)) for a, b in zip([0, *cuts.tolist()], [*cuts.tolist(), None], strict=True)]


def test_the_same_events_give_the_same_bytes_and_another_seed_another_forest() -> None:
    assert digest(train(week())[0]) == expected()
    assert digest(train(week(), seed=8)[0]) != expected()


def check_batches_do_not_matter() -> None:
    assert digest(train(*parts(week(), [1, 0, 997, 3000, 1]))[0]) == expected()


def test_how_events_are_batched_does_not_matter() -> None:
    check_batches_do_not_matter()


def test_labels_are_never_read() -> None:
    """Members that the contract does not know, such as a label in a recorded file, leave no trace."""
    guilty = world.company().planted[0].event_ids
    made, first = [], 0
    for day in world.company().days(BEGIN, WEEK):
        events = [{**json.loads(v), "label": "abuse", "is_abuse": True, "x": json.loads(v)["event_id"] in guilty} for v in day.values]
        labelled = SimpleNamespace(keys=day.keys, values=[json.dumps(e).encode() for e in events], arrival=day.arrival)
        made.append(decode(world.as_records(_sized(labelled), first), Limits()))
        first += len(day)
    assert [b.dead for b in made] == [[]] * len(made)
    assert digest(train(*made)[0]) == expected()


def _sized(day: SimpleNamespace) -> world.Day:
    return world.Day(day.arrival, day.keys, day.values)


def check_until() -> None:
    """`until` is a time of events, not of their arrival: one is just before it, and arrived after it."""
    time, delay = week().time, week().broker_time - week().time
    latest = np.argmax(np.where(time > BEGIN + 6.2 * DAY, delay, 0))
    until = int(time[latest]) + 1
    assert delay[latest] > 10_000
    before = week().take(np.flatnonzero(time < until))
    model, report = train(week(), until=until)
    assert report.last == until - 1 and report.events == len(before)
    assert digest(model) == digest(train(before)[0])


def test_nothing_at_or_after_until_is_looked_at() -> None:
    check_until()


def check_short_histories() -> None:
    short = week().take(np.flatnonzero(week().time < BEGIN + 5.5 * DAY))
    for history in ([], [short.take(slice(0, 0))], [short]):
        with pytest.raises(ModelError, match="at least 6, better 28"):
            train(*history)


def test_a_history_that_is_too_short_is_refused() -> None:
    check_short_histories()


def test_a_report_says_what_was_seen() -> None:
    _, report = train(week())
    assert report.events == len(week()) and report.employees == len({row.actor for row in week().rows})
    ids = [(row.actor, row.event_id) for row in week().rows]
    assert report.repeated == len(ids) - len(set(ids)) > 0
    assert (report.first, report.last) == (week().time.min(), week().time.max())
    assert report.held_from % DAY == 0 and 0 <= report.last - 0.3 * (report.last - report.first) - report.held_from < DAY


def check_vocabulary() -> None:
    model, report = train(week())
    early = [row for row, time in zip(week().rows, week().time // DAY * DAY, strict=True) if time < report.held_from]
    pairs = [(row.resource, row.action) for row in early if ACTIONS[row.action] not in ("assign", "unassign")]
    assert set(model.baselines.pairs) == {pair for pair in pairs if pairs.count(pair) >= 3}


def test_the_vocabulary_is_what_was_used_three_times_before_the_held_out_days() -> None:
    check_vocabulary()


def check_the_past_alone() -> None:
    """Features of the first days are the same whatever comes after them."""
    seen = []
    fixed = training._count([week()])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "_count", lambda batches: (list(batches), fixed)[1])
        patch.setattr(training, "fit", lambda *_: None)
        for until in (BEGIN + 4 * DAY, BEGIN + 5 * DAY, None):
            with watched() as features:
                train(week().take(np.flatnonzero(week().time // DAY * DAY < (until or WEEK))))
            seen.append(features)
    assert 0 < len(seen[0]) < len(seen[1]) < len(seen[2])
    assert seen[0].items() <= seen[1].items() <= seen[2].items()


def test_features_come_from_the_past_alone() -> None:
    check_the_past_alone()


def test_days_are_compared_with_what_teams_did_on_the_days_before() -> None:
    learned = train(week())[0].baselines
    assert learned.teams[0] == "" and {"internal-audit"} & {t.removesuffix("-us") for t in learned.teams}
    blank = Baselines.blank(learned.pairs, accumulators.K)
    assert learned.mean.max() > 0 and not np.array_equal(learned.pair_company, blank.pair_company)
    for shares in (learned.pair_company[None], learned.pair_team, learned.hour_team):
        np.testing.assert_allclose(shares.sum(axis=1), 1, atol=1e-9)


@pytest.mark.parametrize(
    ("check", "old", "new"),
    [
        (check_batches_do_not_matter, "seen.features.column(\"harvest\") > 0][-GOLDEN:]", "seen.features.column(\"harvest\") > 0][-1:]"),
        (check_batches_do_not_matter, "np.maximum(batch.time // DAY, self._day)", "batch.time.min() // DAY + 0 * batch.time"),
        (check_until, "yield batch if until is None else", "yield batch if True else"),
        (check_until, "batch.time < until", "batch.broker_time < until"),
        (check_short_histories, "LEAST_DAYS = 6", "LEAST_DAYS = 5"),
        (check_vocabulary, "LEAST_SEEN = 3", "LEAST_SEEN = 50"),
        (check_vocabulary, "if d * DAY < report.held_from and", "if"),
        (check_vocabulary, 'not in ("assign", "unassign")', 'not in ("assign",)'),
        (check_the_past_alone, "cuts = [0, *(", "self.tracker.state.columns['pair_total'][:] += len(batch); cuts = [0, *("),
    ],
)  # fmt: skip
def test_a_change_is_noticed(check: object, old: str, new: str, monkeypatch: pytest.MonkeyPatch) -> None:
    expected()
    mutate(monkeypatch, training, old, new)
    with pytest.raises((AssertionError, pytest.fail.Exception)):
        check()  # type: ignore[operator]
