"""Real work as native access events: public process logs of a bank, of Volvo IT's service desk and of a Dutch municipality.

BPI Challenge 2012: bank employees on loan applications; 2013: incidents; receipt phase of permit applications (WABO, CoSeLoG). Each is
expected as CSV, plain or .gz. A row is an access of the `resource` (who worked) to the case (whose file it is). A row that names nobody
is left out. Resource 112 of 2012 is the bank's automatic user: a service account.
"""

from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from typing import IO, NamedTuple, TextIO

AUTOMATIC_USER = "112"
_DIRECTORY = "employee,team,role,region,manager,hired,left"


class Access(NamedTuple):
    time: int
    actor: str
    action: str
    resource: str
    subject: str


_Row = Mapping[str, str]


def _bpic2012(row: _Row) -> Access:
    action = "write" if row["lifecycle"] == "COMPLETE" else "read"
    return Access(_ms(row["timestamp"]), row["resource"], action, row["activity"], row["case_id"])


def _bpic2013(row: _Row) -> Access:
    action = {"Accepted": "read", "Queued": "list"}.get(row["activity"], "write")
    return Access(_ms(row["timestamp"]), row["resource"], action, row["product"], row["case_id"])


def _receipt(row: _Row) -> Access:
    return Access(_ms(row["time:timestamp"]), row["org:resource"], "write", row["concept:name"], row["case:concept:name"])


def _reader(header: Iterable[str], first: _Row) -> tuple[str, Callable[[_Row], Access]]:
    """Which log it is. 2012 and 2013 have the same columns, but only 2013 has products."""
    if "org:resource" in header:
        return "receipt", _receipt
    if not {"timestamp", "resource", "case_id", "activity", "lifecycle", "product"} <= set(header):
        raise ValueError(f"not one of the logs known here: its columns are {', '.join(header)}")
    return ("bpic2013", _bpic2013) if first["product"] else ("bpic2012", _bpic2012)


def convert(lines: Iterable[str]) -> Iterator[bytes]:
    """CSV lines, header first -> native events as JSON lines without their ends, sorted by time (ties as in the file).

    An event's id is the log's name and the number of its row, so that it stays the same however often it is converted. Raises ValueError
    for a log that is none of the three.
    """
    table = csv.DictReader(lines)
    rows = list(table)
    if not rows:
        return
    name, access = _reader(table.fieldnames or (), rows[0])
    events = [(access(row), number) for number, row in enumerate(rows, 1)]
    events.sort(key=lambda event: event[0].time)
    for event, number in events:
        if event.actor:
            line = {"event_id": f"{name}-{number}", **event._asdict()}
            yield json.dumps(line, ensure_ascii=False, separators=(",", ":")).encode()


def write(source: Path, target: Path) -> int:
    """A log's file -> NDJSON, compressed if `target` ends in .gz; the number of events. Raises ValueError as `convert`, and OSError."""
    with ExitStack() as files:
        lines = files.enter_context(_text(source))
        out: IO[bytes] = files.enter_context(target.open("wb"))
        if target.suffix == ".gz":
            out = files.enter_context(gzip.GzipFile(filename="", mode="wb", fileobj=out, mtime=0))  # type: ignore[arg-type]
        count = 0
        for line in convert(lines):
            out.write(line + b"\n")
            count += 1
    return count


def directory(actors: Iterable[str]) -> bytes:
    """A `directory.csv` for the bank's context: everybody in one team, and the automatic user in one of its own."""
    teams = (f"{actor},{'automatic,service' if actor == AUTOMATIC_USER else 'bank,employee'},NL,,," for actor in sorted(set(actors)))
    return "\n".join((_DIRECTORY, *teams, "")).encode()


def _text(source: Path) -> TextIO:
    return gzip.open(source, "rt", encoding="utf-8", newline="") if source.suffix == ".gz" else source.open(encoding="utf-8", newline="")


def _ms(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1000)
