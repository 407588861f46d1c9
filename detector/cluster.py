"""A cluster: a crew of shards (see `shards`) on the workers of a Dask cluster (extra `cluster`), one on each of them.

A shard is an actor of Dask's: it stays on its worker, and what goes to it and comes from it does not pass through the scheduler. Calls
are numbered, for Dask promises neither their order nor that a call is made only once. Everything is pickled in one piece, so that arrays
are there as they are here, and may be written to.
"""

from __future__ import annotations

import pickle
import platform
from collections.abc import Callable, Sequence
from typing import Any

from detector.core.events import EventBatch, Records
from detector.errors import ConfigError, ModelError
from detector.shards import Shard, Task
from detector.training import made_with

CONNECT = 15.0
"""Seconds in which the scheduler, and then each worker, must answer."""
PIECE = 4 << 20
"""Bytes of records that are sent to a worker at once; so much more may wait here for each of them."""


class Place:
    """A shard on a worker."""

    def __init__(self) -> None:
        self._shard: Shard | None = None
        self._calls = 0

    def call(self, number: int, packed: bytes) -> bytes:
        """Call `number` (they count from 0): a method of the shard with its arguments. The first makes the shard, of a task."""
        if number != self._calls:
            raise RuntimeError(f"call {number} came where {self._calls} was due")
        self._calls += 1
        name, *args = pickle.loads(packed)
        if self._shard is None:
            self._shard = Shard(*args)
            return pickle.dumps(None)
        return pickle.dumps(getattr(self._shard, name)(*args), pickle.HIGHEST_PROTOCOL)


class Cluster:
    """A crew of as many shards as the cluster has workers when it is made. Raises ConfigError, and ModelError where a worker is lost."""

    def __init__(self, task: Task, address: str) -> None:
        self._address = address
        self._client = _connected(address)
        try:
            self._workers = _workers(self._client, address)
            made = [self._client.submit(Place, actor=True, pure=False, workers=[worker]) for worker in self._workers]
            self._actors: list[Any] = [future.result(CONNECT) for future in made]
            self._made = made  # an actor lives as long as its future does
            self._calls = [0] * len(made)
            self._waiting: list[list[Records | EventBatch]] = [[] for _ in made]
            self._answers: list[Any] = [None] * len(made)
            self._all(lambda shard: self._call(shard, "", task))
        except BaseException:
            self.close()
            raise

    def __len__(self) -> int:
        return len(self._actors)

    def take(self, parts: Sequence[Records | EventBatch]) -> None:
        for shard, part in enumerate(parts):
            if len(part):
                self._waiting[shard].append(part)
                if sum(_size(some) for some in self._waiting[shard]) >= PIECE:
                    self._flush(shard)

    def each(self, name: str, *args: Any) -> list[Any]:
        for shard in range(len(self)):
            self._flush(shard)
        return self._all(lambda shard: self._call(shard, name, *args))

    def close(self) -> None:
        self._client.close(timeout=CONNECT)

    def _flush(self, shard: int) -> None:
        """What waits for a shard goes there: records as one run, for a shard is as slow with few events as with some thousands."""
        waiting, self._waiting[shard] = self._waiting[shard], []
        records = [part for part in waiting if isinstance(part, Records)]
        for part in [Records.joined(records)] if records else waiting:
            self._call(shard, "take", part)

    def _all(self, ask: Callable[[int], None]) -> list[Any]:
        for shard in range(len(self)):
            ask(shard)
        return [pickle.loads(self._answer(shard)) for shard in range(len(self))]

    def _call(self, shard: int, name: str, *args: Any) -> None:
        """Once the shard is done with the call before: a worker is never more than one ahead of the others."""
        from cloudpickle import dumps  # type: ignore[import-untyped]  # Dask's own; a view holds modules, which pickle does not know to name

        packed = dumps((name, *args))
        self._answer(shard)
        self._answers[shard] = self._guarded(shard, lambda: self._actors[shard].call(self._calls[shard], packed))
        self._calls[shard] += 1

    def _answer(self, shard: int) -> Any:
        answer, self._answers[shard] = self._answers[shard], None
        return None if answer is None else self._guarded(shard, answer.result)

    def _guarded(self, shard: int, work: Callable[[], Any]) -> Any:
        try:
            return work()
        except (OSError, RuntimeError, ValueError, KeyError) as error:  # as Dask tells of a worker that is gone
            if self._workers[shard] in self._client.scheduler_info(n_workers=-1)["workers"]:
                raise
            where = f"worker {self._workers[shard]} of the cluster {self._address}"
            raise ModelError(
                f"{where} was lost, and what it had learned with it\nif its memory was short, add workers; train again"
            ) from error


def _size(part: Records | EventBatch) -> int:
    return len(part.data) if isinstance(part, Records) else PIECE


def _connected(address: str) -> Any:
    try:
        from distributed import Client
    except ImportError as error:
        raise ConfigError("--cluster: this needs Dask; pip install 'detector[cluster]', here and on the workers") from error
    try:
        return Client(address, timeout=CONNECT, direct_to_workers=True)  # type: ignore[no-untyped-call]
    except (OSError, TimeoutError, ValueError) as error:
        raise ConfigError(f"--cluster {address}: no Dask scheduler answers there ({error}); give its address, tcp://HOST:8786") from error


def _workers(client: Any, address: str) -> list[str]:
    """The workers' addresses. Raises ConfigError where there are none, and where one would compute with something else than we do."""
    ours = _made_with()
    try:
        theirs: dict[str, dict[str, Any]] = client.run(_made_with)
    except Exception as error:
        raise ConfigError(f"--cluster {address}: a worker cannot load the detector ({error}); install it there, as it is here") from error
    if not theirs:
        raise ConfigError(f"--cluster {address}: the scheduler has no workers; start some with `dask worker {address} --nthreads 1`")
    for worker, found in sorted(theirs.items()):
        if found != ours:
            differing = ", ".join(f"{name} is {found.get(name)}, here {ours[name]}" for name in ours if found.get(name) != ours[name])
            raise ConfigError(f"--cluster {address}: on worker {worker} {differing}; models are the same only where the programs are")
    return sorted(theirs)


def _made_with() -> dict[str, Any]:
    made = made_with()
    return {"Python": platform.python_version(), "detector": made["detector"], **made["libraries"]}
