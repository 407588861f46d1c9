"""Tracking: events in, features out; the part of detection that live service, replay and training share to the letter."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from detector.core import combination, duplicates
from detector.core.baselines import Baselines
from detector.core.context import Context
from detector.core.daily import Daily
from detector.core.events import EventBatch
from detector.core.features import FeatureBatch
from detector.core.frame import DAY, Frame
from detector.core.framing import Framer
from detector.core.signals import accumulators
from detector.core.state import KeyedState, Slots
from detector.core.views import View


class Observed(NamedTuple):
    """A run of events that were not repetitions, m of them."""

    row: NDArray[np.int64]
    """Their positions in the batch."""
    slots: Slots
    frame: Frame
    features: FeatureBatch
    ended: Daily | None
    """Records of the day that ended before the first of them."""


class Tracker:
    """One view's state of one task, and how events become features of it."""

    def __init__(self, view: View, context: Context, baselines: Baselines, hypotheses: int, max_keys: int) -> None:
        self.view, self.context = view, context
        self.state = KeyedState(view.columns(hypotheses), max_keys)
        self.day = -1
        """The open day: the latest that the log has come to. Events of older days count in it."""
        self.repeated = 0
        self.baselines, self.framer = baselines, Framer(context, baselines)

    def adopt(self, baselines: Baselines, framer: Framer | None = None) -> None:
        """From here on, events are compared with these baselines; and with the context of that framer, whose tables are used, if there is
        one.
        """
        before = framer or self.framer
        self.context, self.baselines, self.framer = before.context, baselines, Framer(before.context, baselines, before)

    def observe(self, batch: EventBatch) -> Iterator[Observed]:
        """Runs of events in log order, in each of which what is usual for an employee stays the same.

        The caller must finish with one before asking for the next.
        """
        frame, ids, keys = self.framer.frame(batch), batch.hashes("event_id"), batch.hashes(self.view.key)
        day = np.maximum.accumulate(np.maximum(batch.time // DAY, self.day))
        for start, stop in pairwise([0, *_cuts(keys, frame.team_key, batch.time // DAY, day), len(batch)] if len(batch) else []):
            ended = self.turn(int(day[start]))
            for rows, slots in self.state.runs(keys[start:stop], batch.time[start:stop]):
                row = np.arange(start + rows.start, start + rows.stop)
                fresh = np.flatnonzero(~duplicates.repeated(self.state, slots, ids[row]))
                self.repeated += len(slots) - len(fresh)
                part = frame if len(fresh) == len(batch) else frame.take(row[fresh])
                features = self.view.observe(self.state, slots[fresh], part, self.baselines)
                yield Observed(row[fresh], slots[fresh], part, features, ended)
                ended = None

    def turn(self, day: int) -> Daily | None:
        """The log has come to this day: the records of the open one, if it is over and anybody was active."""
        if day <= self.day:
            return None
        slots = accumulators.active(self.state, self.day) if self.day >= 0 else np.zeros(0, np.int32)
        c = self.state.columns
        ended = Daily(self.day, c["key"][slots], c["level_team"][slots], self.view.daily(self.state, slots)) if len(slots) else None
        combination.turn(self.state)
        self.day = day
        return ended


def _cuts(keys: NDArray[np.uint64], team: NDArray[np.uint64], own: NDArray[np.int64], day: NDArray[np.int64]) -> list[int]:
    """Positions where a run must end: where the log comes to a new day; and where, on one open day, an employee goes from a late event to
    one of a later day, or to another team. Each is when own baselines change, and an alert tells of them as they were at its event."""
    order = np.argsort(keys, kind="stable")
    before, after = order[:-1], order[1:]
    changes = (own[after] > own[before]) | (team[after] != team[before])
    held = after[(keys[after] == keys[before]) & (day[after] == day[before]) & changes]
    cuts: list[int] = np.union1d(np.flatnonzero(np.diff(day)) + 1, held).tolist()
    return cuts
