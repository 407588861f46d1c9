"""Files of a context folder -> `Context`."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from difflib import get_close_matches
from typing import Any

from detector.core.context import OFF_WITHOUT, RESOURCE_KINDS, Calendar, Context, Employee, Wall, Zone
from detector.core.context.tables import Problems, Row, day_of, line_of, rows, toml
from detector.errors import ContextError

LINK_KINDS = ("own_account", "household", "contact")
WEEK = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_SHOWN = 50


def parse(files: Mapping[str, bytes], resources: Mapping[str, tuple[str, ...]], zones: Mapping[str, Zone]) -> Context:
    problems = Problems()

    def table(name: str) -> Iterator[Row]:
        return rows(name, files[name], problems) if name in files else iter(())

    context = Context(
        employees=_employees(table("directory.csv"), table("directory_changes.csv")),
        protected=_protected(table("protected.csv")),
        links=_links(table("links.csv")),
        fields=_only(table("fields.csv"), "field", "sensitivity"),
        resources=_only(table("resources.csv"), "resource", "kind", lambda row: _one_of(row, "kind", RESOURCE_KINDS))
        if "resources.csv" in files
        else {pattern: kind for kind, patterns in resources.items() for pattern in patterns},
        owned=_owned(table("owners.csv")),
        revoked=_revoked(table("revocations.csv")),
        walls=_walls(files["residency.toml"], problems) if "residency.toml" in files else {},
        calendars=_calendars(files["calendar.toml"], zones, problems) if "calendar.toml" in files else {},
        zones={name: zones[name] for name in zones_named(files) if name in zones},
        absent=tuple(name for name in OFF_WITHOUT if name not in files),
    )
    if problems.lines:
        more = len(problems.lines) - _SHOWN
        raise ContextError("\n".join(problems.lines[:_SHOWN] + ([f"... and {more} more"] if more > 0 else [])))
    return context


def _only(table: Iterator[Row], key: str, value: str, check: Callable[[Row], bool] = lambda row: True) -> dict[str, str]:
    """A table that says one thing of each key. Saying it twice is harmless, saying two things is a problem."""
    found: dict[str, tuple[str, int]] = {}
    for row in table:
        if check(row):
            said, line = found.setdefault(row[key], (row[value], row.line))
            if said != row[value]:
                row.wrong(value, f"'{row[key]}' is '{said}' on line {line} and '{row[value]}' here; keep one")
    return {name: said for name, (said, _) in found.items()}


def _one_of(row: Row, column: str, allowed: tuple[str, ...]) -> bool:
    if row[column] in allowed:
        return True
    near = get_close_matches(row[column], allowed, 1)
    row.wrong(column, f"'{row[column]}' is none of {', '.join(allowed)}" + (f"; did you mean '{near[0]}'?" if near else ""))
    return False


def _employees(directory: Iterator[Row], changes: Iterator[Row]) -> dict[str, Employee]:
    lines: dict[str, int] = {}
    found: dict[str, Employee] = {}
    for row in directory:
        name = row["employee"]
        if name in lines:
            row.wrong("employee", f"'{name}' is on line {lines[name]} already; keep one line, transfers go into directory_changes.csv")
            continue
        lines[name] = row.line
        post = (0, row["team"] or None, row["role"] or None)
        found[name] = Employee((post,), row["region"] or None, row["manager"] or None, row.day("hired"), row.day("left"))
    moves: dict[str, list[tuple[int, str, str | None]]] = {}
    for row in changes:
        day = row.day("date")
        of_this = moves.setdefault(row["employee"], [])
        if day is not None and any(day == other for other, _, _ in of_this):
            row.wrong("date", f"'{row['employee']}' has a change on {row['date']} already; keep one a day")
        elif day is not None:
            of_this.append((day, row["team"], row["role"] or None))
    for name, of_this in moves.items():
        found[name] = _moved(found.get(name, Employee(((0, None, None),), listed=False)), sorted(of_this))
    return found


def _moved(employee: Employee, moves: list[tuple[int, str, str | None]]) -> Employee:
    posts = list(employee.posts)
    for day, team, role in moves:
        posts.append((day, team, role or posts[-1][2]))  # an empty role: the role stays
    return Employee(tuple(posts), employee.region, employee.manager, employee.hired, employee.left, employee.listed)


def _protected(table: Iterator[Row]) -> dict[str, str]:
    def sound(row: Row) -> bool:
        name = row["subject"]
        if not name.startswith("hmac:") or re.fullmatch("hmac:[0-9a-f]{64}", name):
            return True
        row.wrong("subject", "a keyed hash is hmac: and 64 lower-case hex digits (HMAC-SHA256 of the subject); make it again")
        return False

    return _only(table, "subject", "class", sound)


def _links(table: Iterator[Row]) -> dict[str, tuple[tuple[str, str], ...]]:
    found: dict[str, set[tuple[str, str]]] = {}
    for row in table:
        if _one_of(row, "kind", LINK_KINDS):
            found.setdefault(row["subject"], set()).add((row["linked"], row["kind"]))
            if row["kind"] == "contact":
                found.setdefault(row["linked"], set()).add((row["subject"], "contact"))
    return {subject: tuple(sorted(some)) for subject, some in found.items()}


def _owned(table: Iterator[Row]) -> dict[str, frozenset[str]]:
    found: dict[str, set[str]] = {}
    for row in table:
        found.setdefault(row["resource"], set()).add(row["team"])
    return {resource: frozenset(teams) for resource, teams in found.items()}


def _revoked(table: Iterator[Row]) -> dict[tuple[str, str], int]:
    found: dict[tuple[str, str], int] = {}
    for row in table:
        day = row.day("date")
        if day is not None:
            key = (row["team"], row["resource"])
            found[key] = min(day, found.get(key, day))
    return found


def _walls(data: bytes, problems: Problems) -> dict[str, Wall]:
    file = "residency.toml"
    said = toml(file, data, problems).get("wall", [])
    if not isinstance(said, list) or not all(isinstance(wall, dict) for wall in said):
        problems.add(file, line_of(data, r"^[ \t]*\[?wall"), "wall", "walls are tables of their own; write each under [[wall]]")
        return {}
    found: dict[str, Wall] = {}
    for nth, wall in enumerate(said):
        line = line_of(data, r"^[ \t]*\[\[\s*wall\s*\]\]", nth)
        region, prefix = wall.get("subject_region"), wall.get("exception_prefix")
        allowed, exempt = _strings(wall.get("allowed_actor_regions")), _strings(wall.get("exempt_teams", []))
        if not isinstance(region, str) or not region:
            problems.add(file, line, "subject_region", "a wall needs the region of the data as a string; add it")
        elif region in found:
            problems.add(file, line, "subject_region", f"'{region}' has a wall already; join the two")
        elif allowed is None:
            problems.add(file, line, "allowed_actor_regions", 'a wall needs the regions that may look, as in ["EU"]; add them')
        elif exempt is None:
            problems.add(file, line, "exempt_teams", "write a list of strings")
        elif prefix is not None and not (isinstance(prefix, str) and prefix):
            problems.add(file, line, "exception_prefix", "write a string that is not empty, or leave it out")
        else:
            found[region] = Wall(region, frozenset(allowed), frozenset(exempt), prefix)
    return found


def zones_named(files: Mapping[str, bytes]) -> list[str]:
    regions = toml("calendar.toml", files.get("calendar.toml", b""), Problems()).values()
    return sorted({str(said["time_zone"]) for said in regions if isinstance(said, dict) and "time_zone" in said})


def _calendars(data: bytes, zones: Mapping[str, Zone], problems: Problems) -> dict[str, Calendar]:
    file = "calendar.toml"
    found = {}
    for region, said in toml(file, data, problems).items():
        line = line_of(data, rf"^[ \t]*\[\s*\"?{re.escape(region)}\"?\s*\]")
        if not isinstance(said, dict):
            problems.add(file, line, region, "a region is a table of its own; write it under [REGION]")
            continue
        zone, days = said.get("time_zone"), _strings(said.get("working_days", list(WEEK[:5])))
        holidays = [day_of(str(day)) for day in said.get("holidays", [])] if isinstance(said.get("holidays", []), list) else [None]
        if not isinstance(zone, str) or not zone:
            problems.add(file, line, "time_zone", 'a region needs an IANA time zone as in "Europe/Dublin"; add it')
        elif zone not in zones:
            problems.add(file, line, "time_zone", f"'{zone}' is no IANA time zone; write one as in \"Europe/Dublin\"")
        elif days is None or not set(days) <= set(WEEK):
            problems.add(file, line, "working_days", f"write a list of {', '.join(WEEK)}")
        elif None in holidays:
            problems.add(file, line, "holidays", "write a list of dates YYYY-MM-DD")
        else:
            found[region] = Calendar(zone, frozenset(map(WEEK.index, days)), frozenset(day for day in holidays if day is not None))
    return found


def _strings(value: Any) -> list[str] | None:
    return value if isinstance(value, list) and all(isinstance(item, str) for item in value) else None
