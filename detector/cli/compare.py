"""`detector models compare`: two models on the same events; whom people would be told about, and whether one may take the other's place."""

from __future__ import annotations

import argparse
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from detector.cli.history import add_sources, events_of, note_refused
from detector.cli.output import as_json, note, printable, say, table
from detector.cli.settings import Commands, command, context_of, moment, read, setting, trust_of

if TYPE_CHECKING:
    from detector.config import Config
    from detector.core.comparison import Comparison, Days, Person

EXAMPLES = """\
  detector models compare champion 3f9c2a71d04b --events history.ndjson.zst --context ctx
  detector models compare champion challenger --events 2026-*.ndjson --from 2026-03-01T00:00:00Z --plot compare.svg --gate"""

WHICH = "version, champion or challenger"
BARRED = 1
"""Exit code of --gate where the second model is not to take the first one's place."""
SHOWN = 20


def add_verb(family: Commands) -> None:
    p = command(family, "compare", "play two models over the same events, and say what would change", EXAMPLES)
    p.add_argument("first", metavar="A", help=f"the model in use: {WHICH}")
    p.add_argument("second", metavar="B", help="the one that may take its place")
    add_sources(p)
    p.add_argument(
        "--from", type=moment, dest="since", metavar="TIME", help="the first day compared; all events build state. Default: 7 days"
    )
    p.add_argument("--plot", type=Path, metavar="FILE", help="a picture: .svg, .png or .pdf")
    p.add_argument("--json", action="store_true", help="for programs")
    p.add_argument("--gate", action="store_true", help=f"exit with {BARRED} where B is beyond the limits of the settings' section [gate]")
    setting(p, "--models", "models.registry", "DIR", "the registry")
    setting(p, "--context", "context.folder", "DIR", "folder with directory.csv and the like")
    setting(p, "--budget", "detection.budget", "N", "false alerts per 1,000 employee-days to aim at")
    p.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from detector.core.comparison import Limits, gate
    from detector.pictures import kind_of

    kind = kind_of(args.plot.name) if args.plot else ""
    config = read(args).config
    found, days = _played(args, config)
    limits = Limits(config.gate.rate, config.gate.lost, config.gate.team, config.gate.correlation)
    why = gate(found, limits)
    if args.plot:
        _plot(args.plot, found, days, kind)
    if args.json:
        from msgspec import to_builtins

        as_json({**to_builtins(found), "gate": {"open": not why, "why": why}})
    else:
        _show(found)
        say(f"\nThe gate is {'closed' if why else 'open'}: {'; '.join(map(printable, why)) or 'nothing is beyond its limits'}")
    return BARRED if why and args.gate else 0


def _played(args: argparse.Namespace, config: Config) -> tuple[Comparison, Days]:
    from detector.comparison import played
    from detector.core.model import Model
    from detector.core.pipeline import Pipeline, Policy
    from detector.core.views import EMPLOYEE
    from detector.registry import load_model

    context, registry = context_of(config), Path(config.models.registry)
    models = [load_model(registry, which, EMPLOYEE.name, EMPLOYEE.names, trust_of(config)) for which in (args.first, args.second)]
    policy = Policy(config.detection.budget, max_age=round(config.input.max_age * 1000))

    def pipeline(model: Model) -> Pipeline:
        return Pipeline(EMPLOYEE, model, context, policy, config.detection.max_keys)

    refused: Counter[str] = Counter()
    events = events_of(args, config, "comparing", refused)
    out = played(events, (lambda: pipeline(models[0]), lambda: pipeline(models[1])), context, args.since)
    note_refused(refused)
    return out


def _plot(path: Path, found: Comparison, days: Days, kind: str) -> None:
    from detector.files import whole_file
    from detector.pictures.comparison import comparison

    with whole_file(path) as file:
        file.write(comparison(found, days, kind))


# --- for people


def _show(found: Comparison) -> None:
    say(
        f"{found.employee_days:,} employee-days of {found.employees:,} employees, {_date(found.first_day)} to {_date(found.last_day)}, "
        f"at a budget of {found.budget:g} per 1,000"
    )
    rows = [
        (name, side.version, side.alerted, f"{side.per_1000:.2f}", side.employees)
        for name, side in zip(("A", "B"), found.models, strict=True)
    ]
    table(("MODEL", "VERSION", "EMPLOYEE-DAYS ALERTED", "PER 1,000", "EMPLOYEES"), rows)
    lost = f"{found.lost} of A's employees are not" if found.lost else "A's employees are all"
    say(f"\n{found.both} employee-days are alerted by both; {lost} at least a near miss by B")
    if found.correlation is not None:
        top = "" if found.correlation_top is None else f", {found.correlation_top:.2f} over those that either finds strangest"
        say(f"rank correlation {found.correlation:.2f} over all employee-days{top}")
    _people("A", found.only[0], found.only_first)
    _people("B", found.only[1], found.only_second)
    changed = [t for t in found.teams if any(t.alerted)]
    if changed:
        say("\nAlerts by team, the largest change first")
        table(
            ("TEAM", "EMPLOYEES", "EMPLOYEE-DAYS", "ALERTED BY A", "BY B", "PER 1,000 BY A", "BY B"),
            [
                (printable(t.team) or "-", t.employees, t.employee_days, *t.alerted, *(f"{rate:.2f}" for rate in t.per_1000))
                for t in changed[:SHOWN]
            ],
        )  # fmt: skip
    _drift(found)


def _people(model: str, count: int, people: tuple[Person, ...]) -> None:
    if not count:
        return
    say(f"\nAlerted by {model} alone on some day: {count} employees{f', the {SHOWN} rarest' if count > SHOWN else ''}")
    table(
        ("EMPLOYEE", "TEAM", "DAYS", "RAREST ON", "RARITY BY A", "BY B", "THE OTHER"),
        [
            (
                printable(p.employee), printable(p.team) or "-", p.days, _date(p.day), *(f"{rarity:.2f}" for rarity in p.rarity),
                "near miss" if p.near else "nothing",
            )
            for p in people[:SHOWN]
        ],
    )  # fmt: skip


def _drift(found: Comparison) -> None:
    """The signals that have moved furthest; and of how many nothing can be said."""
    told = [each for each in found.signals if any(psi is not None for psi in each.psi)]
    if not told:
        note("drift: too few employee-days to say whether any signal has moved")
        return
    say("\nDrift of signals away from each model's training (PSI; over 0.25 much has changed), the furthest first")
    rows = [(each.name, *map(_moved, each.psi, each.moved)) for each in told[:SHOWN]]
    table(("SIGNAL", "FROM A", "FROM B"), rows)
    if len(told) < len(found.signals):
        note(f"drift: of {len(found.signals) - len(told)} further signals too little is known to say")


def _moved(psi: float | None, moved: bool) -> str:
    return "-" if psi is None else f"{psi:.2f}{' !' if moved else ''}"


def _date(day: int) -> str:
    return f"{datetime.fromtimestamp(86_400 * day, UTC):%Y-%m-%d}"
