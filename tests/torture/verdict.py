"""The end of a run under faults: what stands in the topics against what the same pure functions make of the input topic offline."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

from detector.errors import StateError

sys.path.insert(0, str(Path(__file__).parents[1] / "integration"))
from harness import Stand
from oracle import Committed, Delivered, Outputs, Truth, assert_chained, assert_exact, assert_snapshots, committed, delivered


class Verdict(NamedTuple):
    lost: int
    """Outputs that must be there and are not."""
    duplicated: int
    """Outputs that are there too often, or must not be there at all."""
    chain: str
    state: str
    """Whether the final snapshots are those of the offline replay."""
    aborted: int
    """Outputs of transactions that were aborted: the faults did meet work."""
    wrong: str
    """What else is not as it must be; empty: nothing."""

    def __str__(self) -> str:
        return f"lost {self.lost}, duplicated {self.duplicated}, chain {self.chain}, state {self.state}"

    @property
    def exact(self) -> bool:
        return (self.lost, self.duplicated, self.chain, self.state, self.wrong) == (0, 0, "ok", "ok", "")


def verdict(stand: Stand, expected: Truth) -> Verdict:
    """Services stopped, nothing fed any more."""
    found, all_ever = delivered(stand), delivered(stand, "read_uncommitted")
    wanted, there = _counted(outputs(expected)), _counted(found)
    return Verdict(
        (wanted - there).total(), (there - wanted).total(), _chain(found.alerts, committed(stand)), _state(stand, expected),
        (_counted(all_ever) - there).total(), _wrong(stand, expected),
    )  # fmt: skip


def outputs(expected: Truth) -> Delivered:
    return Delivered(expected.alerts, expected.notables, expected.dead_letters, expected.daily)


def _counted(kinds: Delivered) -> Counter[Any]:
    """Every output with its kind, partition and place."""
    every: Any = enumerate(kinds)
    return Counter((kind, p, output) for kind, partitions in every for p, listed in partitions.items() for output in listed)


def _chain(alerts: Outputs, at: Committed) -> str:
    try:
        for p, values in alerts.items():
            head, mark = assert_chained([value for _, value in values]), at[p]
            assert mark is None or (mark[1].seq, mark[1].head) == (len(values), head)
    except AssertionError:
        return "broken"
    return "ok"


def _state(stand: Stand, expected: Truth) -> str:
    try:
        assert_snapshots(stand, expected)
    except (AssertionError, StopIteration, StateError):
        return "wrong"
    return "ok"


def _wrong(stand: Stand, expected: Truth) -> str:
    try:
        assert_exact(stand, expected)
    except AssertionError as error:
        return (str(error) or "order, offsets or open transactions")[:500]
    return ""
