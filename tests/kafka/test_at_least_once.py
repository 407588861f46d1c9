"""Delivery without transactions: all arrives, in order; after a fault some of it twice, recognisable by what it says of itself."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from guarded import World, thawed

from detector.errors import BrokerError
from detector.kafka.at_least_once import AtLeastOnce
from detector.kafka.security import client_settings
from detector.kafka.transactions import Doubt, Message
from detector.sandbox.broker import Broker

pytestmark = pytest.mark.broker


@pytest.fixture
def world(broker: Broker, unique: Callable[[str], str]) -> Iterator[World]:
    made = World(client_settings({"bootstrap_servers": broker.bootstrap}), unique)
    yield made
    made.close()


@pytest.fixture(params=[True, False], ids=["idempotent", "not idempotent"])
def sink(request: pytest.FixtureRequest, world: World) -> Iterator[AtLeastOnce]:
    made = AtLeastOnce(world.settings, world.member.commit, idempotent=request.param)
    made.settle(20)
    yield made
    made.close()


def alert(number: int) -> bytes:
    return json.dumps({"alert_id": f"id of {number}"}).encode()


def deliver(world: World, sink: AtLeastOnce, number: int) -> list[int]:
    return sink.deliver([Message(world.output, b"k", alert(number))], {(world.input, 0): (number, f"at {number}")}, world.membership)


def test_messages_arrive_in_order_and_then_the_offsets(world: World, sink: AtLeastOnce) -> None:
    assert [deliver(world, sink, number) for number in range(1, 6)] == [[0], [1], [2], [3], [4]]
    assert world.seen() == [alert(number) for number in range(1, 6)]
    assert world.member.committed([0]) == {0: (5, "at 5")}


def test_a_message_may_name_its_partition(world: World, sink: AtLeastOnce) -> None:
    messages = [Message(world.input, b"k", b"a", 1), Message(world.input, b"k", b"b", 0), Message(world.input, None, b"c", 1)]
    places = sink.deliver(messages, {}, world.membership)
    assert places == [0, 0, 1]


def test_who_is_no_member_any_more_commits_nothing(world: World, sink: AtLeastOnce) -> None:
    good = world.membership
    with pytest.raises(Doubt, match="not a stable member"):
        sink.deliver([Message(world.output, b"k", b"x")], {(world.input, 0): (1, "")}, None)
    sink.settle(10)
    with pytest.raises(Doubt, match="not a stable member") as caught:
        sink.deliver([Message(world.output, b"k", b"x")], {(world.input, 0): (1, "")}, good._replace(generation=good.generation - 1))
    assert caught.value.phase == "offsets" and isinstance(caught.value.cause, BrokerError)
    assert world.committed() is None
    with pytest.raises(Doubt, match="settle"):
        deliver(world, sink, 2)
    sink.settle(10)
    deliver(world, sink, 3)
    assert world.committed() == 3


def test_a_frozen_broker_is_a_doubt_when_time_is_up_and_what_is_sent_again_can_be_recognised(
    tmp_path, unique: Callable[[str], str]
) -> None:
    with Broker(tmp_path / "own") as own:
        world = World(client_settings({"bootstrap_servers": own.bootstrap}), unique)
        sink = AtLeastOnce(world.settings, world.member.commit, timeout=1.5)
        sink.settle(20)
        deliver(world, sink, 1)
        membership = world.membership
        began = time.monotonic()
        with thawed(own), pytest.raises(Doubt):
            own.pause()
            sink.deliver([Message(world.output, b"k", alert(2))], {(world.input, 0): (2, "")}, membership)
        assert time.monotonic() - began < 4
        sink.settle(20)
        assert world.committed() == 1
        deliver(world, sink, 2)
        ids = [json.loads(value or b"")["alert_id"] for value in world.seen()]
        assert list(dict.fromkeys(ids)) == ["id of 1", "id of 2"] and world.committed() == 2
        sink.close()
        world.close()


KILLED = """
import sys, time
from detector import failpoints
from detector.kafka.at_least_once import AtLeastOnce
from detector.kafka.consumer import Consumer
from detector.kafka.security import client_settings
from detector.kafka.transactions import Message
bootstrap, topic, output, group = sys.argv[1:]
settings = client_settings({"bootstrap_servers": bootstrap})
member = Consumer(topic, group, settings, session_timeout=6)
sink = AtLeastOnce(settings, member.commit)
sink.settle(20)
failpoints.arm("after_flush:3:kill")
for number in range(1, 9):
    member.poll(0.05, 1)
    while member.membership() is None:
        member.poll(0.05, 1)
    value = b'{"alert_id": "id of %d"}' % number
    sink.deliver([Message(output, b"k", value)], {(topic, 0): (number, "")}, member.membership())
"""


def test_killed_between_messages_and_offsets_its_successor_repeats_them_under_the_same_ids(world: World) -> None:
    world.member.close(5)  # the group is the other's
    command = [sys.executable, "-c", KILLED, world.settings["bootstrap_servers"][0], world.input, world.output, world.group]
    died = subprocess.run(command, timeout=60, env={**os.environ, "PYTHONPATH": str(Path.cwd())}, check=False, capture_output=True)
    assert died.returncode == -signal.SIGKILL, died.stderr
    world.rejoin()
    assert world.membership and world.committed() == 2, "the third was sent, and its offset was not committed"
    sink = AtLeastOnce(world.settings, world.member.commit)
    sink.settle(20)
    for number in range(3, 6):
        deliver(world, sink, number)
    sink.close()
    ids = [json.loads(value or b"")["alert_id"] for value in world.seen()]
    assert ids == ["id of 1", "id of 2", "id of 3", "id of 3", "id of 4", "id of 5"]
