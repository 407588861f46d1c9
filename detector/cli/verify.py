"""`detector verify`: whether a log of alerts is as it was written. For who evaluates the detector, or the people who run it."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from detector.cli.output import note, printable, say, table
from detector.cli.progress import Progress
from detector.cli.settings import Commands, command, kafka_settings, read, setting
from detector.errors import ConfigError, StateError

if TYPE_CHECKING:
    from detector.core.chain import Fault, Found, Verification
    from detector.core.events import Records

EXAMPLES = """\
  detector verify                                       the topic of alerts
  detector verify --file alerts.ndjson                  an exported copy
  detector verify --json > heads.ndjson                 write down where the chains stand ...
  detector verify --head heads.ndjson                   ... and compare with it later"""


def add(commands: Commands) -> None:
    p = command(commands, "verify", "whether alerts are missing, altered, repeated, reordered or made up", EXAMPLES)
    p.add_argument("--file", nargs="+", type=Path, metavar="FILE", help="exported alerts (NDJSON, .gz, .zst) instead of the topic")
    p.add_argument("--mixed", action="store_true", help="each FILE holds several partitions of the topic: check the order per employee")
    p.add_argument("--complete", action="store_true", help="nothing was deleted yet: the log must begin with the first alerts")
    p.add_argument("--head", type=Path, metavar="FILE", help="what `verify --json` printed earlier: the chains must go on from there")
    p.add_argument("--json", action="store_true", help="an object a task and line")
    setting(p, "--bootstrap-servers", "kafka.bootstrap_servers", "HOST:PORT,...", "the brokers")


def run(args: argparse.Namespace) -> int:
    from detector.core.chain import Verification

    verification = Verification(args.mixed and bool(args.file), args.complete)
    if args.head:
        _expect(verification, args.head)
    faults = 0
    first: Fault | None = None
    for origin, fault in _all(verification, _from_files(args.file) if args.file else _from_topic(args)):
        faults += 1
        if origin is None and (first is None or fault.order < first.order):
            first = fault
        note(
            printable(f"{_name(origin)}: {fault.what} {'(' + str(fault.place) + ') ' if fault.place else ''}{fault.kind}: {fault.message}")
        )
    results = [_result(origin, task) for origin, task in sorted(verification.tasks.items())]
    if args.json:
        for each in [*results, *([{"unknown": verification.unknown, "first_fault": _as_json(first)}] if first else [])]:
            sys.stdout.write(json.dumps(each, ensure_ascii=False) + "\n")
    else:
        _print(results, verification)
    if not verification.records:
        note("there are no records: nothing was verified")
    if faults:
        raise StateError(f"{faults} {'thing is' if faults == 1 else 'things are'} wrong with {verification.records:,} records")
    return 0


def _all(verification: Verification, batches: Iterator[tuple[str, str, Records, bool]]) -> Iterator[Found]:
    from detector.core.chain import Place

    begun: set[str] = set()
    for log, unit, records, cut in batches:
        if cut and log not in begun:
            verification.cut(int(records.timestamp[0]))
        begun.add(log)
        places = zip(records.offset.tolist(), records.timestamp.tolist(), strict=True)
        for row, (offset, time) in enumerate(places):
            at = offset + 1 if unit == "line" else offset
            yield from verification.add(Place(log, at, unit, time), records.part(records.value, row))
    yield from verification.finish()


def _from_topic(args: argparse.Namespace) -> Iterator[tuple[str, str, Records, bool]]:
    """Name of the log, what its places count, records, and whether some were deleted before its first one."""
    from detector.kafka.reader import Reader

    config = read(args).config
    with Reader(kafka_settings(config), config.topics.alerts) as reader, Progress("verifying", " records") as bar:
        bounds = reader.bounds()
        done, total = 0, sum(end - first for first, end in bounds.values())
        for records in reader.read():
            yield f"{records.topic}-{records.partition}", "offset", records, bounds[records.partition][0] > 0
            done += len(records)
            bar.update(done, total)


def _from_files(paths: list[Path]) -> Iterator[tuple[str, str, Records, bool]]:
    """All files side by side, so that alerts of one task in several of them are met in about their order."""
    from detector.files import read_events

    total = {path: path.stat().st_size for path in paths}
    done = dict.fromkeys(paths, 0)

    def reached(path: Path) -> Any:
        return lambda now, _: done.update({path: now})

    left = {path: read_events([path], reached(path)) for path in total}
    with Progress("verifying", "B") as bar:
        while left:
            path = min(left, key=lambda each: done[each] / max(total[each], 1))
            records = next(left[path], None)
            if records is None:
                del left[path]
                continue
            yield str(path), "line", records, False
            bar.update(sum(done.values()), sum(total.values()))


def _expect(verification: Verification, path: Path) -> None:
    from detector.core.chain import Place, read_head

    with closing(path.open("rb")) as file:
        for number, line in enumerate(file, 1):
            try:
                head = read_head(line) if line.strip() else None
            except ValueError as error:
                raise ConfigError(f"{path}: line {number}: {error}\ngive what `detector verify --json` printed") from error
            if head is not None:
                verification.expect(head, Place(str(path), number))


def _name(origin: Any) -> str:
    return "of no task" if origin is None else f"{origin.topic}-{origin.partition} ({origin.view})"


def _at(fault: Fault) -> str:
    return f" ({fault.place})" if fault.place else ""


def _result(origin: Any, task: Any) -> dict[str, Any]:
    seq, head = task.chain
    return {
        **origin._asdict(), "seq": seq, "head": head, "ok": not task.faults, "alerts": task.alerts, "first": task.links.first,
        "gone": task.links.gone, "heartbeats": task.heartbeats, "last_heartbeat": task.last.time if task.last else None,
        "longest_silence": task.silence[0], "silent_since": task.silence[1] or None, "heads_not_compared": task.links.uncompared,
        "faults": dict(task.faults), "first_fault": _as_json(task.first_fault),
    }  # fmt: skip


def _as_json(fault: Fault | None) -> dict[str, Any] | None:
    if fault is None:
        return None
    place = {"log": fault.place.log, fault.place.unit: fault.place.at} if fault.place else None
    return {"kind": fault.kind, "what": fault.what, "place": place, "message": fault.message}


def _print(results: list[dict[str, Any]], verification: Verification) -> None:
    rows = []
    for one in results:
        numbers = "" if one["first"] is None else f"{one['first']} to {one['seq'] - 1}"
        first = one["first_fault"]
        verdict = "right" if first is None else f"{sum(one['faults'].values())} faults, the first: {first['what']} {first['kind']}"
        beats = one["heartbeats"], _moment(one["last_heartbeat"]), f"{one['longest_silence'] / 1000:.0f} s"
        name = f"{one['topic']}-{one['partition']} ({one['view']})"
        rows.append([printable(str(cell)) for cell in (name, one["alerts"], numbers, one["head"][:12], *beats, verdict)])
    table(("TASK", "ALERTS", "NUMBERS", "HEAD", "HEARTBEATS", "LAST", "LONGEST SILENCE", "VERDICT"), rows)
    if gone := sum(one["gone"] for one in results):
        say(f"{gone:,} alerts are no longer in the log, which begins later; with --complete that is a fault")
    if uncompared := sum(one["heads_not_compared"] for one in results):
        say(f"{uncompared:,} statements on the head of a chain could not be compared: their alerts are gone")
    if verification.unknown:
        say(f"{verification.unknown:,} records are in no chain")


def _moment(ms: int | None) -> str:
    try:
        return "never" if ms is None else datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
    except (ValueError, OverflowError, OSError):
        return str(ms)
