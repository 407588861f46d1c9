from __future__ import annotations

import gzip
import json
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from company_world import END, TODAY, ms, planted

from detector.files import context_of
from detector.sandbox.company import INCIDENTS, Company, live_start
from detector.sandbox.company.calendar import DAY, HOUR, is_working_day, local_day

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
    context = context_of(company.context_files())
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
