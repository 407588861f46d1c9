"""What the process tells systemd, where systemd started it (`Type=notify`): sd_notify(3), a datagram to the socket in $NOTIFY_SOCKET.

The rules: ready is said once `/readyz` says so, or after PATIENCE, for a broker that is away must not hold up a boot. The watchdog
is fed only if the loop has turned since the last time, whoever looks: a loop that stands still is not kept alive by a thread that goes on.
Nothing here ever raises or waits: a supervisor that does not listen is no reason to fail.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Sequence

PATIENCE = 300.0
"""Seconds of a turning loop after which the start counts as done, ready or not; STATUS and /readyz go on saying what is missing."""
LONGEST_STATUS = 300

Health = Callable[[], tuple[bool, Sequence[str]]]
"""Whether all is well, and if not, why."""


class Supervisor:
    """`address`: $NOTIFY_SOCKET, a path or `@` with an abstract name; empty: nobody listens, and nothing is sent."""

    def __init__(self, address: str, patience: float = PATIENCE) -> None:
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._tick: float | None = None
        self._patience, self._began = patience, 0.0
        self._started = self._reloading = False
        self._status = ""

    def look(self, tick: float, ready: Health) -> None:
        """Called every few seconds; `tick`: any number that changes when the loop turns, such as when it last did."""
        if not self._address:
            return
        if self._tick is None:
            self._began = time.monotonic()
        turned, self._tick = self._tick is not None and tick != self._tick, tick
        ok, status = self._judged(ready)
        lines = ["WATCHDOG=1"] if turned else []
        due = turned and (self._reloading or (not self._started and (ok or time.monotonic() - self._began >= self._patience)))
        lines += ["READY=1"] if due else []
        lines += [f"STATUS={status}"] if status != self._status else []
        if lines and self._tell(*lines):
            self._status = status
            self._started, self._reloading = self._started or due, self._reloading and not due

    def reloading(self) -> None:
        """The settings that can change are being read anew; the next `look` after the loop turned says ready again."""
        self._reloading = self._started and self._tell("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self) -> None:
        """The process was asked to end, and is about to."""
        self._tell("STOPPING=1", "STATUS=stopping")

    def _judged(self, ready: Health) -> tuple[bool, str]:
        try:
            ok, why = ready()
        except Exception:  # asked of a loop that goes on meanwhile; whoever asks must not end by it
            return False, self._status
        return ok, "ready" if ok else " ".join("; ".join(why).split())[:LONGEST_STATUS]

    def _tell(self, *lines: str) -> bool:
        """Whether it was sent."""
        if not self._address:
            return False
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
                sender.setblocking(False)
                sender.sendto("\n".join(lines).encode(), self._address)
        except OSError:
            return False
        return True
