"""A member of a consumer group that reads columns and says what happened to its partitions.

Its defences against kafka-python: new partitions start paused at a placeholder, so that nothing is read before the caller has restored
their state; membership is a snapshot made right after a poll, and none where it is not safe to commit with it (such records are put
back); records parked while paused are dropped when sought; offsets are never reset silently; clients are made and closed in bounded time.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import Any, Literal, NamedTuple, TypeVar

import kafka.errors as failures
from kafka import KafkaConsumer, OffsetAndMetadata, TopicPartition
from kafka.consumer.subscription_state import ConsumerRebalanceListener
from kafka.coordinator.assignors.cooperative_sticky import CooperativeStickyAssignor
from kafka.structs import MemberState

from detector import failpoints
from detector.core.events import Records
from detector.errors import BrokerError, IdentityError, NoTopicError
from detector.kafka.clients import broker_error, connect
from detector.kafka.holders import unheld
from detector.kafka.joins import keep_join
from detector.kafka.records import join, read_columns

T = TypeVar("T")
Change = tuple[Literal["assigned", "revoked", "lost"], frozenset[int]]

SILENT = 10
"""Polls without heartbeats of a member that is stable: some are normal when it has just joined."""
ANSWER = 10.0
"""Seconds the broker may take to tell offsets."""
HEARTBEAT = 1000
"""Ms. The answer to a heartbeat is how a member learns that another has left: until then, nobody has its partitions."""

READING: dict[str, Any] = {
    "enable_auto_commit": False,
    "auto_offset_reset": "none",
    "allow_auto_create_topics": False,
    "check_crcs": True,
    "request_timeout_ms": 30_000,
    "fetch_min_bytes": 1,
    "fetch_max_wait_ms": 100,
    "max_partition_fetch_bytes": 4 << 20,
    "fetch_max_bytes": 32 << 20,
    "metadata_max_age_ms": 30_000,
    "metrics_enabled": False,
}


class Membership(NamedTuple):
    """By whom offsets are committed: the broker refuses those of a generation that is over."""

    group: str
    generation: int
    member: str
    instance: str | None


class _Listener(ConsumerRebalanceListener):  # type: ignore[misc]
    """Called on kafka-python's network thread, where a wait would stop the heartbeats: it pauses, places, and takes a note."""

    def __init__(self, client: Any, changes: deque[Change]) -> None:
        self.client, self.changes = client, changes

    def on_partitions_assigned(self, assigned: Iterable[Any]) -> None:
        assigned = list(assigned)
        for partition in assigned:
            self.client.seek(partition, 0)  # a placeholder; with none, kafka-python would look for a committed offset itself
        self.client.pause(*assigned)
        self._note("assigned", assigned)

    def on_partitions_revoked(self, revoked: Iterable[Any]) -> None:
        self._note("revoked", revoked)

    def on_partitions_lost(self, lost: Iterable[Any]) -> None:
        self._note("lost", lost)

    def _note(self, what: Literal["assigned", "revoked", "lost"], partitions: Iterable[Any]) -> None:
        failpoints.at("in_listener")
        found = frozenset(p.partition for p in partitions)
        if found:
            self.changes.append((what, found))


class Consumer:
    """Reads one topic as a member of `group`. All methods are for one thread; each raises BrokerError, after which a new one is made."""

    def __init__(
        self, topic: str, group: str, settings: Mapping[str, Any], session_timeout: float = 10.0, instance_id: str | None = None
    ) -> None:
        self.topic, self._settings, self._doing = topic, settings, f"reading topic {topic!r} in group {group!r}"
        self._changes: deque[Change] = deque()
        self._membership: Membership | None = None
        self._group, self._instance, self._silent, self._looked = group, instance_id, 0, ""
        session = int(session_timeout * 1000)
        self._client = connect(
            KafkaConsumer, settings, self._doing, group_id=group, group_instance_id=instance_id, isolation_level="read_committed",
            partition_assignment_strategy=[CooperativeStickyAssignor], session_timeout_ms=session,
            heartbeat_interval_ms=min(HEARTBEAT, session // 3), max_poll_interval_ms=120_000, **READING,
        )  # fmt: skip
        self.columnar = read_columns(self._client)
        try:
            require_topic(self._client, topic, settings, self._doing)
            self._client.subscribe([topic], listener=_Listener(self._client, self._changes))
        except BaseException:
            self.close(1.0)
            raise

    def poll(self, timeout: float, limit: int) -> list[Records]:
        """Up to `limit` records in all, at most one Records a partition, after at most `timeout` seconds.

        Raises BrokerError; CorruptBatchError, one of them, names the partition and offset behind which nothing can be read.
        """
        fetcher = self._client._fetcher
        if not fetcher._next_partition_records:  # used up, and yet it keeps what was parked by pause() from being taken up again
            fetcher._next_partition_records = None
        keep_join(self._client._coordinator)
        try:
            found = self._client.poll(timeout_ms=int(timeout * 1000), max_records=limit)
        except failures.NoOffsetForPartitionError:
            found = {}  # seen between an assignment and its placeholder
        except BrokerError:
            raise
        except failures.FencedInstanceIdError as error:
            raise self._displaced() from error
        except Exception as error:  # whatever it is: polled again, this client could spin for ever
            raise broker_error(self._doing, self._settings, error) from error
        self._membership = self._safe_membership()
        self._complete_move()
        records = [join(items) for items in found.values()]
        if self._membership is None:
            for run in records:
                self.seek(run.partition, int(run.offset[0]))
            return []
        return records

    def membership(self) -> Membership | None:
        """The membership right after the last poll; None where offsets must not be committed (not a member, or rebalancing)."""
        return self._membership

    def _complete_move(self) -> None:
        """A member with a name that comes back is given what it had, and nobody else hears of it. If it went between the two steps of a
        cooperative move, what it had given up would never be given to anybody: so it looks, once, and asks for the second step.
        """
        if self._instance is None or self._membership is None or self._membership.member == self._looked:
            return
        missing = self._ask(lambda: unheld(self._client, self._group, self.topic, ANSWER))
        if missing is not None:
            self._looked = self._membership.member
        if missing:
            self._client._coordinator.request_rejoin()

    def _displaced(self) -> IdentityError:
        return IdentityError(
            f"another process has joined group {self._group!r} with the group.instance_id of this one, {self._instance!r}\n"
            "give each process a group.instance_id of its own, or none"
        )

    def _safe_membership(self) -> Membership | None:
        found = self._client.group_metadata()
        silent = found.state == MemberState.STABLE and self._instance is not None and not self._client._coordinator._heartbeat_enabled
        self._silent = self._silent + 1 if silent else 0
        if self._silent > SILENT:  # its heartbeats were refused and are off, and it would go on as if nothing were
            raise self._displaced()
        if found.generation_id < 0 or not found.member_id or found.state != MemberState.STABLE:
            return None
        return Membership(found.group_id, found.generation_id, found.member_id, found.group_instance_id)

    def changes(self) -> list[Change]:
        """What happened to the partitions since the last call, in order. Assigned ones are paused: seek, then resume them."""
        found = []
        while self._changes:
            found.append(self._changes.popleft())
        return found

    def committed(self, partitions: Iterable[int]) -> dict[int, tuple[int, str] | None]:
        """Committed offset and metadata of each partition, None where nothing was. Waits out transactions that are being settled."""

        def ask() -> dict[int, tuple[int, str] | None]:
            found: dict[int, tuple[int, str] | None] = {}
            for p in partitions:
                answer = self._client.committed(self._at(p), metadata=True, timeout_ms=int(ANSWER * 1000))
                found[p] = None if answer is None or answer.offset < 0 else (answer.offset, answer.metadata)
            return found

        return self._ask(ask)

    def commit(self, offsets: Mapping[int, tuple[int, str]], membership: Membership | None) -> None:
        """Commit next offset and metadata of each partition, outside of any transaction, within ANSWER seconds. Raises BrokerError, also
        where `membership` is over; whether it happened is then not known, and `committed` tells.
        """
        places = {self._at(p): OffsetAndMetadata(offset, metadata, -1) for p, (offset, metadata) in offsets.items()}

        def tell() -> None:
            if membership is None or membership != self._safe_membership():  # kafka-python takes whatever generation there is by now
                raise failures.CommitFailedError("not a stable member of the group any more")
            self._client.commit(places, timeout_ms=int(ANSWER * 1000))

        self._ask(tell)

    def bounds(self, partitions: Iterable[int]) -> dict[int, tuple[int, int]]:
        """First offset there is, and the offset behind the last one that read_committed may see, of each partition."""
        places = [self._at(p) for p in partitions]
        if not places:
            return {}
        first = self._ask(lambda: self._client._fetcher.beginning_offsets(places, int(ANSWER * 1000)))
        end = self._ask(lambda: self._client._fetcher.end_offsets(places, int(ANSWER * 1000)))
        return {place.partition: (first[place], end[place]) for place in places}

    def written(self, partition: int) -> int:
        """The offset behind the last record there is, be its transaction finished or not, as the last answer to a fetch said."""
        with suppress(failures.IllegalStateError, KeyError):  # taken away meanwhile
            return int(self._client.highwater(self._at(partition)) or 0)
        return 0

    def position(self, partition: int) -> int:
        """The offset to be fetched next; behind the last record by as much as control records follow it."""
        return int(self._ask(lambda: self._client.position(self._at(partition), timeout_ms=int(ANSWER * 1000))) or 0)

    def topic_id(self) -> str:
        """Another one where a topic was deleted and made anew under the same name; empty where brokers are too old to tell."""
        return str(self._client._cluster.topic_id(self.topic) or "")

    def seek(self, partition: int, offset: int) -> None:
        """Read on from `offset`. A partition that was taken away meanwhile is passed over; its change is in the queue."""
        place, fetcher = self._at(partition), self._client._fetcher
        with suppress(ValueError, KeyError):
            self._client.seek(place, offset)
        fetcher._paused_partition_records.pop(place, None)  # what is parked may never be un-parked
        fetcher._paused_completed_fetches.pop(place, None)

    def pause(self, partitions: Iterable[int]) -> None:
        for p in partitions:
            with suppress(KeyError):
                self._client.pause(self._at(p))

    def resume(self, partitions: Iterable[int]) -> None:
        for p in partitions:
            with suppress(KeyError):
                self._client.resume(self._at(p))

    def close(self, timeout: float) -> None:
        """Leave the group; whatever happens, back after `timeout` seconds and a little."""
        close_consumer(self._client, timeout)

    def _at(self, partition: int) -> TopicPartition:
        return TopicPartition(self.topic, partition)

    def _ask(self, question: Callable[[], T]) -> T:
        try:
            return question()
        except Exception as error:
            raise broker_error(self._doing, self._settings, error) from error


def require_topic(client: Any, topic: str, settings: Mapping[str, Any], doing: str) -> list[int]:
    """The partitions of a topic that exists and may be seen; BrokerError otherwise, because a poll would wait for it for ever."""
    found: list[int] = []
    errors: list[BaseException] = []

    def look() -> None:
        try:
            found.extend(sorted(client.partitions_for_topic(topic)))
        except Exception as error:
            errors.append(error)

    asking = threading.Thread(target=look, daemon=True)
    asking.start()
    asking.join(ANSWER)
    if errors or asking.is_alive():
        raise broker_error(doing, settings, errors[0] if errors else TimeoutError(f"no answer within {ANSWER:g} s"))
    if not found:
        raise NoTopicError(f"{doing} failed: topic {topic!r} does not exist, or may not be seen; `detector topics create` makes it")
    return found


def close_consumer(client: Any, timeout: float) -> None:
    """kafka-python's close() may hang or raise: it gets `timeout` seconds in a thread of its own."""

    def close() -> None:
        with suppress(Exception):
            client.close(autocommit=False, timeout_ms=int(timeout * 1000))

    closing = threading.Thread(target=close, daemon=True)
    closing.start()
    closing.join(timeout + 0.5)
