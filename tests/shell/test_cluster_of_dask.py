"""Training on a Dask cluster of this machine: a scheduler and two workers, each a process of its own."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import cloudpickle
import msgspec
import pytest
import world
from dask.config import set as settings
from distributed import Client

from detector import cluster, training
from detector.cli import main
from detector.cluster import Cluster
from detector.core import hypotheses
from detector.core.events import ACTIONS, OUTCOMES, Records
from detector.core.views import EMPLOYEE
from detector.errors import ConfigError, ModelError
from detector.shards import Task

PATIENCE = 60.0
ROOT = Path(__file__).parents[2]


class Dask(NamedTuple):
    address: str
    workers: list[subprocess.Popen[bytes]]


@contextmanager
def process(folder: Path, *words: str) -> Iterator[subprocess.Popen[bytes]]:
    environ = os.environ | {"PYTHONPATH": str(ROOT)}
    with (folder / "log").open("ab") as log:
        made = subprocess.Popen([sys.executable, "-m", "dask", *words], cwd=folder, stdout=log, stderr=log, env=environ)
    try:
        yield made
    finally:
        made.kill()
        made.wait(PATIENCE)


@contextmanager
def running(folder: Path, workers: int) -> Iterator[Dask]:
    local = ("--host", "127.0.0.1", "--no-dashboard")
    with ExitStack() as stack:
        file = folder / "scheduler.json"
        stack.enter_context(process(folder, "scheduler", *local, "--port", "0", "--scheduler-file", str(file)))
        wait(lambda: file.exists() and bool(file.read_text()))
        address = json.loads(file.read_text())["address"]
        words = ("worker", address, *local, "--nthreads", "1", "--no-nanny", "--local-directory", str(folder))
        made = [stack.enter_context(process(folder, *words)) for _ in range(workers)]
        with Client(address, set_as_default=False) as client:
            client.wait_for_workers(workers, PATIENCE) if workers else None
        yield Dask(address, made)


@pytest.fixture(scope="module")
def dask(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dask]:
    with running(tmp_path_factory.mktemp("dask"), 2) as made:
        yield made


def wait(until: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not until():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def log() -> list[Records]:
    """A week, without keys and broker's times, as from a file; cut as it comes."""
    some = world.history()
    values = [json_of(row) for row in some.rows if row.time < int(some.time[0]) + 7 * 86_400_000]
    return [Records.of(values[start : start + 1500], first=start) for start in range(0, len(values), 1500)]


def json_of(event: Any) -> bytes:
    said = {name: value for name, value in msgspec.structs.asdict(event).items() if value is not None}
    return msgspec.json.encode(said | {"action": ACTIONS[event.action], "outcome": OUTCOMES[event.outcome]})


def task() -> Task:
    return Task(EMPLOYEE, hypotheses.names(), world.context(), seed=7, max_keys=1000)


def test_the_model_is_the_same_as_from_this_process(dask: Dask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "PIECE", 100_000)
    events, context = tmp_path / "events.ndjson", tmp_path / "context"
    events.write_bytes(b"".join((some.part(some.value, row) or b"") + b"\n" for some in log() for row in range(len(some))))
    context.mkdir()
    for name, content in world.company().context_files().items():
        (context / name).write_bytes(content)
    models = []
    for name, where in (("far", ["--cluster", dask.address]), ("here", [])):
        assert main(["train", "--events", str(events), "--context", str(context), "--out", str(tmp_path / name), *where]) == 0
        [version] = [path for path in (tmp_path / name).iterdir() if path.is_dir()]
        models.append({path.name: path.read_bytes() for path in version.iterdir()})
    assert models[0] == models[1] and len(json.loads(models[0]["manifest.json"])["views"]["employee"]["hypotheses"]) == 13


def test_a_cluster_and_jobs_are_not_asked_for_together(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--events", "x", "--out", "y", "--cluster", "tcp://127.0.0.1:1", "--jobs", "2"]) == 3
    assert "leave --jobs out" in capsys.readouterr().err


def test_what_comes_back_may_be_written_to(dask: Dask) -> None:
    crew = Cluster(task(), dask.address)
    try:
        for _, parts in zip(range(3), training.Router(2, task().limits).route(log()), strict=False):
            crew.take(parts.shards)
        for seen, (priority, values) in crew.each("summary"):
            assert seen.events > 0 and priority.flags.writeable and values.flags.writeable
    finally:
        crew.close()


def test_an_error_of_a_shard_is_told(dask: Dask) -> None:
    crew = Cluster(task(), dask.address)
    try:
        with pytest.raises(AttributeError, match="no_such_method"):
            crew.each("no_such_method")
    finally:
        crew.close()


def test_calls_are_made_once_and_in_their_order() -> None:
    place = cluster.Place()
    place.call(0, cloudpickle.dumps(("", task())))
    for number in (0, 2):
        with pytest.raises(RuntimeError, match="where 1 was due"):
            place.call(number, cloudpickle.dumps(("summary",)))
    assert pickle.loads(place.call(1, cloudpickle.dumps(("summary",))))[0].events == 0


def test_a_worker_with_another_program_is_refused(dask: Dask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "made_with", lambda: {"libraries": {"numpy": "0.1"}, "detector": "9.9"})
    with pytest.raises(ConfigError, match=r"on worker tcp://.*detector is .*, here 9\.9, numpy is .*, here 0\.1"):
        Cluster(task(), dask.address)


def test_where_nobody_answers_and_where_nobody_works_it_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "CONNECT", 3.0)
    with pytest.raises(ConfigError, match="no Dask scheduler answers"):
        Cluster(task(), "tcp://127.0.0.1:1")
    with running(tmp_path, 0) as made, pytest.raises(ConfigError, match="has no workers; start some with `dask worker"):
        Cluster(task(), made.address)


def test_a_worker_that_is_lost_ends_the_training(dask: Dask) -> None:
    """The last test here: it takes a worker from the others."""
    with settings({"distributed.comm.timeouts.connect": "2s"}):
        crew = Cluster(task(), dask.address)
        try:
            parts = training.Router(2, task().limits).route(log())
            crew.take(next(parts).shards)
            crew.each("summary")
            dask.workers[0].kill()
            dask.workers[0].wait()
            with pytest.raises(ModelError, match=r"worker tcp://.* was lost, and what it had learned with it"):
                for part in parts:
                    crew.take(part.shards)
                    crew.each("summary")
        finally:
            crew.close()
