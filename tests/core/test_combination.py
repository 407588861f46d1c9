"""How hypotheses' rarities become one score: against a slow, obvious version with dictionaries, and every change to it is noticed."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mutation import mutate

from detector.core import combination
from detector.core.combination import Wiring
from detector.core.frame import HOUR
from detector.core.hypotheses import Hypothesis
from detector.core.state import KeyedState

NAMES = ("a.1h.level", "a.1h.own_usual", "a.1h.team_usual", "a.1h.own", "a.1h.team", "b", "c", "d")
SIGNALS = ("a.1h.own", "a.1h.team", "b", "c", "d")
HYPOTHESES = tuple(
    Hypothesis(name, signals, "max", lambda _: "", weight)
    for name, signals, weight in [("one", ("b",), 1.0), ("two", ("a.1h.own", "a.1h.team"), 0.5), ("many", ("d", "b", "c", "a.1h.own"), 1.0)]
)
WIRING = Wiring.of(HYPOTHESES, SIGNALS, NAMES)
Raised = tuple[int, tuple[tuple[str, tuple[float, ...]], ...]]


@dataclass
class Story:
    """n events of a few people, in and out of order, over some hours."""

    key: np.ndarray
    time: np.ndarray
    offset: np.ndarray
    features: np.ndarray
    signal: np.ndarray
    rarity: np.ndarray


def story(seed: int, n: int = 120) -> Story:
    rng = np.random.default_rng(seed)
    time = 500_000 * HOUR + np.cumsum(rng.integers(0, HOUR // 4, n)) - rng.choice([0, 0, 0, HOUR], n)
    features, signal = rng.normal(size=(n, len(NAMES))), rng.choice([0, 0, 0.5, 1, 2], (n, len(SIGNALS))) * rng.choice([1, 1.5], (n, 1))
    rarity = np.maximum(rng.exponential(0.7, (n, 3)) - 0.3, 0)
    offset = np.cumsum(rng.integers(1, 5, n))
    return Story(rng.integers(1, 4, n), time, offset, *(a.astype(np.float32) for a in (features, signal, rarity)))


@dataclass
class Hour:
    number: int = -1
    largest: dict[str, float] = field(default_factory=dict)
    raised: dict[str, Raised] = field(default_factory=dict)


def slow(s: Story) -> tuple[list[float], list[dict[str, Raised]]]:
    """(scores, for each event what raised each hypothesis in the hour: its offset, and the signals that it showed)."""
    hours: dict[int, Hour] = defaultdict(Hour)
    scores, raised = [], []
    for i in range(len(s.key)):
        hour = hours[s.key[i]]
        if s.time[i] // HOUR > hour.number:
            hour = hours[s.key[i]] = Hour(s.time[i] // HOUR)
        for h, r in zip(HYPOTHESES, s.rarity[i], strict=True):
            if r > hour.largest.get(h.name, 0):
                hour.largest[h.name] = float(r)
                hour.raised[h.name] = int(s.offset[i]), shown(h, s, i)
        scores.append(sum(h.weight * hour.largest.get(h.name, 0) ** 1.5 for h in HYPOTHESES) ** (2 / 3))
        raised.append(dict(hour.raised))
    return scores, raised


def shown(h: Hypothesis, s: Story, i: int) -> tuple[tuple[str, tuple[float, ...]], ...]:
    """The three rarest signals, first the rarest; those that show nothing only where it is the first. With level, own and team's usual."""
    ranked = sorted(h.signals, key=lambda name: -s.signal[i, SIGNALS.index(name)])[:3]
    kept = [name for rank, name in enumerate(ranked) if rank == 0 or s.signal[i, SIGNALS.index(name)] > 0]
    return tuple((name, reading(name, s.features[i].tolist())) for name in kept)


def reading(name: str, row: list[float]) -> tuple[float, ...]:
    return tuple(row[:3]) if name.startswith("a") else (row[NAMES.index(name)],)


def kept(state: KeyedState, slot: int) -> dict[str, Raised]:
    c, out = state.columns, {}
    for d, h in enumerate(HYPOTHESES):
        if c["hour_offset"][slot, d] >= 0:
            rows = zip(c["hour_signal"][slot, d], c["hour_reading"][slot, d].tolist(), strict=True)
            some = [(NAMES[j], tuple(x for x in row if not np.isnan(x))) for j, row in rows if j >= 0]
            out[h.name] = int(c["hour_offset"][slot, d]), tuple(some)
    return out


def check(seed: int, least: float = 2.0) -> None:
    """Stops where it shall; after every stop the state is as of that row."""
    s = story(seed)
    expected, raised = slow(s)
    state, score, done = KeyedState(combination.columns(3), 16), np.full(len(s.key), -1, np.float32), 0
    ((_, slots),) = state.runs(s.key.astype(np.uint64), s.time)
    since, stops = int(s.time[20]), []
    while done < len(score):
        args = (s.features, s.signal, s.rarity, WIRING, (np.float32(least), since, done))
        before, done = done, combination.advance(state, slots, s.time, s.offset, *args, score)
        assert done > before
        assert (score[done:] == -1).all(), "what comes after the stop is not touched"
        assert kept(state, slots[done - 1]) == raised[done - 1]
        stops.append(done - 1)
    np.testing.assert_allclose(score, expected, rtol=1e-5)
    over = np.flatnonzero((score >= np.float32(least)) & (s.time >= since)).tolist()
    assert stops == over + [len(score) - 1] * (over[-1:] != [len(score) - 1])


@settings(derandomize=True, deadline=None, max_examples=40, database=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([0.0, 1.0, 2.0, 4.0]))
def test_scores_stops_and_what_is_kept_equal_the_slow_version(seed: int, least: float) -> None:
    check(seed, least)


def test_wiring_says_which_columns_belong_to_which_hypothesis() -> None:
    assert WIRING.tail.tolist() == [[2, -1, -1, -1], [0, 1, -1, -1], [4, 2, 3, 0]]
    assert WIRING.feature.tolist() == [[5, -1, -1, -1], [3, 4, -1, -1], [7, 5, 6, 3]]
    assert WIRING.level.tolist() == [0, 0, 0, 0, 0, -1, -1, -1]
    assert WIRING.weight.tolist() == [1, 0.5, 1]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("POWER = 1.5", "POWER = 1.6"),
        ("if h > hour[s]:", "if h != hour[s]:"),
        ("            hour_rarity[s] = 0.0", "            hour_rarity[s] *= 0.5"),
        ("            hour_offset[s] = -1", "            hour_offset[s] = hour_offset[s]"),
        ("if rarity[i, d] > hour_rarity[s, d]:", "if rarity[i, d] >= hour_rarity[s, d]:"),
        ("hour_offset[s, d] = offset[i]", "hour_offset[s, d] = i"),
        ("total += weight[d] * hour_rarity[s, d] ** POWER", "total += weight[d] * rarity[i, d] ** POWER"),
        ("total += weight[d] * hour_rarity[s, d] ** POWER", "total += hour_rarity[s, d] ** POWER"),
        ("score[i] = total ** (1.0 / POWER)", "score[i] = total"),
        ("if score[i] >= least and time[i] >= since:", "if score[i] > least and time[i] >= since + 1:"),
        ("if score[i] >= least and time[i] >= since:", "if score[i] >= least:"),
        ("if score[i] >= least and time[i] >= since:", "if time[i] >= since:"),
        ("            return i + 1", "            return i + 2"),
        ("for i in range(start, len(slots))", "for i in range(max(start - 1, 0), len(slots))"),
        ("    signal[:] = -1\n    for", "    for"),
        ("(rank > 0 and signal_rarity[tail[m]] <= 0.0)", "signal_rarity[tail[m]] <= 0.0"),
        ("(rank > 0 and signal_rarity[tail[m]] <= 0.0)", "False"),
        ("if not taken and (best", "if (best"),
        ("signal_rarity[tail[m]] > signal_rarity[tail[best]]", "signal_rarity[tail[m]] < signal_rarity[tail[best]]"),
        ("signal_rarity[tail[m]] > signal_rarity[tail[best]]", "signal_rarity[tail[m]] >= signal_rarity[tail[best]]"),
        ("features[level[j]], features[level[j] + 1]", "features[j], features[level[j] + 1]"),
        ("features[level[j] + 1], features[level[j] + 2]", "features[level[j] + 2], features[level[j] + 1]"),
        ("features[j], np.nan, np.nan", "features[j], 0.0, np.nan"),
    ],
)
def test_a_changed_kernel_is_noticed(old: str, new: str, monkeypatch: pytest.MonkeyPatch) -> None:
    mutate(monkeypatch, combination, old, new)
    with pytest.raises((AssertionError, IndexError)):
        for seed in (1, 2, 3):
            check(seed)


def test_the_unchanged_kernel_as_plain_python_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    mutate(monkeypatch, combination, "", "")
    check(1)
