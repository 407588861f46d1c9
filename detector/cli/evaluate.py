"""`detector evaluate`: alerts against labelled campaigns, or against what investigators said of them."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from detector.cli.output import as_json, note, say, table
from detector.cli.settings import Commands, command, context_of, moment, read, setting
from detector.errors import ConfigError

if TYPE_CHECKING:
    from detector.core.context import Context
    from detector.core.evaluation import Evaluation, Point
    from detector.core.evaluation.feedback import Feedback, Share
    from detector.core.evaluation.labels import Labels
    from detector.core.evaluation.ranking import Ranking
    from detector.core.verdicts import Case

EXAMPLES = """\
  detector evaluate --alerts alerts.ndjson --labels labels/labels.csv
  detector evaluate --alerts alerts.ndjson --labels labels.csv --scores scores.csv --context ctx --plot evaluation.svg --json"""


def add(commands: Commands) -> None:
    p = command(commands, "evaluate", "hold alerts against labelled campaigns: what is found, how soon, at how many false alerts", EXAMPLES)
    p.add_argument("--alerts", type=Path, required=True, metavar="FILE", help="NDJSON (.gz, .zst), as `detector replay` writes it")
    p.add_argument("--labels", type=Path, metavar="FILE", help="CSV, a row an event of a campaign; see the documentation")
    p.add_argument("--verdicts", type=Path, metavar="FILE", help="what `detector verdicts export` writes: how many alerts were right")
    p.add_argument("--scores", type=Path, metavar="FILE", help="CSV of `detector replay --scores`: also average precision over events")
    p.add_argument("--from", type=moment, dest="since", metavar="TIME", help="what was before is not judged; default: as meta.json says")
    p.add_argument("--employee-days", type=int, metavar="N", help="that false alerts are held against, where no file says who was active")
    p.add_argument("--seed", type=int, default=0, help="of the bootstrap (default 0)")
    p.add_argument("--plot", type=Path, metavar="FILE", help="a picture: .svg, .png or .pdf")
    p.add_argument("--json", action="store_true", help="for programs")
    setting(p, "--context", "context.folder", "DIR", "folder with directory.csv: false alerts by team")
    setting(p, "--budget", "detection.budget", "N", "that the alerts were made with")


def run(args: argparse.Namespace) -> int:
    from detector.core.evaluation.alerts import read_alerts

    if not (args.labels or args.verdicts):
        raise ConfigError("there is nothing to hold the alerts against\ngive --labels FILE, or --verdicts FILE, or both")
    if args.plot and not args.labels:
        raise ConfigError("--plot: the picture is of what --labels say; give them too")
    kind = _kind(args.plot)
    found = ranking = feedback = None
    if args.labels:
        found, ranking = _against_labels(args)
        if args.plot:
            _plot(args.plot, found, kind)
    if args.verdicts:
        from detector.core.evaluation.feedback import judge

        feedback = judge(read_alerts(_lines(args.alerts), args.since or 0), _cases(args.verdicts), args.seed)
    if args.json:
        from msgspec import to_builtins

        as_json({**(to_builtins(found) if found else {}), "ranking": to_builtins(ranking), "feedback": to_builtins(feedback)})
        return 0
    if found:
        _show(found, ranking)
    if feedback:
        _show_feedback(feedback)
    return 0


def _against_labels(args: argparse.Namespace) -> tuple[Evaluation, Ranking | None]:
    from detector.core.evaluation import days_of, evaluate
    from detector.core.evaluation.alerts import read_alerts
    from detector.core.evaluation.labels import parse
    from detector.core.evaluation.ranking import rank, read_scores

    config = read(args).config
    labels, ranking = parse(_files(args.labels), args.since), None
    if args.scores:
        with args.scores.open(newline="") as file:
            scores = read_scores(file, labels.since, str(args.scores))
        ranking = rank(scores, labels)
        if not labels.active:
            labels = replace(labels, active=scores.active, employee_days=labels.employee_days or len(scores.active))
    context = context_of(config) if config.context.folder else None
    alerts = read_alerts(_lines(args.alerts), labels.since)
    labels = _counted(labels, args.employee_days, context, days_of(alerts, labels))
    return evaluate(alerts, labels, config.detection.budget, args.seed, context.team if context else None), ranking


def _cases(path: Path) -> Iterator[Case]:
    from detector.core.verdicts import parse_case

    for number, line in enumerate(_lines(path), 1):
        try:
            yield parse_case(line)
        except ValueError as error:
            raise ConfigError(f"{path}: verdict {number}: {error}\ngive what `detector verdicts export` writes") from error


def _kind(plot: Path | None) -> str:
    """Asked before the work begins."""
    from detector.pictures import kind_of

    return kind_of(plot.name) if plot else ""


def _plot(path: Path, found: Evaluation, kind: str) -> None:
    from detector.files import whole_file
    from detector.pictures.evaluation import evaluation

    with whole_file(path) as file:
        file.write(evaluation(found, kind))


def _files(labels: Path) -> dict[str, bytes]:
    """The labels, and what lies beside them."""
    from detector.core.evaluation.labels import FILES, LABELS

    beside = {name: labels.parent / name for name in FILES if (labels.parent / name).exists()}
    return {name: path.read_bytes() for name, path in {**beside, LABELS: labels}.items()}


def _lines(path: Path) -> Iterator[bytes]:
    from detector.files import read_events

    for records in read_events([path]):
        for start, stop in records.value.tolist():
            yield records.data[start:stop]


def _counted(labels: Labels, said: int | None, context: Context | None, days: int) -> Labels:
    """With the employee-days, which may have to be guessed from the directory: five of seven days each."""
    from detector.core.context import SERVICE

    known = said or labels.employee_days
    if known < 1 and context is not None:
        employees = sum(each.listed and each.posts[-1][2] != SERVICE for each in context.employees.values())
        known = round(employees * days * 5 / 7)
        note(f"employee-days are guessed: {employees} employees of the directory, {days} days, five of seven; see --employee-days")
    if known < 1:
        raise ConfigError(
            "how many employee-days there were is not known, so no rate can be said\n"
            "put active_days.csv (actor,utc_day) beside the labels, or give --scores of all events, or --employee-days N"
        )
    return replace(labels, employee_days=known)


# --- for people


def _show(found: Evaluation, ranking: Ranking | None) -> None:
    all_of_them = found.everything
    rate = 1000 * all_of_them.false_alerts / found.employee_days
    say(
        f"{len(found.found)} campaigns; {found.employee_days:,} employee-days on {found.days} days; {found.alerts:,} alerts, "
        f"{all_of_them.false_alerts:,} false ones of an employee's day ({rate:.3g} per 1,000 employee-days)"
    )
    say("\nRecall at so many false alerts per 1,000 employee-days")
    _points("FALSE PER 1,000", [*found.rates, all_of_them])
    say("\nRecall at so many alerts a day, true ones and false ones")
    _points("ALERTS A DAY", found.a_day)
    say("\nCampaigns found, by kind")
    _kinds(found)
    if found.promised:
        say(f"\nFalse alerts, promised and given, on {found.free_days:,} employee-days without a campaign")
        rows = [(f"{p.budget:g}", f"{p.per_1000:.2f}", p.false_alerts, f"{p.given:.2f}") for p in found.promised]
        table(("PROMISED", "GIVEN", "FALSE ALERTS", "GIVEN / PROMISED"), rows)
    if found.teams:
        say("\nFalse alerts by team, the most first")
        teams = [(t.team or "-", t.employee_days or "-", t.false_alerts, _number(t.per_1000)) for t in found.teams if t.false_alerts]
        table(("TEAM", "EMPLOYEE-DAYS", "FALSE ALERTS", "PER 1,000"), teams)
    if ranking:
        say(
            f"\nEvents: {ranking.events:,} scored, {ranking.positives:,} of campaigns ({ranking.unscored:,} of them not scored); average "
            f"precision {ranking.average_precision:.3f} (by chance {ranking.chance:.3f}), area under the ROC curve {ranking.auroc:.3f}"
        )
    if any(point.ended for point in (*found.rates, *found.a_day)):
        note("*: these are all alerts there are; replay with a larger --budget to see what more would find")


def _points(first: str, points: list[Point] | tuple[Point, ...]) -> None:
    header = (first, "FROM SCORE", "ALERTS", "FALSE", "FOUND", "RECALL", "95 % INTERVAL", "EVENTS BEFORE", "HOURS")
    table(header, [_row(point) for point in points])


def _row(point: Point) -> tuple[object, ...]:
    at = "all" if point.at is None else f"{point.at:g}{'*' if point.ended else ''}"
    score = "-" if point.threshold is None else f"{point.threshold:.6f}"
    found, recall = point.all, point.recall
    return (
        at, score, point.alerts, point.false_alerts, f"{found.caught} of {found.campaigns}", f"{recall.value:.2f}",
        f"{recall.low:.2f} to {recall.high:.2f}", _number(found.events_before), _number(found.hours),
    )  # fmt: skip


def _kinds(found: Evaluation) -> None:
    points = [*found.rates, found.everything]
    at = [f"AT {p.at:g}" if p.at is not None else "ALL" for p in points]
    rows = []
    for name, whole in found.everything.scenarios.items():
        caught = [p.scenarios[name].caught for p in points]
        rows.append((name or "-", whole.campaigns, *caught, _number(whole.events_before), _number(whole.hours), ", ".join(whole.missed)))
    table(("KIND", "CAMPAIGNS", *at, "EVENTS BEFORE", "HOURS", "NEVER FOUND"), rows)


def _show_feedback(feedback: Feedback) -> None:
    said = ", ".join(f"{count} {kind.replace('_', ' ')}" for kind, count in feedback.verdicts.items())
    say(f"\nVerdicts on {feedback.incidents:,} incidents: {said or 'none'}")
    header = ("JUDGED", "RIGHT", "EXPECTED", "FALSE", "SHARE OF RIGHT ONES", "95 % INTERVAL")
    table(("AT A BUDGET OF", *header), [_judged(each) for each in (*feedback.budgets, feedback.all)])
    if some := [each for each in feedback.hypotheses if each.judged]:
        say("\nVerdicts by the hypothesis that made most of the incident's first alert")
        table(("HYPOTHESIS", *header), [_judged(each) for each in some])


def _judged(share: Share) -> tuple[object, ...]:
    counts = (share.name or "-", share.judged, share.right, share.expected, share.judged - share.right - share.expected)
    if share.precision is None:
        return (*counts, "-", "-")
    return (*counts, f"{share.precision.value:.2f}", f"{share.precision.low:.2f} to {share.precision.high:.2f}")


def _number(number: float | None) -> str:
    return "-" if number is None else f"{number:.1f}"
