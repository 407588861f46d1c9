"""One small company with a trained model for all integration tests."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from harness import Stand, detector

from detector.config import moment
from detector.sandbox.broker import Broker

Event = tuple[bytes, bytes]


class Office(NamedTuple):
    """Sixty employees, a model of their first eight days, and what they do on the four days after, an incident included."""

    folder: Path
    live: tuple[Event, ...]
    """(key, value) in order of time."""
    starts: int
    """Ms; the live days begin."""

    def stand(self, broker: Broker, folder: Path, unique: Callable[[str], str], **sections: dict[str, Any]) -> Stand:
        own = {
            "context": {"folder": str(self.folder / "context")}, "models": {"registry": str(self.folder / "models")},
            "detection": {"budget": 100.0}, "input": {"max_age": 1e10}, "alerts": {"start": str(self.starts)},
        }  # fmt: skip
        return Stand(broker, folder, unique, **{name: own.get(name, {}) | sections.get(name, {}) for name in own | sections})


def opened(folder: Path) -> Office:
    """Makes the company, and trains."""
    since = "2026-02-26T00:00:00Z"
    events, context = folder / "history.ndjson", str(folder / "context")
    company = ("sandbox", "company", "--employees", "60", "--seed", "3", "--end", "2026-03-02T00:00:00Z", "--incident", "story")
    detector(*company, "--history", str(events), "--days", "12", "--context", context)
    detector("train", "--events", str(events), "--context", context, "--until", since, "--out", str(folder / "models"))
    starts = moment(since)
    lines = [(line, json.loads(line)) for line in events.read_bytes().splitlines()]  # times come in both forms
    live = tuple((said["actor"].encode(), line) for line, said in lines if moment(str(said["time"])) >= starts)
    return Office(folder, live, starts)
