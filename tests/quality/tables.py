"""What is measured, as tables of numbers: printed beside the recorded run, kept as JSON, and shown on a page of the documentation."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

Number = float | int | None


@dataclass(frozen=True)
class Table:
    title: str
    columns: tuple[str, ...]
    rows: Mapping[str, tuple[Number, ...]]
    """A number a column; None: cannot be said."""
    note: str = ""
    """What the figures mean, for the page."""
    missed: tuple[str, ...] = ()
    """What is required and was not reached."""


def rounded(values: Sequence[float], digits: int = 3) -> tuple[float, ...]:
    return tuple(round(float(value), digits) for value in values)


def one(title: str, tables: Sequence[Table]) -> Table:
    """The rows of several tables of the same columns as one."""
    rows = {name: cells for table in tables for name, cells in table.rows.items()}
    return Table(title, tables[0].columns, rows, tables[0].note, tuple(what for table in tables for what in table.missed))


def mean(title: str, parts: Sequence[Table]) -> Table:
    """Of tables with the same columns, the mean of each cell of the rows that all have."""
    rows = {
        name: tuple(
            None if any(cell is None for cell in cells) else round(sum(float(cell or 0) for cell in cells) / len(cells), 3)
            for cells in zip(*(part.rows[name] for part in parts), strict=True)
        )
        for name in parts[0].rows
        if all(name in part.rows for part in parts)
    }
    return Table(title, parts[0].columns, rows)


def shown(table: Table, before: Table | None) -> str:
    """As text; in brackets what the recorded run had where it was another number."""
    lines = [["", *table.columns]]
    for name, cells in table.rows.items():
        lines.append([name, *(_cell(now, was) for now, was in zip(cells, _row(before, table, name), strict=True))])
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    text = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]
    return "\n".join([table.title, *(f"  {line}" for line in text), *(f"  MISSED: {what}" for what in table.missed)])


def _row(before: Table | None, table: Table, name: str) -> tuple[Number, ...]:
    """The recorded run's numbers of a row, in the columns of today."""
    then = dict(zip(before.columns, before.rows.get(name, ()), strict=False)) if before else {}
    return tuple(then.get(column) for column in table.columns)


def _cell(now: Number, was: Number) -> str:
    text = "-" if now is None else f"{now:g}"
    return text if was is None or was == now else f"{text} ({was:g})"


def read(path: Path) -> dict[str, Table]:
    """The recorded tables by title; none where nothing was recorded."""
    if not path.exists():
        return {}
    tables = [Table(**{**said, "columns": tuple(said["columns"])}) for said in json.loads(path.read_text())["tables"]]
    return {table.title: table for table in tables}


def write(tables: Mapping[str, Table], path: Path, version: str) -> None:
    path.write_text(json.dumps({"detector": version, "tables": [asdict(table) for table in tables.values()]}, indent=1) + "\n")


def as_page(tables: Mapping[str, Table], intro: str) -> str:
    """Markdown: the introduction, and a section a table; what a note says is said once."""
    sections, said = [intro.strip()], {""}
    for table in tables.values():
        sections.append(_section(table, table.note not in said))
        said.add(table.note)
    return "\n\n".join(sections) + "\n"


def _section(table: Table, noted: bool) -> str:
    lines = [f"## {table.title[:1].upper()}{table.title[1:]}", ""]
    lines += [table.note, ""] if noted else []
    lines += ["| | " + " | ".join(table.columns) + " |", "|---|" + "---|" * len(table.columns)]
    lines += [f"| {name} | " + " | ".join(_cell(cell, None) for cell in cells) + " |" for name, cells in table.rows.items()]
    lines += ["", *(f"Not reached: {what}." for what in table.missed)] if table.missed else []
    return "\n".join(lines)
