"""A failpoint does what it was armed for, where and when it was told to, once; and nothing where it was not."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from detector import failpoints
from detector.errors import ConfigError
from detector.failpoints import NAMES, Failure, arm, at

SOURCES = Path(failpoints.__file__).parent


@pytest.fixture(autouse=True)
def disarmed() -> Iterator[None]:
    yield
    arm("")


def test_nothing_happens_where_nothing_is_armed():
    for name in NAMES:
        at(name)


def test_it_happens_the_nth_time_that_the_place_is_reached_and_only_then():
    arm("after_send:3:raise")
    for _ in range(2):
        at("after_send")
        at("after_poll")
    with pytest.raises(Failure):
        at("after_send")
    at("after_send")


def test_several_places_and_times_may_be_armed():
    arm("after_send:1:raise,after_send:3:raise,mid_restore:1:raise")
    for name in ("after_send", "mid_restore"):
        with pytest.raises(Failure):
            at(name)
    at("after_send")
    with pytest.raises(Failure):
        at("after_send")


def test_arming_anew_forgets_what_was_armed():
    arm("after_send:1:raise")
    arm("")
    at("after_send")


def test_a_sleep_takes_its_seconds():
    arm("after_poll:1:sleep=0.2")
    began = time.monotonic()
    at("after_poll")
    assert 0.2 <= time.monotonic() - began < 2.0


@pytest.mark.parametrize(
    "spec", ["nowhere:1:kill", "after_send", "after_send:0:kill", "after_send:x:kill", "after_send:1:explode", "after_send:1:sleep=long"]
)
def test_what_cannot_be_meant_is_refused(spec: str):
    with pytest.raises(ConfigError, match="DETECTOR_FAILPOINT"):
        arm(spec)


def run(spec: str) -> subprocess.Popen[str]:
    code = f"from detector.failpoints import arm, at\narm({spec!r})\nprint('armed', flush=True)\nat('after_send')\nprint('alive')"
    return subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)


def test_a_kill_leaves_no_time_for_anything():
    with run("after_send:1:kill") as process:
        words, _ = process.communicate(timeout=20)
    assert process.returncode == -signal.SIGKILL
    assert words == "armed\n"


def test_who_hangs_does_so_until_he_is_killed():
    with run("after_send:1:hang") as process:
        assert process.stdout and process.stdout.readline() == "armed\n"
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.5)
        process.kill()


def test_every_place_in_the_service_has_a_name_that_can_be_armed():
    used = {name for path in SOURCES.rglob("*.py") for name in re.findall(r'failpoints\.at\("(\w+)"\)', path.read_text())}
    assert used <= set(NAMES)
