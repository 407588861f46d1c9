"""Who works for the company: teams, managers, hires, leavers, transfers, shifts, absences, laptops, where each logs in from."""

from __future__ import annotations

from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from detector.sandbox.company.calendar import NAMES, REGIONS, is_working_day
from detector.sandbox.company.chance import generator, keyed, shares
from detector.sandbox.company.roles import ROLES, TEAMS

Ints = NDArray[np.int64]

SERVICES = ("svc-etl", "svc-backup", "svc-mail")
NEVER = 1 << 30
_ROLE_NAMES = tuple(ROLES)
_TEAM_ROLE = np.array([_ROLE_NAMES.index(team.role) for team in TEAMS])
_TEAM_REGION = np.array([NAMES.index(team.region) for team in TEAMS])
_DILIGENCE = 0.3
"""Sigma of the logarithm of how much more than others a person does in a day."""
_MOVES = (("support-us-1", "trust-safety-us", -12), ("support-eu-1", "trust-safety-eu", -5), ("support-us-2", "growth", 6))
"""Transfers: from, to, days after the end of the history."""
_REVOKED = (("trust-safety-us", "device_registry", -9), ("growth-apac", "campaign_audience", 3))
"""A team loses a resource: days after the end of the history."""


class Transfer(NamedTuple):
    employee: int
    day: int
    team: int


class Staff:
    """The employees (index 0..count), then the service accounts. Hires, leavers and transfers are dated around `last`, a day."""

    def __init__(self, employees: int, seed: int, last: int) -> None:
        rng = generator(seed, "staff")
        self.seed, self.count = seed, employees
        sizes = shares((team.weight for team in TEAMS[:-1]), employees)
        self.team: Ints = np.append(np.repeat(np.arange(len(sizes)), sizes), [len(TEAMS) - 1] * len(SERVICES))
        numbers = 1001 + np.sort(rng.choice(employees * 4, employees, replace=False))
        rng.shuffle(numbers)
        self.names: tuple[str, ...] = (*(f"e{number}" for number in numbers), *SERVICES)
        self.factor = rng.lognormal(0, _DILIGENCE, employees)
        self.habit = rng.normal(0.2, 0.4, employees)
        """Hours after the shift's start at which a person usually starts."""
        self.hired, self.left = self._tenures(rng, last)
        self.transfers = self._moves(last)
        self.revocations = tuple((last + days, _team(team), resource) for team, resource, days in _REVOKED)

    def _tenures(self, rng: np.random.Generator, last: int) -> tuple[Ints, Ints]:
        total = self.count + len(SERVICES)
        hired = last - rng.integers(90, 2500, total)
        left = np.full(total, NEVER)
        # the first two of each team stay, so that no team is ever empty; neither do the auditors change, whom the story needs
        free = np.flatnonzero((np.arange(self.count) - np.searchsorted(self.team[: self.count], self.team[: self.count]) > 1)
                              & (self.team[: self.count] != _team("internal-audit")))  # fmt: skip
        moved = rng.permutation(free)
        new, leaving = moved[: self.count // 20], moved[self.count // 20 : self.count // 12]
        hired[new] = last - rng.integers(-5, 60, len(new))
        left[leaving] = last - rng.integers(-20, 25, len(leaving))
        return hired, left

    def _moves(self, last: int) -> tuple[Transfer, ...]:
        moves = []
        for source, target, days in _MOVES:
            stay = np.flatnonzero((self.team == _team(source)) & (self.left == NEVER) & (self.hired < last - 60))
            if len(stay) > 2:
                moves.append(Transfer(int(stay[2]), last + days, _team(target)))
        return tuple(moves)

    def teams(self, day: int) -> Ints:
        """Each account's team on that day, int64 (employees + services,)."""
        now = self.team.copy()
        for transfer in self.transfers:
            if transfer.day <= day:
                now[transfer.employee] = transfer.team
        return now

    def roles(self, day: int) -> Ints:
        return _TEAM_ROLE[self.teams(day)]

    @cached_property
    def region(self) -> Ints:
        """Index into the calendar's regions, int64 (employees + services,); a transfer never changes it."""
        return _TEAM_REGION[self.team]

    def manager(self, who: int) -> str:
        first = int(np.searchsorted(self.team, self.team[who]))
        return self.names[0 if who == first else first]

    def working(self, day: int) -> Ints:
        """The employees at work on that local day."""
        who = np.arange(self.count)
        team = self.teams(day)[: self.count]
        open_today = np.array([is_working_day(name, day) for name in NAMES])[self.region[: self.count]]
        weekend = np.array([team.weekend for team in TEAMS])[team]
        chance = np.where(open_today, 0.97, weekend)
        absent = keyed(self.seed, "vacation", who, day // 7) < 0.05
        employed = (self.hired[: self.count] <= day) & (day < self.left[: self.count])
        return np.flatnonzero(employed & ~absent & (keyed(self.seed, "at work", who, day) < chance))

    def shift_start(self, day: int, who: Ints) -> NDArray[np.float64]:
        """Local hour at which each of `who` starts on that day; teams with several shifts rotate weekly."""
        team = self.teams(day)[who]
        starts = np.array([team.shifts[(k % len(team.shifts))] for team in TEAMS for k in range(6)]).reshape(-1, 6)
        turn = (who + day // 7) % 6
        return starts[team, turn] + self.habit[who] + keyed(self.seed, "minutes", who, day) * 0.6

    def source(self, who: int, session: int) -> tuple[str, str]:
        """JSON members that say where an access came from, without and with coordinates.

        Session = day * 8 + its number on that day; from number 2 on it is at home."""
        if who >= self.count:
            text = f',"src_ip":"10.250.0.{who - self.count + 10}","device":"vm-{who - self.count + 1}"'
            return text, text
        day, number = divmod(session, 8)
        region = REGIONS[NAMES[self.region[who]]]
        luck = keyed(self.seed, "home", [who, who, who, who, who], [0, 1, 2, 3, 4])
        country, (lat, lon) = region.country, region.place
        if keyed(self.seed, "trip", who, day // 7)[0] < 0.012:
            country, lat, lon = ("GB", 51.51, -0.13) if region.country != "IE" else ("DE", 52.52, 13.4)
            address = f"100.127.{int(luck[0] * 250)}.{int(keyed(self.seed, 'hotel', who, day)[0] * 250) + 1}"
        elif number >= 2 or keyed(self.seed, "at home", who, day)[0] < 0.35:
            address = f"100.{64 + int(luck[0] * 60)}.{int(luck[1] * 250)}.{int(luck[2] * 250) + 1}"
            lat, lon = lat + (luck[3] - 0.5) * 0.3, lon + (luck[4] - 0.5) * 0.3
        else:
            address = f"10.{int(self.region[who]) + 10}.{int(luck[1] * 30)}.{int(luck[2] * 250) + 1}"
        new_laptop = keyed(self.seed, "laptop", who)[0] * 400 < day % 400
        device = int(keyed(self.seed, "device", who, new_laptop)[0] * 90_000) + 10_000
        number_text = int(keyed(self.seed, "session", who, session)[0] * 2**44)
        text = f',"src_ip":"{address}","src_country":"{country}","device":"d-{device}","session":"s-{number_text:x}"'
        return text, f'{text},"src_lat":{lat:.2f},"src_lon":{lon:.2f}'


def _team(name: str) -> int:
    return [team.name for team in TEAMS].index(name)
