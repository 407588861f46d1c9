"""Incidents and what an alert says: when one is told, what makes it one of an incident before, its chain, its words."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import msgspec
import numpy as np
import pytest
import world
from hypothesis import given, settings
from hypothesis import strategies as st
from mutation import mutate

from detector.core import alerts, attribution
from detector.core.alerts import Over
from detector.core.frame import DAY, HOUR
from detector.core.pipeline import Pipeline, Policy
from detector.core.state import KeyedState

NOON = 20_000 * DAY + 12 * HOUR
Step = tuple[int, float, int, int]
"""Time, rarity, hypotheses that matter (bits), subject."""


def told(steps: list[Step]) -> list[str | None]:
    """For each event over the threshold the incident it is told in, or None."""
    state = KeyedState(alerts.COLUMNS, 16)
    ((_, slots),) = state.runs(np.array([7], np.uint64), np.array([0]))
    out = []
    for i, (time, rarity, mask, subject) in enumerate(steps):
        shares = np.array([0.2 if mask >> d & 1 else 0.05 for d in range(4)])
        out.append(alerts.incident(state, int(slots[0]), Over(time, rarity, shares, subject, f"{i + 1:032x}")))
    return out


def expected(steps: list[Step]) -> list[str | None]:
    """The same, slowly: an incident is told anew of a rise, another hypothesis, another subject (of the first 8), a later day."""
    out: list[str | None] = []
    incident: dict[str, Any] = {}
    for i, (time, rarity, mask, subject) in enumerate(steps):
        if not incident or time - incident["last"] > 3 * DAY:
            last = max(time, incident.get("last", time))
            incident = {"id": f"{i + 1:032x}", "last": last, "rarity": -1.0, "bits": set(), "subjects": [], "day": -1}
        bits = {d for d in range(4) if mask >> d & 1}
        new_subject = subject != 0 and subject not in incident["subjects"] and len(incident["subjects"]) < 8
        news = rarity >= np.float32(incident["rarity"]) + 0.3 or bits - incident["bits"] or new_subject or time // DAY > incident["day"]
        incident["last"] = max(incident["last"], time)
        incident["subjects"] += [subject] if new_subject else []
        if news:
            incident["bits"] |= bits
            incident["rarity"] = max(incident["rarity"], rarity)
            incident["day"] = max(incident["day"], time // DAY)
        out.append(incident["id"] if news else None)
    return out


def story(seed: int) -> list[Step]:
    """Of few people, with quiet times, or (odd seeds) of many."""
    rng, n = np.random.default_rng(seed), 100
    often = np.array([0.84, 0.06, 0.05, 0.05]) if seed % 2 == 0 else np.array([0.97, 0.03, 0, 0])
    times = NOON + np.cumsum(rng.choice([HOUR, 20 * HOUR, 3 * DAY, 3 * DAY + 1], n, p=often)) - rng.choice([0, 0, 0, 30 * HOUR], n)
    rarity = rng.choice([2, 2.1, 2.3, 2.35, 2.6, 3.1], n, p=[0.4, 0.2, 0.1, 0.1, 0.1, 0.1])
    subject = rng.integers(1, 25, n) * (rng.random(n) < (0.9 if seed % 2 else 0.4))
    return list(zip(times.tolist(), rarity.tolist(), rng.choice([1] * 10 + [2, 5], n).tolist(), subject.tolist(), strict=True))


@settings(derandomize=True, deadline=None, max_examples=60, database=None)
@given(st.integers(0, 2**32 - 1))
def test_incidents_are_those_of_the_slow_version(seed: int) -> None:
    assert told(story(seed)) == expected(story(seed))


@pytest.mark.parametrize(
    ("second", "is_told", "same"),
    [
        ((NOON + 1, 2.0, 1, 5), False, True),
        ((NOON + 1, 2.29, 1, 5), False, True),
        ((NOON + 1, 2.31, 1, 5), True, True),
        ((NOON + 1, 2.0, 3, 5), True, True),
        ((NOON + 1, 2.0, 1, 6), True, True),
        ((NOON + 1, 2.0, 1, 0), False, True),
        ((NOON + DAY, 2.0, 1, 5), True, True),
        ((NOON - DAY, 2.0, 1, 5), False, True),
        ((NOON + 3 * DAY, 2.0, 1, 5), True, True),
        ((NOON + 3 * DAY + 1, 2.0, 1, 5), True, False),
    ],
)
def test_what_a_second_event_must_bring_to_be_told(second: Step, is_told: bool, same: bool) -> None:
    first, then = told([(NOON, 2.0, 1, 5), second])
    assert first == f"{1:032x}"
    assert then == (None if not is_told else first if same else f"{2:032x}")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("RISE = 0.3", "RISE = 0.4"),
        ("QUIET = 3 * DAY", "QUIET = 2 * DAY"),
        ("SUBJECTS = 8", "SUBJECTS = 7"),
        ("-QUIET) > QUIET", "-QUIET) >= QUIET"),
        ('        c["incident_hypotheses"][slot] = 0\n', ""),
        ('        c["incident_rarity"][slot] = 0\n', ""),
        ('        c["incident_subject"][slot] = 0\n', ""),
        ("bool(mask & ~known)", "bool(mask != known)"),
        ('day > int(c["incident_day"][slot])', 'day != int(c["incident_day"][slot])'),
        ('= max(int(c["incident_last"][slot]), over.time)', "= over.time"),
        ('= max(float(c["incident_rarity"][slot]), over.rarity)', "= over.rarity"),
        ("= known | mask", "= mask"),
        ("np.flatnonzero(over.shares >= LEAST_SHARE)", "np.flatnonzero(over.shares >= 0)"),
        ("    subjects[free[0]] = subject\n", ""),
    ],
)
def test_a_change_is_noticed(old: str, new: str, monkeypatch: pytest.MonkeyPatch) -> None:
    mutate(monkeypatch, alerts, old, new)
    assert any(told(story(seed)) != expected(story(seed)) for seed in range(8))


# --- what an alert says


def said() -> list[tuple[alerts.Alert, bytes]]:
    return world.pipeline().process(world.live()).alerts


def test_an_alert_holds_what_an_investigator_needs() -> None:
    batch = world.live()
    at = {int(o): i for i, o in enumerate(batch.offset)}
    assert len(said()) > 10
    for alert, value in said():
        assert json.loads(value)["alert_id"] == alert.alert_id == alerts.alert_id("employee", world.TOPIC, 0, alert.evidence[-1].offset)
        row = batch.rows[at[alert.evidence[-1].offset]]
        assert (row.actor, row.subject, row.event_id) == (alert.actor, alert.subject, alert.evidence[-1].event_id)
        assert all(batch.rows[at[e.offset]].actor == alert.actor for e in alert.evidence), "evidence is of this employee"
        assert alert.rarity >= 1.0 and alert.score == pytest.approx(1 - 10**-alert.rarity, abs=1e-4)
        assert alert.reasons and [r.share for r in alert.reasons] == sorted((r.share for r in alert.reasons), reverse=True)
        assert min(r.share for r in alert.reasons) >= 0.1 and sum(r.share for r in alert.reasons) <= 1.002
        assert all(r.signals and r.text for r in alert.reasons)
        assert alert.context == world.context().hash and alert.related.actors == (alert.actor,)


def test_the_story_is_alerted() -> None:
    actors = {alert.actor for alert, _ in said()}
    planted = {row.actor for p in world.company().planted for row in world.live().rows if row.event_id in set(p.event_ids)}
    assert planted & actors


def test_before_alerts_start_events_build_state_and_are_not_alerted() -> None:
    start = world.END - 6 * HOUR
    task = Pipeline(world.pipeline().view, world.model(), world.context(), Policy(world.BUDGET, starts=start), 1000)
    found = task.process(world.live()).alerts
    assert found and all(alert.time >= start for alert, _ in found)
    assert task.tracker.state.snapshot()["sum"].tobytes() == _state_after_all()


def _state_after_all() -> bytes:
    task = world.pipeline()
    task.process(world.live())
    return task.tracker.state.snapshot()["sum"].tobytes()


def test_a_smaller_budget_alerts_of_fewer_employee_days() -> None:
    days = [
        len({(a.actor, a.time // DAY) for a, _ in world.pipeline(budget=budget).process(world.history()).alerts})
        for budget in (1.0, 10.0, 100.0)
    ]
    assert days[0] < days[1] < days[2]


@pytest.mark.parametrize(("over", "name"), [(0, "low"), (0.49, "low"), (0.5, "medium"), (1, "high"), (1.99, "high"), (2, "critical")])
def test_severity_is_how_far_over_the_threshold(over: float, name: str) -> None:
    assert alerts.severity(3 + over, 3) == name


@pytest.mark.parametrize(
    ("days", "text"), [(0, "no history"), (0.9, "no history"), (1, "about 1 active day of"), (12.4, "about 12 active days")]
)
def test_confidence_is_how_much_own_history_there_is(days: float, text: str) -> None:
    assert text in alerts.confidence(days)


def test_a_chain_hash_does_not_depend_on_order_or_space() -> None:
    value = b'{"b": [1, {"d": 2, "c": "\xc3\xa9"}], "a": null}'
    assert alerts.chain_hash(value) == hashlib.sha256('{"a":null,"b":[1,{"c":"é","d":2}]}'.encode()).hexdigest()
    assert alerts.chain_hash(value) != alerts.chain_hash(value.replace(b"1", b"2"))


def test_anybody_can_check_the_chain_with_any_json_library() -> None:
    values = [value for _, value in world.pipeline().process(world.history()).alerts]
    assert len(values) > 50
    for value in values:
        text = json.dumps(json.loads(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        assert alerts.chain_hash(value) == hashlib.sha256(text.encode()).hexdigest()


@pytest.mark.parametrize(
    ("number", "tidy"), [(None, None), (0.0, 0.0), (1.23456, 1.235), (98765.4, 98770.0), (0.00001, 0.0), (0.00012, 0.0001)]
)
def test_numbers_are_told_so_that_every_json_library_writes_them_alike(number: float | None, tidy: float | None) -> None:
    assert attribution._tidy(number) == tidy
    assert msgspec.json.encode(attribution._tidy(number)).decode() == json.dumps(tidy)


@pytest.mark.parametrize("other", [("x", "t", 0, 1), ("v", "u", 0, 1), ("v", "t", 1, 1), ("v", "t", 0, 2)])
def test_another_event_has_another_id(other: tuple[str, str, int, int]) -> None:
    assert alerts.alert_id(*other) != alerts.alert_id("v", "t", 0, 1) == alerts.alert_id("v", "t", 0, 1)


def test_shares_are_parts_of_the_score() -> None:
    rarity = np.arange(1, 1 + len(world.model().hypotheses)).astype(np.float32)
    part = attribution.shares(world.model(), rarity)
    weights = np.array([h.weight for h in world.model().hypotheses])
    np.testing.assert_allclose(part, weights * rarity**1.5 / (weights * rarity**1.5).sum())
    assert attribution.shares(world.model(), 0 * rarity).tolist() == [0] * len(rarity)
