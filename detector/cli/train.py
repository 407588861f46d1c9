"""`detector train`: recorded events -> a model in a registry."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from detector.cli import refreshing
from detector.cli.history import add_range, add_sources, note_refused, records_of
from detector.cli.output import note, say
from detector.cli.settings import Commands, command, context_of, limits_of, read, setting
from detector.cli.verdicts import add_cases, cases_of
from detector.errors import ConfigError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from numpy.typing import NDArray

    from detector.config import Config
    from detector.core.context import Context
    from detector.core.exclusions import Exclusions
    from detector.core.model import Model
    from detector.core.verdicts import Case
    from detector.shards import Crew, Task
    from detector.training import Report

EXAMPLES = """\
  detector train --events history.ndjson.zst --context config/context --out models
  detector train --events 2026-*.ndjson --context ctx --until 2026-03-01T00:00:00Z --out models
  detector train --events archive/*.parquet --context ctx --out models
  detector train --from-topic --from 2026-01-01T00:00:00Z --context ctx --out models
  detector train --events archive/*.parquet --context ctx --cluster tcp://scheduler:8786 --out models
  detector train --refresh --from-daily topic --context ctx --out models"""

FOREST_SEED = 0


def add(commands: Commands) -> None:
    p = command(commands, "train", "learn from recorded events what is usual, and write a model into a registry", EXAMPLES)
    source = add_sources(p)
    add_range(p)
    refreshing.add_refresh(p, source)
    p.add_argument("--exclude", nargs="+", type=Path, default=[], metavar="FILE", help="CSV of employees, and times, not to learn from")
    p.add_argument("--exclude-leavers", action="store_true", help="nor from the last weeks of those who left, as the directory says")
    add_cases(p)
    p.add_argument("--out", type=Path, required=True, metavar="DIR", help="the registry; the first version in it becomes the champion")
    p.add_argument("--sign-with", type=Path, metavar="FILE", help="sign the model with this private key, as `models sign` does")
    p.add_argument("--jobs", type=int, default=1, metavar="N", help="processes that share the work; the result never depends on it")
    p.add_argument("--cluster", metavar="ADDRESS", help="a Dask scheduler, tcp://HOST:8786: its workers share the work instead")
    p.add_argument("--seed", type=int, default=FOREST_SEED, help=f"of the forest's random choices (default {FOREST_SEED})")
    setting(p, "--context", "context.folder", "DIR", "folder with directory.csv and the like")
    setting(p, "--hypotheses", "detection.hypotheses", "NAME,...", "those to use; default: all that can see anything")


def run(args: argparse.Namespace) -> int:
    config = read(args).config
    if args.jobs < 1:
        raise ConfigError("--jobs: give 1 or more")
    if args.cluster and args.jobs > 1:
        raise ConfigError("--cluster: its workers share the work; leave --jobs out")
    context, save = context_of(config), partial(_save, args.out, _key(args.sign_with))
    cases = cases_of(args)
    excluded = _excluded(args, context, cases)
    if args.refresh or args.from_daily:
        return refreshing.refresh(args, config, context, excluded, save)
    return _train(args, config, context, excluded, () if args.no_weights else cases, save)


def _train(
    args: argparse.Namespace, config: Config, context: Context, excluded: Exclusions, cases: Sequence[Case], save: Callable[..., str]
) -> int:
    from detector import training
    from detector.core import hypotheses
    from detector.core.views import EMPLOYEE
    from detector.shards import Task

    names = _chosen(config.detection.hypotheses or hypotheses.names(), context)
    task = Task(EMPLOYEE, names, context, limits_of(config), args.begin, args.until, excluded, args.seed)
    with _crew(task, args.jobs, args.cluster) as (crew, shards):
        model, report = training.train_records(records_of(args, config, "learning"), task, crew, shards, cases)
    version = save(model, *training.artefact(model, report, args.seed))
    for line in context.missing():
        note(line)
    for name in report.off:
        note(f"hypothesis {name} is off: the history never says why somebody's data was opened (no purpose, no assignment)")
    _say_report(args.out, version, model, report)
    return 0


@contextmanager
def _crew(task: Task, jobs: int, cluster: str | None) -> Iterator[tuple[Crew, int]]:
    """Who does the work, and how many shards they have."""
    from detector.shards import Here

    if cluster:
        from detector.cluster import Cluster

        with closing(Cluster(task, cluster)) as far:
            yield far, len(far)
    elif jobs > 1:
        from detector.processes import Processes

        with closing(Processes(task, jobs)) as near:
            yield near, jobs
    else:
        yield Here(task), 1


def _key(path: Path | None) -> Ed25519PrivateKey | None:
    """Read before hours of work, not after."""
    from detector.registry import read_private_key

    return read_private_key(path) if path else None


def _save(
    out: Path, key: Ed25519PrivateKey | None, model: Model, arrays: Mapping[str, NDArray[Any]], manifest: Mapping[str, Any], why: str = ""
) -> str:
    """Into the registry, with its card, and signed if there is a key."""
    from detector import registry
    from detector.cards import CARD, card_of

    text, pictures = card_of(model, manifest)
    return registry.save(out, arrays, manifest, files={CARD: text.encode(), **pictures}, key=key, why=why)


def _say_report(out: Path, version: str, model: Model, report: Report) -> None:
    from detector.core.frame import DAY

    days, held = (report.last - report.first) / DAY, (report.last - report.held_from) / DAY
    say(f"model {version} in {out}")
    say(f"  learned from {report.events:,} events of {report.employees:,} employees over {days:.0f} days; {held:.0f} held out to calibrate")
    say(f"  {report.repeated:,} repeated events counted once; hypotheses: {', '.join(h.name for h in model.hypotheses)}")
    if report.excluded:
        say(f"  {report.excluded:,} events were not learned from, as told")
    for line in report.weights:
        say(f"  weight of {line}")
    note_refused(report.refused)


def _excluded(args: argparse.Namespace, context: Context, cases: Sequence[Case]) -> Exclusions:
    """What is not to be learned from."""
    from detector.core.exclusions import Exclusions, around, leavers, listed
    from detector.core.verdicts import confirmed

    spans = [*around(confirmed(cases)), *(leavers(context) if args.exclude_leavers else ())]
    for path in args.exclude:
        try:
            spans += listed(path.name, path.read_bytes())
        except OSError as error:
            raise ConfigError(f"{path}: cannot be read ({error.strerror}); give a CSV file with the column `employee`") from error
    return Exclusions.of(spans)


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
