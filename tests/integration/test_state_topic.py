"""The state topic is damaged: partitions are refused by name, and building the state anew leads to the same outputs."""

from __future__ import annotations

import pytest
from harness import PARTITIONS, Serving, wait
from kafka import KafkaAdminClient
from oracle import all_delivered, assert_exact, assert_snapshots, truth

from detector.kafka.producer import Producer
from detector.kafka.topics import create, design
from detector.marks import POSITION, Mark, Position, encode_position

pytestmark = pytest.mark.broker


def _made_anew(stand) -> None:
    admin = KafkaAdminClient(**stand.settings)
    admin.delete_topics([stand.state])
    admin.close()
    create(stand.settings, design({"state-employee": stand.state}, PARTITIONS, 1))


def _contradicting(stand) -> None:
    wrong = encode_position(Position(1, Mark(0, 0, "00"), "somebody", "", ""))
    with Producer(stand.settings) as producer:
        for partition in range(PARTITIONS):
            producer.send(stand.state, POSITION, wrong, partition=partition)
        producer.flush(30.0)


@pytest.mark.parametrize(("spoil", "said"), [(_made_anew, "no position record"), (_contradicting, "says 1")], ids=["made anew", "false"])
def test_B11_a_state_topic_that_contradicts_what_is_committed_is_refused_until_state_is_built_anew(
    spoil, said, office, broker, tmp_path, unique
):
    stand, half = office.stand(broker, tmp_path, unique), len(office.live) // 2
    stand.feed(office.live[:half])
    expected = truth(stand, office.starts)
    with Serving(stand) as service:
        wait(lambda: all_delivered(stand, expected), 60, "the first half is delivered")
        assert service.stop() == 0
    spoil(stand)
    stand.feed(office.live[half:])
    expected = truth(stand, office.starts)
    with Serving(stand) as service:
        wait(lambda: service.metric("detector_refused_partitions") == PARTITIONS, 60, "all partitions are refused")
        status, words = service.get("/readyz")
        assert status == 503 and said in words and "--rebuild" in words
        assert service.stop() == 0
    stand.sections["service"] = {"rebuild": True}
    with Serving(stand) as service:
        wait(lambda: all_delivered(stand, expected), 60, "the rest is delivered")
        assert service.stop() == 0
    del stand.sections["service"]
    with Serving(stand) as service:
        service.until_ready()
        assert service.stop() == 0
    assert_exact(stand, expected)
    assert_snapshots(stand, expected)
