"""Processes: a crew of shards (see `shards`) on this machine, each in a process of its own.

Records go there through a pipe, as they are; what is decoded stays there. A pipe holds little, so whoever reads the log waits while all are
busy. The processes are forks, made before anything else is under way: nothing has to be sent or compiled again.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import signal
from collections.abc import Sequence
from importlib import import_module
from multiprocessing.connection import Connection
from queue import Queue
from threading import Thread
from typing import Any

from detector.core.events import EventBatch, Records
from detector.errors import ModelError
from detector.shards import Shard, Task

AHEAD = 4
"""Parts that wait in a process, at some 2 MiB each: enough that one slow part does not make the others wait."""


class Processes:
    """A crew of so many. Raises ModelError where one of them ends."""

    def __init__(self, task: Task, jobs: int) -> None:
        context = multiprocessing.get_context("fork")
        self._ends: list[Connection] = []
        self._processes: list[Any] = []
        for _ in range(jobs):
            ours, theirs = context.Pipe()
            self._ends.append(ours)
            process = context.Process(target=_work, args=(task, theirs, tuple(self._ends)), daemon=True)
            process.start()
            theirs.close()  # nobody but the process has it: when it ends, ours says so
            self._processes.append(process)
        # the forest is fitted here, when all is read: what that needs takes half a second to load, in which they would wait
        Thread(target=import_module, args=("sklearn.ensemble",), daemon=True).start()

    def take(self, parts: Sequence[Records | EventBatch]) -> None:
        for shard, part in enumerate(parts):
            if len(part):
                self._send(shard, ("take", part))

    def each(self, name: str, *args: Any) -> list[Any]:
        for shard in range(len(self._ends)):
            self._send(shard, (name, *args))
        answers = [self._answer(shard) for shard in range(len(self._ends))]
        for error in answers:
            if isinstance(error, BaseException):
                raise error
        return answers

    def close(self) -> None:
        for end in self._ends:
            end.close()
        for process in self._processes:
            process.terminate()
            process.join()

    def _send(self, shard: int, message: tuple[Any, ...]) -> None:
        try:
            self._ends[shard].send(message)
        except OSError as error:
            raise self._ended(shard) from error

    def _answer(self, shard: int) -> Any:
        try:
            return self._ends[shard].recv()
        except (EOFError, OSError) as error:
            raise self._ended(shard) from error

    def _ended(self, shard: int) -> ModelError:
        self._processes[shard].join(5.0)
        code = self._processes[shard].exitcode
        return ModelError(f"process {shard + 1} of the training ended (exit code {code})\nif its memory was short, give fewer --jobs")


def _work(task: Task, end: Connection, others: Sequence[Connection]) -> None:
    """The life of a process: calls in their order, until nobody is left to call."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # who started us ends us
    for other in others:
        other.close()
    calls: Queue[tuple[Any, ...] | None] = Queue(AHEAD)
    Thread(target=_receive, args=(end, calls), daemon=True).start()
    shard, failed = Shard(task), None
    while (call := calls.get()) is not None:
        name, *args = call
        answer = None
        if failed is None:
            try:
                answer = getattr(shard, name)(*args)
            except Exception as error:  # told at the next barrier
                failed = error
        if name != "take":
            with contextlib.suppress(OSError):
                end.send(failed or answer)


def _receive(end: Connection, calls: Queue[tuple[Any, ...] | None]) -> None:
    try:
        while True:
            calls.put(end.recv())
    except (EOFError, OSError):
        calls.put(None)
