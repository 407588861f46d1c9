"""The context folder's files, bytes -> checked rows.

Every problem is noted as `file:line:column: what is wrong; what to do`; none ends the reading. Columns are named, as nobody counts.
"""

from __future__ import annotations

import csv
import io
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any

EPOCH = date(1970, 1, 1).toordinal()

NEEDED: Mapping[str, tuple[str, ...]] = {
    "directory.csv": ("employee",),
    "directory_changes.csv": ("employee", "date", "team"),
    "protected.csv": ("subject", "class"),
    "links.csv": ("subject", "linked", "kind"),
    "fields.csv": ("field", "sensitivity"),
    "resources.csv": ("resource", "kind"),
    "owners.csv": ("resource", "team"),
    "revocations.csv": ("date", "team", "resource"),
}
"""For each table the columns that must be there and may not be empty; the others of the documentation may be left out."""


@dataclass(slots=True)
class Problems:
    """Where a reader puts what it found wrong, so that the owner of the folder mends everything in one go."""

    lines: list[str] = field(default_factory=list)

    def add(self, file: str, line: int, column: str | int, what: str) -> None:
        self.lines.append(f"{file}:{line}:{column}: {what}")


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a table: its cells by column name, stripped; an absent column is an empty cell."""

    file: str
    line: int
    cells: Mapping[str, str]
    problems: Problems

    def __getitem__(self, column: str) -> str:
        return self.cells.get(column, "")

    def wrong(self, column: str, what: str) -> None:
        self.problems.add(self.file, self.line, column, what)

    def day(self, column: str) -> int | None:
        """The cell as days since 1970-01-01; None where it is empty or, noted, no date."""
        text = self[column]
        if not text:
            return None
        day = day_of(text)
        if day is None:
            self.wrong(column, f"'{text}' is not a date; write YYYY-MM-DD")
        return day


def day_of(text: str) -> int | None:
    """`YYYY-MM-DD` as days since 1970-01-01, or None where it is anything else."""
    try:
        return date.fromisoformat(text).toordinal() - EPOCH if len(text) == 10 else None
    except ValueError:
        return None


def text_of(file: str, data: bytes, problems: Problems) -> str | None:
    """The file as text; a byte order mark, as spreadsheets write it, is dropped."""
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        problems.add(file, line, 1, "this is not UTF-8; save the file as UTF-8")
        return None


def rows(file: str, data: bytes, problems: Problems, needed: tuple[str, ...] = ()) -> Iterator[Row]:
    """The sound lines of a CSV table; `needed` are its columns where it is none of the context's."""
    text = text_of(file, data, problems)
    if text is None:
        return
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    needed = needed or NEEDED[file]
    try:
        header = [name.strip() for name in next(reader, [])]
        if not _header_fits(file, header, needed, problems):
            return
        for cells in reader:
            if not cells:
                continue
            row = Row(file, reader.line_num, dict(zip(header, map(str.strip, cells), strict=False)), problems)
            if len(cells) != len(header):
                column = header[len(cells)] if len(cells) < len(header) else str(len(header) + 1)
                row.wrong(column, f"{len(cells)} cells under a header of {len(header)}; quote cells that hold a comma")
            elif empty := [column for column in needed if not row[column]]:
                row.wrong(empty[0], "is empty; fill it in or delete the line")
            else:
                yield row
    except csv.Error as error:
        problems.add(file, reader.line_num, 1, f"this is not CSV ({error}); close the quotes and save it as plain CSV")


def _header_fits(file: str, header: list[str], needed: tuple[str, ...], problems: Problems) -> bool:
    absent = [column for column in needed if column not in header]
    twice = {column for column in header if column and header.count(column) > 1}
    for column in absent:
        problems.add(file, 1, column, f"the header has no such column; it has {', '.join(header) or 'nothing'}")
    for column in sorted(twice):
        problems.add(file, 1, column, "is twice in the header; keep one")
    return not absent and not twice


def toml(file: str, data: bytes, problems: Problems) -> dict[str, Any]:
    text = text_of(file, data, problems)
    try:
        return tomllib.loads(text or "")
    except tomllib.TOMLDecodeError as error:
        place = re.search(r"\s*\(at line (\d+), column (\d+)\)", str(error))
        line, column = (int(place[1]), int(place[2])) if place else ((text or "").count("\n") + 1, 1)
        what = str(error)[: place.start()] if place else str(error)
        problems.add(file, line, column, f"this is not TOML ({what}); mend the line")
        return {}


def line_of(data: bytes, pattern: str, nth: int = 0) -> int:
    """Where a part of a TOML file stands, for messages about its content: the line of the n-th match, else 1."""
    text = data.decode("utf-8", "replace")
    found = list(re.finditer(pattern, text, re.MULTILINE))
    return text.count("\n", 0, found[nth].start()) + 1 if nth < len(found) else 1
