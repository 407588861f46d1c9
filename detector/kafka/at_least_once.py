"""Delivery for brokers without transactions: everything arrives, and after a fault some of it twice.

First the messages are acknowledged by all replicas in sync, then the offsets are committed. What dies in between is delivered again by
the next owner of the partitions, with the same bytes but for places in the log: alert ids make the duplicates recognisable. Waits are
bounded as the guard's are, and anything but a certain success is its `Doubt`, after which the committed offset tells.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from kafka import KafkaProducer

from detector import failpoints
from detector.kafka.consumer import Membership
from detector.kafka.transactions import WRITING, Doubt, Sendable, Writing, discard, make_producer

IN_ORDER = {"enable_idempotence": False, "max_in_flight_requests_per_connection": 1}
"""What keeps records in order without the broker's help."""

Commit = Callable[[Mapping[int, tuple[int, str]], Membership], None]
"""Partition -> next offset, metadata; `Consumer.commit` is one. Raises BrokerError."""


class AtLeastOnce:
    """One producer, one thread. `idempotent`: the broker drops what the client itself sends twice; few are too old for it."""

    def __init__(self, settings: Mapping[str, Any], commit: Commit, idempotent: bool = True, timeout: float = 15.0) -> None:
        self._settings, self._commit, self._timeout = settings, commit, timeout
        self._options = WRITING | ({"enable_idempotence": True} if idempotent else IN_ORDER)
        self._producer: KafkaProducer | None = None

    def deliver(
        self, messages: Sequence[Sendable], offsets: Mapping[tuple[str, int], tuple[int, str]], membership: Membership | None
    ) -> list[int]:
        """Messages (as `Message`), then consumed offsets ((topic, partition) -> next offset, metadata). Raises Doubt. Gives the offsets
        that the messages took, in their order; -1 where the broker does not say.
        """
        if self._producer is None:
            raise Doubt("begin", RuntimeError("there is no producer: settle() first"))
        writing = Writing(self._producer, self._timeout)
        try:
            if membership is None:
                raise RuntimeError("not a stable member of the group")
            places = writing.send(messages)
            writing.phase = "offsets"
            if offsets:
                self._commit({partition: to for (_, partition), to in offsets.items()}, membership)
            failpoints.at("after_commit")
        except Exception as error:
            self.close()
            raise Doubt(writing.phase, error) from error
        except BaseException:
            self.close()
            raise
        return places

    def settle(self, deadline: float) -> bool:
        """Have a producer. Nothing to do, and False, where there is one. Raises BrokerError after `deadline` seconds, or at once if that is
        no use.
        """
        if self._producer is not None:
            return False
        self._producer = make_producer(self._settings, "connecting a producer", deadline, lambda _: None, **self._options)
        return True

    def close(self) -> None:
        if self._producer is not None:
            discard(self._producer)
            self._producer = None


class Silent(AtLeastOnce):
    """Keeps to itself what it is to deliver; only consumed offsets are committed. For a service in the shadow of another."""

    def deliver(
        self, messages: Sequence[Sendable], offsets: Mapping[tuple[str, int], tuple[int, str]], membership: Membership | None
    ) -> list[int]:
        super().deliver((), offsets, membership)
        return [-1] * len(messages)
