"""`detector train`: recorded events -> a model in a registry."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from detector.cli.output import note, say
from detector.cli.progress import Progress
from detector.cli.settings import Commands, command, context_of, limits_of, moment, read, setting
from detector.errors import ConfigError

if TYPE_CHECKING:
    from detector.core.context import Context
    from detector.core.events import EventBatch
    from detector.core.formats.native import Limits

EXAMPLES = """\
  detector train --events history.ndjson.zst --context config/context --out models
  detector train --events 2026-*.ndjson --context ctx --until 2026-03-01T00:00:00Z --out models"""

FOREST_SEED = 0


def add(commands: Commands) -> None:
    p = command(commands, "train", "learn from recorded events what is usual, and write a model into a registry", EXAMPLES)
    p.add_argument("--events", nargs="+", type=Path, required=True, metavar="FILE", help="NDJSON, .gz or .zst, in order of time")
    p.add_argument("--until", type=moment, metavar="TIME", help="learn only from events before it (RFC 3339 or ms)")
    p.add_argument("--out", type=Path, required=True, metavar="DIR", help="the registry; the first version in it becomes the champion")
    p.add_argument("--jobs", type=int, default=1, metavar="N", help="processes; one for now, and the result never depends on it")
    p.add_argument("--seed", type=int, default=FOREST_SEED, help=f"of the forest's random choices (default {FOREST_SEED})")
    setting(p, "--context", "context.folder", "DIR", "folder with directory.csv and the like")
    setting(p, "--hypotheses", "detection.hypotheses", "NAME,...", "those to use; default: all that can see anything")


def run(args: argparse.Namespace) -> int:
    from detector import registry, training
    from detector.core import hypotheses
    from detector.core.frame import DAY
    from detector.core.views import EMPLOYEE

    config = read(args).config
    context, limits = context_of(config), limits_of(config)
    refused: Counter[str] = Counter()
    names = _chosen(config.detection.hypotheses or hypotheses.names(), context)
    events = decoded(args.events, limits, "learning", refused)
    model, report = training.train(events, EMPLOYEE, names, context, args.until, args.seed, max_keys=10_000_000)
    version = registry.save(args.out, *training.artefact(model, report, args.seed))
    for line in context.missing():
        note(line)
    for name in report.off:
        note(f"hypothesis {name} is off: the history never says why somebody's data was opened (no purpose, no assignment)")
    days, held = (report.last - report.first) / DAY, (report.last - report.held_from) / DAY
    say(f"model {version} in {args.out}")
    say(f"  learned from {report.events:,} events of {report.employees:,} employees over {days:.0f} days; {held:.0f} held out to calibrate")
    say(f"  {report.repeated:,} repeated events counted once; hypotheses: {', '.join(h.name for h in model.hypotheses)}")
    note_refused(refused)
    return 0


def _chosen(names: Sequence[str], context: Context) -> tuple[str, ...]:
    """The hypotheses to train: those that can see anything with the context there is."""
    from detector.core import hypotheses

    unknown = [name for name in names if name not in hypotheses.names()]
    if unknown:
        raise ConfigError(f"detection.hypotheses: there is no '{unknown[0]}'; there are {', '.join(hypotheses.names())}")
    blind = {name: needs for name in names if (needs := hypotheses.find(name).needs) and set(needs) <= set(context.absent)}
    for name, needs in blind.items():
        note(f"hypothesis {name} is off: it needs {' or '.join(needs)}")
    if not (seeing := tuple(name for name in names if name not in blind)):
        raise ConfigError("detection.hypotheses: none of those chosen can see anything with this context; add `general`, say")
    return seeing


def decoded(paths: list[Path], limits: Limits, doing: str, refused: Counter[str]) -> Iterator[EventBatch]:
    """Recorded events as batches, with a progress bar; what is refused is counted by reason."""
    from detector.core.formats.native import decode
    from detector.files import read_events

    with Progress(doing, "B") as bar:
        for records in read_events(paths, bar.update):
            batch = decode(records, limits)
            refused.update(letter.reason for letter in batch.dead)
            yield batch


def note_refused(refused: Counter[str]) -> None:
    """Says how many records were refused, by reason."""
    if refused:
        counts = ", ".join(f"{n} {why}" for why, n in refused.most_common())
        note(f"{sum(refused.values()):,} records refused: {counts}")
