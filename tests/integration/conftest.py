"""What integration tests share."""

from __future__ import annotations

import re

import pytest
from office import Office, opened

LONG = re.compile(
    r"test_(A1.*(after_poll|after_begin|after_send|after_offsets|after_commit|in_listener|mid_re)|A2|A3|A4|A5_stopped_while|A6_while|A6_without"
    r"|A7|B1_|B2_|B3_|B5_|B6_.*other|B9_.*(earlier|later|idle)|B10_|B11_.*false|C1_|C3_.*TLS|C4_any.*\[[23]\]|C5_.*long_after|C7_|C12|C13|C14|C15.*running|C16"
    r"|E13_half|E15)"
)
"""Rows that have a shorter sister, or take more than half a minute: `make test-all` has them too."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if LONG.search(item.name):
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="session")
def office(tmp_path_factory: pytest.TempPathFactory) -> Office:
    return opened(tmp_path_factory.mktemp("office"))
