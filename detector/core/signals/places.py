"""Places: is the employee where they usually are, at a machine that is theirs, and could they have got there?

Own counts of countries (the 8 most frequent, multiplied by .97 each active day), the 8 devices used last, and the last position known.
Distance is the great circle's, by the haversine formula (R. W. Sinnott, "Virtues of the Haversine", Sky and Telescope 68(2), 1984).
"""

from __future__ import annotations

import math

import numba as nb
import numpy as np

from detector.core.baselines import Baselines
from detector.core.events import ACTIONS, NO_TIME
from detector.core.features import FeatureBatch
from detector.core.frame import DAY, HOUR, Frame
from detector.core.state import Column, KeyedState, Slots, short

COUNTRIES, DEVICES = 8, 8

COLUMNS = (
    Column("country", "uint32", (COUNTRIES,)),
    Column("country_count", "float32", (COUNTRIES,)),
    Column("device", "uint32", (DEVICES,)),  # the one used last comes first
    Column("place_day", "int32", empty=-1),
    Column("place_days", "uint8"),  # active days before that one, counted as far as LEAST_DAYS and one more
    Column("latitude", "float32"),
    Column("longitude", "float32"),
    Column("position_time", "int64", empty=NO_TIME),
)
GIVES = ("geo", "travel", "new_device")
"""`geo`: all there is to say against the place, summed; `travel`: log(1 + how many times as fast as an airliner) over a distance worth a
flight; `new_device`: 1 on a device that is none of the last ones. What is new becomes usual by being used."""

KEEP, LEAST_EVENTS, FLOOR, RARE = 0.97, 30.0, 0.3, 1.5  # RARE: a country of 1 event in 32
LEAST_DAYS, NEW_DEVICE = 3, 1.5
FAR_KM, AIRLINER_KMH, LEAST_HOURS, MOST_TRAVEL = 400.0, 900.0, 0.1, 3.0
EARTH_KM, KM_DEGREE = 12742.0, 111.2  # the diameter; a degree of latitude, and at most a degree of longitude
ASSIGN = ACTIONS.index("assign")


def observe(state: KeyedState, slots: Slots, frame: Frame, baselines: Baselines, out: FeatureBatch) -> None:
    c = state.columns
    _observe(
        slots, frame.time, frame.action, short(frame.country), short(frame.device), frame.latitude, frame.longitude,
        c["place_day"], c["place_days"], c["country"], c["country_count"], c["device"], c["latitude"], c["longitude"], c["position_time"],
        out.column("geo"), out.column("travel"), out.column("new_device"),
    )  # fmt: skip


@nb.njit(cache=True)
def _observe(  # type: ignore[no-untyped-def]
    slots, time, action, country, device, latitude, longitude, last_day, days, own_country, count, own_device, last_latitude,
    last_longitude, position_time, geo, travel, new_device,
):  # fmt: skip
    for i in range(len(slots)):
        if action[i] >= ASSIGN:
            continue
        s, day = slots[i], time[i] // DAY
        if day > last_day[s]:
            if last_day[s] >= 0:
                days[s] = min(days[s] + 1, LEAST_DAYS + 1)
            last_day[s] = day
            count[s] *= np.float32(KEEP)
        against = 0.0
        if country[i] != 0:
            against += _rarity(country[i], own_country[s], count[s])
        if device[i] != 0 and _is_new(device[i], own_device[s]) and days[s] > LEAST_DAYS:
            new_device[i] = 1.0
            against += NEW_DEVICE
        if not math.isnan(latitude[i] + longitude[i]):
            if position_time[s] != NO_TIME:
                hours = abs(time[i] - position_time[s]) / HOUR
                km = _km(latitude[i], longitude[i], last_latitude[s], last_longitude[s])
                if km > FAR_KM:
                    travel[i] = math.log1p(km / max(hours, LEAST_HOURS) / AIRLINER_KMH)
                    against += min(travel[i], MOST_TRAVEL)
            if time[i] >= position_time[s]:
                position_time[s], last_latitude[s], last_longitude[s] = time[i], latitude[i], longitude[i]
        geo[i] = against


@nb.njit(cache=True)
def _rarity(country, own, count):  # type: ignore[no-untyped-def]
    """Evidence that this is not one of their countries; then it counts. A new one takes the place of the rarest."""
    at, total = 0, 0.0
    for j in range(COUNTRIES):
        total += count[j]
        if own[j] == country or (own[at] != country and count[j] < count[at]):
            at = j
    n = count[at] if own[at] == country else 0.0
    own[at], count[at] = country, n + 1.0
    rarity = -math.log10((n + FLOOR) / (total + 1.0))
    return rarity - 1.0 if total > LEAST_EVENTS and rarity > RARE else 0.0


@nb.njit(cache=True)
def _is_new(device, own):  # type: ignore[no-untyped-def]
    """Whether it is none of the last devices; from now on it is the first of them."""
    at = 0
    while at < DEVICES - 1 and own[at] != device:
        at += 1
    new = own[at] != device
    for j in range(at, 0, -1):
        own[j] = own[j - 1]
    own[0] = device
    return new


@nb.njit(cache=True)
def _km(latitude, longitude, from_latitude, from_longitude):  # type: ignore[no-untyped-def]
    """Kilometres between two positions in degrees; 0 where they cannot be far."""
    north, east = latitude - from_latitude, longitude - from_longitude
    if KM_DEGREE * (abs(north) + abs(east)) < FAR_KM:
        return 0.0
    across = math.cos(math.radians(latitude)) * math.cos(math.radians(from_latitude))
    h = math.sin(math.radians(north) / 2) ** 2 + across * math.sin(math.radians(east) / 2) ** 2
    return EARTH_KM * math.asin(min(math.sqrt(h), 1.0))
