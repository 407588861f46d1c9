"""Evidence without a memory of its own: what an event weighs for the accumulators, from the explanation and the event itself."""

from __future__ import annotations

import numpy as np

from detector.core.baselines import Baselines
from detector.core.events import ACTIONS, OUTCOMES
from detector.core.features import FeatureBatch
from detector.core.frame import Frame
from detector.core.state import Column, KeyedState, Slots

COLUMNS: tuple[Column, ...] = ()
NEEDS = ("w", "new", "first")
GIVES = ("harvest", "snoop", "export", "bytes_out", "activity", "breadth", "sensitive", "denied", "work")
"""`harvest` unexplained people never dealt with before; `snoop` people who deserve care, at the day's first look; `export` records and
`bytes_out` bytes exported, explained ones counted less; `activity` any access but a login; `breadth` new people, explained or not;
`sensitive` where a person is, what they write or pay; `denied` refused; `work` what there was a reason for, a person once a day."""

EXPORT, LOGIN, ASSIGN = (ACTIONS.index(action) for action in ("export", "login", "assign"))
DENIED = OUTCOMES.index("denied")


def observe(state: KeyedState, slots: Slots, frame: Frame, baselines: Baselines, out: FeatureBatch) -> None:
    w, new, first = out.column("w"), out.column("new"), out.column("first")
    access, on_person = frame.action < ASSIGN, frame.on_person()
    taken = 0.2 + 0.8 * w
    again = on_person & (first == 0)
    out.column("harvest")[:] = w * new
    out.column("snoop")[:] = np.where(frame.own, 0, first * w * frame.special * (1 + frame.location) * np.where(new > 0, 1, 0.4))
    out.column("export")[:] = np.where(frame.action == EXPORT, frame.records * taken, 0)
    out.column("bytes_out")[:] = np.where(frame.action == EXPORT, frame.bytes * taken, 0)
    active = access & (frame.action != LOGIN)
    out.column("activity")[:] = active
    out.column("breadth")[:] = new
    out.column("sensitive")[:] = w * (first * (frame.location + 0.5 * frame.content) + 0.2 * (again & frame.location))
    out.column("denied")[:] = np.where(frame.outcome == DENIED, w, 0)
    out.column("work")[:] = np.where(active & ~again, 1 - w, 0)
