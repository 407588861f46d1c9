"""The service, put together from the settings."""

from __future__ import annotations

import hashlib
import logging
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from detector import __version__
from detector.cli.settings import contexts_of, kafka_settings, limits_of, trust_of
from detector.errors import ConfigError

if TYPE_CHECKING:
    from detector.champion import Champion, Wish
    from detector.config import Config
    from detector.core.model import Model
    from detector.core.pipeline import Pipeline
    from detector.delivery import Plan
    from detector.kafka.consumer import Consumer, Membership
    from detector.metrics import Metrics
    from detector.service import Service, Sink

log = logging.getLogger("detector.serve")

SHADOW = "-shadow"
"""Behind the group's id: a shadow reads all events for itself."""


class Registry:
    """The models that may be served."""

    def __init__(self, config: Config) -> None:
        self._folder, self._trust = Path(config.models.registry), trust_of(config)
        self._use = "challenger" if config.service.shadow else config.models.use

    def current(self) -> str:
        from detector.registry import current

        return current(self._folder, self._use)

    def load(self, version: str) -> Model:
        from detector.core.views import EMPLOYEE
        from detector.registry import load_model

        return load_model(self._folder, version, EMPLOYEE.name, EMPLOYEE.names, self._trust)


def champion_of(config: Config, metrics: Metrics, wish: Wish) -> Champion:
    """Raises ModelError, ContextError, and ConfigError where the model is not for the hypotheses that were chosen."""
    from detector.champion import Champion

    registry, contexts = Registry(config), contexts_of(config)
    read = contexts.read()
    for line in read.context.missing():
        log.info("a file of the context is missing", extra={"detail": line})
    model, chosen = registry.load(registry.current()), config.detection.hypotheses
    if chosen and set(chosen) != {h.name for h in model.hypotheses}:
        raise ConfigError(
            f"detection.hypotheses: model {model.version} is calibrated for {', '.join(h.name for h in model.hypotheses)}\n"
            "leave the setting empty, or train a model with the chosen ones"
        )
    return Champion(model, read, registry, contexts, metrics, wish)


def build(config: Config, champion: Champion, metrics: Metrics) -> Service:
    """The service, its collaborators made from the settings."""
    from detector.checkpoints import Checkpoints
    from detector.config import moment
    from detector.core.formats.native import decode
    from detector.core.pipeline import InForce, Pipeline, Policy
    from detector.core.views import EMPLOYEE
    from detector.holdings import Holdings
    from detector.kafka.consumer import Consumer
    from detector.kafka.state_log import StateLog
    from detector.kafka.transactions import Doubt
    from detector.refusals import Refusals
    from detector.restore import Making
    from detector.service import Service
    from detector.takeovers import NoStateLog, Takeovers

    settings, limits, topics = kafka_settings(config), limits_of(config), config.topics

    def pipeline(starts: int, what: InForce) -> Pipeline:
        policy = Policy(config.detection.budget, starts, round(config.input.max_age * 1000))
        return Pipeline(EMPLOYEE, what.model, what.context, policy, config.detection.max_keys)

    warm(pipeline(0, champion.now))
    basis, starts = basis_of(config), moment(config.alerts.start) if config.alerts.start else None
    group = config.group.id + (SHADOW if config.service.shadow else "")
    sources = Current(lambda: Consumer(topics.events, group, settings, config.group.session_timeout, config.group.instance_id or None))
    sink, writer = sink_of(config, sources)
    making = Making(
        topics.events, pipeline, champion, lambda: Refusals(config.input.dead_letter_run, config.input.dead_letter_share),
        basis, config.service.rebuild, bool(writer),
    )  # fmt: skip
    return Service(
        sources, sink, Doubt, lambda records: decode(records, limits),
        Holdings(lambda: Takeovers(NoStateLog() if config.service.shadow else StateLog(settings, topics.state)), making, starts, metrics),
        Checkpoints(math.inf if config.service.shadow else config.service.snapshot_interval, basis, metrics.snapshot), metrics,
        plan_of(config, writer),
    )  # fmt: skip


def plan_of(config: Config, writer: str) -> Plan:
    from detector.delivery import Plan

    topics = config.topics
    return Plan(
        topics.events, topics.alerts, topics.notables, topics.daily, topics.dead_letters, topics.state, config.input.batch_limit,
        config.alerts.heartbeat, writer,
    )  # fmt: skip


def basis_of(config: Config) -> str:
    """All that makes the same events lead to the same alerts, besides models and contexts, as a hash."""
    said = (config.detection, config.input, __version__)
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
    from detector.kafka.at_least_once import AtLeastOnce, Silent
    from detector.kafka.transactions import Transactions

    settings = kafka_settings(config)
    if config.service.shadow:
        log.warning("this is a shadow: its alerts are counted, and told to nobody")
        return Silent(settings, sources.commit), ""
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
