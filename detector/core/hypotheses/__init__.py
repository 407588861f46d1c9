"""What an investigator would suspect. A file is a hypothesis: which signals, how they join, and the sentence it tells.

Each file defines HYPOTHESIS, and is available under its own name.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

Join = Literal["max", "min", "sum", "value", "forest"]


class Reading(NamedTuple):
    """What one signal showed at the event that raised a hypothesis, in the evidence's own unit."""

    name: str
    value: float
    own_usual: float | None
    team_usual: float | None


@dataclass(frozen=True, slots=True)
class Hypothesis:
    name: str
    signals: tuple[str, ...]
    """Columns of the feature matrix."""
    join: Join
    """How the rarities of its signals become one value; `value` takes its one signal as it is, `forest` asks the isolation forest."""
    says: Callable[[Sequence[Reading]], str]
    """The sentence for an investigator, from what the signals showed (strongest first)."""
    weight: float = 1.0
    needs: tuple[str, ...] = ()
    """Context files without any of which it cannot see anything, and is off."""
    needs_reasons: bool = False
    """It is about accesses without a reason, and says nothing where the log never gives one: no purpose, no assignment. It is then off."""

    def joined(self, rarities: NDArray[np.float32], values: NDArray[np.float32]) -> NDArray[np.float32]:
        """(n, signals) rarities and raw values -> (n,) joined value; not for `forest`."""
        if self.join == "value":
            assert values.shape[1] == 1
            return values[:, 0]
        out: NDArray[np.float32]
        if self.join == "max":
            out = rarities.max(axis=1)
        elif self.join == "min":
            out = rarities.min(axis=1)
        else:
            assert self.join == "sum", self.join
            out = np.maximum(rarities - np.float32(0.5), 0).sum(axis=1, dtype=np.float32)
        return out


@cache
def names() -> tuple[str, ...]:
    """All hypotheses there are, sorted."""
    return tuple(sorted(m.name for m in pkgutil.iter_modules(__path__)))


@cache
def find(name: str) -> Hypothesis:
    """The hypothesis of that name. Raises KeyError with the names there are."""
    if name not in names():
        raise KeyError(f"no hypothesis is called {name!r}; there are: {', '.join(names())}")
    found: Hypothesis = importlib.import_module(f"{__name__}.{name}").HYPOTHESIS
    return found


def about(number: float) -> str:
    """A number as a person would say it."""
    if number >= 100:
        return f"{number:,.0f}"
    return f"{number:.0f}" if number >= 9.5 or abs(number - round(number)) < 0.05 else f"{number:.1f}"


def usual(reading: Reading) -> str:
    """`usually 0.4, the team 1.2`: the highest of a usual day. What is not known is left out."""
    parts = []
    if reading.own_usual is not None:
        parts.append(f"usually {_little(reading.own_usual)}")
    if reading.team_usual is not None:
        parts.append(f"{'' if parts else 'usually '}the team {_little(reading.team_usual)}")
    return ", ".join(parts)


def _little(number: float) -> str:
    """A mean over many days is hardly ever 0, and 0 would be read as never."""
    return about(number) if number >= 0.095 else "under 0.1"


SPANS = {"1.5h": "in the last few hours", "16h": "in the last day or so", "6d": "in the last week or so"}


def span(reading: Reading) -> str:
    """The span of time that a signal such as `harvest.16h.team` sums over, in words."""
    return SPANS.get(_half_life(reading.name), "at once")


def evidence(reading: Reading) -> str:
    """The evidence of a signal such as `harvest.16h.team`."""
    return reading.name.split(".", 1)[0]


def each_once(readings: Sequence[Reading]) -> list[Reading]:
    """The strongest reading of each evidence: against oneself and against the team are one thing, to be said once."""
    return list(reversed({evidence(r): r for r in reversed(readings)}.values()))


def lately(readings: Sequence[Reading]) -> Reading:
    """The reading to speak of: the strongest, or the same evidence over a shorter span where that holds nearly all of it."""
    strongest = readings[0]
    same = [r for r in readings if evidence(r) == evidence(strongest) and r.value >= 0.8 * strongest.value]
    return min(same, key=lambda r: list(SPANS).index(_half_life(r.name)))


def _half_life(signal: str) -> str:
    return signal.split(".", 1)[1].rsplit(".", 1)[0] if signal.count(".") >= 2 else ""
