"""What a broker's listener speaks, asked by hand: clients only tell that they got no answer, whether it is the port, TLS, the certificate,
or SASL that does not fit. Nothing is given away: no credentials are sent.
"""

from __future__ import annotations

import socket
import ssl
import struct
from collections.abc import Mapping
from typing import Any, NamedTuple

from detector.kafka.security import tls_advice, tls_context

PATIENCE = 3.0
"""Seconds for each answer."""
NO_SASL, FOREIGN = 34, 33
"""Kafka's errors ILLEGAL_SASL_STATE (this listener has no SASL) and UNSUPPORTED_SASL_MECHANISM."""


class Listener(NamedTuple):
    """Whether it speaks TLS; the SASL mechanisms it offers: empty if it has no SASL, None if it did not say."""

    tls: bool
    mechanisms: tuple[str, ...] | None

    @property
    def protocol(self) -> str:
        """As `kafka.security_protocol` has to be set for it; empty where it did not say enough."""
        if self.mechanisms is None:
            return "SSL" if self.tls else ""
        return f"SASL_{'SSL' if self.tls else 'PLAINTEXT'}" if self.mechanisms else "SSL" if self.tls else "PLAINTEXT"


def faults(settings: Mapping[str, Any], address: str) -> list[str]:
    """What keeps a client with these settings from HOST:PORT, each a sentence with what to do; credentials are not tried."""
    host, _, port = address.rpartition(":")
    try:
        found = look(host.strip("[]"), int(port))
    except (ValueError, OverflowError):
        return [f"{address}: is no address; name brokers as HOST:PORT"]
    except socket.gaierror as error:
        return [f"{address}: no machine is known by this name ({error.strerror}); mend the name, or DNS"]
    except ConnectionRefusedError:
        return [f"{address}: nothing listens there; start the broker, or mend the port"]
    except TimeoutError:
        return [f"{address}: no answer within {PATIENCE:g} s; is the machine up, does a firewall let this one through?"]
    except OSError as error:
        return [f"{address}: cannot be reached ({error}); mend the address or the way there"]
    wanted = settings["security_protocol"]
    undecided = found.mechanisms is None and wanted.endswith("SSL")
    if found.protocol and wanted != found.protocol and not undecided:
        return [f"{address}: this listener speaks {found.protocol}, not {wanted}; set kafka.security_protocol so, or name another port"]
    if not found.protocol:
        return [f"{address}: something listens there, but it does not answer as Kafka does; is it a broker's port for clients?"]
    return _of_tls(settings, address, host.strip("[]"), int(port)) + _of_sasl(settings, address, found)


def look(host: str, port: int) -> Listener:
    """What is spoken there. Raises OSError where nobody answers at all."""
    anything = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    anything.check_hostname, anything.verify_mode = False, ssl.CERT_NONE
    for context in (anything, None):
        with socket.create_connection((host, port), PATIENCE) as connection:
            try:
                if context is None:
                    return Listener(False, _ask(connection))
                with context.wrap_socket(connection, server_hostname=host) as wrapped:
                    return Listener(True, _asked(wrapped))
            except (ssl.SSLError, OSError):  # no TLS: the next one does without
                continue
    return Listener(False, None)


def _asked(wrapped: ssl.SSLSocket) -> tuple[str, ...] | None:
    """None where the broker wants to see a certificate first: in TLS 1.3, it says so after the handshake."""
    try:
        return _ask(wrapped)
    except OSError:
        return None


def _ask(connection: socket.socket) -> tuple[str, ...] | None:
    """SaslHandshake (key 17, version 1) for a mechanism that nobody has: a listener with SASL answers with those that it has."""
    body = struct.pack(">hhih4sh4s", 17, 1, 1, 4, b"look", 4, b"NONE")
    connection.sendall(struct.pack(">i", len(body)) + body)
    size = struct.unpack(">i", _exactly(connection, 4))[0]
    if not 10 <= size <= 10_000:
        return None
    answer = _exactly(connection, size)
    correlation, error, count = struct.unpack_from(">ihi", answer)
    if correlation != 1 or error not in (NO_SASL, FOREIGN):
        return None
    names, at = [], 10
    for _ in range(max(count, 0)):
        length = struct.unpack_from(">h", answer, at)[0]
        names.append(answer[at + 2 : at + 2 + length].decode())
        at += 2 + length
    return tuple(names) if error == FOREIGN else ()


def _exactly(connection: socket.socket, size: int) -> bytes:
    found = b""
    while len(found) < size:
        piece = connection.recv(size - len(found))
        if not piece:
            raise ConnectionResetError("the connection ended")
        found += piece
    return found


def _of_tls(settings: Mapping[str, Any], address: str, host: str, port: int) -> list[str]:
    if not settings["security_protocol"].endswith("SSL"):
        return []
    try:
        with (
            socket.create_connection((host, port), PATIENCE) as connection,
            tls_context(settings).wrap_socket(connection, server_hostname=host) as wrapped,
        ):
            _ask(wrapped)
    except ssl.SSLError as error:
        return [f"{address}: {tls_advice(error, 'ssl_certfile' in settings)} ({error})"]
    except OSError as error:
        return [f"{address}: the connection ended in the TLS handshake ({error}); the broker's log says why"]
    return []


def _of_sasl(settings: Mapping[str, Any], address: str, found: Listener) -> list[str]:
    mechanism = settings.get("sasl_mechanism")
    if not mechanism or not found.mechanisms or mechanism in found.mechanisms:
        return []
    return [f"{address}: it does not take {mechanism}; set kafka.sasl_mechanism to what it takes: {', '.join(found.mechanisms)}"]
