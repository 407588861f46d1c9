"""Recorded events are the same events wherever they come from: files, Parquet, a query, or the topic itself on a real broker."""

from __future__ import annotations

import io
import json
import random
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest
import world
from kafka import KafkaProducer

from detector.archive import MEMBERS
from detector.cli import main, progress
from detector.core.formats.native import Limits
from detector.core.frame import DAY
from detector.kafka import reader as reading
from detector.kafka.reader import Reader
from detector.kafka.topics import Topic, create
from detector.sandbox.broker import Broker

FIRST = world.END - 8 * DAY
PARTITIONS = 3


@cache
def lines() -> tuple[tuple[int, bytes, bytes], ...]:
    """Time, actor and JSON of a week of a small company, in order of time; one is repeated, as producers do, and one is no event."""
    days = world.company().days(FIRST, world.END)
    made = [(json.loads(value)["time"], key, value) for day in days for key, value in zip(day.keys, day.values, strict=True)]
    made = sorted(((ms(time), key, value) for time, key, value in made), key=lambda line: line[0])
    half = len(made) // 2
    return (*made[:half], made[half - 1], (made[half][0], made[half][1], b"no event"), *made[half:])


def ms(time: int | str) -> int:
    return int(np.datetime64(time.replace("Z", "")).astype("datetime64[ms]").astype(np.int64)) if isinstance(time, str) else time


@pytest.fixture
def topic(broker: Broker, unique: Callable[[str], str]) -> Callable[[Sequence[tuple[int, bytes, bytes]]], str]:
    """`topic(lines)` is the name of one that holds them, stamped with their own times, each in the partition of its key."""

    def make(some: Sequence[tuple[int, bytes, bytes]]) -> str:
        name = unique("history")
        create({"bootstrap_servers": [broker.bootstrap]}, [Topic(name, PARTITIONS, {"retention.ms": "-1"})])
        with closing(KafkaProducer(bootstrap_servers=broker.bootstrap, linger_ms=20, compression_type="lz4")) as producer:
            for time, key, value in some:
                producer.send(name, value, key, timestamp_ms=time)
        return name

    return make


@contextmanager
def closing(producer: Any) -> Iterator[Any]:
    yield producer
    producer.flush()
    producer.close()


def merged(broker: Broker, topic: str, since: int = 0) -> tuple[list[bytes], list[tuple[int, int]]]:
    told: list[tuple[int, int]] = []
    with Reader({"bootstrap_servers": [broker.bootstrap]}, topic) as reader:
        parts = list(reader.merged(Limits(), since, progress=lambda *far: told.append(far)))
    assert [offset for part in parts for offset in part.offset.tolist()] == list(range(sum(map(len, parts))))
    return [part.part(part.value, row) or b"" for part in parts for row in range(len(part))], told


@pytest.mark.broker
def test_partitions_are_one_log_in_order_of_time(broker: Broker, topic: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    some = lines()[:4000]
    name = topic(some)
    expected = [value for _, _, value in some]
    found, _ = merged(broker, name)
    assert sorted(found) == sorted(expected)
    times = [ms(json.loads(value)["time"]) for value in found if value != b"no event"]
    assert times == sorted(times)
    for waiting, poll in ((1, 100), (100_000, 500)):  # so little may wait that partitions pause, again and again
        monkeypatch.setattr(reading, "WAITING", waiting)
        monkeypatch.setattr(reading, "POLL", poll)
        assert merged(broker, name)[0] == found


@pytest.mark.broker
def test_what_comes_late_stays_behind_what_its_partition_had_before(broker: Broker, topic: Callable[..., str]) -> None:
    chance = random.Random(5)
    some = list(lines()[:1500])
    for i in chance.sample(range(1000), 200):
        some.insert(i + 400, some.pop(i))
    found, _ = merged(broker, topic(some))
    for actor in {key for _, key, _ in some}:
        own = [value for _, key, value in some if key == actor and value != b"no event"]
        assert [value for value in found if value in set(own)] == own


@pytest.mark.broker
def test_what_was_stamped_long_before_the_range_is_not_even_read(broker: Broker, topic: Callable[..., str]) -> None:
    name = topic(lines()[:3000])
    since = lines()[2000][0]
    found, told = merged(broker, name, since)
    assert sorted(found) == sorted(value for time, _, value in lines()[:3000] if time >= since)
    assert told[-1][1] == sum(time >= since - Limits().max_future for time, *_ in lines()[:3000]) < 1300
    assert merged(broker, name, world.END + DAY)[0] == []


@pytest.mark.broker
def test_the_model_is_the_same_from_files_archive_and_topic(broker: Broker, topic: Callable[..., str], tmp_path: Path) -> None:
    """Byte for byte, with a range, an aborted transaction in the topic, and rows of Parquet in no order."""
    name = topic(lines())
    with closing(KafkaProducer(bootstrap_servers=broker.bootstrap, transactional_id=name)) as producer:
        producer.init_transactions()
        producer.begin_transaction()
        for time, key, value in lines()[5000:5050]:
            producer.send(name, value.replace(b'"event_id":"', b'"event_id":"again-'), key, timestamp_ms=time)
        producer.flush()
        producer.abort_transaction()
    sources = (
        ["--events", str(plain(tmp_path))],
        ["--events", str(parquet(tmp_path).parent)],
        ["--from-topic", "--set", f"topics.events={name}"],
    )
    within = ["--from", str(lines()[300][0] + 1), "--until", str(lines()[-300][0])]
    settings = ["--hypotheses", "general,harvest", "--set", f"kafka.bootstrap_servers={broker.bootstrap}"]
    models = []
    for number, source in enumerate(sources):
        out = tmp_path / f"models-{number}"
        assert main(["train", *source, *within, *settings, "--out", str(out)]) == 0
        [version] = [path for path in out.iterdir() if path.is_dir()]
        models.append({path.name: path.read_bytes() for path in version.iterdir()} | {"version": version.name.encode()})
    assert models[0] == models[1] == models[2]
    alerts = []
    for source in (sources[0], sources[2]):
        where = ["--models", str(tmp_path / "models-0"), "--alerts", str(tmp_path / "alerts"), "--budget", "300"]
        assert main(["replay", *source, *settings[2:], *where]) == 0
        alerts.append({(alert["actor"], alert["time"]) for alert in map(json.loads, (tmp_path / "alerts").open())})
    assert alerts[0] == alerts[1] != set()
    manifest = json.loads(models[0]["manifest.json"])
    inside = [1 for time, *_, value in lines() if lines()[300][0] < time < lines()[-300][0] and value != b"no event"]
    assert manifest["training"]["events"] == len(inside) and manifest["training"]["repeated"] >= 1


def plain(folder: Path) -> Path:
    path = folder / "events.ndjson"
    path.write_bytes(b"".join(value + b"\n" for _, _, value in lines()))
    return path


def parquet(folder: Path) -> Path:
    """The same with a column for each member, in an order that only times tell; what is no event is a row without any."""
    rows = [json.loads(value) if value != b"no event" else {} for _, _, value in lines()]
    for row in rows:
        row |= {name: ms(row[name]) for name in ("time", "valid_until") if name in row}
    (folder / "rows").write_text("".join(json.dumps(row) + "\n" for row in rows))
    kinds = {"time": "BIGINT", "valid_until": "BIGINT", "records": "BIGINT", "bytes": "BIGINT", "fields": "VARCHAR[]"}
    kinds |= {"src_lat": "DOUBLE", "src_lon": "DOUBLE"}
    columns = ", ".join(f"{name}: '{kinds.get(name, 'VARCHAR')}'" for name in MEMBERS)
    table = f"read_json('{folder}/rows', format='newline_delimited', columns={{{columns}}})"
    duckdb.sql(f"SELECT * REPLACE (make_timestamp(time * 1000) AS time) FROM {table} ORDER BY hash(event_id)").write_parquet(
        str(folder / "events.parquet")
    )
    return folder / "events.parquet"


def test_progress_of_what_has_no_known_end_tells_how_much_and_how_fast(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr(progress, "PATIENCE", 0.0)
    monkeypatch.setattr(progress, "PACE", 0.0)
    shown = Terminal()
    with progress.Progress("learning", " records", shown) as bar:
        bar.update(12_000, 0)
    assert re.search(r"learning: 12\.0 k records, [\d.]+ [kMG]? ?records/s\r", shown.getvalue()), shown.getvalue()


def test_one_source_must_be_given_and_only_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--out", "models"]) == 2 and "one of the arguments --events --query --from-topic" in capsys.readouterr().err
    assert main(["train", "--out", "models", "--from-topic", "--events", "a"]) == 2


@pytest.mark.broker
def test_a_topic_that_is_not_there_is_said_to_be(broker: Broker, unique: Callable[[str], str], capsys: pytest.CaptureFixture[str]) -> None:
    where = ["--bootstrap-servers", broker.bootstrap, "--set", f"topics.events={unique('none')}"]
    assert main(["train", "--from-topic", "--out", "models", *where]) == 6
    assert "does not exist" in capsys.readouterr().err
