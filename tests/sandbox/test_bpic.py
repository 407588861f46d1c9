from __future__ import annotations

import gzip
import json
from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest

from detector.core.context import Context
from detector.sandbox.bpic import convert, directory, write

DATA = Path(__file__).parents[2] / "../shared/data/bpic"
needs_data = pytest.mark.skipif(not DATA.exists(), reason="the BPI Challenge logs are not beside this checkout")

HEADER = "timestamp,resource,case_id,activity,lifecycle,case_attr,org_group,product"
LINES = [
    HEADER,
    "2011-10-01T00:38:45.000+02:00,10862,173688,W_Afhandelen leads,START,20000,,",
    "2011-10-01T00:38:44.546+02:00,112,173688,A_SUBMITTED,COMPLETE,20000,,",
    "2011-10-01T00:40:00.000+02:00,,173688,W_Afhandelen leads,COMPLETE,20000,,",
    "2011-10-01T00:41:00.000+02:00,10862,173688,W_Completeren aanvraag,SCHEDULE,20000,,",
]


def test_a_row_becomes_an_access_of_the_resource_to_the_case() -> None:
    assert json.loads(next(convert(LINES))) == {
        "event_id": "bpic2012-2", "time": 1317422324546, "actor": "112", "action": "write", "resource": "A_SUBMITTED", "subject": "173688",
    }  # fmt: skip


def test_rows_are_sorted_by_time_and_those_that_name_nobody_are_left_out() -> None:
    events = [json.loads(line) for line in convert(LINES)]
    assert [event["event_id"] for event in events] == ["bpic2012-2", "bpic2012-1", "bpic2012-4"]
    assert [event["action"] for event in events] == ["write", "read", "read"]


def test_a_log_that_is_none_of_the_three_is_refused() -> None:
    with pytest.raises(ValueError, match="columns are a, b"):
        list(convert(["a,b", "1,2"]))


def test_an_empty_log_has_no_events() -> None:
    assert list(convert([HEADER])) == []


def test_the_automatic_user_is_marked_as_a_service_account() -> None:
    context = Context.parse({"directory.csv": directory(["112", "10862", "112"])})
    assert context.role("112", 0) == "service"
    assert context.team("10862", 0) == "bank"


@needs_data
def test_bpic2012_has_the_employees_and_cases_that_its_source_says(tmp_path: Path) -> None:
    out = tmp_path / "bpic.ndjson"
    assert write(DATA / "bpic2012_events.csv.gz", out) == 262_200 - 18_010
    events = [json.loads(line) for line in out.read_bytes().splitlines()]
    actors = Counter(event["actor"] for event in events)
    assert actors.pop("112") == 45_687
    assert len(actors) == 67
    assert len({event["subject"] for event in events}) == 13_087
    assert len({event["event_id"] for event in events}) == len(events)
    assert all(one["time"] <= other["time"] for one, other in pairwise(events))
    assert Counter(event["action"] for event in events)["write"] > 100_000


@needs_data
@pytest.mark.parametrize(("name", "count", "actors"), [("bpic2013_incidents_events", 65_533, 1_440), ("receipt_wabo", 8_577, 48)])
def test_the_other_logs_have_the_people_that_their_source_says(name: str, count: int, actors: int, tmp_path: Path) -> None:
    out = tmp_path / "log.ndjson.gz"
    assert write(DATA / f"{name}.csv.gz", out) == count
    assert len({json.loads(line)["actor"] for line in gzip.decompress(out.read_bytes()).splitlines()}) == actors
