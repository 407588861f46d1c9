"""A small company that the sandbox's tests share."""

from __future__ import annotations

from datetime import datetime

import numpy as np

from detector.core.events import Records
from detector.sandbox.company import Company, Day
from detector.sandbox.company.calendar import DAY

END = 1_790_000_000_000  # a Monday afternoon in Dublin, 2026-09-21
TODAY = END // DAY


def planted(name: str) -> Company:
    company = Company(100, 3, end=END)
    company.plant(name)
    return company


def as_records(day: Day) -> Records:
    lengths = np.array([(len(key), len(value)) for key, value in zip(day.keys, day.values, strict=True)]).reshape(-1)
    ends = np.cumsum(lengths)
    spans = np.stack([ends - lengths, ends], axis=1).reshape(-1, 2, 2)
    none = np.full((len(day), 2), -1)
    data = b"".join(part for pair in zip(day.keys, day.values, strict=True) for part in pair)
    return Records("t", 0, data, np.arange(len(day)), day.arrival, spans[:, 0], spans[:, 1], none, np.zeros(len(day), np.bool_))


def ms(time: int | str) -> int:
    return time if isinstance(time, int) else round(datetime.fromisoformat(time).timestamp() * 1000)
