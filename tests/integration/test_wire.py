"""What can happen to a request between a client and a broker, C4 to C8: connections cut at every step, a commit that arrives long after
its time, errors in answers. The proxy also reads what is committed: never by nobody, and never a partition of somebody else.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from bad_records import mixed
from guarded import World
from harness import Serving, Stand, wait
from kafka import KafkaProducer
from office import Office
from oracle import all_delivered, assert_exact, delivered, truth
from proxy import Choice, Cut, Error, Fate, Hold, Proxy, at_random, in_front_of
from wire import Request, ownership

from detector.kafka.security import client_settings
from detector.kafka.transactions import WRITING, Doubt, discard
from detector.sandbox.broker import Broker

pytestmark = pytest.mark.broker
SMALL = {"max_age": 1e10, "batch_limit": 10}
"""So that faults meet hundreds of transactions."""
STEPS = ("FindCoordinator", "InitProducerId", "AddPartitionsToTxn", "Produce", "AddOffsetsToTxn", "TxnOffsetCommit", "EndTxn")
"""Of a transaction."""


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Broker, Proxy]]:
    own = Broker(tmp_path_factory.mktemp("own"))
    with in_front_of(own) as proxy, own:
        yield own, proxy


@pytest.fixture
def proxy(line: tuple[Broker, Proxy]) -> Iterator[Proxy]:
    """As if it were new."""
    line[1].reset()
    yield line[1]
    assert not line[1].mistakes, line[1].mistakes[0]
    line[1].reset()


def struck(
    office: Office, line: tuple[Broker, Proxy], folder: Path, unique, fate: Choice, events: int = 800, **sections: dict[str, Any]
) -> tuple[Stand, float]:
    """A service works through this many events while that becomes of its requests; in the end all is as if nothing had happened."""
    own, proxy = line
    stand = office.stand(own, folder, unique, input=SMALL, **sections)
    stand.feed(mixed(office.live[:events], 1))
    expected = truth(stand, office.starts)
    stand.sections["kafka"]["bootstrap_servers"] = [proxy.bootstrap]
    proxy.fate = fate
    with Serving(stand) as service:
        wait(lambda: service.process.poll() is not None or all_delivered(stand, expected), 120, "all is delivered", 0.5)
        doubts = service.metric("detector_doubts_total")
        proxy.fate = lambda _: None
        assert service.stop() == 0
        assert_exact(stand, expected)
        assert_fenced(proxy)
    return stand, doubts


def assert_fenced(proxy: Proxy) -> None:
    """Offsets are committed by members of a generation only, and only those of partitions that are theirs in it."""
    owned, commits = ownership(proxy.answered), proxy.requests("TxnOffsetCommit")
    assert commits and not proxy.requests("OffsetCommit")
    for commit in commits:
        assert commit.generation_id > 0 and commit.member_id, commit
        told = {(topic.name, p.partition_index) for topic in commit.topics for p in topic.partitions}
        assert told <= owned[commit.member_id, commit.generation_id], "a partition of somebody else"


def test_C4_a_connection_that_ends_before_or_after_any_step_of_a_transaction_changes_nothing(office, line, proxy, tmp_path, unique):
    def fate(request: Request) -> Fate:
        often = 3 if request.api in STEPS[:2] else 9  # these two are asked once a producer
        fates = {often: Cut(), 2 * often: Cut(after=True), 3 * often: Cut(reset=True)}
        return fates.get(request.nth) if request.api in STEPS else None

    stand, doubts = struck(office, line, tmp_path, unique, fate, 400)
    assert {step: proxy.hits(step) for step in STEPS} == dict.fromkeys(STEPS, 3)
    assert doubts >= 12
    assert aborted(stand), "no outputs were aborted: the fault was not real"


@pytest.mark.parametrize("seed", [1, 2, 3, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(4, 51))])
def test_C4_any_connection_may_end_at_any_request(seed, office, line, proxy, tmp_path, unique):
    """6 % of all requests, fetches and heartbeats too."""
    choose = at_random(seed, 0.06, Cut(), Cut(after=True), Cut(reset=True))
    # a connection that is lost while topics are being checked ends the start with 6
    struck(office, line, tmp_path, unique, lambda request: choose(request) if proxy.counts["JoinGroup"] else None, 200)
    assert proxy.hits() > 5


def aborted(stand: Stand) -> bool:
    """Whether some outputs can only be seen by those who read what is not committed."""
    return delivered(stand, "read_uncommitted") != delivered(stand)


@pytest.mark.parametrize("seconds", [2.0, pytest.param(10.0, marks=pytest.mark.slow)])
def test_C5_a_commit_that_arrives_long_after_its_time_ends_nothing(seconds, office, line, proxy, tmp_path, unique):
    """KAFKA-17754: the client has gone on without it. The events go on beyond its arrival."""

    def fate(request: Request) -> Fate:
        return Hold(seconds) if request.api == "EndTxn" and request.nth in (10, 30) else None

    struck(office, line, tmp_path, unique, fate, 2000 if seconds < 5 else 6000)
    assert len(proxy.released) == 2, "it was not on its way while others committed"


@pytest.fixture
def world(line: tuple[Broker, Proxy], proxy: Proxy, unique) -> Iterator[World]:
    made = World(client_settings({"bootstrap_servers": proxy.bootstrap}), unique)
    yield made
    made.close()


def test_C5_a_commit_that_arrives_late_tears_a_transaction_of_kafka_python_apart_and_none_of_ours(line, proxy, world):
    """kafka-python sends the commit again on a new connection, and goes on with the same epoch: the first one then commits its next
    transaction, which is not finished, and is aborted afterwards."""

    def next_commit_is_late(api: str = "EndTxn") -> None:
        at = proxy.counts[api]
        proxy.fate = lambda request: Hold(2.0) if request.api == api and request.nth == at else None

    stock = KafkaProducer(**world.settings, **WRITING, transactional_id=f"{world.id}-stock")
    stock.init_transactions()
    stock.begin_transaction()
    stock.send(world.output, b"first").get(5)
    next_commit_is_late()
    stock.commit_transaction()
    stock.begin_transaction()
    stock.send(world.output, b"half of it").get(5)
    wait(lambda: len(proxy.released) == 1, 30, "the first commit arrives")
    with suppress(Exception):
        stock.abort_transaction()
    discard(stock)
    assert world.seen() == [b"first", b"half of it"], "kafka-python was not torn"

    next_commit_is_late()
    with pytest.raises(Doubt):
        world.deliver(b"ours", 1)
    world.transactions.settle(20)
    producer, happened = world.transactions._producer, world.committed() == 1
    assert producer is not None
    producer.begin_transaction()
    producer.send(world.output, b"half of ours").get(5)
    wait(lambda: len(proxy.released) == 2, 30, "the commit arrives")
    world.transactions.close()
    world.transactions.settle(20)
    assert world.seen() == [b"first", b"half of it", *([b"ours"] if happened else [])]


def test_C6_a_transaction_that_takes_too_long_is_aborted_and_done_again_once(office, line, proxy, tmp_path, unique, monkeypatch):
    """Its records are written when the step is slow; the broker gives it up after 2 s. A machine that stands still as long may lead
    to a few more, but not to many: what is done again is not in doubt itself."""
    monkeypatch.setenv("DETECTOR_FAILPOINT", "after_flush:10:sleep=5")
    stand, doubts = struck(office, line, tmp_path, unique, lambda _: None, 300, group={"transaction_timeout": 2.0})
    assert 1 <= doubts < 5, f"{doubts:g} doubts"
    assert aborted(stand), "the broker aborted nothing: the fault was not real"


NOT_ENOUGH_REPLICAS, NOT_COORDINATOR, LOADING, ILLEGAL_GENERATION, OUT_OF_ORDER, INVALID_EPOCH = 19, 16, 14, 22, 45, 47
INVALID_STATE, CONCURRENT, STORAGE, UNKNOWN_PRODUCER, THROTTLED, NOT_LEADER, UNKNOWN_MEMBER, FENCED = 48, 51, 56, 59, 89, 6, 25, 90
ERRORS: dict[str, tuple[int, ...]] = {
    "Produce": (NOT_ENOUGH_REPLICAS, OUT_OF_ORDER, UNKNOWN_PRODUCER, INVALID_EPOCH, NOT_LEADER, STORAGE),
    "AddPartitionsToTxn": (CONCURRENT, LOADING, NOT_COORDINATOR, INVALID_STATE, THROTTLED, FENCED),
    "AddOffsetsToTxn": (CONCURRENT, LOADING, NOT_COORDINATOR, INVALID_STATE, UNKNOWN_PRODUCER, FENCED),
    "TxnOffsetCommit": (ILLEGAL_GENERATION, UNKNOWN_MEMBER, LOADING, NOT_COORDINATOR, INVALID_EPOCH, FENCED),
    "EndTxn": (CONCURRENT, LOADING, NOT_COORDINATOR, INVALID_STATE, THROTTLED, FENCED),
    "InitProducerId": (CONCURRENT, LOADING, NOT_COORDINATOR),
}


@pytest.mark.parametrize("done", [False, True], ids=["the broker did not do it", "the broker did it"])
def test_C7_an_error_in_any_answer_changes_nothing(done, office, line, proxy, tmp_path, unique):
    def fate(request: Request) -> Fate:
        codes, every = ERRORS.get(request.api, ()), 3 if request.api == "InitProducerId" else 11
        number, rest = divmod(request.nth, every)
        return Error(codes[number], done) if rest == every - 1 and number < len(codes) else None

    _, doubts = struck(office, line, tmp_path, unique, fate, 600)
    assert {api: proxy.hits(api) for api in ERRORS} == {api: len(codes) for api, codes in ERRORS.items()}
    assert doubts > 5


def test_C7_a_coordinator_that_is_busy_for_long_is_waited_for(office, line, proxy, tmp_path, unique):
    def fate(request: Request) -> Fate:
        return Error(CONCURRENT) if request.api == "AddPartitionsToTxn" and 20 <= request.nth < 40 else None

    _, doubts = struck(office, line, tmp_path, unique, fate, 300)
    assert (proxy.hits(), doubts) == (20, 0)


def test_C7_replicas_missing_until_records_give_up_is_a_doubt_until_they_are_back(office, line, proxy, tmp_path, unique):
    """D3 with a service: kafka-python would pass over what is lost."""
    until: list[float] = []

    def fate(request: Request) -> Fate:
        if request.api != "Produce" or request.nth < 20:
            return None
        until[:] = until or [time.monotonic() + 14]  # records give up after 12 s
        return Error(NOT_ENOUGH_REPLICAS) if time.monotonic() < until[0] else None

    _, doubts = struck(office, line, tmp_path, unique, fate, 300)
    assert proxy.hits() > 10 and doubts >= 1


def test_C8_a_generation_that_is_refused_leaves_nothing_behind_for_later_transactions(office, line, proxy, tmp_path, unique):
    """Two services, so that there are partitions of somebody else; every commit of an early generation is refused now and then."""

    def fate(request: Request) -> Fate:
        return Error(ILLEGAL_GENERATION) if request.api == "TxnOffsetCommit" and request.nth % 10 == 9 else None

    own, _ = line
    stand = office.stand(own, tmp_path, unique, input=SMALL)
    stand.feed(mixed(office.live[:1000], 1))
    expected = truth(stand, office.starts)
    stand.sections["kafka"]["bootstrap_servers"] = [proxy.bootstrap]
    proxy.fate = fate
    with Serving(stand, 0) as one, Serving(stand, 1) as other:
        wait(lambda: all_delivered(stand, expected), 240, "all is delivered", 0.5)
        proxy.fate = lambda _: None
        assert one.stop() == other.stop() == 0
    assert_exact(stand, expected)
    assert_fenced(proxy)
    assert proxy.hits() > 5
    assert len({commit.group_instance_id for commit in proxy.requests("TxnOffsetCommit")}) == 2, "one of them did nothing"
