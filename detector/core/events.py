"""What flows: the records of a partition, and the access events decoded from them, as equally long columns."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from types import MappingProxyType
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from detector.core.strings import Coded, encode, hash_strings

Ints = NDArray[np.int64]

ACTIONS = ("search", "list", "read", "export", "write", "delete", "grant", "login", "admin", "assign", "unassign")
OUTCOMES = ("success", "denied", "error")
NO_TIME = np.iinfo(np.int64).min
"""In a time column: the event does not say."""


@dataclass(frozen=True, slots=True)
class Records:
    """A run of raw records of one partition, in offset order; the bytes in one buffer, everything else as columns of length n.

    Positions are (n, 2) int64 arrays of (start, stop) in `data`; stop = -1 says that the part is null.
    """

    topic: str
    partition: int
    data: bytes
    offset: Ints
    timestamp: Ints
    """Broker's (or producer's) time of each record, ms since 1970 UTC."""
    key: Ints | None
    """Key positions; None where the source has no keys (a file)."""
    value: Ints
    headers: Ints
    """Raw, undecoded headers. Stop = -1: none."""
    broken: NDArray[np.bool_]
    """The record's own framing is damaged: `value` is then the whole raw record, and the key is null."""

    @staticmethod
    def of(values: Sequence[bytes], topic: str = "access-events", partition: int = 0, first: int = 0) -> Records:
        """Records without keys from values at hand; broker's time 0, which says that it is not known."""
        ends = np.cumsum([len(v) for v in values], dtype=np.int64)
        n = len(values)
        value = np.stack([np.concatenate([[0], ends[:-1]]), ends], axis=1) if n else np.zeros((0, 2), np.int64)
        nothing = np.tile(np.array([0, -1], np.int64), (n, 1))
        offset = first + np.arange(n, dtype=np.int64)
        return Records(topic, partition, b"".join(values), offset, np.zeros(n, np.int64), None, value, nothing, np.zeros(n, np.bool_))

    @staticmethod
    def joined(items: Sequence[Records]) -> Records:
        """Several (at least one) as one, in this order, under the first one's topic and partition."""
        first = items[0]
        if len(items) == 1:
            return first
        base = np.cumsum([0, *(len(item.data) for item in items)])[:-1]
        shift = np.repeat(base, [len(item) for item in items])[:, None]

        def positions(name: str) -> Ints:
            found: Ints = np.concatenate([getattr(item, name) for item in items])
            return np.where(found[:, 1:] >= 0, found + shift, found)

        return Records(
            first.topic, first.partition, b"".join(item.data for item in items),
            np.concatenate([item.offset for item in items]), np.concatenate([item.timestamp for item in items]),
            None if first.key is None else positions("key"), positions("value"), positions("headers"),
            np.concatenate([item.broken for item in items]),
        )  # fmt: skip

    def __len__(self) -> int:
        return len(self.offset)

    def take(self, rows: slice | NDArray[Any]) -> Records:
        return Records(
            self.topic, self.partition, self.data, self.offset[rows], self.timestamp[rows],
            None if self.key is None else self.key[rows], self.value[rows], self.headers[rows], self.broken[rows],
        )  # fmt: skip

    def part(self, positions: Ints | None, row: int) -> bytes | None:
        """The bytes of one part (`records.key`, `.value` or `.headers`) of one record, or None where it is null."""
        if positions is None or positions[row, 1] < 0:
            return None
        return self.data[positions[row, 0] : positions[row, 1]]


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A record that was refused, with all that is needed to find it, to mend it and to send it again."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    reason: str
    """A code from a closed list, e.g. `not-json`, `missing-member`."""
    pointer: str
    """JSON pointer of the member at fault; empty where it is the whole record."""
    message: str
    """For a person: what is wrong."""
    key: bytes | None
    value: bytes | None
    headers: bytes | None
    """The record's headers as they stand in the log (their count as varint, then each), undecoded."""


class EventBatch:
    """Access events of one partition in log order, as columns of length n.

    Numbers are arrays. A string member is a column of hashes, which a format may have made from the bytes already, or a `Coded` dictionary
    column; either is made when first asked for. `rows` are the decoded events: anything with the native event's attributes.
    """

    __slots__ = ("_coded", "_hashes", "broker_time", "dead", "offset", "partition", "rows", "time", "topic")

    def __init__(
        self, topic: str, partition: int, offset: Ints, broker_time: Ints, time: Ints, rows: Sequence[Any],
        dead: Sequence[DeadLetter] = (), hashes: Mapping[str, NDArray[np.uint64]] = MappingProxyType({}),
    ) -> None:  # fmt: skip
        assert len(offset) == len(time) == len(broker_time) == len(rows)
        self.topic, self.partition = topic, partition
        self.offset, self.broker_time, self.time = offset, broker_time, time
        self.rows, self.dead = rows, dead
        self._coded: dict[str, Coded] = {}
        self._hashes = dict(hashes)

    def __len__(self) -> int:
        return len(self.offset)

    def strings(self, name: str) -> Coded:
        """A string member (`actor`, `subject`, `resource` ...) dictionary-encoded; code -1 where it is absent."""
        found = self._coded.get(name)
        if found is None:
            found = self._coded[name] = encode(list(map(attrgetter(name), self.rows)))
        return found

    def hashes(self, name: str) -> NDArray[np.uint64]:
        """Keyed hash of a string member, or of one that `hash_members` knows, (n,), 0 where it is absent."""
        found = self._hashes.get(name)
        if found is None:
            found = self._hashes[name] = hash_members(self.rows, name)
        return found

    def numbers(self, name: str) -> Ints:
        """An integer member (`action`, `outcome`, `records`, `bytes`) as int64."""
        return np.fromiter(map(attrgetter(name), self.rows), np.int64, len(self.rows))

    def take(self, rows: slice | NDArray[np.int64]) -> EventBatch:
        """Some of the events, in the given order. Dead letters stay behind: they have no place in the order of events."""
        some = self.rows[rows] if isinstance(rows, slice) else [self.rows[i] for i in rows.tolist()]
        hashes = {name: column[rows] for name, column in self._hashes.items()}
        return EventBatch(self.topic, self.partition, self.offset[rows], self.broker_time[rows], self.time[rows], some, (), hashes)

    def placed(self, topic: str, partition: int, offset: Ints) -> EventBatch:
        """The same events at another place."""
        return EventBatch(topic, partition, offset, self.broker_time, self.time, self.rows, self.dead, self._hashes)


def hash_members(rows: Sequence[Any], name: str) -> NDArray[np.uint64]:
    """Keyed hash of a string member of decoded events, (n,), 0 where it is absent.

    Two more have hashes: `purpose_kind`, the purpose's text before the first `-`, and `fields`, the list of them as compact JSON. Where
    a format hashes `fields` as they are written, equal lists may have several hashes, but no two lists the same.
    """
    column = list(map(_TEXTS.get(name) or attrgetter(name), rows))
    absent = np.fromiter((value is None for value in column), np.bool_, len(column))
    return np.where(absent, np.uint64(0), hash_strings([value or "" for value in column]))


def _purpose_kind(row: Any) -> str | None:
    return None if row.purpose is None else row.purpose.partition("-")[0]


def _fields(row: Any) -> str | None:
    return msgspec.json.encode(row.fields).decode() if row.fields else None


_TEXTS: Mapping[str, Callable[[Any], str | None]] = {"purpose_kind": _purpose_kind, "fields": _fields}
