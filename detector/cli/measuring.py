"""What is told of a service while it runs: its metrics over HTTP, and the alerts that wait for a person."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from detector.cli.settings import kafka_settings
from detector.errors import ConfigError

if TYPE_CHECKING:
    from detector.config import Config
    from detector.endpoints import Access, Health
    from detector.metrics import Metrics
    from detector.reviews import Follower, Topic

log = logging.getLogger("detector.serve")


class Told:
    """Serves the endpoints, and follows the reviews, from construction to `close()`. Raises ConfigError."""

    def __init__(self, config: Config, metrics: Metrics, live: Health, ready: Health) -> None:
        from detector.endpoints import Endpoints, exposed

        access = access_of(config)
        if why := exposed(config.metrics.host, access):
            log.warning("the metrics can be read from elsewhere", extra={"detail": why})
        self._endpoints = Endpoints(config.metrics.host, config.metrics.port, metrics.text, live, ready, access)
        self._reviews = reviews_of(config, metrics) if config.alerts.review_days and not config.service.shadow else None
        self.url = f"http{'s' if access.certfile else ''}://{self._endpoints.host}:{self._endpoints.port}/metrics"

    def close(self) -> None:
        if self._reviews is not None:
            self._reviews.close()
        self._endpoints.close()


def access_of(config: Config) -> Access:
    """Who may read the metrics. Raises ConfigError where the password cannot be read."""
    from detector.endpoints import Access

    password, file = "", config.metrics.password_file
    if file:
        try:
            password = Path(file).read_text("utf-8").rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"metrics.password_file: {file} cannot be read ({error})") from error
        if not password:
            raise ConfigError(f"metrics.password_file: {file} is empty; put the password into it")
    return Access(
        config.metrics.ssl_certfile, config.metrics.ssl_keyfile, config.metrics.ssl_cafile, config.metrics.username, password
    )  # fmt: skip


def reviews_of(config: Config, metrics: Metrics) -> Follower:
    from detector.kafka.reader import Reader
    from detector.reviews import Follower

    settings = kafka_settings(config)

    def opened(name: str, since: int) -> Topic:
        reader = Reader(settings, name)
        reader.seek(since)
        return reader

    topics = config.topics
    return Follower(lambda at: opened(topics.alerts, at), lambda at: opened(topics.verdicts, at), config.alerts.review_days, metrics)
