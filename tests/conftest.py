"""What all tests share: one real Apache Kafka for the whole run, and topic names that nobody else uses."""

from __future__ import annotations

import itertools
import os
import shutil
from collections.abc import Callable, Iterator

import pytest

from detector.sandbox.broker import Broker

KEPT = pytest.StashKey[Broker]()
for name in ("CI", "BUILD_NUMBER"):
    # where these are set, pytest says in full how two values differ; the mutations make comparisons of megabytes fail, on purpose
    os.environ.pop(name, None)


@pytest.fixture(scope="session")
def broker(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """Started by the first test that asks, for all. A test that kills or pauses a broker asks for `own`."""
    with Broker(tmp_path_factory.mktemp("broker")) as started:
        request.config.stash[KEPT] = started
        yield started
    shutil.rmtree(started.folder / "data")
    if not request.session.testsfailed:
        shutil.rmtree(started.folder)


@pytest.fixture(scope="module")
def mortal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    with Broker(tmp_path_factory.mktemp("own")) as started:
        yield started


@pytest.fixture
def own(mortal: Broker) -> Broker:
    """A broker to kill and to freeze. It runs, whatever the test before left."""
    mortal.resume()
    if mortal.pid is None:
        mortal.start()
    return mortal


@pytest.fixture
def unique() -> Callable[[str], str]:
    """`unique("alerts")` is a name for a topic, group or transactional id, never given twice on the shared broker."""
    return lambda name: f"{name}-{next(_numbers)}"


_numbers = itertools.count(1)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    shared = config.stash.get(KEPT, None)
    if shared and shared.log.exists():
        terminalreporter.write_line(f"the log of the tests' Apache Kafka was kept: {shared.log}")
