"""Profiles, hours, masquerade and accumulators equal their slow versions, and each of many small changes to a kernel is noticed."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from types import ModuleType, SimpleNamespace
from typing import Any

import histories
import numpy as np
import pytest
from histories import MINUTE, PAIRS, Event, bursts, person
from hypothesis import given, settings
from hypothesis import strategies as st
from mutation import mutate
from slow_profiles import SUMS, SlowAccumulators, SlowHours, SlowMasquerade, SlowProfiles

from detector.core.baselines import Baselines
from detector.core.features import FeatureBatch
from detector.core.frame import Frame
from detector.core.signals import accumulators, hours, masquerade, profiles
from detector.core.state import KeyedState, Slots

OTHERS = tuple(e.name for e in accumulators.EVIDENCE if e.name not in ("foreign", "odd_hour", "odd_step"))
TIMES = {"export": 100, "bytes_out": 1e5, "work": 20}


def given_by_others(state: KeyedState, slots: Slots, frame: Frame, baselines: Baselines, out: FeatureBatch) -> None:
    """Stands for the families before: an explanation, and now and then some evidence."""
    out.column("w")[:] = np.array([1, 0.35, 0.03])[(frame.purpose % np.uint64(3)).astype(np.int64)]
    for j, name in enumerate(OTHERS):
        carried = (frame.time // MINUTE + 7 * j) % 5 == 0
        out.column(name)[:] = carried * (1 + j) * out.column("w") * TIMES.get(name, 1)


class GivenByOthers:
    def observe(self, event: Event, b: Baselines, said: dict[str, float]) -> None:
        said["w"] = (1, 0.35, 0.03)[event.purpose % 3]
        for j, name in enumerate(OTHERS):
            if (event.time // MINUTE + 7 * j) % 5 == 0:
                said[name] = (1 + j) * said["w"] * TIMES.get(name, 1)


STAND_IN: Any = SimpleNamespace(GIVES=("w", *OTHERS), COLUMNS=(), observe=given_by_others)
FAMILIES = (STAND_IN, profiles, hours, masquerade, accumulators)
TWINS = (GivenByOthers, SlowProfiles, SlowHours, SlowMasquerade, SlowAccumulators)


def history(seed: int) -> list[Event]:
    rng = np.random.default_rng(seed)
    return many_kinds(rng) if seed % 3 == 0 else habits(rng)


def habits(rng: np.random.Generator) -> list[Event]:
    """People who do a few things in a few orders, so that steps recur."""
    events = bursts(rng, 400)
    rows = rng.choice([-1, 0, 1, 2, 3], len(events), p=[0.1, 0.3, 0.3, 0.2, 0.1]).tolist()
    half = len(events) // 2  # nobody's team is known before
    return [
        replace(e, pair_row=row, pair=1000 * (row + 1) if row >= 0 else 99_001, team_key=e.team_key if i > half else 0)
        for i, (e, row) in enumerate(zip(events, rows, strict=True))
    ]


def many_kinds(rng: np.random.Generator) -> list[Event]:
    """One person who does more kinds of things than the tables hold, in times when few are done again and times when many are new."""
    events, at = [], histories.START
    for i in range(700):
        at += int(rng.exponential(rng.choice([MINUTE, 100 * MINUTE])))
        kind = int(rng.integers(76) if i < 400 else rng.choice([rng.integers(3), rng.integers(3, 76)]))
        events.append(replace(person(rng, 1, at, 1, [5, 6]), pair_row=kind if kind < PAIRS else -1, pair=1000 * (kind + 1)))
    return events


def robot() -> list[Event]:
    """A service account that does one thing more often than a count can hold, and another now and then, on two days."""
    rng = np.random.default_rng(7)
    one = person(rng, 1, histories.START, 1, [])
    kinds = [0 if i % 50 else 1 for i in range(4300)]
    steps = [histories.START + i * 1000 + (histories.DAY if i > 4200 else 0) for i in range(len(kinds))]
    return [replace(one, time=at, action="read", pair_row=k, pair=1000 * (k + 1)) for at, k in zip(steps, kinds, strict=True)]


def differing(seed: int) -> set[str]:
    return histories.differing(FAMILIES, TWINS, history(seed))


def of_the_robot() -> set[str]:
    return histories.differing(FAMILIES[:2], TWINS[:2], robot())


def test_a_count_that_would_overflow_is_halved_with_all_others() -> None:
    assert of_the_robot() == set()


@settings(derandomize=True, deadline=None, max_examples=12, database=None)
@given(st.integers(0, 2**32 - 1))
def test_every_signal_equals_its_slow_version(seed: int) -> None:
    assert differing(seed) == set()


SEEDS = (1, 3)


@pytest.mark.parametrize("seed", SEEDS)
def test_kernels_as_plain_python_equal_it_too(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (profiles, hours, masquerade, accumulators):
        mutate(monkeypatch, module, "", "")
    assert differing(seed) == set()


def without_work(state: KeyedState, slots: Slots, frame: Frame, baselines: Baselines, out: FeatureBatch) -> None:
    given_by_others(state, slots, frame, baselines, out)
    out.column("work")[:] = 0


def test_evidence_is_compared_as_it_is_where_no_work_has_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    families: Any = (SimpleNamespace(GIVES=("w", *OTHERS), COLUMNS=(), observe=without_work), *FAMILIES[1:])
    idle = np.arange(accumulators.K) == accumulators.WORK
    usual = replace(histories.baselines(), mean=histories.baselines().mean * ~idle, busy=histories.baselines().busy * ~idle)
    monkeypatch.setattr(histories, "baselines", lambda: usual)
    seen = []
    for compared in ("level if k == WORK or busier <= 0.0", "level if True"):
        with pytest.MonkeyPatch.context() as patch:
            mutate(patch, accumulators, "level if k == WORK or busier <= 0.0", compared)
            seen.append(histories.fast(families, history(1)).tobytes())
    assert seen[0] == seen[1]


def test_the_histories_reach_every_case() -> None:
    seen: Counter[str] = Counter()
    for seed in SEEDS:
        table = histories.slow(FAMILIES, TWINS, history(seed))
        seen.update({name: int((table[:, j] != 0).sum()) for j, name in enumerate(histories.names(FAMILIES))})
        seen["an event before the one before"] += sum(b.time < a.time for a, b in zip(history(seed), history(seed)[1:], strict=False))
    assert all(seen[name] > 20 for name in histories.names(FAMILIES))
    assert seen["an event before the one before"] > 20
    assert tuple(SUMS) == accumulators.NAMES


MUTATIONS: list[tuple[ModuleType, str, str]] = [
    (profiles, "PAIRS, STEPS = 64, 70", "PAIRS, STEPS = 56, 70"),
    (profiles, "PAIRS, STEPS = 64, 70", "PAIRS, STEPS = 64, 56"),
    (profiles, "KEEP = 0.965", "KEEP = 0.955"),
    (profiles, "TEAM_EVENTS, COMPANY_EVENTS = 12.0, 0.3", "TEAM_EVENTS, COMPANY_EVENTS = 11.0, 0.3"),
    (profiles, "TEAM_EVENTS, COMPANY_EVENTS = 12.0, 0.3", "TEAM_EVENTS, COMPANY_EVENTS = 12.0, 0.4"),
    (profiles, "LEAST_LLR, MOST_LLR = -3.0, 6.0", "LEAST_LLR, MOST_LLR = -2.0, 6.0"),
    (profiles, "if day > last_day[s]", "if day != last_day[s]"),
    (profiles, "            last_pair[s] = 0\n", ""),
    (profiles, "            _fade(KEEP, pair_count[s], pair_total[s : s + 1])\n", ""),
    (profiles, "            _fade(KEEP, step_count[s], step_total[s : s + 1])\n", ""),
    (profiles, "own if g == 0 else 0.5 * own + 0.5 * pair_team[g, row]", "0.5 * own + 0.5 * pair_team[g, row]"),
    (profiles, "own if g == 0 else 0.5 * own + 0.5 * pair_team[g, row]", "own"),
    (profiles, "kind[i] == WATCH or kind[i] == IAM", "kind[i] == WATCH"),
    (profiles, "max(math.log(peers / neither) - 1.0, 0.0)", "max(math.log(peers / neither), 0.0)"),
    (profiles, "half * values[i, w] *", "half *"),
    (profiles, "0.5 * of_company + 0.25 * of_team + 0.25 / words", "0.75 * of_company + 0.25 / words"),
    (profiles, "0.5 * of_company + 0.25 * of_team + 0.25 / words", "0.5 * of_company + 0.25 * of_team"),
    (profiles, "        if count[j] < count[at]:\n            at = j\n", ""),
    (profiles, "np.uint16(count[j] * keep)", "np.uint16(count[j] * keep + 0.5)"),
    (profiles, "        key[at], count[at] = word, 0\n", "        key[at] = word\n"),
    (profiles, "        _fade(0.5, count, total)\n", "        count[at] = MOST_COUNT\n"),
    (profiles, "MOST_COUNT = 65_535", "MOST_COUNT = 60_000"),
    (profiles, "count[j] / SIXTEENTHS", "count[j] / SIXTEENTHS // 1"),
    (profiles, "total[0] += 1.0", "total[0] += 0.5"),
    (profiles, "total[0] *= keep", "total[0] *= 1.0"),
    (profiles, "        last_pair[s] = pair[i]\n", ""),
    (profiles, "if action[i] >= ASSIGN", "if action[i] > ASSIGN"),
    (profiles, "np.uint64(before) << np.uint64(32)", "np.uint64(before) << np.uint64(31)"),
    (hours, "KEEP, TEAM_EVENTS, FLOOR = 0.96", "KEEP, TEAM_EVENTS, FLOOR = 0.95"),
    (hours, "0.96, 25.0, 0.02", "0.96, 24.0, 0.02"),
    (hours, "25.0, 0.02", "25.0, 0.0"),
    (hours, "(h + 23) % 24", "(h + 22) % 24"),
    (hours, "kind = h - h % 24", "kind = 0"),
    (hours, "if day > last_day[s]", "if day >= last_day[s]"),
    (hours, "total[s] *= KEEP", "total[s] *= 1.0"),
    (hours, "off_hours[i] = w[i] * rare", "off_hours[i] = rare"),
    (hours, "action[i] != LOGIN and ", ""),
    (hours, " and action[i] != GRANT", ""),
    (hours, " and action[i] != ADMIN", ""),
    (hours, "subject[i] != 0 and ", ""),
    (hours, "0.5 * _near(team_share[0], h) + 0.25 * of_team + 0.25 / HOURS", "0.75 * _near(team_share[0], h) + 0.25 / HOURS"),
    (hours, "if action[i] >= ASSIGN", "if action[i] > ASSIGN"),
    (masquerade, "HALF_LIFE = 4.0", "HALF_LIFE = 5.0"),
    (masquerade, "PRIOR_EVENTS = 10.0", "PRIOR_EVENTS = 9.0"),
    (masquerade, "pair[i] + step[i] + hour[i]", "pair[i] + step[i]"),
    (masquerade, "pair[i] + step[i] + hour[i]", "pair[i] + hour[i]"),
    (masquerade, "pair[i] + step[i] + hour[i]", "step[i] + hour[i]"),
    (masquerade, "max(time[i] - clock[s], 0)", "abs(time[i] - clock[s])"),
    (masquerade, "clock[s] = max(clock[s], time[i])", "clock[s] = time[i]"),
    (masquerade, "PRIOR_EVENTS), 0.0)", "PRIOR_EVENTS), -1.0)"),
    (masquerade, "if action[i] >= ASSIGN", "if action[i] > ASSIGN"),
    (masquerade, "events[s] = events[s] * decay + 1.0", "events[s] = events[s] + 1.0"),
    (accumulators, "total[s, k] = total[s, k] * decay[half[k]]", "total[s, k] = total[s, k]"),
    (accumulators, "level if k == WORK or busier <= 0.0", "level if True"),
    (accumulators, "level if k == WORK or busier <= 0.0", "level if busier <= 0.0"),
    (accumulators, "values[i, at] = level", "values[i, at] = y"),
    (accumulators, "MOST_WORK = 1.5", "MOST_WORK = 1.4"),
    (accumulators, "- usual_work, MOST_WORK), t_busy[g, WORK])", "- usual_work, MOST_WORK), 0.0)"),
    (accumulators, "- usual_work, MOST_WORK), t_busy[g, WORK])", "- t_mean[g, WORK], MOST_WORK), t_busy[g, WORK])"),
    (accumulators, "total[s, WORK]) - usual_work, MOST_WORK), t_busy", "total[s, WORK]) - usual_work, -9.0), t_busy"),
    (accumulators, "* math.exp(-busier) / scale[k]", "* math.exp(-busier)"),
    (accumulators, "dt = max(time[i] - total_time[s], 0)", "dt = abs(time[i] - total_time[s])"),
    (accumulators, "total_time[s] = max(total_time[s], time[i])", "total_time[s] = time[i]"),
    (accumulators, "CLIP_SPREAD = 0.975", "CLIP_SPREAD = 0.985"),
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
    (accumulators, "(y - m - t_busy[g, k])", "(y - t_mean[g, k] - t_busy[g, k])"),
    (accumulators, "max(t_spread[g, k], LEAST_SPREAD)", "max(sd, LEAST_SPREAD)"),
    (accumulators, "(y - m - t_busy[g, k])", "(y - m)"),
    (accumulators, "t_mean[g, k] - t_busy[g, k])", "t_mean[g, k])"),
    (accumulators, "if values[i, evidence[k]] <= 0.0:", "if values[i, evidence[k]] < 0.0:"),
    (accumulators, "decay[half[k]] + values[i, evidence[k]]", "decay[half[k]]"),
    (accumulators, 'Evidence("export", "16h", 50)', 'Evidence("export", "16h", 60)'),
    (accumulators, '"16h": 16.0 * HOUR', '"16h": 17.0 * HOUR'),
]


@pytest.mark.parametrize(("module", "old", "new"), MUTATIONS, ids=[f"{m[0].__name__.split('.')[-1]}-{i}" for i, m in enumerate(MUTATIONS)])
def test_a_changed_kernel_is_noticed(module: ModuleType, old: str, new: str, monkeypatch: pytest.MonkeyPatch) -> None:
    mutate(monkeypatch, module, old, new)
    assert any(differing(seed) for seed in SEEDS) or of_the_robot()
