"""Rows of Parquet files and of queries are the events they would be as NDJSON in order of time."""

from __future__ import annotations

import builtins
import json
import random
import subprocess
import sys
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import duckdb
import pytest

from detector import archive
from detector.archive import read_parquet, read_query
from detector.core.events import EventBatch, Records
from detector.core.formats.native import Limits, decode
from detector.errors import ConfigError

ALWAYS = (0, 1 << 62)
DAY = 86_400_000
BEGIN = 1_767_225_600_000  # 2026-01-01
COLUMNS = {
    "time": "BIGINT", "actor": "VARCHAR", "action": "VARCHAR", "resource": "VARCHAR", "event_id": "VARCHAR", "subject": "VARCHAR",
    "fields": "VARCHAR[]", "records": "BIGINT", "outcome": "VARCHAR", "src_lat": "DOUBLE", "src_lon": "DOUBLE", "valid_until": "BIGINT",
}  # fmt: skip


def events(n: int, seed: int = 1) -> list[dict[str, Any]]:
    """In order of time, no two at one ms; most optional members are there or not."""
    chance = random.Random(seed)
    made = []
    for i, time in enumerate(sorted(chance.sample(range(BEGIN, BEGIN + DAY), n))):
        event: dict[str, Any] = {"time": time, "actor": f'e"{i % 7}\\é', "action": "read", "resource": f"r {i % 3}", "event_id": f"id-{i}"}
        for name, value in (("subject", "u,1\n"), ("fields", ["ip", 'a"b']), ("records", 7), ("outcome", "denied")):
            event |= {name: value} if chance.random() < 0.5 else {}
        event |= {"src_lat": chance.uniform(-90, 90), "src_lon": 1.0} if chance.random() < 0.5 else {}
        event |= {"action": "assign", "valid_until": time + 1000} if chance.random() < 0.2 else {}
        made.append(event)
    return made


def write(path: Path, rows: list[dict[str, Any]], columns: dict[str, str] = COLUMNS, select: str = "*") -> Path:
    lines = path.with_name("lines")
    lines.write_text("".join(json.dumps(row) + "\n" for row in rows))
    types = ", ".join(f"{name}: '{kind}'" for name, kind in columns.items())
    duckdb.sql(f"SELECT {select} FROM read_json('{lines}', format='newline_delimited', columns={{{types}}})").write_parquet(str(path))
    lines.unlink()
    return path


def shuffled(rows: list[dict[str, Any]], seed: int = 2) -> list[dict[str, Any]]:
    return random.Random(seed).sample(rows, len(rows))


def decoded(parts: Iterable[Records]) -> list[Any]:
    """The events; those refused fail the test."""
    batches: list[EventBatch] = [decode(part, Limits()) for part in parts]
    assert not [letter for batch in batches for letter in batch.dead]
    return [row for batch in batches for row in batch.rows]


def as_lines(rows: list[dict[str, Any]]) -> list[Any]:
    return decoded([Records.of([json.dumps(row).encode() for row in rows])])


def test_rows_of_several_files_are_the_events_in_order_of_time(tmp_path: Path) -> None:
    made = events(5000)
    mixed = shuffled(made)
    folder = tmp_path / "day=1"
    folder.mkdir()
    files = [write(tmp_path / "a'b.parquet", mixed[:2000]), tmp_path / "day=1"]
    write(folder / "b.parquet", mixed[2000:3000])
    write(folder / "c.parquet", mixed[3000:])
    assert decoded(read_parquet(files, *ALWAYS)) == as_lines(made)


TIMES = {
    "ms": ("BIGINT", "*"),
    "timestamp": ("BIGINT", "* REPLACE (make_timestamp(time * 1000 + 999) AS time, make_timestamp(valid_until * 1000) AS valid_until)"),
    "with a zone": ("BIGINT", "* REPLACE (make_timestamptz(time * 1000) AS time)"),
    "nanoseconds": ("BIGINT", "* REPLACE (make_timestamp_ns(time * 1000000 + 999999) AS time)"),
    "text": ("VARCHAR", "*"),
}


@pytest.mark.parametrize(("kind", "select"), TIMES.values(), ids=TIMES.keys())
def test_a_time_may_be_of_many_types(kind: str, select: str, tmp_path: Path) -> None:
    made = events(200)
    rows = made if kind == "BIGINT" else [{**row, "time": rfc3339(row["time"], i)} for i, row in enumerate(made)]
    path = write(tmp_path / "a.parquet", shuffled(rows), {**COLUMNS, "time": kind}, select)
    assert decoded(read_parquet([path], *ALWAYS)) == as_lines(made)


def rfc3339(ms: int, i: int) -> str:
    """The same instant in several zones and ways of writing."""
    zone = timezone(timedelta(hours=i % 5 - 2, minutes=30 * (i % 2)))
    text = (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=ms)).astimezone(zone).isoformat(timespec="milliseconds")
    return text.replace("T", " Tt"[i % 3]).replace("+00:00", "z")


@pytest.mark.parametrize("kind", ["value", "encode(value)"], ids=["text", "bytes"])
def test_a_column_may_hold_whole_events(kind: str, tmp_path: Path) -> None:
    made = events(300)
    rows = [{"value": json.dumps(row if i % 2 else {**row, "time": rfc3339(row["time"], i)})} for i, row in enumerate(made)]
    path = write(tmp_path / "a.parquet", shuffled(rows), {"value": "VARCHAR"}, f'{kind} AS value, 7 AS "offset"')
    assert decoded(read_parquet([path], *ALWAYS)) == as_lines(made)


def test_files_need_not_have_the_same_columns(tmp_path: Path) -> None:
    made = events(600)
    poor = [{name: row[name] for name in ("time", "actor", "action", "resource")} for row in made[::3] if row["action"] == "read"]
    rich = [row for i, row in enumerate(made) if i % 3]
    few = {name: kind for name, kind in COLUMNS.items() if name in ("time", "actor", "action", "resource")}
    stamped = "* REPLACE (make_timestamp(time * 1000) AS time)"
    files = [write(tmp_path / "a.parquet", shuffled(rich)), write(tmp_path / "b.parquet", shuffled(poor), few, stamped)]
    lines = [{"value": json.dumps(row)} for row in made[::3] if row["action"] != "read"]
    files.append(write(tmp_path / "c.parquet", shuffled(lines), {"value": "VARCHAR"}))
    expected = [*rich, *poor, *(json.loads(line["value"]) for line in lines)]
    assert decoded(read_parquet(files, *ALWAYS)) == as_lines(sorted(expected, key=lambda row: row["time"]))


def test_events_of_one_ms_stay_as_they_stand(tmp_path: Path) -> None:
    made = [{"time": BEGIN + (i % 3), "actor": "e", "action": "read", "resource": "r", "event_id": f"{9999 - i}"} for i in range(4000)]
    files = [write(tmp_path / f"{name}.parquet", made[at : at + 1000]) for name, at in (("d", 0), ("b", 1000), ("c", 2000), ("a", 3000))]
    assert decoded(read_parquet(files, *ALWAYS)) == as_lines(sorted(made, key=lambda row: row["time"]))


def test_files_whose_times_do_not_overlap_are_sorted_one_after_the_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = events(3000)
    cuts = {"c": made[:1000], "a": made[900:1900], "b": made[1900:]}  # c and a overlap
    files = [write(tmp_path / f"{name}.parquet", shuffled(rows)) for name, rows in cuts.items()]
    groups: list[list[str]] = []
    apart = archive._apart
    monkeypatch.setattr(archive, "_apart", lambda spans: groups.extend(apart(spans)) or groups)
    found = decoded(read_parquet(files, *ALWAYS))
    assert [[Path(file).stem for file in group] for group in groups] == [["c", "a"], ["b"]]
    monkeypatch.setattr(archive, "_apart", lambda spans: [list(spans)])
    assert decoded(read_parquet(files, *ALWAYS)) == found and [row.time for row in found] == sorted(row.time for row in found)


def test_what_is_out_of_the_range_is_left_out(tmp_path: Path) -> None:
    made = events(2000)
    files = [write(tmp_path / f"{i}.parquet", shuffled(made[i * 500 : i * 500 + 500])) for i in range(4)]
    begin, until = made[700]["time"], made[1400]["time"]
    told: list[tuple[int, int]] = []
    found = decoded(read_parquet(files, begin, until, lambda done, total: told.append((done, total))))
    assert found == as_lines(made[700:1400])
    assert told[-1] == (700, 1000), "two of the files were not looked into"


def test_a_query_may_make_events_of_anything(tmp_path: Path) -> None:
    made = events(1000)
    path = write(tmp_path / "a.parquet", shuffled(made))
    query = f"SELECT * EXCLUDE (time), to_timestamp(time / 1000.0) AS time, 'x' AS line, 'y' AS ms FROM '{path}' WHERE resource <> 'r 1' ; "
    assert decoded(read_query(query, *ALWAYS)) == as_lines([row for row in made if row["resource"] != "r 1"])
    naive = query.replace("to_timestamp(time / 1000.0)", "CAST(make_timestamp(time * 1000) AS TIMESTAMPTZ)")
    assert decoded(read_query(naive, *ALWAYS)) == decoded(read_query(query, *ALWAYS)), "without a zone it is UTC, wherever this runs"
    told: list[tuple[int, int]] = []
    assert len(decoded(read_query(query, made[10]["time"], made[20]["time"], lambda *far: told.append(far)))) == told[-1][0] < 10


def test_what_is_no_event_is_refused_as_anywhere(tmp_path: Path) -> None:
    sound = {"time": 4, "actor": "e", "action": "read", "resource": "r"}
    rows = [{**sound, **wrong} for wrong in ({"time": 1, "actor": None}, {"time": None}, {"time": 3, "action": "peek"}, {"src_lat": 1.0})]
    dead = [letter for part in read_parquet([write(tmp_path / "a.parquet", rows)], *ALWAYS) for letter in decode(part, Limits()).dead]
    assert [(letter.reason, letter.pointer) for letter in dead] == [
        ("missing-member", "/time"), ("missing-member", "/actor"), ("unknown-value", "/action"), ("missing-member", "/src_lon"),
    ]  # fmt: skip
    bytes_ = "SELECT unnest(['{'::BLOB, '\\xff'::BLOB, NULL, '{\"time\":5}'::BLOB]) AS value"
    dead = [letter for part in read_query(bytes_, *ALWAYS) for letter in decode(part, Limits()).dead]
    assert sorted(letter.reason for letter in dead) == ["empty-value", "missing-member", "not-json", "not-utf8"]


def say(what: str, tmp_path: Path) -> str:
    files = {"none": "none.parquet", "text": "text.parquet", "empty": "empty", "typed": "typed.parquet", "poor": "poor.parquet"}
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.parquet").write_text("no Parquet\n")
    write(tmp_path / "typed.parquet", events(5), {**COLUMNS, "actor": "VARCHAR"}, "* REPLACE (7 AS actor)")
    write(tmp_path / "poor.parquet", events(5), COLUMNS, "* EXCLUDE (resource)")
    sources = {"a query": "SELECT nothing FROM nowhere", "a typed query": "SELECT 1 AS value"}
    with pytest.raises(ConfigError) as caught:
        list(read_query(sources[what], *ALWAYS) if what in sources else read_parquet([tmp_path / files[what]], *ALWAYS))
    return str(caught.value)


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("none", ["none.parquet", "no such file"]),
        ("text", ["text.parquet", "cannot be read"]),
        ("empty", ["empty", "no .parquet file"]),
        ("typed", ["typed.parquet", "column 'actor' is INTEGER", "must be VARCHAR"]),
        ("poor", ["poor.parquet", "no column 'resource'", "there are time, actor"]),
        ("a query", ["--query", "nowhere"]),
        ("a typed query", ["--query", "column 'value' is INTEGER"]),
    ],
)
def test_what_cannot_be_read_is_named(what: str, words: list[str], tmp_path: Path) -> None:
    text = say(what, tmp_path)
    assert all(word in text for word in words), text


def test_too_little_room_to_sort_in_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "MEMORY", "10MB")
    with pytest.raises(ConfigError, match="too little room to sort in; point TMPDIR"):
        list(
            read_query(
                "SELECT i AS time, repeat('x', 5000000) || i AS actor, 'read' AS action, 'r' AS resource FROM range(50) r(i)", *ALWAYS
            )
        )


def test_without_duckdb_it_is_said_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name == "duckdb":
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ConfigError, match=r"pip install 'detector\[archive\]'"):
        list(read_query("SELECT 1", *ALWAYS))


MEASURE = """
import resource, sys
from pathlib import Path
from detector import archive
archive.MEMORY = "200MB"
rows = sum(len(part) for part in archive.read_parquet([Path(sys.argv[1])], 0, 1 << 62))
print(rows, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10)
"""


@pytest.mark.slow
def test_what_is_sorted_need_not_fit_into_memory(tmp_path: Path) -> None:
    """3 million events, 800 MB as JSON."""
    duckdb.sql(
        f"COPY (SELECT {BEGIN} + (i * 7919) % 3000000 AS time, 'e' || i % 1000 AS actor, 'read' AS action, repeat('r', 100) AS resource, "
        f"md5(i::VARCHAR) || repeat('x', 64) AS event_id FROM range(3000000) r(i)) TO '{tmp_path}/a.parquet'"
    )
    done = subprocess.run([sys.executable, "-c", MEASURE, str(tmp_path / "a.parquet")], capture_output=True, text=True, check=True)
    rows, most = map(int, done.stdout.split())
    assert rows == 3_000_000 and most < 600
