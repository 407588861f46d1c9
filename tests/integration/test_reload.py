"""SIGHUP: context and model are read anew while events flow. Every alert is by the context that was in force at its offset, whoever died
meanwhile; and a replay that knows the changes comes to the same.
"""

from __future__ import annotations

import json
import shutil
import signal
from pathlib import Path

import pytest
from faults import Rigged, finished, load
from harness import PARTITIONS, Stand, detector, flat, wait
from office import Office
from oracle import all_read, assert_snapshots, truth

from detector.changes import read_changes
from detector.files import read_context

pytestmark = pytest.mark.broker
MARK = "zebedee"
"""In every id, purpose and value that this module makes up."""
CARELESS = {"protected.csv": b"subject,class\n", "links.csv": b"subject,linked,kind\n", "fields.csv": b"field,sensitivity\n"}


def laid_out(office: Office, broker, folder: Path, unique) -> Stand:
    """With a context of its own; no snapshot before the end, so that who takes over has to do all events again."""
    shutil.copytree(office.folder / "context", folder / "context")
    kept = {"folder": str(folder / "context"), "history": str(folder / "history")}
    return office.stand(
        broker, folder, unique, context=kept, service={"snapshot_interval": 600.0}, logs={"audit_file": str(folder / "audit.log")},
        input={"max_age": 1e10, "batch_limit": 50},
    )  # fmt: skip


def swap(stand: Stand, files: dict[str, bytes]) -> None:
    for name, data in files.items():
        new = stand.folder / "context" / f".{name}"
        new.write_bytes(data)
        new.rename(stand.folder / "context" / name)


def reloads(service: Rigged, outcome: str) -> float:
    wanted = f'detector_reloads_total{{outcome="{outcome}",what="context"}}'
    return sum(float(line.split()[-1]) for line in service.get("/metrics")[1].splitlines() if line.startswith(wanted))


def hang_up(service: Rigged, outcome: str, before: float) -> None:
    service.process.send_signal(signal.SIGHUP)
    wait(lambda: reloads(service, outcome) == before + 1, 60, f"the context is {outcome}")


def replayed(office: Office, stand: Stand, changes: Path) -> list[bytes]:
    """The alerts of a replay that knows what the audit stream says."""
    events, out = stand.folder / "live.ndjson", stand.folder / "replayed.ndjson"
    events.write_bytes(b"".join(value + b"\n" for _, value in office.live))
    where = ("--config", str(stand.config()), "--events", str(events), "--changes", str(changes), "--alerts", str(out))
    detector("replay", *where, "--from", str(office.starts), "--partitions", str(PARTITIONS))
    return sorted(out.read_bytes().splitlines())


def test_a_context_that_is_reloaded_under_load_holds_from_an_offset_that_everybody_knows(office, broker, tmp_path, unique):
    stand = laid_out(office, broker, tmp_path, unique)
    before, half, more = read_context(tmp_path / "context"), len(office.live) // 2, len(office.live) * 3 // 4
    stand.feed(office.live[:half])
    with Rigged(stand) as service:
        service.until_at_work(half)
        with load(stand, office.live[half:more], (more - half) / 5):
            swap(stand, CARELESS)
            after = read_context(tmp_path / "context")
            hang_up(service, "taken", 0)
            for _ in range(200):
                service.process.send_signal(signal.SIGHUP)
        service.until_at_work(more)
        swap(stand, {"directory.csv": f"employee,team,hired\n{MARK}-1,sales,never\n".encode()})
        hang_up(service, "refused", 0)
        service.kill()  # who takes over has to do it all again, by both contexts
    swap(stand, {"directory.csv": (office.folder / "context" / "directory.csv").read_bytes()})
    stand.feed(office.live[more:])
    with Rigged(stand, 1) as service:
        wait(lambda: service.takeovers("input") == PARTITIONS, 120, "all is taken over")
        wait(lambda: all_read(stand), 120, "all is read")  # only then does the audit stream tell where each partition changed
        changes = read_changes(tmp_path / "audit.log", "employee")
        expected = truth(stand, office.starts, changes, {before.version: before})
        finished(stand, expected)
        assert not service.troubles()
        assert service.stop() == 0
    assert_snapshots(stand, expected)
    assert_audited(tmp_path / "audit.log", before.version, after.version)
    assert all(some[-1].context == after.version for some in changes.values())
    assert any([change.context for change in some] == [before.version, after.version] for some in changes.values())
    alerts = [value for values in expected.alerts.values() for _, value in values]
    by = {one.hash: sum(one.hash.encode() in alert for alert in alerts) for one in (before, after)}
    assert min(by.values()) > 1, "alerts by both, so that the test can fail"
    assert replayed(office, stand, tmp_path / "audit.log") == sorted(alerts)


def assert_audited(path: Path, before: str, after: str) -> None:
    said = [flat(line) for line in path.read_text().splitlines()]
    assert MARK not in path.read_text()
    assert {"serving", "stopped", "model changed", "the new context is refused, the old one stays"} <= {line["message"] for line in said}
    [taken] = [line for line in said if line["message"] == "another context is taken over"]
    assert (taken["detector.before"], taken["detector.context"]) == (before, after)


def test_whatever_comes_the_log_names_nobody_and_holds_nothing_of_what_came(office, broker, tmp_path, unique):
    """Good events, records that are refused, events at which we fail, and a context with a mistake."""
    stand = laid_out(office, broker, tmp_path, unique)
    good = {"time": office.starts, "resource": f"{MARK}-resource", "subject": f"{MARK}-subject", "purpose": f"{MARK}-purpose"}
    events = [{**good, "event_id": f"{MARK}-{i}", "actor": f"{MARK}-actor-{i}", "action": "read"} for i in range(200)]
    events += [{**events[i], "event_id": f"poison-{stage}-{MARK}-{i}"} for i, stage in enumerate(("decode", "observe", "score"))]
    bad = [f'{{"actor": "{MARK}-{i}", "action": "{MARK}"'.encode() for i in range(50)]
    bad += [json.dumps({**events[0], name: f"{MARK}\n{{}}"}).encode() for name in ("time", "action", "records")]
    with Rigged(stand, poison=True, settings=["logs.level=debug"]) as service:
        service.until_ready()
        stand.feed((str(event["actor"]).encode(), json.dumps(event).encode()) for event in events)
        stand.feed((f"{MARK}-key".encode(), one) for one in bad)
        wait(lambda: service.metric("detector_dead_letters_total") == len(bad) + 3, 60, "what is bad is refused")
        swap(stand, {"directory.csv": f"employee,team,hired\n{MARK}-1,sales,never\n".encode()})
        hang_up(service, "refused", 0)
        assert service.stop() == 0
    said = service.log.read_text()
    told = {line["message"] for line in service.said()}
    assert {"a record could not be processed and is set aside", "the new context is refused, the old one stays"} <= told
    assert MARK not in said and [line for line in said.splitlines() if not line.startswith("{")] == []
