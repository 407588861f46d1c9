from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from company_world import END, TODAY, ms, planted
from world import as_records

from detector.core.formats.native import Limits, decode
from detector.files import context_of
from detector.sandbox.company import Company, Day
from detector.sandbox.company.calendar import DAY, HOUR, is_working_day
from detector.sandbox.company.roles import TEAMS

# --- its events


def test_the_detector_refuses_none_of_its_events(week: list[Day]) -> None:
    story = planted("story").day(TODAY)
    for day in (*week, story):
        batch = decode(as_records(day, 0), Limits())
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
    context = context_of(company.context_files())
    assert context.absent == ()
    assert all(context.is_employee(event["actor"]) for event in events)
    for event in events[::7]:
        if "actor_team" in event and not event["actor"].startswith("svc-"):
            assert context.team(event["actor"], ms(event["time"]) // DAY) == event["actor_team"]
    assert {field for event in events for field in event.get("fields", ())} <= set(context.fields)


def test_protected_people_are_customers_and_nobody_ever_touches_a_canary(company: Company, events: list[dict[str, Any]]) -> None:
    context = context_of(company.context_files())
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
