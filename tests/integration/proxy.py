"""A man in the middle who knows one thing of Kafka's protocol: which request ends a transaction."""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from typing import Literal

from detector.sandbox.broker import Broker, free_port

Fate = Literal["pass", "lost before", "lost after"]
"""Of a request: answered; or its connection ends before the broker gets it, or after the broker has done it."""
END_TXN = 26
QUIET = 0.3
"""Seconds after a loss in which new connections wait: else the client asks again at once, and all it lost was a moment."""


class Proxy:
    """Passes on what comes to `port`, until it is closed. `fate` says of the nth EndTxn what becomes of it."""

    def __init__(self, port: int, target: int, fate: Callable[[int], Fate]) -> None:
        self._target, self._fate = target, fate
        self._listener = socket.create_server(("127.0.0.1", port))
        self._quiet_until = 0.0
        self.seen: Counter[Fate] = Counter()
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                while time.monotonic() < self._quiet_until:
                    time.sleep(0.01)
                broker = socket.create_connection(("127.0.0.1", self._target))
                lost = threading.Event()
                for work in (self._requests, self._answers):
                    threading.Thread(target=self._until_it_ends, args=(work, client, broker, lost), daemon=True).start()

    def _until_it_ends(self, work: Callable[..., None], client: socket.socket, broker: socket.socket, lost: threading.Event) -> None:
        with suppress(OSError):
            work(client, broker, lost)
        for end in (client, broker):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def _requests(self, client: socket.socket, broker: socket.socket, lost: threading.Event) -> None:
        while request := frame(client):
            if request[4:6] == struct.pack(">h", END_TXN):
                fate = self._fate(self.seen.total())
                self.seen[fate] += 1
                if fate != "pass":
                    self._quiet_until = time.monotonic() + QUIET
                if fate == "lost before":
                    return
                if fate == "lost after":
                    lost.set()
            broker.sendall(request)

    def _answers(self, client: socket.socket, broker: socket.socket, lost: threading.Event) -> None:
        while (answer := frame(broker)) and not lost.is_set():
            client.sendall(answer)


def frame(side: socket.socket) -> bytes:
    """One request or answer with its length in front; empty at the end of the connection."""
    size = side.recv(4, socket.MSG_WAITALL)
    return size + side.recv(*struct.unpack(">i", size), socket.MSG_WAITALL) if len(size) == 4 else b""


def with_second_door(broker: Broker) -> tuple[int, int]:
    """Before its start: a listener more, that names another port to clients. Gives the port to be named, and the real one."""
    named, real = free_port(), free_port()
    for setting, more in (
        ("listeners", f"MIDDLE://127.0.0.1:{real}"), ("advertised.listeners", f"MIDDLE://127.0.0.1:{named}"),
        ("listener.security.protocol.map", "MIDDLE:PLAINTEXT"),
    ):  # fmt: skip
        broker._settings[setting] += "," + more
    return named, real
