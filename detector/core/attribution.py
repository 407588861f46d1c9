"""Attribution: which hypotheses made a score, what their signals showed, and how to say it."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from detector.core.combination import POWER
from detector.core.hypotheses import Reading
from detector.core.model import Model
from detector.core.signals import accumulators
from detector.core.state import KeyedState

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


def reasons(model: Model, state: KeyedState, slot: int, team: int) -> tuple[Reason, ...]:
    """The hypotheses that matter to the employee in `slot`, now, the largest share first; `team` is their row in the baselines."""
    c = state.columns
    part = shares(model, c["hour_rarity"][slot])
    order = [int(d) for d in np.argsort(-part, kind="stable") if part[d] >= LEAST_SHARE]
    out = []
    for d in order:
        held = zip(c["hour_signal"][slot, d].tolist(), c["hour_reading"][slot, d].tolist(), strict=True)
        shown = [_reading(model, state, slot, team, model.names[j], value) for j, value in held if j >= 0]
        signals = tuple(SignalShown(r.name, _tidy(r.value), _tidy(r.own_usual), _tidy(r.team_usual)) for r in shown)
        out.append(Reason(model.hypotheses[d].name, round(float(part[d]), 3), model.hypotheses[d].says(shown), signals))
    return tuple(out)


def _reading(model: Model, state: KeyedState, slot: int, team: int, name: str, value: float) -> Reading:
    of = name.rsplit(".", 1)[0]
    if of not in accumulators.NAMES:
        return Reading(name, value, None, None)
    return Reading(name, accumulators.level_to_sum(of, value), *accumulators.usual(state, slot, team, model.baselines, of))


def _tidy(number: Any) -> Any:
    """Four significant digits, four decimals: more would claim a precision that is not there, and JSON writers differ on 0.00001."""
    return None if number is None else round(float(f"{number:.4g}"), 4)
