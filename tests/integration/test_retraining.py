"""The nightly job: the script that is deployed is run, on a broker that a service has written daily records to."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
from harness import Serving, Stand, wait
from office import Office

from detector import registry
from detector.registry import signatures
from detector.sandbox.broker import Broker

pytestmark = pytest.mark.broker
SCRIPT = Path(__file__).parents[2] / "config" / "deploy" / "retrain.sh"


class Night(NamedTuple):
    stand: Stand
    models: Path

    def run(self, *words: str, **settings: str) -> subprocess.CompletedProcess[str]:
        """As cron, systemd and Kubernetes run it."""
        path = f"{Path(sys.executable).parent}:/usr/bin:/bin"
        own = {"DETECTOR_CONFIG": str(self.stand.config()), "DETECTOR_MODELS": str(self.models), "PATH": path}
        kept = {name: value for name, value in os.environ.items() if name == "HOME" or name.startswith("NUMBA")}
        return subprocess.run([SCRIPT, *words], env={**kept, **own, **settings}, capture_output=True, text=True)


@pytest.fixture
def night(office: Office, broker: Broker, tmp_path: Path, unique: Callable[[str], str]) -> Night:
    """A registry of its own, and topics into which a service has scored the whole history."""
    shutil.copytree(office.folder / "models", tmp_path / "models")
    stand = office.stand(broker, tmp_path, unique, models={"registry": str(tmp_path / "models")}, gate={"rate": 20.0, "lost": 1.0})
    lines = (office.folder / "history.ndjson").read_bytes().splitlines()
    sent = stand.feed((json.loads(line)["actor"].encode(), line) for line in lines)
    with Serving(stand) as service:
        wait(lambda: service.metric("detector_events_total") >= sent, 120, "the history is scored")
        assert service.stop() == 0
    return Night(stand, tmp_path / "models")


def test_the_job_puts_a_refreshed_model_into_use_if_the_gate_lets_it(night: Night) -> None:
    before = registry.current(night.models, "champion")
    barred = night.run("refresh", DETECTOR__GATE__CORRELATION="1", DETECTOR__GATE__RATE="0.0001")
    assert barred.returncode == 1 and "The gate is closed" in barred.stdout, barred.stderr
    made = registry.current(night.models, "challenger")
    assert made != before and registry.current(night.models, "champion") == before

    private, public = night.models.parent / "key.pem", night.models.parent / "key.pem.pub"
    signatures.generate(private, public)
    done = night.run(DETECTOR_SIGN_WITH=str(private))
    assert done.returncode == 0 and "The gate is open" in done.stdout, done.stderr
    assert registry.current(night.models, "champion") == made, "the same records give the same model"
    assert registry.check(night.models, made, registry.Trust(registry.read_public_keys(public), required=True)).signed_by
    *_, last = registry.history(night.models)
    assert (last.event, last.version, last.by, last.why) == ("champion", made, "retrain.sh", "refresh: the gate was open")
    assert registry.rollback(night.models) == before

    assert night.run("weekly").returncode == 2
    failed = night.run(DETECTOR__TOPICS__PARTITIONS="many")
    assert failed.returncode == 3 and "topics.partitions" in failed.stderr, "a line that fails ends the script"
    assert registry.current(night.models, "champion") == before


@pytest.mark.slow
def test_the_job_trains_in_full_too(night: Night) -> None:
    before = registry.current(night.models, "champion")
    done = night.run("full", DETECTOR__GATE__CORRELATION="-1", DETECTOR__GATE__TEAM="1")
    assert done.returncode == 0, done.stdout + done.stderr
    assert registry.current(night.models, "champion") not in ("", before)
    assert registry.history(night.models)[-1].why == "full: the gate was open"
    for _ in range(2):  # and a refresh of that, by a timer that comes again though there is nothing new
        done = night.run(DETECTOR__GATE__CORRELATION="-1", DETECTOR__GATE__TEAM="1")
        assert done.returncode == 0, done.stdout + done.stderr
