"""`detector verdicts`: add, list, export."""

from __future__ import annotations

import argparse
import getpass
import json
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from detector.cli.output import note, printable, say, table
from detector.cli.progress import Progress
from detector.cli.settings import Commands, command, kafka_settings, moment, read, setting, verbs
from detector.errors import ConfigError

if TYPE_CHECKING:
    from detector.config import Config
    from detector.core.events import Records
    from detector.core.verdicts import Case, Verdict

KINDS = ("true_positive", "benign_expected", "false_positive", "duplicate", "needs_information")
T = TypeVar("T")
SHOWN = 20
ADD = """\
  detector verdicts add d310992bd9cd7646178a761294be07f0 false_positive --note "on call that night, ticket OPS-77"
  detector verdicts add --file verdicts.ndjson"""
LIST = """\
  detector verdicts list
  detector verdicts list --alert d310992bd9cd7646178a761294be07f0 --all"""
EXPORT = """\
  detector verdicts export --out verdicts.ndjson
  detector verdicts export --alerts alerts-2026.ndjson.zst --out verdicts.ndjson"""


def add(commands: Commands) -> None:
    family = verbs(commands, "verdicts", "what investigators found out about alerts")
    said = command(family, "add", "say what came of an alert; the last word on it counts", ADD)
    listed = command(family, "list", "the verdicts, the last of each alert", LIST)
    taken = command(family, "export", "write verdicts with what is needed of their alerts, for training and evaluation", EXPORT)
    for verb, run in ((said, add_), (listed, list_), (taken, export)):
        setting(verb, "--bootstrap-servers", "kafka.bootstrap_servers", "HOST:PORT,...", "the brokers")
        verb.set_defaults(run=run)
    said.add_argument("alert", nargs="?", metavar="ALERT_ID", help="the alert's alert_id")
    said.add_argument("verdict", nargs="?", choices=KINDS, metavar="VERDICT", help=f"one of {', '.join(KINDS)}")
    said.add_argument("--by", default="", metavar="NAME", help="who says so; default: the user's name")
    said.add_argument("--note", default="", metavar="TEXT", help="why, for those who read it later")
    said.add_argument("--file", type=Path, metavar="FILE", help="verdicts as NDJSON instead, an object a line; all of them or none")
    said.add_argument("--unchecked", action="store_true", help="do not look whether the alert is in the topic of alerts")
    for verb in (listed, taken):
        verb.add_argument("--since", type=moment, default=0, metavar="TIME", help="written at this time or later")
    listed.add_argument("--alert", metavar="ALERT_ID", help="of this alert")
    listed.add_argument("--verdict", nargs="+", choices=KINDS, default=KINDS, metavar="VERDICT", help="one of these")
    listed.add_argument("--all", action="store_true", help="also those that later ones replaced")
    listed.add_argument("--json", action="store_true", help="an object a line")
    taken.add_argument("--alerts", nargs="+", type=Path, metavar="FILE", help="alerts as NDJSON, .gz or .zst, instead of the topic")
    taken.add_argument("--out", type=Path, metavar="FILE", help="default: stdout")


def add_cases(parser: argparse.ArgumentParser) -> None:
    """For commands that learn from verdicts."""
    help = "what `detector verdicts export` wrote: nothing is learned from confirmed incidents, and hypotheses are weighed by it"
    parser.add_argument("--verdicts", type=Path, metavar="FILE", help=help)
    parser.add_argument("--no-weights", action="store_true", help="weigh hypotheses as if there were no verdicts")


def cases_of(args: argparse.Namespace) -> list[Case]:
    """The verdicts that were given with --verdicts. Raises ConfigError naming all that is wrong."""
    from detector.core.verdicts import parse_case

    return _parsed(args.verdicts, parse_case) if args.verdicts else []


class Found(NamedTuple):
    verdict: Verdict
    written: int
    """Ms, by the broker's clock."""


def add_(args: argparse.Namespace) -> int:
    from detector.core.verdicts import encode
    from detector.kafka.producer import Producer

    some, config = _given(args), read(args).config
    if not args.unchecked:
        wanted = {each.alert_id for each in some}
        if unknown := sorted(wanted - _alerts(_from_topic(config, config.topics.alerts, "looking for alerts"), wanted).keys()):
            raise ConfigError(
                f"no alert in '{config.topics.alerts}' is {', '.join(unknown[:SHOWN])}\n"
                "look at its alert_id again; with --unchecked one is taken that retention has deleted"
            )
    with Producer(kafka_settings(config)) as producer:
        for each in some:
            producer.send(config.topics.verdicts, *encode(each))
        producer.flush(60.0)
    say(f"{len(some):,} verdict{'s' if len(some) != 1 else ''} written to '{config.topics.verdicts}'")
    return 0


def list_(args: argparse.Namespace) -> int:
    import msgspec

    from detector.core.verdicts import latest

    found = [each for each in _verdicts(read(args).config) if args.alert in (None, each.verdict.alert_id)]
    last = latest(each.verdict for each in found)
    chosen = [
        each for each in found
        if each.written >= args.since and each.verdict.verdict in args.verdict and (args.all or each.verdict is last[each.verdict.alert_id])
    ]  # fmt: skip
    if args.json:
        for each in chosen:
            said = {"written": each.written, **msgspec.to_builtins(each.verdict), "counts": each.verdict is last[each.verdict.alert_id]}
            sys.stdout.write(json.dumps(said, ensure_ascii=False) + "\n")
    elif chosen:
        rows = [(_moment(written), said.alert_id, said.verdict, said.by, said.note) for said, written in chosen]
        table(("WRITTEN", "ALERT", "VERDICT", "BY", "NOTE"), [[printable(cell) for cell in row] for row in rows])
    for kind, count in Counter(each.verdict.verdict for each in chosen).most_common():
        (note if args.json else say)(f"{count:>9,}  {kind}")
    if not chosen:
        note("there are none")
    return 0


def export(args: argparse.Namespace) -> int:
    from detector.core.verdicts import case, encode_case, latest

    config = read(args).config
    found = list(_verdicts(config))
    last = latest(each.verdict for each in found)
    late = {each.verdict.alert_id for each in found if each.written >= args.since}
    chosen = {identity: verdict for identity, verdict in last.items() if identity in late}
    source = _from_files(args.alerts) if args.alerts else _from_topic(config, config.topics.alerts, "reading alerts")
    alerts = _alerts(source, set(chosen))
    lines, odd = [], list[str]()
    for identity, verdict in chosen.items():
        try:
            if identity in alerts and (made := case(verdict, alerts[identity])) is not None:
                lines.append(encode_case(made) + b"\n")
        except ValueError as error:
            odd.append(f"alert {identity}: {error}")
    _warn(odd, "alerts are not as the detector writes them")
    if args.out:
        args.out.write_bytes(b"".join(lines))
    else:
        sys.stdout.buffer.write(b"".join(lines))
        sys.stdout.buffer.flush()
    note(f"{len(lines):,} verdicts with their alerts")
    if lacking := len(chosen) - len(lines):
        note(f"{lacking:,} are left out: their alert is not there, or about nobody")
    return 0


def _given(args: argparse.Namespace) -> list[Verdict]:
    """What is to be added. Raises ConfigError naming everything that is wrong."""
    from detector.core.verdicts import checked, parse

    if bool(args.file) == bool(args.alert) or bool(args.alert) != bool(args.verdict):
        raise ConfigError("give an ALERT_ID and a VERDICT, or --file")
    if not args.file:
        said = {"alert_id": args.alert, "verdict": args.verdict, "by": args.by or getpass.getuser(), "time": time.time_ns() // 1_000_000}
        try:
            return [checked({**said, "note": args.note})]
        except ValueError as error:
            raise ConfigError(f"the verdict is refused: {error}") from error
    return _parsed(args.file, parse)


def _parsed(path: Path, parse: Callable[[bytes], T]) -> list[T]:
    """The lines of a file. Raises ConfigError with a line for each that is refused."""
    some, problems = [], []
    for number, line in enumerate(path.read_bytes().splitlines(), 1):
        try:
            some.append(parse(line))
        except ValueError as error:
            problems.append(f"{path}:{number}: {error}")
    if problems:
        more = [f"... and {len(problems) - SHOWN} more"] if len(problems) > SHOWN else []
        raise ConfigError("\n".join(printable(line) for line in [*problems[:SHOWN], *more]))
    return some


def _verdicts(config: Config) -> Iterator[Found]:
    """All that the topic has, in the order of each alert's; what is none is counted, and the first said."""
    from detector.core.verdicts import parse

    odd: list[str] = []
    for records, row in _from_topic(config, config.topics.verdicts, "reading verdicts"):
        try:
            yield Found(parse(records.part(records.value, row) or b"", records.part(records.key, row) or b""), int(records.timestamp[row]))
        except ValueError as error:
            odd.append(f"partition {records.partition}, offset {records.offset[row]}: {error}")
    _warn(odd, f"records of '{config.topics.verdicts}' are no verdicts")


def _alerts(source: Iterable[tuple[Records, int]], wanted: set[str]) -> dict[str, bytes]:
    """The alerts with these ids, as they were written."""
    from detector.core.verdicts import alert_id_of

    values = (records.part(records.value, row) or b"" for records, row in source)
    return {identity: value for value in values if (identity := alert_id_of(value)) in wanted}


def _from_topic(config: Config, topic: str, doing: str) -> Iterator[tuple[Records, int]]:
    from detector.kafka.reader import Reader

    with Reader(kafka_settings(config), topic) as reader, Progress(doing, " records") as bar:
        done, total = 0, sum(end - first for first, end in reader.bounds().values())
        for records in reader.read():
            yield from ((records, row) for row in range(len(records)))
            done += len(records)
            bar.update(done, total)


def _from_files(paths: list[Path]) -> Iterator[tuple[Records, int]]:
    from detector.files import read_events

    with Progress("reading alerts", "B") as bar:
        for records in read_events(paths, bar.update):
            yield from ((records, row) for row in range(len(records)))


def _warn(odd: list[str], what: str) -> None:
    if odd:
        note(printable(f"{len(odd):,} {what}; the first: {odd[0]}"))


def _moment(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if 0 <= ms < 1 << 45 else str(ms)
