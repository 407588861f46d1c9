"""Contexts: a folder that is read whenever somebody asks; and, where there is a place for them, those that were in use, by their version.

What is kept is needed by whoever must judge an event as it was judged: a takeover after the folder has changed, and `replay --changes`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from secrets import token_hex
from typing import NamedTuple

from detector.core.context import Context
from detector.errors import ConfigError, DetectorError
from detector.files import context_files, context_of, newest_change


class Read(NamedTuple):
    context: Context
    files: Mapping[str, bytes]
    """As they were read: name -> content."""
    modified: float | None
    """When the newest of them was changed, in seconds since 1970; None where there is none."""


@dataclass(frozen=True)
class Contexts:
    folder: str
    """Empty: nothing is known but what events say."""
    resources: Mapping[str, tuple[str, ...]]
    """Kind -> patterns, where there is no resources.csv."""
    key_file: str = ""
    """Holds the key, in hex, of the keyed hashes in protected.csv."""
    history: str = ""
    """Folder for those that were in use; empty: they are not kept."""

    def read(self) -> Read:
        """What the folder holds now. Raises ContextError with all problems, ConfigError where there is no key in the key's file."""
        return self._read(Path(self.folder)) if self.folder else Read(self._with_key(Context.parse({}, self.resources)), {}, None)

    def find(self, version: str) -> Context | None:
        """One that was in use: from the history, or from the folder if that still, or already, says so. None where it is not to be had."""
        for folder in (Path(self.history) / version if self.history else None, Path(self.folder) if self.folder else None):
            if folder is not None and folder.is_dir():
                try:
                    found = self._read(folder).context
                except DetectorError:
                    continue
                if found.version == version:
                    return found
        return None

    def keep(self, read: Read) -> None:
        """In the history, if there is one. Raises OSError."""
        if not self.history or (place := Path(self.history) / read.context.version).exists():
            return
        made = place.with_name(f".{token_hex(8)}")
        made.mkdir(mode=0o700, parents=True)
        for name, data in read.files.items():
            (made / name).write_bytes(data)
        try:
            made.rename(place)
        except OSError:  # another process was first
            for path in made.iterdir():
                path.unlink()
            made.rmdir()
            if not place.exists():
                raise

    def _read(self, folder: Path) -> Read:
        modified, files = newest_change(folder), context_files(folder)
        return Read(self._with_key(context_of(files, self.resources)), files, modified)

    def _with_key(self, context: Context) -> Context:
        if not self.key_file:
            return context
        try:
            return replace(context, key=bytes.fromhex(Path(self.key_file).read_text().strip()))
        except ValueError as error:
            raise ConfigError(f"{self.key_file}: holds no key in hex; make one with `openssl rand -hex 32`") from error
        except OSError as error:
            raise ConfigError(f"{self.key_file}: cannot be read ({error.strerror}); let this user read it") from error
