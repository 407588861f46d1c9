"""Recorded events for a command: from files, from an archive behind SQL, or from the topic itself; with a progress bar."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from detector.cli.output import note
from detector.cli.progress import Progress
from detector.cli.settings import kafka_settings, limits_of, moment, setting

if TYPE_CHECKING:
    from detector.config import Config
    from detector.core.events import EventBatch, Records

EVENTS = "NDJSON (.gz, .zst) in order of time; or .parquet, or folders of it, in any order; several are one log"
QUERY = "what DuckDB answers to this is the events: a column for each member, or the JSON in one named `value`; in any order"
FROM_TOPIC = "the topic of events, all that is in it now"


def add_sources(parser: argparse.ArgumentParser) -> argparse._MutuallyExclusiveGroup:
    """Where the events come from; exactly one must be given. A command may add a source of its own."""
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--events", nargs="+", type=Path, metavar="FILE", help=EVENTS)
    source.add_argument("--query", metavar="SQL", help=QUERY)
    source.add_argument("--from-topic", action="store_true", help=FROM_TOPIC)
    setting(parser, "--bootstrap-servers", "kafka.bootstrap_servers", "HOST:PORT,...", "the brokers, with --from-topic")
    return source


def add_range(parser: argparse.ArgumentParser) -> None:
    """Which of the events: by their own times, wherever they come from."""
    parser.add_argument("--from", type=moment, default=0, dest="begin", metavar="TIME", help="only events at it or after (RFC 3339 or ms)")
    parser.add_argument("--until", type=moment, metavar="TIME", help="only events before it (RFC 3339 or ms)")


def events_of(args: argparse.Namespace, config: Config, doing: str, refused: Counter[str]) -> Iterator[EventBatch]:
    """What `add_sources` and `add_range` were told, decoded; what is refused is counted by reason."""
    import numpy as np

    from detector.core.formats.native import decode

    begin, until, limits = *_range(args), limits_of(config)
    for records in records_of(args, config, doing):
        batch = decode(records, limits)
        refused.update(letter.reason for letter in batch.dead)
        outside = (batch.time < begin) | (batch.time >= until)
        yield batch.take(np.flatnonzero(~outside)) if outside.any() else batch


def records_of(args: argparse.Namespace, config: Config, doing: str) -> Iterator[Records]:
    """The same before decoding, with a progress bar `doing`. All of it is one log, in whose order an employee's events come.

    Sources leave out what they can of events outside the range, not all: whoever decodes does the rest. Raises ConfigError, BrokerError.
    """
    unit = "B" if args.events and not _is_parquet(args.events[0]) else " records"
    with Progress(doing, unit) as bar:
        if args.from_topic:
            yield from _from_topic(args, config, bar)
        elif args.query:
            from detector import archive

            yield from archive.read_query(args.query, *_range(args), bar.update)
        else:
            yield from _from_files(args, bar)


def _range(args: argparse.Namespace) -> tuple[int, int]:
    """Ms; the second is exclusive. A command without `add_range` reads everything."""
    until = getattr(args, "until", None)
    return getattr(args, "begin", 0), 1 << 62 if until is None else until


def _from_files(args: argparse.Namespace, bar: Progress) -> Iterator[Records]:
    from detector.files import read_events

    for parquet, paths in groupby(args.events, _is_parquet):
        if parquet:
            from detector import archive

            yield from archive.read_parquet(list(paths), *_range(args), bar.update)
        else:
            yield from read_events(list(paths), bar.update)


def _is_parquet(path: Path) -> bool:
    return path.suffix == ".parquet" or path.is_dir()


def _from_topic(args: argparse.Namespace, config: Config, bar: Progress) -> Iterator[Records]:
    from detector.kafka.reader import Reader

    with Reader(kafka_settings(config), config.topics.events) as reader:
        yield from reader.merged(limits_of(config), *_range(args), bar.update)


def note_refused(refused: Counter[str]) -> None:
    """Says how many records were refused, by reason."""
    if refused:
        counts = ", ".join(f"{n} {why}" for why, n in refused.most_common())
        note(f"{sum(refused.values()):,} records refused: {counts}")
