"""The AsyncAPI document: valid by the specification's own schema, and its topics, members and words are those of the code.

`asyncapi-3.0.0.json.gz` is the JSON Schema of AsyncAPI 3.0.0 as published in the package @asyncapi/specs 6.11.1 (Apache License 2.0).
That a running service's messages fit the document is tested in tests/integration/test_messages.py.
"""

from __future__ import annotations

import copy
import dataclasses
import gzip
import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from detector import __version__
from detector.core import hypotheses
from detector.core.alerts import SEVERITIES, Alert, Evidence, ModelRef, Related
from detector.core.attribution import Reason
from detector.core.dead_letters import REASONS
from detector.core.events import ACTIONS, OUTCOMES, DeadLetter
from detector.core.formats import native
from detector.core.heartbeats import Heartbeat
from detector.core.verdicts import KINDS, Verdict
from detector.kafka.topics import DESIGN

HERE = Path(__file__).parent
DOCUMENT: dict[str, Any] = yaml.safe_load((HERE.parents[1] / "docs/reference/asyncapi.yaml").read_text("utf-8"))
SPECIFICATION: dict[str, Any] = json.loads(gzip.decompress((HERE / "asyncapi-3.0.0.json.gz").read_bytes()))
SCHEMAS = DOCUMENT["components"]["schemas"]


def problems(document: dict[str, Any]) -> list[str]:
    return [f"{error.json_path}: {error.message[:200]}" for error in jsonschema.Draft7Validator(SPECIFICATION).iter_errors(document)]


def test_the_document_is_valid_by_the_specification() -> None:
    assert problems(DOCUMENT) == []


@pytest.mark.parametrize("path", [("info", "title"), ("channels", "alerts", "messages", "alert"), ("operations", "raise", "action")])
def test_a_document_that_is_not_valid_is_found(path: tuple[str, ...]) -> None:
    broken = copy.deepcopy(DOCUMENT)
    part = broken
    for name in path[:-1]:
        part = part[name]
    part[path[-1]] = 7
    assert problems(broken) != []


def test_every_reference_leads_somewhere() -> None:
    def look(part: Any) -> None:
        if isinstance(part, dict):
            if "$ref" in part:
                target: Any = DOCUMENT
                for name in part["$ref"].removeprefix("#/").split("/"):
                    target = target[name]
            for below in part.values():
                look(below)
        elif isinstance(part, list):
            for below in part:
                look(below)

    look(DOCUMENT)


def test_its_topics_are_those_of_the_service_with_their_settings() -> None:
    said = {}
    for name, channel in DOCUMENT["channels"].items():
        settings = channel["bindings"]["kafka"]["topicConfiguration"]
        said[name] = {key: ",".join(value) if isinstance(value, list) else str(value) for key, value in settings.items()}
        assert channel["address"] == channel["bindings"]["kafka"]["topic"] == name
    assert said == DESIGN
    assert DOCUMENT["info"]["version"] == __version__


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("alert", Alert), ("notable", Alert), ("reason", Reason), ("evidence", Evidence), ("model", ModelRef), ("heartbeat", Heartbeat),
        ("deadLetter", DeadLetter), ("verdict", Verdict), ("accessEvent", native.NativeEvent),
    ],
)  # fmt: skip
def test_its_members_are_those_of_the_code(name: str, kind: Any) -> None:
    members = getattr(kind, "__struct_fields__", None) or [field.name for field in dataclasses.fields(kind)]
    assert set(SCHEMAS[name]["properties"]) == set(members)
    assert set(SCHEMAS["alert"]["properties"]["related"]["properties"]) == set(Related.__struct_fields__)


def test_its_words_are_those_of_the_code() -> None:
    def words(name: str, member: str) -> set[str]:
        return set(SCHEMAS[name]["properties"][member]["enum"])

    assert words("deadLetter", "reason") == set(REASONS)
    assert words("verdict", "verdict") == set(KINDS)
    assert words("alert", "severity") == {name for name, _ in SEVERITIES} | {"low"}
    assert words("reason", "hypothesis") == set(hypotheses.names())
    assert words("accessEvent", "action") == set(ACTIONS)
    assert words("accessEvent", "outcome") == set(OUTCOMES)


def test_its_examples_are_what_it_describes() -> None:
    shown = [
        (name, example["payload"])
        for name, message in DOCUMENT["components"]["messages"].items()
        for example in message.get("examples", ())
    ]
    assert len(shown) >= 3
    for name, payload in shown:
        jsonschema.Draft7Validator(SCHEMAS[name] | {"components": DOCUMENT["components"]}).validate(payload)
