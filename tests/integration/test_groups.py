"""Processes that come and go: however partitions move, each is somebody's, and everything is delivered once.

Rows B1 to B6 of the fault catalogue; the load goes on meanwhile.
"""

from __future__ import annotations

import random
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import count

import pytest
from faults import NOBODY, SESSION, SMALL, TRANSACTION, Rigged, finish, finished, laid_out, load
from harness import PARTITIONS, Stand, wait
from kafka import KafkaConsumer
from kafka.coordinator.assignors.cooperative_sticky import CooperativeStickyAssignor
from oracle import assert_snapshots, committed, truth

pytestmark = pytest.mark.broker
CLEAN = 5.0
"""Seconds for which a partition may be nobody's when processes come and go in order."""


class Crowd:
    """Services that share the work, numbered in the order in which they came."""

    def __init__(self, stand: Stand, settings: Sequence[str] = ()) -> None:
        self.stand, self.settings = stand, settings
        self.services: dict[int, Rigged] = {}
        self._next = count()

    def join(self, ordinal: int | None = None) -> Rigged:
        number = next(self._next) if ordinal is None else ordinal
        self.services[number] = Rigged(self.stand, number, settings=self.settings)
        return self.services[number]

    def leave(self, number: int) -> None:
        assert self.services.pop(number).stop() == 0

    def kill(self, number: int) -> None:
        self.services.pop(number).kill()

    def shares(self) -> list[int]:
        return sorted(int(service.metric("detector_partitions")) for service in self.services.values())

    def until_settled(self, seconds: float = 120.0) -> None:
        """Each partition is one's and nobody has none, and every one of them is live."""

        def settled() -> bool:
            shares = self.shares()
            return sum(shares) == PARTITIONS and shares[0] > 0 and all(s.get("/readyz")[0] == 200 for s in self.services.values())

        wait(settled, seconds, "the partitions are shared out")

    def close(self) -> None:
        for service in self.services.values():
            service.kill()


@contextmanager
def crowd(stand: Stand, settings: Sequence[str] = ()) -> Iterator[Crowd]:
    made = Crowd(stand, settings)
    try:
        yield made
    finally:
        made.close()


@pytest.mark.parametrize("leaving", ["in order", "killed"])
def test_B1_one_two_three_two_one(leaving, office, broker, tmp_path, unique):
    stand = office.stand(broker, tmp_path, unique, **SMALL)
    with crowd(stand, NOBODY) as services, load(stand, office.live, 250):
        for _ in range(3):
            services.join()
            services.until_settled()
        for number in (0, 1):
            if leaving == "in order":
                services.leave(number)
            else:
                services.kill(number)
            gone = time.monotonic()
            services.until_settled(SESSION + TRANSACTION + 5)
            if leaving == "in order":
                assert time.monotonic() - gone < CLEAN
    finish(stand, truth(stand, office.starts))


@pytest.mark.parametrize(
    ("named", "most"),
    [(True, 0), (False, 6)],
    ids=["with instance ids nobody else notices", "without, each leaves and joins"],
)
def test_B2_restarted_one_after_the_other(named, most, office, broker, tmp_path, unique):
    """`most`: changes that the two others see while one is restarted."""
    stand = office.stand(broker, tmp_path, unique, **SMALL)
    with crowd(stand, ("group.session_timeout=60",) if named else NOBODY) as services:
        for _ in range(3):
            services.join()
        services.until_settled()
        with load(stand, office.live, 250):
            for number in range(3):
                others = [service for at, service in services.services.items() if at != number]
                before = sum(service.metric("detector_rebalances_total") for service in others)
                services.leave(number)
                services.join(number)
                services.until_settled()
                assert sum(service.metric("detector_rebalances_total") for service in others) - before <= most
        finished(stand, truth(stand, office.starts))
        for number in range(3):
            services.leave(number)


@pytest.mark.parametrize("what", ["revoked", "assigned", "lost"])
def test_B3_partitions_go_and_come_while_others_are_being_restored(what, office, broker, tmp_path, unique):
    """Who restores is held up in the middle of it; meanwhile somebody joins, leaves, or takes everything over."""
    stand, expected = laid_out(office, broker, tmp_path, unique, 3000, service={"snapshot_interval": 600.0})
    with Rigged(stand) as first:
        first.until_at_work(1000)
        first.kill()  # no snapshot: who takes over has much to replay
    slow = Rigged(stand, 1, failpoint=",".join(f"mid_replay:{n}:sleep=1.5" for n in range(1, 9)))
    other = Rigged(stand, 2) if what == "assigned" else None
    try:
        slow.until_at("mid_replay")
        if other is not None:
            other.kill()
        elif what == "lost":
            slow.process.send_signal(signal.SIGSTOP)
        other = Rigged(stand, 3)
        if what == "lost":
            wait(lambda: other.metric("detector_partitions") == PARTITIONS, 120, "all is the other's")
            slow.process.send_signal(signal.SIGCONT)
        finished(stand, expected, 90)
        assert what == "lost" or held_up_after(slow, what), "nothing happened while it restored"
        slow.until_ready()
        assert slow.stop() == other.stop() == 0
    finally:
        for service in filter(None, (slow, other)):
            service.kill()
    finish(stand, expected)


def held_up_after(service: Rigged, what: str) -> bool:
    """Whether it was still restoring when partitions were last revoked, or assigned."""
    said = [line["message"] for line in service.said()]
    change = max((at for at, message in enumerate(said) if message == f"partitions {what}"), default=len(said))
    return "failpoint" in said[change:]


@pytest.mark.parametrize(
    ("own", "named"),
    [("group.instance_id=another", "group.ordinal"), ("group.ordinal=7", "group.instance_id")],
    ids=["one transactional id", "one instance id"],
)
def test_B4_of_two_with_one_identity_one_survives(own, named, office, broker, tmp_path, unique):
    stand = office.stand(broker, tmp_path, unique, **SMALL)
    logs = [tmp_path / "one.log", tmp_path / "two.log"]
    with load(stand, office.live, 250), Rigged(stand, stderr=logs[0]) as one:
        one.until_at_work()
        with Rigged(stand, stderr=logs[1], settings=[own]) as two:
            both = (one, two)
            wait(lambda: any(s.process.poll() is not None for s in both), 120, "one of them gives up")
            (ended,) = [i for i, s in enumerate(both) if s.process.poll() is not None]
            assert both[ended].process.returncode == 6
            words = [line for line in logs[ended].read_text().splitlines() if not line.startswith("{")]
            assert named in "\n".join(words)
            both[1 - ended].until_ready()
            assert both[1 - ended].stop() == 0
    finish(stand, truth(stand, office.starts))


@pytest.mark.parametrize(("times", "seconds"), [(5, 1.5), pytest.param(20, 3.0, marks=pytest.mark.slow)])
def test_B5_a_storm_of_members_that_come_and_go(times, seconds, office, broker, tmp_path, unique):
    """They take partitions, do nothing with them, and leave, or are forgotten; two services live through it."""
    stand = office.stand(broker, tmp_path, unique, **SMALL)
    with crowd(stand) as services, load(stand, office.live, 250):
        for _ in range(2):
            services.join()
        services.until_settled()
        dice = random.Random(5)
        for _ in range(times):
            passer_by(stand, dice.uniform(0.2, seconds), leaves=dice.random() < 0.7)
        services.until_settled(SESSION + 30)
        finished_by = [service.process.pid for service in services.services.values() if service.process.poll() is None]
        assert len(finished_by) == 2
    finish(stand, truth(stand, office.starts))


def passer_by(stand: Stand, seconds: float, leaves: bool) -> None:
    member = KafkaConsumer(
        stand.events, **stand.settings, group_id=stand.group, enable_auto_commit=False, auto_offset_reset="earliest",
        partition_assignment_strategy=[CooperativeStickyAssignor], session_timeout_ms=int(SESSION * 1000), heartbeat_interval_ms=1000,
    )  # fmt: skip
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        member.poll(timeout_ms=100)
    if leaves:
        member.close(autocommit=False)
    else:
        threading.Thread(target=member.close, kwargs={"autocommit": False}, daemon=True).start()


@pytest.mark.parametrize("progress", [False, True], ids=["nothing happened meanwhile", "the other went on"])
def test_B6_a_partition_that_comes_back_is_gone_on_with_from_memory_only_if_nothing_happened(progress, office, broker, tmp_path, unique):
    stand = office.stand(broker, tmp_path, unique, **SMALL)
    stand.feed(office.live[:1500])
    with Rigged(stand, 0) as first:
        first.until_at_work(1500)
        with Rigged(stand, 1) as other:
            wait(lambda: other.metric("detector_partitions") == PARTITIONS // 2 and other.get("/readyz")[0] == 200, 120, "they share")
            if progress:
                stand.feed(office.live[1500:3000])
                services = (first, other)
                wait(lambda: sum(s.metric("detector_events_total") for s in services) >= 3000, 120, "all is scored")
            assert other.stop() == 0
        wait(lambda: first.takeovers("memory") >= PARTITIONS // 2, 120, "they are back, and their state was still there")
        assert first.takeovers("snapshot") == first.takeovers("input") == 0
        stand.feed(office.live[3000:4000])
        expected = truth(stand, office.starts)
        finished(stand, expected)
        assert all(committed(stand).values())
        assert first.stop() == 0
    assert_snapshots(stand, expected)
