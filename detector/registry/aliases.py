"""Aliases: which version is in use. An alias is a file of one line, swapped atomically."""

from __future__ import annotations

from pathlib import Path

from detector.errors import ModelError
from detector.files import write_text
from detector.registry.artefacts import VERSION
from detector.registry.history import entry, history, kept
from detector.registry.reading import read_file

ALIASES = ("champion", "challenger")
MAX_ALIAS_BYTES = 64


def current(registry: Path, which: str) -> str:
    """The version that an alias stands for now; a version stands for itself. One small file is read: cheap enough for every second."""
    if VERSION.fullmatch(which):
        return which
    if which not in ALIASES:
        raise ModelError(f"'{which}' is no version (12 hex digits) and no alias\ntake one of `detector models list`")
    if not (registry / which).exists():
        raise ModelError(f"{registry}: has no {which}\ntrain a model into it (`detector train --out {registry}`), or promote one")
    version = read_file(registry / which, MAX_ALIAS_BYTES, link=True).decode("ascii", "replace").strip()
    if not VERSION.fullmatch(version):
        raise _nowhere(registry / which)
    return version


def resolve(registry: Path, which: str) -> str:
    """The same, of a version that is there."""
    version = current(registry, which)
    if not (registry / version).is_dir():
        if which == version:
            raise ModelError(f"{registry}: there is no version {which}\n`detector models list` shows those there are")
        raise _nowhere(registry / which)
    return version


def stand(registry: Path, alias: str, version: str, by: str = "", why: str = "", undoes: str = "") -> str:
    """Lets an alias stand for a version, which the caller has checked."""
    with kept(registry) as append:
        write_text(registry / alias, version + "\n")
        append(entry(alias, version, by, why, undoes))
    return version


def champion_before(registry: Path) -> tuple[str, str]:
    """(the champion before the present one, the present one). A rollback is no new champion: after it, the one before that comes next."""
    now = current(registry, "champion")
    stack: list[str] = []
    for each in history(registry):
        if each.event != "champion":
            continue
        if each.undoes in stack:
            while stack.pop() != each.undoes:
                pass
        if stack[-1:] != [each.version]:
            stack.append(each.version)
    if stack[-1:] == [now]:
        stack.pop()
    if not stack:
        raise ModelError(f"{registry}: there was no champion before {now}\n`detector models promote VERSION` names one")
    return stack[-1], now


def _nowhere(alias: Path) -> ModelError:
    return ModelError(f"{alias}: names no version of this registry\n`detector models promote VERSION` sets it anew")
