"""What the detector knows besides events: who works where, who is protected, what a field or a resource is, who may look where.

A `Context` is immutable and pure: everything is asked as of a day, days are whole days since 1970-01-01 UTC. Two contexts that say the same
have the same hash, whatever the order of their lines, so an alert that carries it can be explained years later.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from types import MappingProxyType

import msgspec

SERVICE = "service"
"""The role that marks a service account: its own team, for it has no colleagues to be compared with."""

RESOURCE_KINDS = ("watch", "iam", "hr", "asset")
DEFAULT_RESOURCES: Mapping[str, tuple[str, ...]] = {
    "watch": ("*_alerts", "*audit_log*"),
    "iam": ("iam:*", "iam_console"),
    "hr": ("hr_*",),
    "asset": ("asset_*",),
}
"""Kind -> patterns, used where there is no resources.csv."""


@dataclass(frozen=True, slots=True)
class Employee:
    """A line of the directory; `posts` are (day, team, role) in order of day, the first as of ever."""

    posts: tuple[tuple[int, str | None, str | None], ...]
    region: str | None = None
    manager: str | None = None
    hired: int | None = None
    left: int | None = None
    listed: bool = True
    """False where only directory_changes.csv knows this id."""


@dataclass(frozen=True, slots=True)
class Wall:
    """Data of `subject_region` is for actors of the allowed regions; the rule (no signal) leaves exempt teams out."""

    subject_region: str
    allowed_actor_regions: frozenset[str]
    exempt_teams: frozenset[str] = frozenset()
    exception_prefix: str | None = None
    """A purpose that begins so is an approved exception."""


@dataclass(frozen=True, slots=True)
class Calendar:
    """Local time of a region: an IANA zone name, the working days (0 Monday .. 6 Sunday), the holidays as days since 1970."""

    time_zone: str
    working_days: frozenset[int] = frozenset(range(5))
    holidays: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Zone:
    """Local time by the IANA rules: from `since[i]` (ms since 1970 UTC, ascending) on, clocks are `offset[i]` ms ahead of UTC."""

    since: tuple[int, ...]
    """The first applies to whatever is earlier, too."""
    offset: tuple[int, ...]


NO_ZONES: Mapping[str, Zone] = MappingProxyType({})


@dataclass(frozen=True)
class Context:
    """See the module. The members are what the files say; ask through the methods."""

    employees: Mapping[str, Employee] = field(default_factory=dict)
    protected: Mapping[str, str] = field(default_factory=dict)
    """Subject, or `hmac:` and the hex of its keyed hash -> class."""
    links: Mapping[str, tuple[tuple[str, str], ...]] = field(default_factory=dict)
    """Subject -> (linked, kind), sorted; contacts stand under both ends."""
    fields: Mapping[str, str] = field(default_factory=dict)
    resources: Mapping[str, str] = field(default_factory=dict)
    """Resource or pattern -> kind."""
    owned: Mapping[str, frozenset[str]] = field(default_factory=dict)
    revoked: Mapping[tuple[str, str], int] = field(default_factory=dict)
    """(team, resource) -> the first day without it."""
    walls: Mapping[str, Wall] = field(default_factory=dict)
    calendars: Mapping[str, Calendar] = field(default_factory=dict)
    zones: Mapping[str, Zone] = field(default_factory=dict)
    """The time zones that the calendars name."""
    absent: tuple[str, ...] = ()
    """Names of the files that were not there."""
    key: bytes = field(default=b"", repr=False)
    """Of the hashes in protected.csv. It is no part of `hash`."""

    @staticmethod
    def parse(
        files: Mapping[str, bytes], resources: Mapping[str, tuple[str, ...]] = DEFAULT_RESOURCES, zones: Mapping[str, Zone] = NO_ZONES
    ) -> Context:
        """The context that the files (name -> content) of a folder say; `resources` (kind -> patterns) stands in for an absent
        resources.csv; `zones` holds at least those of `zones_named`. Raises ContextError naming every problem of every file, a line each.
        """
        from detector.core.context.parse import parse  # it builds what this module defines

        return parse(files, resources, zones)

    @staticmethod
    def zones_named(files: Mapping[str, bytes]) -> list[str]:
        """The time zones, in order of their names, that the files speak of, whether there are such zones or not."""
        from detector.core.context.parse import zones_named

        return zones_named(files)

    @staticmethod
    def empty() -> Context:
        """What is known without any file: nothing but the names that resources usually have."""
        return Context.parse({})

    @cached_property
    def hash(self) -> str:
        """Sha256, hex, of all that this context says."""
        said = {
            "employees": self.employees, "protected": self.protected, "links": self.links, "fields": self.fields,
            "resources": self.resources, "owned": self.owned, "revoked": sorted((*key, day) for key, day in self.revoked.items()),
            "walls": self.walls, "calendars": self.calendars, "zones": self.zones,
        }  # fmt: skip
        return hashlib.sha256(msgspec.json.encode(said, order="deterministic")).hexdigest()

    @cached_property
    def version(self) -> str:
        """16 hex digits by which a context is named: the first of its hash; with a key, of the hash of both, which tells nothing of it."""
        return (hmac.digest(self.key, self.hash.encode(), "sha256").hex() if self.key else self.hash)[:16]

    # --- employees

    def is_employee(self, name: str) -> bool:
        found = self.employees.get(name)
        return found is not None and found.listed

    def team(self, employee: str, day: int) -> str | None:
        """The team as of the day; a service account is a team of its own, under its own name."""
        post = self._post(employee, day)
        if post is None:
            return None
        return employee if post[2] == SERVICE else post[1]

    def role(self, employee: str, day: int) -> str | None:
        post = self._post(employee, day)
        return post[2] if post else None

    def region(self, employee: str) -> str | None:
        found = self.employees.get(employee)
        return found.region if found else None

    def transfer(self, employee: str, day: int) -> tuple[int, str | None] | None:
        """The last change of team up to the day: (the day it took effect, the team before); None where there was none."""
        found = self.employees.get(employee)
        for before, after in reversed(list(pairwise(found.posts if found else ()))):
            if after[0] <= day and before[1] != after[1]:
                return after[0], before[1]
        return None

    def _post(self, employee: str, day: int) -> tuple[int, str | None, str | None] | None:
        found = self.employees.get(employee)
        if found is None:
            return None
        if len(found.posts) == 1:
            return found.posts[0]
        return found.posts[max(bisect_right(found.posts, day, key=lambda post: post[0]) - 1, 0)]

    # --- subjects

    @cached_property
    def protected_by_hash(self) -> bool:
        """Whether protected.csv names people by keyed hash, so that their class is found only with the key."""
        return any(name.startswith("hmac:") for name in self.protected)

    @cached_property
    def finds_hashed(self) -> bool:
        return self.protected_by_hash and bool(self.key)

    def protected_class(self, subject: str) -> str | None:
        """Journalist, official, canary ... or None. With the key also those named by hash: `hmac:` + hex of HMAC-SHA256(key, subject)."""
        found = self.protected.get(subject)
        if found is None and self.finds_hashed:
            found = self.protected.get("hmac:" + hmac.digest(self.key, subject.encode(), "sha256").hex())
        return found

    def linked(self, subject: str) -> tuple[tuple[str, str], ...]:
        """(linked, kind): own_account and household with an employee, contact with another subject (from either end)."""
        return self.links.get(subject, ())

    # --- things

    def field_class(self, field: str) -> str | None:
        """The sensitivity class of a field: location, contact, credential ..."""
        return self.fields.get(field)

    def resource_kind(self, resource: str) -> str | None:
        """`watch`, `iam`, `hr`, `asset` or None. A name written out wins over patterns."""
        found = self.resources.get(resource)
        if found is None:
            found = next((kind for kind, pattern in self._patterns.items() if pattern.fullmatch(resource)), None)
        return found

    @cached_property
    def _patterns(self) -> dict[str, re.Pattern[str]]:
        patterns: dict[str, list[str]] = {kind: [] for kind in RESOURCE_KINDS}
        for name, kind in self.resources.items():
            if "*" in name:
                patterns[kind].append(".*".join(map(re.escape, name.split("*"))))
        return {kind: re.compile("|".join(some), re.DOTALL) for kind, some in patterns.items() if some}

    def owners(self, resource: str) -> frozenset[str]:
        """The teams that work with it by right; empty where owners.csv does not say."""
        return self.owned.get(resource, frozenset())

    def revoked_since(self, team: str, resource: str) -> int | None:
        """The first day on which the team no longer had the resource, or None."""
        return self.revoked.get((team, resource))

    def wall(self, subject_region: str) -> Wall | None:
        return self.walls.get(subject_region)

    def calendar(self, region: str) -> Calendar | None:
        return self.calendars.get(region)

    def missing(self) -> list[str]:
        """What is off because of what the folder does not hold, a sentence each."""
        off = [f"{name} is absent: {OFF_WITHOUT[name]}" for name in self.absent]
        if self.protected_by_hash and not self.key:
            off.append(
                "protected.csv names people by keyed hash, and there is no context.protected_key_file: they do not count as protected"
            )
        return off


OFF_WITHOUT: Mapping[str, str] = {
    "directory.csv": "teams, roles and regions are only those that events carry, and no subject is known as an employee",
    "directory_changes.csv": "transfers are not seen",
    "protected.csv": "nobody counts as protected",
    "links.csv": "employees' own accounts, households and contacts are not known",
    "fields.csv": "no field counts as sensitive",
    "resources.csv": "alert, audit, iam, HR and asset resources are told by the usual names",
    "owners.csv": "a transfer takes no resource away",
    "revocations.csv": "no resource counts as taken away",
    "residency.toml": "there are no residency walls, and no purpose is an approved exception",
    "calendar.toml": "hours are UTC, Saturday and Sunday are free, and holidays are not known",
}
"""File -> what is off without it. Its keys are the files that a context folder may hold."""
