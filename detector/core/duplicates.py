"""Duplicates: a record that a producer sent twice counts once.

State: the last 64 event ids of each key, as 32-bit hashes (256 bytes). An id repeated later than 64 of the same key's events counts
again; a false match has a chance of 64 in 2^32. Events without an id cannot be told apart and always count.
"""

from __future__ import annotations

import numba as nb
import numpy as np
from numpy.typing import NDArray

from detector.core.state import Column, KeyedState, Slots

RING = 64
COLUMNS = (Column("recent_id", "uint32", (RING,)), Column("recent_next", "uint16"))


def repeated(state: KeyedState, slots: Slots, ids: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Which events repeat an earlier one of their key. ids: (n,) hashes, 0 where an event has none."""
    found = np.zeros(len(slots), np.bool_)
    _repeated(slots, ids, state.columns["recent_id"], state.columns["recent_next"], found)
    return found


@nb.njit(cache=True)
def _repeated(slots, ids, recent, recent_next, found):  # type: ignore[no-untyped-def]
    for i in range(len(slots)):
        if ids[i] == 0:
            continue
        s = slots[i]
        short = np.uint32(max(ids[i] & np.uint64(0xFFFFFFFF), np.uint64(1)))
        for j in range(RING):
            if recent[s, j] == short:
                found[i] = True
                break
        if not found[i]:
            recent[s, recent_next[s]] = short
            recent_next[s] = (recent_next[s] + 1) % RING
