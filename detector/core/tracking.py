"""Tracking: events in, features out; the part of detection that live service, replay and training share to the letter."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from detector.core import duplicates
from detector.core.baselines import Baselines
from detector.core.context import Context
from detector.core.events import EventBatch
from detector.core.features import FeatureBatch
from detector.core.frame import Frame
from detector.core.state import KeyedState, Slots
from detector.core.views import Framer, View


class Observed(NamedTuple):
    """A run of events that were not repetitions, m of them."""

    row: NDArray[np.int64]
    """Their positions in the batch."""
    slots: Slots
    frame: Frame
    features: FeatureBatch


class Tracker:
    """One view's state of one task, and how events become features of it."""

    def __init__(self, view: View, context: Context, baselines: Baselines, hypotheses: int, max_keys: int) -> None:
        self.view, self.context = view, context
        self.state = KeyedState(view.columns(hypotheses), max_keys)
        self.repeated = 0
        self.adopt(baselines)

    def adopt(self, baselines: Baselines) -> None:
        """From here on, events are compared with these baselines. Their vocabulary must be the one the state was counted in."""
        self.baselines, self.framer = baselines, Framer(self.context, baselines)

    def observe(self, batch: EventBatch) -> Iterator[Observed]:
        """Runs of events in log order; the caller must finish with one before asking for the next."""
        frame = self.framer.frame(batch)
        ids = batch.hashes("event_id")
        for rows, slots in self.state.runs(batch.hashes(self.view.key), batch.time):
            fresh = np.flatnonzero(~duplicates.repeated(self.state, slots, ids[rows]))
            self.repeated += len(slots) - len(fresh)
            row = fresh + rows.start
            part = frame if len(row) == len(batch) else frame.take(row)
            yield Observed(row, slots[fresh], part, self.view.observe(self.state, slots[fresh], part, self.baselines))
