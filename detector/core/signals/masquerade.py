"""Masquerade: is it still the same person who works under this name?

The log likelihood ratio of others against this employee, of what is done, in which order and at what hour, summed with a half-life of four
hours over the number of events. It has a sign: ordinary behaviour takes back what one odd event says, so only a stretch of work that looks
like somebody else's adds up. (Cf. M. Schonlau et al., "Computer Intrusion: Detecting Masquerades", Statistical Science 16, 2001.)
"""

from __future__ import annotations

import numba as nb

from detector.core.baselines import Baselines
from detector.core.events import ACTIONS
from detector.core.features import FeatureBatch
from detector.core.frame import HOUR, Frame
from detector.core.state import Column, KeyedState, Slots

COLUMNS = (
    Column("other_sum", "float32"),
    Column("other_events", "float32"),
    Column("other_time", "int64"),
)
NEEDS = ("pair_llr", "step_llr", "hour_llr")
GIVES = ("masquerade",)

HALF_LIFE = 4.0 * HOUR
PRIOR_EVENTS = 10.0
ASSIGN = ACTIONS.index("assign")


def observe(state: KeyedState, slots: Slots, frame: Frame, baselines: Baselines, out: FeatureBatch) -> None:
    c = state.columns
    pair, step, hour = (out.column(name) for name in NEEDS)
    total, events, clock = c["other_sum"], c["other_events"], c["other_time"]
    _observe(slots, frame.time, frame.action, pair, step, hour, total, events, clock, out.column("masquerade"))


@nb.njit(cache=True)
def _observe(slots, time, action, pair, step, hour, total, events, clock, masquerade):  # type: ignore[no-untyped-def]
    for i in range(len(slots)):
        if action[i] >= ASSIGN:
            continue
        s = slots[i]
        decay = 0.5 ** (max(time[i] - clock[s], 0) / HALF_LIFE)
        clock[s] = max(clock[s], time[i])
        total[s] = total[s] * decay + pair[i] + step[i] + hour[i]
        events[s] = events[s] * decay + 1.0
        masquerade[i] = max(total[s] / (events[s] + PRIOR_EVENTS), 0.0)
