"""`detector` with defects that only tests want: `RIG='{"poison": true}' python rigged.py serve ...`. No product code knows of them.

poison: an event whose id is `poison-STAGE...` makes that stage raise, whenever it comes there: decode, observe, score or encode.
clock: seconds by which the wall clock is wrong, in turn, each for a second and a half.
max_poll: seconds for group membership without a poll, in place of 120.   metadata_age: seconds after which topics are looked at again.
members: a file to which every membership goes by which offsets are committed, a JSON line each.
starved: the first event whose id is `starved...` finds no memory.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from kafka.producer.transaction_manager import TransactionManager

from detector.cli import main
from detector.core import alerts
from detector.core.formats import native
from detector.core.pipeline import Pipeline
from detector.core.tracking import Tracker
from detector.kafka import consumer

task: Any = Pipeline
tracker: Any = Tracker
reading: Any = consumer


class Poisoned(Exception):  # noqa: N818  what a bug of ours would raise
    """As if a stage had a bug that this event shows."""


def _bite(stage: str, ids: Sequence[str | None]) -> None:
    if any(said and said.startswith(f"poison-{stage}") for said in ids):
        raise Poisoned(stage)


def poison(_: bool) -> None:
    decode, observe, score, encode = native.decode, tracker.observe, task._score, alerts.encode

    def decode_or_die(records: Any, limits: Any) -> Any:
        if any(b'"poison-decode' in (records.part(records.value, row) or b"") for row in range(len(records))):
            raise Poisoned("decode")
        return decode(records, limits)

    def observe_or_die(self: Any, batch: Any) -> Iterator[Any]:
        for seen in observe(self, batch):  # by now the state has seen this run, the poisoned event included
            _bite("observe", [batch.rows[row].event_id for row in seen.row.tolist()])
            yield seen

    def score_or_die(self: Any, batch: Any, seen: Any, *more: Any) -> Any:
        _bite("score", [batch.rows[row].event_id for row in seen.row.tolist()])
        return score(self, batch, seen, *more)

    def encode_or_die(alert: Any) -> bytes:
        _bite("encode", [evidence.event_id for evidence in alert.evidence])
        return encode(alert)

    native.decode, tracker.observe = decode_or_die, observe_or_die
    task._score, alerts.encode = score_or_die, encode_or_die


def starved(_: bool) -> None:
    score, left = task._score, [True]

    def score_or_starve(self: Any, batch: Any, seen: Any, *more: Any) -> Any:
        if left and any((batch.rows[row].event_id or "").startswith("starved") for row in seen.row.tolist()):
            left.clear()
            raise MemoryError
        return score(self, batch, seen, *more)

    task._score = score_or_starve


def clock(wrong: Sequence[float]) -> None:
    real, real_ns, began = time.time, time.time_ns, time.monotonic()

    def off() -> float:
        return wrong[int((time.monotonic() - began) / 1.5) % len(wrong)]

    time.time = lambda: real() + off()
    time.time_ns = lambda: real_ns() + int(off() * 1e9)


def max_poll(seconds: float) -> None:
    _configured("max_poll_interval_ms", int(seconds * 1000))


def metadata_age(seconds: float) -> None:
    _configured("metadata_max_age_ms", int(seconds * 1000))


def _configured(name: str, value: int) -> None:
    connect = reading.connect

    def differently(*place: Any, **options: Any) -> Any:
        return connect(*place, **{**options, name: value})

    reading.connect = differently


def members(path: str) -> None:
    send: Callable[..., Any] = TransactionManager.send_offsets_to_transaction

    def send_and_tell(self: Any, offsets: Any, member: Any) -> Any:
        with Path(path).open("a") as told:
            told.write(json.dumps([member.generation_id, member.member_id]) + "\n")
        return send(self, offsets, member)

    TransactionManager.send_offsets_to_transaction = send_and_tell


if __name__ == "__main__":
    for name, value in json.loads(os.environ["RIG"]).items():
        {f.__name__: f for f in (poison, starved, clock, max_poll, metadata_age, members)}[name](value)
    sys.exit(main())
