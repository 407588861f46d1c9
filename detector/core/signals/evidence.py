"""Evidence without a memory of its own: what an event weighs for the accumulators, from the explanation and the event itself."""

from __future__ import annotations

import numpy as np

from detector.core.baselines import Baselines
from detector.core.events import ACTIONS
from detector.core.features import FeatureBatch
from detector.core.frame import Frame
from detector.core.state import Column, KeyedState, Slots

COLUMNS: tuple[Column, ...] = ()
NEEDS = ("w", "new")
GIVES = ("harvest", "snoop", "export", "activity", "breadth")
"""`harvest` unexplained people never dealt with before; `snoop` such people who deserve care; `export` records taken out; `activity` any
event; `breadth` new people, explained or not."""

EXPORT, ASSIGN, LOGIN = ACTIONS.index("export"), ACTIONS.index("assign"), ACTIONS.index("login")


def observe(state: KeyedState, slots: Slots, frame: Frame, baselines: Baselines, out: FeatureBatch) -> None:
    w, new = out.column("w"), out.column("new")
    out.column("harvest")[:] = w * new
    out.column("snoop")[:] = np.where(frame.own, 0, w * new * frame.special * (1 + frame.location))
    out.column("export")[:] = np.where(frame.action == EXPORT, frame.records * (0.2 + 0.8 * w), 0)
    out.column("activity")[:] = (frame.action < ASSIGN) & (frame.action != LOGIN)
    out.column("breadth")[:] = new
