from __future__ import annotations

import json
from typing import Any

import pytest
from company_world import END, TODAY

from detector.sandbox.company import Company, Day
from detector.sandbox.company.calendar import DAY


@pytest.fixture(scope="module")
def company() -> Company:
    return Company(100, 3, end=END)


@pytest.fixture(scope="module")
def week(company: Company) -> list[Day]:
    return list(company.days((TODAY - 7) * DAY, TODAY * DAY))


@pytest.fixture(scope="module")
def events(week: list[Day]) -> list[dict[str, Any]]:
    return [json.loads(value) for day in week for value in day.values]
