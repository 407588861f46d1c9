"""Making kafka-python clients: never longer than a deadline, with connections that are counted, and errors a person can act on."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import kafka.errors as failures
from kafka.net.compat import KafkaNetClient
from kafka.net.manager import KafkaConnectionManager
from kafka.net.selector import NetworkSelector

from detector.errors import BrokerError
from detector.kafka.security import quiet

T = TypeVar("T")

CONNECT = 15.0
"""Seconds a client may take to be made."""

UNREACHABLE = (failures.KafkaTimeoutError, failures.KafkaConnectionError, failures.NodeNotReadyError, OSError)
REFUSED = (failures.SaslAuthenticationFailedError, failures.UnsupportedSaslMechanismError, failures.IllegalSaslStateError)
ADVICE: tuple[tuple[tuple[type[Exception], ...], str], ...] = (
    (REFUSED, "the credentials were refused; check kafka.sasl_mechanism, kafka.sasl_username and the password file"),
    ((failures.TransactionalIdAuthorizationFailedError,), "no right to use the transactional id; grant Write and Describe on it"),
    ((failures.GroupAuthorizationFailedError,), "no right to use the consumer group; grant Read on it"),
    ((failures.AuthorizationError,), "the broker denies it; grant this principal the rights listed in the documentation"),
    ((failures.UnknownTopicOrPartitionError,), "the topic does not exist, or may not be seen; `detector topics create` makes it"),
    ((failures.OffsetOutOfRangeError,), "the records at this offset are gone (retention, or the topic was made anew)"),
    (UNREACHABLE, "no answer in time; is the broker running, is kafka.bootstrap_servers right, does it speak kafka.security_protocol?"),
)


class CountedConnections(KafkaConnectionManager):  # type: ignore[misc]
    """Counts the connections that ended: a transaction during which one did is in doubt, long before kafka-python says so."""

    ended = 0

    def get_connection(self, node_id: Any, *args: Any, **options: Any) -> Any:
        known = node_id in self._conns
        connection = super().get_connection(node_id, *args, **options)
        if not known:
            connection.close_future.add_both(self._count)
        return connection

    def _count(self, _: Any) -> None:
        self.ended += 1


def connect(build: Callable[..., T], settings: Mapping[str, Any], doing: str, deadline: float = CONNECT, **options: Any) -> T:
    """Make a kafka-python client from the common `settings` and its own `options`, or raise BrokerError within `deadline` seconds.

    It happens in a thread, because a TLS handshake with a frozen peer never ends; a thread that comes too late closes what it made.
    """
    quiet()
    networks: list[KafkaNetClient] = []
    outcome: list[T | BaseException] = []
    done, late = threading.Event(), threading.Event()

    def network(**configs: Any) -> KafkaNetClient:
        selector = NetworkSelector(**configs)
        networks.append(KafkaNetClient(net=selector, manager=CountedConnections(selector, **configs), **configs))
        return networks[-1]

    def work() -> None:
        try:
            client = build(**settings, **options, kafka_client=network, bootstrap_timeout_ms=int(deadline * 900))
        except BaseException as error:
            outcome.append(error)
            for left in networks:  # a constructor that raises leaves its thread and sockets behind
                left.close()
        else:
            outcome.append(client)
            if late.is_set():
                client.close()  # type: ignore[attr-defined]
        done.set()

    threading.Thread(target=work, name="kafka-connect", daemon=True).start()
    if not done.wait(deadline):
        late.set()
        raise broker_error(doing, settings, TimeoutError(f"no client after {deadline:g} s"))
    if isinstance(outcome[0], BaseException):
        raise broker_error(doing, settings, outcome[0]) from outcome[0]
    return outcome[0]


def broker_error(doing: str, settings: Mapping[str, Any], cause: BaseException) -> BrokerError:
    """What was being done (`reading topic 'x'`), where, what went wrong and what to do about it, as one sentence."""
    advice = next((text for kinds, text in ADVICE if isinstance(cause, kinds)), "")
    name, text = type(cause).__name__, str(cause)
    detail = text if text.startswith(name) else f"{name}: {text}"
    return BrokerError(f"{doing} failed at {','.join(settings['bootstrap_servers'])}: {advice + ' ' if advice else ''}({detail})")
