"""`detector config`: check, show, schema, init."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from detector.cli.output import as_json, note, say, table
from detector.cli.settings import Commands, command, context_of, kafka_settings, read, verbs
from detector.errors import ConfigError, DetectorError


def add(commands: Commands) -> None:
    family = verbs(commands, "config", "the settings: what they are, where from, and what is wrong with them")
    command(family, "check", "name every problem of the settings, and of what they point to", "  detector config check").set_defaults(
        run=check
    )
    shown = command(family, "show", "print every value with its origin", "  detector config show\n  detector config show --json")
    shown.add_argument("--json", action="store_true", help="for programs")
    shown.set_defaults(run=show)
    command(family, "schema", "print the JSON Schema of the file", configured=False).set_defaults(run=schema)
    written = command(
        family, "init", "write a complete, commented file", "  detector config init\n  detector config init -", configured=False
    )
    written.add_argument("file", type=Path, nargs="?", default=Path("config/detector.toml"), help="where to; - is stdout")
    written.add_argument("--force", action="store_true", help="over a file that is there")
    written.set_defaults(run=init)


def check(args: argparse.Namespace) -> int:
    config = read(args).config
    problems = []
    for part in (lambda: kafka_settings(config), lambda: context_of(config)):
        try:
            part()
        except DetectorError as error:
            problems.append(str(error))
    from detector.core import hypotheses

    unknown = [name for name in config.detection.hypotheses if name not in hypotheses.names()]
    problems += [f"detection.hypotheses: there is no '{name}'; there are {', '.join(hypotheses.names())}" for name in unknown]
    if problems:
        raise ConfigError("\n".join(problems))
    say("the settings are sound")
    for line in (
        context_of(config).missing() if config.context.folder else ["context.folder is empty: nothing is known but what events say"]
    ):
        note(line)
    return 0


def show(args: argparse.Namespace) -> int:
    from detector.config import shown

    values = shown(read(args))
    if args.json:
        as_json(values)
    else:
        table(("KEY", "VALUE", "FROM"), [(each["key"], json.dumps(each["value"], ensure_ascii=False), each["origin"]) for each in values])
    return 0


def schema(args: argparse.Namespace) -> int:
    from detector.config import schema

    as_json(schema())
    return 0


def init(args: argparse.Namespace) -> int:
    from detector.config import defaults_text
    from detector.files import write_text

    if str(args.file) == "-":
        sys.stdout.write(defaults_text())
        return 0
    if args.file.exists() and not args.force:
        raise ConfigError(f"{args.file}: is there already\ngive another name, or --force to write over it")
    write_text(args.file, defaults_text())
    say(f"{args.file}: written; every value is a default, so delete what you leave as it is")
    return 0
