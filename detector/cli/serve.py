"""`detector serve`: the long-lived service."""

from __future__ import annotations

import argparse
import faulthandler
import logging
import os
import signal
import sys
import threading
import time
from typing import TYPE_CHECKING, TypeVar

from detector.cli.assembly import build, champion_of
from detector.cli.settings import Commands, command, context_of, kafka_settings, read, setting, topics_of
from detector.errors import BrokerError

if TYPE_CHECKING:
    from collections.abc import Callable

    from detector.config import Config
    from detector.service import Service

log = logging.getLogger("detector.serve")

T = TypeVar("T")

DRAIN = 15.0
"""Seconds to finish in after SIGTERM; a broker that does not answer can hold up a stop for longer."""

EXAMPLES = """\
  detector serve
  detector serve --shadow --set metrics.port=9201
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
    p.add_argument(
        "--shadow", dest="service.shadow", action="store_const", const="true",
        help="score with the challenger beside the champion's service: metrics only, nothing is written (service.shadow)",
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
    champion = champion_of(config)
    model = champion.model
    if problems := patiently(lambda: check(kafka_settings(config), topics_of(config))):
        raise BrokerError("\n".join(problems))
    metrics = Metrics()
    metrics.model(model.version, model.sha256)
    service = build(config, champion, context, metrics)
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
