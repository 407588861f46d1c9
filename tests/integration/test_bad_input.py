"""The fault catalogue's bad records, E1 to E9, each among good ones, through a real broker to one running service.

For each: exactly one dead letter, with reason, pointer, place and the original bytes; or acceptance, as the reference states. And dead
letters are in the transaction of their batch, so that a service that is killed loses none and sends none twice.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import pytest
from bad_records import ALL, E1, E2, E3, E4, E5, E6, E7, E8, E9, Case, Null, event, header_bytes, mixed
from harness import Serving, Stand, wait
from kafka import KafkaProducer
from kafka.record.default_records import DefaultRecordBatchBuilder
from office import Office
from oracle import all_delivered, assert_delivered_up_to_the_committed_offsets, assert_exact, committed, delivered, ends, truth

from detector.core.dead_letters import MOST, parse
from detector.core.events import DeadLetter
from detector.sandbox.broker import Broker

pytestmark = pytest.mark.broker
SEED = int(os.environ.get("SEED", "1"))


class Mailed(NamedTuple):
    """All cases were sent, each between two good records, and the service has done with them."""

    stand: Stand
    service: Serving
    offsets: dict[int, int]
    """Case, by its place in ALL -> where the broker put it."""
    good: int
    letters: list[DeadLetter]

    def verify(self, case: Case) -> None:
        offset = self.offsets[ALL.index(case)]
        places = [(case.partition, o) for o in (offset - 1, offset + 1)]
        assert not [letter for letter in self.letters if (letter.partition, letter.offset) in places], "a neighbour was refused"
        found = [letter for letter in self.letters if (letter.partition, letter.offset) == (case.partition, offset)]
        if case.reason is None:
            assert found == []
            return
        (letter,) = found
        assert (letter.reason, letter.pointer, letter.topic) == (case.reason, case.pointer, self.stand.events)
        headers = header_bytes(case.headers) if case.headers else None
        assert (letter.key, letter.headers) == (case.key, headers)
        room = MOST - len(case.key or b"") - len(headers or b"")
        assert letter.value == (None if case.value is None else case.value[:room])
        assert (f"{MOST} are here" in letter.message) == (len(case.value or b"") > room)


@pytest.fixture(scope="module")
def mailed(office: Office, broker: Broker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mailed]:
    stand = office.stand(broker, tmp_path_factory.mktemp("mailed"), lambda name: f"{name}-mailed")
    with Serving(stand) as service:
        service.until_ready()
        offsets, good = _send(stand)
        end = ends(stand, stand.events, "read_committed")
        wait(lambda: {p: at[0] if at else 0 for p, at in committed(stand).items()} == end, 60, "all is read")
        letters = [parse(value) for values in stand.read(stand.dead_letters).values() for value in values]
        yield Mailed(stand, service, offsets, good, letters)


def _send(stand: Stand) -> tuple[dict[int, int], int]:
    """Every case between two good records of its partition."""
    senders = {codec: KafkaProducer(**stand.settings, compression_type=codec, max_request_size=64 << 20) for codec in (None, "gzip")}
    offsets, good = {}, 0
    with _null_headers():
        for place, case in enumerate(ALL):
            neighbour = {"key": b"e1", "value": event(), "partition": case.partition}
            senders[None].send(stand.events, **neighbour).get(20)
            sent = senders[case.codec].send(stand.events, case.value, case.key, list(case.headers), case.partition)
            offsets[place] = sent.get(20).offset
            senders[None].send(stand.events, **neighbour).get(20)
            good += 2 + (case.reason is None)
    for sender in senders.values():
        sender.close()
    return offsets, good


@contextmanager
def _null_headers() -> Iterator[None]:
    """kafka-python can encode a header without a value, but not be asked to."""
    append = DefaultRecordBatchBuilder.append

    def with_nulls(self: Any, offset: int, time: int, key: Any, value: Any, headers: Any, **options: Any) -> Any:
        return append(self, offset, time, key, value, [(k, None if isinstance(v, Null) else v) for k, v in headers], **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(DefaultRecordBatchBuilder, "append", with_nulls)
        yield


def rows(cases: list[Case]) -> Any:
    return pytest.mark.parametrize("case", cases, ids=[case.name for case in cases])


@rows(E1)
def test_E1_nothing_where_something_must_be(case: Case, mailed: Mailed):
    mailed.verify(case)


@rows(E2)
def test_E2_no_json_object_in_utf8(case: Case, mailed: Mailed):
    mailed.verify(case)


@rows(E3)
def test_E3_too_deep_too_large_too_many(case: Case, mailed: Mailed):
    mailed.verify(case)


@rows(E4)
def test_E4_numbers(case: Case, mailed: Mailed):
    mailed.verify(case)


@rows(E5)
def test_E5_employee_ids(case: Case, mailed: Mailed):
    mailed.verify(case)


@rows(E6)
def test_E6_times(case: Case, mailed: Mailed):
    mailed.verify(case)


@rows(E7)
def test_E7_members(case: Case, mailed: Mailed):
    mailed.verify(case)


@rows(E8)
def test_E8_keys_and_partitions(case: Case, mailed: Mailed):
    mailed.verify(case)


@rows(E9)
def test_E9_headers(case: Case, mailed: Mailed):
    mailed.verify(case)


def test_E_the_service_is_well_and_counted_each_record_once(mailed: Mailed):
    bad = sum(case.reason is not None for case in ALL)
    assert len(mailed.letters) == bad
    assert mailed.service.metric("detector_events_total") == mailed.good
    assert mailed.service.metric("detector_dead_letters_total") == bad
    assert mailed.service.metric("detector_doubts_total") == 0
    assert mailed.service.get("/livez")[0] == mailed.service.get("/readyz")[0] == 200
    assert not mailed.service.troubles()


def test_E_dead_letters_alerts_and_offsets_are_one_transaction_however_often_it_is_killed(office, broker, tmp_path, unique):
    stand = office.stand(broker, tmp_path, unique, input={"max_age": 1e10, "batch_limit": 20})
    sent = stand.feed(mixed(office.live, SEED))
    expected = truth(stand, office.starts)
    assert expected.records == sent and sum(map(len, expected.dead_letters.values())) == sent - expected.events > 1000
    dice, kills = random.Random(SEED), 0
    while kills < 6 or not _aborted(stand):
        assert kills < 20, "no kill met a transaction under way"
        with Serving(stand) as service:
            wait(lambda: service.metric("detector_events_total") > 0, 60, "it is at work")
            wait(_after(dice.uniform(0.0, 0.4)), 1.0, "the moment of the kill")
        kills += 1
        assert_delivered_up_to_the_committed_offsets(stand, expected)
        assert sum(at[0] for at in committed(stand).values() if at) < sent, "there was too little work"
    with Serving(stand) as service:
        wait(lambda: all_delivered(stand, expected), 90, "all is delivered")
        assert service.stop() == 0
    assert_exact(stand, expected)


def _aborted(stand: Stand) -> bool:
    """Whether there are outputs that were written and then taken back: a kill amid a transaction."""
    return delivered(stand, "read_uncommitted") != delivered(stand)


def _after(seconds: float) -> Callable[[], bool]:
    end = time.monotonic() + seconds
    return lambda: time.monotonic() >= end
