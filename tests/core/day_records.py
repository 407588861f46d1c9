"""What a family of signals, and its twin, would say in the daily records if the day ended after every so many events."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from types import ModuleType

import numpy as np
from histories import Event, Twin, as_frame, baselines, names

from detector.core.features import FeatureBatch
from detector.core.state import Array, KeyedState


def told(families: Sequence[ModuleType], events: Sequence[Event], step: int) -> Iterator[dict[str, Array]]:
    """Of the last family, a row for each employee so far, in order of their keys."""
    state = KeyedState([c for family in families for c in family.COLUMNS], 10_000)
    frame, keys = as_frame(events), np.array([e.key for e in events], np.uint64)
    for begin in range(0, len(events) - step + 1, step):
        batch = frame.take(slice(begin, begin + step))
        for rows, slots in state.runs(keys[begin : begin + step], batch.time):
            out = FeatureBatch.zeros(names(families), len(slots))
            for family in families:
                family.observe(state, slots, batch.take(rows), baselines(), out)
        used = np.flatnonzero(state.columns["key"]).astype(np.int32)
        yield families[-1].daily(state, used[np.argsort(state.columns["key"][used])])


def expected(twins: Sequence[type[Twin]], events: Sequence[Event], step: int) -> Iterator[list[Twin]]:
    """The last twin of each employee so far, in order of their keys."""
    people: defaultdict[int, list[Twin]] = defaultdict(lambda: [twin() for twin in twins])
    for i, e in enumerate(events):
        said: dict[str, float] = defaultdict(float)
        for twin in people[e.key]:
            twin.observe(e, baselines(), said)
        if i % step == step - 1:
            yield [people[key][-1] for key in sorted(people)]
