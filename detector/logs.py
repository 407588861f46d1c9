"""Logs: one line an event, on stderr, with the names of the Elastic Common Schema; as plain text where a person watches.

Rules:
- What was logged cannot break out of its line: JSON escapes every control character, and so does the text form.
- What varies is in members, of which FIELDS is the closed list; messages are constant, so that they can be searched and counted.
- Of lines with the same message, MOST go out in PERIOD seconds. The others are counted, and a line says how many were left out.
- Lines with `extra={"audit": True}` are the audit stream: never left out, whatever the level, and written to a file of their own as well
  where one is named.
- An exception is told by its type and the places in the code, not by its text, which may hold what an event said.
"""

from __future__ import annotations

import logging
import logging.handlers
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any, Literal, TextIO

from ecs_logging import StdlibFormatter

from detector import __version__
from detector.errors import ConfigError, DetectorError

LOUDEST_OF_KAFKA = logging.INFO
"""kafka-python writes passwords and payloads at DEBUG, so it never gets there, whatever the user asks for."""
MOST, PERIOD = 20, 60.0
"""Lines of one message, and seconds."""
REASONS = 1000
"""Messages that are counted at once; libraries may put anything into theirs."""
LONGEST = 8192
"""Characters of a value."""

Form = Literal["auto", "json", "text"]

ALWAYS: Mapping[str, str] = {
    "@timestamp": "when, RFC 3339, UTC",
    "log.level": "debug, info, warning, error or critical",
    "message": "what happened: the same words every time",
    "ecs.version": "version of the Elastic Common Schema",
    "event.dataset": "`detector.audit` for what an auditor must know, `detector.log` for everything else",
    "log.logger": "which part of the program says so: `detector.…`, or a library",
    "process.pid": "number of the process",
    "service.name": "`detector`",
    "service.version": "version of the program",
}
"""Key -> meaning, of what stands in every line."""
FIELDS: Mapping[str, tuple[str, str]] = {
    "error": ("error.message", "what is wrong, and what to do"),
    "exception": ("error.type", "name of the exception"),
    "stack": ("error.stack_trace", "where in the code, innermost last; without the exception's own text"),
    "partition": ("kafka.partition", "of the topic of events"),
    "partitions": ("kafka.partitions", "several of them"),
    "offset": ("kafka.offset", "of an event, or from which on something holds"),
    "from": ("kafka.from_offset", "the first offset of a stretch"),
    "to": ("kafka.to_offset", "the offset behind a stretch"),
    "view": ("detector.view", "`employee`"),
    "model": ("detector.model", "version of the model"),
    "context": ("detector.context", "version of the context: the first 16 digits of its hash, or a keyed hash of it where there is a key"),
    "before": ("detector.before", "the version before"),
    "config": ("detector.config", "SHA-256 of all settings, whatever they were taken from"),
    "files": ("detector.files", "names of files of the context"),
    "role": ("detector.role", "`champion`, or `shadow`: scores beside the service, tells nobody"),
    "delivery": ("detector.delivery", "`exactly_once` or `at_least_once`"),
    "rebuild": ("detector.rebuild", "whether state is built anew from the events"),
    "metrics": ("detector.metrics", "address of the metrics"),
    "by": ("detector.restored_from", "what a partition's state came from: nothing, input, snapshot or memory"),
    "detail": ("detector.detail", "a sentence"),
    "psi": ("detector.psi", "signals that have drifted, each with its population stability index"),
    "seconds": ("detector.seconds", "how long"),
    "pause": ("detector.pause", "seconds until the next attempt"),
    "left_out": ("detector.left_out", "lines that were left out"),
    "reason": ("detector.reason", "the message of the lines that were left out"),
    "place": ("detector.failpoint", "a place at which a test makes the service fail"),
}
"""Member of `extra={...}` -> key, meaning. Members that are not here are not written."""
AUDIT, PLAIN = "detector.audit", "detector.log"
_ERRORS_THAT_MAY_SPEAK = (DetectorError, OSError)
"""Their text is about files, settings and brokers."""
_OWN = frozenset(vars(logging.makeLogRecord({})))


def is_audit(record: logging.LogRecord) -> bool:
    return bool(getattr(record, "audit", False))


def _members(record: logging.LogRecord) -> Iterator[tuple[str, Any]]:
    """(name, value) of FIELDS, in that order."""
    error = record.exc_info[1] if record.exc_info else None
    if isinstance(error, _ERRORS_THAT_MAY_SPEAK):
        yield "error", _bounded(str(error))
    for name in FIELDS:
        value = getattr(record, name, None)
        if value is not None:
            yield name, _bounded(value)


def _bounded(value: Any) -> Any:
    """A number, or a string, or a list of them."""
    if isinstance(value, bool | int | float):
        return value
    if isinstance(value, list | tuple | set | frozenset):
        return [_bounded(one) for one in value][:LONGEST]
    text = str(value)
    return text if len(text) <= LONGEST else text[:LONGEST] + "…"


class JsonLines(StdlibFormatter):
    """A JSON object a line, nested by the dots of its keys; `log.level` and `ecs.version` are not, as the schema's log form has it."""

    def __init__(self) -> None:
        unwanted = ("log.original", "log.origin", "process.name", "process.thread", "error.message")
        super().__init__(exclude_fields=unwanted, extra={"service.name": "detector", "service.version": __version__})

    def format_to_ecs(self, record: logging.LogRecord) -> dict[str, Any]:
        said = {name: value for name, value in vars(record).items() if name in _OWN}
        line = super().format_to_ecs(logging.makeLogRecord(said))
        line["message"] = _bounded(line["message"])
        line["event"] = {"dataset": AUDIT if is_audit(record) else PLAIN}
        for name, value in _members(record):
            group, _, key = FIELDS[name][0].partition(".")
            line.setdefault(group, {})[key] = value
        return line


class Text(logging.Formatter):
    """For a person: time, level, part of the program, message, then `key=value`; the stack below, if there is one."""

    def format(self, record: logging.LogRecord) -> str:
        when = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(record.created))
        said = dict(_members(record))
        stack = said.pop("stack", "")
        if record.exc_info and record.exc_info[0] is not None:
            said["exception"] = record.exc_info[0].__name__
            stack = "".join(traceback.format_tb(record.exc_info[2]))
        head = f"{when}.{int(record.msecs):03d}Z {record.levelname:<7} {'[audit] ' if is_audit(record) else ''}"
        members = "".join(f"  {name}={_printable(value)}" for name, value in said.items())
        line = f"{head}{_printable(record.name.removeprefix('detector.'))}: {_printable(_bounded(record.getMessage()))}{members}"
        return "\n".join([line, *(f"    {_printable(part)}" for part in str(stack).splitlines())])


def _printable(value: Any) -> str:
    """Nothing that moves a cursor, paints, or ends the line."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in str(value))


class Limiter:
    """Of lines of one reason, MOST in PERIOD seconds pass; bounded in memory."""

    def __init__(self) -> None:
        self._seen: dict[tuple[str, str], tuple[float, int]] = {}
        """(whose, message) -> since when, and how many."""

    def passes(self, reason: tuple[str, str], now: float) -> bool:
        since, count = self._seen.get(reason, (now, 0))
        if reason not in self._seen and len(self._seen) >= REASONS:
            reason = reason[0], "messages of more kinds than are counted"
            since, count = self._seen.get(reason, (now, 0))
        self._seen[reason] = since, count + 1
        return count < MOST

    def ended(self, now: float) -> list[tuple[str, str, int]]:
        """(whose, message, how many were left out), of those whose time is over and that had too many."""
        over = {reason: count for reason, (since, count) in self._seen.items() if now - since >= PERIOD}
        for reason in over:
            del self._seen[reason]
        return [(*reason, count - MOST) for reason, count in over.items() if count > MOST]


class Stream(logging.Handler):
    """Where all lines go: to the stream, and those of the audit to their own file as well."""

    def __init__(self, least: int, to: logging.Handler, audit: logging.Handler | None, left_out: Callable[[str], None]) -> None:
        """`least`: the level from which on lines are written, if they are not audit. `left_out` is told whose line was, each time."""
        super().__init__()
        self._least, self._to, self._audit, self._left_out, self._limiter = least, to, audit, left_out, Limiter()

    def filter(self, record: logging.LogRecord) -> bool:
        least = max(self._least, LOUDEST_OF_KAFKA) if record.name.split(".")[0] == "kafka" else self._least
        return record.levelno >= least or is_audit(record)

    def emit(self, record: logging.LogRecord) -> None:
        self.tell()
        if is_audit(record):
            if self._audit is not None:
                self._audit.handle(record)
        elif not self._limiter.passes((record.name, str(record.msg)), time.monotonic()):
            self._left_out(_whose(record.name))
            return
        self._to.handle(record)

    def tell(self, now: float | None = None) -> None:
        """What was left out, where its time is over; `now` inf: whatever there is."""
        with self.lock or nullcontext():
            for name, message, count in self._limiter.ended(time.monotonic() if now is None else now):
                said = {"levelno": logging.WARNING, "levelname": "WARNING", "left_out": count, "reason": message}
                self._to.handle(logging.makeLogRecord({"name": name, "msg": "lines were left out", **said}))

    def close(self) -> None:
        with suppress(Exception):
            self.tell(float("inf"))
        super().close()


class _Quiet:
    """A line that cannot be written is lost; saying so would be another."""

    def handleError(self, record: logging.LogRecord) -> None: ...


class _ToStream(_Quiet, logging.StreamHandler[TextIO]): ...


class _ToFile(_Quiet, logging.handlers.WatchedFileHandler): ...


def _whose(name: str) -> str:
    family = name.split(".")[0]
    return family if family in ("detector", "kafka") else "other"


def configure(
    level: str, stream: TextIO, form: Form = "auto", audit_file: str = "", left_out: Callable[[str], None] = lambda whose: None
) -> Stream:
    """Sends the logs of everything to the stream, from `level` (debug, info, warning, error) upwards. The last call wins.

    `form` auto: text on a terminal, else JSON. `audit_file`: JSON lines of the audit stream are appended there, too; it may be moved away
    at any time, and is then made anew. `left_out` is told of each line that is left out: detector, kafka or other. Raises ConfigError
    where the audit file cannot be written.
    """
    text = form == "text" or (form == "auto" and stream.isatty())
    to, audit = _ToStream(stream), None
    to.setFormatter(Text() if text else JsonLines())
    if audit_file:
        try:
            audit = _ToFile(Path(audit_file), encoding="ascii")
        except OSError as error:
            raise ConfigError(
                f"logs.audit_file: {audit_file} cannot be written ({error.strerror}); name a file that this user may append to"
            ) from error
        audit.setFormatter(JsonLines())
    least = logging.getLevelNamesMapping()[level.upper()]
    made = Stream(least, to, audit, left_out)
    root = logging.getLogger()
    root.handlers[:] = [made]
    root.setLevel(min(least, logging.INFO))  # of the audit stream nothing is held back
    # its INFO tells every connection; that is for who debugs
    logging.getLogger("kafka").setLevel(LOUDEST_OF_KAFKA if least < logging.INFO else max(logging.WARNING, least))
    logging.getLogger("numba").setLevel(logging.WARNING)  # at DEBUG it tells every step of every compilation
    logging.captureWarnings(True)
    return made
