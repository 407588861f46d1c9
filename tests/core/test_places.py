"""Places equals its slow and obvious version, and each of many small changes to it is noticed."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from alone import same_bytes, state_after
from histories import DAY, HOUR, START, Event, fast, person, slow
from hypothesis import given, settings
from hypothesis import strategies as st
from mutation import mutate
from slow_places import Places, distance

from detector.core.signals import places

POSITIONS = (
    (53.3, -6.3), (57.3, -6.3), (49.8, -6.3), (53.3, -0.8), (52.5, 13.4), (69.6, 19.0), (70.4, 31.1), (-36.8, 174.8), (10.0, 20.0),
    (-10.0, -160.0),
)  # fmt: skip
"""Some less than 400 km from another, some a little more, some on the other side of the earth."""


@cache
def history(seed: int) -> list[Event]:
    """Somebody mostly at home and sometimes anywhere, with more countries and devices than there is room for; late events."""
    rng, at, events = np.random.default_rng(seed), START, []
    countries, devices = rng.integers(1, 2**64, 12, dtype=np.uint64).tolist(), rng.integers(1, 2**64, 12, dtype=np.uint64).tolist()
    countries[1] &= ~0xFFFFFFFF  # its last 32 bits look like those of none
    for _ in range(450):
        at += int(rng.exponential(rng.choice([0.02, 1, 8], p=[0.4, 0.5, 0.1])) * HOUR)
        late = int(rng.choice([0, rng.integers(3 * HOUR), rng.integers(3 * DAY)], p=[0.85, 0.1, 0.05]))
        home, e = rng.random() < 0.85, person(rng, 1 if rng.random() < 0.5 else int(rng.integers(2, 8)), at - late, 0, [5])
        latitude, longitude = POSITIONS[0 if home else rng.integers(len(POSITIONS))]
        said = rng.random() < 0.6
        events.append(replace(
            e, country=0 if rng.random() < 0.2 else countries[0 if home else rng.integers(12)],
            device=0 if rng.random() < 0.2 else devices[rng.integers(3 if home else 12)],
            latitude=latitude + rng.normal(0, 0.05) if said and rng.random() < 0.95 else math.nan,
            longitude=longitude if said and rng.random() < 0.95 else math.nan,
        ))  # fmt: skip
    return events


@cache
def expected(seed: int) -> np.ndarray:
    return slow([places], [Places], history(seed))


def differing(seed: int) -> set[str]:
    seen, right = fast([places], history(seed)), expected(seed)
    far = ~np.isclose(seen, right, rtol=2e-4, atol=2e-4) | ((seen == 0) != (right == 0))
    return {places.GIVES[j] for j in np.flatnonzero(far.any(axis=0))}


@settings(derandomize=True, deadline=None, max_examples=20, database=None)
@given(st.integers(0, 2**32 - 1))
def test_every_signal_equals_its_slow_version(seed: int) -> None:
    assert differing(seed) == set()


SEEDS = range(1, 7)


@pytest.mark.parametrize("seed", SEEDS)
def test_kernels_as_plain_python_equal_it_too(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    mutate(monkeypatch, places, "", "")
    assert differing(seed) == set()


@pytest.mark.parametrize("seed", SEEDS)
def test_where_batches_are_cut_changes_no_byte_of_the_state(seed: int) -> None:
    cuts = np.random.default_rng(seed).integers(1, 449, 9).tolist()
    assert same_bytes(state_after([places], history(seed)), state_after([places], history(seed), cuts))


def test_the_histories_reach_every_case() -> None:
    seen: Counter[str] = Counter()
    for seed in SEEDS:
        geo, travel, new_device = expected(seed).T
        country = geo - np.minimum(travel, 3) - 1.5 * new_device
        seen["a rare country"] += int((country > 0.4).sum())
        seen["a fast journey"] += int((travel > 3).sum())
        seen["a slow journey"] += int(((travel > 0) & (travel < 0.3)).sum())
        seen["a new device"] += int((new_device == 1).sum())
        seen["a late event somewhere else"] += sum(
            b.time < a.time and t > 0 for a, b, t in zip(history(seed), history(seed)[1:], travel[1:], strict=False)
        )
    assert min(seen.values()) > 5, seen


def test_the_table_of_an_employee_is_small_and_what_is_absent_is_empty() -> None:
    state = state_after([places], [replace(history(1)[0], action="read", country=0, device=0, latitude=math.nan)])
    assert state.bytes_per_key - 16 <= 120
    for c in places.COLUMNS[:5]:
        if not c.name.startswith("place_day"):
            assert not state.columns[c.name].any()


def test_a_journey_to_the_antipodes_is_half_way_round() -> None:
    assert places._km(10.0, 20.0, np.float32(-10), np.float32(-160)) == pytest.approx(math.pi * 6371, rel=1e-4)
    assert distance(10, 20, -10, -160) == pytest.approx(math.pi * 6371, rel=1e-4)


MUTATIONS = [
    ("COUNTRIES, DEVICES = 8, 8", "COUNTRIES, DEVICES = 7, 8"),
    ("COUNTRIES, DEVICES = 8, 8", "COUNTRIES, DEVICES = 8, 7"),
    ("= 0.97, 30.0, 0.3, 1.5", "= 0.98, 30.0, 0.3, 1.5"),
    ("30.0, 0.3, 1.5", "33.0, 0.3, 1.5"),
    ("0.3, 1.5  #", "0.4, 1.5  #"),
    ("0.3, 1.5  #", "0.3, 1.6  #"),
    ("= 3, 1.5", "= 2, 1.5"),
    ("= 3, 1.5", "= 4, 1.5"),
    ("= 3, 1.5", "= 3, 1.4"),
    ("400.0, 900.0, 0.1, 3.0", "450.0, 900.0, 0.1, 3.0"),
    ("400.0, 900.0, 0.1, 3.0", "380.0, 900.0, 0.1, 3.0"),
    ("900.0, 0.1, 3.0", "800.0, 0.1, 3.0"),
    ("0.1, 3.0", "0.2, 3.0"),
    ("0.1, 3.0", "0.1, 3.1"),
    ("12742.0, 111.2", "12642.0, 111.2"),
    ("12742.0, 111.2", "12742.0, 95.0"),
    ("if action[i] >= ASSIGN", "if action[i] > ASSIGN"),
    ("if day > last_day[s]", "if day != last_day[s]"),
    ("if last_day[s] >= 0:", "if True:"),
    ("min(days[s] + 1, LEAST_DAYS + 1)", "min(days[s] + 2, LEAST_DAYS + 1)"),
    ("min(days[s] + 1, LEAST_DAYS + 1)", "min(days[s] + 1, LEAST_DAYS)"),
    ("            count[s] *= np.float32(KEEP)", "        count[s] *= np.float32(KEEP)"),
    ("if country[i] != 0:", "if True:"),
    ("if device[i] != 0 and", "if"),
    ("days[s] > LEAST_DAYS", "days[s] >= LEAST_DAYS"),
    ("and _is_new(device[i], own_device[s]) and days[s] > LEAST_DAYS", "and days[s] > LEAST_DAYS and _is_new(device[i], own_device[s])"),
    ("new_device[i] = 1.0", "new_device[i] = 0.5"),
    ("            against += NEW_DEVICE", "            against = NEW_DEVICE"),
    ("isnan(latitude[i] + longitude[i])", "isnan(latitude[i])"),
    ("isnan(latitude[i] + longitude[i])", "isnan(longitude[i])"),
    ("if position_time[s] != NO_TIME", "if True"),
    ("abs(time[i] - position_time[s])", "max(time[i] - position_time[s], 0)"),
    ("math.log1p(km / max(hours", "math.log(km / max(hours"),
    ("min(travel[i], MOST_TRAVEL)", "travel[i]"),
    ("if time[i] >= position_time[s]:", "if True:"),
    ("if time[i] >= position_time[s]:", "if time[i] > position_time[s] + HOUR:"),
    ("geo[i] = against", "geo[i] += 2 * against"),
    ("if own[j] == country or (", "if ("),
    ("own[at] != country and count[j] < count[at]", "count[j] < count[at]"),
    ("count[j] < count[at])", "count[j] > count[at])"),
    ("n = count[at] if own[at] == country else 0.0", "n = count[at]"),
    ("country, n + 1.0", "country, n + 2.0"),
    ("(n + FLOOR) / (total + 1.0)", "(n + FLOOR) / total"),
    ("rarity - 1.0 if", "rarity if"),
    ("total > LEAST_EVENTS and rarity", "rarity"),
    ("    for j in range(at, 0, -1):\n        own[j] = own[j - 1]\n    own[0] = device", "    own[at] = device"),
    ("    for j in range(at, 0, -1):", "    for j in range(DEVICES - 1, 0, -1):"),
    ("    new = own[at] != device\n", "    new = own[at] != device or at == DEVICES - 1\n"),
    ("abs(north) + abs(east)", "abs(north)"),
    ("abs(north) + abs(east)", "abs(east)"),
    ("abs(north) + abs(east)", "north + east"),
    ("math.cos(math.radians(from_latitude))", "math.cos(math.radians(latitude))"),
    ("math.sin(math.radians(north) / 2) ** 2 +", ""),
    ("math.radians(east) / 2", "math.radians(east)"),
]


@pytest.mark.filterwarnings("ignore:(overflow|divide):RuntimeWarning")
@pytest.mark.parametrize(("old", "new"), MUTATIONS, ids=range(len(MUTATIONS)))
def test_a_changed_kernel_is_noticed(old: str, new: str, monkeypatch: pytest.MonkeyPatch) -> None:
    mutate(monkeypatch, places, old, new)
    assert any(differing(seed) for seed in SEEDS)
