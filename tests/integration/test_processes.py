"""Processes that are killed, frozen, slow, stuck or stopped, with clocks that are wrong. Rows A1 to A5, A7 and A8 of the fault catalogue.

Each time it is a real service; each time, in the end, all is as if nothing had happened.
"""

from __future__ import annotations

import json
import random
import signal
import time
from collections.abc import Sequence

import pytest
from faults import SESSION, TRANSACTION, Rigged, finish, finished, laid_out, load, work_left
from harness import PARTITIONS, Serving, Stand, wait
from office import Office
from oracle import assert_delivered_up_to_the_committed_offsets, truth

pytestmark = pytest.mark.broker

STEPS = ("after_poll", "after_begin", "after_send", "after_flush", "after_offsets", "after_endtxn_sent", "after_commit", "mid_snapshot")


def killed_at(place: str, nth: int, stand: Stand, ordinal: int = 0) -> None:
    with Rigged(stand, ordinal, failpoint=f"{place}:{nth}:kill") as victim:
        assert victim.process.wait(120) == -signal.SIGKILL
        assert victim.times_at(place) == 1


def taken_over(stand: Stand, expected: object) -> None:
    """By another process, in time, and everything is exact."""
    with Serving(stand, 2) as other:
        wait(lambda: other.get("/livez")[0] == 200, 120, "it has started")
        other.until_ready(SESSION + TRANSACTION + 5)
        assert other.metric("detector_partitions") == PARTITIONS
        finished(stand, expected)  # type: ignore[arg-type]
        assert other.stop() == 0


@pytest.mark.parametrize("place", STEPS)
def test_A1_killed_at_any_step_of_a_transaction(place, office, broker, tmp_path, unique):
    # a machine with nothing else to do is through with 1,500 before a second snapshot
    nth, events = (2, 4000) if place == "mid_snapshot" else (20, 1500)
    stand, expected = laid_out(office, broker, tmp_path, unique, events)
    killed_at(place, nth, stand)
    assert_delivered_up_to_the_committed_offsets(stand, expected)
    assert work_left(stand, expected), "the kill did not meet work under way"
    taken_over(stand, expected)


@pytest.mark.parametrize("place", ["in_listener", "mid_restore", "mid_replay"])
def test_A1_killed_while_it_takes_over(place, office, broker, tmp_path, unique):
    stand, expected = laid_out(office, broker, tmp_path, unique, 4000)
    killed_at("mid_snapshot", 4, stand)
    killed_at(place, 1, stand, 1)
    assert_delivered_up_to_the_committed_offsets(stand, expected)
    taken_over(stand, expected)


@pytest.mark.parametrize(
    ("numbers", "longest"),
    [([signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGKILL, signal.SIGKILL], 2.0)],
)
def test_A2_ended_again_and_again_under_load(numbers, longest, office, broker, tmp_path, unique):
    ended_again_and_again(office, office.stand(broker, tmp_path, unique), [(n, 0.2, longest) for n in numbers])


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_A2_ended_fifty_times_under_load(office, broker, tmp_path, unique):
    dice = random.Random(2)
    schedule = [(signal.SIGKILL, 0.1, 1.0)] * 30
    schedule += [(dice.choice([signal.SIGKILL, signal.SIGTERM, signal.SIGINT]), 1.0, 30.0) for _ in range(20)]
    ended_again_and_again(office, office.stand(broker, tmp_path, unique), schedule)


def ended_again_and_again(office: Office, stand: Stand, schedule: Sequence[tuple[signal.Signals, float, float]]) -> None:
    """Two services under load; at random moments, (from, to) seconds apart, one of them is ended and started again."""
    dice = random.Random(1)
    pauses = [dice.uniform(low, high) for _, low, high in schedule]
    seconds = sum(pauses) + len(schedule) + 5.0  # to start, and for each to end
    services = [Serving(stand, 0), Serving(stand, 1)]
    try:
        with load(stand, office.live, len(office.live) / seconds):
            for (number, _, _), pause in zip(schedule, pauses, strict=True):
                time.sleep(pause)  # the moment is the point
                victim = dice.randrange(2)
                services[victim].process.send_signal(number)
                code = services[victim].process.wait(25)
                assert number == signal.SIGKILL or code in (0, 130, -number), "asked to end, it does; not 0 only before it serves"
                services[victim] = Serving(stand, victim)
        finished(stand, truth(stand, office.starts), 40)
        for service in services:
            service.until_ready()
        assert [service.stop() for service in services] == [0, 0]
    finally:
        for service in services:
            service.kill()


@pytest.mark.parametrize("place", ["after_flush", "after_offsets"])
def test_A3_frozen_with_a_finished_batch_it_is_refused_when_it_wakes_and_joins_again(place, office, broker, tmp_path, unique):
    stand, expected = laid_out(office, broker, tmp_path, unique, 4000)
    with Rigged(stand, 0, failpoint=f"{place}:20:sleep=1") as zombie:
        zombie.until_at(place)
        zombie.process.send_signal(signal.SIGSTOP)
        with Serving(stand, 1) as other:
            wait(lambda: other.metric("detector_events_total") > 0, 40, "the other has taken over")
            zombie.process.send_signal(signal.SIGCONT)
            wait(lambda: zombie.metric("detector_doubts_total") > 0, 60, "its transaction is refused")
            finished(stand, expected)
            zombie.until_ready(30)
            assert zombie.stop() == other.stop() == 0


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [5, 20, 130], ids=["within the session", "beyond the session", "beyond the poll interval"])
def test_A3_frozen_alone_it_goes_on_when_it_wakes(seconds, office, broker, tmp_path, unique):
    stand, expected = laid_out(office, broker, tmp_path, unique, 5000)
    stand.sections["service"] = {"watchdog": 300.0}
    with Rigged(stand) as service:
        service.until_at_work()
        service.process.send_signal(signal.SIGSTOP)
        assert work_left(stand, expected), "the fault did not meet work under way"
        time.sleep(seconds)
        service.process.send_signal(signal.SIGCONT)
        finished(stand, expected)
        assert service.stop() == 0


def test_A4_a_batch_slower_than_the_poll_interval_is_not_committed_by_who_is_no_member(office, broker, tmp_path, unique):
    stand, expected = laid_out(office, broker, tmp_path, unique, 4000)
    told = tmp_path / "members"
    with Rigged(stand, 0, failpoint="after_poll:100:sleep=30", max_poll=4.0, members=str(told)) as slow:
        slow.until_at("after_poll")
        assert work_left(stand, expected) and slow.metric("detector_events_total") > 0, "it does not meet work under way"
        with Serving(stand, 1) as other:
            wait(lambda: other.metric("detector_partitions") == PARTITIONS, 60, "it is given up, though its heart beats")
            wait(lambda: sum(line["message"] == "partitions assigned" for line in slow.said()) > 1, 60, "it joins again")
            finished(stand, expected)
            slow.until_ready(40)
            assert slow.stop() == other.stop() == 0
    finished(stand, expected)
    members = [json.loads(line) for line in told.read_text().splitlines()]
    assert members and all(generation >= 0 and name for generation, name in members)


def test_A5_stopped_while_it_takes_over_it_ends_with_0_and_the_next_goes_on(office, broker, tmp_path, unique):
    stand, expected = laid_out(office, broker, tmp_path, unique, 1500)
    killed_at("after_commit", 30, stand)
    with Rigged(stand, 0, failpoint="mid_replay:1:sleep=2") as service:
        service.until_at("mid_replay")
        assert service.stop(20.0) == 0
    assert_delivered_up_to_the_committed_offsets(stand, expected)
    finish(stand, expected)


def test_A7_a_wall_clock_that_jumps_changes_nothing(office, broker, tmp_path, unique):
    """By an hour either way, by a day, to 1970 and beyond 2038; with a daylight saving zone set."""
    stand, expected = laid_out(office, broker, tmp_path, unique, 3000)
    jumps = [3600.0, -3600.0, 0.0, 86_400.0, -1.7e9, 5e8]
    zone = {"TZ": "America/New_York"}
    with Rigged(stand, clock=jumps, environment=zone) as service:
        finished(stand, expected)
        assert service.metric("detector_doubts_total") == service.metric("detector_consumer_rebuilds_total") == 0
        assert service.stop() == 0
    written = [line["@timestamp"] for line in service.said()]
    assert written != sorted(written), "its clock did not jump"


def test_A8_a_loop_that_stands_still_is_ended_with_its_stacks_and_livez_was_red_before(office, broker, tmp_path, unique):
    stand, expected = laid_out(office, broker, tmp_path, unique, 1500, service={"watchdog": 10.0})
    with Rigged(stand, failpoint="after_poll:20:hang") as service:
        service.until_at("after_poll")
        assert service.get("/livez")[0] == 200
        wait(lambda: service.get("/livez")[0] == 503, 12, "livez says so, and the process is still there")
        assert service.process.wait(15) == 70
    assert "most recent call first" in service.log.read_text() and "failpoints.py" in service.log.read_text()
    assert_delivered_up_to_the_committed_offsets(stand, expected)
    finish(stand, expected)
