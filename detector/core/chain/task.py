"""All that the log has of one task: its chain of alerts, and its heartbeats, which say where the chain stands and that the task lives."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from detector.core.chain.links import Claim, Links
from detector.core.chain.numbers import Entry, Fault, Numbers, Place, Stream
from detector.core.heartbeats import Heartbeat


@dataclass(slots=True)
class TaskLog:
    links: Links
    alerts: int = 0
    heartbeats: int = 0
    last: Heartbeat | None = None
    """The heartbeat of the highest number."""
    silence: tuple[int, int] = (0, 0)
    """The longest time between two heartbeats, ms, and when it began."""
    faults: Counter[str] = field(default_factory=Counter)
    first_fault: Fault | None = None
    _beats: Numbers = field(default_factory=Numbers)
    _said: dict[int, Heartbeat] = field(default_factory=dict)
    """What heartbeats say whose turn has not come."""
    _began: tuple[int, int] | None = None
    """Broker's time, ms, and alerts so far of the first heartbeat since when the log is whole: alerts behind it must be there."""
    _beating: bool = False
    _streams: dict[str, Stream] = field(default_factory=dict)
    _end: Place | None = None

    @property
    def chain(self) -> tuple[int, str]:
        """Alerts so far and the head, as far as the log tells."""
        if self.links.first is None and self.last is not None:
            return self.last.seq, self.last.head
        return self.links.seq, self.links.head

    def counted(self, faults: Iterable[Fault]) -> Iterator[Fault]:
        for fault in faults:
            self.faults[fault.kind] += 1
            if self.first_fault is None or fault.order < self.first_fault.order:
                self.first_fault = fault
            yield fault

    def expect(self, seq: int, head: str, place: Place) -> None:
        """What somebody wrote down of the chain. To be said before anything is added."""
        if seq:
            self.links.claims.setdefault(seq, {})[head] = Claim(place, "head that was written down", True)

    def add_alert(self, alert: Entry, stream: str) -> Iterator[Fault]:
        self._end = alert.place
        known = self.links.known(alert.number)
        if same := [other for other in known if other.hash == alert.hash]:
            yield alert.fault("repeated", f"is the same as at {same[0].place}")
            return
        self.alerts += 1
        if alert.number >= self.links.seq or (known and self.links.seq == alert.number + 1):
            if not known:  # of several of a number it is not said yet which were made up
                yield from self._ordered((2 * alert.number + 1, 0), alert, stream)
            yield from self.links.add(alert)
        elif known:
            yield alert.fault("forged", f"another alert of this number is at {known[0].place}, and the chain goes on from that")
        else:
            yield alert.fault("reordered", f"comes after alert {self.links.seq - 1}, or its number was used again")

    def add_heartbeat(self, said: Heartbeat, beat: Entry, stream: str) -> Iterator[Fault]:
        """`beat.bad`: its digest is wrong, so that nothing that it says counts but its number."""
        self._end = beat.place
        known = self._beats.known(beat.number)
        if any(other.hash == beat.hash for other in known):
            yield beat.fault("repeated", f"is the same as at {known[0].place}")
            return
        self.heartbeats += 1
        if beat.bad:
            yield beat.fault("altered", "does not have the digest that it states")
        if known:
            yield beat.fault("forged", f"another heartbeat of this number is at {known[0].place}")
        elif beat.number < self._beats.next:
            yield beat.fault("reordered", f"comes after heartbeat {self._beats.next - 1}, or its number was used again")
        else:
            self._beats.add(beat)
            self._said[beat.number] = said
            if not beat.bad:
                yield from self._ordered((2 * said.seq, said.beat), beat, stream)
                yield from self.links.claim(said.seq, said.head, Claim(beat.place, f"heartbeat {said.beat}", False))
        yield from self._proceed()

    def finish(self) -> Iterator[Fault]:
        """The log is at its end."""
        yield from self._proceed(ended=True)
        least = 0 if self.links.complete else None if self._began is None else self._began[1]
        yield from self.links.finish(least)
        end = least or 0 if self.links.first is None else self.links.seq
        beyond = sorted((seq, claim) for seq, claims in self.links.claims.items() for claim in claims.values() if seq > end)
        if beyond:
            seq, claim = beyond[0]
            place = self._end if claim.trusted else claim.place
            message = f"and what follows lacks: the {claim.what} ({claim.place}) counts {seq} alerts, the log {end}"
            yield Fault("truncated", f"alert {end}", place, message)
        elif self.links.first is None:
            yield from self._heads_alone()

    def _heads_alone(self) -> Iterator[Fault]:
        """No alert is in the log: what was written down can be compared with heartbeats alone."""
        for seq, claims in self.links.claims.items():
            if any(claim.trusted for claim in claims.values()):
                for claim in claims.values():
                    if not claim.trusted:
                        yield Fault("forged", claim.what, claim.place, f"names another head after {seq} alerts than was written down")

    def _ordered(self, rank: tuple[int, int], entry: Entry, stream: str) -> Iterator[Fault]:
        overtaken = self._streams.setdefault(stream, Stream()).overtaken(rank, entry)
        if overtaken is not None:
            yield overtaken.fault("reordered", f"stands before {entry.what} {entry.number} ({entry.place}), which was written earlier")

    def _proceed(self, ended: bool = False) -> Iterator[Fault]:
        for due, (beat, *_) in self._beats.ready(ended):
            said = self._said.pop(beat.number)
            if due < beat.number and (self.links.complete or self._beating):
                yield beat.lacking(due)
            self._beating = True
            self._beats.remember(beat)
            if not beat.bad:
                self._note(said, beat.place.time)

    def _note(self, said: Heartbeat, time: int) -> None:
        if self._began is None or self._began[0] < self.links.whole_from:
            self._began = time, said.seq
        if self.last is not None:
            self.silence = max(self.silence, (said.time - self.last.time, self.last.time))
        self.last = said
