"""Settings, secrets and the making of clients: what a person is told, and that nothing takes for ever."""

from __future__ import annotations

import logging
import random
import socket
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaConsumer
from kafka.errors import KafkaTimeoutError
from kafka.net.selector import NetworkSelector
from kafka.protocol.metadata import MetadataResponse

from detector.errors import BrokerError, ConfigError
from detector.kafka.clients import CountedConnections, connect
from detector.kafka.consumer import Consumer
from detector.kafka.producer import Producer
from detector.kafka.reader import Reader
from detector.kafka.security import client_settings, quiet
from detector.kafka.topics import Topic, create
from detector.sandbox.broker import Broker


def test_secrets_are_read_from_files_and_do_not_show(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("hunter2\n")
    settings = client_settings({
        "bootstrap_servers": "a:1, b:2", "security_protocol": "SASL_SSL", "sasl_username": "detector",
        "sasl_password_file": str(tmp_path / "password"), "ssl_cafile": "", "group": "ignored",
    })  # fmt: skip
    assert settings["bootstrap_servers"] == ["a:1", "b:2"]
    assert settings["sasl_plain_password"] == "hunter2"
    assert "hunter2" not in repr(settings)
    assert settings["sasl_mechanism"] == "SCRAM-SHA-512"


@pytest.mark.parametrize(("kafka", "named"), [
    ({}, "bootstrap_servers"),
    ({"bootstrap_servers": "a:1", "security_protocol": "TLS"}, "security_protocol"),
    ({"bootstrap_servers": "a:1", "security_protocol": "SSL", "ssl_cafile": "/no/such"}, "ssl_cafile"),
    ({"bootstrap_servers": "a:1", "security_protocol": "SSL", "ssl_certfile": "/etc/passwd"}, "ssl_keyfile"),
    ({"bootstrap_servers": "a:1", "security_protocol": "SASL_SSL", "sasl_username": "u"}, "sasl_password_file"),
    ({"bootstrap_servers": "a:1", "security_protocol": "SASL_SSL", "sasl_mechanism": "NONE"}, "sasl_mechanism"),
    ({"bootstrap_servers": "a", "security_protocol": "SASL_SSL", "sasl_username": "u", "sasl_password_file": "/no"}, "sasl_password_file"),
])  # fmt: skip
def test_what_is_wrong_with_the_settings_is_named(kafka: dict[str, str], named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        client_settings(kafka)


def test_kafka_python_is_never_asked_for_debug_logs(caplog: pytest.LogCaptureFixture) -> None:
    """D12: at DEBUG it writes passwords and payloads."""
    root, child = logging.getLogger(), logging.getLogger("kafka.producer.kafka")
    before = root.level
    try:
        root.setLevel(logging.DEBUG)
        child.setLevel(logging.DEBUG)
        quiet()
        assert not child.isEnabledFor(logging.DEBUG)
        assert not logging.getLogger("kafka.net.manager").isEnabledFor(logging.DEBUG)
        logging.getLogger("kafka").setLevel(logging.ERROR)
        quiet()
        assert logging.getLogger("kafka").level == logging.ERROR
    finally:
        root.setLevel(before)
        child.setLevel(logging.NOTSET)
        logging.getLogger("kafka").setLevel(logging.INFO)


def test_a_broker_that_is_not_there_is_named_with_what_to_do() -> None:
    with pytest.raises(BrokerError, match=r"127\.0\.0\.1:1: no answer in time; is the broker running"):
        connect(KafkaConsumer, client_settings({"bootstrap_servers": "127.0.0.1:1"}), "trying", 0.5)


def test_a_client_that_cannot_be_made_leaves_no_thread_behind() -> None:
    before = set(threading.enumerate())
    with pytest.raises(BrokerError):
        connect(KafkaConsumer, client_settings({"bootstrap_servers": "127.0.0.1:1"}), "trying", 0.5)
    wait_until(lambda: set(threading.enumerate()) <= before)


@pytest.mark.parametrize("protocol", ["PLAINTEXT", "SSL"])
def test_a_peer_that_accepts_and_says_nothing_takes_no_longer_than_the_deadline(protocol: str) -> None:
    """D9: a TLS handshake with a frozen peer never ends."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        settings = client_settings({"bootstrap_servers": f"127.0.0.1:{server.getsockname()[1]}", "security_protocol": protocol})
        start = time.monotonic()
        with pytest.raises(BrokerError, match="no answer in time"):
            connect(KafkaConsumer, settings, "trying", 1.0)
        assert time.monotonic() - start < 5


def test_an_answer_that_comes_together_with_the_end_of_the_connection_is_read() -> None:
    """D15: a broker that refuses a password says so and hangs up; kafka-python would throw away what it said."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        network = NetworkSelector()
        node = MetadataResponse.MetadataResponseBroker(node_id=1, host="127.0.0.1", port=server.getsockname()[1], rack=None)
        manager = CountedConnections(network, bootstrap_servers=[f"127.0.0.1:{node.port}"])
        try:
            transport = network.run(manager._build_transport, node)
            peer = server.accept()[0]
            peer.sendall(b"why")
            peer.close()
            wait_until(lambda: transport._sock.recv(4, socket.MSG_PEEK) == b"why")
            said, end = transport._sock_recv()
            assert (said, end) == (b"why", None)
            said, end = transport._sock_recv()
            assert said == b"" and isinstance(end, Exception)
        finally:
            manager.close()
            network.close()


@pytest.mark.broker
@pytest.mark.parametrize("listens", [False, True])
def test_D16_a_server_that_does_not_answer_keeps_no_client_from_the_others(
    listens: bool, broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By chance it is asked first: kafka-python gives one that is silent all the time, and asks one that refused again and again."""
    with ExitStack() as stack:
        silent = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(2)]
        dead = [f"127.0.0.1:{server.getsockname()[1]}" for server in silent] if listens else ["127.0.0.1:1", "127.0.0.1:2"]
        settings = client_settings({"bootstrap_servers": [*dead, broker.bootstrap]})
        monkeypatch.setattr("kafka.net.manager.random", Unlucky(dead))
        with pytest.raises(KafkaTimeoutError):
            KafkaConsumer(**settings, bootstrap_timeout_ms=3000)
        connect(KafkaConsumer, settings, "trying", 6.0).close()


@pytest.mark.broker
def test_a_topic_that_does_not_exist_is_an_error_not_a_silence(broker: Broker, unique: Callable[[str], str]) -> None:
    settings, topic = client_settings({"bootstrap_servers": broker.bootstrap}), unique("nowhere")
    with pytest.raises(BrokerError, match=f"{topic}.*detector topics create"):
        Consumer(topic, "g", settings)
    with pytest.raises(BrokerError, match=f"{topic}.*detector topics create"):
        Reader(settings, topic)


@pytest.mark.broker
def test_records_that_were_not_written_are_not_passed_over(broker: Broker, unique: Callable[[str], str]) -> None:
    settings, topic = client_settings({"bootstrap_servers": broker.bootstrap}), unique("small")
    create(settings, [Topic(topic, 1, {"max.message.bytes": "1000"})])
    with Producer(settings) as producer:
        producer.send(topic, b"k", random.Random(1).randbytes(5000))
        with pytest.raises(BrokerError, match="1 records were not written"):
            producer.flush(10)
        producer.flush(5)  # said once


class Unlucky(random.Random):
    """Of servers, it chooses a dead one if there is any."""

    def __init__(self, dead: list[str]) -> None:
        super().__init__(1)
        self.dead = dead

    def choice(self, servers: Any) -> Any:
        return max(servers, key=lambda server: f"{server.host}:{server.port}" in self.dead)


def wait_until(done: Callable[[], bool], seconds: float = 10.0) -> None:
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.02)
