"""Doubts: transactions of which it is not known whether they happened. Sending again settles nearly all; the others are seen here.

A doubt may say `phase`, where it broke; `fenced` or `displaced`, that another process has the same identity; `too_large`, that a record is
larger than its topic takes.
"""

from __future__ import annotations

import logging

from detector.checkpoints import Checkpoints
from detector.errors import BrokerError, IdentityError
from detector.metrics import Metrics

log = logging.getLogger("detector.doubts")

FENCED = 3
"""Transactions in a row that another process ended; a process that was taken for dead meets one."""


class Doubts:
    def __init__(self, figures: Metrics, checkpoints: Checkpoints, identity: str) -> None:
        self._figures, self._checkpoints, self._identity = figures, checkpoints, identity
        self._fenced = 0
        self.open = False
        """One is not settled yet."""

    def met(self, doubt: Exception) -> None:
        """Raises IdentityError where two processes fence each other, and BrokerError where a snapshot cannot be sent."""
        self.open = True
        self._figures.doubt(getattr(doubt, "phase", "unknown"))
        self._figures.connected(False)
        if getattr(doubt, "too_large", False) and self._checkpoints.refused():
            log.error("the state topic takes no chunk of a snapshot", extra={"audit": True})
            raise BrokerError("a chunk of a snapshot is larger than the state topic takes; going on without snapshots for a while")
        if getattr(doubt, "displaced", False):
            raise IdentityError(
                "another process has joined the group with the group.instance_id of this one\n"
                "give each process a group.instance_id of its own, or none"
            )
        self._fenced = self._fenced + 1 if getattr(doubt, "fenced", False) else 0
        if self._fenced == FENCED:
            raise IdentityError(
                f"another process uses the transactional id {self._identity!r}: it ended {FENCED} transactions of this one in a row\n"
                "give each process a group.ordinal of its own"
            )

    def settled(self) -> None:
        """One is certain to have happened."""
        self._fenced, self.open = 0, False
