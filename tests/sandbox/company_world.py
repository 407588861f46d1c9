"""A small company that the sandbox's tests share."""

from __future__ import annotations

from datetime import datetime

from detector.sandbox.company import Company
from detector.sandbox.company.calendar import DAY

END = 1_790_000_000_000  # a Monday afternoon in Dublin, 2026-09-21
TODAY = END // DAY


def planted(name: str) -> Company:
    company = Company(100, 3, end=END)
    company.plant(name)
    return company


def ms(time: int | str) -> int:
    return time if isinstance(time, int) else round(datetime.fromisoformat(time).timestamp() * 1000)
