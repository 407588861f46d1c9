"""`detector train --refresh`: the nightly kind of training, from daily records. What events taught of signals and the forest is kept."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from detector.cli.output import note, say
from detector.cli.progress import Progress
from detector.cli.settings import kafka_settings, trust_of
from detector.errors import ConfigError

if TYPE_CHECKING:
    from detector.config import Config
    from detector.core.context import Context
    from detector.core.exclusions import Exclusions
    from detector.renewal import Renewed

TOPIC = "topic"
SHOWN = 10


def add_refresh(p: argparse.ArgumentParser, source: argparse._MutuallyExclusiveGroup) -> None:
    p.add_argument("--refresh", action="store_true", help="renew a model from daily records: what is usual, and how rare scores are")
    source.add_argument("--from-daily", metavar="topic|FILE", help="with --refresh: the topic of daily records, or a file of --keep-daily")
    p.add_argument("--keep-daily", type=Path, metavar="FILE", help="with --refresh: write the daily records that were read into a file")
    p.add_argument("--parent", default="champion", metavar="MODEL", help="with --refresh: the model to renew (default champion)")


def refresh(args: argparse.Namespace, config: Config, context: Context, excluded: Exclusions, save: Callable[..., str]) -> int:
    """Writes a version whose parent is the model that was refreshed. `save`: (model, arrays, manifest, why) -> version."""
    from detector import registry
    from detector.core.daily_blocks import collect
    from detector.core.model import Model
    from detector.core.strings import hash_strings
    from detector.core.views import EMPLOYEE
    from detector.renewal import artefact, renew

    if not (args.refresh and args.from_daily):
        raise ConfigError("--refresh and --from-daily go together: daily records renew a model, events make one")
    arrays, parent = registry.load(args.out, args.parent, trust_of(config))
    model = Model.from_arrays(EMPLOYEE.name, EMPLOYEE.names, arrays, parent["views"][EMPLOYEE.name])
    days, missing = collect(_blocks(args, config), EMPLOYEE.name, config.topics.events)
    for sentence in missing:
        note(f"daily records: {sentence}; the rest of the day is learned from without them")
    made = renew(model, parent, days, excluded)
    teams = sorted({team for known in context.employees.values() for _, team, _ in known.posts if team})
    arrays, manifest = artefact(made, dict(zip(hash_strings(teams).tolist(), teams, strict=True)))
    if registry.version_of(arrays) == parent["version"]:
        say(f"model {parent['version']} in {args.out}\n  the records teach it nothing new")
        return 0
    version = save(made.model, arrays, manifest, f"refreshed from {parent['version']}")
    say(f"model {version} in {args.out}")
    say(f"  refreshed from {parent['version']}: {made.records:,} daily records of {made.employees:,} employees on {made.days[0]} days")
    _say_more(made, manifest["refresh"]["held_back"])
    return 0


def _say_more(made: Renewed, held: list[dict[str, Any]]) -> None:
    if made.excluded:
        say(f"  {made.excluded:,} records were left out, as told")
    if made.unfit:
        note(f"{made.unfit} days are not learned from: their records are of a model with other hypotheses")
    nights = "one night" if made.nights == 1 else f"{made.nights} nights"
    say(f"  {len(made.moves.teams) - len(held)} teams moved as far as they did; {len(held)} held back at what {nights} may bring")
    for team in held[:SHOWN]:
        say(f"    {team['team']}: {team['times']:g} times as far, most in {team['in']}")
    if len(held) > SHOWN:
        say(f"    and {len(held) - SHOWN} more, named in the manifest")


def _blocks(args: argparse.Namespace, config: Config) -> Iterable[bytes]:
    """Daily records as they were written, block by block; kept in a file where one is named."""
    from detector.files import read_blocks, write_blocks

    blocks = _from_topic(config) if args.from_daily == TOPIC else read_blocks(Path(args.from_daily))
    if args.keep_daily is None:
        return blocks
    write_blocks(args.keep_daily, blocks)
    return read_blocks(args.keep_daily)


def _from_topic(config: Config) -> Iterator[bytes]:
    from detector.kafka.reader import Reader

    with closing(Reader(kafka_settings(config), config.topics.daily)) as reader, Progress("reading daily records", " blocks") as bar:
        total, done = sum(end - first for first, end in reader.bounds().values()), 0
        for records in reader.read():
            for row in range(len(records)):
                if (value := records.part(records.value, row)) is not None:
                    yield value
            done += len(records)
            bar.update(done, total)
