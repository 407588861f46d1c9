"""Changes of the model that a live service told of: what `replay` needs to come to the same alerts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import msgspec

from detector.errors import ConfigError
from detector.tasks import MODEL_CHANGED


class _Line(msgspec.Struct):
    """Of a service's log, or of a file that holds nothing else."""

    message: str = MODEL_CHANGED
    view: str = ""
    partition: int = -1
    offset: int = -1
    version: str = ""


def read_changes(path: Path, view: str) -> dict[int, list[tuple[int, str]]]:
    """By partition: (offset from which on, version), ascending. Of two at one offset the later line counts. Raises ConfigError."""
    found: dict[int, dict[int, str]] = {}
    for number, said in _lines(path):
        if said.message == MODEL_CHANGED and said.view == view:
            if said.partition < 0 or said.offset < 0 or not said.version:
                raise ConfigError(f"{path}, line {number}: a change has partition, offset and version; this one lacks one of them")
            found.setdefault(said.partition, {})[said.offset] = said.version
    if not found:
        raise ConfigError(f"{path}: tells of no change of the {view} view's model; a service logs them as '{MODEL_CHANGED}'")
    return {partition: sorted(some.items()) for partition, some in found.items()}


def _lines(path: Path) -> Iterator[tuple[int, _Line]]:
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                with suppress(msgspec.DecodeError, msgspec.ValidationError, UnicodeDecodeError):  # a log has other lines, too
                    yield number, msgspec.json.decode(line, type=_Line)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}); give a service's log") from error
