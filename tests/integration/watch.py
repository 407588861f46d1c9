"""How long the loop of a service stands still, seen from outside."""

from __future__ import annotations

import re
import threading
import time

from harness import Serving


class Watch(threading.Thread):
    """Asks a service 50 times a second how long ago its loop last turned; a turn waits 0.1 s for events itself."""

    def __init__(self, service: Serving) -> None:
        super().__init__(daemon=True)
        self.longest, self.stopping, self._service = 0.0, False, service

    def __enter__(self) -> Watch:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopping = True
        self.join()

    def run(self) -> None:
        while not self.stopping:
            if found := re.search(r"turned ([0-9.]+) s", self._service.get("/livez")[1]):
                self.longest = max(self.longest, float(found[1]))
            time.sleep(0.02)
