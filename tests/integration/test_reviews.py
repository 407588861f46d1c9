"""Which alerts nobody has looked at: what follows from alerts and verdicts, and that it is followed on a real broker, come what may."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pytest
from harness import wait
from prometheus_client.parser import text_string_to_metric_families

from detector import reviews
from detector.core import heartbeats, verdicts
from detector.core.alerts import ModelRef
from detector.core.daily_blocks import Origin
from detector.core.events import Records
from detector.core.verdicts import Verdict
from detector.kafka.producer import Producer
from detector.kafka.reader import Reader
from detector.kafka.topics import create, design
from detector.metrics import Metrics
from detector.reviews import Follower, Reviews, told_rows
from detector.sandbox.broker import Broker, free_port

ONE, TWO, THREE = "a" * 32, "b" * 32, "c" * 32


def known(*alerts: tuple[str, str, int]) -> Reviews:
    made = Reviews()
    for alert in alerts:
        made.alert(*alert)
    return made


def test_a_verdict_on_one_alert_is_on_all_of_its_incident_that_was_told_by_then() -> None:
    made = known(("a1", ONE, 100), ("b1", TWO, 200), ("a2", ONE, 300))
    assert made.oldest() == 100
    made.verdict("a2", 310)
    assert made.oldest() == 200
    made.alert("a3", ONE, 400)
    made.verdict("b1", 500)
    assert made.oldest() == 400, "what is told of an incident after the verdict is to be looked at"
    made.verdict("a1", 600)
    assert made.oldest() is None


def test_a_verdict_on_an_unknown_alert_says_nothing_and_an_older_one_takes_nothing_back() -> None:
    made = known(("a1", ONE, 100))
    made.verdict("unheard-of", 200)
    assert made.oldest() == 100
    made.verdict("a1", 200)
    made.verdict("a1", 50)
    assert made.oldest() is None


def test_what_is_older_than_it_is_watched_is_forgotten() -> None:
    made = known(("a1", ONE, 100), ("b1", TWO, 200))
    made.verdict("b1", 300)
    made.forget(150)
    assert made.oldest() is None
    made.alert("c1", THREE, 400)
    assert made.oldest() == 400


def test_of_more_alerts_than_are_remembered_the_oldest_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reviews, "MOST", 2)
    assert known(("a1", ONE, 100), ("b1", TWO, 200), ("c1", THREE, 300)).oldest() == 200


def heartbeat() -> bytes:
    return heartbeats.encode(Origin("employee", "events", 0), 0, 0, "0" * 64, 0, 0, ModelRef("employee", "v", "s"), "c")


def test_heartbeats_are_left_out_before_they_are_decoded() -> None:
    values = [heartbeat(), b'{"alert_id":"a1"}', b"", b'{"kind":"heart', heartbeat(), b'{"kind":"employee","alert_id":"a2"}']
    assert told_rows(Records.of(values)) == [1, 2, 3, 5]
    assert told_rows(Records.of([])) == told_rows(Records.of([heartbeat()])) == []


class Office:
    """Topics of alerts and verdicts, and who writes to them."""

    def __init__(self, broker: Broker, unique: Callable[[str], str]) -> None:
        self.settings: dict[str, Any] = {"bootstrap_servers": [broker.bootstrap]}
        self.alerts, self.verdicts = unique("alerts"), unique("verdicts")
        create(self.settings, design({"alerts": self.alerts}, 2))

    def open_verdicts(self) -> None:
        create(self.settings, design({"verdicts": self.verdicts}, 2))

    def write(self, topic: str, *values: bytes | None, key: bytes = b"somebody") -> int:
        """Gives the time at which all of it was there, in ms."""
        with Producer(self.settings) as producer:
            for value in values:
                producer.send(topic, key, value)
            producer.flush(30.0)
        return time.time_ns() // 1_000_000

    def alert(self, alert_id: str, incident: str) -> int:
        return self.write(
            self.alerts, heartbeat(), json.dumps({"alert_id": alert_id, "incident_id": incident, "kind": "employee"}).encode()
        )

    def verdict(self, alert_id: str) -> None:
        key, value = verdicts.encode(Verdict(alert_id, "benign_expected", "somebody", 1_700_000_000_000))
        self.write(self.verdicts, value, key=key)


@contextmanager
def following(office: Office, settings: Mapping[str, Any], figures: Metrics) -> Iterator[None]:
    def opened(topic: str) -> Callable[[int], Reader]:
        def at(since: int) -> Reader:
            made = Reader(settings, topic)
            made.seek(since)
            return made

        return at

    follower = Follower(opened(office.alerts), opened(office.verdicts), 30, figures)
    try:
        yield
    finally:
        follower.close()
    assert not follower._thread.is_alive()


def oldest(figures: Metrics) -> float | None:
    families = text_string_to_metric_families(figures.text().decode())
    samples = [s.value for family in families for s in family.samples if "unreviewed" in s.name]
    return samples[0] * 1000 if samples else None


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Levels of what was logged here; kafka-python has a lot to say."""
    return [record.levelname for record in caplog.records if record.name == "detector.reviews"]


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("FIRST", "EVERY", "LONGEST"):
        monkeypatch.setattr(reviews, name, 0.1)


@pytest.mark.broker
@pytest.mark.usefixtures("quick")
def test_alerts_and_verdicts_are_followed_and_what_is_neither_is_passed_over(broker: Broker, unique: Callable[[str], str]) -> None:
    office, figures = Office(broker, unique), Metrics()
    office.open_verdicts()
    office.write(office.alerts, b"not JSON", None, b"[]", b'{"alert_id":7}', b"{}", b"\xff")
    begun = time.time_ns() // 1_000_000 - 1
    first = office.alert(ONE, ONE)
    with following(office, office.settings, figures):
        wait(lambda: (at := oldest(figures)) is not None and begun <= at <= first, 30, "the first alert is seen")
        second = office.alert(TWO, TWO)
        office.write(office.verdicts, b"not JSON", None, b'{"alert_id":"x"}')
        office.verdict(ONE)
        wait(lambda: (at := oldest(figures)) is not None and first < at <= second, 30, "the second is the oldest")
        office.verdict(TWO)
        wait(lambda: oldest(figures) is None, 30, "there is none left")


@pytest.mark.broker
@pytest.mark.usefixtures("quick")
def test_without_a_topic_of_verdicts_nothing_is_said_until_there_is_one(
    broker: Broker, unique: Callable[[str], str], caplog: pytest.LogCaptureFixture
) -> None:
    office, figures = Office(broker, unique), Metrics()
    office.alert(ONE, ONE)
    caplog.set_level("INFO", "detector.reviews")
    with following(office, office.settings, figures):
        wait(lambda: bool(said(caplog)), 30, "it is told that there is no topic")
        assert oldest(figures) is None
        office.open_verdicts()
        wait(lambda: oldest(figures) is not None, 30, "the alert is seen")
    assert said(caplog) == ["INFO"]


@pytest.mark.broker
@pytest.mark.usefixtures("quick")
def test_a_broker_that_is_away_is_asked_again_and_said_once(
    broker: Broker, unique: Callable[[str], str], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("detector.kafka.clients.connect.__defaults__", (1.0,))
    office, figures = Office(broker, unique), Metrics()
    office.open_verdicts()
    office.alert(ONE, ONE)
    away = {**office.settings, "bootstrap_servers": [f"127.0.0.1:{free_port()}"]}
    with following(office, away, figures):
        wait(lambda: bool(said(caplog)), 30, "it is told that the broker is away")
        away.update(office.settings)
        wait(lambda: oldest(figures) is not None, 30, "the alert is seen")
    assert said(caplog) == ["WARNING"]
