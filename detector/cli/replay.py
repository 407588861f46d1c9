"""`detector replay`: recorded events through the live pipeline, without Kafka."""

from __future__ import annotations

import argparse
import contextlib
import csv
from collections import Counter
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from detector.cli.history import add_sources, events_of, note_refused
from detector.cli.output import note
from detector.cli.settings import Commands, command, contexts_of, moment, read, setting, trust_of
from detector.errors import ConfigError, ContextError

if TYPE_CHECKING:
    from collections.abc import Callable

    from detector.config import Config
    from detector.contexts import Contexts
    from detector.core.model import Model
    from detector.core.pipeline import InForce
    from detector.replay import Changes, Replayed

EXAMPLES = """\
  detector replay --events history.ndjson.zst new.ndjson --from 2026-03-01T00:00:00Z --context ctx --models models --alerts alerts.ndjson
  detector replay --events events.ndjson --context ctx --models models --budget 10 --alerts a.ndjson --scores scores.csv"""

CHANGES = "play the changes that a service told of: its log, or NDJSON of view, partition, offset, and model or context; no refresh"
REFRESH = "nightly: at each day's turn what is usual is learned anew, from the days before (default); none: the model stays as it is"


def add(commands: Commands) -> None:
    p = command(commands, "replay", "play recorded events through the pipeline that `serve` runs, without Kafka", EXAMPLES)
    add_sources(p)
    p.add_argument("--from", type=moment, default=0, dest="since", metavar="TIME", help="alerts and scores start here; all build state")
    p.add_argument("--partitions", type=int, default=1, metavar="N", help="of the topic that the files stand for (default 1)")
    p.add_argument("--refresh", choices=["nightly", "none"], default="nightly", help=REFRESH)
    p.add_argument("--changes", type=Path, metavar="FILE", help=CHANGES)
    p.add_argument("--alerts", type=Path, required=True, metavar="FILE", help="NDJSON of alerts")
    p.add_argument("--notables", type=Path, metavar="FILE", help="NDJSON of near misses")
    p.add_argument("--scores", type=Path, metavar="FILE", help="CSV with a row an event")
    setting(p, "--context", "context.folder", "DIR", "folder with directory.csv and the like")
    setting(p, "--models", "models.registry", "DIR", "the registry; its champion is used")
    setting(p, "--budget", "detection.budget", "N", "false alerts per 1,000 employee-days to aim at")
    setting(p, "--topic", "topics.events", "NAME", "name of the topic that the files stand for")


def run(args: argparse.Namespace) -> int:
    from detector.core.pipeline import InForce, Pipeline, Policy
    from detector.core.views import EMPLOYEE
    from detector.files import whole_file
    from detector.replay import replay

    if args.partitions < 1:
        raise ConfigError("--partitions: a topic has at least one")
    config = read(args).config
    contexts, load = contexts_of(config), _loading(config)
    context, model = contexts.read().context, load(config.models.use)
    policy = Policy(config.detection.budget, args.since, round(config.input.max_age * 1000))
    refused: Counter[str] = Counter()
    events = alerts = 0
    with contextlib.ExitStack() as stack:
        out = stack.enter_context(whole_file(args.alerts))
        near = stack.enter_context(whole_file(args.notables)) if args.notables else None
        table = _Scores(stack.enter_context(args.scores.open("w", newline="")), args.since) if args.scores else None
        played = replay(
            events_of(args, config, "replaying", refused),
            lambda: Pipeline(EMPLOYEE, model, context, policy, config.detection.max_keys),
            config.topics.events,
            args.partitions,
            nightly=args.refresh == "nightly" and args.changes is None,
            changes=_changes(args.changes, load, contexts, InForce.of(model, context)) if args.changes else {},
        )
        for part in played:
            events += len(part.batch)
            alerts += len(part.outcome.alerts)
            out.writelines(value + b"\n" for _, value in part.outcome.alerts)
            if near is not None:
                near.writelines(value + b"\n" for _, value in part.outcome.notables)
            if table is not None:
                table.write(part)
    note(f"{events:,} events, {alerts:,} alerts in {args.alerts}")
    note_refused(refused)
    return 0


def _loading(config: Config) -> Callable[[str], Model]:
    from detector.core.views import EMPLOYEE
    from detector.registry import load_model

    registry, trust = Path(config.models.registry), trust_of(config)
    return lambda which: load_model(registry, which, EMPLOYEE.name, EMPLOYEE.names, trust)


def _changes(path: Path, load: Callable[[str], Model], contexts: Contexts, first: InForce) -> dict[int, Changes]:
    """By partition; `first` is in force before. Raises ConfigError for a file that tells of none, ModelError and ContextError for a version
    that is not there.
    """
    from detector.changes import read_changes
    from detector.core.framing import Framer
    from detector.core.pipeline import InForce

    models, framers = {first.model.version: first.model}, {first.context.version: first.framer}

    def model(version: str) -> Model:
        return models.setdefault(version, models.get(version) or load(version))

    def framer(version: str) -> Framer:
        if version not in framers:
            if (context := contexts.find(version)) is None:
                raise ContextError(
                    f"context {version}, which {path} names, is not to be had\nname the folder it was kept in (context.history)"
                )
            framers[version] = InForce.of(first.model, context).framer
        return framers[version]

    found: dict[int, Changes] = {}
    for partition, some in read_changes(path, "employee").items():
        what, played = first, []
        for change in some:
            what = InForce(model(change.model) if change.model else what.model, framer(change.context) if change.context else what.framer)
            played.append((change.offset, what))
        found[partition] = played
    return found


class _Scores:
    """CSV `event_id,time,actor,view,score,rarity,forest` of every event from a time on; repeated events have no score of their own."""

    def __init__(self, file: IO[str], since: int) -> None:
        self._csv, self._since = csv.writer(file, lineterminator="\n"), since
        self._csv.writerow(("event_id", "time", "actor", "view", "score", "rarity", "forest"))

    def write(self, part: Replayed) -> None:
        batch: Any = part.batch
        for scores in part.outcome.scores:
            columns = (c.tolist() for c in (scores.row, scores.score, scores.rarity, scores.forest))
            for row, score, rarity, forest in zip(*columns, strict=True):
                event, time = batch.rows[row], int(batch.time[row])
                if time >= self._since:
                    self._csv.writerow((event.event_id, time, event.actor, "employee", f"{score:.6g}", f"{rarity:.6g}", f"{forest:.6g}"))
