from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from detector.core.context import Context
from detector.core.events import Records
from detector.core.formats.native import Limits, decode
from detector.sandbox.company import INCIDENTS, Company, Day, live_start
from detector.sandbox.company.calendar import DAY, HOUR, is_working_day, local_day
from detector.sandbox.company.roles import TEAMS

END = 1_790_000_000_000  # a Monday afternoon in Dublin, 2026-09-21
TODAY = END // DAY


@pytest.fixture(scope="module")
def company() -> Company:
    return Company(100, 3, end=END)


@pytest.fixture(scope="module")
def week(company: Company) -> list[Day]:
    return list(company.days((TODAY - 7) * DAY, TODAY * DAY))


@pytest.fixture(scope="module")
def events(week: list[Day]) -> list[dict[str, Any]]:
    return [json.loads(value) for day in week for value in day.values]


def planted(name: str) -> Company:
    company = Company(100, 3, end=END)
    company.plant(name)
    return company


def as_records(day: Day) -> Records:
    lengths = np.array([(len(key), len(value)) for key, value in zip(day.keys, day.values, strict=True)]).reshape(-1)
    ends = np.cumsum(lengths)
    spans = np.stack([ends - lengths, ends], axis=1).reshape(-1, 2, 2)
    none = np.full((len(day), 2), -1)
    data = b"".join(part for pair in zip(day.keys, day.values, strict=True) for part in pair)
    return Records("t", 0, data, np.arange(len(day)), day.arrival, spans[:, 0], spans[:, 1], none, np.zeros(len(day), np.bool_))


def ms(time: int | str) -> int:
    return time if isinstance(time, int) else round(datetime.fromisoformat(time).timestamp() * 1000)


# --- its events


def test_the_detector_refuses_none_of_its_events(week: list[Day]) -> None:
    story = planted("story").day(TODAY)
    for day in (*week, story):
        batch = decode(as_records(day), Limits())
        assert [letter.reason for letter in batch.dead] == []
        assert len(batch) == len(day) > 300


def test_the_same_seed_gives_the_same_bytes_in_every_process(tmp_path: Path) -> None:
    def digest(hash_seed: str) -> bytes:
        program = (
            "import hashlib; from detector.sandbox.company import Company\n"
            f"c = Company(60, 5, end={END}); c.plant('story'); c.plant('bulk-export'); d = c.day({TODAY})\n"
            "print(hashlib.sha256(b''.join(d.values) + b''.join(c.context_files().values())).hexdigest(), c.planted[0].actors)"
        )
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
        return subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, check=True).stdout

    assert digest("1") == digest("2")


def test_another_seed_is_another_company(company: Company) -> None:
    other = Company(100, 4, end=END)
    assert other.context_files()["directory.csv"] != company.context_files()["directory.csv"]
    assert other.day(TODAY).values != company.day(TODAY).values


def test_a_day_is_the_same_whichever_days_were_asked_for_before(company: Company, week: list[Day]) -> None:
    assert Company(100, 3, end=END).day(TODAY - 5).values == week[2].values


def test_events_are_in_order_of_arrival_and_a_few_seconds_out_of_order_in_time(week: list[Day]) -> None:
    arrival = np.concatenate([day.arrival for day in week])
    time = np.array([ms(json.loads(value)["time"]) for day in week for value in day.values])
    assert (np.diff(arrival) >= 0).all()
    assert (arrival >= time).all()
    assert np.median(arrival - time) < 2_000
    assert 0.001 < (np.diff(time) < 0).mean() < 0.3


def test_three_in_a_thousand_arrive_twice_with_the_same_id_and_bytes(week: list[Day]) -> None:
    values = [value for day in week for value in day.values]
    times_seen = Counter(json.loads(value)["event_id"] for value in values)
    assert len(times_seen) == len(set(values))
    assert 0.001 < 1 - len(times_seen) / len(values) < 0.006


def test_people_do_a_human_amount_of_work(events: list[dict[str, Any]]) -> None:
    done = Counter((event["actor"], ms(event["time"]) // DAY) for event in events if not event["actor"].startswith("svc-"))
    assert 20 < np.median(list(done.values())) < 60
    assert max(done.values()) < 250


def test_weekends_are_quiet_and_nights_are_quieter_than_days(company: Company, week: list[Day]) -> None:
    sizes = {is_working_day("US", TODAY - 7 + number): len(day) for number, day in enumerate(week)}
    assert sizes[False] < 0.4 * sizes[True]
    hours = Counter(int((json.loads(v)["time"] / HOUR + 8) % 24) for day in week for k, v in zip(day.keys, day.values, strict=True)
                    if b'"actor_region":"SG"' in v and b'"time":1' in v)  # fmt: skip
    assert sum(hours[hour] for hour in range(6)) < 0.02 * sum(hours.values())


def test_most_work_on_customers_has_a_ticket_that_was_assigned_but_not_all(events: list[dict[str, Any]]) -> None:
    support = [event for event in events if event.get("actor_role") == "support" and "subject" in event]
    with_ticket = [event for event in support if "purpose" in event]
    assert 0.8 < len(with_ticket) / len(support) < 0.95
    assigned = {(event["actor"], event["subject"], event["purpose"]) for event in events if event["action"] == "assign"}
    assert np.mean([(event["actor"], event["subject"], event["purpose"]) in assigned for event in with_ticket]) > 0.85
    assert all(event["valid_until"] > ms(event["time"]) for event in events if event["action"] == "assign")


def test_every_session_begins_with_a_login(company: Company, events: list[dict[str, Any]]) -> None:
    logins = {event["session"]: ms(event["time"]) for event in reversed(events) if event["action"] == "login"}
    begun = [event for event in events if "session" in event and ms(event["time"]) > (TODAY - 6) * DAY]
    assert len(begun) > 1000
    assert all(logins[event["session"]] <= ms(event["time"]) for event in begun)


def test_a_team_that_lost_a_resource_hardly_tries_it_again_and_is_denied(company: Company) -> None:
    since, team, resource = company.staff.revocations[0]
    name = TEAMS[team].name

    def uses(first: int, last: int) -> list[str]:
        rows = [json.loads(value) for day in company.days(first * DAY, last * DAY) for value in day.values]
        return [row.get("outcome", "success") for row in rows if row.get("actor_team") == name and row["resource"] == resource]

    assert uses(since - 4, since).count("success") > 5
    assert set(uses(since + 1, since + 5)) <= {"denied"}


# --- its context


def test_the_detector_reads_its_context_and_misses_nothing(company: Company, events: list[dict[str, Any]]) -> None:
    context = Context.parse(company.context_files())
    assert context.absent == ()
    assert all(context.is_employee(event["actor"]) for event in events)
    for event in events[::7]:
        if "actor_team" in event and not event["actor"].startswith("svc-"):
            assert context.team(event["actor"], ms(event["time"]) // DAY) == event["actor_team"]
    assert {field for event in events for field in event.get("fields", ())} <= set(context.fields)


def test_protected_people_are_customers_and_nobody_ever_touches_a_canary(company: Company, events: list[dict[str, Any]]) -> None:
    context = Context.parse(company.context_files())
    assert set(context.protected) <= set(company.customers.names)
    assert {"journalist", "official", "canary"} <= set(context.protected.values())
    seen = {event.get("subject") for event in events}
    assert not seen & {subject for subject, kind in context.protected.items() if kind == "canary"}
    assert seen & {subject for subject, kind in context.protected.items() if kind == "journalist"}


def test_linked_accounts_are_customers_and_their_owners_employees(company: Company) -> None:
    rows = [line.split(",") for line in company.context_files()["links.csv"].decode().splitlines()[1:]]
    assert Counter(kind for _, _, kind in rows).keys() == {"own_account", "household", "contact"}
    for subject, linked, kind in rows:
        assert subject in company.customers.names
        assert linked in (company.customers.names if kind == "contact" else company.staff.names)


def test_nobody_works_before_the_first_or_after_the_last_day(company: Company) -> None:
    staff = company.staff
    leaver = int(np.argmin(staff.left))
    assert all(leaver not in staff.working(int(staff.left[leaver]) + days) for days in range(10))
    assert any(leaver in staff.working(int(staff.left[leaver]) - days) for days in range(1, 10))


# --- incidents


@pytest.mark.parametrize("name", INCIDENTS)
def test_planting_adds_its_events_and_changes_nothing_else(name: str) -> None:
    plain, company = Company(100, 3, end=END), planted(name)
    ids = company.planted[0].event_ids
    found = set()
    for day in range(TODAY, TODAY + 3):
        before, after = plain.day(day), company.day(day)
        added = [value for value in after.values if value not in set(before.values)]
        assert [value for value in after.values if value not in set(added)] == before.values
        events = [json.loads(value) for value in added]
        found |= {event["event_id"] for event in events if event["action"] != "login"}
        assert {event["actor"] for event in events} <= set(company.planted[0].actors)
        assert all(ms(event["time"]) + 60_000 >= END for event in events)
    assert found == ids
    assert plain.context_files() == company.context_files()


def test_the_story_is_small_and_about_where_journalists_and_colleagues_are() -> None:
    company = planted("story")
    (story,) = company.planted
    assert 3 <= len(story.actors) <= 5
    assert 30 <= len(story.event_ids) <= 60
    context = Context.parse(company.context_files())
    kinds = Counter(context.protected.get(subject, "colleague") for subject in story.subjects)
    assert kinds == {"journalist": 4, "colleague": 3}
    events = [json.loads(value) for day in range(TODAY, TODAY + 3) for value in company.day(day).values]
    looks = [event for event in events if event["event_id"] in story.event_ids]
    assert len({ms(event["time"]) // DAY for event in looks}) == 3
    assert all("purpose" not in event and {"ip", "gps", "last_login"} & set(event["fields"]) for event in looks)
    assert {event["resource"] for event in looks} == {"user_profile", "ip_log", "device_registry"}
    assert all(context.team(actor, TODAY) == "internal-audit" for actor in story.actors)


def test_a_bulk_export_is_far_beyond_what_its_employee_usually_takes() -> None:
    company = planted("bulk-export")
    (incident,) = company.planted
    (actor,) = incident.actors
    rows = [json.loads(value) for day in range(TODAY - 7, TODAY + 1) for value in company.day(day).values]
    taken = {True: 0, False: 0}
    for row in rows:
        if row["actor"] == actor and row["action"] == "export":
            taken[row["event_id"] in incident.event_ids] += row.get("records", 1)
    assert taken[True] > 20 * max(taken[False], 1)
    assert all("purpose" not in row for row in rows if row["event_id"] in incident.event_ids)


def test_the_demonstration_begins_on_a_working_morning_and_soon_has_its_first_lookups() -> None:
    for day in range(30):
        now = END + day * DAY
        company = Company.demo(now, employees=60)
        begin = company.end
        today = local_day("SG", begin)
        assert is_working_day("SG", today)
        assert 7 <= (begin / HOUR + 8) % 24 < 9
        assert now - begin > 600 * HOUR - DAY / 24
        early = [event for event in company._incidents if event["time"] < begin + 5 * HOUR]
        assert len({event["actor"] for event in early}) == 3


# --- its history


def test_a_history_holds_the_days_before_the_end_and_compresses_to_the_same(tmp_path: Path) -> None:
    company, told = Company(60, 2, end=END), []
    count = company.write_history(tmp_path / "h.ndjson", 3, lambda done, total: told.append((done, total)))
    plain = (tmp_path / "h.ndjson").read_bytes()
    lines = plain.splitlines()
    assert len(lines) == count
    assert END - 3 * DAY - 30_000 < ms(json.loads(lines[0])["time"]) < END - 3 * DAY + HOUR
    assert END - HOUR < ms(json.loads(lines[-1])["time"]) < END
    assert told[-1] == (3, 3)
    assert [done for done, _ in told] == sorted(done for done, _ in told)
    company.write_history(tmp_path / "h.ndjson.gz", 3)
    assert gzip.decompress((tmp_path / "h.ndjson.gz").read_bytes()) == plain
    company.write_history(tmp_path / "again.ndjson.zst", 3)
    company.write_history(tmp_path / "h.ndjson.zst", 3)
    assert (tmp_path / "again.ndjson.zst").read_bytes() == (tmp_path / "h.ndjson.zst").read_bytes()
    longer = Company(60, 2, end=END)
    longer.write_history(tmp_path / "longer.ndjson", 5)
    assert (tmp_path / "longer.ndjson").read_bytes().endswith(plain)


def test_a_company_too_small_for_its_teams_is_refused() -> None:
    with pytest.raises(ValueError, match="60 or more"):
        Company(59, end=END)


# --- its live stream


class Watch:
    """A clock that only sleeping moves."""

    def __init__(self, now: float) -> None:
        self.now = now

    def time(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        assert seconds > 0
        self.now += seconds


def play(begun: float, until: float, **how: Any) -> Iterator[tuple[float, bytes, bytes]]:
    watch, sent = Watch(begun), []
    company = Company(60, 2, end=END)
    count = company.live(lambda key, value: sent.append((watch.now, key, value)), watch, lambda: watch.now >= until, **how)
    assert count == len(sent)
    return iter(sent)


def test_live_at_a_speed_sends_company_hours_in_seconds() -> None:
    begun = END / 1000 + 100 * 86400
    sent = list(play(begun, begun + 36, speed=600.0))
    day = Company(60, 2, end=END)
    expected = [value for some in day.days(END, END + 6 * HOUR) for value in some.values]
    assert abs(len(sent) - len(expected)) <= 3
    assert [value for _, _, value in sent][: len(expected) - 3] == expected[: len(sent)][: len(expected) - 3]
    assert all(json.loads(value)["actor"] == key.decode() for _, key, value in sent)


def test_live_at_a_rate_ignores_the_company_s_clock() -> None:
    begun = END / 1000 + 100 * 86400
    sent = list(play(begun, begun + 10, rate=200.0))
    assert abs(len(sent) - 2000) < 100


@pytest.mark.parametrize("how", [{"speed": 3600.0}, {"rate": 50.0}])
def test_live_never_passes_the_present(how: dict[str, float]) -> None:
    begun = END / 1000 + 1800
    sent = list(play(begun, begun + 1800, **how))
    assert all(ms(json.loads(value)["time"]) <= at * 1000 for at, _, value in sent)
    assert ms(json.loads(sent[-1][2])["time"]) > (begun + 1700) * 1000


def test_live_from_its_start_runs_an_hour_before_it_meets_the_present() -> None:
    start = live_start(END, 600.0)
    assert start + 600 * HOUR == END + HOUR


def test_live_stops_when_told_even_while_it_waits(company: Company) -> None:
    watch = Watch(END / 1000 - 3600)
    calls: list[bytes] = []
    stop: Callable[[], bool] = lambda: watch.now > END / 1000 - 3590  # noqa: E731
    assert company.live(lambda key, value: calls.append(key), watch, stop) == 0
    assert watch.now < END / 1000 - 3588
