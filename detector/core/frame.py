"""Frame: what the compiled kernels read. Numbers and hashes only, one row an event, made once a batch."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

DAY = 86_400_000
HOUR = 3_600_000


@dataclass(frozen=True, slots=True)
class Frame:
    """Columns of length n, contiguous."""

    time: NDArray[np.int64]
    """Event time, ms since 1970 UTC."""
    hour: NDArray[np.int64]
    """Hour of the day 0..23, at weekends 24..47."""
    action: NDArray[np.int64]
    """Index into events.ACTIONS."""
    pair: NDArray[np.int64]
    """Row of (resource, action) in the baselines' vocabulary; the last row is `other`."""
    team: NDArray[np.int64]
    """Row of the actor's team in the baselines; 0 the whole company."""
    team_key: NDArray[np.uint64]
    """Hash of the team's name, to notice a transfer; 0 unknown."""
    subject: NDArray[np.uint64]
    """Hash of the data subject; 0 none."""
    purpose: NDArray[np.uint64]
    """Hash of the purpose; 0 none."""
    valid_until: NDArray[np.int64]
    """End of an assignment, ms; NO_TIME where it is not said."""
    records: NDArray[np.float64]
    special: NDArray[np.float64]
    """How much care the subject deserves: protected 1, a colleague's or their household's .8, contact of a protected person .6, else 0."""
    own: NDArray[np.bool_]
    """The subject is the actor's own account."""
    location: NDArray[np.bool_]
    """Fields shown say where the subject is or was."""

    def __len__(self) -> int:
        return len(self.time)

    def take(self, rows: slice | NDArray[Any]) -> Frame:
        return Frame(*(np.ascontiguousarray(getattr(self, f.name)[rows]) for f in fields(self)))
