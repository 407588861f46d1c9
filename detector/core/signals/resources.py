"""Resources: does this employee, and the team, work with this resource in this way?

Own counts of (resource, action), multiplied by .95 each active day, against the team's and the company's profiles. `foreign` is evidence
where the pair belongs to neither; `odd_pair` is the plain own-against-peers log likelihood ratio.
"""

from __future__ import annotations

import math

import numba as nb

from detector.core.baselines import MAX_PAIRS, Baselines
from detector.core.events import ACTIONS
from detector.core.features import FeatureBatch
from detector.core.frame import DAY, Frame
from detector.core.state import Column, KeyedState, Slots

COLUMNS = (
    Column("pair_count", "float32", (MAX_PAIRS + 1,)),
    Column("pair_total", "float32"),
    Column("pair_day", "int64", empty=-1),
)
NEEDS = ("w",)
GIVES = ("foreign", "odd_pair")

KEEP = 0.95
TEAM_EVENTS, COMPANY_EVENTS = 12.0, 0.3  # events' worth of the team's and of the company's habits in one's own
ASSIGN = ACTIONS.index("assign")


def observe(state: KeyedState, slots: Slots, frame: Frame, baselines: Baselines, out: FeatureBatch) -> None:
    c = state.columns
    _observe(
        slots, frame.time, frame.action, frame.pair, frame.team, baselines.pair_company, baselines.pair_team,
        c["pair_count"], c["pair_total"], c["pair_day"], out.column("w"), out.column("foreign"), out.column("odd_pair"),
    )  # fmt: skip


@nb.njit(cache=True)
def _observe(slots, time, action, pair, team, company_share, team_share, count, total, last_day, w, foreign, odd_pair):  # type: ignore[no-untyped-def]
    uniform, other = 1.0 / len(company_share), len(company_share) - 1
    for i in range(len(slots)):
        if action[i] >= ASSIGN:
            continue
        s, p, day = slots[i], pair[i], time[i] // DAY
        if day > last_day[s]:
            last_day[s] = day
            count[s] *= KEEP
            total[s] *= KEEP
        if p != other:
            of_team, of_company = team_share[team[i], p], company_share[p]
            own = (count[s, p] + TEAM_EVENTS * of_team + COMPANY_EVENTS * of_company) / (total[s] + TEAM_EVENTS + COMPANY_EVENTS)
            peers = 0.5 * of_company + 0.25 * of_team + 0.25 * uniform
            foreign[i] = w[i] * max(math.log(peers / (0.5 * own + 0.5 * of_team)) - 1.0, 0.0)
            odd_pair[i] = max(math.log(peers / own), 0.0)
        count[s, p] += 1.0
        total[s] += 1.0
