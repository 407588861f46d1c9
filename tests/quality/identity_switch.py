"""Identity switch on real work: a colleague's day presented as this employee's. No labels are needed, for what is foreign is known.

Employees with at least 30 active days; the first 60 % of each one's are history, the rest are negatives. As many positives as 10 % of the
negatives: a day of a random other employee, its events at the same times of day, with the actor replaced, scored against the state and the
model with which the victim's own day began; then the state is put back. A day's score is its largest S. As a control some own days are
presented in the same way: each must have the very score that it then gets in earnest.
"""

from __future__ import annotations

import gzip
import json
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from product import played, trained, twin
from sklearn.metrics import average_precision_score, roc_auc_score
from tables import Number, Table, one, rounded

from detector.core.events import EventBatch, Records
from detector.core.formats.native import Limits, decode
from detector.core.frame import DAY
from detector.core.pipeline import Outcome, Pipeline, Policy
from detector.files import read_context
from detector.replay import Replayed
from detector.sandbox import bpic

Event = dict[str, Any]
Day = tuple[str, int]
"""An employee's UTC day."""


class Log(NamedTuple):
    file: str
    least: int
    """Events that make a day an active one."""
    needed: tuple[int, int]
    """AUC and average precision, in percent."""
    prototype: tuple[int, int]
    alone: tuple[int, int]
    """The prototype's masquerade signal alone."""


PARTS = {
    "bpic2012": Log("bpic2012_events", 5, (82, 54), (83, 55), (88, 68)),
    "receipt": Log("receipt_wabo", 2, (63, 18), (64, 19), (74, 29)),
    "bpic2013": Log("bpic2013_incidents_events", 2, (70, 24), (71, 24), (83, 48)),
}
LEAST_DAYS, HISTORY, POSITIVES, DRAWS = 30, 0.6, 0.1, 6
CONTROL, CONTROLS, ALIKE = -1, 10, 0.95
"""Every tenth own day is presented too, as draw -1; such a share must score as in earnest (work around the closing may not)."""
NEVER = 1 << 62
LIMITS = Limits()


class Switch(NamedTuple):
    draw: int
    victim: Day
    donor: Day


@dataclass(frozen=True)
class Work:
    """A log by employee and day."""

    by_day: dict[int, list[Event]]
    """All events of a UTC day, in order of time."""
    own: dict[Day, list[Event]]
    judged: list[Day]
    """Active days of those with enough of them, without their history."""


@dataclass
class Score:
    """Largest S of each day that is judged, and the largest rarity of each hypothesis."""

    negative: dict[Day, NDArray[np.float32]] = field(default_factory=dict)
    presented: list[tuple[Switch, NDArray[np.float32]]] = field(default_factory=list)


def here(data: Path, part: str) -> bool:
    return (data / "bpic" / f"{PARTS[part].file}.csv.gz").exists()


def joined(tables: list[Table]) -> list[Table]:
    """One table of the three logs."""
    return [one("identity switch", tables)]


def measure(data: Path, part: str) -> list[Table]:
    log = PARTS[part]
    with tempfile.TemporaryDirectory() as folder:
        work = prepared(data / "bpic" / f"{log.file}.csv.gz", log.least, Path(folder))
        score, names = judged(work, Path(folder))
    figures = {name: areas(score, column) for column, name in enumerate(names)}
    whole = figures.pop("S")
    rows: dict[str, tuple[Number, ...]] = {part: (len(work.judged), positives(work), *whole, *log.needed, *log.prototype)}
    for name, found in figures.items():
        rows[f"{part}, {name} alone"] = (
            (None, None, *found, *[None] * 4) if name != "masquerade" else (None, None, *found, None, None, *log.alone)
        )
    reached = zip(("AUC", "AP"), whole, log.needed, strict=True)
    missed = tuple(f"{part}: {what} {got:g}, needed {need}" for what, got, need in reached if got < need)
    note = (
        "A colleague's day presented as the employee's own, on real logs without any context: AUC and average precision in percent, mean "
        f"of {DRAWS} draws of colleagues; beside them what is needed, and what a prototype had (masquerade at half weight)."
    )
    columns = ("negatives", "positives", "AUC", "AP", "AUC needed", "AP needed", "AUC prototype", "AP prototype")
    return [Table(f"identity switch, {part}", columns, rows, note, missed)]


def prepared(source: Path, least: int, folder: Path) -> Work:
    """Writes the native events and, for the automatic user, a directory into the folder."""
    with gzip.open(source, "rt", encoding="utf-8", newline="") as log:
        lines = list(bpic.convert(log))
    (folder / "events.ndjson").write_bytes(b"\n".join(lines) + b"\n")
    events = [json.loads(line) for line in lines]
    if any(event["actor"] == bpic.AUTOMATIC_USER for event in events):
        (folder / "directory.csv").write_bytes(bpic.directory(event["actor"] for event in events))
    by_day: dict[int, list[Event]] = defaultdict(list)
    own: dict[Day, list[Event]] = defaultdict(list)
    for event in events:
        by_day[event["time"] // DAY].append(event)
        own[event["actor"], event["time"] // DAY].append(event)
    active: dict[str, list[int]] = defaultdict(list)
    for (actor, day), some in own.items():
        if len(some) >= least and actor != bpic.AUTOMATIC_USER:
            active[actor].append(day)
    judged = [(a, d) for a, days in sorted(active.items()) if len(days) >= LEAST_DAYS for d in sorted(days)[int(HISTORY * len(days)) :]]
    return Work(dict(by_day), dict(own), judged)


def positives(work: Work) -> int:
    return round(POSITIVES * len(work.judged))


def switches(work: Work) -> dict[int, list[Switch]]:
    """What is presented on each day."""
    out: dict[int, list[Switch]] = defaultdict(list)
    for own in work.judged[::CONTROLS]:
        out[own[1]].append(Switch(CONTROL, own, own))
    employees = sorted({actor for actor, _ in work.judged})
    days = {actor: [(a, d) for a, d in work.judged if a == actor] for actor in employees}
    for draw in range(DRAWS):
        rng = np.random.default_rng(draw)
        for i in rng.permutation(len(work.judged))[: positives(work)].tolist():
            victim = work.judged[i]
            others = [actor for actor in employees if actor != victim[0]]
            donor = others[int(rng.integers(len(others)))]
            out[victim[1]].append(Switch(draw, victim, days[donor][int(rng.integers(len(days[donor])))]))
    return out


def judged(work: Work, folder: Path) -> tuple[Score, tuple[str, ...]]:
    """The model knows what was before the first day that is judged; everything is then played in order of time."""
    model = trained(folder / "events.ndjson", folder, min(day for _, day in work.judged) * DAY)
    tasks: list[Pipeline] = []
    score, wanted = Score(), set(work.judged)
    for part in played(presented(work, tasks, score), model, read_context(folder), Policy(1.0, NEVER), tasks.append):
        for victim, most in maxima(part).items():
            if victim in wanted:
                score.negative[victim] = np.maximum(most, score.negative.get(victim, most))
    controls = [np.array_equal(most, score.negative[s.victim]) for s, most in score.presented if s.draw == CONTROL]
    if np.mean(controls) < ALIKE:
        raise ValueError(
            f"{controls.count(False)} of {len(controls)} own days, presented, score otherwise than in earnest: no fair comparison"
        )
    return score, ("S", *(h.name for h in model.hypotheses))


def presented(work: Work, tasks: list[Pipeline], score: Score) -> Iterator[EventBatch]:
    """The log, day by day. Colleagues' days are presented to the state of the day's beginning, under the model of the day."""
    planned = switches(work)
    for day in sorted(work.by_day):
        before = tasks[-1].snapshot() if day in planned else {}
        yield batch_of(work.by_day[day])
        if day in planned:
            score.presented += present(tasks[-1], before, planned[day], work)


def present(pipeline: Pipeline, before: dict[str, NDArray[Any]], due: list[Switch], work: Work) -> list[tuple[Switch, NDArray[np.float32]]]:
    """Largest scores of colleagues' days, each against the state `before`; the task does not notice."""
    stage = twin(pipeline)
    out = []
    for s in due:
        stage.restore(before)
        moved = [{**event, "actor": s.victim[0], "time": s.victim[1] * DAY + event["time"] % DAY} for event in work.own[s.donor]]
        batch = batch_of(moved)
        out.append((s, maxima(Replayed(batch, stage.process(batch)))[s.victim]))
    return out


def batch_of(events: list[Event]) -> EventBatch:
    return decode(Records.of([json.dumps(event).encode() for event in events]), LIMITS)


def maxima(part: Replayed) -> dict[Day, NDArray[np.float32]]:
    """Of each employee's day in a batch, the largest S and rarities of hypotheses."""
    out: dict[Day, NDArray[np.float32]] = {}
    batch = part.batch
    for row, values in _scored(part.outcome):
        for i, value in zip(row.tolist(), values, strict=True):
            key = batch.rows[i].actor, int(batch.time[i]) // DAY
            out[key] = np.maximum(value, out.get(key, value))
    return out


def _scored(outcome: Outcome) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]]:
    for scores in outcome.scores:
        yield scores.row, np.column_stack([scores.score, scores.hypothesis])


def areas(score: Score, column: int) -> tuple[float, float]:
    """AUC and average precision in percent, mean of the draws."""
    negative = [most[column] for most in score.negative.values()]
    found = []
    for draw in range(DRAWS):
        positive = [most[column] for s, most in score.presented if s.draw == draw]
        y, value = np.repeat([1, 0], [len(positive), len(negative)]), np.array(positive + negative)
        found.append((100 * roc_auc_score(y, value), 100 * average_precision_score(y, value)))
    auc, ap = rounded(np.mean(found, axis=0).tolist(), 1)
    return auc, ap
