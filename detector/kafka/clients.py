"""Making kafka-python clients: never longer than a deadline, with connections that are counted, and errors a person can act on."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, TypeVar

import kafka.errors as failures
from kafka.net.compat import KafkaNetClient
from kafka.net.manager import KafkaConnectionManager
from kafka.net.selector import NetworkSelector

from detector.errors import BrokerError
from detector.kafka.security import quiet, tls_advice

T = TypeVar("T")

CONNECT = 15.0
"""Seconds a client may take to be made."""

COMMON: dict[str, Any] = {"reconnect_backoff_max_ms": 500}
"""Of every client. kafka-python's 30 s would be waited out after a broker has long been back."""

UNREACHABLE = (
    failures.KafkaTimeoutError,
    failures.RequestTimedOutError,
    failures.KafkaConnectionError,
    failures.NodeNotReadyError,
    OSError,
)
REFUSED = (failures.SaslAuthenticationFailedError, failures.UnsupportedSaslMechanismError, failures.IllegalSaslStateError)
ADVICE: tuple[tuple[tuple[type[Exception], ...], str], ...] = (
    ((failures.UnsupportedSaslMechanismError,), "the broker does not take kafka.sasl_mechanism; `detector doctor` tells what it takes"),
    ((failures.IllegalSaslStateError,), "this listener has no SASL; mend kafka.security_protocol, or name another port"),
    (REFUSED, "the credentials were refused; check kafka.sasl_username and the password file"),
    ((failures.InvalidReceiveError,), "this listener does not speak kafka.security_protocol; `detector doctor` tells what it speaks"),
    ((failures.TransactionalIdAuthorizationFailedError,), "no right to use the transactional id; grant Write and Describe on it"),
    ((failures.GroupAuthorizationFailedError,), "no right to use the consumer group; grant Read on it"),
    ((failures.AuthorizationError,), "the broker denies it; grant this principal the rights listed in the documentation"),
    ((failures.UnknownTopicOrPartitionError,), "the topic does not exist, or may not be seen; `detector topics create` makes it"),
    ((failures.OffsetOutOfRangeError,), "the records at this offset are gone (retention, or the topic was made anew)"),
    (UNREACHABLE, "no answer in time; is the broker running, is kafka.bootstrap_servers right, does it speak kafka.security_protocol?"),
)


class CountedConnections(KafkaConnectionManager):  # type: ignore[misc]
    """Counts the connections that ended: a transaction during which one did is in doubt, long before kafka-python says so.

    It knows why the last one did, where kafka-python says only that it got no answer; and credentials that were refused are not sent
    again and again until the deadline, for some servers lock out who does that. Of several bootstrap servers it asks each before any
    is asked again, where kafka-python would give one that does not answer all the time there is.
    """

    ended = 0
    failure: Exception | None = None
    refused: Exception | None = None

    def __init__(self, net: Any, **configs: Any) -> None:
        super().__init__(net, **configs)
        servers = self.cluster.bootstrap_brokers
        self.cluster.bootstrap_brokers = lambda: self._least_failed(servers())

    def _least_failed(self, servers: list[Any]) -> list[Any]:
        failures = [self._backoff.get(server.node_id, (0,))[0] for server in servers]
        return [server for server, count in zip(servers, failures, strict=True) if count == min(failures)]

    def get_connection(self, node_id: Any, *args: Any, **options: Any) -> Any:
        if self.refused is not None:
            raise self.refused
        if options.get("timeout_ms") is not None and self.cluster.is_bootstrap(node_id):
            options["timeout_ms"] /= len(self.cluster.bootstrap_brokers())  # of the time left, an equal share for each that is still to ask
        known = node_id in self._conns
        connection = super().get_connection(node_id, *args, **options)
        if not known:
            connection.close_future.add_both(partial(self._count, node_id))
        return connection

    def _count(self, node_id: Any, why: Any) -> None:
        self.ended += 1
        if isinstance(why, Exception):
            self.failure = why
            if isinstance(why, REFUSED) and self.cluster.is_bootstrap(node_id):
                self.refused = why

    async def _build_transport(self, node: Any, timeout_at: float | None = None) -> Any:
        """kafka-python throws away what comes together with the connection's end: the answer that says why it is ended."""
        transport = await super()._build_transport(node, timeout_at=timeout_at)
        receive = transport._sock_recv

        def all_that_came() -> tuple[bytes, Exception | None]:
            came, end = receive()
            return came, None if came else end  # it ends once more when nothing is left

        transport._sock_recv = all_that_came
        return transport


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
            client = build(**{**COMMON, **settings, **options}, kafka_client=network, bootstrap_timeout_ms=int(deadline * 900))
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
        seen = [network._manager.failure for network in networks if isinstance(outcome[0], failures.KafkaTimeoutError)]
        why = seen[0] if seen and seen[0] else outcome[0]
        raise broker_error(doing, settings, why) from why
    return outcome[0]


def broker_error(doing: str, settings: Mapping[str, Any], cause: BaseException) -> BrokerError:
    """What was being done (`reading topic 'x'`), where, what went wrong and what to do about it, as one sentence."""
    advice = next((text for kinds, text in ADVICE if isinstance(cause, kinds)), "")
    of_tls = next((e for e in (cause, cause.__context__, *cause.args) if isinstance(e, ssl.SSLError)), None)
    if of_tls is not None:
        advice = tls_advice(of_tls, "ssl_certfile" in settings)
    name, text = type(cause).__name__, str(cause)
    detail = text if text.startswith(name) else f"{name}: {text}"
    return BrokerError(f"{doing} failed at {','.join(settings['bootstrap_servers'])}: {advice + ' ' if advice else ''}({detail})")
