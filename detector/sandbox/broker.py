"""Apache Kafka on this machine: one node, KRaft, broker and controller in one Java process, for trying things and for the tests.

Each has its own ports and data folder. It never outlives the process that started it. Not for production.
"""

from __future__ import annotations

import os
import random
import signal
import socket
import struct
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from detector.errors import BrokerError
from detector.sandbox.jars import classpath
from detector.sandbox.java import java

START = 60.0  # seconds; 3 on an idle machine
STOP = 15.0  # seconds before SIGTERM becomes SIGKILL
JVM = ("-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
CLUSTER = "ZGV0ZWN0b3Itc2FuZGJveA"

SETTINGS = {
    "process.roles": "broker,controller",
    "node.id": "1",
    "controller.listener.names": "CONTROLLER",
    "inter.broker.listener.name": "PLAINTEXT",
    "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT",
    "auto.create.topics.enable": "false",
    "num.partitions": "4",
    "default.replication.factor": "1",
    "offsets.topic.replication.factor": "1",
    "offsets.topic.num.partitions": "4",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "transaction.state.log.num.partitions": "4",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    "share.coordinator.state.topic.num.partitions": "1",
    "group.initial.rebalance.delay.ms": "0",
    "log.cleaner.dedupe.buffer.size": "16777216",
    "num.network.threads": "2",
    "num.io.threads": "4",
    "background.threads": "2",
    "transaction.abort.timed.out.transaction.cleanup.interval.ms": "1000",
    # a broker that was killed counts as alive to its own controller until its session ends, and only then may return
    "broker.heartbeat.interval.ms": "500",
    "broker.session.timeout.ms": "2000",
}

# Runs "$@" under this shell's process id beside a watcher, which kills it when standard input ends without a line. The other end is a
# pipe held by us alone, so the kernel ends it however we die; PR_SET_PDEATHSIG would look at the thread that started it instead.
RUN = 'exec 3<&0; (read -r _ <&3 || kill -9 $$) & exec 3<&- </dev/null; exec "$@"'


class Broker:
    """`with Broker(folder) as broker:` gives a Kafka at `broker.bootstrap`; its data and its `log` stay in `folder` (made if absent).

    `settings` are Kafka's own (server.properties), over the ones above. After `stop()` or `kill()`, `start()` goes on with the same
    port and data.
    """

    def __init__(self, folder: Path, port: int | None = None, settings: Mapping[str, str] = {}) -> None:
        self.folder = folder.absolute()
        self.port = port or free_port()
        self.bootstrap = f"127.0.0.1:{self.port}"
        self.log = self.folder / "broker.log"
        self._properties = self.folder / "server.properties"
        self._settings = {**SETTINGS, **self._addresses(), **settings}
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def listen(self, name: str, protocol: str, settings: Mapping[str, str] = {}, advertised: str = "") -> str:
        """Before the start: one more listener, of this protocol (PLAINTEXT, SSL, ...); gives its address.

        `settings` are Kafka's own for this listener alone; `advertised` is the address that clients are sent on to, if it is another.
        """
        address = f"127.0.0.1:{free_port()}"
        for setting, more in (
            ("listeners", f"{name}://{address}"), ("advertised.listeners", f"{name}://{advertised or address}"),
            ("listener.security.protocol.map", f"{name}:{protocol}"),
        ):  # fmt: skip
            self._settings[setting] += "," + more
        self._settings |= {f"listener.name.{name.lower()}.{key}": value for key, value in settings.items()}
        return address

    @property
    def pid(self) -> int | None:
        """The Java process, or None while it does not run."""
        return self._process.pid if self._process and self._process.poll() is None else None

    def start(self) -> None:
        """Returns when clients can connect and make topics. BrokerError, with the end of the log, after 60 s or if Kafka gives up."""
        assert self.pid is None, "already started"
        self.kill()  # forget one that died by itself
        self.folder.mkdir(parents=True, exist_ok=True)
        self._properties.write_text("".join(f"{name}={value}\n" for name, value in self._settings.items()))
        if not (self.folder / "data" / "meta.properties").exists():
            self._format()
        with self.log.open("ab") as log:
            command = ["/bin/sh", "-c", RUN, "sh", *self._java(), "kafka.Kafka", str(self._properties)]
            # its own session: a Ctrl-C is for us, who then stop it in order
            self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=log, stderr=log, start_new_session=True)
        try:
            self._await_readiness(self._process)
        except BaseException:
            self.kill()
            raise

    def stop(self) -> None:
        """Ask it to end, and kill it if it has not after 15 s. Nothing happens if it does not run."""
        self._signal(signal.SIGTERM)
        self._signal(signal.SIGCONT)  # a paused process would not hear the first
        self._wait(STOP)

    def kill(self) -> None:
        """SIGKILL, as when the machine loses power (but for the page cache). Nothing happens if it does not run."""
        self._signal(signal.SIGKILL)
        self._wait(STOP)

    def pause(self) -> None:
        """Freeze it: its connections stay open and nothing answers. Returns when it does not run any more."""
        self._signal(signal.SIGSTOP)
        if pid := self.pid:  # on a busy machine its threads may go on for a while
            os.waitid(os.P_PID, pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    def _await_readiness(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + START
        while not is_ready(self.port):
            if process.poll() is not None:
                raise self._failed(f"Apache Kafka ended with status {process.returncode} while starting")
            if time.monotonic() > deadline:
                raise self._failed(f"Apache Kafka was not ready within {START:.0f} s")
            time.sleep(0.05)

    def _signal(self, number: int) -> None:
        if self._process and self.pid:
            self._process.send_signal(number)

    def _wait(self, seconds: float) -> None:
        if self._process is None:
            return
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        try:
            self._process.communicate(b"\n")  # the process id is free again: tell the watcher to leave it alone
        finally:
            self._process = None

    def _addresses(self) -> dict[str, str]:
        controller = free_port()
        return {
            "listeners": f"PLAINTEXT://{self.bootstrap},CONTROLLER://127.0.0.1:{controller}",
            "advertised.listeners": f"PLAINTEXT://{self.bootstrap}",
            "controller.quorum.voters": f"1@127.0.0.1:{controller}",
            "log.dirs": str(self.folder / "data"),
        }

    def _java(self) -> list[str]:
        log4j = Path(__file__).with_name("log4j2.properties")
        return [str(java()), *JVM, f"-Dlog4j2.configurationFile={log4j}", "-cp", classpath()]

    def _format(self) -> None:
        command = [*self._java(), "kafka.tools.StorageTool", "format", "-t", CLUSTER, "-c", str(self._properties)]
        with self.log.open("ab") as log:
            try:
                status = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, timeout=START).returncode
            except subprocess.TimeoutExpired:
                raise self._failed(f"Apache Kafka did not format its data folder within {START:g} s") from None
        if status:
            raise self._failed(f"Apache Kafka could not format its data folder (status {status})")

    def _failed(self, what: str) -> BrokerError:
        said = [line for line in self.log.read_text(errors="replace").splitlines() if not line.startswith("\t")]  # no stack frames
        return BrokerError(f"{what}; its log is {self.log} and ends:\n" + "\n".join(said[-20:]))


def is_ready(port: int) -> bool:
    """Whether a broker answers on this port and names at least one broker (itself) as taking part in its cluster."""
    metadata_of_no_topics = struct.pack(">hhihi", 3, 1, 0, -1, 0)
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=2) as connection:
            connection.sendall(struct.pack(">i", len(metadata_of_no_topics)) + metadata_of_no_topics)
            answer = connection.recv(12, socket.MSG_WAITALL)  # size, correlation id, number of brokers
    except OSError:
        return False
    return len(answer) == 12 and struct.unpack(">iii", answer)[2] > 0


def free_port() -> int:
    """A TCP port on 127.0.0.1 that nobody listens on, below the range the kernel takes client ports from.

    In that range a client trying again and again while the broker is down could be given the broker's port, and meet itself.
    """
    for _ in range(100):
        port = random.SystemRandom().randrange(12_000, 32_000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port
    raise BrokerError("no free TCP port between 12000 and 32000 on 127.0.0.1")
