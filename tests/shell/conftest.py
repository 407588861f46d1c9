"""What tests of the command line share: one secured Kafka, which takes longer to start than most of them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from detector.kafka import topics
from detector.kafka.security import client_settings
from tests.secured import RIGHTS, TOPICS, Section, Secured


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    with Secured(tmp_path_factory.mktemp("secured")) as started:
        topics.create(client_settings({"bootstrap_servers": started.plain}), topics.design(TOPICS, 2, 1))
        yield started


@pytest.fixture(scope="session")
def member(kafka: Secured) -> Section:
    """Somebody with all the rights of the service, and no more."""
    section = kafka.user("member")
    kafka.grant("member", RIGHTS["service"])
    return section
