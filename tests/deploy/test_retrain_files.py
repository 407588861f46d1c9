"""The nightly training is one script; cron, systemd, Kubernetes and the pages run it, and say the same of it."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from files import DEPLOY, DOCKERFILE, ROOT, built, of_kind, unit

from detector.cli import parser
from detector.config import load

SCRIPT = DEPLOY / "retrain.sh"
HOW_TO = ROOT / "docs" / "how-to"
PLACE = "/opt/detector/retrain.sh"


def blocks(page: str, kind: str) -> list[str]:
    return re.findall(rf"^```{kind}\n(.*?)^```", (HOW_TO / page).read_text("utf-8"), re.M | re.S)


def test_the_page_shows_the_script_as_it_is() -> None:
    assert [block for block in blocks("retrain-every-night.md", "sh") if block.startswith("#!")] == [SCRIPT.read_text("utf-8")]
    assert SCRIPT.stat().st_mode & 0o111 and SCRIPT.read_text("utf-8").startswith("#!/bin/sh\n")


def test_every_command_of_the_script_is_one_of_the_programs() -> None:
    text = re.sub(r"\$\{key:\+(--[a-z-]+) [^}]*\}", r"\1 KEY", SCRIPT.read_text("utf-8"))
    lines = [line.split(")", 1)[-1] if re.match(r"\s+\w+\) ", line) else line for line in text.splitlines()]
    commands = [re.split(r" >|;;", line)[0].split("detector ", 1)[1] for line in lines if re.match(r"\s*detector ", line)]
    assert len(commands) == 5
    for command in commands:
        parser().parse_args(shlex.split(command))


def test_cron_and_systemd_run_it_every_night_and_never_twice_at_once() -> None:
    cron = (DEPLOY / "cron" / "detector-retrain").read_text("utf-8")
    entries = [line.split(maxsplit=6) for line in cron.splitlines() if line[0].isdigit()]
    assert [entry[:5] for entry in entries] == [["30", "2", "2-31", "*", "*"], ["30", "2", "1", "*", "*"]]
    assert [entry[6].split(f"{PLACE} ")[1] for entry in entries] == ["refresh", "full"]
    assert len({entry[6].split("/opt")[0] for entry in entries}) == 1 and "flock -n" in entries[0][6]
    service = unit("detector-retrain@.service")["Service"]
    assert (service["ExecStart"], service["Type"]) == (f"{PLACE} %i", "oneshot")
    assert service["User"] == entries[0][5] == "detector-retrain", "who runs the service cannot write models"
    assert service["User"] != unit("detector@.service")["Service"]["User"]


@pytest.mark.parametrize("overlay", ["base", "production"])
def test_kubernetes_runs_it_at_the_same_times(overlay: str) -> None:
    jobs = {job["metadata"]["name"]: job["spec"] for job in of_kind(built(overlay), "CronJob")}
    assert {name: job["schedule"] for name, job in jobs.items()} == {
        "detector-retrain-refresh": "30 2 2-31 * *", "detector-retrain-full": "30 2 1 * *",
    }  # fmt: skip
    for name, job in jobs.items():
        (container,) = job["jobTemplate"]["spec"]["template"]["spec"]["containers"]
        assert (container["command"], container["args"]) == ([PLACE], [name.removeprefix("detector-retrain-")])
        assert (job["timeZone"], job["concurrencyPolicy"], job["jobTemplate"]["spec"]["backoffLimit"]) == ("Etc/UTC", "Forbid", 0)
    assert f"config/deploy/retrain.sh {PLACE}" in DOCKERFILE.read_text("utf-8")


def test_it_looks_where_the_others_put_things_if_nobody_says() -> None:
    text = SCRIPT.read_text("utf-8")
    for place in ("/etc/detector/detector.toml", "/var/lib/detector/models"):
        assert f":-{place}}}" in text
    assert unit("detector-retrain@.service")["Service"]["ReadWritePaths"] == "/var/lib/detector/models"


@pytest.mark.parametrize("page", ["run-in-production.md", "retrain-every-night.md"])
def test_files_that_the_pages_name_are_there(page: str) -> None:
    named = re.findall(r"config/(?:deploy|prometheus|grafana)[\w./@*-]*", (HOW_TO / page).read_text("utf-8"))
    assert named and not [pattern for pattern in named if not list(ROOT.glob(pattern.rstrip("./")))]


def test_the_settings_on_the_page_can_be_read(tmp_path: Path) -> None:
    found = blocks("run-in-production.md", "toml")
    assert found
    for number, block in enumerate(found):
        path = tmp_path / f"{number}.toml"
        path.write_text(block)
        load(path)
