"""What a takeover believes, what it refuses, and what it goes on from."""

from __future__ import annotations

from typing import Any

import pytest
from lives import END, done, found, goes_on, not_ahead, passes_over, spoilt, taken
from msgspec.structs import replace
from simulation import log

from detector.core.daily_blocks import Place
from detector.errors import StateError
from detector.marks import encode_mark, read_mark
from detector.restore import Found
from detector.tasks import MOST_CHANGES, MOST_SKIPPED


def test_the_chain_goes_on_where_the_log_was_cut_short() -> None:
    goes_on()


def test_a_state_that_is_ahead_is_not_used() -> None:
    not_ahead()


def test_what_another_process_sent_is_passed_over() -> None:
    passes_over()


def test_a_takeover_from_a_snapshot_replays_nothing_that_it_has_seen() -> None:
    task = taken(found(), done())
    assert (task.source, task.position, task.restoring) == ("snapshot", len(log()[0]), False)


def _empty(held: list[Any]) -> None:
    held.clear()


def _truncate(held: list[Any]) -> None:
    while held.pop()[0] != b"P":
        pass


def _damage(held: list[Any]) -> None:
    at = next(i for i in reversed(range(len(held))) if held[i][0].startswith(b"S/"))
    held[at] = held[at][0], held[at][1][:-1] + bytes([held[at][1][-1] ^ 1])


@pytest.mark.parametrize(
    ("spoil", "said"), [(_empty, "no position record"), (_truncate, "but the state topic"), (_damage, "was damaged")],
    ids=["emptied", "cut short", "a chunk damaged"],
)  # fmt: skip
def test_a_state_topic_that_does_not_agree_refuses_the_partition_and_rebuilding_is_a_way_out(spoil: Any, said: str) -> None:
    broker = spoilt(spoil)
    where = found(state=(0, len(broker.topics["state", 0])))
    with pytest.raises(StateError, match=said) as refused:
        taken(where, broker)
    assert "--rebuild" in str(refused.value) or "rebuild" in str(refused.value)
    task = taken(where, broker, rebuild=True)
    assert (task.source, task.position, task.live_from) == ("input", 0, len(log()[0]))


def test_offsets_that_were_lost_or_moved_are_found_again_in_the_state_topic() -> None:
    for committed in (None, (17, "somebody else's")):
        task = taken(found(committed=committed), done())
        assert (task.position, task.live_from, task.source) == (len(log()[0]), len(log()[0]), "snapshot")
    with pytest.raises(StateError, match="not written by this service"):
        taken(Found(0, (17, "somebody else's"), 0, END, (0, 0), "", 0))


def test_a_chain_that_a_restored_state_does_not_come_to_refuses_the_partition() -> None:
    broker = done()
    offset, mark = broker.offsets[0][0], read_mark(broker.offsets[0][1])
    assert mark is not None
    wrong = replace(mark, seq=mark.seq + 1, state=-1)
    task = taken(found(committed=(offset + 1, encode_mark(wrong))), broker)
    assert task.exact
    with pytest.raises(StateError, match="one of them is damaged"):
        task.go_live()
    other = taken(found(committed=(offset + 1, encode_mark(wrong))), broker, basis="another model")
    other.go_live()
    assert other.to_commit(Place(0, 0))[1].basis == "", "what the events since the snapshot were processed with is not one and the same"


def test_where_an_earlier_context_is_gone_the_one_of_now_stands_in_and_nobody_compares_the_chain(caplog: pytest.LogCaptureFixture) -> None:
    """Neither this process nor the next: its state is not what it was."""
    broker = done()
    model, context = broker.served
    offset, mark = broker.offsets[0][0], read_mark(broker.offsets[0][1])
    assert mark is not None
    gone = replace(mark, seq=mark.seq + 1, state=-1, changes=((0, (model, "0" * 16)),))
    task = taken(found(committed=(offset, encode_mark(gone))), broker)
    task.go_live()
    live, then = task.to_commit(Place(0, 0))
    assert (live, then.basis, then.changes) == (offset, "", ((0, (model, context)), (offset, (model, context))))
    with caplog.at_level("INFO"):
        task.delivered(live, then, None)
    told = [(one.getMessage(), vars(one)["offset"]) for one in caplog.records if one.name == "detector.tasks"]
    assert told == [("context changed", offset)], "from here on, outputs are by the one of now; what is before was told of then"
    taken(found(committed=(live, encode_mark(replace(then, state=-1)))), broker).go_live()


def test_what_is_committed_fits_an_offsets_metadata() -> None:
    task = taken(Found(0, None, 0, END, (0, 0), "a" * 36, 2**62))
    task.skipped, task.state_at = tuple(range(10**15, 10**15 + MOST_SKIPPED)), 10**15
    task.changes = tuple((10**15 + i, task.changes[0][1]) for i in range(MOST_CHANGES))
    assert len(encode_mark(task.to_commit(Place(10**6, 10**6))[1])) < 3000, "brokers take 4,096 bytes"


def test_a_topic_of_events_that_was_made_anew_refuses_the_partition() -> None:
    for changes in ({"log": "another"}, {"end": 5}, {"committed": None, "log": "another"}):
        with pytest.raises(StateError, match="made anew"):
            taken(found(**changes), done())


def test_without_position_records_the_committed_offset_is_believed() -> None:
    task = taken(Found(0, None, 0, END, (0, 0), "", 0), positions=False)
    assert task.to_commit(Place(0, 0))[1].state == -1
    broker = done()
    mark = read_mark(broker.offsets[0][1])
    assert mark is not None
    there = broker.offsets[0][0], encode_mark(replace(mark, state=-1))
    task = taken(found(committed=there), broker, positions=False)
    assert (task.source, task.to_commit(Place(0, 0))[1].state) == ("snapshot", -1)
