"""Verifying a log of alerts: where its records may lie, where it may begin, what it says of silence, and what is no alert at all."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import alert_logs
import pytest
from alert_logs import Writer, first_bad, verified, written
from hypothesis import example, given, settings
from hypothesis import strategies as st

from detector.core import chain, heartbeats
from detector.core.chain import Head, Place, Verification

seeds = st.integers(0, 1 << 32)


@given(seeds)
@settings(max_examples=100, deadline=None)
def test_partitions_of_the_topic_may_be_read_one_ahead_of_the_other(seed: int) -> None:
    """Alerts lie in the partition of their actor, heartbeats in that of their task."""
    random, log = Random(seed), written(seed, 2, 40)
    parts: list[list[bytes]] = [[], [], []]
    for value in log:
        record = json.loads(value)
        parts[2 if "beat" in record else int(record["actor"][1]) % 2].append(value)
    verification, found, offsets = Verification(complete=True), [], [0, 0, 0]
    while left := [p for p in range(3) if offsets[p] < len(parts[p])]:
        p = random.choice(left)
        found += verification.add(Place(f"alerts-{p}", offsets[p], "offset"), parts[p][offsets[p]])
        offsets[p] += 1
    assert found + list(verification.finish()) == []


def test_several_partitions_in_one_file_need_to_be_said(written_apart: list[bytes]) -> None:
    assert {each.fault.kind for each in verified(written_apart)[0]} == {"reordered"}
    assert verified(written_apart, mixed=True)[0] == []
    swapped = [written_apart[1], written_apart[0], *written_apart[2:]]
    assert [each.fault.kind for each in verified(swapped, mixed=True)[0]] == ["reordered"]


@pytest.fixture
def written_apart() -> list[bytes]:
    """Two partitions of alerts, one behind the other: those of e1, those of e2."""
    writer = Writer()
    log = [writer.alert(actor) for actor in ("e1", "e2", "e1", "e2", "e2")]
    return [
        *(value for value in log if b'"actor":"e1"' in value),
        *(value for value in log if b'"actor":"e2"' in value),
        writer.heartbeat(),
    ]


def test_a_log_that_begins_later_is_right_unless_it_is_said_to_be_complete() -> None:
    log = written(3)
    after = log[9:]
    found, verification = verified(after)
    (task,) = verification.tasks.values()
    assert found == [] and task.links.gone == task.links.first > 0
    assert {each.fault.kind for each in verified(after, complete=True)[0]} == {"missing"}


def test_what_retention_may_have_taken_of_one_partition_is_no_fault_and_what_it_cannot_have_is() -> None:
    writer = Writer()
    log = [writer.alert() for _ in range(6)]
    for whole_from, kinds in ((30, []), (15, ["missing"])):
        verification = Verification()
        verification.cut(whole_from)
        found = [each for at in (0, 1, 3, 4, 5) for each in verification.add(Place("alerts-0", at, "offset", 10 * at + 10), log[at])]
        assert [each.fault.kind for each in found + list(verification.finish())] == kinds
        assert sum(task.links.gone for task in verification.tasks.values()) == 1 - len(kinds)
    verification = Verification(complete=True)
    verification.cut(30)
    found = [each for at in (0, 2) for each in verification.add(Place("alerts-0", at, "offset", at), log[at])]
    assert [each.fault.kind for each in found + list(verification.finish())] == ["missing"]


def test_a_heartbeat_from_before_the_log_is_whole_does_not_say_which_alerts_must_be_there() -> None:
    writer = Writer()
    early, _, _, late, last = writer.heartbeat(), writer.alert(), writer.alert(), writer.alert(), writer.heartbeat()
    for whole_from, count in ((0, 1), (50, 0)):
        verification = Verification()
        verification.cut(whole_from)
        found = list(verification.add(Place("alerts-0", 1, "offset", 10), early))
        found += [each for value in (late, last) for each in verification.add(Place("alerts-1", 9, "offset", 60), value)]
        assert len(found + list(verification.finish())) == count


def test_alerts_that_the_first_heartbeat_does_not_count_yet_must_be_there() -> None:
    writer = Writer()
    log = [writer.alert(), writer.heartbeat(), writer.alert(), writer.alert(), writer.heartbeat()]
    assert verified(log[1:])[0] == []
    (found,) = verified([log[1], log[3], log[4]])[0]
    assert (found.fault.kind, found.fault.what) == ("missing", "alert 1")
    (found,) = verified([log[1], log[4]])[0]
    assert (found.fault.kind, found.fault.what) == ("truncated", "alert 1")


def test_silence_is_told_from_quiet() -> None:
    writer = Writer()
    log = [writer.heartbeat(), writer.heartbeat(), writer.heartbeat(7 * alert_logs.MINUTE), writer.heartbeat()]
    _, verification = verified(log)
    (task,) = verification.tasks.values()
    assert task.silence == (7 * alert_logs.MINUTE, alert_logs.BEGIN + 2 * alert_logs.MINUTE)
    assert task.last is not None and task.last.time == writer.time and task.heartbeats == 4


def test_a_log_without_alerts_has_the_chain_that_its_heartbeats_name() -> None:
    writer = Writer()
    writer.alert()
    _, verification = verified([writer.heartbeat(), writer.heartbeat()])
    (task,) = verification.tasks.values()
    assert task.chain == (1, writer.head) and not task.faults


@pytest.mark.parametrize("limit", [4])
def test_memory_is_bounded_also_where_an_alert_lacks_for_good(monkeypatch: pytest.MonkeyPatch, limit: int) -> None:
    monkeypatch.setattr("detector.core.chain.numbers.WINDOW", limit)
    writer = Writer()
    log = [make() for _ in range(60) for make in (writer.alert, writer.heartbeat)]
    verification = Verification()
    found = [each for at, value in enumerate(log) if at != 20 for each in verification.add(Place("alerts", at), value)]
    assert [each.fault.what for each in found] == ["alert 10"]  # said before the end
    (task,) = verification.tasks.values()
    kept = (task.links._numbers._waiting, task.links._numbers._settled, task.links.claims, task._streams["alerts"]._ranks)
    assert max(map(len, kept)) <= 2 * limit
    assert list(verification.finish()) == []


def rehashed(change: Callable[[dict[str, object]], None], value: bytes) -> bytes:
    record = json.loads(value)
    change(record)
    record["digest"] = heartbeats.digest(json.dumps(record).encode())
    return json.dumps(record).encode()


@pytest.mark.parametrize("member", ["seq", "head"])
def test_a_heartbeat_whose_digest_was_made_to_fit_is_found_by_the_chain(member: str) -> None:
    def change(record: dict[str, object]) -> None:
        record[member] = record["seq"] - 1 if member == "seq" else "0f" * 32  # type: ignore[operator]

    writer = Writer()
    log = [writer.heartbeat(), writer.alert(), writer.alert(), writer.heartbeat(), writer.alert(), writer.heartbeat()]
    found, _ = verified([*log[:3], rehashed(change, log[3]), *log[4:]])
    assert {each.fault.kind for each in found} & {"forged", "reordered"}


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (b"", "Expecting value"),
        (b"not json", "Expecting value"),
        (b"[]", "not a JSON object"),
        (b"[" * 100_000, "nested too deep"),
        (b"{}", "missing required field"),
        (b'{"kind":"employee","kind":"heartbeat"}', "a member stands there twice"),
        (b"\xff\xfe", "decode"),
        (b'{"kind":"heartbeat","seq":1e999}', "not a heartbeat"),
        (b'{"x":"\\ud800"}', ""),
    ],
)
def test_what_is_no_alert_is_named_and_what_is_around_it_is_judged(value: bytes, says: str) -> None:
    log = written(1)
    (found,), verification = verified([*log[:4], value, *log[4:]])
    assert (found.origin, found.fault.kind, found.fault.place) == (None, "altered", Place("alerts", 5))
    assert says in found.fault.message and verification.unknown == 1


def test_a_near_miss_does_not_belong_there() -> None:
    log = written(1)
    near = json.loads(log[1]) | {"seq": None, "prev_hash": None}
    (found,), _ = verified([*log, json.dumps(near).encode()])
    assert found.fault.kind == "forged"
    (found,), _ = verified([*log, json.dumps(near | {"seq": -1, "prev_hash": ""}).encode()])
    assert found.fault.kind == "altered" and "negative" in found.fault.message


def test_a_chain_that_begins_anew_is_no_longer_the_same_chain() -> None:
    log, anew = written(1), Writer()
    anew.offset = 7000
    found, _ = verified([*log, anew.alert(), anew.alert()])
    assert first_bad(found).fault.place == Place("alerts", len(log) + 1)


@example(b'{"view":"employee","topic":"t","partition":0,"seq":2,"head":"aa","more":1}')
@given(st.binary())
def test_a_line_of_heads_is_one_or_is_refused(line: bytes) -> None:
    try:
        head = chain.read_head(line)
    except ValueError:
        return
    assert head is None or head == Head("employee", "t", 0, 2, "aa")


def test_the_lines_in_the_reference_page_agree() -> None:
    page = (Path(__file__).parents[2] / "docs/reference/alerts.md").read_text("utf-8")
    (lines,) = re.findall(r"^```python\n(.*?)^```", page, re.M | re.S)
    there: dict[str, Any] = {}
    exec(lines, there)
    log = [json.loads(value) for value in written(2, 1, 60) if b"heartbeat" not in value]
    assert list(there["broken"](log)) == []
    log[3]["actor"] = "e9"
    assert list(there["broken"](log)) == [log[4]["alert_id"]]
