"""Frame: what the compiled kernels read. Numbers and hashes only, one row an event, made once a batch."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detector.core.events import ACTIONS

DAY = 86_400_000
HOUR = 3_600_000
PLAIN, WATCH, IAM, HR, ASSET = range(5)
"""Kinds of resources."""


@dataclass(frozen=True, slots=True)
class Frame:
    """Columns of length n, contiguous. A hash of 0 says that the event does not have the member."""

    time: NDArray[np.int64]
    """Event time, ms since 1970 UTC."""
    hour: NDArray[np.int64]
    """Local hour of the day 0..23; 24..47 on days that are not working days."""
    action: NDArray[np.int64]
    """Index into events.ACTIONS."""
    outcome: NDArray[np.int64]
    """Index into events.OUTCOMES."""
    resource: NDArray[np.uint64]
    """Hash of the resource."""
    kind: NDArray[np.int64]
    """PLAIN, WATCH, IAM, HR or ASSET."""
    grants: NDArray[np.uint64]
    """On `iam:X` the hash of X, as a resource's; else 0."""
    pair: NDArray[np.uint32]
    """Hash of (resource, action), never 0."""
    pair_row: NDArray[np.int64]
    """Its row in the baselines' vocabulary; -1 if it is not in it."""
    team: NDArray[np.int64]
    """Row of the actor's team in the baselines; 0 the whole company."""
    team_key: NDArray[np.uint64]
    """Hash of the team's name, to notice a transfer; 0 unknown."""
    old_team: NDArray[np.int64]
    """Row of the team before the last transfer that the context knows; -1 none."""
    transferred: NDArray[np.int64]
    """Ms of that transfer (the day's beginning); 0 none."""
    subject: NDArray[np.uint64]
    """Hash of the data subject."""
    purpose: NDArray[np.uint64]
    """Hash of the purpose."""
    purpose_row: NDArray[np.int64]
    """Row of the purpose's kind in the baselines; -1 unknown or no purpose."""
    purpose_kind: NDArray[np.uint64]
    """Hash of the purpose's kind, its text before the first `-`."""
    exception: NDArray[np.bool_]
    """The purpose is an approved exception from a wall."""
    valid_until: NDArray[np.int64]
    """End of an assignment, ms; NO_TIME where it is not said."""
    records: NDArray[np.float64]
    bytes: NDArray[np.float64]
    special: NDArray[np.float64]
    """How much care the subject deserves: protected 1, a colleague's or their household's .8, contact of a protected person .6, else 0."""
    own: NDArray[np.bool_]
    """The subject is the actor's own account."""
    self: NDArray[np.bool_]
    """The subject is the actor, as an employee."""
    teammate: NDArray[np.bool_]
    """The subject is another employee of the actor's team."""
    location: NDArray[np.bool_]
    """Fields shown say where the subject is or was."""
    content: NDArray[np.bool_]
    """Fields shown are content or financial."""
    wall: NDArray[np.float64]
    """1 where the access crosses a residency wall, .1 by an exempt team, .02 with an approved exception, 0 where there is no wall."""
    revoked: NDArray[np.float64]
    """The team's recent use of a resource after it was taken away from it, in decayed member-days; -1 where it was not taken away."""
    country: NDArray[np.uint64]
    device: NDArray[np.uint64]
    latitude: NDArray[np.float64]
    """Degrees; NaN where it is not said."""
    longitude: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.time)

    def on_person(self) -> NDArray[np.bool_]:
        """Accesses to a person's data: neither a login nor a change of rights nor an assignment."""
        return np.asarray((self.action < ACTIONS.index("grant")) & (self.subject != 0))

    def take(self, rows: slice | NDArray[Any]) -> Frame:
        return Frame(*(np.ascontiguousarray(getattr(self, f.name)[rows]) for f in fields(self)))
