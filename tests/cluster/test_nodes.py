"""Rows N1 to N9 of the fault catalogue: a node dies, freezes, is cut off or slow while the service works. N10 is left out: one version of
Kafka is pinned, so there are no two to mix.

In the end the oracle compares everything, byte for byte. The service is never restarted by anybody.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from bad_records import mixed
from cluster import NODES, Cluster
from ground import Feeder, Gauge
from harness import PARTITIONS, Serving, Stand, wait
from kafka import TopicPartition
from kafka.protocol.admin import ElectionType
from office import Office
from oracle import all_delivered, assert_exact, truth

from detector.kafka.topics import DESIGN, create, design

pytestmark = [pytest.mark.broker, pytest.mark.cluster, pytest.mark.slow, pytest.mark.timeout(900)]
RATE = 100.0
"""Records a second, good and bad: a minute of load, amid which the faults come."""
RECOVERY = 60.0
"""Seconds after a fault within which the service delivers again: half of it on an idle machine."""
INTERNAL = ("__consumer_offsets", "__transaction_state")


class Load:
    """A service at work under steady load."""

    def __init__(self, stand: Stand, service: Serving, feeder: Feeder) -> None:
        self.stand, self.service, self.feeder = stand, service, feeder

    def done(self) -> int:
        """Events that were delivered, by the service's own count: who asks the cluster amid a fault may have to wait for long."""
        return round(self.service.metric("detector_events_total"))

    def goes_on(self, seconds: float = RECOVERY) -> None:
        """It delivers more than it has."""
        assert self.feeder.is_alive(), "the load ended before the fault did"
        before = self.done()
        wait(lambda: self.done() > before, seconds, "the service delivers again", 0.2)


@contextmanager
def loaded(cluster: Cluster, office: Office, folder: Path, unique: Callable[[str], str], rate: float = RATE) -> Iterator[Load]:
    """All is compared at the end of the block, when the load has been worked off."""
    stand = laid_out(cluster, office, folder, unique)
    feeder = Feeder(stand, lambda: mixed(office.live[::2], 1), rate, 10**9, Gauge(stand))
    with Serving(stand) as service:
        try:
            service.until_ready()
            feeder.start()
            wait(lambda: service.metric("detector_events_total") > 200, 60, "it is at work")
            yield Load(stand, service, feeder)
            feeder.join(300)
            assert not feeder.is_alive()
        finally:
            feeder.stopping = True
        expected = truth(stand, office.starts)
        assert min(sum(map(len, kind.values())) for kind in expected[:4]) > 10, "too little for the comparison to mean anything"
        wait(lambda: all_delivered(stand, expected), 120, "all is delivered", 0.5)
        assert service.stop() == 0
    assert_exact(stand, expected)


def laid_out(cluster: Cluster, office: Office, folder: Path, unique: Callable[[str], str]) -> Stand:
    """Topics with three copies, which `Stand` then finds."""
    names = {role: unique(role) for role in DESIGN}
    create(cluster.settings, design(names, PARTITIONS, 3))
    stand = office.stand(cluster, folder, lambda role: names.get(role) or unique(role), topics={"replication": 3})  # type: ignore[arg-type]
    stand.settings = cluster.settings
    stand.sections["kafka"]["bootstrap_servers"] = cluster.doors
    return stand


def whole(cluster: Cluster, stand: Stand) -> None:
    wait(lambda: cluster.in_sync(stand.events, stand.alerts, *INTERNAL), 60, "every partition has its three copies", 0.5)


def test_N1_nodes_restarted_in_turn(cluster, office, tmp_path, unique):
    with loaded(cluster, office, tmp_path, unique, 60.0) as load:
        for node in NODES:
            cluster.nodes[node].stop()
            load.goes_on()
            cluster.start(node)
            whole(cluster, load.stand)
        load.goes_on()


@pytest.mark.parametrize("of", ["events", "alerts", "daily", *INTERNAL])
def test_N2_the_leader_of_a_partition_is_killed(of, cluster, office, tmp_path, unique):
    with loaded(cluster, office, tmp_path, unique) as load:
        whole(cluster, load.stand)
        node = cluster.leader(getattr(load.stand, of, of))
        cluster.nodes[node].kill()
        load.goes_on()
        cluster.start(node)
        load.goes_on()


def test_N3_two_of_three_down_for_a_minute(cluster, office, tmp_path, unique):
    with loaded(cluster, office, tmp_path, unique) as load:
        whole(cluster, load.stand)
        for node in (2, 3):
            cluster.nodes[node].kill()
        time.sleep(2)  # what was under way has ended
        events = load.service.metric("detector_events_total")
        time.sleep(58)  # the length of the fault
        assert load.service.metric("detector_events_total") == events, "it delivered what only one node had"
        assert load.service.get("/livez")[0] == 200
        cluster.start()
        load.goes_on()


@pytest.mark.parametrize(("clients", "nodes"), [(True, False), (False, True), (True, True)], ids=["of clients", "of nodes", "of both"])
def test_N4_a_node_is_cut_off(clients, nodes, cluster, office, tmp_path, unique):
    with loaded(cluster, office, tmp_path, unique, 60.0) as load:
        whole(cluster, load.stand)
        node = cluster.leader(load.stand.events)
        cluster.links.isolate(node, clients, nodes)
        time.sleep(15)  # the length of the fault: beyond every session
        cluster.links.heal()
        load.goes_on()


def test_N4_a_node_flaps(cluster, office, tmp_path, unique):
    with loaded(cluster, office, tmp_path, unique, 60.0) as load:
        whole(cluster, load.stand)
        node = cluster.leader(load.stand.events)
        for _ in range(8):
            cluster.links.isolate(node, True, True)
            time.sleep(2)  # the length of the fault
            cluster.links.heal()
            time.sleep(2)
        load.goes_on()


def test_N5_the_controller_is_killed(cluster, office, tmp_path, unique):
    with loaded(cluster, office, tmp_path, unique) as load:
        first = cluster.controller()
        cluster.nodes[first].kill()
        wait(lambda: cluster.controller() not in (first, -1), 30, "another node is controller", 0.5)
        load.goes_on()
        cluster.start(first)


def test_N6_partitions_are_moved_and_preferred_leaders_elected(cluster, office, tmp_path, unique):
    with loaded(cluster, office, tmp_path, unique) as load:
        topics = (load.stand.events, load.stand.alerts)
        for order in ([2, 3, 1], [3, 1, 2]):
            whole(cluster, load.stand)
            moves = {TopicPartition(t, p): order for t in topics for p in range(PARTITIONS)}
            moved = cluster.ask(lambda admin: admin.alter_partition_reassignments(moves))  # noqa: B023  called at once
            assert set(moved.values()) == {None}
            wait(lambda: not cluster.ask(lambda admin: admin.list_partition_reassignments()), 60, "they have moved", 0.2)
            cluster.ask(lambda admin: admin.elect_leaders(ElectionType.PREFERRED, list(topics)))
            wait(lambda: {cluster.leader(t, p) for t in topics for p in range(PARTITIONS)} == {order[0]}, 30, "leaders moved")  # noqa: B023
            load.goes_on()


def test_N8_every_answer_is_late_and_connections_get_lost(cluster, office, tmp_path, unique):
    with loaded(cluster, office, tmp_path, unique, 60.0) as load:
        for link in cluster.links.all:
            if link.door == "CLIENT":
                link.delay, link.resets = 0.1, 0.01  # there and back: 200 ms
        time.sleep(60)  # the length of the fault
        lost = cluster.links.lost
        cluster.links.heal()
        assert lost > 5
        load.goes_on()


def test_N9_one_node_is_slow(cluster, office, tmp_path, unique):
    with loaded(cluster, office, tmp_path, unique, 60.0) as load:
        whole(cluster, load.stand)
        node = cluster.nodes[cluster.leader(load.stand.events)]
        for _ in range(10):
            node.pause()
            time.sleep(1)  # the length of the fault
            node.resume()
            time.sleep(2)
        load.goes_on()
