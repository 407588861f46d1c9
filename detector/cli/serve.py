"""`detector serve`: the long-lived service."""

from __future__ import annotations

import argparse
import faulthandler
import gc
import hashlib
import logging
import os
import signal
import sys
import threading
import time
from typing import TYPE_CHECKING, TypeVar

from detector.cli.assembly import build, champion_of
from detector.cli.measuring import Told
from detector.cli.settings import Commands, command, kafka_settings, read, setting, topics_of
from detector.errors import BrokerError, DetectorError

if TYPE_CHECKING:
    from collections.abc import Callable

    from detector.champion import Champion, Wish
    from detector.config import Config
    from detector.logs import Stream
    from detector.service import Service
    from detector.supervisor import Supervisor

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
    from detector.champion import Wish
    from detector.kafka.topics import check
    from detector.metrics import Metrics
    from detector.supervisor import Supervisor

    faulthandler.enable()  # a supervisor's SIGABRT, or a fault in compiled code, leaves stacks on stderr too
    config, metrics, wish = read(args).config, Metrics(), Wish()
    supervisor = Supervisor(os.environ.get("NOTIFY_SOCKET", ""))
    signal.signal(signal.SIGHUP, lambda *_: _reload(wish, supervisor))  # first of all: unheard, it would end the process
    lines = logs.configure(config.logs.level, sys.stderr, config.logs.format, config.logs.audit_file, metrics.suppressed_lines)
    failpoints.arm(os.environ.get("DETECTOR_FAILPOINT", ""))
    champion = champion_of(config, metrics, wish)
    if problems := patiently(lambda: check(kafka_settings(config), topics_of(config))):
        raise BrokerError("\n".join(problems))
    metrics.settings(config.detection.budget, config.service.shadow)
    service = build(config, champion, metrics)
    gc.collect()
    gc.freeze()  # modules and model stay; looking for garbage among them each time took a tenth of a second
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, lambda *_: _stop(service, supervisor))
    told = Told(config, metrics, lambda: live(service, config), lambda: ready(service, config))
    threading.Thread(target=watch, args=(service, config, supervisor), name="watchdog", daemon=True).start()
    threading.Thread(target=_tell_left_out, args=(lines,), name="log", daemon=True).start()  # a log may stand still, the watchdog never
    _tell_start(config, champion, told.url)
    try:
        service.run()
    except OSError as error:  # of the machine, while serving: a supervisor may start it again
        log.exception("the machine failed")
        raise RuntimeError(f"{type(error).__name__} while serving") from error
    except DetectorError as error:
        log.error("ending, for only a person can mend this", extra={"error": str(error), "audit": True})
        raise
    finally:
        told.close()
    log.info("stopped", extra={"audit": True})
    return 0


def _tell_start(config: Config, champion: Champion, metrics: str) -> None:
    """With what it begins, for whoever must know later."""
    import msgspec

    settings = hashlib.sha256(msgspec.json.encode(config, order="deterministic")).hexdigest()
    how = {"role": "shadow" if config.service.shadow else "champion", "delivery": config.group.delivery, "rebuild": config.service.rebuild}
    model, context = champion.now.versions
    log.info("serving", extra={"model": model, "context": context, "config": settings, **how, "metrics": metrics, "audit": True})


def _reload(wish: Wish, supervisor: Supervisor) -> None:
    """Context and registry are looked at anew as soon as may be."""
    wish.open = True
    supervisor.reloading()


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


def watch(service: Service, config: Config, supervisor: Supervisor) -> None:
    """A loop that stands still is ended: what it holds is taken over by others, and nothing is lost."""
    while time.monotonic() - service.tick < config.service.watchdog:
        supervisor.look(service.tick, lambda: ready(service, config))
        time.sleep(1.0)
    faulthandler.dump_traceback(all_threads=True)
    os._exit(70)


def _tell_left_out(lines: Stream) -> None:
    while True:
        time.sleep(1.0)
        lines.tell()


def _stop(service: Service, supervisor: Supervisor) -> None:
    if service.stopping:
        os._exit(1)  # asked twice; safe, because only a commit counts
    service.stopping = True
    supervisor.stopping()
    end = threading.Timer(DRAIN, _give_up)
    end.daemon = True
    end.start()


def _give_up() -> None:
    log.error("not finished in time after being asked to stop; ending all the same", extra={"seconds": DRAIN, "audit": True})
    os._exit(1)
