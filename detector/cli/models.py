"""`detector models`: list, show, check, promote, rollback."""

from __future__ import annotations

import argparse
from pathlib import Path

from detector.cli.output import as_json, say, table
from detector.cli.settings import Commands, command, read, setting, verbs


def add(commands: Commands) -> None:
    family = verbs(commands, "models", "the registry: which models there are, and which is in use")

    def verb(name: str, help: str, run: object, which: bool = True) -> argparse.ArgumentParser:
        made = command(family, name, help, f"  detector models {name}{' champion' if which else ''}")
        setting(made, "--models", "models.registry", "DIR", "the registry")
        if which:
            made.add_argument("model", metavar="MODEL", help="version, champion or challenger")
        made.set_defaults(run=run)
        return made

    verb("list", "all versions and what stands for them", list_, which=False).add_argument(
        "--json", action="store_true", help="for programs"
    )
    verb("show", "print a model's manifest", show)
    verb("check", "check a model in full: files, arrays, and that it scores as it did when it was trained", check)
    promoted = verb("promote", "let an alias stand for a version, after a full check", promote)
    promoted.add_argument("--as", dest="alias", choices=("champion", "challenger"), default="champion", help="default: champion")
    verb("rollback", "make the champion before this one the champion again", rollback, which=False)


def _registry(args: argparse.Namespace) -> Path:
    return Path(read(args).config.models.registry)


def list_(args: argparse.Namespace) -> int:
    from detector import registry

    folder = _registry(args)
    saved = {entry["version"]: entry["time"] for entry in registry.history(folder) if entry["event"] == "saved"}
    found = sorted(registry.list_versions(folder), key=lambda each: saved.get(each.version, ""))
    if args.json:
        as_json([{"version": each.version, "aliases": each.aliases, "saved": saved.get(each.version)} for each in found])
    else:
        table(("VERSION", "STANDS AS", "SAVED"), [(each.version, ", ".join(each.aliases), saved.get(each.version, "")) for each in found])
    return 0


def show(args: argparse.Namespace) -> int:
    from detector import registry

    as_json(registry.show(_registry(args), args.model))
    return 0


def check(args: argparse.Namespace) -> int:
    from detector import registry
    from detector.core.views import EMPLOYEE

    model = registry.load_model(_registry(args), args.model, EMPLOYEE.name, EMPLOYEE.names)
    say(f"{model.version}: sound; sha256 {model.sha256}")
    return 0


def promote(args: argparse.Namespace) -> int:
    from detector import registry

    check(args)
    say(f"{args.alias} is now {registry.promote(_registry(args), args.alias, args.model)}")
    return 0


def rollback(args: argparse.Namespace) -> int:
    from detector import registry

    say(f"champion is now {registry.rollback(_registry(args))}")
    return 0
