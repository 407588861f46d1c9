"""What the doctor says about listeners, certificates, credentials and rights: each fault is made on a real, secured Kafka."""

from __future__ import annotations

import json
import re
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from kafka import KafkaProducer, TopicPartition

from detector.cli import kafka_checks, main
from detector.cli.checkup import CHECKS, examine
from detector.cli.local_checks import Caution
from detector.errors import BrokerError
from detector.kafka import listeners
from tests.secured import Section, Secured, configured

pytestmark = pytest.mark.broker


def states(section: Section, until: str = "", **more: str) -> dict[str, tuple[str, str]]:
    """Id of each check, up to one, -> its state and all that it says."""
    ids = [check.id for check in CHECKS]
    some = CHECKS[: ids.index(until) + 1] if until else CHECKS
    return {check.id: (state, "\n".join(notes)) for check, state, notes, _ in examine(configured(section, **more), some)}


def over_tls(kafka: Secured, address: str, **more: str) -> Section:
    return {"bootstrap_servers": [address], "security_protocol": "SSL", "ssl_cafile": str(kafka.ours.file), **more}


def shown(path: Path) -> dict[str, str]:
    return {"ssl_certfile": str(path), "ssl_keyfile": str(path)}


FAULTS: dict[str, tuple[Callable[[Secured, Section], Section], str, str]] = {
    "nobody listens": (lambda k, m: {"bootstrap_servers": ["127.0.0.1:1"]}, "listeners", "nothing listens there; start the broker"),
    "an unknown name": (lambda k, m: {"bootstrap_servers": ["kafka.invalid:9092"]}, "listeners", "no machine is known by this name"),
    "a wrong authority": (
        lambda k, m: over_tls(k, k.tls, ssl_cafile=str(k.strangers.file)), "listeners", "an authority .* that is not in kafka.ssl_cafile",
    ),
    "the system's authorities": (lambda k, m: over_tls(k, k.tls, ssl_cafile=""), "listeners", "that is not in kafka.ssl_cafile"),
    "an expired certificate": (lambda k, m: over_tls(k, k.expired), "listeners", "certificate has expired; have the operator"),
    "another name": (lambda k, m: over_tls(k, k.elsewhere), "listeners", "certificate is for another name"),
    "no certificate of ours": (lambda k, m: over_tls(k, k.mutual), "listeners", "asks for a certificate of ours; set kafka.ssl_certfile"),
    "a stranger's certificate": (
        lambda k, m: over_tls(k, k.mutual, **shown(k.strangers.sign("client"))), "listeners", "does not trust kafka.ssl_certfile",
    ),
    "plain to TLS": (lambda k, m: {"bootstrap_servers": [k.tls]}, "listeners", "speaks SSL, not PLAINTEXT"),
    "TLS to plain": (lambda k, m: over_tls(k, k.plain), "listeners", "speaks PLAINTEXT, not SSL"),
    "plain to SASL": (lambda k, m: {"bootstrap_servers": [k.sasl]}, "listeners", "speaks SASL_PLAINTEXT, not PLAINTEXT"),
    "plain to SASL over TLS": (lambda k, m: {"bootstrap_servers": [k.sasl_tls]}, "listeners", "speaks SASL_SSL, not PLAINTEXT"),
    "TLS to SASL over TLS": (lambda k, m: over_tls(k, k.sasl_tls), "listeners", "speaks SASL_SSL, not SSL"),
    "SASL to plain": (
        lambda k, m: {**m, "security_protocol": "SASL_PLAINTEXT", "bootstrap_servers": [k.plain]}, "listeners", "PLAINTEXT, not SASL_",
    ),
    "SASL to TLS": (lambda k, m: {**m, "bootstrap_servers": [k.tls]}, "listeners", "speaks SSL, not SASL_SSL"),
    "a wrong mechanism": (
        lambda k, m: {**m, "sasl_mechanism": "PLAIN"}, "listeners", "does not take PLAIN; set kafka.sasl_mechanism .*: SCRAM-SHA-512",
    ),
    "a wrong password": (
        lambda k, m: {**m, "sasl_password_file": str(k.ours.file)}, "reach", "credentials were refused; check kafka.sasl_username",
    ),
    "an unknown user": (lambda k, m: {**m, "sasl_username": "a stranger"}, "reach", "the credentials were refused"),
    "a wrong listener": (
        lambda k, m: {"bootstrap_servers": [k.astray]}, "brokers", "broker 1 names itself 127.0.0.1:1: nothing listens there.*\nclients go",
    ),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_a_way_in_that_is_wrong_is_told(fault: str, kafka: Secured, member: Section) -> None:
    section, check, says = FAULTS[fault]
    began, found = time.monotonic(), states(section(kafka, member))
    assert found[check][0] == "failed"
    assert re.search(says, found[check][1]), found[check][1]
    order = [name for name in found if name != "version"]
    assert {found[name][0] for name in order[order.index(check) + 1 :]} == {"skipped"} and time.monotonic() - began < 10


@pytest.mark.parametrize("way", ["plain", "tls", "mutual", "sasl", "sasl_tls"])
def test_every_way_in_that_is_right_is_well(way: str, kafka: Secured, member: Section) -> None:
    section = {
        "plain": {"bootstrap_servers": [kafka.plain]}, "tls": over_tls(kafka, kafka.tls),
        "mutual": over_tls(kafka, kafka.mutual, **shown(kafka.ours.sign("client"))),
        "sasl": {**member, "security_protocol": "SASL_PLAINTEXT", "bootstrap_servers": [kafka.sasl]}, "sasl_tls": member,
    }[way]  # fmt: skip
    found = states(section, "version")
    assert [found[check][0] for check in ("listeners", "reach", "brokers", "version")] == ["ok"] * 4
    assert found["reach"][1].startswith(section.get("security_protocol", "PLAINTEXT"))


def test_a_server_among_several_that_does_not_answer_is_a_warning(kafka: Secured) -> None:
    found = states({"bootstrap_servers": ["127.0.0.1:1", kafka.plain]}, "topics")
    assert found["listeners"] == ("warning", "127.0.0.1:1: nothing listens there; start the broker, or mend the port")
    assert found["topics"][0] == "ok"


def test_what_is_no_kafka_is_told_soon() -> None:
    """It answers something else, it ends the connection, or it says nothing."""
    for answer in (b"HTTP/1.1 400 Bad Request\r\n\r\n", b"", None):
        with socket.create_server(("127.0.0.1", 0)) as server:
            threading.Thread(target=_answering, args=(server, answer), daemon=True).start()
            address = f"127.0.0.1:{server.getsockname()[1]}"
            began = time.monotonic()
            (told,) = listeners.faults({"security_protocol": "PLAINTEXT"}, address)
            assert told.startswith(f"{address}: something listens there, but it does not answer as Kafka does")
            assert time.monotonic() - began < 3 * listeners.PATIENCE


def _answering(server: socket.socket, answer: bytes | None) -> None:
    held = []
    for _ in range(2):
        try:
            connection = server.accept()[0]
        except OSError:
            return
        if answer is None:
            held.append(connection)
            continue
        connection.sendall(answer)
        connection.close()


def test_a_certificate_that_cannot_be_read_is_a_fault_of_the_settings(kafka: Secured, tmp_path: Path) -> None:
    (tmp_path / "empty.pem").write_text("no certificate")
    other = kafka.ours.sign("other")
    for section, says in (
        ({"ssl_cafile": str(tmp_path / "empty.pem")}, r"kafka.ssl_cafile: .*empty.pem cannot be used"),
        (
            {"ssl_certfile": str(other), "ssl_keyfile": str(kafka.ours.folder / "broker.pem")},
            "kafka.ssl_certfile: .* a certificate and its key",
        ),
    ):
        state, told = states(over_tls(kafka, kafka.tls, **section), "listeners")["listeners"]
        assert state == "failed" and re.search(says, told), told


def test_a_transaction_that_hangs_is_told_from_one_that_is_under_way(kafka: Secured) -> None:
    """It is left hanging as before Kafka 3.6: the coordinator is never told of the partition."""
    look = configured({"bootstrap_servers": [kafka.plain]})
    under_way = KafkaProducer(bootstrap_servers=kafka.plain, transactional_id="under way", transaction_timeout_ms=60_000)
    under_way.init_transactions()
    under_way.begin_transaction()
    under_way.send("access-events", b"x", partition=0).get(10)
    (caution,) = kafka_checks.transactions(look)
    assert isinstance(caution, Caution) and "on access-events-0 since offset" in caution
    under_way.abort_transaction()
    assert list(kafka_checks.transactions(look)) == []
    lost = KafkaProducer(bootstrap_servers=kafka.plain, transactional_id="lost", api_version=(3, 5))
    lost.init_transactions()
    lost.begin_transaction()
    lost._transaction_manager._partitions_in_transaction.add(TopicPartition("access-events", 1))
    lost.send("access-events", b"x", partition=1).get(10)
    nobody = r"nobody will end it\n`kafka-transactions.sh .* abort --topic access-events --partition 1 --start-offset \d+`"
    with pytest.raises(BrokerError, match=nobody):
        list(kafka_checks.transactions(look))


def test_the_doctor_speaks_json_and_ends_with_the_first_fault(kafka: Secured, capsys: pytest.CaptureFixture[str]) -> None:
    flags = ["--bootstrap-servers", kafka.tls, "--set", "models.registry=/nowhere"]
    assert main(["doctor", *flags]) == 4
    printed = capsys.readouterr().out
    assert main(["doctor", "--json", *flags]) == 4
    results = json.loads(capsys.readouterr().out)
    assert all(set(result) == {"id", "check", "state", "exit_code", "notes"} for result in results)
    assert {result["id"]: result["exit_code"] for result in results if result["exit_code"]} == {"model": 4, "listeners": 6}
    assert [line.split("  ", 1)[0].strip() for line in printed.splitlines() if not line.startswith(" ")] == [r["state"] for r in results]
