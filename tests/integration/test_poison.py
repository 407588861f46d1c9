"""Row A9 of the fault catalogue: records that make a stage of processing fail, as a bug of ours would.

A failing batch is taken apart; who fails alone, three times, is a dead letter `processing-error`, and all else is as if that record had
never been sent. The failures are put into a real service by `rigged.py`.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import oracle
import pytest
from faults import SMALL, Rigged
from harness import Stand, wait
from office import Event, Office
from oracle import Truth, all_delivered, assert_exact, assert_snapshots, committed, delivered, ends, home, truth

from detector.core.dead_letters import parse
from detector.core.events import Records

pytestmark = pytest.mark.broker
STAGES = ("decode", "observe", "score", "encode")
CALM = {"input": {**SMALL["input"], "batch_limit": 200}, "group": SMALL["group"], "service": {"snapshot_interval": 600.0}}
"""No snapshot while the service runs: who takes over must leave out what was set aside."""


def renamed(live: Iterable[Event], stages: Mapping[str, str]) -> Iterator[Event]:
    """Events whose id is in `stages` are poison there."""
    for key, value in live:
        said = json.loads(value)["event_id"]
        yield key, value.replace(said.encode(), f"poison-{stages[said]}-{said}".encode(), 1) if said in stages else value


def chosen(office: Office, scratch: Stand, events: int) -> dict[str, str]:
    """Event id -> stage: three for each, and those for `encode` raise an alert if nothing hinders them."""
    scratch.feed(office.live[:events])
    alerts = [json.loads(value) for alerts in truth(scratch, office.starts).alerts.values() for _, value in alerts]
    raising = sorted({evidence["event_id"] for alert in alerts for evidence in alert["evidence"][-1:] if evidence["event_id"]})
    dice = random.Random(9)
    others = dice.sample([json.loads(value)["event_id"] for _, value in office.live[:events]], 9)
    return dict(zip(others, STAGES[:3] * 3, strict=True)) | dict.fromkeys(dice.sample(raising, 3), "encode")


Planted = dict[tuple[int, int], tuple[bytes | None, bytes | None]]
"""(partition, offset) of what is poison -> key, value."""


def truth_without_poison(stand: Stand, starts: int) -> tuple[Truth, Planted]:
    """As if those records had not been sent."""
    decoding, planted = oracle.decode, Planted()

    def decode(records: Records, limits: Any) -> Any:
        parts = [(records.part(records.key, row), records.part(records.value, row)) for row in range(len(records))]
        bad = np.array([b'"poison-' in (value or b"") for _, value in parts], bool)
        planted.update({(records.partition, int(records.offset[row])): parts[row] for row in np.flatnonzero(bad)})
        return decoding(records.take(np.flatnonzero(~bad)), limits)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(oracle, "decode", decode)
        return truth(stand, starts), planted


def with_letters(expected: Truth, planted: Planted, stand: Stand) -> Truth:
    """The dead letters of what was planted are as they must be, one each; as for their bytes, they are what is expected from now on."""
    letters = {p: list(letters) for p, letters in expected.dead_letters.items()}
    found: Planted = {}
    for p, outputs in delivered(stand).dead_letters.items():
        for offset, value in outputs:
            letter = parse(value)
            if letter.reason == "processing-error":
                assert "Poisoned" in letter.message and (p, offset) not in found
                found[p, offset] = letter.key, letter.value
                letters[p].append((offset, value))
    assert found == planted
    return expected._replace(dead_letters={p: sorted(outputs) for p, outputs in letters.items()})


def all_committed(stand: Stand, expected: Truth) -> Callable[[], bool]:
    return lambda: all_delivered(stand, expected)


def test_A9_a_record_that_makes_any_stage_fail_is_set_aside_alone_and_stays_so(office, broker, tmp_path, unique):
    events = 3000
    stages = chosen(office, office.stand(broker, tmp_path, unique), events)
    stand = office.stand(broker, tmp_path, unique, **CALM)
    half = events // 2
    stand.feed(renamed(office.live[:half], stages))
    expected, _ = truth_without_poison(stand, office.starts)
    with Rigged(stand, poison=True) as service:
        wait(all_committed(stand, expected), 120, "the first half is delivered")
        assert service.metric("detector_processing_failures_total") > 0
        service.kill()  # who takes over replays all of it, and must leave out what was set aside
    stand.feed(renamed(office.live[half:events], stages))
    expected, planted = truth_without_poison(stand, office.starts)
    assert len(planted) == 12
    with Rigged(stand, 1, poison=True) as service:
        wait(all_committed(stand, expected), 120, "all is delivered")
        assert service.takeovers("input") > 0 and service.metric("detector_refused_partitions") == 0
        assert service.stop() == 0
    expected = with_letters(expected, planted, stand)
    assert_exact(stand, expected)
    assert_snapshots(stand, expected)


def test_A9_a_bug_that_every_record_shows_halts_the_partition_until_it_is_mended(office, broker, tmp_path, unique):
    """So that a bad version of ours does not drain the topic away; the others go on."""
    stand = office.stand(broker, tmp_path, unique, **CALM)
    mine = [event for event in office.live if home(event[0].decode()) == 1]
    others = [event for event in office.live if home(event[0].decode()) != 1]
    stages = {json.loads(value)["event_id"]: "score" for _, value in mine[100:400]}
    stand.feed(renamed([*mine[:400], *others[:800]], stages))
    with Rigged(stand, poison=True) as service:
        wait(lambda: service.metric("detector_halted_partitions") == 1, 120, "the partition is halted")
        final = ends(stand, stand.events, "read_committed")
        wait(lambda: {p for p, mark in committed(stand).items() if mark and mark[0] == final[p]} == {0, 2, 3}, 120, "the others go on")
        status, why = service.get("/readyz")
        assert status == 503 and "partition 1 is halted" in why
        assert service.get("/livez")[0] == 200
        assert service.stop() == 0
    aside = {offset for offset, value in delivered(stand).dead_letters[1] if parse(value).reason == "processing-error"}
    assert 0 < len(aside) < 300
    stand.feed(mine[400:600])
    with Rigged(stand) as mended:
        wait(lambda: committed(stand)[1][0] == 600, 120, "it goes on where it was")  # type: ignore[index]
        assert mended.stop() == 0
    assert {offset for offset, _ in delivered(stand).dead_letters[1]} == aside
