"""A family of signals by itself: behind one that says anything at all, instead of the families that it reads from in the product."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from types import ModuleType

import numpy as np
from histories import Event, as_frame, baselines, names

from detector.core.baselines import Baselines
from detector.core.features import FeatureBatch
from detector.core.frame import Frame
from detector.core.state import KeyedState, Slots

SAYS = ("w", "new", "own_share", "odd_pair")


def w_of(minute: int) -> float:
    return (0.03, 0.1, 0.2, 0.3, 0.35, 0.15, 1.0, 1.0, 1.0, 0.5)[minute % 10]


def own_share_of(minute: int, row: int) -> float:
    return 0.0 if row < 0 else math.exp(-(minute % 9))


def odd_pair_of(minute: int) -> float:
    return max(minute % 7 - 3, 0) / 2


class Said:
    """The twin."""

    def observe(self, e: Event, baselines: Baselines, said: dict[str, float]) -> None:
        minute = e.time // 60_000
        said.update(
            w=w_of(minute) if e.is_access else 0.0, new=minute % 2, own_share=own_share_of(minute, e.pair_row), odd_pair=odd_pair_of(minute)
        )


def _observe(state: KeyedState, slots: Slots, frame: Frame, baselines: Baselines, out: FeatureBatch) -> None:
    minutes = (frame.time // 60_000).tolist()
    out.column("w")[:] = np.where(frame.action < 9, [w_of(m) for m in minutes], 0)
    out.column("new")[:] = [m % 2 for m in minutes]
    out.column("own_share")[:] = [own_share_of(m, row) for m, row in zip(minutes, frame.pair_row.tolist(), strict=True)]
    out.column("odd_pair")[:] = [odd_pair_of(m) for m in minutes]


said = ModuleType("said")
said.__dict__.update(COLUMNS=(), GIVES=SAYS, observe=_observe)


def state_after(families: Sequence[ModuleType], events: Sequence[Event], cuts: Sequence[int] = ()) -> KeyedState:
    """The state when all have been seen, in batches cut at `cuts`, saved and restored between any two."""
    columns = [c for family in families for c in family.COLUMNS]
    state = KeyedState(columns, 10_000)
    frame, keys = as_frame(events), np.array([e.key for e in events], np.uint64)
    edges = [0, *sorted(cuts), len(events)]
    for begin, end in pairwise(edges):
        batch = frame.take(slice(begin, end))
        for rows, slots in state.runs(keys[begin:end], batch.time):
            out = FeatureBatch.zeros(names(families), len(slots))
            for family in families:
                family.observe(state, slots, batch.take(rows), baselines(), out)
        saved, state = state.snapshot(), KeyedState(columns, 10_000)
        state.restore(saved)
    return state


def same_bytes(a: KeyedState, b: KeyedState) -> bool:
    one, other = a.snapshot(), b.snapshot()
    return one.keys() == other.keys() and all(one[name].tobytes() == other[name].tobytes() for name in one)
