"""Reviews: which alerts nobody has looked at. The topics of alerts and of verdicts are followed, in a thread beside the service.

A verdict on any alert of an incident is about all of the incident that was told by then; what is told of it later is to be looked at again.
Only ids and times are kept. Nothing here holds up the service: a broker that is away is asked again later, and without a topic of verdicts,
or the right to read it, nothing is said.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from threading import Event, Thread
from typing import Protocol

import msgspec
import numpy as np

from detector.core import verdicts
from detector.core.events import Records
from detector.core.heartbeats import KIND
from detector.errors import NoTopicError
from detector.metrics import Metrics

log = logging.getLogger("detector.reviews")

FIRST, EVERY, LONGEST = 2.0, 10.0, 600.0
"""Seconds before the first look, between two, and at most between two tries where there is nothing to look at."""
BREATH = 0.02
"""Seconds in which the service has the processor for itself, after each run of records."""
MOST = 200_000
"""Alerts that are remembered. Where there are more, the oldest are forgotten."""
DAY = 86_400_000
BEAT = b'{"kind":"' + KIND.encode() + b'"'


class _Alert(msgspec.Struct):
    alert_id: str = ""
    incident_id: str = ""


_ALERT = msgspec.json.Decoder(_Alert)


class Reviews:
    """What is known. Times are ms, of the brokers' clock."""

    def __init__(self) -> None:
        self._alerts: dict[str, tuple[str, int]] = {}
        """Alert -> incident, and when it was delivered; in that order."""
        self._reviewed: dict[str, int] = {}
        """Incident -> when the last verdict on it was written."""

    def alert(self, alert_id: str, incident: str, at: int) -> None:
        self._alerts[alert_id] = incident, at
        if len(self._alerts) > MOST:
            del self._alerts[next(iter(self._alerts))]

    def verdict(self, alert_id: str, at: int) -> None:
        if alert_id in self._alerts:
            incident = self._alerts[alert_id][0]
            self._reviewed[incident] = max(self._reviewed.get(incident, at), at)

    def forget(self, before: int) -> None:
        """Alerts that were delivered before."""
        self._alerts = {alert: (incident, at) for alert, (incident, at) in self._alerts.items() if at >= before}
        known = {incident for incident, _ in self._alerts.values()}
        self._reviewed = {incident: at for incident, at in self._reviewed.items() if incident in known}

    def oldest(self) -> int | None:
        """When the oldest alert was delivered that nobody has looked at since; None where there is none."""
        return min((at for incident, at in self._alerts.values() if at > self._reviewed.get(incident, -1)), default=None)


class Topic(Protocol):
    """A topic, read again and again to its end."""

    def read(self) -> Iterator[Records]: ...
    def close(self) -> None: ...


class Follower:
    """Follows from construction to `close()`. `alerts`, `verdicts`: open the topics at a time, in ms; they raise BrokerError."""

    def __init__(self, alerts: Callable[[int], Topic], verdicts: Callable[[int], Topic], days: int, figures: Metrics) -> None:
        self._open, self._days, self._figures = (verdicts, alerts), days, figures  # the one that may not be there first
        self._topics: list[Topic] = []
        self._reviews = Reviews()
        self._said = ""
        self._ended = Event()
        self._thread = Thread(target=self._follow, name="reviews", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Does not wait for a broker that does not answer."""
        self._ended.set()
        self._thread.join(1.0)

    def _follow(self) -> None:
        pause = FIRST
        while not self._ended.wait(pause):
            try:
                self._look()
                pause, self._said = EVERY, ""
            except Exception as error:  # whatever it is, the service goes on, and this is tried again
                self._trouble(error)
                pause = min(2 * pause, LONGEST)
        self._leave()

    def _look(self) -> None:
        """To the present end of both topics: of the alerts first, for a verdict is on one of them."""
        since = time.time_ns() // 1_000_000 - self._days * DAY
        if not self._topics:
            self._reviews = Reviews()
            for open_at in self._open:
                self._topics.append(open_at(since))
        told, alerts = self._topics
        for run in self._read(alerts):
            for row in told_rows(run):
                with suppress(msgspec.MsgspecError, UnicodeDecodeError):
                    said = _ALERT.decode(run.part(run.value, row) or b"")
                    if said.alert_id and said.incident_id:
                        self._reviews.alert(said.alert_id, said.incident_id, int(run.timestamp[row]))
        for run in self._read(told):
            for row in range(len(run)):
                with suppress(ValueError):  # people and their tools write them
                    verdict = verdicts.parse(run.part(run.value, row) or b"", run.part(run.key, row))
                    self._reviews.verdict(verdict.alert_id, int(run.timestamp[row]))
        if not self._ended.is_set():
            self._reviews.forget(since)
            oldest = self._reviews.oldest()
            self._figures.unreviewed(None if oldest is None else oldest / 1000)

    def _read(self, topic: Topic) -> Iterator[Records]:
        for run in topic.read():
            if self._ended.wait(BREATH):
                return
            yield run

    def _trouble(self, error: Exception) -> None:
        """Told once. What is known is kept in sight while the broker is away; without the topics there is nothing to know."""
        nothing = isinstance(error, NoTopicError)
        if nothing:
            self._figures.unreviewed(None)
        if str(error) != self._said:
            self._said = str(error)
            log.log(logging.INFO if nothing else logging.WARNING, "cannot tell which alerts were reviewed", extra={"error": str(error)})
        self._leave()

    def _leave(self) -> None:
        for topic in self._topics:
            topic.close()
        self._topics = []


def told_rows(records: Records) -> list[int]:
    """Which of the records are no heartbeats: of these there are very many."""
    start, stop = records.value[:, 0], records.value[:, 1]
    told, long = stop >= 0, np.flatnonzero(stop - start >= len(BEAT))
    begin = np.frombuffer(records.data, np.uint8)[start[long, None] + np.arange(len(BEAT))]
    told[long] = (begin != np.frombuffer(BEAT, np.uint8)).any(axis=1)
    rows: list[int] = np.flatnonzero(told).tolist()
    return rows
