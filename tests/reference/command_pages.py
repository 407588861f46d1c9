"""docs/reference/cli.md from the parsers: usage, the flags of each command in order, and for a flag that is new the text of `--help`.

Sentences that stand on the page stay: they say more than a terminal has room for.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator

SHARED = ("--help", "--config", "--set")
"""Told once for all commands."""
HEAD = "| flag | |\n|---|---|\n"


def commands(parser: argparse.ArgumentParser, path: str = "detector") -> Iterator[tuple[str, argparse.ArgumentParser]]:
    families = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    for family in families:
        for name, below in family.choices.items():
            yield from commands(below, f"{path} {name}")
    if not families:
        yield path, parser


def usage(path: str, parser: argparse.ArgumentParser) -> str:
    """Positional arguments and flags that must be given, as they are typed; what else there is stands in the table."""
    formatter = parser._get_formatter()
    words = [path]
    for action in parser._actions:
        if not action.option_strings:
            words.append(formatter._format_args(action, formatter._get_default_metavar_for_positional(action)))
        elif action.required:
            words.append(spelled(parser, action))
    return " ".join(words)


def spelled(parser: argparse.ArgumentParser, action: argparse.Action) -> str:
    formatter = parser._get_formatter()
    flag = action.option_strings[-1]
    return flag if action.nargs == 0 else f"{flag} {formatter._format_args(action, formatter._get_default_metavar_for_optional(action))}"


def table(parser: argparse.ArgumentParser, texts: dict[str, str]) -> str:
    """The flags of a command; `texts`: what the page says of them by now. Their order on the page stays, new ones come last."""
    flags = {a.option_strings[-1]: a for a in parser._actions if a.option_strings and a.option_strings[-1] not in SHARED}
    order = [*(flag for flag in texts if flag in flags), *(flag for flag in flags if flag not in texts)]
    cells = [(spelled(parser, flags[flag]).replace("|", "\\|"), texts.get(flag) or _help(flags[flag])) for flag in order]
    return HEAD + "".join(f"| `{flag}` | {text} |\n" for flag, text in cells) if cells else ""


def _help(action: argparse.Action) -> str:
    said = re.sub(r"\((\w+\.\w+)\)$", r"(`\1`)", action.help or "").replace("|", "\\|")
    return f"required; {said}" if action.required else said


def rewritten(page: str, parser: argparse.ArgumentParser) -> str:
    """The page as it must be. Commands that are gone are gone; new ones stand behind their relatives, with what `--help` says."""
    left = dict(commands(parser))
    parts = re.split(r"^(?=###? )", page, flags=re.M)
    done: list[str] = []
    for part in parts:
        title = re.match(r"### `(.*)`\n", part)
        if title is None:
            done.append(part)
        elif title[1] in left:
            done.append(_section(title[1], left.pop(title[1]), part))
    for path, of in left.items():
        relatives = [i for i, part in enumerate(done) if part.startswith(f"### `{' '.join(path.split()[:2])}")]
        text = f"### `{path}`\n\n```\n```\n\n{of.description}" + (" Takes the\n[settings](#settings)." if _configured(of) else "") + "\n\n"
        done.insert(max(relatives, default=len(done) - 1) + 1, _section(path, of, text))
    return "".join(done)


def _configured(parser: argparse.ArgumentParser) -> bool:
    return any("--config" in action.option_strings for action in parser._actions)


def _section(path: str, parser: argparse.ArgumentParser, text: str) -> str:
    """Heading, usage, sentences, table."""
    rows = dict(re.findall(r"^\| `(--[a-z-]+)[^`]*` \| (.*) \|$", text, re.M))
    prose = re.sub(r"\A### [^\n]*\n+(```\n.*?```\n+)?", "", text, flags=re.S)
    prose = re.sub(r"^\| .*\n|^\|---.*\n", "", prose, flags=re.M).strip()
    typed = usage(path, parser)
    parts = [f"### `{path}`", f"```\n{typed}\n```" if typed != path else "", prose, table(parser, rows).rstrip()]
    return "\n\n".join(part for part in parts if part) + "\n\n"
