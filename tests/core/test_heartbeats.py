"""A heartbeat: what it says, that it reads as it was written, and that it leaves the chain of alerts as it is."""

from __future__ import annotations

import json
from random import Random

import pytest
from alert_logs import CONTEXT, MODEL, Writer, edited
from hypothesis import given
from hypothesis import strategies as st

from detector.core import alerts, heartbeats
from detector.core.alerts import GENESIS, ModelRef
from detector.core.daily_blocks import Origin

NUMBERS = st.integers(0, 2**62)


@given(st.text(), st.text(), NUMBERS, NUMBERS, NUMBERS, st.text(), NUMBERS, st.integers(-(2**62), 2**62))
def test_a_heartbeat_survives_the_journey(
    view: str, topic: str, partition: int, beat: int, seq: int, head: str, offset: int, time: int
) -> None:
    said = heartbeats.parse(heartbeats.encode(Origin(view, topic, partition), beat, seq, head, offset, time, MODEL, CONTEXT))
    assert (said.kind, said.view, said.topic, said.partition) == ("heartbeat", view, topic, partition)
    assert (said.beat, said.seq, said.head, said.offset, said.time) == (beat, seq, head, offset, time)
    assert (said.model, said.context) == (ModelRef(view, MODEL.version, MODEL.sha256), CONTEXT)


def test_it_is_one_line_of_json_keyed_by_the_partition_that_its_task_reads() -> None:
    writer = Writer(3)
    value = writer.heartbeat()
    assert b"\n" not in value and list(json.loads(value)) == list(heartbeats.Heartbeat.__struct_fields__)
    assert heartbeats.key(writer.origin) == b"access-events-3"


@given(st.integers(0, 1 << 32))
def test_a_heartbeat_that_was_altered_is_refused(seed: int) -> None:
    random = Random(seed)
    with pytest.raises(ValueError, match=r"heartbeat|digest"):
        heartbeats.parse(edited(Writer(2).heartbeat(), random))


BELOW_0 = heartbeats.encode(Origin("employee", "t", 0), -1, 0, GENESIS, 0, 0, MODEL, CONTEXT)


@pytest.mark.parametrize("value", [b"", b"{}", b"null", b"\xff", b'{"kind":"heartbeat"}', BELOW_0, Writer().alert()])
def test_what_is_no_heartbeat_is_refused(value: bytes) -> None:
    with pytest.raises(ValueError, match="not a heartbeat"):
        heartbeats.parse(value)


def test_its_members_may_be_ordered_and_spaced_in_any_way() -> None:
    members = json.loads(Writer().heartbeat())
    heartbeats.parse(json.dumps(dict(sorted(members.items())), indent=1).encode())


def test_it_leaves_the_chain_of_alerts_as_it_is() -> None:
    writer = Writer()
    first = writer.alert()
    writer.heartbeat()
    assert json.loads(writer.alert()) | {"seq": 1, "prev_hash": alerts.chain_hash(first)} == json.loads(Writer.alert(again())), "as without"


def again() -> Writer:
    writer = Writer()
    writer.alert()
    writer.offset, writer.time = 4, writer.time + 60_000
    return writer
