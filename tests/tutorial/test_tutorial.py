"""The tutorial, word for word: its blocks are what is run, in one shell, and what it says they print is what they print."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from blocks import Block, blocks, missing

from detector.sandbox.broker import free_port

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/tutorial/first-alert.md").read_text("utf-8")
PORTS = ("9092", "9108", "9090")
LONGEST = 500.0


def changed(page: str) -> str:
    """Other ports, so that nothing that runs on this machine is in the way. Nothing else of the page is changed."""
    for port in PORTS:
        page = re.sub(rf"\b{port}\b", str(free_port()), page)
    return page


def without_setup(command: str) -> str:
    """`make setup` has been done by whoever runs the tests."""
    return re.sub(r"^make setup\n", "", command, flags=re.M)


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Path]:
    """A folder like the repository's as the page sees it; what was started there ends with the test."""
    (tmp_path / ".venv/bin").mkdir(parents=True)
    (tmp_path / ".venv/bin/detector").symlink_to(Path(sys.executable).parent / "detector")
    yield tmp_path
    if (tmp_path / "var/tour/sandbox").exists():
        down = [sys.executable, "-m", "detector.cli", "sandbox", "down", "--folder", "var/tour/sandbox"]
        subprocess.run(down, cwd=tmp_path, check=False)


def run(steps: list[Block], folder: Path) -> list[str]:
    """What each block printed, up to the first that fails."""
    script = "".join(f"echo '@@@'\n{without_setup(step.command)}" for step in steps) + "echo '@@@'\n"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("DETECTOR")}
    with (folder / "said.txt").open("w+") as said:
        command = ["bash", "-eu", "-c", script]
        shell = subprocess.Popen(command, cwd=folder, env=environment, stdout=said, stderr=said, text=True, start_new_session=True)
        try:
            shell.wait(LONGEST)
        except subprocess.TimeoutExpired:
            said.write("\n(stopped: it took too long)\n")
        finally:
            if shell.poll() is None or shell.returncode:
                with suppress(ProcessLookupError):
                    os.killpg(shell.pid, signal.SIGKILL)
                shell.wait()
        said.seek(0)
        return said.read().split("@@@\n")[1:]


@pytest.mark.broker
def test_the_tutorial_leads_a_stranger_to_an_alert_a_query_and_a_renewed_model(desk: Path) -> None:
    assert shutil.which("prometheus"), "no Prometheus: `make setup` installs it where it may; else install the Debian package `prometheus`"
    steps = blocks(changed(PAGE))
    said = run(steps, desk)
    assert len(said) == len(steps) + 1, f"block {len(said)} failed:\n{steps[len(said) - 1].command}\nit said:\n{said[-1]}"
    unsaid = {step.command: (gone, text) for step, text in zip(steps, said, strict=False) if (gone := missing(text, step))}
    assert not unsaid, "\n\n".join(f"{command}does not say\n  {gone}\nbut\n{text}" for command, (gone, text) in unsaid.items())
    assert {"sandbox alerts", "promtool query", "train --refresh"} <= {part for part in NEEDED if part in PAGE}


NEEDED = ("sandbox alerts", "promtool query", "train --refresh")


def test_a_line_that_is_not_printed_is_missed() -> None:
    page = "```sh\necho one\n```\n\ntext\n\n```\none ... 3\n...\nother\n```\n```sh\ntrue\n```\n"
    first, second = blocks(page)
    assert (first.command, second.output) == ("echo one\n", ())
    assert missing("x\none two 3\n", first) == ["other"]
    assert missing("other\none 2 4\n", first) == ["one ... 3"]
    assert missing("model 0123456789ab\n", Block("", ("model ba9876543210",))) == []
