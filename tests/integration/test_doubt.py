"""Outcomes that are not known: the broker dies or freezes amid transactions, a service freezes until it is given up. Nobody restarts the
service, and in the end all is as if nothing had happened. Rows A3, A5, C1, C3 and C4 of the fault catalogue, short.
"""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest
from bad_records import mixed
from harness import Serving, Stand, frozen, wait
from office import Office
from oracle import Truth, all_delivered, assert_exact, committed, truth
from proxy import Cut, Fate, in_front_of
from wire import Request

from detector.sandbox.broker import Broker

pytestmark = pytest.mark.broker
SMALL = {"max_age": 1e10, "batch_limit": 10}
"""So that the fault meets a transaction: hundreds of them follow each other."""


def laid_out(office: Office, own: Broker, folder: Path, unique, events: int = 2500) -> tuple[Stand, Truth]:
    """All events are there already: work for the whole of the fault."""
    stand = office.stand(own, folder, unique, input=SMALL)
    stand.feed(mixed(office.live[:events], 1))
    return stand, truth(stand, office.starts)


def at_work(service: Serving) -> None:
    wait(lambda: service.metric("detector_events_total") > 200, 120, "it is at work")


def asks_in_vain(service: Serving) -> bool:
    """It met the end of the broker between two transactions."""
    return any(line["message"] == "broker trouble, reconnecting" for line in service.said())


def until_it_waits(service: Serving) -> None:
    """For an answer of a broker that does not answer: what was under way is done, and nothing more comes of it."""
    seen = [-1.0]

    def still() -> bool:
        seen.append(service.metric("detector_events_total"))
        return seen[-2] == seen[-1]

    wait(still, 20, "it waits for the broker", pause=1.0)


def finished(stand: Stand, expected: Truth, seconds: float = 180.0) -> None:
    """Hundreds of transactions, and some machines are busy."""
    wait(lambda: all_delivered(stand, expected), seconds, "all is delivered")
    assert_exact(stand, expected)


def under_way(stand: Stand, expected: Truth) -> bool:
    return sum(at[0] for at in committed(stand).values() if at) < expected.records


def test_a_broker_that_is_killed_and_returns_finds_the_service_going_on(office, own, tmp_path, unique):
    stand, expected = laid_out(office, own, tmp_path, unique)
    with Serving(stand) as service:
        at_work(service)
        own.kill()
        wait(lambda: service.metric("detector_doubts_total") > 0 or asks_in_vain(service), 60, "the service noticed")
        own.start()
        assert under_way(stand, expected), "the kill did not meet work under way"
        finished(stand, expected)
        assert service.get("/livez")[0] == 200
        assert service.stop() == 0


def test_every_end_of_a_transaction_that_got_lost_is_found_out(office, tmp_path, unique):
    """C4: the connection ends before the broker has the request, or after it has done it; the client sees the same."""

    def fate(request: Request) -> Fate:
        return {5: Cut(), 15: Cut(after=True)}.get(request.nth % 20) if request.api == "EndTxn" else None

    broker = Broker(tmp_path / "broker")
    with in_front_of(broker, fate) as proxy, broker:
        stand, expected = laid_out(office, broker, tmp_path, unique, 2000)
        stand.sections["kafka"]["bootstrap_servers"] = [proxy.bootstrap]
        with Serving(stand) as service:
            finished(stand, expected)
            wait(lambda: service.metric("detector_doubts_total") == len(proxy.struck), 30, "each is counted")
            assert service.stop() == 0
    fates = [fate for _, fate in proxy.struck]
    assert fates.count(Cut()) > 5 and fates.count(Cut(after=True)) > 5


def test_a_broker_that_froze_for_8_s_finds_the_service_going_on(office, own, tmp_path, unique):
    stand, expected = laid_out(office, own, tmp_path, unique)
    with Serving(stand) as service:
        at_work(service)
        with frozen(own):
            time.sleep(8)  # the length of the fault
            assert service.get("/livez")[0] == 200
        assert under_way(stand, expected), "the fault did not meet work under way"
        finished(stand, expected)
        assert service.stop() == 0


def test_a_service_that_wakes_up_after_it_was_given_up_delivers_nothing_twice(office, own, tmp_path, unique):
    """Its batch is finished when it is frozen, its partitions are another's when it wakes."""
    stand, expected = laid_out(office, own, tmp_path, unique)
    with Serving(stand, 0) as zombie:
        at_work(zombie)
        zombie.process.send_signal(signal.SIGSTOP)
        assert under_way(stand, expected), "the fault did not meet work under way"
        with Serving(stand, 1) as other:
            wait(lambda: other.metric("detector_events_total") > 0, 40, "the other took over")
            zombie.process.send_signal(signal.SIGCONT)
            finished(stand, expected)
            zombie.until_ready(30)
            assert zombie.stop() == other.stop() == 0
    assert_exact(stand, expected)


def test_a_service_that_froze_alone_goes_on_when_it_wakes(office, own, tmp_path, unique):
    stand, expected = laid_out(office, own, tmp_path, unique)
    with Serving(stand) as service:
        at_work(service)
        service.process.send_signal(signal.SIGSTOP)
        assert under_way(stand, expected), "the fault did not meet work under way"
        time.sleep(8)  # longer than the session timeout of 6 s
        service.process.send_signal(signal.SIGCONT)
        finished(stand, expected)
        assert service.stop() == 0


def test_asked_twice_it_ends_at_once_though_the_broker_does_not_answer(office, own, tmp_path, unique):
    stand, expected = laid_out(office, own, tmp_path, unique)
    with Serving(stand) as service:
        at_work(service)
        with frozen(own):
            until_it_waits(service)
            service.process.send_signal(signal.SIGTERM)
            time.sleep(0.5)
            assert service.process.poll() is None, "asked once, it waits for the broker"
            service.process.send_signal(signal.SIGINT)  # two of the same kind, on a machine that stood still meanwhile, would be one
            assert service.process.wait(10) == 1
            assert "not finished" not in service.log.read_text(), "it was its own patience that ended it, not the second signal"
    with Serving(stand) as service:
        finished(stand, expected)
        assert service.stop() == 0


def test_asked_once_it_ends_within_20_s_though_the_broker_does_not_answer(office, own, tmp_path, unique):
    stand, expected = laid_out(office, own, tmp_path, unique)
    with Serving(stand) as service:
        at_work(service)
        with frozen(own):
            until_it_waits(service)
            service.process.send_signal(signal.SIGTERM)
            assert service.process.wait(20) in (0, 1)
    with Serving(stand) as service:
        finished(stand, expected)
        assert service.stop() == 0


def test_a_broker_that_is_not_there_at_the_start_does_not_hold_up_a_stop(office, own, tmp_path, unique):
    stand = office.stand(own, tmp_path, unique)
    with frozen(own), Serving(stand) as service:
        time.sleep(3)  # somewhere in its start
        service.process.send_signal(signal.SIGTERM)
        service.process.wait(20)
