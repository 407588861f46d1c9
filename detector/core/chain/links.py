"""The alerts of one task in the order of their numbers: whether each names the hash of the one before, and who is to blame if not.

Each alert has witnesses of what it was: its successor, heartbeats, and heads that somebody wrote down. One that its successor does not name
was altered itself, or that one was: the witnesses of both tell. Of two broken links in a row, the alert between them explains both.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from detector.core.alerts import GENESIS
from detector.core.chain.numbers import Entry, Fault, Numbers, Place


class Claim(NamedTuple):
    """Somebody says that after so many alerts the chain has such a head."""

    place: Place
    what: str
    """`heartbeat 4`, or a line of what was written down."""
    trusted: bool
    """Written down by somebody else: where they differ, it is the chain that is wrong."""


@dataclass(slots=True)
class Links:
    complete: bool = False
    """The first alert must be there."""
    whole_from: int = 0
    """Ms; what the log lost before this time, retention may have deleted."""
    first: int | None = None
    """The number of the first alert in the log."""
    head: str = GENESIS
    """Hash of the last one."""
    gone: int = 0
    """Alerts that are not in the log, and need not be."""
    uncompared: int = 0
    """Claims about alerts that are gone or long past."""
    claims: dict[int, dict[str, Claim]] = field(default_factory=dict)
    """Alerts so far -> head -> who says so; of alerts that are not settled."""
    _numbers: Numbers = field(default_factory=Numbers)
    _tail: list[Entry] = field(default_factory=list)
    """The last alert, not yet settled: its successor is not known. Several where the log has several of its number."""
    _doubt: Entry | None = None
    """Its successor does not name it, and nobody else speaks for it."""

    @property
    def seq(self) -> int:
        """The number of the next alert."""
        return self._numbers.next

    def known(self, number: int) -> Sequence[Entry]:
        return self._tail if self._tail and self._tail[0].number == number else self._numbers.known(number)

    def claim(self, seq: int, head: str, claim: Claim) -> Iterator[Fault]:
        if seq == 0:
            if head != GENESIS:
                yield Fault("forged", claim.what, claim.place, "names a head before the first alert")
        elif seq > self.seq or (self._tail and seq == self.seq):
            self.claims.setdefault(seq, {}).setdefault(head, claim)
        elif self._doubt is not None and self._doubt.number == seq - 1:
            yield from self._resolve(self._doubt, {head: claim})
        elif settled := self._numbers.known(seq - 1):
            yield from _against(settled[0], {head: claim})
        else:
            self.uncompared += 1

    def add(self, alert: Entry) -> Iterator[Fault]:
        """One that is not known."""
        if self._tail and alert.number == self._tail[0].number:
            self._tail.append(alert)
            return
        self._numbers.add(alert)
        yield from self._proceed()

    def finish(self, least: int | None) -> Iterator[Fault]:
        """The log is at its end. `least`: so many alerts there were when it began, so that later ones must be there."""
        yield from self._proceed(True, least)
        yield from self._settle([])
        self._tail = []

    def _proceed(self, ended: bool = False, least: int | None = None) -> Iterator[Fault]:
        for due, entries in self._numbers.ready(ended):
            number = entries[0].number
            if due == number:
                yield from self._settle(entries)
                if number == 0:
                    yield from self._begin(entries)
            else:
                yield from self._settle([])
                yield from self._gap(due, entries[0], least)
            self.first = number if self.first is None else self.first
            self._tail = entries

    def _begin(self, entries: Sequence[Entry]) -> Iterator[Fault]:
        for entry in entries:
            if entry.prev != GENESIS and not entry.bad:
                yield entry.blame("is the first, and names the hash of one before it")

    def _gap(self, due: int, entry: Entry, least: int | None) -> Iterator[Fault]:
        """Numbers from `due` on lack before this one."""
        if self._tail:
            excused = entry.number if self._tail[0].place.time < self.whole_from else due
        else:
            excused = entry.number if least is None else min(max(least, due), entry.number)
        excused = due if self.complete else excused
        self.gone += excused - due
        for seq in [seq for seq in self.claims if seq <= entry.number]:
            self.uncompared += len(self.claims.pop(seq))
        if excused < entry.number:
            yield entry.lacking(excused)

    def _settle(self, successors: Sequence[Entry]) -> Iterator[Fault]:
        """Who comes after the last alert is known now; nobody: it is the last, or the next one lacks."""
        if not self._tail:
            return
        named, claims = {successor.prev for successor in successors}, self.claims.pop(self._tail[0].number + 1, {})
        alert = max(self._tail, key=lambda e: (e.hash in named, e.hash in claims, e.prev == self.head))
        for other in self._tail:
            if other is not alert:
                yield other.fault("forged", f"another alert of this number is at {alert.place}, and fits the chain as well or better")
        yield from self._judge(alert, successors, named, claims)
        self.head = alert.hash
        self._numbers.remember(alert)

    def _judge(self, alert: Entry, successors: Sequence[Entry], named: set[str], claims: dict[str, Claim]) -> Iterator[Fault]:
        doubt, self._doubt = self._doubt, None
        if alert.bad:
            return  # it was said of this one already; and whoever does not fit to it is right
        if doubt is not None and alert.prev == doubt.hash:
            doubt = None  # the one that did not name it was made up
        torn, vouched = bool(named) and alert.hash not in named, alert.hash in claims
        denied = bool(claims) and not vouched
        if doubt is not None and (denied or (torn and not vouched)):
            yield alert.blame(f"does not name the hash of the one before ({doubt.place}), nor has it the hash by which it is named")
            return
        if doubt is not None:
            sure = "" if named or vouched else "; or it is that one that was altered: no record vouches for it"
            yield doubt.blame(f"does not have the hash that the next alert ({alert.place}) names{sure}")
        if torn and claims:
            yield from self._resolve(alert, claims, successors)
        elif torn:
            self._doubt = alert
        elif denied and not named:
            yield alert.blame(f"does not have the hash that {_who(claims)} names")
        if not alert.bad:
            yield from _against(alert, claims)

    def _resolve(self, alert: Entry, claims: dict[str, Claim], successors: Sequence[Entry] = ()) -> Iterator[Fault]:
        """Its successors do not name it, and now somebody else speaks."""
        self._doubt = None
        if alert.hash not in claims:
            yield alert.blame(f"does not have the hash that {_who(claims)} names")
            return
        for successor in successors or self._tail:
            if successor.prev != alert.hash:
                yield successor.blame(f"does not name the hash of the one before, for which {_who(claims)} vouches")


def _against(alert: Entry, claims: dict[str, Claim]) -> Iterator[Fault]:
    """Claims that differ from an alert that fits into the chain: if one is trusted the chain was made anew, else the claim was made up."""
    for head, claim in claims.items():
        if head == alert.hash or alert.bad:
            continue
        if claim.trusted:
            yield alert.blame(f"or one before it was: the head written down ({claim.place}) is another, so the chain was made anew")
        else:
            yield Fault("forged", claim.what, claim.place, f"names a head that the chain did not have after {alert.number + 1} alerts")


def _who(claims: dict[str, Claim]) -> str:
    claim = next(iter(claims.values()))
    return f"the {claim.what} ({claim.place})"
