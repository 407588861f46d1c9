"""Three Kafkas that are one cluster, on this machine, with a link before every door that can be cut, slowed and made to lose connections.

    clients ──> link ──> node          a node names its link's port to clients and to the other nodes, so that all goes through links;
    nodes   ──> links ─> node          who is at the other end of a connection is told by the kernel (/proc), so that one can be isolated

Each node is broker and controller. Three copies of everything, of which two must have a record before it counts.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Self, TypeVar

from kafka import KafkaAdminClient
from kafka.errors import KafkaError
from links import DOORS, Link, Links

from detector.kafka.security import client_settings
from detector.sandbox.broker import Broker, free_port

T = TypeVar("T")
NODES = (1, 2, 3)
PATIENCE = 30.0
"""Seconds that a question may go unanswered."""
COPIES = {
    "default.replication.factor": "3",
    "min.insync.replicas": "2",
    "offsets.topic.replication.factor": "3",
    "transaction.state.log.replication.factor": "3",
    "transaction.state.log.min.isr": "2",
    "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,CLIENT:PLAINTEXT,NODE:PLAINTEXT",
    "inter.broker.listener.name": "NODE",
    # so that what takes half a minute in production takes some seconds here
    "broker.session.timeout.ms": "6000",
    "replica.lag.time.max.ms": "5000",
    "controller.quorum.election.timeout.ms": "1000",
    "controller.quorum.fetch.timeout.ms": "2000",
    "controlled.shutdown.enable": "true",
}


class Cluster:
    """`with Cluster(folder) as cluster:`; `nodes` by number are Brokers to be killed, paused, stopped and started one by one."""

    def __init__(self, folder: Path, settings: dict[str, str] | None = None) -> None:
        self.folder = folder
        self.links = Links(self._pid)
        self._real = {(node, door): free_port() for node in NODES for door in DOORS}
        self.named = {place: self.links.open(Link(*place, port)) for place, port in self._real.items()}
        own = COPIES | (settings or {})
        self.nodes = {node: Broker(folder / str(node), self._real[node, "CLIENT"], {**own, **self._addresses(node)}) for node in NODES}
        self.doors = [f"127.0.0.1:{self.named[node, 'CLIENT']}" for node in NODES]
        self.bootstrap = self.doors[0]
        self.settings = client_settings({"bootstrap_servers": self.doors})

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self.links.close()

    def start(self, *numbers: int) -> None:
        """All that do not run, or just these, at the same time: one alone would wait for a second."""
        idle = [node for number, node in self.nodes.items() if node.pid is None and number in (numbers or NODES)]
        with ThreadPoolExecutor(3) as pool:
            list(pool.map(lambda node: node.start(), idle))

    def stop(self) -> None:
        with ThreadPoolExecutor(3) as pool:
            for node in self.nodes.values():
                node.resume()
            list(pool.map(lambda node: node.stop(), self.nodes.values()))
        for node in self.nodes.values():
            shutil.rmtree(node.folder / "data", ignore_errors=True)

    def ask(self, question: Callable[[Any], T]) -> T:
        """Of an admin client; a node that is down, and was asked first, is an answer to be waited out."""
        end = time.monotonic() + PATIENCE
        while True:
            try:
                client = KafkaAdminClient(**self.settings, request_timeout_ms=5000)
                try:
                    return question(client)
                finally:
                    client.close()
            except KafkaError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.2)

    def leader(self, topic: str, partition: int = 0) -> int:
        return next(int(p["leader_id"]) for p in self.partitions(topic) if p["partition_index"] == partition)

    def partitions(self, topic: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.ask(lambda client: client.describe_topics([topic])[0]["partitions"])
        return found

    def controller(self) -> int:
        """The one that leads the others."""
        return int(self.ask(lambda client: client.describe_metadata_quorum()["topics"][0]["partitions"][0]["leader_id"]))

    def in_sync(self, *topics: str) -> bool:
        """Whether every partition has a leader and all its copies."""
        found = [p for topic in topics for p in self.partitions(topic)]
        return all(len(p["isr_nodes"]) == len(p["replica_nodes"]) and p["leader_id"] > 0 for p in found)

    def _pid(self, node: int) -> int | None:
        return self.nodes[node].pid

    def _addresses(self, node: int) -> dict[str, str]:
        real = {door: f"{door}://127.0.0.1:{self._real[node, door]}" for door in DOORS}
        named = {door: f"{door}://127.0.0.1:{self.named[node, door]}" for door in DOORS}
        return {
            "node.id": str(node),
            "listeners": ",".join(real.values()),
            "advertised.listeners": ",".join(named[door] for door in ("CLIENT", "NODE")),
            "controller.quorum.voters": ",".join(f"{other}@127.0.0.1:{self.named[other, 'CONTROLLER']}" for other in NODES),
        }
