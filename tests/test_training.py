"""Training is a function of the events before `until`: not of how they were batched, of labels, of what came later."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from functools import cache
from types import ModuleType, SimpleNamespace
from typing import Any

import msgspec
import numpy as np
import pytest
import world
from laws import frozen, watched
from mutation import mutate

from detector import shards, training
from detector.core import collecting, hypotheses
from detector.core.baselines import Baselines, learn
from detector.core.daily import recent
from detector.core.events import ACTIONS, EventBatch
from detector.core.formats.native import Limits, decode
from detector.core.frame import DAY
from detector.core.lookups import pair_hash
from detector.core.model import Model
from detector.core.signals import accumulators
from detector.core.strings import hash_strings
from detector.core.tracking import Observed, Tracker
from detector.core.views import EMPLOYEE
from detector.errors import ModelError
from detector.shards import Here, Shard, Task

BEGIN = world.END - world.DAYS * DAY
WEEK = BEGIN + 7 * DAY


@cache
def week() -> EventBatch:
    batch = world.history()
    return batch.take(np.flatnonzero(batch.broker_time < WEEK))


def train(*batches: EventBatch, until: int | None = None, seed: int = 7) -> tuple[Model, training.Report]:
    return training.train(batches, EMPLOYEE, hypotheses.names(), world.context(), until, seed, 1000)


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


def check_report() -> None:
    _, report = train(*parts(week(), [1, 9000, 2000]))
    assert report.events == len(week()) and report.employees == len({row.actor for row in week().rows})
    ids = [(row.actor, row.event_id) for row in week().rows]
    assert report.repeated == len(ids) - len(set(ids)) > 0
    assert (report.first, report.last) == (week().time.min(), week().time.max())
    assert report.held_from % DAY == 0 and 0 <= report.last - 0.3 * (report.last - report.first) - report.held_from < DAY


def test_a_report_says_what_was_seen() -> None:
    check_report()


def check_lesson() -> None:
    """Each day against what teams did on the days before; the first third is neither scored nor kept."""
    tracker, days, open_day = Tracker(EMPLOYEE, world.context(), Baselines.blank(accumulators.K), 13, 1000), [], week().time // DAY
    parts: list[tuple[int, EventBatch, Observed]] = []
    for day in sorted(set(np.maximum.accumulate(open_day).tolist())):
        days += [ended] if (ended := tracker.turn(day)) else []
        tracker.adopt(learn(recent(days), accumulators.K))
        some = week().take(np.flatnonzero(np.maximum.accumulate(open_day) == day))
        parts += [(day, some, seen) for seen in tracker.observe(some)]
    days += [ended] if (ended := tracker.turn(day + 1)) else []
    first = parts[0][0] + round((day + 1 - parts[0][0]) / 3)
    late = [(some.hashes("actor")[seen.row], seen) for day, some, seen in parts if day >= first]
    assert parts[0][0] < first < day
    shard, calendar, held_from, golden = kept_from(week())
    assert frozen(calendar.baselines.to_arrays()) == frozen(learn(recent(days), accumulators.K).to_arrays())
    columns = [EMPLOYEE.names.index(s) for s in shard.task.signals]
    for found, since in ((shard.kept.sampled, 0), (shard.kept.held, held_from)):
        rows = [some.take(some.time >= since) for some in found]
        assert np.concatenate([some.time for some in rows]).tolist() == [
            t for _, seen in late for t in seen.frame.time.tolist() if t >= since
        ]
        wanted = [(key[seen.frame.time >= since], seen.features.values[seen.frame.time >= since][:, columns]) for key, seen in late]
        assert (np.concatenate([some.key for some in rows]) == np.concatenate([key for key, _ in wanted])).all()
        assert np.concatenate([some.values for some in rows]).tobytes() == np.concatenate([values for _, values in wanted]).tobytes()
    every = np.concatenate([seen.features.values for _, _, seen in parts])
    known = {row.tobytes() for row in every[every[:, EMPLOYEE.names.index("harvest")] > 0]}
    assert len({row.tobytes() for row in golden}) > 20 and {row.tobytes() for row in golden} <= known
    assert held_from < week().time.max()


def kept_from(*batches: EventBatch) -> tuple[Shard, Any, int, Any]:
    """What a training fits its model from."""
    given: list[Any] = []
    crew = Here(Task(EMPLOYEE, tuple(hypotheses.names()), world.context(), seed=7, max_keys=1000))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "_fitted", lambda *args: (given.append(args), lambda _: None)[1])
        training.lesson(training.by_day(batches), crew, crew._shard.task)
    return crew._shard, given[0][3], given[0][4], given[0][5]


def test_each_day_is_compared_with_what_teams_did_on_the_days_before() -> None:
    check_lesson()


def test_the_vocabulary_is_what_busy_people_worked_with() -> None:
    model, _ = train(week())
    rows = [row for row in week().rows if ACTIONS[row.action] not in ("assign", "unassign")]
    used = pair_hash(hash_strings([row.resource for row in rows]), np.array([row.action for row in rows]))
    assert set(model.baselines.pairs.tolist()) <= set(used.tolist())
    often = {pair for pair in set(used.tolist()) if (used == pair).sum() > 100}
    assert len(often) > 5 and often <= set(model.baselines.pairs.tolist())
    teams = {hashed for hashed in hash_strings([row.actor_team or "" for row in week().rows]).tolist() if hashed}
    assert len(teams) > 5 and teams & set(model.baselines.teams.tolist())


def check_reasons() -> None:
    """A hypothesis about accesses without a reason is off where the log hardly ever gives one."""
    with watched() as features:
        model, report = train(week())
    assert report.off == () and len(model.hypotheses) == 13
    w = {key: np.frombuffer(row, np.float32)[EMPLOYEE.names.index("w")] for key, row in features.items()}
    rows = {row.event_id: row for row in week().rows}.values()
    looks = [row for row in rows if row.subject and ACTIONS[row.action] not in ("login", "grant", "admin", "assign", "unassign")]
    assert report.on_people == len(looks) and any(not row.purpose and w[row.event_id] < 0.06 for row in looks)
    assert report.with_reason == sum(bool(row.purpose) or w[row.event_id] < 0.06 for row in looks)
    for share, off in ((0, ("repeat",)), (0.005, ("repeat",)), (0.02, ())):
        model, report = train(without_reasons(share))
        assert report.off == off and {h.name for h in model.hypotheses} == set(hypotheses.names()) - set(off)
        assert abs(report.with_reason / report.on_people - share) < 0.004


def test_where_no_hypothesis_that_was_chosen_has_anything_to_say_there_is_no_model() -> None:
    with pytest.raises(ModelError, match="repeat: the history never says why"):
        training.train([without_reasons(0)], EMPLOYEE, ("repeat",), world.context(), None, 7, 1000)


def without_reasons(share: float) -> EventBatch:
    """The week without assignments, and with a purpose on about this share of the events alone."""
    batch = week().take(np.flatnonzero(np.array([ACTIONS[row.action] not in ("assign", "unassign") for row in week().rows])))
    chosen = np.random.default_rng(1).random(len(batch)) < share
    rows = [msgspec.structs.replace(row, purpose="CASE-1" if yes else None) for row, yes in zip(batch.rows, chosen, strict=True)]
    return EventBatch(batch.topic, 0, batch.offset, batch.broker_time, batch.time, rows)


def test_who_never_says_why_is_not_asked_for_reasons() -> None:
    check_reasons()


def check_the_past_alone() -> None:
    """Features of the first days are the same whatever comes after them."""
    seen = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "_fitted", lambda *_: lambda _: None)
        patch.setattr(training, "LEAST_DAYS", 2)
        for until in (BEGIN + 4 * DAY, BEGIN + 5 * DAY, None):
            with watched() as features:
                train(week().take(np.flatnonzero(week().time // DAY * DAY < (until or WEEK))))
            seen.append(features)
    assert 0 < len(seen[0]) < len(seen[1]) < len(seen[2])
    assert seen[0].items() <= seen[1].items() <= seen[2].items()


def test_features_come_from_the_past_alone() -> None:
    check_the_past_alone()


FROM_THE_FUTURE = "self.tracker.state.columns['pair_total'][:] += len(batch)"


SHARD, KEPT, DAYS = shards, collecting, training
FROM_THE_FUTURE = "    log = list(log)\n    crew.take(log[-1][1])\n    for day, parts in log:\n"


@pytest.mark.parametrize(
    ("check", "module", "old", "new"),
    [
        (check_batches_do_not_matter, KEPT, "[:most]\n", "[-most:]\n"),
        (check_batches_do_not_matter, DAYS, "np.maximum.accumulate(np.maximum(batch.time // DAY, latest))", "0 * batch.time + 20_000"),
        (check_lesson, DAYS, "day if self.first < 0 else self.first", "day"),
        (check_until, DAYS, "whole.time < until", "whole.broker_time < until"),
        (check_short_histories, DAYS, "LEAST_DAYS = 6", "LEAST_DAYS = 5"),
        (check_lesson, DAYS, "LEARNING_SHARE = 1 / 3", "LEARNING_SHARE = 1 / 2"),
        (check_lesson, DAYS, '"adopt", self.baselines,', '"adopt", Baselines.blank(23),'),
        (check_lesson, DAYS, "            self.window.add(ended)\n", "            self.window = Window.of(ended)\n"),
        (check_lesson, DAYS, "        self.turn(self._day + 1)\n", ""),
        (check_lesson, KEPT, "self.sampled[0].day < bars.first_day:\n            self.sampled.popleft()", "False:\n            pass"),
        (check_lesson, KEPT, "<= bars.held_from):", "<= bars.held_from + 86_400_000):"),
        (check_lesson, KEPT, "features[:, self._counted] > 0", "features[:, self._counted] >= 0"),
        (check_lesson, KEPT, "features[:, self._signals]", "features[:, self._signals[::-1]]"),
        (check_lesson, SHARD, "self.kept.add(self.tracker.day,", "self.kept.add(0,"),
        (check_report, DAYS, "HELD_SHARE = 0.3", "HELD_SHARE = 0.5"),
        (check_report, DAYS, "begun) // DAY * DAY\n", "begun) // DAY\n"),
        (check_report, SHARD, "seen.events += len(batch)", "seen.events = len(batch)"),
        (check_report, SHARD, "min(seen.first, int(batch.time.min()))", "int(batch.time.min())"),
        (check_report, SHARD, "max(seen.last, int(batch.time.max()))", "int(batch.time.min())"),
        (check_report, SHARD, "self.seen.repeated, self.seen.employees =", "_, self.seen.employees ="),
        (check_reasons, DAYS, "LEAST_REASONS = 0.01", "LEAST_REASONS = 0.001"),
        (check_reasons, DAYS, "LEAST_REASONS = 0.01", "LEAST_REASONS = 0.05"),
        (check_reasons, DAYS, "if h.needs_reasons and report", "if report"),
        (check_reasons, SHARD, "(frame.purpose != 0) | ", ""),
        (check_reasons, SHARD, ' | (features.column("w") < 2 * explanation.W_ASSIGNED)', ""),
        (check_reasons, SHARD, "on_people = frame.on_person()", "on_people = frame.subject != 0"),
        (check_reasons, DAYS, "for h in on if h.name not in report.off", "for h in on"),
        (check_lesson, DAYS, "        calendar.turn(day)\n", "        calendar.turn(day + 1)\n"),
        (check_the_past_alone, DAYS, "    for day, parts in log:\n", FROM_THE_FUTURE),
    ],
)  # fmt: skip
def test_a_change_is_noticed(check: object, module: ModuleType, old: str, new: str, monkeypatch: pytest.MonkeyPatch) -> None:
    expected()
    mutate(monkeypatch, module, old, new)
    with pytest.raises((AssertionError, ValueError, ModelError, TypeError, pytest.fail.Exception)):
        check()  # type: ignore[operator]
