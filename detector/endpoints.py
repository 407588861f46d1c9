"""/metrics, /livez and /readyz over HTTP, in threads of their own: a slow or silent client never holds up the service."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import BoundedSemaphore, Thread
from typing import Any

from detector.errors import ConfigError

Health = Callable[[], tuple[bool, Sequence[str]]]
"""Whether all is well, and if not, why."""

SLOWEST = 5.0
"""Seconds a client has for each read and write; then it is dropped."""
MOST_CLIENTS = 32


class Endpoints:
    """Serves from construction to `close()`. Raises ConfigError where the address cannot be listened on."""

    def __init__(self, host: str, port: int, metrics: Callable[[], bytes], live: Health, ready: Health) -> None:
        """`metrics` gives Prometheus' text format. The callables are called in other threads, and must be quick."""
        answers: dict[str, Callable[[], tuple[int, str, bytes]]] = {
            "/metrics": lambda: (200, "text/plain; version=0.0.4; charset=utf-8", metrics()),
            "/livez": lambda: _judged(live),
            "/readyz": lambda: _judged(ready),
        }
        try:
            self._server = _Server((host, port), _handler(answers))
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


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler]) -> None:
        self._places = BoundedSemaphore(MOST_CLIENTS)
        super().__init__(address, handler)

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


def _judged(health: Health) -> tuple[int, str, bytes]:
    ok, reasons = health()
    return 200 if ok else 503, "application/json", json.dumps({"ok": ok, "reasons": list(reasons)}).encode() + b"\n"


def _handler(answers: dict[str, Callable[[], tuple[int, str, bytes]]]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = SLOWEST
        server_version, sys_version = "detector", ""

        def do_GET(self) -> None:
            answer = answers.get(self.path.partition("?")[0])
            try:
                status, kind, body = answer() if answer else (404, "text/plain", b"there are /metrics, /livez and /readyz\n")
            except Exception as error:  # the caller must see a failure, not a closed connection
                status, kind, body = 500, "text/plain", f"{type(error).__name__}\n".encode()
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            """Probes are no news."""

    return Handler
