"""Refresh: the nightly renewal of what a model knows about usual, from daily records alone.

Signals' tails and the forest stay, as a full training made them; teams' baselines and profiles, the vocabulary and the calibration are
learned anew from the last four weeks. So a tool rolled out to a team is its own the next day, and the promised number of alerts is kept
while behaviour drifts. No team is moved farther in one night than `restraint` lets it, so that nobody moves it far unseen.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from detector.core.calibration import once_each
from detector.core.daily import Daily, stacked
from detector.core.estimators import tails
from detector.core.model import Model
from detector.core.restraint import NOTHING, Moves, restrained
from detector.core.window import Window

LEAST_DAYS = 7
"""Days with records before which the model stays as it is: too little to say what is usual."""


def refresh(model: Model, days: Sequence[Daily]) -> Model:
    """The model as of the morning after the last of the days: a function of the records and of the model of the day before."""
    return refreshed(model, Window.of(days))[0]


def refreshed(model: Model, window: Window, nights: float = 1.0) -> tuple[Model, Moves]:
    """The same from a window of the days, `nights` after the model was made, and how far teams would have moved (see `restraint`)."""
    if len(window) < LEAST_DAYS:
        return model, NOTHING
    key = np.concatenate([d.key for d in window.days])
    joined, score = tails.fit(stacked(window.days, "joined")), tails.fit(once_each(key, stacked(window.days, "score")[:, None]))
    baselines, moves = restrained(model.baselines, window.learn(), nights)
    return model.refreshed(baselines, joined, score), moves
