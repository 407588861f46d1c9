"""Row E16 of the fault catalogue: whatever bytes come, each record ends in exactly one place, and its neighbours do not notice.

Through a real service: good events, events mutated member by member and byte by byte, and whatever hypothesis thinks of. Where each must
go, the oracle says; that its decoder is right is shown against a slow and obvious one in tests/core/test_native_fuzz.py.
"""

from __future__ import annotations

import json
import random
import string
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from faults import Rigged
from harness import wait
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from office import Event
from oracle import all_delivered, assert_exact, truth

from detector.core.dead_letters import parse

sys.path.append(str(Path(__file__).parents[1] / "core"))
from test_native_fuzz import key_for, mutated

pytestmark = pytest.mark.broker
SHORT, LONG = 100_000, 1_000_000


def strange(count: int) -> list[bytes]:
    """Bytes, texts and JSON values as hypothesis makes them: short ones first, each kind of trouble somewhere."""
    found: list[bytes] = []
    scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
    names = st.sampled_from(["time", "actor", "action", "resource", "subject", "event_id", "fields"]) | st.text(
        string.printable, max_size=9
    )
    nested = st.recursive(scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names, inner, max_size=6), max_leaves=12)
    values = st.binary(max_size=200) | st.text(max_size=99).map(str.encode) | nested.map(json.dumps).map(str.encode)

    @settings(max_examples=-(-count // 50), derandomize=True, database=None, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.lists(values, min_size=50, max_size=60))
    def collect(made: list[bytes]) -> None:
        found.extend(made)

    collect()
    return found


def anything(live: tuple[Event, ...], count: int, seed: int) -> Iterator[tuple[bytes | None, bytes]]:
    """`count` records, over half of them good: so many bad ones in a row that a limit of dead letters is met are another row's matter."""
    dice, odd = random.Random(seed), strange(5000)
    for number in range(count):
        kind = dice.random()
        if kind < 0.6:
            key, value = live[number * 7 % len(live)]
            yield key, value.replace(b'"event_id":"', b'"event_id":"%x-' % number, 1)
        elif kind < 0.95:
            value = mutated(dice)
            yield key_for(value, dice), value
        else:
            yield dice.choice((None, b"", b"e1042", b"\xff")), dice.choice(odd)


@pytest.mark.parametrize("count", [SHORT, pytest.param(LONG, marks=[pytest.mark.slow, pytest.mark.timeout(1800)])])
def test_E16_every_record_ends_in_exactly_one_place(count, office, broker, tmp_path, unique):
    stand = office.stand(broker, tmp_path, unique)
    with Rigged(stand) as service:
        service.until_ready()
        assert stand.feed(anything(office.live, count, 1)) == count
        expected = truth(stand, office.starts)
        wait(lambda: all_delivered(stand, expected), 120 * count / SHORT, "all is delivered", pause=0.5)
        refused = sum(map(len, expected.dead_letters.values()))
        assert expected.events + refused == count and refused > count // 10 and expected.events > count // 2
        assert service.metric("detector_events_total") == expected.events
        assert service.metric("detector_dead_letters_total") == refused
        assert service.metric("detector_doubts_total") == 0
        assert service.stop() == 0
    assert_exact(stand, expected)
    assert len({parse(value).reason for letters in expected.dead_letters.values() for _, value in letters}) > 12, "too few kinds of trouble"
    assert not service.troubles()
