"""Logs are one line an event, with names that stay; whatever was logged, and however often."""

from __future__ import annotations

import io
import json
import logging
import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from detector import logs
from detector.errors import ConfigError, ModelError


@pytest.fixture(autouse=True)
def logging_as_it_was() -> Iterator[None]:
    root, kafka = logging.getLogger(), logging.getLogger("kafka")
    before = root.level, list(root.handlers), kafka.level
    yield
    logging.captureWarnings(False)
    root.setLevel(before[0])
    root.handlers[:] = before[1]
    kafka.setLevel(before[2])


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def told(level: str = "info", **settings: Any) -> io.StringIO:
    stream = io.StringIO()
    logs.configure(level, stream, **settings)
    return stream


def lines(text: io.StringIO | Path) -> list[dict[str, Any]]:
    said = text.getvalue() if isinstance(text, io.StringIO) else text.read_text()
    return [json.loads(line) for line in said.splitlines()]


def flat(line: dict[str, Any]) -> dict[str, Any]:
    out = {}
    for key, value in line.items():
        out |= {f"{key}.{name}": one for name, one in value.items()} if isinstance(value, dict) else {key: value}
    return out


log = logging.getLogger("detector.x")
NASTY = [
    "two\nlines",
    "\r\nforged",
    "bell \x07 and \x1b[31mred",
    "\u2028separator",
    "\ud800 half a pair",
    '"quoted"',
    "\u202eright to left",
]


@pytest.mark.parametrize("form", ["json", "text"])
@pytest.mark.parametrize("text", NASTY)
def test_nothing_that_is_logged_breaks_out_of_its_line(text: str, form: Any) -> None:
    stream = told(form=form)
    log.info("actor %s", text, extra={"error": text, "detail": text, text: text})
    logged = stream.getvalue()
    assert logged.count("\n") == 1 and len(logged.splitlines()) == 1 and logged[:-1].isprintable()
    if form == "json":
        [line] = lines(stream)
        assert line["message"] == f"actor {text}" and line["error"]["message"] == text and line["log.level"] == "info"


def test_a_stack_cannot_forge_a_line_of_text_either() -> None:
    stream = told(form="text")
    log.error("failed", extra={"stack": "a\n2026-01-01 00:00:00.000Z INFO    x: all is well\x1b[2J\n"})
    _, *stack = stream.getvalue().splitlines()
    assert len(stack) == 2 and all(line.startswith("    ") and line.isprintable() for line in stack)


def test_a_line_has_the_names_that_are_documented_and_no_others() -> None:
    stream = told()
    try:
        raise ModelError("the champion is missing")
    except ModelError:
        log.exception("failed", extra={name: 1 for name in logs.FIELDS if name not in ("error", "exception", "stack")})
    keys = flat(lines(stream)[0]).keys()
    assert keys == logs.ALWAYS.keys() | {key for key, _ in logs.FIELDS.values()}


def test_members_that_are_not_in_the_list_are_not_written_and_none_replaces_what_the_line_says_of_itself() -> None:
    stream = told()
    log.warning("true", extra={"actor": "e1042", "level": "debug", "@timestamp": "never", "log.level": "debug", "event": {"dataset": "x"}})
    [line] = lines(stream)
    assert (line["message"], line["log.level"], line["event"]["dataset"]) == ("true", "warning", "detector.log")
    assert "e1042" not in stream.getvalue() and "never" not in stream.getvalue()


def test_times_are_UTC_whatever_the_time_zone(monkeypatch: pytest.MonkeyPatch) -> None:
    import time

    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    try:
        for form, when in (("json", "2026-03-01T12:00:00.250Z"), ("text", "2026-03-01 12:00:00.250Z")):
            stream = told(form=form)  # type: ignore[arg-type]
            logging.getLogger().handle(
                logging.makeLogRecord(
                    {"msg": "x", "levelno": 20, "levelname": "INFO", "created": 1772366400.25, "msecs": 250.0, "name": "x"}
                )
            )
            assert when in stream.getvalue()
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize("form", ["json", "text"])
def test_an_exception_is_told_by_its_type_and_place_and_not_by_its_text(form: Any) -> None:
    stream = told(form=form)
    for wrong in (lambda: int("e1042"), lambda: {}["e1042"]):
        try:
            wrong()
        except (ValueError, KeyError):
            log.exception("failed")
    said = stream.getvalue()
    assert "ValueError" in said and "KeyError" in said and "test_logs.py" in said
    assert "invalid literal" not in said


def test_an_error_that_a_person_mends_is_told_in_full() -> None:
    stream = told()
    for error in (ModelError("version 7 is missing"), FileNotFoundError(2, "No such file", "/etc/x")):
        try:
            raise error
        except type(error):
            log.exception("failed")
    assert [line["error"]["message"] for line in lines(stream)] == ["version 7 is missing", "[Errno 2] No such file: '/etc/x'"]


def test_values_are_bounded() -> None:
    stream = told()
    log.info("x" * 10**6, extra={"error": "y" * 10**6, "partitions": list(range(10**5))})
    assert len(stream.getvalue()) < 100_000


@pytest.mark.parametrize(("stream", "form", "json_lines"), [
    (Terminal(), "auto", False), (io.StringIO(), "auto", True), (Terminal(), "json", True), (io.StringIO(), "text", False),
])  # fmt: skip
def test_a_person_at_a_terminal_gets_text(stream: io.StringIO, form: Any, json_lines: bool) -> None:
    logs.configure("info", stream, form)
    log.info("partition taken over", extra={"partition": 3, "by": "snapshot"})
    said = stream.getvalue()
    assert said.startswith("{") == json_lines
    assert json_lines or re.fullmatch(
        r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}Z INFO    x: partition taken over  partition=3  by=snapshot\n", said
    )


def test_the_audit_stream_is_complete_whatever_the_level_and_the_rate_and_has_a_file_of_its_own(tmp_path: Path) -> None:
    stream = told("error", audit_file=str(tmp_path / "audit.log"))
    for number in range(3 * logs.MOST):
        log.info("model changed", extra={"partition": number, "audit": True})
        log.info("chat")
    audit = lines(tmp_path / "audit.log")
    assert [line["kafka"]["partition"] for line in audit] == list(range(3 * logs.MOST))
    assert {line["event"]["dataset"] for line in audit} == {"detector.audit"} and lines(stream) == audit


def test_an_audit_file_that_is_moved_away_is_made_anew(tmp_path: Path) -> None:
    told(audit_file=str(tmp_path / "audit.log"))
    log.info("one", extra={"audit": True})
    (tmp_path / "audit.log").rename(tmp_path / "audit.log.1")
    log.info("two", extra={"audit": True})
    assert [lines(tmp_path / name)[0]["message"] for name in ("audit.log.1", "audit.log")] == ["one", "two"]


def test_an_audit_file_that_cannot_be_written_is_an_error_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"logs\.audit_file.*cannot be written"):
        told(audit_file=str(tmp_path / "none" / "audit.log"))


def test_of_lines_with_one_message_only_some_are_written_and_the_rest_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    now, left_out = [0.0], []
    monkeypatch.setattr(logs.time, "monotonic", lambda: now[0])
    stream = told(left_out=left_out.append)
    for number in range(logs.MOST + 7):
        log.warning("transaction in doubt", extra={"partition": number})
        logging.getLogger("kafka.conn").warning("%s is away", number)
    log.warning("another")
    now[0] = logs.PERIOD
    log.warning("transaction in doubt")
    said = [flat(line) for line in lines(stream)]
    assert sum(line["message"] == "transaction in doubt" for line in said) == logs.MOST + 1
    told_of = {line["detector.reason"]: line["detector.left_out"] for line in said if line["message"] == "lines were left out"}
    assert told_of == {"transaction in doubt": 7, "%s is away": 7}
    assert sorted(left_out) == ["detector"] * 7 + ["kafka"] * 7


def test_what_was_left_out_is_told_without_another_line_and_at_the_end() -> None:
    stream = io.StringIO()
    made = logs.configure("info", stream)
    for _ in range(logs.MOST + 3):
        log.info("again")
    made.tell()
    assert "left out" not in stream.getvalue(), "its time is not over"
    made.close()
    assert flat(lines(stream)[-1])["detector.left_out"] == 3


def test_messages_of_ever_other_words_take_no_more_memory_and_are_limited_together() -> None:
    stream = told()
    for number in range(logs.REASONS + 200):
        logging.getLogger("other").warning(f"words {number}")
    assert len(lines(stream)) == logs.REASONS + logs.MOST


@pytest.mark.parametrize("logger", ["kafka", "kafka.conn", "kafka.producer.sender"])
def test_kafka_never_logs_at_debug(logger: str) -> None:
    stream = told("debug")
    told_of = logging.getLogger(logger)
    told_of.setLevel(logging.DEBUG)
    try:
        told_of.debug("password")
        told_of.info("connected")
        logging.getLogger("detector").debug("ours")
    finally:
        told_of.setLevel(logging.NOTSET)
    assert [line["message"] for line in lines(stream)] == ["connected", "ours"]


def test_the_level_holds_and_the_last_configuration_wins() -> None:
    first, second = told("info"), told("error")
    logging.getLogger("kafka.conn").info("quiet")
    logging.getLogger("detector").warning("quiet")
    logging.getLogger("detector").error("heard")
    assert first.getvalue() == "" and [line["message"] for line in lines(second)] == ["heard"]


def test_a_warning_of_a_library_is_a_line_like_any_other() -> None:
    stream = told()
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(True)
        warnings.warn("old\nand tired", stacklevel=1)
    assert len(lines(stream)) == 1


def test_a_stream_that_is_closed_is_no_reason_to_fail(capsys: pytest.CaptureFixture[str]) -> None:
    stream = told()
    stream.close()
    log.error("nobody hears")
    assert capsys.readouterr() == ("", "")
