"""Logs are JSON lines, one an event, whatever was logged."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest

from detector import logs


@pytest.fixture(autouse=True)
def logging_as_it_was() -> Iterator[None]:
    root, kafka = logging.getLogger(), logging.getLogger("kafka")
    before = root.level, list(root.handlers), kafka.level
    yield
    logging.captureWarnings(False)
    root.setLevel(before[0])
    root.handlers[:] = before[1]
    kafka.setLevel(before[2])


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


NASTY = ["two\nlines", "\r\nforged", "bell \x07 and \x1b[31mred", "\u2028separator", "\ud800 half a pair", '"quoted"']


@pytest.mark.parametrize("text", NASTY)
def test_nothing_that_is_logged_breaks_out_of_its_line(text: str) -> None:
    stream = io.StringIO()
    logs.configure("info", stream)
    logging.getLogger("detector").info("actor %s", text, extra={"actor": text, text: 1})
    logged = stream.getvalue()
    assert logged.count("\n") == 1 and logged.isascii() and all(c >= " " for c in logged[:-1])
    [line] = lines(stream)
    assert line["message"] == f"actor {text}" and line["actor"] == text and line["level"] == "info"


def test_members_cannot_replace_what_the_line_says_of_itself() -> None:
    stream = io.StringIO()
    logs.configure("info", stream)
    logging.getLogger("detector").warning("true", extra={"time": "never", "level": "debug"})
    assert [(line["message"], line["level"]) for line in lines(stream)] == [("true", "warning")]


def test_an_exception_is_in_the_line() -> None:
    stream = io.StringIO()
    logs.configure("info", stream)
    try:
        raise ValueError("broken\nhere")
    except ValueError:
        logging.getLogger("detector").exception("failed")
    [line] = lines(stream)
    assert "ValueError: broken\nhere" in line["traceback"]


@pytest.mark.parametrize("logger", ["kafka", "kafka.conn", "kafka.producer.sender"])
def test_kafka_never_logs_at_debug(logger: str) -> None:
    stream = io.StringIO()
    logs.configure("debug", stream)
    told = logging.getLogger(logger)
    told.setLevel(logging.DEBUG)
    try:
        told.debug("password")
        told.info("connected")
        logging.getLogger("detector").debug("ours")
    finally:
        told.setLevel(logging.NOTSET)
    assert [line["message"] for line in lines(stream)] == ["connected", "ours"]


def test_the_level_holds_and_the_last_configuration_wins() -> None:
    first, second = io.StringIO(), io.StringIO()
    logs.configure("info", first)
    logs.configure("error", second)
    logging.getLogger("kafka.conn").info("quiet")
    logging.getLogger("detector").warning("quiet")
    logging.getLogger("detector").error("heard")
    assert first.getvalue() == "" and [line["message"] for line in lines(second)] == ["heard"]
