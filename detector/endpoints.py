"""/metrics, /livez and /readyz over HTTP, in threads of their own: a slow or silent client never holds up the service.

Who may read can be asked for: by a certificate, by a password, or by both. Whoever may not still learns from /livez and /readyz whether all
is well, for a supervisor's probe seldom has credentials; but not why, if it is not.
"""

from __future__ import annotations

import base64
import hmac
import json
import ssl
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path
from threading import BoundedSemaphore, Thread
from typing import Any

from detector.errors import ConfigError

Health = Callable[[], tuple[bool, Sequence[str]]]
"""Whether all is well, and if not, why."""
Answer = tuple[int, str, bytes]

SLOWEST = 5.0
"""Seconds a client has for each read and write; then it is dropped."""
MOST_CLIENTS = 32
ASK = 'Basic realm="detector", charset="UTF-8"'


@dataclass(frozen=True, slots=True)
class Access:
    """Who may read, and whether others can listen. Empty: not asked for. Files are PEM."""

    certfile: str = ""
    keyfile: str = ""
    cafile: str = ""
    """The authorities whose clients may read."""
    user: str = ""
    password: str = field(default="", repr=False)


OPEN = Access()


def exposed(host: str, access: Access) -> str:
    """What is unwise about such an address, as a sentence; empty where nothing is."""
    try:
        near = ip_address(host).is_loopback
    except ValueError:
        near = host == "localhost"
    if near or (access.certfile and (access.cafile or access.user)):
        return ""
    lack = [
        *(() if access.certfile else ("nobody is kept from listening: set metrics.ssl_certfile and metrics.ssl_keyfile",)),
        *(
            ()
            if access.cafile or access.user
            else ("anybody may read them: set metrics.username and password_file, or metrics.ssl_cafile",)
        ),
    ]
    return f"the metrics are offered on {host}, beyond this machine, and {'; '.join(lack)}"


class Endpoints:
    """Serves from construction to `close()`. Raises ConfigError where the address cannot be listened on, or a certificate not be used."""

    def __init__(
        self, host: str, port: int, metrics: Callable[[], bytes], live: Health, ready: Health, access: Access = OPEN
    ) -> None:  # fmt: skip
        """`metrics` gives Prometheus' text format. The callables are called in other threads, and must be quick."""
        answers: dict[str, Callable[[bool], Answer]] = {
            "/metrics": lambda may: (200, "text/plain; version=0.0.4; charset=utf-8", metrics()) if may else _refused(access),
            "/livez": lambda may: _judged(live, may),
            "/readyz": lambda may: _judged(ready, may),
        }
        tls = Certificates(access) if access.certfile else None
        try:
            self._server = _Server((host, port), _handler(answers, access), tls)
        except (OSError, OverflowError) as error:
            raise ConfigError(
                f"metrics: cannot listen on {host}:{port} ({error})\nset metrics.port to one that is free, or 0 for any"
            ) from error
        self.host, self.port = host, int(self._server.server_address[1])
        self._thread = Thread(target=self._server.serve_forever, args=(0.1,), name="endpoints", daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class Certificates:
    """The server's side of TLS. A certificate is short-lived: when its files change they are read anew; bad ones, and the old stays."""

    def __init__(self, access: Access) -> None:
        """Raises ConfigError."""
        self._access = access
        self._files = [Path(name) for name in (access.certfile, access.keyfile, access.cafile) if name]
        self._changed = self._changes()
        try:
            self._context = _tls(access)
        except (ssl.SSLError, OSError) as error:
            raise ConfigError(
                f"metrics: the certificate cannot be used ({error})\n"
                "metrics.ssl_certfile and metrics.ssl_keyfile are PEM files that belong together, metrics.ssl_cafile one with authorities"
            ) from error

    @property
    def now(self) -> ssl.SSLContext:
        if (changed := self._changes()) != self._changed:
            with suppress(ssl.SSLError, OSError):  # half of them written, perhaps: looked at again with the next client
                self._context, self._changed = _tls(self._access), changed
        return self._context

    def _changes(self) -> list[int]:
        return [file.stat().st_mtime_ns if file.exists() else 0 for file in self._files]


def _tls(access: Access) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(access.certfile, access.keyfile, password=lambda: b"")  # else a key with a passphrase would ask for it
    if access.cafile:
        context.load_verify_locations(access.cafile)
        context.verify_mode = ssl.CERT_OPTIONAL  # a probe has none
    return context


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler], tls: Certificates | None) -> None:
        self._places, self._tls = BoundedSemaphore(MOST_CLIENTS), tls
        super().__init__(address, handler)

    def get_request(self) -> tuple[Any, Any]:
        """TLS begins in the client's own thread, with its first read."""
        client, address = super().get_request()
        if self._tls is not None:
            client = self._tls.now.wrap_socket(client, server_side=True, do_handshake_on_connect=False)
        return client, address

    def process_request(self, request: Any, client_address: Any) -> None:
        if self._places.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._places.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away, or was too slow, is no event."""


def _judged(health: Health, may: bool) -> Answer:
    ok, reasons = health()
    return 200 if ok else 503, "application/json", json.dumps({"ok": ok, "reasons": list(reasons) if may else []}).encode() + b"\n"


def _refused(access: Access) -> Answer:
    if access.user:
        return 401, "text/plain", b"name a user and the password\n"
    return 403, "text/plain", b"show a certificate\n"


def _may(access: Access, request: Any, said: str) -> bool:
    """`said`: the header Authorization."""
    kind, _, coded = said.partition(" ")
    try:
        given = base64.b64decode(coded, validate=True) if kind.lower() == "basic" else b""
    except ValueError:
        given = b""
    known = not access.user or hmac.compare_digest(given, f"{access.user}:{access.password}".encode())
    return known and (not access.cafile or bool(request.getpeercert()))


def _handler(answers: dict[str, Callable[[bool], Answer]], access: Access) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = SLOWEST
        server_version, sys_version = "detector", ""

        def do_GET(self) -> None:
            answer = answers.get(self.path.partition("?")[0])
            try:
                may = _may(access, self.connection, self.headers.get("Authorization", ""))
                status, kind, body = answer(may) if answer else (404, "text/plain", b"there are /metrics, /livez and /readyz\n")
            except Exception as error:  # the caller must see a failure, not a closed connection
                status, kind, body = 500, "text/plain", f"{type(error).__name__}\n".encode()
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            if status == 401:
                self.send_header("WWW-Authenticate", ASK)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            """Probes are no news."""

    return Handler
