"""Framing: what context and baselines know of a batch's events, joined to them by the hashes of their strings. Column by column."""

from __future__ import annotations

from operator import attrgetter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detector.core.baselines import Baselines
from detector.core.context import SERVICE, Context
from detector.core.events import ACTIONS, NO_TIME, EventBatch
from detector.core.frame import ASSET, DAY, HR, IAM, PLAIN, WATCH, Frame
from detector.core.framing.canaries import Canaries
from detector.core.framing.local_time import Clocks
from detector.core.framing.staff import Staff
from detector.core.framing.walls import Walls
from detector.core.lookups import Hashes, Ints, Lookup, Memo, joined_hash, pair_hash
from detector.core.strings import hash_strings

SPECIAL_PROTECTED, SPECIAL_COLLEAGUE, SPECIAL_CONTACT = 1.0, 0.8, 0.6
KINDS = {None: PLAIN, "watch": WATCH, "iam": IAM, "hr": HR, "asset": ASSET}
IAM_PREFIX = "iam:"
LOCATION = ("location",)
CONTENT = ("content", "financial", "health", "identity", "credential")
"""Classes of fields."""
_LOCATION, _CONTENT = 1, 2
REVOKED_DAYS = 90
"""Later than that, what was taken away is history."""
HANDOVER_DAYS = 5
"""Who was transferred may still finish what they began with their old team's resources."""
_NEVER = 1 << 40
_ASSIGN = ACTIONS.index("assign")


class Framer:
    """Makes frames. Each is a function of its batch's events alone, one row an event: it does not matter how batches are cut."""

    def __init__(self, context: Context, baselines: Baselines, before: Framer | None = None) -> None:
        """`before`: one whose tables are taken over where it has the same context, for they are large."""
        self.context, self.baselines = context, baselines
        self._teams, self._pairs, self._purposes = Lookup(baselines.teams[1:]), Lookup(baselines.pairs), Lookup(baselines.purposes)
        self._rights = _Rights(context, baselines)
        if before is None or before.context is not context:
            self._staff, self._walls, self._clocks = Staff(context), Walls(context), Clocks(context)
            self._subjects, self.canaries = _Subjects(context), Canaries(context)
            self._resources, self._fields = Memo([("kind", np.int64), ("grants", np.uint64)]), Memo(np.int64)
        else:
            self._staff, self._walls, self._clocks, self._subjects = before._staff, before._walls, before._clocks, before._subjects
            self._resources, self._fields, self.canaries = before._resources, before._fields, before.canaries

    def frame(self, batch: EventBatch) -> Frame:
        time, action, day = batch.time, batch.numbers("action"), batch.time // DAY
        actor, resource, purpose, kind = (batch.hashes(name) for name in ("actor", "resource", "purpose", "purpose_kind"))
        who = self._staff.find(actor)
        post = self._staff.post(who, day)
        said = batch.hashes("actor_team")
        team = np.where((said == 0) | self._staff.service[post], self._staff.team[post], said)
        old, moved = self._staff.old_team[post], self._staff.moved[post]
        region = batch.hashes("actor_region")
        region = np.where(region == 0, self._staff.region[who], region)
        about = self._resources.of(resource, lambda row: _about(self.context, batch.rows[row].resource))
        pair, old_row = pair_hash(resource, action), self._teams.find(old)
        shown = self._fields.of(batch.hashes("fields"), lambda row: _shown(self.context, batch.rows[row].fields))
        exception, wall = self._walls.crossed(batch, region, team)
        return Frame(
            time=time, hour=self._clocks.hour(time, region), action=action, outcome=batch.numbers("outcome"), resource=resource,
            kind=about["kind"].copy(), grants=about["grants"].copy(), pair=pair, pair_row=self._pairs.find(pair),
            team=self._teams.find(team) + 1, team_key=team, old_team=np.where(old_row < 0, -1, old_row + 1), transferred=moved,
            purpose=purpose, purpose_row=self._purposes.find(kind), purpose_kind=kind, exception=exception,
            valid_until=_valid_until(batch, action), records=_count(batch, "records"), bytes=_count(batch, "bytes"),
            location=(shown & _LOCATION) != 0, content=(shown & _CONTENT) != 0, wall=wall,
            revoked=self._rights.revoked(team, old, moved, resource, day), country=batch.hashes("src_country"),
            device=batch.hashes("device"), latitude=_degrees(batch, "src_lat"), longitude=_degrees(batch, "src_lon"),
            **self._subjects.of(batch, actor, team, day, about["kind"], self._staff),
        )  # fmt: skip

    def team_name(self, said: str | None, actor: str, time: int) -> str | None:
        """The event's own word wins over the directory's: it is as of the event. But a service account is its own team."""
        if said is not None and self.context.role(actor, time // DAY) != SERVICE:
            return said
        return self.context.team(actor, time // DAY)


class _Subjects:
    """Who the data are about: how much care they deserve, and what they are to the actor."""

    def __init__(self, context: Context) -> None:
        self._context = context
        care = _care(context)
        self._lookup, self._care = Lookup.of(tuple(care)), np.array([*care.values(), 0.0])
        own = [(s, linked) for s, links in context.links.items() for linked, kind in links if kind == "own_account"]
        self._own = Lookup(joined_hash(hash_strings([s for s, _ in own]), hash_strings([who for _, who in own])))
        self._protected = Memo(np.float64)

    def of(self, batch: EventBatch, actor: Hashes, team: Hashes, day: Ints, kind: Ints, staff: Staff) -> dict[str, NDArray[Any]]:
        """Of a resource that is not plain the subject is an employee by contract, in the directory or not."""
        subject = batch.hashes("subject")
        whom, special = staff.find(subject), self._care[self._lookup.find(subject)]
        if self._context.finds_hashed:  # protected.csv names some by keyed hash
            asked = self._protected.of(subject, lambda row: self._context.protected_class(batch.rows[row].subject) is not None)
            special = np.maximum(special, SPECIAL_PROTECTED * asked)
        employee, same = staff.listed[whom], subject == actor
        mates = (staff.team[staff.post(whom, day)] == team) & (team != 0)
        return {
            "subject": subject, "special": special, "own": self._own.find(joined_hash(subject, actor)) >= 0,
            "self": same & (employee | (kind != PLAIN)), "teammate": employee & ~same & mates,
        }  # fmt: skip


class _Rights:
    """Which resources were taken away from which teams, by revocation or by transfer of the employee."""

    def __init__(self, context: Context, baselines: Baselines) -> None:
        teams, resources = ([key[i] for key in context.revoked] for i in range(2))
        self._revoked = Lookup(joined_hash(hash_strings(teams), hash_strings(resources)))
        self._since = np.array([*context.revoked.values(), _NEVER], np.int64)
        owned = [(resource, team) for resource, teams in context.owned.items() for team in teams]
        self._owned = Lookup.of([resource for resource, _ in owned])
        self._owners = Lookup(joined_hash(hash_strings([t for _, t in owned]), hash_strings([r for r, _ in owned])))
        self._used = Lookup(joined_hash(baselines.revoked_team, baselines.revoked_resource))
        self._use = np.append(baselines.revoked_use, 0.0)

    def revoked(self, team: Hashes, old: Hashes, moved: Ints, resource: Hashes, day: Ints) -> NDArray[np.float64]:
        """Decayed member-days for which the team used what is no longer theirs; -1 where it is theirs, as far as known."""
        key = joined_hash(team, resource)
        ago = day - self._since[self._revoked.find(key)]
        taken = (ago >= 0) & (ago <= REVOKED_DAYS)
        ago = day - moved // DAY
        left = np.flatnonzero((moved != 0) & (ago >= HANDOVER_DAYS) & (ago <= REVOKED_DAYS) & (self._owned.find(resource) >= 0))
        formerly = self._owners.find(joined_hash(old[left], resource[left])) >= 0
        taken[left] |= formerly & (old[left] != 0) & (self._owners.find(key[left]) < 0)
        return np.where(taken, self._use[self._used.find(key)], -1.0)


def _care(context: Context) -> dict[str, float]:
    """Subject -> how much care they deserve; the largest that applies."""
    out: dict[str, float] = {}
    for subject, links in context.links.items():
        for linked, kind in links:
            if kind != "contact":
                out[subject] = SPECIAL_COLLEAGUE
            elif context.protected_class(linked) is not None:
                out.setdefault(subject, SPECIAL_CONTACT)
    return {**out, **dict.fromkeys(context.protected, SPECIAL_PROTECTED)}


def _about(context: Context, resource: str) -> tuple[int, int]:
    """Kind, and the hash of the resource that it gives rights to."""
    granted = resource.removeprefix(IAM_PREFIX) if resource.startswith(IAM_PREFIX) else ""
    return KINDS[context.resource_kind(resource)], int(hash_strings([granted])[0]) if granted else 0


def _shown(context: Context, fields: tuple[str, ...]) -> int:
    classes = {context.field_class(field) for field in fields}
    return _LOCATION * (not classes.isdisjoint(LOCATION)) | _CONTENT * (not classes.isdisjoint(CONTENT))


def _count(batch: EventBatch, name: str) -> NDArray[np.float64]:
    return batch.numbers(name).astype(np.float64)


def _degrees(batch: EventBatch, name: str) -> NDArray[np.float64]:
    """(n,) a coordinate; NaN where it is not said."""
    said = list(map(attrgetter(name), batch.rows))
    if said.count(None) == len(said):  # most sources know none
        return np.full(len(said), np.nan)
    return np.array(said, np.float64)


def _valid_until(batch: EventBatch, action: Ints) -> Ints:
    out = np.full(len(batch), NO_TIME, np.int64)
    for i in np.flatnonzero(action == _ASSIGN).tolist():
        until: Any = batch.rows[i].valid_until
        out[i] = NO_TIME if until is None else until
    return out
