"""Refusals: when so much of a partition is refused that the fault lies upstream, it is not read on, lest everything drain away."""

from __future__ import annotations

from dataclasses import dataclass

WINDOW = 10_000
"""Records of which a share is taken."""


@dataclass(slots=True)
class Refusals:
    """Of one partition, since it was taken."""

    run_limit: int
    """Records refused one after the other."""
    share_limit: float
    """Share refused of about the last WINDOW records; 1: no limit."""
    run: int = 0
    seen: int = 0
    refused: int = 0

    def count(self, good: int, refused: int, behind: int) -> None:
        """Records that were processed, and refused; so many of these behind the last good one."""
        self.run = behind if good else self.run + refused
        self.seen, self.refused = self.seen + good + refused, self.refused + refused
        if self.seen > 2 * WINDOW:  # half of it is forgotten: older records count ever less
            self.refused, self.seen = self.refused * WINDOW // self.seen, WINDOW

    def too_many(self) -> str:
        """Why to stop, in words; empty if there is no reason."""
        if self.run >= self.run_limit:
            return f"{self.run} records one after the other were refused (input.dead_letter_run is {self.run_limit})"
        if self.seen >= WINDOW and self.refused > self.share_limit * self.seen:
            return f"{self.refused} of the last {self.seen} records were refused (input.dead_letter_share is {self.share_limit:g})"
        return ""
