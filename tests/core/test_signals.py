"""Every kernel of the signals equals a slow and obvious version, and each of many small changes to a kernel is noticed."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import replace
from functools import cache
from types import ModuleType

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mutation import mutate
from slow_signals import DAY, HOUR, MINUTE, Event, Held, Person, features

from detector.core.baselines import HOURS, Baselines
from detector.core.events import ACTIONS, NO_TIME
from detector.core.frame import Frame
from detector.core.signals import accumulators, evidence, explanation, hours, resources
from detector.core.state import KeyedState
from detector.core.views import EMPLOYEE, _hour

START = 1_790_000_000_000
MAX_KEYS = 16
LOOKS = ("read", "read", "list", "export", "write", "login", "search")


@cache
def baselines() -> Baselines:
    rng = np.random.default_rng(5)
    mean, spread = rng.uniform(0, 1.5, (3, accumulators.K)), rng.uniform(0.05, 0.8, (3, accumulators.K))
    pairs = tuple((f"r{i}", 2) for i in range(6))
    hour_team = rng.dirichlet(np.full(HOURS, 0.3), 3) + 1e-4
    company, team = rng.dirichlet(np.full(7, 0.4)) + 1e-3, rng.dirichlet(np.full(7, 0.3), 3) + 1e-3
    return Baselines(("", "a", "b"), pairs, company, team, hour_team, mean, spread)


def people(rng: np.random.Generator) -> list[int]:
    """Hashes of subjects, none of which the filter takes for others: the slow version knows them all exactly."""
    while True:
        some = rng.integers(1, 2**63, 14).tolist()
        bits = {s: {s >> 20 * k & 2047 for k in range(3)} for s in some}
        if not any(bits[s] <= set().union(*(bits[t] for t in some if t != s)) for s in some):
            return some


def history(seed: int) -> list[Event]:
    rng = np.random.default_rng(seed)
    return deadlines(rng) if seed % 3 == 0 else bursts(rng)


def bursts(rng: np.random.Generator, length: int = 500) -> list[Event]:
    """Bursts and pauses, one busy person and many others, transfers, assignments that end in many ways, events that come late."""
    subjects, at, events = people(rng), START, []
    shares = np.array([12, *[0.6] * 23])
    team = {key: int(rng.integers(3)) for key in range(24)}
    for _ in range(length):
        at += int(rng.exponential(rng.choice([MINUTE, 20 * MINUTE, 3 * HOUR, 20 * HOUR], p=[0.3, 0.4, 0.2, 0.1])))
        key = int(rng.choice(24, p=shares / shares.sum()))
        late = int(rng.choice([0, rng.integers(3 * HOUR), rng.integers(3 * DAY)], p=[0.85, 0.1, 0.05]))
        if rng.random() < 0.02:
            team[key] = int(rng.integers(3))
        events.append(event(rng, key + 1, at - late, team[key], subjects))
    return events


def deadlines(rng: np.random.Generator, cases: int = 45) -> list[Event]:
    """One person, for most of a year: assignments, and looks just before and just after what one counts for changes; some come late."""
    subjects, at, events = people(rng), START, []
    plain = {"purpose": 0, "own": False, "valid_until": None}
    for _ in range(cases):
        subject, *others = rng.permutation(subjects).tolist()
        ends = rng.choice([at + int(rng.integers(2 * DAY)), 0])
        made = [replace(event(rng, 1, at, 1, [subject]), **plain, action="assign", subject=subject)]
        made[0].valid_until = int(ends) or None
        made += [replace(made[0], subject=others[i % 13]) for i in range(rng.choice([0, 30, 31, 32], p=[0.7, 0.1, 0.1, 0.1]))]
        end = at + int(rng.choice([HOUR, 60 * HOUR]))
        if rng.random() < 0.5:
            made.append(replace(made[0], time=end, action="unassign", valid_until=None, purpose=int(rng.choice([0, 31]))))
        edges = [end, end + 4 * HOUR, at + 5 * DAY, at + 14 * DAY, int(ends or at) + 6 * HOUR]
        looks = [replace(event(rng, 1, edge + step, 1, subjects), **plain, subject=subject) for edge in edges for step in (-MINUTE, MINUTE)]
        made += [replace(look, action="read" if look.action.endswith("assign") else look.action) for look in looks]
        made.sort(key=lambda e: e.time)
        late = replace(looks[0], action="read", time=at - MINUTE)
        events += [*made[:1], late, *made[1:], *(replace(e, time=e.time - DAY) for e in made[-2:] if rng.random() < 0.3)]
        at = max(e.time for e in events) + int(rng.integers(2 * DAY))
    return events


def event(rng: np.random.Generator, key: int, time: int, team: int, subjects: list[int]) -> Event:
    action = str(rng.choice(["assign", "unassign", rng.choice(LOOKS)], p=[0.25, 0.07, 0.68]))
    ends = [None, time + int(rng.integers(2 * HOUR)), time + int(rng.integers(20 * DAY))]
    return Event(
        key=key,
        time=time,
        action=action,
        pair=int(rng.integers(7)),
        team=team,
        team_key=int(rng.choice([0, 71 + team], p=[0.1, 0.9])),
        subject=int(rng.choice([0, *subjects[: rng.choice([4, 14])]])),
        purpose=int(rng.choice([0, 0, 0, 31, 32, 33, 34])),
        valid_until=ends[rng.integers(3)] if action == "assign" else None,
        records=int(rng.choice([0, 1, 40, 3000])),
        special=float(rng.choice([0, 0.6, 0.8, 1])),
        own=bool(rng.random() < 0.1),
        location=bool(rng.random() < 0.3),
    )


def as_frame(events: list[Event]) -> Frame:
    def column(name: str, dtype: str) -> np.ndarray:
        return np.array([getattr(e, name) for e in events], dtype)

    time = column("time", "int64")
    until = np.array([NO_TIME if e.valid_until is None else e.valid_until for e in events], np.int64)
    return Frame(
        time, _hour(time), np.array([ACTIONS.index(e.action) for e in events]), column("pair", "int64"), column("team", "int64"),
        column("team_key", "uint64"), column("subject", "uint64"), column("purpose", "uint64"), until, column("records", "float64"),
        column("special", "float64"), column("own", "bool"), column("location", "bool"),
    )  # fmt: skip


def fast(events: list[Event]) -> np.ndarray:
    state = KeyedState([c for family in EMPLOYEE.signals for c in family.COLUMNS], MAX_KEYS)
    frame, keys = as_frame(events), np.array([e.key for e in events], np.uint64)
    return np.concatenate([EMPLOYEE.observe(state, s, frame.take(rows), baselines()).values for rows, s in state.runs(keys, frame.time)])


@cache
def slow(seed: int) -> np.ndarray:
    held, persons = Held(MAX_KEYS), defaultdict[int, Person](Person)
    out = np.zeros((0, len(EMPLOYEE.names)))
    for e in history(seed):
        for gone in held.touch(e.key, e.time):
            del persons[gone]
        said = features(persons[e.key], e, baselines())
        assert said.keys() <= set(EMPLOYEE.names)
        out = np.vstack([out, [said.get(name, 0.0) for name in EMPLOYEE.names]])
    return out


def differing(seed: int) -> set[str]:
    """Features that some event sees differently."""
    far = ~np.isclose(fast(history(seed)), slow(seed), rtol=2e-4, atol=2e-4)
    return {EMPLOYEE.names[j] for j in np.flatnonzero(far.any(axis=0))}


@settings(derandomize=True, deadline=None, max_examples=12, database=None)
@given(st.integers(0, 2**32 - 1))
def test_every_signal_equals_its_slow_version(seed: int) -> None:
    assert differing(seed) == set()


SEEDS = (1, 2, 3)


@pytest.mark.parametrize("seed", SEEDS)
def test_kernels_as_plain_python_equal_it_too(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (explanation, resources, hours, accumulators):
        mutate(monkeypatch, module, "", "")
    assert differing(seed) == set()


def test_the_histories_reach_every_case() -> None:
    seen: Counter[str] = Counter()
    for seed in SEEDS:
        table = slow(seed)
        weights, counts = np.unique(table[:, EMPLOYEE.names.index("w")].round(6), return_counts=True)
        seen.update({f"w {w:g}": int(n) for w, n in zip(weights, counts, strict=True)})
        seen.update({name: int((table[:, j] != 0).sum()) for j, name in enumerate(EMPLOYEE.names)})
        seen["an event before the one before"] += sum(b.time < a.time for a, b in zip(history(seed), history(seed)[1:], strict=False))
    assert {f"w {w:g}" for w in (0.03, 0.2, 0.3, 0.35, 1, 0.03 * 0.15, 0.15)} <= seen.keys()
    assert all(seen[name] > 20 for name in EMPLOYEE.names)
    assert seen["an event before the one before"] > 50


MUTATIONS: list[tuple[ModuleType, str, str]] = [
    (explanation, "GRACE, GRACE_UNASSIGNED, RECENT = 6 * HOUR", "GRACE, GRACE_UNASSIGNED, RECENT = 5 * HOUR"),
    (explanation, "6 * HOUR, 4 * HOUR, 5 * DAY", "6 * HOUR, 3 * HOUR, 5 * DAY"),
    (explanation, "4 * HOUR, 5 * DAY", "4 * HOUR, 6 * DAY"),
    (explanation, "OPEN_END = 14 * DAY", "OPEN_END = 13 * DAY"),
    (explanation, "GENERATION_DAYS = 30", "GENERATION_DAYS = 31"),
    (explanation, "RING = 32", "RING = 31"),
    (explanation, "(purpose == 0 or a_purpose[j] == purpose)", "(a_purpose[j] == purpose)"),
    (explanation, "a_until[j] = min(a_until[j], time + GRACE_UNASSIGNED)", "a_until[j] = time + GRACE_UNASSIGNED"),
    (explanation, "if a_at[j] <= time <= a_until[j]", "if time <= a_until[j]"),
    (explanation, "0 <= time - a_at[j] < RECENT", "time - a_at[j] < RECENT"),
    (
        explanation,
        "own_purpose |= purpose != 0 and a_purpose[j] == purpose",
        "own_purpose |= a_subject[j] == subject and a_purpose[j] == purpose",
    ),
    (explanation, "if subject[i] != 0 and action[i] != LOGIN", "if subject[i] != 0"),
    (explanation, "return 0.0 if young or old else 1.0", "return 0.0 if young else 1.0"),
    (explanation, "if day > seen_day[0]", "if day != seen_day[0]"),
    (explanation, "seen[1] = seen[0]", "seen[1] |= seen[0]"),
    (explanation, "            w[i] *= OWN", "            w[i] = OWN"),
    (resources, "KEEP = 0.95", "KEEP = 0.96"),
    (resources, "if day > last_day[s]", "if day != last_day[s]"),
    (resources, "            total[s] *= KEEP\n", "            total[s] *= 1\n"),
    (resources, "        count[s, p] += 1.0", "        if p == other:\n            continue\n        count[s, p] += 1.0"),
    (resources, "+ 0.25 * of_team + 0.25 * uniform", "+ 0.25 * of_team"),
    (resources, "(0.5 * own + 0.5 * of_team)) - 1.0, 0.0)", "own) - 1.0, 0.0)"),
    (resources, "if action[i] >= ASSIGN", "if action[i] > ASSIGN"),
    (resources, "        if p != other:", "        count[s, p] += 1.0\n        total[s] += 1.0\n        if p != other:"),
    (hours, "KEEP, TEAM_EVENTS, FLOOR = 0.96", "KEEP, TEAM_EVENTS, FLOOR = 0.95"),
    (hours, "0.96, 25.0, 0.02", "0.96, 24.0, 0.02"),
    (hours, "25.0, 0.02", "25.0, 0.0"),
    (hours, "(h + 23) % 24", "(h + 22) % 24"),
    (hours, "kind = h - h % 24", "kind = 0"),
    (hours, "if day > last_day[s]", "if day >= last_day[s]"),
    (hours, "off_hours[i] = w[i] * rare", "off_hours[i] = rare"),
    (hours, "subject[i] != 0 and action[i] != LOGIN", "subject[i] != 0"),
    (evidence, "np.where(frame.own, 0, ", "(1 * "),
    (evidence, "* (1 + frame.location)", ""),
    (evidence, "(0.2 + 0.8 * w)", "(0.1 + 0.9 * w)"),
    (evidence, "(frame.action < ASSIGN) & (frame.action != LOGIN)", "frame.action < ASSIGN"),
    (evidence, 'out.column("breadth")[:] = new', 'out.column("breadth")[:] = w * new'),
    (accumulators, "total[s, k] *= decay\n                x", "x"),
    (accumulators, "dt = max(time[i] - total_time[s], 0)", "dt = abs(time[i] - total_time[s])"),
    (accumulators, "total_time[s] = max(total_time[s], time[i])", "total_time[s] = time[i]"),
    (
        accumulators,
        "KEEP_DAYS, MOST_DAYS, PRIOR_DAYS, TRANSFER, CLIP, LEAST_SPREAD, CLIP_SPREAD = 0.975",
        "KEEP_DAYS, MOST_DAYS, PRIOR_DAYS, TRANSFER, CLIP, LEAST_SPREAD, CLIP_SPREAD = 0.985",
    ),
    (accumulators, "40.0, 3.0, 0.2, 3.5, 0.15, 0.3", "10.0, 3.0, 0.2, 3.5, 0.15, 0.3"),
    (accumulators, "3.0, 0.2, 3.5, 0.15, 0.3", "4.0, 0.2, 3.5, 0.15, 0.3"),
    (accumulators, "0.2, 3.5, 0.15, 0.3", "0.3, 3.5, 0.15, 0.3"),
    (accumulators, "3.5, 0.15, 0.3", "4.5, 0.15, 0.3"),
    (accumulators, "0.15, 0.3", "0.2, 0.3"),
    (accumulators, "0.15, 0.3", "0.15, 0.4"),
    (accumulators, "if level_team[s] != 0:", "if True:"),
    (accumulators, "team_key[i] != 0 and team_key[i] != level_team[s]", "team_key[i] != level_team[s]"),
    (accumulators, "if day > level_day[s]:", "if day != level_day[s]:"),
    (accumulators, "day_level[s, k] = max(day_level[s, k], y)", "day_level[s, k] = y"),
    (accumulators, "day_level[k] = 0.0", "day_level[k] *= 0.5"),
    (accumulators, "mean[k], var[k] = y, 0.5 *", "mean[k], var[k] = y, 1.0 *"),
    (accumulators, "var[k] = (1.0 - step) * (var[k] + step * d * d)", "var[k] = (1.0 - step) * var[k] + step * d * d"),
    (accumulators, "own_days[i] = days[s]", "own_days[i] = days[s] + 1"),
    (accumulators, "(y - m) / max(sd, LEAST_SPREAD)", "(y - t_mean[g, k]) / max(sd, LEAST_SPREAD)"),
    (accumulators, "max(t_spread[g, k], LEAST_SPREAD)", "max(sd, LEAST_SPREAD)"),
    (accumulators, "if x <= 0.0:", "if x < 0.0:"),
    (
        accumulators,
        "                total[s, k] += x\n                y = math.log1p(total[s, k] / scale[e])",
        "                y = math.log1p(total[s, k] / scale[e])\n                total[s, k] += x",
    ),
    (accumulators, 'Evidence("export", 50)', 'Evidence("export", 60)'),
    (accumulators, '("16h", 16.0 * HOUR)', '("16h", 17.0 * HOUR)'),
]


@pytest.mark.parametrize(("module", "old", "new"), MUTATIONS, ids=[f"{m[0].__name__.split('.')[-1]}-{i}" for i, m in enumerate(MUTATIONS)])
def test_a_changed_kernel_is_noticed(module: ModuleType, old: str, new: str, monkeypatch: pytest.MonkeyPatch) -> None:
    mutate(monkeypatch, module, old, new)
    assert any(differing(seed) for seed in SEEDS)
