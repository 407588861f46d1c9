"""The guard against a small fake of kafka-python, 200 seeds of faults at every step: row F10 of the fault catalogue.

A fake, because the real client and broker cannot be made to show each of these moments on demand; what they do show is in
test_transactions.py and test_defects.py. The fake lies as the real one was seen to lie: never without the trace by which the guard finds
it out.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import kafka.errors as failures
import pytest

from detector.kafka import transactions
from detector.kafka.consumer import Membership
from detector.kafka.transactions import Doubt, Message, Transactions

MEMBER = Membership("group", 3, "member", None)
PLACE = ("events", 0)
BATCHES, SEEDS = 15, 200


@dataclass
class Clock:
    """Time that passes only in waits."""

    now: float = 0.0

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@dataclass
class FakeBroker:
    """One transactional id: what is committed, and the transaction under way."""

    dice: random.Random
    clock: Clock
    traceless: bool = False
    """It lies without a trace, against which no guard can help."""
    log: list[bytes] = field(default_factory=list)
    offset: int = 0
    epoch: int = 0
    open: list[bytes] = field(default_factory=list)
    staged: int | None = None
    prepared: bool = False
    """The end was decided, but what it means has not happened yet."""
    misused: bool = False
    """A producer was used after a connection of it ended, or after another took its place."""
    seen: Counter[str] = field(default_factory=Counter)

    def fault(self, *kinds: str) -> str:
        """Mostly none."""
        kind = self.dice.choice(kinds) if self.dice.random() < 0.12 else "none"
        self.seen[kind] += 1
        return kind

    def begin_epoch(self) -> int:
        """What the last producer left is committed if that was decided, else it is gone."""
        self.end(self.prepared)
        self.epoch += 1
        return self.epoch

    def end(self, commit: bool) -> None:
        if commit:
            self.log += self.open
            self.offset = self.offset if self.staged is None else self.staged
        self.open, self.staged, self.prepared = [], None, False


class Answer:
    """Of the broker; `wait` is one slice."""

    def __init__(self, clock: Clock, ready: bool = True, error: Exception | None = None, slow: int = 0) -> None:
        self._clock, self._ready, self._error, self._slow = clock, ready, error, slow

    def wait(self, milliseconds: float) -> bool:
        if self._error is not None:
            raise self._error
        self._slow -= 1
        if self._ready and self._slow < 0:
            return True
        self._clock.sleep(milliseconds / 1000)
        return False


class FakeProducer:
    """As much of KafkaProducer as the guard touches. It is its own sender, client and transaction manager."""

    def __init__(self, broker: FakeBroker) -> None:
        self.broker, self.epoch, self.ended = broker, -1, 0
        self.flushable, self.state = True, "READY"
        self._sender = SimpleNamespace(
            wakeup=lambda: None, force_close=lambda: None, join=lambda _: None, _client=SimpleNamespace(_manager=self)
        )
        self._transaction_manager = self

    def init_transactions(self) -> None:
        if self.broker.fault("init") == "init":
            raise failures.KafkaConnectionError("lost while settling")
        self.epoch = self.broker.begin_epoch()

    def begin_transaction(self) -> None:
        self.broker.misused |= self.epoch != self.broker.epoch or self.ended > 0
        if self.broker.fault("begin") == "begin":
            raise failures.KafkaError("an error of the transaction before")

    def send(self, topic: str, key: bytes | None, value: bytes, partition: int | None) -> Any:
        kind = self.broker.fault("record lost", "place unknown", "send")
        if kind == "send":
            raise failures.KafkaTimeoutError("no room")
        if kind == "record lost":  # D3: flush and commit are happy all the same

            def get(_: float) -> Any:
                raise failures.NotEnoughReplicasError
        else:
            self.broker.open.append(value)

            def get(_: float) -> Any:
                return SimpleNamespace(offset=-1 if kind == "place unknown" else len(self.broker.log))

        return SimpleNamespace(get=get, is_done=True)

    def flush(self, seconds: float) -> None:
        kind = self.broker.fault("slow flush", "cut in flush", "flush never ends")
        self.ended += kind == "cut in flush"
        self.flushable = self.flushable and kind not in ("cut in flush", "flush never ends")
        if kind == "slow flush" or not self.flushable:
            self.broker.clock.sleep(seconds)
            raise failures.KafkaTimeoutError

    def send_offsets_to_transaction(self, offsets: Mapping[Any, Any], member: Any) -> Answer:
        assert (member.generation_id, member.member_id) == (MEMBER.generation, MEMBER.member)
        kind = self.broker.fault("stale generation", "cut in offsets", "offsets never end", "slow offsets")
        if kind == "stale generation":
            return Answer(self.broker.clock, error=failures.CommitFailedError("generation"))
        self.ended += kind == "cut in offsets"
        if self.broker.dice.random() < 0.5 or kind in ("none", "slow offsets"):
            self.broker.staged = next(iter(offsets.values())).offset
        return Answer(self.broker.clock, kind in ("none", "slow offsets"), slow=3 if kind == "slow offsets" else 0)

    def begin_commit(self) -> Answer:
        kind = self.broker.fault("cut in commit", "commit never ends", "commit fails", "success that is none", "cut after commit", "slow")
        happens = self.broker.dice.choice(["now", "later", "never"]) if kind not in ("none", "slow", "cut after commit") else "now"
        if kind == "success that is none":  # D4
            happens, self.state = "never", "READY" if self.broker.traceless else "ABORTABLE_ERROR"
        if happens == "now":
            self.broker.end(commit=True)
        self.broker.prepared = happens == "later"
        self.ended += kind in ("cut in commit", "cut after commit")
        error = failures.KafkaError("unknown") if kind == "commit fails" else None
        ready = kind in ("none", "slow", "success that is none", "cut after commit")
        return Answer(self.broker.clock, ready, error, 3 if kind == "slow" else 0)

    @property
    def _current_state(self) -> Any:
        return SimpleNamespace(name=self.state)

    def _wait_on_metadata(self, topic: str, milliseconds: float) -> Any:
        if self.broker.fault("no metadata") == "no metadata":
            self.broker.clock.sleep(milliseconds / 1000)
            raise failures.KafkaTimeoutError
        return {0}

    def _unregister_cleanup(self) -> None:
        """Nothing to do."""


@pytest.fixture
def connected(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[FakeBroker], Transactions]]:
    def connect(broker: FakeBroker) -> Transactions:
        monkeypatch.setattr(transactions, "connect", lambda build, *_, **__: build(broker))
        monkeypatch.setattr(transactions, "KafkaProducer", FakeProducer)
        monkeypatch.setattr(transactions, "time", SimpleNamespace(monotonic=lambda: broker.clock.now, sleep=broker.clock.sleep))
        return Transactions("id", {"bootstrap_servers": ("nowhere",)}, 1.0)

    return connect  # type: ignore[return-value]


def deliver_all(guard: Transactions, broker: FakeBroker) -> int:
    """As the service does: after a doubt, what is committed tells. Gives the number of doubts."""
    doubts = 0
    guard.settle(60.0)
    for batch in range(BATCHES):
        values = [b"%d/%d" % (batch, i) for i in range(broker.dice.randrange(4))]
        for _ in range(100):
            try:
                places = guard.deliver([Message("alerts", None, value) for value in values], {PLACE: (batch + 1, "mark")}, MEMBER)
            except Doubt:
                doubts += 1
                guard.settle(60.0)
                assert broker.offset in (batch, batch + 1) and not broker.open
                if broker.offset == batch + 1:
                    break
            else:
                assert broker.offset == batch + 1, "a success that is none was believed"
                assert len(places) == len(values) and min(places, default=0) >= 0
                guard.settle(60.0)
                break
        assert broker.log[len(broker.log) - len(values) :] == values
    assert not broker.misused
    return doubts


@pytest.mark.parametrize("seed", range(SEEDS))
def test_whatever_fails_each_batch_is_delivered_once_and_in_order(seed: int, connected: Callable[[FakeBroker], Transactions]) -> None:
    broker = FakeBroker(random.Random(seed), Clock())
    deliver_all(connected(broker), broker)
    batches = [int(value.split(b"/")[0]) for value in broker.log]
    assert batches == sorted(batches) and len(set(broker.log)) == len(broker.log)
    assert broker.offset == BATCHES


def test_every_fault_was_met_and_led_to_doubts(connected: Callable[[FakeBroker], Transactions]) -> None:
    met, doubts = Counter[str](), 0
    for seed in range(SEEDS):
        broker = FakeBroker(random.Random(seed), Clock())
        doubts += deliver_all(connected(broker), broker)
        met += broker.seen
    assert min(met.values()) > 20 and len(met) == 20
    assert doubts > SEEDS


def test_a_lie_without_a_trace_would_be_noticed_here(connected: Callable[[FakeBroker], Transactions]) -> None:
    with pytest.raises(AssertionError, match="believed"):
        for seed in range(SEEDS):
            broker = FakeBroker(random.Random(seed), Clock(), traceless=True)
            deliver_all(connected(broker), broker)
