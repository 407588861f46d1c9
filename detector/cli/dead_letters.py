"""`detector dead-letters`: list, show, replay."""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, NamedTuple

from detector.cli.output import note, printable, say
from detector.cli.progress import Progress
from detector.cli.settings import Commands, command, kafka_settings, limits_of, moment, read, setting, verbs
from detector.errors import ConfigError

if TYPE_CHECKING:
    from detector.config import Config
    from detector.core.events import DeadLetter
    from detector.core.formats.native import Limits

WIDE = 1 << 14
LIST = """\
  detector dead-letters list --since 2026-03-02T00:00:00Z
  detector dead-letters list --reason key-mismatch --json"""
SHOW = """\
  detector dead-letters show access-events-3 103
  detector dead-letters show access-events-3 103 --raw > record.bin"""
REPLAY = """\
  detector dead-letters replay --reason unknown-value --dry-run
  detector dead-letters replay --partition 3 --offset 103 --yes"""


def add(commands: Commands) -> None:
    family = verbs(commands, "dead-letters", "what was refused: look at it, and send it again once what refused it is mended")
    listed = command(family, "list", "which records were refused, and why", LIST)
    shown = command(family, "show", "print the bytes of a record that was refused", SHOW)
    again = command(family, "replay", "send refused records to the topic of events again, if they would be taken now", REPLAY)
    for verb, run in ((listed, list_), (shown, show), (again, replay)):
        setting(verb, "--bootstrap-servers", "kafka.bootstrap_servers", "HOST:PORT,...", "the brokers")
        verb.set_defaults(run=run)
    for verb in (listed, again):
        verb.add_argument("--reason", nargs="+", default=(), metavar="CODE", help="refused for one of these")
        verb.add_argument("--partition", nargs="+", type=int, default=(), metavar="N", help="of these partitions of the events")
        verb.add_argument("--since", type=moment, default=0, metavar="TIME", help="refused at this time or later")
    listed.add_argument("--json", action="store_true", help="an object a line")
    shown.add_argument("place", metavar="TOPIC-PARTITION", help="where the refused record stands")
    shown.add_argument("offset", type=int, metavar="OFFSET")
    shown.add_argument("--raw", action="store_true", help="the bytes of its value as they are, and nothing else")
    again.add_argument("--offset", nargs="+", type=int, default=(), metavar="N", help="those with these offsets")
    again.add_argument("--dry-run", action="store_true", help="say what would be sent")
    again.add_argument("--force", action="store_true", help="send also what would be refused again")
    again.add_argument("--yes", action="store_true", help="do not ask")


class Found(NamedTuple):
    """A dead letter, and where it is itself."""

    letter: DeadLetter
    refused: int
    """Ms, by the broker's clock."""
    partition: int
    offset: int


def list_(args: argparse.Namespace) -> int:
    _known(args.reason)
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else WIDE
    counts: Counter[str] = Counter()
    for found in _letters(read(args).config):
        letter = found.letter
        if not _is_chosen(args, found):
            continue
        if not counts and not args.json:
            say(_row("REFUSED", "REASON", "RECORD", "POINTER", "MESSAGE")[:width])
        counts[letter.reason] += 1
        if args.json:
            told = {name: getattr(letter, name) for name in ("reason", "topic", "partition", "offset", "timestamp", "pointer", "message")}
            sys.stdout.write(json.dumps({"refused": found.refused, **told}) + "\n")
        else:
            place = f"{letter.topic}-{letter.partition}@{letter.offset}"
            say(printable(_row(_moment(found.refused), letter.reason, place, letter.pointer, letter.message))[:width])
    for reason, count in counts.most_common():
        (note if args.json else say)(f"{count:>9,}  {printable(reason)}")
    if not counts:
        note("there are none")
    return 0


def show(args: argparse.Namespace) -> int:
    from detector.core.dead_letters import headers_of, is_cut

    topic, _, partition = args.place.rpartition("-")
    if not topic or not partition.isdecimal():
        raise ConfigError(f"'{args.place}' is not TOPIC-PARTITION; `detector dead-letters list` shows where each record stands")
    wanted = (topic, int(partition), args.offset)
    some = (f.letter for f in _letters(read(args).config) if (f.letter.topic, f.letter.partition, f.letter.offset) == wanted)
    letter = next(some, None)
    if letter is None:
        raise ConfigError(f"no dead letter is of {args.place} at offset {args.offset}; `detector dead-letters list` shows which there are")
    if args.raw:
        sys.stdout.buffer.write(letter.value or b"")
        sys.stdout.buffer.flush()
        return 0
    say(f"record     {printable(letter.topic)}-{letter.partition} at offset {letter.offset}, {_moment(letter.timestamp)}")
    say(f"refused    {printable(letter.reason)} {printable(letter.pointer)}".rstrip())
    say(f"           {printable(letter.message)}")
    say(f"key        {_text(letter.key)}")
    try:
        headers = [] if is_cut(letter) else headers_of(letter)
        for name, value in headers:
            say(f"header     {printable(name)}: {_text(value)}")
    except ValueError:
        say(f"headers    {_text(letter.headers)}")
    say(f"value      {_text(letter.value)}")
    return 0


def replay(args: argparse.Namespace) -> int:
    """Twice over the dead letters: to see what would be sent, and to send it."""
    from detector.kafka.producer import Producer

    _known(args.reason)
    config = read(args).config
    sends, ends = _weigh(args, config)
    if args.dry_run or not sends:
        note(f"{sends:,} {'would be' if args.dry_run else 'are'} sent")
        return 0
    if not args.yes and sys.stdin.isatty() and not _agrees(f"send {sends:,} records to '{config.topics.events}'?"):
        note("nothing was sent")
        return 0
    with Producer(kafka_settings(config)) as producer:
        sent = 0
        for letter, why in _judged(args, config, ends):
            if not why:
                producer.send(config.topics.events, letter.key, letter.value, headers=_headers(letter) or ())
                sent += 1
                if sent % 1000 == 0:
                    producer.flush(60.0)
        producer.flush(60.0)
    say(f"{sent:,} records sent to '{config.topics.events}', each at a new offset")
    return 0


def _weigh(args: argparse.Namespace, config: Config) -> tuple[int, dict[int, int]]:
    """How many would be sent, and up to which offset of each partition the dead letters were looked at. Says what would not be sent."""
    sends, ends, kept = 0, dict[int, int](), Counter[str]()
    for letter, why in _judged(args, config, ends):
        sends += not why
        kept[why] += bool(why)
        if args.dry_run:
            say(printable(f"{letter.topic}-{letter.partition}@{letter.offset}  {letter.reason}: {why or 'would be sent'}"))
    for why, count in (+kept).most_common():
        note(f"{count:,} are not sent: {printable(why)}")
    return sends, ends


def _judged(args: argparse.Namespace, config: Config, ends: dict[int, int]) -> Iterator[tuple[DeadLetter, str]]:
    """The letters that were chosen, and for each why it cannot be sent, or nothing. `ends` limits them; an empty one is filled."""
    limits, seen, learn = limits_of(config), set[tuple[int, int]](), not ends
    for found in _letters(config):
        if learn:
            ends[found.partition] = found.offset
        elif found.offset > ends.get(found.partition, -1):
            continue
        if not _is_chosen(args, found) or (args.offset and found.letter.offset not in args.offset):
            continue
        place = found.letter.partition, found.letter.offset
        if found.letter.topic == config.topics.events and place not in seen:
            seen.add(place)
            yield found.letter, _obstacle(found.letter, limits, args.force)


def _obstacle(letter: DeadLetter, limits: Limits, force: bool) -> str:
    """Why the record cannot be sent again, or would be refused again; empty where nothing is in the way."""
    from detector.core.dead_letters import MOST, is_cut
    from detector.core.formats.native import decode
    from detector.kafka.records import convert

    if is_cut(letter):
        return f"only their first {MOST >> 20} MiB are in the dead letter; the records are in the topic of events, while that keeps them"
    if letter.reason == "malformed-record":
        return "their framing is damaged, so that nobody knows which bytes are the key and which the value"
    if letter.key is None and letter.value is None:
        return "they have neither key nor value"
    if _headers(letter) is None:
        return "a header's name is not UTF-8, or its value is null, which kafka-python cannot send"
    if force:
        return ""
    record = SimpleNamespace(key=letter.key, value=letter.value, headers=(), offset=letter.offset, timestamp=time.time_ns() // 1_000_000)
    again = decode(convert(letter.topic, letter.partition, [record]), limits).dead
    return f"they would be refused again, for {again[0].reason} (--force sends them all the same)" if again else ""


def _headers(letter: DeadLetter) -> list[tuple[str, bytes]] | None:
    """None where they cannot be sent again as they were."""
    from detector.core.dead_letters import headers_of

    try:
        found = headers_of(letter)
    except ValueError:
        return None
    return [(name, value) for name, value in found if value is not None] if all(value is not None for _, value in found) else None


def _letters(config: Config) -> Iterator[Found]:
    from detector.core.dead_letters import parse
    from detector.kafka.reader import Reader

    foreign = 0
    with Reader(kafka_settings(config), config.topics.dead_letters) as reader, Progress("reading dead letters", " records") as bar:
        done, total = 0, sum(end - first for first, end in reader.bounds().values())
        for records in reader.read():
            for row in range(len(records)):
                try:
                    letter = parse(records.part(records.value, row) or b"")
                except ValueError:
                    foreign += 1
                    continue
                yield Found(letter, int(records.timestamp[row]), records.partition, int(records.offset[row]))
            done += len(records)
            bar.update(done, total)
    if foreign:
        note(f"{foreign:,} records of '{config.topics.dead_letters}' are no dead letters")


def _is_chosen(args: argparse.Namespace, found: Found) -> bool:
    letter = found.letter
    if (args.reason and letter.reason not in args.reason) or (args.partition and letter.partition not in args.partition):
        return False
    since: int = args.since
    return found.refused >= since


def _known(reasons: Iterable[str]) -> None:
    from detector.core.dead_letters import REASONS

    if wrong := [reason for reason in reasons if reason not in REASONS]:
        raise ConfigError(f"'{wrong[0]}' is no reason; there are {', '.join(REASONS)}")


def _agrees(question: str) -> bool:
    sys.stderr.write(f"{question} [y/N] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _row(*cells: str) -> str:
    return "  ".join(cell.ljust(width) for cell, width in zip(cells, (20, 18, 28, 16, 0), strict=True)).rstrip()


def _moment(ms: int) -> str:
    try:
        return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (ValueError, OverflowError, OSError):
        return str(ms)


def _text(part: bytes | None) -> Any:
    return "(null)" if part is None else printable(part.decode("utf-8", "backslashreplace"))
