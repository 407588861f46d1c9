"""The context folder of the company, as HR, ticketing and the data owners would export it."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence

from detector.sandbox.company.calendar import NAMES, REGIONS, date_of
from detector.sandbox.company.customers import Customers
from detector.sandbox.company.roles import RESOURCE_KINDS, ROLES, SENSITIVITY, TASKS, TEAMS
from detector.sandbox.company.staff import NEVER, Staff

_WALL = """\
[[wall]]
subject_region = "EU"
allowed_actor_regions = ["EU", "US"]
exempt_teams = ["internal-audit", "internal-audit-us", "legal", "security-ops"]
exception_prefix = "EXC-"
"""


def context_files(staff: Staff, customers: Customers, last: int) -> dict[str, bytes]:
    """File name -> content. `last` is the last day of the history: holidays are given for the years around it."""
    return {
        "directory.csv": _table(("employee", "team", "role", "region", "manager", "hired", "left"), _directory(staff)),
        "directory_changes.csv": _table(
            ("employee", "date", "team", "role"),
            [(staff.names[who], date_of(day), TEAMS[team].name, TEAMS[team].role) for who, day, team in staff.transfers],
        ),
        "protected.csv": _table(
            ("subject", "class"), sorted((customers.names[who], kind) for kind, people in customers.protected.items() for who in people)
        ),
        "links.csv": _table(("subject", "linked", "kind"), _links(staff, customers)),
        "fields.csv": _table(("field", "sensitivity"), sorted(SENSITIVITY.items())),
        "resources.csv": _table(("resource", "kind"), RESOURCE_KINDS.items()),
        "owners.csv": _table(("resource", "team"), _owners()),
        "revocations.csv": _table(
            ("date", "team", "resource"), [(date_of(day), TEAMS[team].name, resource) for day, team, resource in staff.revocations]
        ),
        "residency.toml": _WALL.encode(),
        "calendar.toml": "\n".join(_region(name, date_of(last).year) for name in NAMES).encode(),
    }


def _table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue().encode()


def _directory(staff: Staff) -> list[tuple[object, ...]]:
    rows: list[tuple[object, ...]] = []
    for who, name in enumerate(staff.names):
        team = TEAMS[staff.team[who]]
        left = "" if staff.left[who] == NEVER else date_of(int(staff.left[who]))
        manager = staff.manager(who) if who < staff.count else ""
        rows.append((name, team.name, team.role, team.region, manager, date_of(int(staff.hired[who])), left))
    return sorted(rows, key=lambda row: str(row[0]))


def _links(staff: Staff, customers: Customers) -> list[tuple[str, str, str]]:
    own = [(customers.names[account], staff.names[who], "own_account") for who, account in enumerate(customers.own) if account >= 0]
    household = [(customers.names[subject], staff.names[who], "household") for subject, who in customers.household]
    contacts = [(customers.names[one], customers.names[other], "contact") for one, other in customers.contacts]
    return own + household + contacts


def _owners() -> list[tuple[str, str]]:
    by_role = {role: {step.resource for task in ROLES[role].mixture for step in TASKS[task].steps} for role in ROLES}
    return sorted((resource, team.name) for team in TEAMS for resource in by_role[team.role])


def _region(name: str, year: int) -> str:
    region = REGIONS[name]
    dates = ", ".join(f'"{y}-{month:02}-{day:02}"' for y in (year - 1, year, year + 1) for month, day in region.holidays)
    week = '"monday", "tuesday", "wednesday", "thursday", "friday"'
    return f'[{name}]\ntime_zone = "{region.zone}"\nworking_days = [{week}]\nholidays = [{dates}]\n'
