"""The configuration: read from flags, environment and file, checked in one go, written out with comments.

Read by `cli` alone, which passes values down. Paths are relative to the working directory.
"""

from __future__ import annotations

import json
import math
import textwrap
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import msgspec

from detector.config.settings import Config
from detector.errors import ConfigError

__all__ = ["Config", "Loaded", "defaults_text", "load", "moment", "schema", "shown"]

DEFAULT_FILE = Path("config/detector.toml")
PREFIX = "DETECTOR__"


@dataclass(frozen=True, slots=True)
class Loaded:
    config: Config
    origins: Mapping[str, str]
    """`section.key` -> where its value is from: `default`, a file, a variable, a flag."""


@dataclass(slots=True)
class _Said:
    """Values as a source says them, with the source's name; later ones win."""

    values: dict[tuple[str, str], tuple[Any, str, bool]] = field(default_factory=dict)
    """(section, key) -> value, where from, whether it is text still to be understood."""
    problems: list[str] = field(default_factory=list)

    def put(self, section: str, key: str, value: Any, origin: str, text: bool) -> None:
        known = _keys()
        if section not in known:
            self.problems.append(f"{origin}: {section}: there is no such section{_near(section, known)}")
        elif key not in known[section]:
            self.problems.append(f"{origin}: {section}.{key}: there is no such key{_near(key, known[section])}")
        else:
            self.values[section, key] = (value, origin, text)


def load(file: Path | None = None, environ: Mapping[str, str] = {}, flags: Mapping[str, str] = {}) -> Loaded:
    """The configuration from flags (`section.key` -> text), else environment, else file, else defaults.

    Without `file`, config/detector.toml is read if it is there. Raises ConfigError with every problem, a line each.
    """
    said = _Said()
    _read_file(file, said)
    for name in sorted(environ):
        if name.startswith(PREFIX):
            section, _, key = name.removeprefix(PREFIX).lower().partition("__")
            said.put(section, key, environ[name], name, True)
    for name, value in flags.items():
        section, _, key = name.partition(".")
        said.put(section, key, value, "command line", True)
    sections: dict[str, dict[str, Any]] = {}
    for (section, key), (value, origin, text) in said.values.items():
        try:
            sections.setdefault(section, {})[key] = _converted(value, _keys()[section][key], text)
        except ValueError as error:
            said.problems.append(f"{origin}: {section}.{key}: {error}")
    if said.problems:
        raise ConfigError("\n".join(said.problems))
    config = Config(**{name: kind(**sections.get(name, {})) for name, kind in get_type_hints(Config).items()})
    origins = {f"{s}.{k}": said.values[s, k][1] if (s, k) in said.values else "default" for s, keys in _keys().items() for k in keys}
    _agree(config, origins)
    return Loaded(config, origins)


def _read_file(file: Path | None, said: _Said) -> None:
    path = file or DEFAULT_FILE
    if file is None and not path.exists():
        return
    try:
        read = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror})\n`detector config init {path}` writes a complete one") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: is not UTF-8; save it as UTF-8") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: is not TOML: {error}") from error
    for section, values in read.items():
        if not isinstance(values, dict):
            said.problems.append(f"{path}: {section}: every key belongs into a section; put it under [SECTION]")
        elif section not in _keys():
            said.problems.append(f"{path}: [{section}]: there is no such section{_near(section, _keys())}")
        else:
            for key, value in values.items():
                said.put(section, key, value, str(path), False)


def _converted(value: Any, annotation: Any, text: bool) -> Any:
    """The value as the type that the annotation asks for; raises ValueError with a sentence."""
    kind = get_args(annotation)[0]
    if get_origin(kind) is Literal and value not in get_args(kind):
        raise ValueError(f"must be one of {', '.join(get_args(kind))}")
    if text and get_origin(kind) is tuple:
        value = [part.strip() for part in value.split(",") if part.strip()]
    try:
        converted = msgspec.convert(value, annotation, strict=not text)
    except msgspec.ValidationError as error:
        said = str(error).replace("`", "")
        raise ValueError(said[0].lower() + said[1:]) from error
    if isinstance(converted, float) and not math.isfinite(converted):
        raise ValueError("expected a finite number")
    return converted


def _agree(config: Config, origins: Mapping[str, str]) -> None:
    """What one value alone cannot show to be wrong."""
    problems = []
    if config.alerts.start:
        try:
            moment(config.alerts.start)
        except ValueError as error:
            problems.append(f"{origins['alerts.start']}: alerts.start: {error}")
    names = {name: getattr(config.topics, name) for name in ("events", "alerts", "notables", "daily", "dead_letters")}
    if len(set(names.values())) < len(names):
        problems.append(f"{origins['topics.events']}: topics: {', '.join(names)} must be different topics")
    if config.models.require_signed and not config.models.public_key:
        problems.append(f"{origins['models.require_signed']}: models.require_signed: name the key that counts in models.public_key")
    for one, other in (("ssl_certfile", "ssl_keyfile"), ("ssl_keyfile", "ssl_certfile"), ("ssl_cafile", "ssl_certfile"),
                       ("username", "password_file"), ("password_file", "username")):  # fmt: skip
        if getattr(config.metrics, one) and not getattr(config.metrics, other):
            problems.append(f"{origins[f'metrics.{one}']}: metrics.{one}: set metrics.{other} as well, or neither")
    for name in (server for server in config.kafka.bootstrap_servers if not server.rpartition(":")[2].isdigit()):
        problems.append(f"{origins['kafka.bootstrap_servers']}: kafka.bootstrap_servers: '{name}' is not HOST:PORT")
    if problems:
        raise ConfigError("\n".join(problems))


def moment(text: str) -> int:
    """RFC 3339 with an offset, or ms since 1970 UTC -> ms. Raises ValueError with a sentence."""
    if text.lstrip("-").isdigit():
        return int(text)
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        time = None
    if time is None or time.tzinfo is None:
        raise ValueError(f"'{text}' is not a time; write 2026-03-02T09:14:07Z or milliseconds since 1970")
    return round(time.timestamp() * 1000)


def _near(name: str, known: Any) -> str:
    found = get_close_matches(name, list(known), 1)
    return f"; did you mean '{found[0]}'?" if found else f"; there are {', '.join(known)}"


@cache
def _keys() -> dict[str, dict[str, Any]]:
    """Section -> key -> annotation."""
    return {name: get_type_hints(kind, include_extras=True) for name, kind in get_type_hints(Config).items()}


def _each(config: Config) -> Iterator[tuple[str, str, Any]]:
    for section, keys in _keys().items():
        for key in keys:
            yield section, key, getattr(getattr(config, section), key)


def shown(loaded: Loaded) -> list[dict[str, Any]]:
    """Every value with its origin: {key, value, origin}. Secrets are in files whose path is all that is shown."""
    return [
        {"key": f"{section}.{key}", "value": value, "origin": loaded.origins[f"{section}.{key}"]}
        for section, key, value in _each(loaded.config)
    ]


def defaults_text() -> str:
    """A complete detector.toml: every key with its default and what it means."""
    lines = ["# The detector's settings. All of them are here, with their defaults: delete what you leave as it is.", *_comment(Config)]
    hints = get_type_hints(Config)
    for section, keys in _keys().items():
        lines += ["", *_comment(hints[section]), f"[{section}]"]
        for key, annotation in keys.items():
            lines += textwrap.wrap(get_args(annotation)[1].description, 116, initial_indent="# ", subsequent_indent="# ")
            lines.append(f"{key} = {json.dumps(getattr(hints[section](), key), ensure_ascii=False)}")
    return "\n".join(lines) + "\n"


def _comment(kind: type) -> list[str]:
    return textwrap.wrap(kind.__doc__ or "", 116, initial_indent="# ", subsequent_indent="# ")


def schema() -> dict[str, Any]:
    """JSON Schema of the file, for editors."""
    return msgspec.json.schema(Config)
