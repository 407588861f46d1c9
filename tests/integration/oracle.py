"""What must stand in the topics, computed from the input topic alone: the same pure functions, offline, with no service in between."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
from harness import PARTITIONS, Stand, wait
from kafka import KafkaConsumer, TopicPartition

from detector.changes import Change
from detector.core.alerts import GENESIS, chain_hash
from detector.core.context import Context
from detector.core.daily_blocks import Origin, blocks_of, encode
from detector.core.daily_blocks import decode as decode_block
from detector.core.dead_letters import dead_letter_record
from detector.core.events import EventBatch, Records
from detector.core.formats.native import Limits, decode
from detector.core.framing import Framer
from detector.core.model import Model
from detector.core.pipeline import Outcome, Pipeline, Policy
from detector.core.snapshots import Assembly, chunk_key
from detector.core.strings import kafka_partitions
from detector.core.views import EMPLOYEE
from detector.files import read_context
from detector.kafka.reader import Reader
from detector.marks import POSITION, Mark, read_position
from detector.registry import current, load_model

Outputs = dict[int, list[tuple[int, bytes]]]
"""By partition of the input: (offset of the record that led to it, value), in order."""
Blocks = dict[int, list[tuple[tuple[int, int], bytes]]]
"""By partition of the input: ((day, block) of daily records, value), in order."""
Committed = dict[int, tuple[int, Mark] | None]


class Truth(NamedTuple):
    alerts: Outputs
    notables: Outputs
    dead_letters: Outputs
    daily: Blocks
    records: int
    events: int
    states: dict[int, str]
    """By partition of the input: hash of the state after all of it."""


def truth(
    stand: Stand, starts: int, changes: Mapping[int, Sequence[Change]] = {}, contexts: Mapping[str, Context] = {}
) -> Truth:  # fmt: skip
    """Of what is in the input topic now; each record is looked at once, and alone in its batch or not does not matter. `changes`: by
    partition, from which offset on which model and context were in force; without, the champion and what the folder holds.
    `contexts`: those that are not in the folder, by version.
    """
    said = {name: stand.sections.get(name, {}) for name in ("context", "models", "detection", "input")}
    context = read_context(Path(said["context"]["folder"])) if said["context"] else Context.empty()
    known = {context.version: context, **contexts}
    registry = Path(said["models"]["registry"])
    model = _model(registry, current(registry, "champion"))
    policy = Policy(said["detection"].get("budget", 1.0), starts, round(said["input"].get("max_age", 86_400.0) * 1000))
    tasks = {p: Pipeline(EMPLOYEE, model, context, policy, 100_000) for p in range(PARTITIONS)}
    found = Truth(*({p: [] for p in tasks} for _ in range(4)), 0, 0, {})  # type: ignore[arg-type]
    records = events = 0
    with Reader(stand.settings, stand.events) as reader:
        for run in reader.read():
            records, p = records + len(run), run.partition
            for piece, new in _pieces(run, changes.get(p, ())):
                for change in new:
                    framer = Framer(known[change.context], model.baselines) if change.context else None
                    tasks[p].adopt(_model(registry, change.model) if change.model else tasks[p].model, framer)
                batch = decode(piece, Limits())
                events += len(batch)
                _add(found, p, batch, tasks[p].process(batch), stand.events)
    return found._replace(records=records, events=events, states={p: hash_of(task.snapshot()) for p, task in tasks.items()})


@cache
def _model(registry: Path, version: str) -> Model:
    return load_model(registry, version, EMPLOYEE.name, EMPLOYEE.names)


def _pieces(run: Records, changes: Sequence[Change]) -> Iterator[tuple[Records, list[Change]]]:
    """With what is new at its first record, or was before it in this run."""
    at = np.searchsorted(run.offset, [change.offset for change in changes]).tolist()
    for start, stop in pairwise(sorted({0, len(run), *at})):
        yield run.take(slice(start, stop)), [change for row, change in zip(at, changes, strict=True) if row == start]


def _add(found: Truth, p: int, batch: EventBatch, outcome: Outcome, topic: str) -> None:
    found.dead_letters[p].extend((letter.offset, dead_letter_record(letter)[1]) for letter in batch.dead)
    found.alerts[p].extend((_raised_by(value), value) for _, value in outcome.alerts)
    found.notables[p].extend((_raised_by(value), value) for _, value in outcome.notables)
    for day in outcome.daily:
        whose = Origin(EMPLOYEE.name, topic, p)
        found.daily[p].extend(((day.day, chunk), encode(whose, day, chunk)) for chunk in range(blocks_of(day)))


def hash_of(arrays: Mapping[str, Any]) -> str:
    """Of a state, to the byte."""
    found = hashlib.sha256()
    for name in sorted(arrays):
        found.update(repr((name, arrays[name].dtype.str, arrays[name].shape)).encode() + arrays[name].tobytes())
    return found.hexdigest()


def states(stand: Stand) -> dict[int, tuple[int, str] | None]:
    """By partition: how far its newest snapshot that is committed has seen the input, and its hash; read as a takeover does."""
    found: dict[int, tuple[int, str] | None] = {}
    records: dict[int, list[tuple[int, bytes, bytes]]] = {p: [] for p in range(PARTITIONS)}
    with Reader(stand.settings, stand.state) as reader:
        for run in reader.read():
            records[run.partition] += [
                (int(run.offset[row]), run.part(run.key, row) or b"", run.part(run.value, row) or b"") for row in range(len(run))
            ]
    for p, at in committed(stand).items():
        found[p] = None
        if at is not None and at[1].snapshot >= 0:
            manifest = next(value for offset, _, value in records[p] if offset == at[1].snapshot)
            assembly = Assembly(manifest, Origin(EMPLOYEE.name, stand.events, p))
            parts = [(key, value) for offset, key, value in records[p] if assembly.since <= offset < at[1].snapshot]
            for i in range(assembly.chunks):
                assembly.add(i, next(value for key, value in parts if key == chunk_key(assembly.generation, i)))
            found[p] = assembly.offset, hash_of(assembly.arrays())
    return found


def positions(stand: Stand) -> dict[int, tuple[int, Mark] | None]:
    """What the last position record of each partition says."""
    found: dict[int, tuple[int, Mark] | None] = dict.fromkeys(range(PARTITIONS))
    with Reader(stand.settings, stand.state) as reader:
        for run in reader.read():
            for row in range(len(run)):
                if run.part(run.key, row) == POSITION:
                    said = read_position(run.part(run.value, row), run.partition)
                    found[run.partition] = said.offset, said.mark
    return found


def _raised_by(alert: bytes) -> int:
    return max(int(e["offset"]) for e in json.loads(alert)["evidence"])


class Delivered(NamedTuple):
    alerts: Outputs
    notables: Outputs
    dead_letters: Outputs
    daily: Blocks


def delivered(stand: Stand, isolation: str = "read_committed") -> Delivered:
    """What stands in the topics."""
    found = Delivered(*({p: [] for p in range(PARTITIONS)} for _ in range(4)))  # type: ignore[arg-type]
    for topic, outputs in ((stand.alerts, found.alerts), (stand.notables, found.notables)):
        for value in (value for values in stand.read(topic, isolation).values() for value in values):
            outputs[json.loads(value)["evidence"][0]["partition"]].append((_raised_by(value), value))
    for value in (value for values in stand.read(stand.dead_letters, isolation).values() for value in values):
        said = json.loads(value)
        found.dead_letters[said["partition"]].append((said["offset"], value))
    for value in (value for values in stand.read(stand.daily, isolation).values() for value in values):
        block = decode_block(value)
        found.daily[block.origin.partition].append(((block.records.day, block.chunk), value))
    return found


def committed(stand: Stand) -> Committed:
    """The group's offsets with what their metadata says; those of a transaction that is not finished are not waited for."""
    client = KafkaConsumer(**stand.settings, group_id=stand.group, enable_auto_commit=False)
    try:
        found: Committed = {}
        for p in range(PARTITIONS):
            at = client.committed(TopicPartition(stand.events, p), metadata=True)
            found[p] = None if at is None or at.offset < 0 else (at.offset, msgspec.json.decode(at.metadata, type=Mark))
        return found
    finally:
        client.close()


def all_read(stand: Stand) -> bool:
    """Whether all that is in the input topic is committed."""
    return _at_the_end(stand, committed(stand))


def _at_the_end(stand: Stand, at: Committed) -> bool:
    return {p: mark[0] if mark else 0 for p, mark in at.items()} == ends(stand, stand.events, "read_committed")


def all_delivered(stand: Stand, expected: Truth) -> bool:
    """Whether, besides, all daily records are sent."""
    at = committed(stand)
    return _at_the_end(stand, at) and all(
        mark is None or _place(expected.daily[p]) in ((mark[1].day, mark[1].blocks), None) for p, mark in at.items()
    )


def _place(blocks: list[tuple[tuple[int, int], bytes]]) -> tuple[int, int] | None:
    """How a mark names the place behind the last block."""
    return (blocks[-1][0][0], blocks[-1][0][1] + 1) if blocks else None


def ends(stand: Stand, topic: str, isolation: str) -> dict[int, int]:
    with Reader(stand.settings, topic, isolation) as reader:
        return {place.partition: end for place, end in reader._ends("end").items()}


def assert_delivered_up_to_the_committed_offsets(stand: Stand, expected: Truth) -> None:
    """At any moment, however the service died: outputs of what is before the offset are there, once; of what is behind it, none."""

    def together() -> bool:  # a commit that the broker has decided reaches the partitions one after the other
        before = committed(stand)
        wanted = (_before(outputs, before) for outputs in (expected.alerts, expected.notables, expected.dead_letters))
        return delivered(stand) == (*wanted, _sent(expected.daily, before)) and committed(stand) == before

    wait(together, 25.0, "outputs and committed offsets agree")


def _before(outputs: Outputs, at: Committed) -> Outputs:
    return {p: [output for output in outputs[p] if output[0] < (mark[0] if (mark := at[p]) else 0)] for p in outputs}


def _sent(blocks: Blocks, at: Committed) -> Blocks:
    """As far as the metadata says."""
    return {p: [block for block in blocks[p] if (mark := at[p]) and block[0] < (mark[1].day, mark[1].blocks)] for p in blocks}


def _at_one_time(stand: Stand) -> tuple[Committed, Committed]:
    """Committed offsets, and what the state topic says; a service that is still there writes both now and then, in one transaction."""
    at = committed(stand)
    while True:
        told, before, at = positions(stand), at, committed(stand)
        if at == before:
            return at, told


def assert_exact(stand: Stand, expected: Truth) -> None:
    """At the end: everything, once, in order, byte for byte, with an unbroken chain; and nothing is left open."""
    found, (at, told) = delivered(stand), _at_one_time(stand)
    assert found.alerts == expected.alerts
    assert found.notables == expected.notables
    assert found.dead_letters == expected.dead_letters
    assert found.daily == expected.daily
    final = ends(stand, stand.events, "read_committed")
    for p in range(PARTITIONS):
        head, mark = assert_chained([value for _, value in found.alerts[p]]), at[p]
        if mark is None:
            assert final[p] == 0
        else:
            assert (mark[0], mark[1].seq, mark[1].head) == (final[p], len(found.alerts[p]), head)
    assert told == at
    for topic in stand.outputs:
        # a service that is still there has one open for some milliseconds, now and then; one that is forgotten stays for 10 s
        wait(
            lambda topic=topic: ends(stand, topic, "read_committed") == ends(stand, topic, "read_uncommitted"),
            3,
            f"{topic} has no open transaction",
        )


def assert_snapshots(stand: Stand, expected: Truth) -> None:
    """After an orderly stop: whoever takes over finds the state of the end, to the byte, and has nothing to do again."""
    final = ends(stand, stand.events, "read_committed")
    wanted = {p: (final[p], expected.states[p]) for p in final if final[p]}
    assert {p: at for p, at in states(stand).items() if final[p]} == wanted


def assert_chained(values: list[bytes]) -> str:
    """Alerts of one partition: counted without a gap, each naming the one before. Gives the head of the chain."""
    head = GENESIS
    for seq, value in enumerate(values):
        said = json.loads(value)
        assert (said["seq"], said["prev_hash"]) == (seq, head)
        head = chain_hash(value)
    return head


def home(actor: str) -> int:
    return int(kafka_partitions([actor], PARTITIONS)[0])
