"""Explanation, slow and obvious: every subject that was ever looked at, and assignments as they were made."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from histories import Event

from detector.core.baselines import Baselines

HOUR, DAY = 3600, 86_400
LAST = 4_294_967_295
"""The last second that is told from those after it, in the year 2106."""


@dataclass
class Assignment:
    subject: int
    purpose: int
    at: int
    until: int


class Explanation:
    def __init__(self) -> None:
        self.assignments: deque[Assignment] = deque(maxlen=32)
        self.known: set[int] = set()
        self.known_before: set[int] = set()
        self.look_day = -1
        self.look_days = 0

    def observe(self, e: Event, baselines: Baselines, said: dict[str, float]) -> None:
        second = min(e.time // 1000, LAST)
        if not e.is_access:
            self.assign(e, second)
            return
        said["w"] = self.reason(e, second) * (0.15 if e.own else 1) * (0.5 if e.self else 1)
        said["new"] = float(e.on_person and self.first_look(e))

    def reason(self, e: Event, second: int) -> float:
        if not e.subject:
            return 0.35 if e.purpose else 1.0
        mine = [a for a in self.assignments if a.subject == e.subject]
        if any(a.at <= second <= a.until for a in mine):
            return 0.03
        if e.exception:
            return 0.1
        if e.purpose:
            return 0.2 if any(a.purpose == e.purpose for a in self.assignments) else 0.35
        return 0.3 if any(0 <= second - a.at < 5 * DAY for a in mine) else 1.0

    def assign(self, e: Event, second: int) -> None:
        if not e.subject:
            return
        if e.action == "assign":
            until = second + 14 * DAY if e.valid_until is None else e.valid_until // 1000 + 6 * HOUR
            self.assignments.append(Assignment(e.subject, e.purpose, second, min(until, LAST)))
            return
        for a in self.assignments:
            if a.subject == e.subject and e.purpose in (0, a.purpose):
                a.until = min(a.until, second + 4 * HOUR)

    def first_look(self, e: Event) -> bool:
        if e.day > self.look_day:
            self.look_day = e.day
            self.look_days += 1
            if self.look_days % 30 == 0:
                self.known_before, self.known = self.known, set()
        new = e.subject not in self.known | self.known_before
        self.known.add(e.subject)
        return new
