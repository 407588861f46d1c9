"""Changes of model and context that a live service told of: what `replay` needs to come to the same alerts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import msgspec

from detector.errors import ConfigError
from detector.tasks import CONTEXT_CHANGED, MODEL_CHANGED


class Change(NamedTuple):
    """From an offset on; empty: as it was."""

    offset: int
    model: str = ""
    context: str = ""


class _Where(msgspec.Struct, frozen=True):
    partition: int = -1
    offset: int = -1


class _What(msgspec.Struct, frozen=True):
    view: str = ""
    model: str = ""
    context: str = ""


class _Line(msgspec.Struct, frozen=True):
    """Of a service's log."""

    message: str
    kafka: _Where = _Where()
    detector: _What = _What()


class _Plain(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Of a file that holds nothing else."""

    view: str = ""
    partition: int = -1
    offset: int = -1
    model: str = ""
    context: str = ""


def read_changes(path: Path, view: str) -> dict[int, list[Change]]:
    """By partition, ascending, one an offset at most. Of two that say the same thing of one offset the later counts. Raises ConfigError."""
    found: dict[int, dict[int, Change]] = {}
    for number, where, what in _lines(path):
        if what.view == view:
            if where.partition < 0 or where.offset < 0 or not (what.model or what.context):
                raise ConfigError(
                    f"{path}, line {number}: a change has partition, offset, and model or context; this one lacks one of them"
                )
            some = found.setdefault(where.partition, {})
            before = some.get(where.offset, Change(where.offset))
            some[where.offset] = Change(where.offset, what.model or before.model, what.context or before.context)
    if not found:
        raise ConfigError(
            f"{path}: tells of no change of the {view} view's model or context\n"
            f"a service logs them as '{MODEL_CHANGED}' and '{CONTEXT_CHANGED}', where its logs are JSON (logs.format)"
        )
    return {partition: sorted(some.values()) for partition, some in found.items()}


def _lines(path: Path) -> Iterator[tuple[int, _Where, _What]]:
    """(number, where, what) of those that are changes."""
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                with suppress(msgspec.DecodeError, msgspec.ValidationError, UnicodeDecodeError):  # a log has other lines, too
                    said = msgspec.json.decode(line, type=_Line)
                    if said.message in (MODEL_CHANGED, CONTEXT_CHANGED):
                        yield number, said.kafka, said.detector
                    continue
                with suppress(msgspec.DecodeError, msgspec.ValidationError, UnicodeDecodeError):
                    plain = msgspec.json.decode(line, type=_Plain)
                    yield number, _Where(plain.partition, plain.offset), _What(plain.view, plain.model, plain.context)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}); give a service's log") from error
