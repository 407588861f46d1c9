"""systemd's own words on the units, and that they agree with the program."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from files import DEPLOY, unit, unit_environment

from detector import supervisor
from detector.cli import parser, serve
from detector.config import load
from detector.errors import ConfigError, ContextError, ModelError, StateError

SYSTEMD = DEPLOY / "systemd"
SERVICES = ("detector@.service", "detector-retrain@.service")
TIMERS = ("detector-retrain@refresh.timer", "detector-retrain@full.timer")
MOST = 25
"""Tenths of systemd's exposure level, of which 100 is the most."""


def analyze(*words: str, folder: Path) -> tuple[int, str]:
    if shutil.which("systemd-analyze") is None:
        raise AssertionError("systemd-analyze is not there: `apt-get install systemd` (it need not run)")
    done = subprocess.run(["systemd-analyze", "--no-pager", *words], cwd=folder, capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """The units, with instances, as in /etc/systemd/system; the program's files are there."""
    for name in ("detector", "retrain.sh"):
        (tmp_path / name).write_text("#!/bin/sh\n")
        (tmp_path / name).chmod(0o755)
    for path in SYSTEMD.iterdir():
        text = path.read_text("utf-8").replace("/opt/detector/.venv/bin/detector", str(tmp_path / "detector"))
        (tmp_path / path.name).write_text(text.replace("/opt/detector/retrain.sh", str(tmp_path / "retrain.sh")))
    for template, instances in (("detector@", "0"), ("detector-retrain@", "refresh full")):
        for instance in instances.split():
            (tmp_path / f"{template}{instance}.service").symlink_to(f"{template}.service")
    return tmp_path


def complaints(folder: Path, name: str) -> list[str]:
    """What `verify` says of our units; others of the machine may have faults of their own."""
    status, said = analyze("verify", f"./{name}", folder=folder)
    return [line for line in said.splitlines() if "detector" in line] + ([f"status {status}"] if status else [])


@pytest.mark.parametrize("name", ["detector@0.service", "detector-retrain@full.service", *TIMERS])
def test_systemd_finds_nothing_wrong_with_a_unit(installed: Path, name: str) -> None:
    assert complaints(installed, name) == []


def test_systemd_finds_a_misspelt_key(installed: Path) -> None:
    template = installed / SERVICES[0]
    template.write_text(template.read_text().replace("WatchdogSec", "WatchdogSecs"))
    assert any("WatchdogSecs" in line for line in complaints(installed, "detector@0.service"))


@pytest.mark.parametrize("name", SERVICES)
def test_a_unit_is_exposed_to_little(installed: Path, name: str) -> None:
    command = ("security", "--offline=yes", f"--threshold={MOST}", f"./{name}")
    status, said = analyze(*command, folder=installed)
    assert status == 0, said
    bare = [
        line for line in (installed / name).read_text().splitlines() if not re.match("Protect|Private|Restrict[AN]|SystemCall|Capab", line)
    ]
    (installed / name).write_text("\n".join(bare))
    assert analyze(*command, folder=installed)[0] != 0, "what makes it so"


@pytest.mark.parametrize("name", SERVICES)
def test_a_unit_lets_the_program_do_what_it_must(name: str) -> None:
    service = unit(name)["Service"]
    assert service["LimitCORE"] == "0", "memory holds who looks at what"
    assert "MemoryDenyWriteExecute" not in service, "kernels are compiled at run time"
    cache = unit_environment(name, "0")["NUMBA_CACHE_DIR"]
    assert cache == f"/var/cache/{service['CacheDirectory']}" and service["ProtectSystem"] == "strict"
    assert set(service["RestrictAddressFamilies"].split()) >= {"AF_INET", "AF_INET6", "AF_UNIX"}, "brokers, and systemd's socket"


def seconds(text: str) -> float:
    number, unit_ = re.fullmatch(r"(\d+)(min|h|)", text).groups()  # type: ignore[union-attr]
    return int(number) * {"": 1, "min": 60, "h": 3600}[unit_]


def test_the_services_unit_is_patient_where_the_program_needs_time() -> None:
    service, config = unit("detector@.service")["Service"], load().config
    assert service["Type"] == "notify"
    assert seconds(service["WatchdogSec"]) > config.service.watchdog, "the process ends a loop that stands still by itself first"
    assert seconds(service["TimeoutStartSec"]) >= supervisor.PATIENCE + 300, "compiling, before the loop turns"
    assert seconds(service["TimeoutStopSec"]) >= serve.DRAIN + 10
    assert service["ExecReload"] == "/bin/kill -HUP $MAINPID"


def test_the_service_is_started_again_but_for_what_a_person_must_mend() -> None:
    service = unit("detector@.service")["Service"]
    mended = {2, *(error.exit_code for error in (ConfigError, ContextError, ModelError, StateError))}
    assert service["Restart"] == "on-failure" and {int(code) for code in service["RestartPreventExitStatus"].split()} == mended


def test_a_unit_is_the_process_of_its_number() -> None:
    config = load(environ=unit_environment("detector@.service", "3") | {"NUMBA_CACHE_DIR": ""}).config
    assert (config.group.ordinal, config.group.instance_id, config.metrics.port) == (3, "detector-3", 9113)
    words = unit("detector@.service")["Service"]["ExecStart"].split()
    args = parser().parse_args(words[1:])
    assert words[0] == "/opt/detector/.venv/bin/detector" and args.run is serve.run and args.config == Path("/etc/detector/detector.toml")


def test_the_timers_never_start_both_trainings_on_a_day(tmp_path: Path) -> None:
    when = {name: unit(name)["Timer"]["OnCalendar"] for name in TIMERS}
    assert when == {TIMERS[0]: "*-*-02..31 02:30:00 UTC", TIMERS[1]: "*-*-01 02:30:00 UTC"}
    for expression in when.values():
        assert analyze("calendar", expression, folder=tmp_path)[0] == 0
