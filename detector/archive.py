"""Histories in Parquet, or behind SQL, by DuckDB (extra `archive`): rows of any order become events in order of time, as JSON.

A row has a column for each member of the native event, or one, `value`, with the whole event as JSON. Either way it is the JSON that is
judged, by the same decoder as everywhere. DuckDB sorts outside of memory: what does not fit lies in a temporary folder (TMPDIR) meanwhile.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import msgspec

from detector.core.events import Records
from detector.core.formats.native import NativeEvent
from detector.errors import ConfigError

if TYPE_CHECKING:
    import duckdb

Progress = Callable[[int, int], None]

MEMORY = "1GB"
"""That DuckDB may hold; it takes some hundred MiB more for what it reads and hands out."""
BATCH = 10_000
"""Rows handed out at a time."""

TIMES = ("time", "valid_until")
NUMBERS = ("records", "bytes", "src_lat", "src_lon")
REQUIRED = tuple(field.name for field in msgspec.structs.fields(NativeEvent) if field.required)
MEMBERS = tuple(field.name for field in msgspec.structs.fields(NativeEvent))
JSON = "value"
"""The column that holds whole events, as sinks of Kafka name it."""

TEXT = r"VARCHAR|UUID|ENUM\(.*\)"
STAMP = r"TIMESTAMP.*"
WHOLE = r"U?(TINY|SMALL|BIG|HUGE)?INT(EGER)?"
FITTING: Mapping[str, tuple[str, str]] = {
    **dict.fromkeys(MEMBERS, (TEXT, "VARCHAR")),
    **dict.fromkeys(TIMES, (f"{TEXT}|{STAMP}|{WHOLE}", "TIMESTAMP, BIGINT (ms since 1970 UTC) or VARCHAR (RFC 3339)")),
    **dict.fromkeys(NUMBERS, (rf"{WHOLE}|DOUBLE|FLOAT|DECIMAL\(.*\)", "a number")),
    "fields": (r"VARCHAR\[\d*\]", "VARCHAR[]"),
    JSON: ("VARCHAR|JSON|BLOB", "VARCHAR or BLOB, with an event as JSON"),
}
"""Column -> which of DuckDB's types it may have, as a pattern and in words."""


def read_parquet(paths: Sequence[Path], begin: int, until: int, progress: Progress = lambda done, total: None) -> Iterator[Records]:
    """The events of these files and folders of files in order of time; those of one ms as they stand, file after file.

    Rows outside [begin, until), ms, are left out. Files whose times do not overlap are sorted one after the other. `progress` is told rows
    read and rows in all. Raises ConfigError for what cannot be read, naming file and column.
    """
    files = list(dict.fromkeys(str(file) for path in paths for file in _files(path)))
    with _opened(", ".join(map(str, paths))) as database:
        shapes = {file: _shape(database, "read_parquet([?], hive_partitioning=false)", [file], file) for file in files}
        spans = _spans(database, files, shapes)
        wanted = {file: span for file, span in spans.items() if span[1] >= begin and span[0] < until}
        total, done = sum(span[2] for span in wanted.values()), 0
        for group in _apart(wanted):
            legs = [
                _leg(files, shape, [file for file in group if shapes[file] == shape]) for shape in dict.fromkeys(map(shapes.get, group))
            ]
            for records in _sorted(database, " UNION ALL ".join(legs), "place, tie", begin, until):
                done += len(records)
                progress(done, total)
                yield records


def read_query(query: str, begin: int, until: int, progress: Progress = lambda done, total: None) -> Iterator[Records]:
    """The events that DuckDB answers to a query, in order of time; those of one ms in the order of their JSON. Otherwise as read_parquet().

    Nothing is known of how many there will be: `progress` is told 0 in all.
    """
    source = f"({query.strip().rstrip(';')})"
    with _opened("--query") as database:
        shape = _shape(database, source, [], "--query")
        done = 0
        for records in _sorted(database, f"SELECT {_columns(shape)} FROM {source}", "line", begin, until):
            done += len(records)
            progress(done, 0)
            yield records


@contextmanager
def _opened(what: str) -> Iterator[duckdb.DuckDBPyConnection]:
    """A database of its own, whose errors are told as ConfigError."""
    try:
        import duckdb
    except ImportError as error:
        raise ConfigError(f"{what}: this needs DuckDB; pip install 'detector[archive]'") from error
    with TemporaryDirectory(prefix="detector-") as folder:
        settings = {"memory_limit": MEMORY, "temp_directory": folder, "autoinstall_known_extensions": "false"}
        with duckdb.connect(config={**settings, "preserve_insertion_order": "false"}) as database:
            database.execute("SET enable_progress_bar = false")  # it goes to stdout
            database.execute("SET TimeZone = 'UTC'")  # what a query makes of a time without a zone must not depend on the machine
            try:
                yield database
            except duckdb.OutOfMemoryException as error:
                raise ConfigError(f"{what}: too little room to sort in; point TMPDIR to a larger disk ({_first_line(error)})") from error
            except duckdb.Error as error:
                raise ConfigError(f"{what}: cannot be read ({_first_line(error)})") from error


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]


def _files(path: Path) -> list[Path]:
    if not path.exists():
        raise ConfigError(f"{path}: there is no such file or folder; give Parquet files, or a folder of them")
    found = sorted(path.rglob("*.parquet")) if path.is_dir() else [path]
    if not found:
        raise ConfigError(f"{path}: there is no .parquet file in this folder")
    return found


def _shape(database: Any, source: str, parameters: list[str], what: str) -> tuple[tuple[str, str], ...]:
    """Those columns that mean something, with their types. Raises ConfigError where a type does not fit, or a required one is absent."""
    import duckdb

    try:
        there = {name: kind for name, kind, *_ in database.execute(f"DESCRIBE SELECT * FROM {source}", parameters).fetchall()}
    except duckdb.Error as error:
        raise ConfigError(f"{what}: cannot be read ({_first_line(error)})") from error
    names = (JSON,) if JSON in there and "actor" not in there else MEMBERS
    for name in REQUIRED:
        if name not in there and names == MEMBERS:
            has = ", ".join(there)
            raise ConfigError(f"{what}: there is no column '{name}', nor a column '{JSON}' with events as JSON; there are {has}")
    for name in names:
        pattern, words = FITTING[name]
        if name in there and not re.fullmatch(pattern, there[name]):
            raise ConfigError(f"{what}: column '{name}' is {there[name]}; it must be {words}. A --query can cast it")
    return tuple((name, there[name]) for name in names if name in there)


def _columns(shape: tuple[tuple[str, str], ...]) -> str:
    """SELECT's items `ms` since 1970 (NULL where the event does not say so), and `line`, the event as JSON, a BLOB."""
    if shape[0][0] == JSON:
        text = f"try(decode({JSON}))" if shape[0][1] == "BLOB" else f"CAST({JSON} AS VARCHAR)"
        line = f"coalesce({JSON}, ''::BLOB)" if shape[0][1] == "BLOB" else f"encode(coalesce({text}, ''))"
        said = f"try(json_extract_string({text}, '$.time'))"
        return f"coalesce(try_cast({said} AS BIGINT), {_instant(said)}) AS ms, {line} AS line"
    members = ", ".join(f"""'"{name}":' || {_member(name, kind)}""" for name, kind in shape)  # NULL where the column is, and left out
    kind = dict(shape)["time"]
    time = _instant("time") if re.fullmatch(TEXT, kind) else _ms("time", kind)
    return f"{time} AS ms, encode('{{' || concat_ws(',', {members}) || '}}') AS line"


def _member(name: str, kind: str) -> str:
    if name in TIMES and not re.fullmatch(TEXT, kind):
        return _ms(name, kind)
    return f"to_json({name})" if name in NUMBERS or name == "fields" else f"to_json(CAST({name} AS VARCHAR))"


def _ms(name: str, kind: str) -> str:
    """Cut to the ms, as the decoder cuts RFC 3339. A timestamp without a zone is UTC."""
    if re.fullmatch(WHOLE, kind):
        return f"CAST({name} AS BIGINT)"
    return f"epoch_ns({name}) // 1000000" if kind == "TIMESTAMP_NS" else f"epoch_us({name}) // 1000"


def _instant(text: str) -> str:
    """Ms of RFC 3339 text. DuckDB knows no leap seconds: the event takes its place a second early."""
    return f"epoch_us(try_cast(replace(upper(CAST({text} AS VARCHAR)), ':60', ':59') AS TIMESTAMPTZ)) // 1000"


def _leg(files: Sequence[str], shape: Any, chosen: Sequence[str]) -> str:
    """The rows of files that have the same columns; `place` and `tie` say where each stands in all the files."""
    source = f"read_parquet([{_quoted(chosen)}], filename=true, file_row_number=true, hive_partitioning=false)"
    return f"SELECT {_columns(shape)}, enum_code(CAST(filename AS ENUM({_quoted(files)}))) AS place, file_row_number AS tie FROM {source}"


def _quoted(texts: Sequence[str]) -> str:
    return ", ".join("'" + text.replace("'", "''") + "'" for text in texts)


def _spans(database: Any, files: Sequence[str], shapes: Mapping[str, Any]) -> dict[str, tuple[int, int, int]]:
    """Each file's earliest and latest time, ms, as its footer says, and its number of rows. Where it does not say: always."""
    found = {}
    for file in files:
        kind = dict(shapes[file]).get("time", "VARCHAR")
        low, high = ("NULL", "NULL") if re.fullmatch(TEXT, kind) else (_bound("min", kind), _bound("max", kind))
        query = f"SELECT {low}, {high} FROM parquet_metadata([?]) WHERE path_in_schema = 'time'"
        bounds = database.execute(query, [file]).fetchall()
        [(rows,)] = database.execute("SELECT num_rows FROM parquet_file_metadata([?])", [file]).fetchall()
        lows, highs = [low for low, _ in bounds], [high for _, high in bounds]
        known = bounds and None not in lows and None not in highs
        found[file] = (min(lows), max(highs), rows) if known else (-(1 << 62), 1 << 62, rows)
    return found


def _bound(which: str, kind: str) -> str:
    text = f"coalesce(stats_{which}_value, stats_{which})"
    return f"try_cast({text} AS BIGINT)" if re.fullmatch(WHOLE, kind) else f"epoch_ms(try_cast({text} AS TIMESTAMP))"


def _apart(spans: Mapping[str, tuple[int, int, int]]) -> list[list[str]]:
    """Files in groups whose times do not overlap, earliest first: sorted one after the other they are as if sorted at once."""
    groups: list[list[str]] = []
    latest = -(1 << 63)
    for file, (low, high, _) in sorted(spans.items(), key=lambda item: item[1][0]):
        if low > latest:
            groups.append([])
        groups[-1].append(file)
        latest = max(latest, high)
    return groups


def _sorted(database: Any, rows: str, ties: str, begin: int, until: int) -> Iterator[Records]:
    """A row without a time comes first; it is no event, and whoever decodes says why."""
    inside = f"ms IS NULL OR (ms >= {begin} AND ms < {until})"
    answer = database.execute(f"SELECT line FROM ({rows}) WHERE {inside} ORDER BY ms NULLS FIRST, {ties}")
    first = 0
    while some := answer.fetchmany(BATCH):
        yield Records.of([line for (line,) in some], first=first)
        first += len(some)
