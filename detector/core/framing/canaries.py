"""Canaries: subjects whose data nobody has a reason to look at, but who tests with them whether all that is looked at is seen."""

from __future__ import annotations

import numpy as np

from detector.core.context import Context
from detector.core.events import EventBatch
from detector.core.lookups import Lookup, Memo

CANARY = "canary"
"""Their class in protected.csv."""


class Canaries:
    def __init__(self, context: Context) -> None:
        self._context = context
        named = [subject for subject, kind in context.protected.items() if kind == CANARY]
        self._known = bool(named)
        self._lookup = Lookup.of(named)
        self._by_hash = context.finds_hashed and any(name.startswith("hmac:") for name in named)
        self._asked = Memo(np.bool_)

    def seen(self, batch: EventBatch) -> int:
        """Ms: the latest of the events on one of them; -1 where there is none."""
        if not self._known:
            return -1
        subject = batch.hashes("subject")
        hit = self._lookup.find(subject) >= 0
        if self._by_hash:
            hit |= self._asked.of(subject, lambda row: self._context.protected_class(batch.rows[row].subject) == CANARY)
        return int(batch.time[hit].max(initial=-1))
