"""Events of the company as rows of one structured array, and the numbers of tasks and steps in it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from detector.sandbox.company.chance import mix
from detector.sandbox.company.roles import TASKS, Step

EVENT = np.dtype([
    ("arrival", "i8"),  # when it reaches the log, ms
    ("time", "i8"),
    ("id", "u8"),
    ("actor", "i4"),  # index into the staff
    ("step", "i4"),  # index into STEPS
    ("subject", "i4"),  # customer, or customers + staff index; -1: nobody
    ("ticket", "i8"),  # number; -1: none
    ("task", "i4"),  # index into TASK_NAMES, which gives a ticket its prefix
    ("records", "i8"),
    ("bytes", "i8"),
    ("outcome", "i1"),
    ("session", "i8"),  # day * 8 + its number on that day; -1: none
    ("until", "i8"),  # of an assignment; -1: none
])  # fmt: skip
Rows = NDArray[np.void]

TASK_NAMES = tuple(TASKS)
STEPS: tuple[Step, ...] = tuple(step for task in TASKS.values() for step in task.steps)
FIRST_STEP = dict(zip(TASK_NAMES, np.cumsum([0, *(len(task.steps) for task in TASKS.values())]).tolist(), strict=False))


def rows(count: int, **columns: Any) -> Rows:
    """`count` rows; a column that is not given is -1 (none), or 0 for `records`, `bytes` and `outcome`."""
    made = np.empty(count, EVENT)
    for name in EVENT.names or ():
        made[name] = columns.get(name, 0 if name in ("arrival", "id", "records", "bytes", "outcome") else -1)
    return made


def measure(made: Rows, rng: np.random.Generator) -> None:
    """Draws how many records and bytes each access returned, from its step's distribution."""
    median, spread, size = (np.array([getattr(step, name) for step in STEPS])[made["step"]] for name in ("records", "spread", "size"))
    records = np.maximum(1, np.rint(median * np.exp(spread * rng.standard_normal(len(made)))))
    made["records"] = np.where(median > 0, records, 1)
    made["bytes"] = np.rint(made["records"] * size * np.exp(0.4 * rng.standard_normal(len(made))))


def finish(made: Rows, origin: int, rng: np.random.Generator) -> Rows:
    """Gives each event its id (distinct for distinct `origin`s) and the moment it reaches the log, a few seconds late; sorted by that."""
    made = made[np.argsort(made["time"], kind="stable")]
    made["id"] = mix(np.arange(len(made), dtype=np.uint64) + np.uint64(origin << 24))
    late = np.where(rng.random(len(made)) < 0.03, 4000, 600)
    made["arrival"] = made["time"] + (rng.exponential(late)).astype(np.int64)
    return made[np.argsort(made["arrival"], kind="stable")]
