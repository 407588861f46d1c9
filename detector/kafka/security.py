"""How clients reach Kafka and prove who they are: the `[kafka]` section as kafka-python's arguments, and what may never be logged."""

from __future__ import annotations

import logging
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kafka.net.transport import KafkaSSLTransport

from detector.errors import ConfigError

PROTOCOLS = ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL")
MECHANISMS = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")


PEM = {
    "ssl_cafile": "it must hold certificates in PEM",
    "ssl_certfile": "it and kafka.ssl_keyfile must hold a certificate and its key in PEM, and kafka.ssl_password_file the key's passphrase",
    "ssl_crlfile": "it must hold a list of revoked certificates in PEM",
}
_STRANGER = "an authority has signed the broker's certificate that is not in kafka.ssl_cafile; add it there (PEM)"
_OTHER = (
    "the broker's certificate is for another name; give in kafka.bootstrap_servers a name that is in it, or have the certificate and "
    "advertised.listeners name what clients use (subjectAltName)"
)
_REVOCATION = "kafka.ssl_crlfile holds no list in force of the authority that signed the broker's certificate; fetch the newest one"
CERTIFICATES = {
    3: _REVOCATION, 12: _REVOCATION,
    9: "the broker's certificate is not valid yet; compare the clock of this machine with the certificate",
    10: "the broker's certificate has expired; have the operator of Kafka renew it",
    18: _STRANGER, 19: _STRANGER, 20: _STRANGER, 21: _STRANGER,
    23: "the broker's certificate was revoked; have the operator of Kafka renew it",
    62: _OTHER, 64: _OTHER,
}  # fmt: skip
"""OpenSSL's verify codes that a person can do something about."""


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
    for name in ("ssl_cafile", "ssl_certfile", "ssl_crlfile"):
        try:
            if name in settings:
                tls_context({name: settings[name], **{key: settings[key] for key in ("ssl_keyfile", "ssl_password") if key in settings}})
        except (ssl.SSLError, OSError) as error:  # here, because a client would only say that it got no answer
            raise ConfigError(f"kafka.{name}: {given[name]} cannot be used ({error}): {PEM[name]}") from error
    return settings


def tls_context(settings: Mapping[str, Any]) -> ssl.SSLContext:
    """As a client with these settings makes it. Raises ssl.SSLError or OSError where a file is not what it should be."""
    given = {name: settings[name] for name in KafkaSSLTransport.DEFAULT_CONFIG if name in settings}
    made: ssl.SSLContext = KafkaSSLTransport._build_ssl_context(
        {**KafkaSSLTransport.DEFAULT_CONFIG, "ssl_password": "", **given}  # None would ask the terminal for a passphrase
    )
    return made


def tls_advice(error: ssl.SSLError, certified: bool) -> str:
    """What to do about a handshake that failed. `certified`: a certificate of ours was to be shown."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return CERTIFICATES.get(error.verify_code, "the broker's certificate cannot be trusted; have the operator of Kafka look at it")
    if "CERTIFICATE" in (error.reason or "") and "ALERT" in (error.reason or ""):
        if certified:
            return "the broker does not trust kafka.ssl_certfile; have it signed by an authority of the broker's truststore, or renew it"
        return "the broker asks for a certificate of ours; set kafka.ssl_certfile and kafka.ssl_keyfile"
    return "the TLS handshake failed; does the listener speak TLS at all, and version 1.2 or 1.3?"


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
