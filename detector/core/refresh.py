"""Refresh: the nightly renewal of what a model knows about usual, from daily records alone.

Signals' tails and the forest stay, as a full training made them; teams' baselines and profiles, the vocabulary and the calibration are
learned anew from the last four weeks. So a tool rolled out to a team is its own the next day, and the promised number of alerts is kept
while behaviour drifts.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from detector.core.baselines import learn
from detector.core.calibration import once_each
from detector.core.daily import Daily, recent, stacked
from detector.core.estimators import tails
from detector.core.model import Model
from detector.core.signals import accumulators

LEAST_DAYS = 7
"""Days with records before which the model stays as it is: too little to say what is usual."""


def refresh(model: Model, days: Sequence[Daily]) -> Model:
    """The model as of the morning after the last of the days. It is a function of the records and of what does not change in the model."""
    known = recent(days)
    if len({d.day for d in known}) < LEAST_DAYS:
        return model
    key = np.concatenate([d.key for d in known])
    joined, score = tails.fit(stacked(known, "joined")), tails.fit(once_each(key, stacked(known, "score")[:, None]))
    return model.refreshed(learn(known, accumulators.K), joined, score)
