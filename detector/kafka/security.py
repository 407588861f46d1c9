"""How clients reach Kafka and prove who they are: the `[kafka]` section as kafka-python's arguments, and what may never be logged."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from detector.errors import ConfigError

PROTOCOLS = ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL")
MECHANISMS = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")


class Secret(str):
    """A string that does not show itself in a `repr`, so that settings can be printed."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'***'"


def client_settings(kafka: Mapping[str, Any]) -> dict[str, Any]:
    """The `[kafka]` section -> arguments common to all kafka-python clients. Secrets are read from their files here.

    Known members: `bootstrap_servers` (list, or string with commas), `security_protocol`, `ssl_cafile`, `ssl_certfile`, `ssl_keyfile`,
    `ssl_crlfile`, `ssl_password_file`, `sasl_mechanism`, `sasl_username`, `sasl_password_file`; others are left alone. Empty = not given.
    Raises ConfigError naming the member.
    """
    given = {name: value for name, value in kafka.items() if value not in (None, "", [])}
    servers = given.get("bootstrap_servers")
    if not servers:
        raise ConfigError("kafka.bootstrap_servers is empty: name at least one broker as HOST:PORT")
    protocol = given.get("security_protocol", "PLAINTEXT")
    if protocol not in PROTOCOLS:
        raise ConfigError(f"kafka.security_protocol is {protocol!r}: it must be one of {', '.join(PROTOCOLS)}")
    settings: dict[str, Any] = {
        "bootstrap_servers": [server.strip() for server in servers.split(",")] if isinstance(servers, str) else list(servers),
        "security_protocol": protocol,
    }
    if protocol.endswith("SSL"):
        settings |= _tls(given)
    if protocol.startswith("SASL"):
        settings |= _sasl(given)
    return settings


def _tls(given: Mapping[str, Any]) -> dict[str, Any]:
    settings: dict[str, Any] = {}
    for name in ("ssl_cafile", "ssl_certfile", "ssl_keyfile", "ssl_crlfile"):
        if name in given:
            if not Path(given[name]).is_file():
                raise ConfigError(f"kafka.{name}: there is no file {given[name]}")
            settings[name] = str(given[name])
    if ("ssl_certfile" in settings) != ("ssl_keyfile" in settings):
        raise ConfigError("kafka.ssl_certfile and kafka.ssl_keyfile go together: give both, or neither")
    if "ssl_password_file" in given:
        settings["ssl_password"] = _secret("ssl_password_file", given)
    return settings


def _sasl(given: Mapping[str, Any]) -> dict[str, Any]:
    mechanism = given.get("sasl_mechanism", "SCRAM-SHA-512")
    if mechanism not in MECHANISMS:
        raise ConfigError(f"kafka.sasl_mechanism is {mechanism!r}: it must be one of {', '.join(MECHANISMS)}")
    for name in ("sasl_username", "sasl_password_file"):
        if name not in given:
            raise ConfigError(f"kafka.{name} is missing: kafka.security_protocol = {given['security_protocol']!r} needs it")
    return {
        "sasl_mechanism": mechanism,
        "sasl_plain_username": given["sasl_username"],
        "sasl_plain_password": _secret("sasl_password_file", given),
    }


def _secret(name: str, given: Mapping[str, Any]) -> Secret:
    try:
        text = Path(given[name]).read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"kafka.{name}: cannot read {given[name]}: {type(error).__name__}") from error
    if not text:
        raise ConfigError(f"kafka.{name}: {given[name]} is empty")
    return Secret(text)


def quiet() -> None:
    """Keep every kafka-python logger at INFO or above, whatever was asked for: at DEBUG it writes passwords and payloads."""
    names = ["kafka", *(name for name in logging.Logger.manager.loggerDict if name.startswith("kafka."))]
    for name in names:
        logger = logging.getLogger(name)
        if name == "kafka" or logger.level != logging.NOTSET:
            logger.setLevel(max(logger.level, logging.INFO))


quiet()
