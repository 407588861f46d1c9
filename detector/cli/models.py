"""`detector models`: the registry. Which models there are, which is in use, who said so; and how one comes in, goes out and is signed."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from detector.cli.compare import add_verb as add_compare
from detector.cli.output import as_json, note, printable, say, table
from detector.cli.settings import Commands, command, read, setting, trust_of, verbs
from detector.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Callable

    from detector.registry import Checked, Trust

WHICH = "version, champion or challenger"


def add(commands: Commands) -> None:
    family = verbs(commands, "models", "the registry: which models there are, and which is in use")

    def verb(name: str, help: str, run: Callable[..., int], words: str = "", said: bool = False) -> argparse.ArgumentParser:
        made = command(family, name, help, f"  detector models {name}{words}")
        setting(made, "--models", "models.registry", "DIR", "the registry")
        if said:
            made.add_argument("--by", default="", metavar="NAME", help="who does it, for the history; default: this user")
            made.add_argument("--why", default="", metavar="TEXT", help="why, for the history")
        made.set_defaults(run=run)
        return made

    verb("list", "all versions and what stands for them", list_).add_argument("--json", action="store_true", help="for programs")
    verb("history", "what happened to the registry, when, by whom and why", history).add_argument(
        "--json", action="store_true", help="for programs"
    )
    _model(verb("show", "print a model's manifest", show, " champion"))
    checked = verb("check", "check a model in full: files, signature, arrays, and that it scores as it did", check, " champion")
    checked.add_argument("model", metavar="MODEL", help=f"{WHICH}, or the file that `export` wrote")
    _require(checked)
    promoted = verb("promote", "let an alias stand for a version, after a full check", promote, " 3f9c2a71d04b --why reviewed", said=True)
    promoted.add_argument("--as", dest="alias", choices=("champion", "challenger"), default="champion", help="default: champion")
    _require(_model(promoted))
    _require(verb("rollback", "make the champion before this one the champion again", rollback, " --why 'too many alerts'", said=True))
    exported = _model(verb("export", "write a version as one file, after a full check", export, " champion 3f9c2a71d04b.zip"))
    exported.add_argument("file", type=Path, metavar="FILE", help="a ZIP of the version's folder; the same version gives the same bytes")
    imported = verb("import", "store an exported version, after a full check; no alias moves", import_, " 3f9c2a71d04b.zip", said=True)
    imported.add_argument("file", type=Path, metavar="FILE", help="what `export` wrote")
    _require(imported)
    signed = _model(verb("sign", "sign a version, after a full check", sign, " 3f9c2a71d04b --key model-key.pem", said=True))
    signed.add_argument("--key", type=Path, required=True, metavar="FILE", help="the private key: PEM, without passphrase")
    add_compare(family)
    made = command(family, "keygen", "make a pair of keys for signing", "  detector models keygen model-key.pem", configured=False)
    made.add_argument("file", type=Path, metavar="FILE", help="where the private key goes; the public one goes to FILE.pub")
    made.set_defaults(run=keygen)


def _model(made: argparse.ArgumentParser) -> argparse.ArgumentParser:
    made.add_argument("model", metavar="MODEL", help=WHICH)
    return made


def _require(made: argparse.ArgumentParser) -> None:
    made.add_argument(
        "--require-signed", dest="models.require_signed", action="store_const", const="true",
        help="only with a signature of a key in models.public_key (models.require_signed)",
    )  # fmt: skip
    setting(made, "--public-key", "models.public_key", "FILE", "the keys that count")


def _of(args: argparse.Namespace) -> tuple[Path, Trust]:
    config = read(args).config
    return Path(config.models.registry), trust_of(config)


def list_(args: argparse.Namespace) -> int:
    from detector import registry

    folder, _ = _of(args)
    since = {entry.version: entry.time for entry in registry.history(folder) if entry.event in ("saved", "imported")}
    found = sorted(registry.list_versions(folder), key=lambda each: since.get(each.version, ""))
    signed = {each.version: _signer(folder, each.version) for each in found}
    if args.json:
        as_json(
            [
                {"version": v, "aliases": aliases, "saved": since.get(v), "signed_by": signed[v] or None}
                for v, aliases in found
            ]
        )  # fmt: skip
    else:
        rows = [(v, ", ".join(aliases), since.get(v, ""), printable(signed[v])) for v, aliases in found]
        table(("VERSION", "STANDS AS", "SAVED", "SIGNED BY"), rows)
    return 0


def _signer(folder: Path, version: str) -> str:
    from detector import registry

    try:
        return registry.signed_by(folder, version)
    except ModelError as error:  # one that is damaged does not hide the others
        note(str(error))
        return ""


def history(args: argparse.Namespace) -> int:
    import msgspec

    from detector import registry

    entries = registry.history(_of(args)[0])
    if args.json:
        as_json(msgspec.to_builtins(entries))
        return 0
    rows = []
    for entry in entries:
        what = f"{entry.event} (rollback of {entry.undoes})" if entry.undoes else f"{entry.event} {entry.key}".strip()
        rows.append([printable(cell) for cell in (entry.time, entry.version, what, entry.by, entry.why)])
    table(("TIME", "VERSION", "WHAT", "BY", "WHY"), rows)
    return 0


def show(args: argparse.Namespace) -> int:
    from detector import registry

    as_json(registry.show(_of(args)[0], args.model))
    return 0


def check(args: argparse.Namespace) -> int:
    from detector import registry

    folder, trust = _of(args)
    is_file = args.model not in registry.ALIASES and Path(args.model).is_file()
    _tell(registry.check_file(Path(args.model), trust) if is_file else registry.check(folder, args.model, trust), trust)
    return 0


def promote(args: argparse.Namespace) -> int:
    from detector import registry

    folder, trust = _of(args)
    say(f"{args.alias} is now {registry.promote(folder, args.alias, args.model, trust, args.by, args.why)}")
    return 0


def rollback(args: argparse.Namespace) -> int:
    from detector import registry

    folder, trust = _of(args)
    say(f"champion is now {registry.rollback(folder, trust, args.by, args.why)}")
    return 0


def export(args: argparse.Namespace) -> int:
    from detector import registry

    folder, trust = _of(args)
    checked, sha256 = registry.export_version(folder, args.model, args.file, trust)
    say(f"{checked.version} in {args.file}, sha256 {sha256}")
    return 0


def import_(args: argparse.Namespace) -> int:
    from detector import registry

    folder, trust = _of(args)
    _tell(checked := registry.import_version(folder, args.file, trust, args.by, args.why), trust)
    note(f"it is in use once an alias stands for it: `detector models promote {checked.version}`")
    return 0


def sign(args: argparse.Namespace) -> int:
    from detector import registry

    key = registry.read_private_key(args.key)
    checked = registry.sign(_of(args)[0], args.model, key, args.by, args.why)
    say(f"{checked.version}: signed by {checked.signed_by}")
    return 0


def keygen(args: argparse.Namespace) -> int:
    from detector.registry import signatures

    public = args.file.with_name(args.file.name + ".pub")
    say(f"{signatures.generate(args.file, public)}: private key in {args.file}, public key in {public}")
    note("keep the private key where only the signer reads it, and name the public one in models.public_key")
    return 0


def _tell(checked: Checked, trust: Trust) -> None:
    signed = f"; signed by {checked.signed_by}" if checked.signed_by else "; not signed" if trust.keys else ""
    say(f"{checked.version}: sound; sha256 {checked.sha256}{signed}")
