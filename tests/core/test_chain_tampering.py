"""Whatever is done to a valid log of alerts is found, and the record at which it was done is named."""

from __future__ import annotations

import json
from random import Random

from alert_logs import Writer, edited, first_bad, verified, written
from hypothesis import given, settings
from hypothesis import strategies as st

from detector.core import alerts, chain, heartbeats
from detector.core.chain import Head, Place, Verification
from detector.core.daily_blocks import Origin

seeds = st.integers(0, 1 << 32)


def name(value: bytes) -> tuple[int, str, int]:
    """Partition, and what it is and its number."""
    record = json.loads(value)
    if record["kind"] == "heartbeat":
        return record["partition"], "heartbeat", record["beat"]
    return record["evidence"][0]["partition"], "alert", record["seq"]


def of_task(log: list[bytes], task: int) -> list[tuple[int, bytes]]:
    """(line, record) of one task."""
    return [(line, value) for line, value in enumerate(log, 1) if name(value)[0] == task]


def deviates(log: list[bytes], changed: list[bytes], task: int) -> int:
    """The first line at which a task's records are not those of before."""
    before, after = ([*of_task(some, task), (0, b"")] for some in (log, changed))
    return next(line for (_, old), (line, new) in zip(before, after, strict=False) if old != new)


@given(seeds, st.integers(1, 3))
@settings(max_examples=50, deadline=None)
def test_a_log_as_it_was_written_is_right(seed: int, tasks: int) -> None:
    log = written(seed, tasks)
    found, verification = verified(log, complete=True)
    assert found == [] and verification.unknown == 0 and len(verification.tasks) == tasks
    for task, one in verification.tasks.items():
        assert one.alerts == sum(name(value)[:2] == (task.partition, "alert") for value in log) == one.chain[0]
        last = [value for _, value in of_task(log, task.partition) if name(value)[1] == "alert"][-1]
        assert one.chain[1] == alerts.chain_hash(last)


@given(seeds, st.integers(1, 3))
@settings(max_examples=300, deadline=None)
def test_g7_a_record_that_was_altered_is_named(seed: int, tasks: int) -> None:
    random, log = Random(seed), written(seed, tasks)
    line = random.randrange(len(log))
    found, _ = verified([*log[:line], edited(log[line], random), *log[line + 1 :]])
    assert first_bad(found).fault.place == Place("alerts", line + 1)


@given(seeds, st.integers(1, 3))
@settings(max_examples=200, deadline=None)
def test_g7_a_record_that_was_deleted_is_named(seed: int, tasks: int) -> None:
    random, log = Random(seed), written(seed, tasks)
    line = random.randrange(len(log) - tasks)  # the end of a log is another matter
    task, what, number = name(log[line])
    found, _ = verified([*log[:line], *log[line + 1 :]], complete=True)
    (one,) = found
    assert one.origin == Origin("employee", "access-events", task)
    assert one.fault.what == f"{what} {number}"
    last = not any(name(value)[:2] == (task, what) for value in log[line + 1 :])
    assert one.fault.kind == ("truncated" if last else "missing")


@given(seeds, st.integers(1, 3))
@settings(max_examples=300, deadline=None)
def test_g7_a_record_that_stands_elsewhere_is_named(seed: int, tasks: int) -> None:
    random, log = Random(seed), written(seed, tasks)
    line = random.randrange(len(log))
    moved = log[:line] + log[line + 1 :]
    moved.insert(random.randrange(len(log)), log[line])
    task = name(log[line])[0]
    found, _ = verified(moved)
    if [value for _, value in of_task(moved, task)] == [value for _, value in of_task(log, task)]:
        assert found == []
    else:
        assert {each.fault.kind for each in found} == {"reordered"}
        assert first_bad(found).fault.place == Place("alerts", deviates(log, moved, task))


@given(seeds, st.integers(1, 3))
@settings(max_examples=200, deadline=None)
def test_g7_a_record_that_is_there_twice_is_named(seed: int, tasks: int) -> None:
    random, log = Random(seed), written(seed, tasks)
    line, again = random.randrange(len(log)), random.randrange(len(log) + 1)
    doubled = [*log[:again], log[line], *log[again:]]
    found, _ = verified(doubled)
    assert "repeated" in {each.fault.kind for each in found}
    assert first_bad(found).fault.place == Place("alerts", deviates(log, doubled, name(log[line])[0]))


@given(seeds, st.booleans())
@settings(max_examples=200, deadline=None)
def test_g7_an_alert_that_was_made_up_is_named(seed: int, fits: bool) -> None:
    """Wherever it is put; `fits`: it names the hash of the alert before it, as only who has read the log can make it."""
    random, log = Random(seed), written(seed)
    line = random.randrange(1, len(log))
    forger = Writer()
    before = [value for value in log[:line] if name(value)[1] == "alert"]
    forger.offset = 1000
    if before:
        forger.seq = name(before[-1])[2] + 1
        forger.head = alerts.chain_hash(before[-1]) if fits else "0f" * 32
    found, _ = verified([*log[:line], forger.alert("e9"), *log[line:]])
    assert Place("alerts", line + 1) in {each.fault.place for each in found}
    assert first_bad(found).fault.place == Place("alerts", line + 1)


@given(seeds, st.integers(1, 3))
@settings(max_examples=100, deadline=None)
def test_g7_a_log_that_was_cut_short_is_found_by_the_heartbeats_that_are_left(seed: int, tasks: int) -> None:
    """All alerts from a place on are gone; heartbeats are not."""
    random, log = Random(seed), written(seed, tasks)
    line = random.randrange(len(log))
    cut = [value for at, value in enumerate(log) if at < line or name(value)[1] == "heartbeat"]
    lost = {name(value)[0] for value in log if value not in cut}
    found, _ = verified(cut)
    assert {each.origin.partition for each in found if each.origin} == lost
    assert {each.fault.kind for each in found} <= {"truncated"}


def heads_of(log: list[bytes]) -> list[Head]:
    _, verification = verified(log)
    return [Head(*origin, *task.chain) for origin, task in verification.tasks.items()]


def against(heads: list[Head], log: list[bytes]) -> list[chain.Found]:
    verification = Verification()
    for line, head in enumerate(heads, 1):
        verification.expect(head, Place("heads", line))
    found = [each for line, value in enumerate(log, 1) for each in verification.add(Place("alerts", line), value)]
    return found + list(verification.finish())


@given(seeds, st.integers(1, 3))
@settings(max_examples=100, deadline=None)
def test_g7_what_was_written_down_earlier_finds_what_the_log_itself_cannot_show(seed: int, tasks: int) -> None:
    """The log is cut off with its heartbeats; or it is rewritten, every hash and digest made to fit."""
    random, log = Random(seed), written(seed, tasks)
    heads = heads_of(log[: random.randrange(2, len(log) + 1)])
    assert against(heads, log) == []
    other = Writer(tasks - 1)
    rewritten = [
        other.alert(text="did nothing of note") if name(value)[1] == "alert" else other.heartbeat() for _, value in of_task(log, tasks - 1)
    ]
    log = [value for value in log if name(value)[0] < tasks - 1] + rewritten
    assert verified(log, complete=True)[0] == []
    counted = {head.partition: head.seq for head in heads}
    wrong = {each.fault.kind for each in against(heads, log)}
    assert wrong == ({"altered"} if counted.get(tasks - 1, 0) else set())


@given(seeds)
@settings(max_examples=100, deadline=None)
def test_g7_a_cut_that_takes_the_heartbeats_along_is_found_by_what_was_written_down(seed: int) -> None:
    random, log = Random(seed), written(seed)
    line = random.randrange(len(log))
    heads = heads_of(log)
    found = against(heads, log[:line])
    if heads_of(log[:line]) == heads:
        assert found == []
    else:
        assert [each.fault.kind for each in found] == ["truncated"]
        assert found[0].fault.place == (Place("alerts", line) if line else None)


def kinds(log: list[bytes], heads: list[Head] | None = None) -> list[tuple[str, str, int]]:
    """Each fault: its kind, of what, and in which line."""
    found = verified(log)[0] if heads is None else against(heads, log)
    return [(each.fault.kind, each.fault.what, each.fault.place.at) for each in found if each.fault.place]


def forged(seq: int, head: str = "0f" * 32) -> bytes:
    forger = Writer()
    forger.seq, forger.head, forger.offset = seq, head, 1000
    return forger.alert("e9")


def refitted(value: bytes, **members: object) -> bytes:
    """A heartbeat with other members, its digest made to fit."""
    record = json.loads(value) | members
    return json.dumps(record | {"digest": heartbeats.digest(json.dumps(record).encode())}).encode()


def test_of_two_alerts_of_a_number_the_one_that_does_not_fit_the_chain_is_the_forged_one() -> None:
    writer = Writer()
    a, b, c = writer.alert(), writer.alert(), writer.alert()
    assert kinds([a, forged(1), b, c]) == [("forged", "alert 1", 2)]
    assert kinds([a, b, forged(1), c]) == [("forged", "alert 1", 3)]
    assert kinds([a, b, c, forged(1)]) == [("forged", "alert 1", 4)]
    assert kinds([a, b, forged(2), c]) == [("forged", "alert 2", 3)]  # nobody speaks for the last one but what is before it


def test_the_last_alert_is_to_blame_where_a_heartbeat_vouches_for_the_one_before() -> None:
    writer = Writer()
    log = [writer.alert(), writer.heartbeat(), writer.alert()]
    other = json.dumps(json.loads(log[2]) | {"prev_hash": "0f" * 32}).encode()
    assert kinds([*log[:2], other]) == [("altered", "alert 1", 3)]
    # the heartbeat is read last, from another partition, and only one of two alerts does not name what it vouches for
    verification = Verification()
    logs = (("alerts-0", log[0]), ("alerts-0", forged(1)), ("alerts-0", log[2]), ("alerts-1", log[1]))
    found = [each for at, (name, value) in enumerate(logs) for each in verification.add(Place(name, at), value)]
    found += verification.finish()
    assert {each.fault.place for each in found} == {Place("alerts-0", 1)}


def test_the_first_alert_has_none_before_it() -> None:
    writer = Writer()
    writer.head = "0f" * 32
    assert kinds([writer.alert(), writer.alert()]) == [("altered", "alert 0", 1)]


def test_a_heartbeat_that_was_made_to_fit_itself_does_not_fit_the_chain() -> None:
    writer = Writer()
    log = [writer.heartbeat(), writer.alert(), writer.heartbeat(), writer.alert(), writer.heartbeat()]
    assert kinds([refitted(log[0], head="0f" * 32), *log[1:]]) == [("forged", "heartbeat 0", 1)]
    assert kinds([*log[:2], refitted(log[2], head="0f" * 32), *log[3:]]) == [("forged", "heartbeat 1", 3)]
    assert kinds([*log[:2], refitted(log[2], seq=0, head=alerts.GENESIS), *log[3:]]) == [("reordered", "alert 0", 2)]
    assert kinds([*log, refitted(log[4], beat=1)]) == [("forged", "heartbeat 1", 6)]


def test_nothing_that_an_altered_heartbeat_says_is_believed() -> None:
    writer = Writer()
    log = [*(writer.alert() for _ in range(3)), writer.heartbeat(), writer.alert(), writer.heartbeat()]
    lower = json.dumps(json.loads(log[3]) | {"seq": 1}).encode()
    assert kinds([lower, *log[4:]]) == [("altered", "heartbeat 0", 1)]


def test_a_record_that_overtook_many_is_one_fault() -> None:
    writer = Writer()
    log = [writer.alert() for _ in range(9)]
    assert kinds([log[0], log[7], *log[1:7], log[8]]) == [("reordered", "alert 7", 2)]


def test_what_was_written_down_is_compared_with_heartbeats_where_the_alerts_are_gone() -> None:
    writer = Writer()
    writer.alert()
    log = [writer.heartbeat(), writer.heartbeat()]
    origin = writer.origin
    assert kinds(log, [Head(*origin, 1, writer.head)]) == []
    assert kinds(log, [Head(*origin, 1, "0f" * 32)]) == [("forged", "heartbeat 0", 1)]
    writer.alert()
    verification = Verification()
    verification.expect(Head(*origin, 1, "0f" * 32), Place("heads", 1))
    found = [each for value in (writer.alert(), writer.heartbeat()) for each in verification.add(Place("alerts", 1), value)]
    assert found + list(verification.finish()) == []
    assert verification.tasks[origin].links.uncompared == 1
