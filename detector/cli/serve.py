"""`detector serve`: the long-lived service."""

from __future__ import annotations

import argparse
import faulthandler
import hashlib
import logging
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from detector import __version__
from detector.cli.settings import Commands, command, context_of, kafka_settings, limits_of, read, setting, topics_of
from detector.errors import BrokerError, ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from detector.config import Config
    from detector.core.context import Context
    from detector.core.model import Model
    from detector.core.pipeline import Pipeline
    from detector.delivery import Plan
    from detector.kafka.consumer import Consumer, Membership
    from detector.metrics import Metrics
    from detector.service import Service, Sink

log = logging.getLogger("detector.serve")

T = TypeVar("T")

DRAIN = 15.0
"""Seconds to finish in after SIGTERM; a broker that does not answer can hold up a stop for longer."""

EXAMPLES = """\
  detector serve
  detector serve --config /etc/detector.toml --set metrics.port=9200
  DETECTOR__KAFKA__BOOTSTRAP_SERVERS=kafka:9092 detector serve"""


def add(commands: Commands) -> None:
    p = command(commands, "serve", "score access events as they come and write alerts, exactly once, until SIGTERM or Ctrl-C", EXAMPLES)
    setting(p, "--bootstrap-servers", "kafka.bootstrap_servers", "HOST:PORT,...", "the brokers")
    setting(p, "--context", "context.folder", "DIR", "folder with directory.csv and the like")
    setting(p, "--models", "models.registry", "DIR", "the registry")
    p.add_argument(
        "--rebuild", dest="service.rebuild", action="store_const", const="true",
        help="believe the committed offsets, and build the state anew from the events that are retained (service.rebuild)",
    )  # fmt: skip


def run(args: argparse.Namespace) -> int:
    from detector import failpoints, logs
    from detector.endpoints import Endpoints
    from detector.kafka.topics import check
    from detector.metrics import Metrics

    config = read(args).config
    logs.configure(config.logs.level, sys.stderr)
    failpoints.arm(os.environ.get("DETECTOR_FAILPOINT", ""))
    context = context_of(config)
    for line in context.missing():
        log.info("context: " + line)
    model = model_of(config)
    if problems := patiently(lambda: check(kafka_settings(config), topics_of(config))):
        raise BrokerError("\n".join(problems))
    metrics = Metrics()
    metrics.model(model.version, model.sha256)
    service = build(config, model, context, metrics)
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, lambda *_: _stop(service))
    endpoints = Endpoints(
        config.metrics.host, config.metrics.port, metrics.text, lambda: live(service, config), lambda: ready(service, config)
    )
    threading.Thread(target=watch, args=(service, config.service.watchdog), name="watchdog", daemon=True).start()
    log.info(
        "serving", extra={"model": model.version, "context": context.hash, "metrics": f"http://{endpoints.host}:{endpoints.port}/metrics"}
    )
    try:
        service.run()
    except OSError as error:  # of the machine, while serving: a supervisor may start it again
        log.exception("the machine failed")
        raise RuntimeError(f"{type(error).__name__} while serving") from error
    finally:
        endpoints.close()
    log.info("stopped")
    return 0


def patiently(look: Callable[[], T]) -> T:
    """A broker that is just being restarted does not end the service."""
    try:
        return look()
    except BrokerError as error:
        log.warning("broker trouble, trying once more", extra={"error": str(error)})
        time.sleep(1.0)
        return look()


def model_of(config: Config) -> Model:
    """Raises ModelError, and ConfigError where the model is not for the hypotheses that were chosen."""
    from detector.core.views import EMPLOYEE
    from detector.registry import load_model

    model = load_model(Path(config.models.registry), config.models.use, EMPLOYEE.name, EMPLOYEE.names)
    chosen = config.detection.hypotheses
    if chosen and set(chosen) != {h.name for h in model.hypotheses}:
        raise ConfigError(
            f"detection.hypotheses: model {model.version} is calibrated for {', '.join(h.name for h in model.hypotheses)}\n"
            "leave the setting empty, or train a model with the chosen ones"
        )
    return model


def build(config: Config, model: Model, context: Context, metrics: Metrics) -> Service:
    """The service, its collaborators made from the settings."""
    from detector.checkpoints import Checkpoints
    from detector.config import moment
    from detector.core.formats.native import decode
    from detector.core.pipeline import Pipeline, Policy
    from detector.core.views import EMPLOYEE
    from detector.holdings import Holdings
    from detector.kafka.consumer import Consumer
    from detector.kafka.state_log import StateLog
    from detector.kafka.transactions import Doubt
    from detector.refusals import Refusals
    from detector.restore import Making, Takeovers
    from detector.service import Service

    settings, limits, topics = kafka_settings(config), limits_of(config), config.topics

    def pipeline(starts: int) -> Pipeline:
        policy = Policy(config.detection.budget, starts, round(config.input.max_age * 1000))
        return Pipeline(EMPLOYEE, model, context, policy, config.detection.max_keys)

    warm(pipeline(0))
    basis, starts = basis_of(config, model, context), moment(config.alerts.start) if config.alerts.start else None
    sources = Current(
        lambda: Consumer(topics.events, config.group.id, settings, config.group.session_timeout, config.group.instance_id or None)
    )
    sink, writer = sink_of(config, sources)
    making = Making(
        topics.events,
        pipeline,
        lambda: Refusals(config.input.dead_letter_run, config.input.dead_letter_share),
        basis,
        config.service.rebuild,
        bool(writer),
    )
    return Service(
        sources, sink, Doubt, lambda records: decode(records, limits),
        Holdings(lambda: Takeovers(StateLog(settings, topics.state)), making, starts, metrics),
        Checkpoints(config.service.snapshot_interval, basis, metrics.snapshot), metrics,
        plan_of(config, writer),
    )  # fmt: skip


def plan_of(config: Config, writer: str) -> Plan:
    from detector.delivery import Plan

    topics = config.topics
    return Plan(
        topics.events, topics.alerts, topics.notables, topics.daily, topics.dead_letters, topics.state, config.input.batch_limit,
        config.alerts.heartbeat, writer,
    )  # fmt: skip


def basis_of(config: Config, model: Model, context: Context) -> str:
    """All that makes the same events lead to the same alerts, as a hash."""
    said = (model.sha256, context.hash, config.detection, config.input, __version__)
    return hashlib.sha256(repr(said).encode()).hexdigest()[:16]


class Current:
    """Makes consumers, and knows the one in use."""

    def __init__(self, make: Callable[[], Consumer]) -> None:
        self._make = make
        self._consumer: Consumer | None = None

    def __call__(self) -> Consumer:
        self._consumer = self._make()
        return self._consumer

    def commit(self, offsets: Mapping[int, tuple[int, str]], membership: Membership) -> None:
        assert self._consumer is not None
        self._consumer.commit(offsets, membership)


def sink_of(config: Config, sources: Current) -> tuple[Sink, str]:
    """Where outputs go; and as whom position records are written, if they are."""
    from detector.kafka.at_least_once import AtLeastOnce
    from detector.kafka.transactions import Transactions

    settings = kafka_settings(config)
    if config.group.delivery == "at_least_once":
        log.warning("delivery is at_least_once: after a fault, outputs may come twice; their ids tell")
        return AtLeastOnce(settings, sources.commit), ""
    name = f"{config.group.transactional_id_prefix}-{config.group.ordinal}"
    return Transactions(name, settings, config.group.transaction_timeout), name


def warm(pipeline: Pipeline) -> None:
    """Compiles, or loads, every kernel before partitions are taken: inside the group, that time would look like being stuck."""
    from detector.core.events import Records
    from detector.core.formats.native import Limits, decode
    from detector.core.signals import accumulators

    line = b'{"time":1,"actor":"warm-up","action":"read","resource":"none","subject":"nobody"}'
    for count in (9, 1):  # columns of a single event are laid out otherwise, and have kernels of their own
        pipeline.process(decode(Records.of([line] * count, first=count), Limits()))
    accumulators.usual(pipeline.tracker.state, 0, 0, pipeline.tracker.baselines, accumulators.NAMES[0])


def live(service: Service, config: Config) -> tuple[bool, list[str]]:
    still = time.monotonic() - service.tick
    return still < config.service.watchdog / 2, [f"the loop last turned {still:.1f} s ago"]


def ready(service: Service, config: Config) -> tuple[bool, list[str]]:
    ok, why = service.ready()
    if service.lag_seconds > config.service.ready_lag:
        ok, why = False, [*why, f"{service.lag_seconds:.0f} s behind"]
    return ok, why


def watch(service: Service, limit: float) -> None:
    """A loop that stands still is ended: what it holds is taken over by others, and nothing is lost."""
    while time.monotonic() - service.tick < limit:
        time.sleep(1.0)
    faulthandler.dump_traceback(all_threads=True)
    os._exit(70)


def _stop(service: Service) -> None:
    if service.stopping:
        os._exit(1)  # asked twice; safe, because only a commit counts
    service.stopping = True
    end = threading.Timer(DRAIN, _give_up)
    end.daemon = True
    end.start()


def _give_up() -> None:
    log.error(f"not finished {DRAIN:g} s after being asked to stop; ending all the same")
    os._exit(1)
