"""Logs of alerts and heartbeats as the service writes them, made without it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from random import Random
from typing import Any

import msgspec

from detector.core import alerts, heartbeats
from detector.core.alerts import GENESIS, Alert, Evidence, ModelRef, Related
from detector.core.attribution import Reason
from detector.core.chain import Found, Place, Verification
from detector.core.daily_blocks import Origin

MINUTE = 60_000
BEGIN = 1_790_000_000_000
MODEL = ModelRef("employee", "abcdef012345", "ab" * 32)
CONTEXT = "cd" * 32


class Writer:
    """One task: every alert goes on with its chain."""

    def __init__(self, partition: int = 0, topic: str = "access-events") -> None:
        self.origin = Origin("employee", topic, partition)
        self.seq, self.head, self.beat, self.offset, self.time = 0, GENESIS, 0, 0, BEGIN

    def alert(self, actor: str = "e1", text: str = "looked at many people") -> bytes:
        self.offset += 3
        identity = alerts.alert_id(*self.origin, self.offset)
        about = [Evidence(*self.origin[1:], self.offset - 2, None), Evidence(*self.origin[1:], self.offset, f"ev-{self.offset}")]
        value = alerts.encode(
            Alert(
                alert_id=identity, kind="employee", time=self.time, actor=actor, subject="c7", team=None, score=0.9995, rarity=3.25,
                severity="low", incident_id=identity, reasons=(Reason("export", 0.75, text, ()),), evidence=tuple(about),
                related=Related((actor,), ("c7",)), model=MODEL, context=CONTEXT, confidence="about 9 days", late=False, seq=self.seq,
                prev_hash=self.head,
            )
        )  # fmt: skip
        self.seq, self.head = self.seq + 1, alerts.chain_hash(value)
        return value

    def heartbeat(self, wait: int = MINUTE) -> bytes:
        self.time, self.offset, self.beat = self.time + wait, self.offset + 1, self.beat + 1
        return heartbeats.encode(self.origin, self.beat - 1, self.seq, self.head, self.offset, self.time, MODEL, CONTEXT)


def written(seed: int, tasks: int = 1, length: int = 20) -> list[bytes]:
    """Alerts and heartbeats of some tasks, mingled; each task begins and ends with a heartbeat, and has two alerts at least."""
    random = Random(seed)
    writers = [Writer(partition) for partition in range(tasks)]
    out = [make() for writer in writers for make in (writer.heartbeat, writer.alert, writer.alert)]
    for _ in range(length):
        writer = random.choice(writers)
        out.append(writer.alert(f"e{random.randrange(4)}") if random.random() < 0.6 else writer.heartbeat())
    return out + [writer.heartbeat() for writer in writers]


def verified(values: Iterable[bytes], log: str = "alerts", **how: Any) -> tuple[list[Found], Verification]:
    """As one log, lines from 1 on."""
    verification = Verification(**how)
    found = [each for line, value in enumerate(values, 1) for each in verification.add(Place(log, line), value)]
    return found + list(verification.finish()), verification


def first_bad(found: Sequence[Found]) -> Found:
    return min(found, key=lambda each: each.fault.order)


def edited(value: bytes, random: Random) -> bytes:
    """The record with one value in it changed, wherever it stands, and nothing made to fit."""
    record = msgspec.json.decode(value)
    node, key = random.choice(list(_leaves(record)))
    old = node[key]
    if isinstance(old, bool) or old is None:
        node[key] = not old
    elif isinstance(old, str):
        at = random.randrange(len(old) + 1)
        node[key] = old[:at] + random.choice("0fx") + old[at + 1 :]
        node[key] = node[key] if node[key] != old else old + "0"
    else:
        node[key] = old + random.choice((-1, 1, 7))
    return msgspec.json.encode(record)


def _leaves(node: Any) -> Iterable[tuple[Any, Any]]:
    for key, value in node.items() if isinstance(node, dict) else enumerate(node):
        if isinstance(value, dict | list):
            yield from _leaves(value)
        else:
            yield node, key
