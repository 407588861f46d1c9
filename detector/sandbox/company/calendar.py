"""Regions: local time, working days, holidays. A day is a number of days since 1970-01-01, in local time where a region is given."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

HOUR = 3_600_000
DAY = 24 * HOUR
_EPOCH = date(1970, 1, 1)


class Region(NamedTuple):
    zone: str
    country: str
    place: tuple[float, float]
    """Latitude and longitude of the office."""
    holidays: tuple[tuple[int, int], ...]
    """Month and day, the same every year."""


REGIONS: dict[str, Region] = {
    "US": Region("America/New_York", "US", (40.71, -74.01), ((1, 1), (1, 19), (5, 25), (7, 3), (9, 7), (11, 26), (12, 24), (12, 25))),
    "EU": Region("Europe/Dublin", "IE", (53.35, -6.26), ((1, 1), (3, 17), (4, 6), (5, 4), (8, 3), (10, 26), (12, 25), (12, 26))),
    "SG": Region("Asia/Singapore", "SG", (1.29, 103.85), ((1, 1), (2, 17), (2, 18), (5, 1), (5, 27), (8, 10), (11, 9), (12, 25))),
}
NAMES = tuple(REGIONS)


def date_of(day: int) -> date:
    return _EPOCH + timedelta(days=day)


def is_working_day(region: str, day: int) -> bool:
    when = date_of(day)
    return when.weekday() < 5 and (when.month, when.day) not in REGIONS[region].holidays


def offset(region: str, day: int) -> int:
    """Milliseconds that local noon of that day is ahead of UTC."""
    noon = datetime.combine(date_of(day), datetime.min.time(), UTC) + timedelta(hours=12)
    ahead = noon.astimezone(ZoneInfo(REGIONS[region].zone)).utcoffset()
    assert ahead is not None
    return int(ahead.total_seconds() * 1000)


def local_day(region: str, time: int) -> int:
    return (time + offset(region, time // DAY)) // DAY


def utc(region: str, day: int, hour: float) -> int:
    """Local hour of a local day -> ms since 1970 UTC."""
    return day * DAY + int(hour * HOUR) - offset(region, day)
