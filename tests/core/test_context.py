"""What the context folder says, as of which day, and what is wrong with it, all at once."""

from __future__ import annotations

import hmac
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from detector.core.context import OFF_WITHOUT, Context, Zone
from detector.errors import ContextError
from detector.files import context_of, read_context

EXAMPLE = Path(__file__).parents[2] / "config" / "context"
COMPANY = Path(__file__).parents[2] / ".." / "shared" / "data" / "company"


def day(text: str) -> int:
    return (date.fromisoformat(text) - date(1970, 1, 1)).days


@pytest.fixture(scope="module")
def example() -> Context:
    return read_context(EXAMPLE)


def parse(**files: str) -> Context:
    """`directory_csv="..."` is the file directory.csv."""
    return context_of({".".join(name.rsplit("_", 1)): text.encode() for name, text in files.items()})


def test_the_example_holds_every_file(example: Context) -> None:
    assert example.missing() == []


@pytest.mark.parametrize(
    ("employee", "when", "team", "role"),
    [
        ("e1001", "2026-01-01", "internal-audit", "internal_audit"),
        ("e1003", "1990-01-01", "support-eu", "support"),
        ("e1003", "2026-02-15", "support-eu", "support"),
        ("e1003", "2026-02-16", "trust-safety", "trust_safety"),
        ("e1003", "2031-01-01", "trust-safety", "trust_safety"),
        ("svc-backup", "2026-01-01", "svc-backup", "service"),
        ("u3001", "2026-01-01", None, None),
    ],
)
def test_team_and_role_are_as_of_the_day(example: Context, employee: str, when: str, team: str | None, role: str | None) -> None:
    assert (example.team(employee, day(when)), example.role(employee, day(when))) == (team, role)


def test_a_transfer_is_known_from_its_day_on(example: Context) -> None:
    assert example.transfer("e1003", day("2026-02-15")) is None
    assert example.transfer("e1003", day("2026-03-01")) == (day("2026-02-16"), "support-eu")
    assert example.transfer("e1001", day("2026-03-01")) is None and example.transfer("nobody", 0) is None


def test_a_change_of_role_alone_is_no_transfer_and_an_empty_role_stays() -> None:
    context = parse(
        directory_csv="employee,team,role\ne1,a,r1\n",
        directory_changes_csv="employee,date,team,role\ne1,2026-03-01,b,\ne1,2026-02-01,a,r2\n",
    )
    assert context.transfer("e1", day("2026-02-10")) is None
    assert context.role("e1", day("2026-03-02")) == "r2" and context.team("e1", day("2026-03-02")) == "b"


def test_who_only_changed_teams_is_no_employee_but_has_a_team() -> None:
    context = parse(directory_csv="employee,team\ne1,a\n", directory_changes_csv="employee,date,team\ne9,2026-02-01,b\n")
    assert not context.is_employee("e9") and context.is_employee("e1")
    assert (context.team("e9", day("2026-01-31")), context.team("e9", day("2026-02-01"))) == (None, "b")


def test_protected_people_are_found_by_name_or_by_keyed_hash() -> None:
    key = bytes(range(32))
    hashed = hmac.digest(key, b"u3003", "sha256").hex()
    context = parse(protected_csv=f"subject,class\nu3001,journalist\nhmac:{hashed},activist\n")
    knowing = replace(context, key=key)
    assert context.protected_class("u3001") == knowing.protected_class("u3001") == "journalist"
    assert context.protected_class("u3003") is None and replace(context, key=b"another").protected_class("u3003") is None
    assert knowing.protected_class("u3003") == "activist" and knowing.protected_class("u9") is None
    assert knowing.hash == context.hash and key.hex() not in repr(knowing)
    assert [line for line in context.missing() if "keyed hash" in line] and not [line for line in knowing.missing() if "keyed hash" in line]


def test_links_are_kept_and_contacts_stand_at_both_ends(example: Context) -> None:
    assert example.linked("u2001") == (("e1001", "own_account"),) and example.linked("e1001") == ()
    assert example.linked("u3001") == (("u3004", "contact"),) and example.linked("u3004") == (("u3001", "contact"),)


@pytest.mark.parametrize(
    ("resource", "kind"),
    [("siem_alerts", "watch"), ("eu_audit_log_2", "watch"), ("iam:ledger", "iam"), ("iam_console", "iam"), ("hr_record", "hr"),
     ("asset_x", "asset"), ("user_profile", None), ("xhr_record", None), ("", None)],
)  # fmt: skip
@pytest.mark.parametrize("context", [read_context(EXAMPLE), Context.empty()], ids=["from the file", "by default"])
def test_resources_have_kinds(context: Context, resource: str, kind: str | None) -> None:
    assert context.resource_kind(resource) == kind


def test_a_resource_written_out_wins_over_patterns_and_only_the_star_is_special() -> None:
    context = parse(resources_csv="resource,kind\na*,hr\nab,iam\nx.[y]?*,asset\n")
    assert [context.resource_kind(name) for name in ("ab", "abc", "x.[y]?z", "x.yz", "xy")] == ["iam", "hr", "asset", None, None]


def test_owners_revocations_walls_fields_and_calendars(example: Context) -> None:
    assert example.owners("messages") == {"trust-safety", "support-eu"} and example.owners("other") == frozenset()
    assert example.revoked_since("support-eu", "device_registry") == day("2026-03-09")
    assert example.revoked_since("support-eu", "messages") is None
    wall = example.wall("US")
    assert wall and wall.allowed_actor_regions == {"US", "EU", "SG"} and wall.exception_prefix == "EXC-"
    assert example.wall("CN") is None and example.field_class("gps") == "location" and example.field_class("x") is None
    calendar = example.calendar("EU")
    assert sorted(example.zones) == ["America/New_York", "Asia/Singapore", "Europe/Dublin"]
    assert calendar and calendar.time_zone == "Europe/Dublin" and calendar.working_days == {0, 1, 2, 3, 4}
    assert day("2026-03-17") in calendar.holidays and example.region("e1002") == "SG"


def test_the_earliest_revocation_counts() -> None:
    context = parse(revocations_csv="date,team,resource\n2026-03-09,a,r\n2026-02-01,a,r\n")
    assert context.revoked_since("a", "r") == day("2026-02-01")


def test_each_absent_file_is_told_with_what_is_off() -> None:
    assert [line.split(" ")[0] for line in Context.empty().missing()] == list(OFF_WITHOUT)
    assert Context.empty().team("e1", 0) is None and Context.empty().missing() == Context.parse({"notes.txt": b"\xff"}).missing()


class TestTheHash:
    def test_does_not_depend_on_order_columns_line_ends_or_byte_order_mark(self) -> None:
        one = parse(directory_csv="employee,team,hired\ne1,a,\ne2,b,2020-01-01\n", links_csv="subject,linked,kind\nu1,u2,contact\n")
        other = Context.parse({
            "links.csv": b"kind,subject,linked\ncontact,u2,u1\n",
            "directory.csv": b"\xef\xbb\xbfteam , hired,employee,cost_centre\r\nb,2020-01-01,e2,7\r\n\r\n a,,e1,8\r\n",
        })  # fmt: skip
        assert one.hash == other.hash and len(one.hash) == 64

    @pytest.mark.parametrize("name", sorted(OFF_WITHOUT))
    def test_depends_on_every_file(self, name: str) -> None:
        files = {other: (EXAMPLE / other).read_bytes() for other in OFF_WITHOUT}
        header = files[name].splitlines()[0] if name.endswith(".csv") else b""
        if name == "resources.csv":
            header += b"\nledger_alerts,watch"
        assert context_of({**files, name: header}).hash != context_of(files).hash

    def test_depends_on_the_rules_of_time_zones_that_calendars_name_and_on_no_others(self) -> None:
        files = {"calendar.toml": b'[EU]\ntime_zone = "Europe/Dublin"\n'}
        zones = {"Europe/Dublin": Zone((0, 5), (0, 3_600_000)), "Asia/Tokyo": Zone((0,), (32_400_000,))}
        one, other = (Context.parse(files, zones=zones | {name: Zone((0, 7), (0, 1))}) for name in ("Asia/Tokyo", "Europe/Dublin"))
        assert one.hash == Context.parse(files, zones=zones).hash != other.hash and list(one.zones) == ["Europe/Dublin"]

    def test_is_the_same_in_every_process(self) -> None:
        assert Context.empty().hash == "49b52ac3ba14f6f97ddcf571e2e127e69c5990abafdc992b1ff808ed8e1c9a05"


MISTAKES = {
    "no such column": ({"directory_csv": "name,team\na,b\n"}, "directory.csv:1:employee: the header has no such column; it has name, team"),
    "an empty file": ({"directory_csv": ""}, "directory.csv:1:employee: the header has no such column; it has nothing"),
    "a column twice": ({"fields_csv": "field,sensitivity,field\n"}, "fields.csv:1:field: is twice in the header"),
    "an empty cell": ({"links_csv": "subject,linked,kind\nu1,,contact\n"}, "links.csv:2:linked: is empty"),
    "too few cells": ({"owners_csv": "resource,team\nr\n"}, "owners.csv:2:team: 1 cells under a header of 2"),
    "too many cells": ({"owners_csv": "resource,team\nr,a,b\n"}, "owners.csv:2:3: 3 cells under a header of 2"),
    "not a date": ({"directory_csv": "employee,hired\ne1,\ne2,01/02/2020\n"}, "directory.csv:3:hired: '01/02/2020' is not a date"),
    "no such day": ({"revocations_csv": "date,team,resource\n2026-02-30,a,r\n"}, "revocations.csv:2:date: '2026-02-30' is not a date"),
    "an employee twice": ({"directory_csv": "employee\ne1\ne1\n"}, "directory.csv:3:employee: 'e1' is on line 2 already"),
    "two moves a day": (
        {"directory_changes_csv": "employee,date,team\ne1,2026-01-01,a\ne1,2026-01-01,b\n"},
        "directory_changes.csv:3:date: 'e1' has a change on 2026-01-01 already",
    ),
    "two classes": ({"protected_csv": "subject,class\nu1,a\nu1,b\n"}, "protected.csv:3:class: 'u1' is 'a' on line 2 and 'b' here"),
    "a bad hash": ({"protected_csv": "subject,class\nhmac:AB,a\n"}, "protected.csv:2:subject: a keyed hash is hmac: and 64"),
    "a kind of link": ({"links_csv": "subject,linked,kind\nu1,u2,contcat\n"}, "links.csv:2:kind: 'contcat' is none of own_account"),
    "a kind of resource": ({"resources_csv": "resource,kind\nr,wach\n"}, "did you mean 'watch'?"),
    "open quotes": ({"fields_csv": 'field,sensitivity\n"ip,location\n'}, "fields.csv:2:1: this is not CSV"),
    "not TOML": ({"residency_toml": "\n[[wall]\n"}, "residency.toml:2:"),
    "walls that are no tables": ({"residency_toml": "wall = 3"}, "residency.toml:1:wall: walls are tables of their own"),
    "a wall without region": ({"residency_toml": '[[wall]]\nallowed_actor_regions=["EU"]'}, "residency.toml:1:subject_region: a wall"),
    "a wall for nobody": ({"residency_toml": '\n[[wall]]\nsubject_region="EU"'}, "residency.toml:2:allowed_actor_regions: a wall needs"),
    "a wall twice": (
        {"residency_toml": '[[wall]]\nsubject_region="EU"\nallowed_actor_regions=["EU"]\n' * 2},
        "residency.toml:4:subject_region: 'EU' has a wall already",
    ),
    "a list that is a string": (
        {"residency_toml": '[[wall]]\nsubject_region="EU"\nallowed_actor_regions=["EU"]\nexempt_teams="legal"'},
        "residency.toml:1:exempt_teams: write a list",
    ),
    "a region without zone": ({"calendar_toml": "[EU]\n"}, "calendar.toml:1:time_zone: a region needs"),
    "a zone of no place": ({"calendar_toml": '\n[EU]\ntime_zone="Dublin"'}, "calendar.toml:2:time_zone: 'Dublin' is no IANA time zone"),
    "a zone that is a path": ({"calendar_toml": '[EU]\ntime_zone="../UTC"'}, "calendar.toml:1:time_zone: '../UTC' is no IANA time zone"),
    "a zone that is a list": ({"calendar_toml": '[EU]\ntime_zone=["UTC"]'}, "calendar.toml:1:time_zone: a region needs an IANA time zone"),
    "a region that is no table": ({"calendar_toml": 'EU = "Europe/Dublin"'}, "calendar.toml:1:EU: a region is a table"),
    "a day of no week": ({"calendar_toml": '[EU]\ntime_zone="UTC"\nworking_days=["mo"]'}, "calendar.toml:1:working_days: write a list"),
    "holidays": ({"calendar_toml": '[EU]\ntime_zone="UTC"\nholidays=["1.1."]'}, "calendar.toml:1:holidays: write a list of dates"),
}


@pytest.mark.parametrize(("files", "says"), MISTAKES.values(), ids=MISTAKES.keys())
def test_a_mistake_is_named_with_its_place(files: dict[str, str], says: str) -> None:
    with pytest.raises(ContextError) as refused:
        parse(**files)
    assert says in str(refused.value) and str(refused.value).count("\n") == 0


def test_all_mistakes_of_all_files_are_told_at_once() -> None:
    with pytest.raises(ContextError) as refused:
        parse(**{name: text for name, (files, _) in MISTAKES.items() for name, text in files.items()})
    assert {line.split(":")[0] for line in str(refused.value).split("\n")} == set(OFF_WITHOUT)


def test_a_file_that_is_not_utf_8_is_told_with_its_line() -> None:
    with pytest.raises(ContextError, match=r"directory\.csv:2:1: this is not UTF-8"):
        Context.parse({"directory.csv": b"employee\n\xff\n"})


def test_a_thousand_mistakes_are_not_a_thousand_lines() -> None:
    with pytest.raises(ContextError) as refused:
        parse(directory_csv="employee,hired\n" + "".join(f"e{i},x\n" for i in range(1000)))
    assert str(refused.value).count("\n") == 50 and str(refused.value).endswith("... and 950 more")


@pytest.mark.parametrize("company", ["a", "b"])
def test_the_companies_are_read(company: str) -> None:
    if not (COMPANY / company).is_dir():
        pytest.skip("the companies' data are not on this machine")
    context = read_context(COMPANY / company)
    assert [line.split(" ")[0] for line in context.missing()] == ["owners.csv", "calendar.toml"]
    assert len(context.employees) == 312 and all(employee.listed for employee in context.employees.values())
    assert context.resource_kind("siem_alerts") == "watch" and context.resource_kind("iam:messages") == "iam"


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(ContextError, match="there is no such folder"):
        read_context(tmp_path / "nowhere")
