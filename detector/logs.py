"""Logs as JSON, a line an event, on stderr. What was logged cannot break out of its line: JSON escapes every control character."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime
from typing import Any, TextIO

LOUDEST_OF_KAFKA = logging.INFO
"""kafka-python writes passwords and payloads at DEBUG, so it never gets there, whatever the user asks for."""


_ALWAYS = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime"}


class JsonLines(logging.Formatter):
    """`{"time", "level", "logger", "message", ..., "traceback"?}`; what stands between comes from `extra={...}`."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        line |= {name: value for name, value in vars(record).items() if name not in _ALWAYS and name not in line}
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


class _Quiet(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        return record.levelno >= LOUDEST_OF_KAFKA or record.name.split(".")[0] != "kafka"


def configure(level: str, stream: TextIO) -> None:
    """Sends the logs of everything to the stream, from `level` (debug, info, warning, error) upwards. The last call wins."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonLines())
    handler.addFilter(_Quiet())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    # its INFO tells every connection; that is for who debugs
    logging.getLogger("kafka").setLevel(LOUDEST_OF_KAFKA if root.level < logging.INFO else max(logging.WARNING, root.level))
    logging.getLogger("numba").setLevel(logging.WARNING)  # at DEBUG it tells every step of every compilation
    logging.captureWarnings(True)
