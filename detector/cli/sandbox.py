"""`detector sandbox`: a Kafka of one's own, a synthetic company that uses it, public logs as events. For trying things."""

from __future__ import annotations

import argparse
import fcntl
import functools
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from detector.cli.output import note, say
from detector.cli.progress import Progress
from detector.cli.settings import Commands, command, kafka_settings, moment, read, setting, verbs
from detector.errors import BrokerError, ConfigError

if TYPE_CHECKING:
    from detector.sandbox.company import Company

FOLDER, DEMO = Path("var/sandbox"), Path("var/demo")
AT_A_RATE = 60 * 86_400_000
"""How long ago, ms, live begins with --rate: no event comes before its time, and so there are many that have one."""
START, STOP = 180.0, 30.0
"""Seconds; the first start ever fetches Apache Kafka."""


def add(commands: Commands) -> None:
    family = verbs(commands, "sandbox", "a Kafka of your own and a company that uses it, for trying things")
    upped = command(family, "up", "start an Apache Kafka on this machine, until Ctrl-C", "  detector sandbox up --detach", configured=False)
    upped.add_argument("--port", type=int, default=9092, metavar="N", help="port on 127.0.0.1; 0: any that is free (default 9092)")
    upped.add_argument("--detach", action="store_true", help="return when it is ready, and leave it running until `sandbox down`")
    upped.set_defaults(run=up)
    downed = command(family, "down", "stop the Kafka that `sandbox up` started", configured=False)
    downed.set_defaults(run=down)
    for each in (upped, downed):
        each.add_argument("--folder", type=Path, default=FOLDER, metavar="DIR", help=f"its data, log and state (default {FOLDER})")
    shown = command(
        family, "demo", "all of it: a Kafka, a company with a planted incident, a model, the live service and its alerts",
        "  detector sandbox demo --seconds 60", configured=False,
    )  # fmt: skip
    shown.add_argument("--seconds", type=float, metavar="N", help="end so long after the service is ready (default: Ctrl-C)")
    shown.add_argument(
        "--folder", type=Path, default=DEMO, metavar="DIR", help=f"made anew; config, context, history, model (default {DEMO})"
    )
    shown.add_argument("--metrics-port", type=int, default=9108, metavar="N", help="default 9108")
    shown.set_defaults(run=demo)
    loaded = command(
        family, "load", "send recorded events to the topic of access events, each under its actor's key",
        "  detector sandbox load history.ndjson.zst --bootstrap-servers 127.0.0.1:9092",
    )  # fmt: skip
    loaded.add_argument("files", nargs="+", type=Path, metavar="FILE", help="NDJSON, .gz or .zst")
    loaded.set_defaults(run=load)
    told = command(family, "alerts", "print the alerts there are, each as a sentence with its reasons", "  detector sandbox alerts")
    told.set_defaults(run=alerts)
    for each in (loaded, told):
        setting(each, "--bootstrap-servers", "kafka.bootstrap_servers", "HOST:PORT,...", "the brokers")
    _add_company(family)
    converted = command(
        family, "bpic", "turn a public process log (BPI Challenge 2012, 2013, receipt) into access events",
        "  detector sandbox bpic BPIC2012.csv.gz events.ndjson.gz --context context", configured=False,
    )  # fmt: skip
    converted.add_argument("source", type=Path, metavar="IN", help="CSV, plain or .gz")
    converted.add_argument("target", type=Path, metavar="OUT", help="NDJSON, plain or .gz")
    converted.add_argument("--context", type=Path, metavar="DIR", help="write the staff's directory.csv there")
    converted.set_defaults(run=bpic)


def _add_company(family: Commands) -> None:
    made = command(
        family, "company", "a synthetic company: its history and context as files, or its events live into Kafka",
        "  detector sandbox company --history history.ndjson.zst --days 28 --context context --end 2026-03-02T00:00:00Z\n"
        "  detector sandbox company --speed 600 --incident story --end 2026-03-02T00:00:00Z",
    )  # fmt: skip
    made.add_argument("--employees", type=int, default=200, metavar="N", help="default 200")
    made.add_argument("--seed", type=int, default=1, metavar="N", help="the same seed is the same company (default 1)")
    made.add_argument(
        "--end",
        type=moment,
        metavar="TIME",
        help="where the history ends and live begins (default: long enough ago)",
    )
    made.add_argument("--incident", action="append", default=[], metavar="NAME", help="plant an incident at the end of the history")
    made.add_argument("--history", type=Path, metavar="FILE", help="write the days before as NDJSON (.gz, .zst), and end")
    made.add_argument("--days", type=int, default=28, metavar="N", help="days of history (default 28)")
    made.add_argument("--context", type=Path, metavar="DIR", help="write the context folder; without --speed or --rate, end")
    made.add_argument("--speed", type=float, metavar="N", help="live: seconds of the company's clock in one of ours (default 1)")
    made.add_argument("--rate", type=float, metavar="N", help="live: events a second, whatever the company's clock says")
    made.add_argument("--seconds", type=float, metavar="N", help="live: end after so long (default: Ctrl-C)")
    setting(made, "--bootstrap-servers", "kafka.bootstrap_servers", "HOST:PORT,...", "the brokers")
    made.set_defaults(run=company)


def demo(args: argparse.Namespace) -> int:
    import shutil

    from detector.sandbox.demo import Tour

    shutil.rmtree(args.folder, ignore_errors=True)
    colour = sys.stdout.isatty() and "NO_COLOR" not in os.environ
    return Tour(args.folder, say, colour, args.metrics_port).run(args.seconds)


def load(args: argparse.Namespace) -> int:
    from detector.sandbox.demo import load

    config = read(args).config
    with Progress("sending", "B") as bar:
        sent = load(args.files, kafka_settings(config), config.topics.events, bar.update)
    say(f"{config.topics.events}: {sent:,} events sent")
    return 0


def alerts(args: argparse.Namespace) -> int:
    from detector.kafka.reader import Reader
    from detector.sandbox.demo import alerts_of, sentence

    config = read(args).config
    with Reader(kafka_settings(config), config.topics.alerts) as reader:
        for alert in alerts_of(reader):
            say(sentence(alert, sys.stdout.isatty() and "NO_COLOR" not in os.environ))
    return 0


def up(args: argparse.Namespace) -> int:
    return _detach(args) if args.detach else _foreground(args)


def _foreground(args: argparse.Namespace) -> int:
    from detector.files import write_text
    from detector.sandbox.broker import Broker

    with _held(args.folder), _until_signal() as ended:
        note("starting Apache Kafka ...")
        with Broker(args.folder / "broker", args.port or None) as broker:
            write_text(args.folder / "state.json", json.dumps({"pid": os.getpid(), "bootstrap": broker.bootstrap}))
            say(broker.bootstrap)
            while not ended.wait(0.5):
                if broker.pid is None:
                    raise BrokerError(f"Apache Kafka ended by itself\nits log is {broker.log}")
        (args.folder / "state.json").unlink(missing_ok=True)
    return 0


def _detach(args: argparse.Namespace) -> int:
    with _held(args.folder):
        (args.folder / "state.json").unlink(missing_ok=True)
    command = [sys.executable, "-m", "detector.cli", "sandbox", "up", "--folder", str(args.folder), "--port", str(args.port)]
    with (args.folder / "up.log").open("wb") as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
    deadline = time.monotonic() + START
    while not (args.folder / "state.json").exists():
        if process.poll() is not None or time.monotonic() > deadline:
            process.terminate()
            tail = (args.folder / "up.log").read_text(errors="replace").strip()
            raise BrokerError(f"the sandbox did not start; {args.folder / 'up.log'} says:\n{tail}")
        time.sleep(0.1)
    say(_state(args.folder)["bootstrap"])
    return 0


def down(args: argparse.Namespace) -> int:
    if not (args.folder / "lock").exists() or not _is_held(args.folder):
        note(f"nothing runs in {args.folder}")
        return 0
    os.kill(int(_state(args.folder)["pid"]), signal.SIGTERM)
    deadline = time.monotonic() + STOP
    while _is_held(args.folder):
        if time.monotonic() > deadline:
            raise BrokerError(f"the sandbox in {args.folder} does not end\nend process {_state(args.folder)['pid']} by hand")
        time.sleep(0.1)
    say("stopped")
    return 0


def company(args: argparse.Namespace) -> int:
    from detector.sandbox.company import INCIDENTS, Company, live_start

    unknown = [name for name in args.incident if name not in INCIDENTS]
    if unknown:
        raise ConfigError(f"there is no incident '{unknown[0]}'; there are {', '.join(INCIDENTS)}")
    now = time.time_ns() // 1_000_000
    begins = args.end if args.end is not None else now - AT_A_RATE if args.rate else live_start(now, args.speed or 1.0)
    try:
        made = Company(args.employees, args.seed, end=begins)
    except ValueError as error:
        raise ConfigError(str(error)) from error
    for name in args.incident:
        planted = made.plant(name)
        note(f"planted {name}: {', '.join(planted.actors)} look at {', '.join(planted.subjects)}")
    if args.context:
        made.write_context(args.context)
        say(f"{args.context}: the context")
    if args.history:
        args.history.parent.mkdir(parents=True, exist_ok=True)
        with Progress("making the history", " days") as bar:
            count = made.write_history(args.history, args.days, bar.update)
        say(f"{args.history}: {count:,} events of {args.days} days before {made.end}")
    if (args.context or args.history) and args.speed is None and args.rate is None:
        return 0
    return _live(made, args)


def _live(made: Company, args: argparse.Namespace) -> int:
    from detector.kafka.producer import Producer

    config = read(args).config
    first: float | None = None

    def over() -> bool:
        nonlocal first
        first = first or time.monotonic()  # asked when the first event is at hand: making the company's day is no part of --seconds
        return ended.is_set() or (args.seconds is not None and time.monotonic() - first > args.seconds)

    with _until_signal() as ended, Producer(kafka_settings(config)) as producer:
        note(f"sending the company's events to '{config.topics.events}' ...")
        send = functools.partial(producer.send, config.topics.events)
        sent = made.live(send, time, over, speed=args.speed or 1.0, rate=args.rate)
        producer.flush(30.0)
    say(f"{sent:,} events sent")
    return 0


def bpic(args: argparse.Namespace) -> int:
    from detector.files import read_events, write_text
    from detector.sandbox.bpic import directory, write

    args.target.parent.mkdir(parents=True, exist_ok=True)
    try:
        count = write(args.source, args.target)
    except (OSError, ValueError) as error:
        raise ConfigError(f"{args.source}: {error}\ngive the CSV of BPI Challenge 2012 or 2013, or of the receipt phase") from error
    say(f"{args.target}: {count:,} events")
    if args.context:
        events = (records.part(records.value, row) for records in read_events([args.target]) for row in range(len(records)))
        write_text(args.context / "directory.csv", directory(json.loads(event or b"")["actor"] for event in events).decode())
        say(f"{args.context / 'directory.csv'}: the staff")
    return 0


@contextmanager
def _until_signal() -> Iterator[threading.Event]:
    """An event that Ctrl-C or SIGTERM sets."""
    ended = threading.Event()
    before = {number: signal.signal(number, lambda *_: ended.set()) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield ended
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _held(folder: Path) -> Iterator[None]:
    """The folder's lock, which the kernel frees however its holder ends, so that a process id is only believed while it is held."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise BrokerError(f"a sandbox runs in {folder} already\n`detector sandbox down` stops it") from error
        yield


def _is_held(folder: Path) -> bool:
    try:
        with _held(folder):
            return False
    except BrokerError:
        return True


def _state(folder: Path) -> dict[str, str]:
    try:
        state: dict[str, str] = json.loads((folder / "state.json").read_text())
    except (OSError, ValueError) as error:
        raise BrokerError(f"{folder / 'state.json'}: cannot be read; is the sandbox still starting?\ntry again in a few seconds") from error
    return state
