"""`detector dead-letters`: what was refused is listed, shown, and sent again, on a real Kafka."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from detector.core.dead_letters import MOST, dead_letter_record
from detector.core.events import DeadLetter
from detector.kafka import topics
from detector.kafka.producer import Producer
from detector.kafka.reader import Reader
from detector.sandbox.broker import Broker

Run = Callable[..., subprocess.CompletedProcess[bytes]]
pytestmark = pytest.mark.broker

GOOD = b'{"time":1772442847000,"actor":"e1","action":"read","resource":"r"}'
HEADERS, NULL_IN_THEM = b"\x04\x08from\x06hr\x00\x04to\x00", b"\x04\x08from\x06hr\x00\x04to\x01"


@pytest.fixture
def events(unique: Callable[[str], str]) -> str:
    return unique("events")


@pytest.fixture
def detector(broker: Broker, unique: Callable[[str], str], events: str, tmp_path: Path) -> Run:
    """The command, with dead letters of seven records of partition 3 in the topic."""
    dead, settings = unique("dead-letters"), {"bootstrap_servers": [broker.bootstrap]}
    environ = os.environ | {
        "DETECTOR__TOPICS__EVENTS": events, "DETECTOR__TOPICS__DEAD_LETTERS": dead, "DETECTOR__KAFKA__BOOTSTRAP_SERVERS": broker.bootstrap,
    }  # fmt: skip
    wanted = topics.design({"access-events": events, "dead-letters": dead}, 2)
    topics.create(settings, wanted)
    time = 1_772_442_847_000
    letters = [
        DeadLetter(events, 3, 100, time, "not-json", "", "no JSON text", b"e1", b"\x1b[2J{oops\xe2\x80\xae", None),
        DeadLetter(events, 3, 101, time, "processing-error", "", "ZeroDivisionError at detector/core/x.py:7", b"e1", GOOD, HEADERS),
        DeadLetter(events, 3, 106, time, "processing-error", "", "ZeroDivisionError at detector/core/x.py:7", b"e1", GOOD, NULL_IN_THEM),
        DeadLetter(events, 3, 102, time, "unknown-value", "/action", "`action` is unknown", b"e1", GOOD, None),
        DeadLetter(events, 1, 103, time, "too-large", "", "too large", b"e1", b"x" * (MOST + 9), None),
        DeadLetter(events, 3, 104, time, "no-key", "", "no key", None, GOOD, None),
        DeadLetter("elsewhere", 3, 105, time, "unknown-value", "/action", "`action` is unknown", b"e1", GOOD, None),
    ]
    with Producer(settings) as producer:
        for letter in letters:
            producer.send(dead, *dead_letter_record(letter))
        producer.send(dead, b"k", b"no dead letter")
        producer.flush(30)

    def run(*words: str, stdin: int = subprocess.DEVNULL) -> subprocess.CompletedProcess[bytes]:
        command = (sys.executable, "-m", "detector.cli", "dead-letters", *words)
        return subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, timeout=120, stdin=stdin)

    return run


def sent(broker: Broker, topic: str) -> list[tuple[bytes | None, bytes | None, bytes | None]]:
    with Reader({"bootstrap_servers": [broker.bootstrap]}, topic) as reader:
        return [
            (records.part(records.key, row), records.part(records.value, row), records.part(records.headers, row))
            for records in reader.read()
            for row in range(len(records))
        ]


def test_dead_letters_are_listed_and_counted(detector: Run, events: str) -> None:
    listed = detector("list")
    assert listed.returncode == 0, listed.stderr
    text = listed.stdout.decode()
    for place in (f"{events}-3@100", f"{events}-1@103", "elsewhere-3@105"):
        assert place in text
    assert "        2  unknown-value" in text and b"1 records of" in listed.stderr
    one = detector("list", "--reason", "unknown-value", "--partition", "3", "--json").stdout.splitlines()
    assert [json.loads(line)["offset"] for line in one if json.loads(line)["topic"] == events] == [102]
    assert detector("list", "--since", "2100-01-01T00:00:00Z").stderr.endswith(b"there are none\n")
    assert detector("list", "--reason", "bad-weather").returncode == 3


def test_a_record_is_shown_without_moving_the_cursor_and_raw_as_it_was(detector: Run, events: str) -> None:
    shown = detector("show", f"{events}-3", "100")
    assert shown.returncode == 0 and b"\x1b" not in shown.stdout and "\u202e" not in shown.stdout.decode()
    assert rb"\x1b[2J{oops\u202e" in shown.stdout and b"not-json" in shown.stdout
    assert detector("show", f"{events}-3", "100", "--raw").stdout == b"\x1b[2J{oops\xe2\x80\xae"
    headers = detector("show", f"{events}-3", "106").stdout.decode()
    assert "header     from: hr\\x00" in headers and "header     to: (null)" in headers
    assert detector("show", f"{events}-3", "999").returncode == 3 and detector("show", "nonsense", "1").returncode == 3


def test_what_would_be_taken_now_is_sent_again_as_it_was(detector: Run, broker: Broker, events: str) -> None:
    dry = detector("replay", "--dry-run")
    assert dry.returncode == 0 and sent(broker, events) == []
    assert f"{events}-3@101  processing-error: would be sent" in dry.stdout.decode()
    assert dry.stderr.endswith(b"2 would be sent\n")
    done = detector("replay")
    assert done.returncode == 0 and done.stdout.startswith(b"2 records sent"), done.stderr
    said = done.stderr.decode()
    assert "for not-json" in said and "for no-key" in said and "only their first 2 MiB" in said and "its value is null" in said
    assert sorted(sent(broker, events), key=str) == sorted([(b"e1", GOOD, HEADERS), (b"e1", GOOD, None)], key=str)


def test_some_are_chosen_and_force_sends_what_would_be_refused_again(detector: Run, broker: Broker, events: str) -> None:
    assert detector("replay", "--reason", "no-key").stderr.endswith(b"0 are sent\n")
    assert detector("replay", "--offset", "104", "--force", "--yes").stdout.startswith(b"1 records sent")
    assert sent(broker, events) == [(None, GOOD, None)]
    assert detector("replay", "--partition", "1", "--force").stderr.endswith(b"0 are sent\n")  # cut off: never


@pytest.mark.parametrize(("answer", "count"), [(b"n\n", 0), (b"y\n", 1)])
def test_on_a_terminal_it_asks_before_it_sends(detector: Run, broker: Broker, events: str, answer: bytes, count: int) -> None:
    ours, theirs = pty.openpty()
    try:
        os.write(ours, answer)
        done = detector("replay", "--reason", "unknown-value", stdin=theirs)
    finally:
        os.close(ours)
        os.close(theirs)
    assert done.returncode == 0 and f"send 1 records to '{events}'?" in done.stderr.decode()
    assert len(sent(broker, events)) == count
