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
from detector.core.combination import Said, Wiring
from detector.core.frame import HOUR
from detector.core.hypotheses import Hypothesis, Join
from detector.core.state import KeyedState

NAMES = ("a.1h.level", "a.1h.own", "a.1h.team", "b", "c", "d")
SIGNALS = ("a.1h.own", "a.1h.team", "b", "c", "d")
EVERY = ("d", "b", "c", "a.1h.own")
JOINS: list[tuple[str, tuple[str, ...], Join, float]] = [
    ("one", ("b",), "value", 1.0),
    ("two", ("a.1h.own", "a.1h.team"), "max", 0.5),
    ("many", EVERY, "sum", 1.0),
    ("odd", EVERY, "forest", 0.7),
]
HYPOTHESES = tuple(Hypothesis(name, signals, join, lambda _: "", weight) for name, signals, join, weight in JOINS)
WIRING = Wiring.of(HYPOTHESES, SIGNALS, NAMES)
Raised = tuple[int, tuple[tuple[str, float], ...]]
RISE = 0.4


@dataclass
class Story:
    """n events of a few people, in and out of order, over some hours."""

    key: np.ndarray
    time: np.ndarray
    offset: np.ndarray
    features: np.ndarray
    said: Said

    def __len__(self) -> int:
        return len(self.key)


def story(seed: int, n: int = 160) -> Story:
    rng = np.random.default_rng(seed)
    time = 500_000 * HOUR + np.cumsum(rng.integers(0, HOUR // 4, n)) - rng.choice([0, 0, 0, HOUR], n)
    features, signal = rng.normal(size=(n, len(NAMES))), rng.choice([0, 0, 0.5, 1, 2], (n, len(SIGNALS))) * rng.choice([1, 1.5], (n, 1))
    rarity, joined = np.maximum(rng.exponential(0.7, (n, 4)) - 0.3, 0), rng.normal(0, 1, (n, 4))
    credit = rng.choice([-1, 0, 0.5, 1, 2], signal.shape) * (rng.random((n, 1)) < 0.5)
    said = Said(*(a.astype(np.float32) for a in (signal, joined, rarity)), np.zeros(n), credit.astype(np.float32))
    return Story(rng.integers(1, 4, n), time, np.cumsum(rng.integers(1, 5, n)), features.astype(np.float32), said)


@dataclass
class Hour:
    number: int = -1
    largest: dict[str, float] = field(default_factory=dict)
    raised: dict[str, Raised] = field(default_factory=dict)


def slow(s: Story) -> tuple[list[float], list[dict[str, Raised]]]:
    """(scores, for each event what raised each hypothesis in the hour: its offset, and the signals that it showed)."""
    hours: dict[int, Hour] = defaultdict(Hour)
    scores, raised = [], []
    for i in range(len(s)):
        hour = hours[s.key[i]]
        if s.time[i] // HOUR > hour.number:
            hour = hours[s.key[i]] = Hour(s.time[i] // HOUR)
        for h, r in zip(HYPOTHESES, s.said.rarity[i], strict=True):
            if r > hour.largest.get(h.name, 0):
                hour.largest[h.name] = float(r)
                hour.raised[h.name] = int(s.offset[i]), shown(h, s, i)
        scores.append(sum(h.weight * hour.largest.get(h.name, 0) ** 1.5 for h in HYPOTHESES) ** (2 / 3))
        raised.append(dict(hour.raised))
    return scores, raised


def shown(h: Hypothesis, s: Story, i: int) -> tuple[tuple[str, float], ...]:
    """The two strongest signals, the stronger first; one that shows nothing only where it is the first. An accumulator shows its level."""
    by = s.said.credit[i] if h.join == "forest" and s.said.credit[i].any() else s.said.signal[i]
    ranked = sorted(h.signals, key=lambda name: -by[SIGNALS.index(name)])[:2]
    kept = [name for rank, name in enumerate(ranked) if rank == 0 or by[SIGNALS.index(name)] > 0]
    return tuple((name, float(s.features[i, 0 if name.startswith("a") else NAMES.index(name)])) for name in kept)


def kept(state: KeyedState, slot: int) -> dict[str, Raised]:
    c, out = state.columns, {}
    for d, h in enumerate(HYPOTHESES):
        if c["hour_offset"][slot, d] >= 0:
            held = zip(c["hour_signal"][slot, d], c["hour_reading"][slot, d].tolist(), strict=True)
            out[h.name] = int(c["hour_offset"][slot, d]), tuple((NAMES[j], value) for j, value in held if j >= 0)
    return out


def check(seed: int, least: float = 2.0, near: float = np.inf) -> None:
    """Stops where it shall; after every stop the state is as of that row. In the middle a day ends.

    Near misses have a bar of their own, which rises with each stop until the day ends.
    """
    s = story(seed)
    expected, raised = slow(s)
    state, score, done = KeyedState(combination.columns(4), 16), np.full(len(s), -1, np.float32), 0
    ((_, slots),) = state.runs(s.key.astype(np.uint64), s.time)
    since, bar = int(s.time[20]), dict.fromkeys(range(3), 0.0)
    for first, end in ((0, 90), (90, len(s))):
        part, stops, due = score[:end], [], []
        for i in range(first, end):
            if s.time[i] >= since and np.float32(expected[i]) >= min(least, max(near, bar[slots[i]])) - 1e-6:
                due.append(i)
                bar[slots[i]] = float(np.float32(expected[i])) + RISE
        while done < end:
            args = (s.features, s.said, WIRING, (np.float32(least), since, done), part, np.float32(near))
            before, done = done, combination.advance(state, slots[:end], s.time, s.offset, *args)
            assert done > before
            assert (score[done:] == -1).all(), "what comes after the stop is not touched"
            assert kept(state, slots[done - 1]) == raised[done - 1]
            stops.append(done - 1)
            if done - 1 in due:
                state.columns["near_bar"][slots[done - 1]] = score[done - 1] + RISE
        assert stops == due + [end - 1] * (due[-1:] != [end - 1])
        check_day(state, slots, s, np.array(expected), slice(first, end))
        bar = dict.fromkeys(range(3), 0.0)
    np.testing.assert_allclose(score, expected, rtol=1e-5)


def check_some() -> None:
    for seed in (1, 2, 3):
        check(seed)
        check(seed, np.inf, 1.0)
        check(seed, 2.5, 1.0)


def check_day(state: KeyedState, slots: np.ndarray, s: Story, scores: np.ndarray, day: slice) -> None:
    """The day's largest of each joined value, not below 0, and of the score; a new day knows nothing of them."""
    some = np.array([1, 0, 2], np.int32)
    told = combination.daily(state, some)
    joined = [[max(0, *s.said.joined[day][slots[day] == slot, d]) for d in range(4)] for slot in some]
    assert told["joined"].tolist() == np.array(joined, np.float32).tolist()
    np.testing.assert_allclose(told["score"], [scores[day][slots[day] == slot].max() for slot in some], rtol=1e-5)
    combination.turn(state)
    assert not any(state.columns[name].any() for name in ("day_joined", "day_score", "near_bar"))


@settings(derandomize=True, deadline=None, max_examples=40, database=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([0.0, 1.0, 2.0, 4.0, np.inf]), st.sampled_from([0.5, 1.5, np.inf]))
def test_scores_stops_and_what_is_kept_equal_the_slow_version(seed: int, least: float, near: float) -> None:
    check(seed, least, near)


def test_wiring_says_which_columns_belong_to_which_hypothesis() -> None:
    assert WIRING.tail.tolist() == [[2, -1, -1, -1], [0, 1, -1, -1], [4, 2, 3, 0], [4, 2, 3, 0]]
    assert WIRING.feature.tolist() == [[3, -1, -1, -1], [1, 2, -1, -1], [5, 3, 4, 1], [5, 3, 4, 1]]
    assert WIRING.shown.tolist() == [0, 0, 0, 3, 4, 5]
    assert WIRING.weight.tolist() == [1, 0.5, 1, 0.7]
    assert Wiring.of(HYPOTHESES, SIGNALS, NAMES, np.ones(4)).weight.tobytes() == WIRING.weight.tobytes()
    assert Wiring.of(HYPOTHESES, SIGNALS, NAMES, np.array([2, 1, 0.5, 1])).weight.tolist() == [2, 0.5, 0.5, 0.7]
    assert WIRING.credited == 3 and Wiring.of(HYPOTHESES[:3], SIGNALS, NAMES).credited == -1


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("POWER = 1.5", "POWER = 1.6"),
        ("SHOWN = 2", "SHOWN = 1"),
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
        ("least = min(over, max(near, near_bar[s]))", "least = min(over, near)"),
        ("least = min(over, max(near, near_bar[s]))", "least = over"),
        ("least = min(over, max(near, near_bar[s]))", "least = max(near, near_bar[s])"),
        ("            return i + 1", "            return i + 2"),
        ("for i in range(start, len(slots))", "for i in range(max(start - 1, 0), len(slots))"),
        ("day_joined[s, d] = max(day_joined[s, d], joined[i, d])", "day_joined[s, d] = joined[i, d]"),
        ("day_joined[s, d] = max(day_joined[s, d], joined[i, d])", "day_joined[s, d] = max(day_joined[s, d], rarity[i, d])"),
        ("day_score[s] = max(day_score[s], score[i])", "day_score[s] = score[i]"),
        ('    state.columns["day_joined"][:] = 0\n', ""),
        ('    state.columns["day_score"][:] = 0\n', ""),
        ('    state.columns["near_bar"][:] = 0\n', ""),
        ('state.columns["day_score"][slots]}', 'state.columns["day_score"][: len(slots)]}'),
        ('state.columns["day_joined"][slots]', 'state.columns["day_joined"][: len(slots)]'),
        ("credit[i] if d == credited and credit[i].any() else", "credit[i] if d == credited else"),
        ("credit[i] if d == credited and credit[i].any() else", "credit[i] if credit[i].any() else"),
        ("credit[i] if d == credited and credit[i].any() else", "credit[i] if False else"),
        ("    signal[:] = -1\n    for", "    for"),
        ("(rank > 0 and by[tail[m]] <= 0.0)", "by[tail[m]] <= 0.0"),
        ("(rank > 0 and by[tail[m]] <= 0.0)", "False"),
        ("if not taken and (best", "if (best"),
        ("by[tail[m]] > by[tail[best]]", "by[tail[m]] < by[tail[best]]"),
        ("by[tail[m]] > by[tail[best]]", "by[tail[m]] >= by[tail[best]]"),
        ("features[shown[feature[best]]]", "features[feature[best]]"),
        ('+ ".level", j)', '+ ".own", j)'),
    ],
)
def test_a_changed_kernel_is_noticed(old: str, new: str, monkeypatch: pytest.MonkeyPatch) -> None:
    mutate(monkeypatch, combination, old, new)
    with pytest.raises((AssertionError, IndexError)):
        test_wiring_says_which_columns_belong_to_which_hypothesis()
        assert Wiring.of(HYPOTHESES, SIGNALS, NAMES).shown.tolist() == WIRING.shown.tolist()
        check_some()


def test_the_unchanged_kernel_as_plain_python_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    mutate(monkeypatch, combination, "", "")
    check_some()
