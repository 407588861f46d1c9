"""G7: what real services wrote, killed in between, verifies as it is; a copy that was tampered with does not."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from harness import PARTITIONS, Serving, Stand, detector, wait
from office import Office
from oracle import all_delivered, truth

from detector.kafka.reader import Reader
from detector.sandbox.broker import Broker

pytestmark = pytest.mark.broker


def test_G7_what_services_wrote_between_two_kills_is_right_and_a_copy_that_was_changed_is_not(
    office: Office, broker: Broker, tmp_path: Path, unique: Callable[[str], str]
) -> None:
    stand = office.stand(broker, tmp_path, unique, input={"max_age": 1e10, "batch_limit": 20}, alerts={"heartbeat": 1.0})
    sent = stand.feed(office.live)
    expected = truth(stand, office.starts)
    for least in (1, sent // 3, sent // 2):
        with Serving(stand) as service:
            wait(lambda service=service, least=least: service.metric("detector_events_total") >= least, 60, "it is at work")
    with Serving(stand) as service:
        wait(lambda: all_delivered(stand, expected), 90, "all is delivered")
        beats = len(stand.heartbeats())
        wait(lambda: len(stand.heartbeats()) > beats + PARTITIONS, 30, "heartbeats say so")
    config = ("--config", str(stand.config()))
    heads = [json.loads(line) for line in detector("verify", *config, "--complete", "--json").stdout.splitlines()]
    assert [head["alerts"] for head in heads] == [len(expected.alerts[p]) for p in range(PARTITIONS)]
    assert all(head["heartbeats"] and head["seq"] == head["alerts"] for head in heads)

    copies = export(stand, tmp_path)
    (tmp_path / "heads").write_text("\n".join(map(json.dumps, heads)))
    assert detector("verify", "--file", *map(str, copies), "--complete", "--head", str(tmp_path / "heads")).returncode == 0
    lines = copies[0].read_bytes().splitlines()
    at = next(i for i, line in enumerate(lines) if b'"alert_id"' in line)
    copies[0].write_bytes(b"\n".join([*lines[:at], lines[at].replace(b'"late":false', b'"late":true'), *lines[at + 1 :]]))
    changed = detector("verify", "--file", *map(str, copies), check=False)
    assert changed.returncode == 5 and f"({copies[0]} line {at + 1}) altered: " in changed.stderr


def export(stand: Stand, folder: Path) -> list[Path]:
    """A file for each partition of the alerts."""
    paths = [folder / f"alerts-{p}.ndjson" for p in range(PARTITIONS)]
    with Reader(stand.settings, stand.alerts) as reader:
        for records in reader.read():
            with paths[records.partition].open("ab") as file:
                file.writelines((records.part(records.value, row) or b"") + b"\n" for row in range(len(records)))
    return [path for path in paths if path.exists()]
