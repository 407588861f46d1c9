"""Every message of a running service is what the AsyncAPI document says."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest
import yaml
from bad_records import event
from harness import Serving, Stand, wait
from office import Office

from detector.core.verdicts import Verdict, encode
from detector.kafka.reader import Reader
from detector.sandbox.broker import Broker

DOCUMENT: dict[str, Any] = yaml.safe_load((Path(__file__).parents[2] / "docs/reference/asyncapi.yaml").read_text("utf-8"))
SECONDS = 120.0


def validator(message: str) -> tuple[Any, Any]:
    """Of the key, and of the value."""
    said = DOCUMENT["components"]["messages"][message]
    schemas = (said["bindings"]["kafka"]["key"], said["payload"])
    return tuple(jsonschema.Draft7Validator(schema | {"components": DOCUMENT["components"]}) for schema in schemas)  # type: ignore[return-value]


VALIDATORS = {name: validator(name) for name in DOCUMENT["components"]["messages"]}


def kind_of(role: str, key: bytes, value: Any) -> str:
    """Which of a channel's messages it is."""
    if role == "alerts":
        return "heartbeat" if value["kind"] == "heartbeat" else "alert"
    if role == "state-employee":
        return {b"P": "position", b"M": "manifest", b"S": "chunk"}[key[:1]]
    (name,) = DOCUMENT["channels"][role]["messages"]
    return str(name)


def read(role: str, key: bytes, value: bytes) -> Any:
    """The value as its content type says."""
    if role == "daily" or key[:2] == b"M/":
        return msgspec.to_builtins(msgspec.msgpack.decode(value), builtin_types=(bytes,))
    return value if key[:2] == b"S/" else json.loads(value)


def records(stand: Stand, topic: str) -> Iterator[tuple[bytes, bytes]]:
    with Reader(stand.settings, topic) as reader:
        for run in reader.read():
            for row in range(len(run)):
                yield run.part(run.key, row) or b"", run.part(run.value, row) or b""


def judged(role: str, key: bytes, value: bytes) -> tuple[str, list[str]]:
    """The message's name, and what is wrong with it."""
    said = read(role, key, value)
    name = kind_of(role, key, said)
    of_key, of_value = VALIDATORS[name]
    errors = [*of_key.iter_errors(key.decode()), *of_value.iter_errors(_plain(said))]
    return name, [f"{name} {error.json_path}: {error.message[:200]}" for error in errors]


def _plain(said: Any) -> Any:
    """Tuples as JSON has them."""
    if isinstance(said, dict):
        return {name: _plain(part) for name, part in said.items()}
    return [_plain(part) for part in said] if isinstance(said, list | tuple) else said


@pytest.mark.broker
def test_every_message_of_a_service_is_what_the_document_says(
    office: Office, broker: Broker, unique: Callable[[str], str], tmp_path: Path
) -> None:
    stand = office.stand(broker, tmp_path, unique, alerts={"heartbeat": 1.0}, service={"snapshot_interval": 1.0})
    bad = [(b"e1", event(actor=...)), (b"e1", b"{"), (b"e1", None), (None, event(actor="e1"))]
    sent = stand.feed([*office.live, *bad])
    with Serving(stand) as serving:
        done = ("detector_events_total", "detector_dead_letters_total")
        wait(lambda: sum(map(serving.metric, done)) >= sent, SECONDS, "everything is processed")
        wait(lambda: serving.metric("detector_snapshots_total") >= 1, SECONDS, "a snapshot is written")
        wait(lambda: serving.metric("detector_heartbeats_total") >= 4, SECONDS, "there are heartbeats")
        assert serving.stop() == 0
    roles = {
        "access-events": stand.events, "alerts": stand.alerts, "notables": stand.notables, "daily": stand.daily,
        "state-employee": stand.state, "dead-letters": stand.dead_letters,
    }  # fmt: skip
    refused = {value for _, value in bad}
    seen, wrong = Counter[str](), list[str]()
    for role, topic in roles.items():
        for key, value in records(stand, topic):
            if role != "access-events" or value not in {v or b"" for v in refused}:
                name, errors = judged(role, key, value)
                seen[name] += 1
                wrong += errors
    name, errors = judged("verdicts", *encode(Verdict("0" * 32, "duplicate", "ann", time.time_ns() // 1_000_000, "why")))
    assert wrong + errors == []
    assert {*seen, name} == set(DOCUMENT["components"]["messages"]), "each kind of message was seen"


def test_a_message_that_is_not_so_is_found() -> None:
    key, value = encode(Verdict("0" * 32, "duplicate", "ann", 1_788_904_800_000))
    for changed in (value.replace(b"duplicate", b"dupe"), value.replace(b'"by"', b'"from"'), value.replace(b"1788904800000", b"1.5")):
        assert judged("verdicts", key, changed)[1] != []
    assert judged("state-employee", b"M/2", msgspec.msgpack.encode({"format": 1, "sha256": b"", "body": b""}))[1] != []
