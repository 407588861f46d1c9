"""Attribution: which hypotheses made a score, what their signals showed, and how to say it."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from detector.core.combination import POWER
from detector.core.hypotheses import Reading
from detector.core.model import Model
from detector.core.signals import accumulators

LEAST_SHARE = 0.1


class SignalShown(msgspec.Struct, frozen=True):
    name: str
    value: float
    own_usual: float | None
    team_usual: float | None


class Reason(msgspec.Struct, frozen=True):
    hypothesis: str
    share: float
    """Part of S^1.5, 0..1; those of all hypotheses sum to 1."""
    text: str
    signals: tuple[SignalShown, ...]


def shares(model: Model, rarity: NDArray[np.float32]) -> NDArray[np.float64]:
    """(H,) rarities as of an event -> each hypothesis' part of S^1.5."""
    part = model.wiring.weight * rarity.astype(np.float64) ** POWER
    return np.asarray(part / max(part.sum(), 1e-12))


def reasons(model: Model, rarity: NDArray[np.float32], signal: NDArray[np.int16], reading: NDArray[np.float32]) -> tuple[Reason, ...]:
    """The hypotheses that matter, the largest share first.

    signal: (H, 3) feature columns; reading: (H, 3, 3) as `combination` keeps them.
    """
    part = shares(model, rarity)
    order = [int(d) for d in np.argsort(-part, kind="stable") if part[d] >= LEAST_SHARE]
    out = []
    for d in order:
        shown = [_reading(model.names[j], *reading[d, k].tolist()) for k, j in enumerate(signal[d]) if j >= 0]
        signals = tuple(SignalShown(r.name, _tidy(r.value), _tidy(r.own_usual), _tidy(r.team_usual)) for r in shown)
        out.append(Reason(model.hypotheses[d].name, round(float(part[d]), 3), model.hypotheses[d].says(shown), signals))
    return tuple(out)


def _reading(name: str, value: float, own_usual: float, team_usual: float) -> Reading:
    if math.isnan(own_usual):
        return Reading(name, value, None, None)
    of = name.rsplit(".", 1)[0]
    return Reading(name, *(accumulators.level_to_sum(of, max(level, 0.0)) for level in (value, own_usual, team_usual)))


def _tidy(number: Any) -> Any:
    """Four significant digits, four decimals: more would claim a precision that is not there, and JSON writers differ on 0.00001."""
    return None if number is None else round(float(f"{number:.4g}"), 4)
