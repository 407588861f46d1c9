"""What detection costs: CPU time an event of each of its parts, and memory an employee.

Batches of the test part, after the training part was played; all parts in turns on each batch, several rounds from the same state, and the
median: what else the machine does meets all alike.
"""

from __future__ import annotations

import statistics
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import companies
import numpy as np
from logs import BATCH, NEVER, Company, Log, batches
from product import played, recorded
from tables import Number, Table

from detector.core import combination, duplicates
from detector.core.events import EventBatch
from detector.core.features import FeatureBatch
from detector.core.model import Model, forest_input, join
from detector.core.pipeline import Pipeline, Policy

PARTS = ("a",)
ROUNDS, BATCHES = 5, 12
MOST_SIGNALS, MOST_FOREST, MOST_BYTES = 2.5, 1.5, 4096


def here(data: Path, part: str) -> bool:
    return companies.here(data, part)


def joined(tables: list[Table]) -> list[Table]:
    return tables


class Watch:
    """Us of CPU an event of what was done under each name."""

    def __init__(self) -> None:
        self.each: defaultdict[str, list[float]] = defaultdict(list)

    @contextmanager
    def on(self, name: str, events: int) -> Iterator[None]:
        began = time.thread_time_ns()
        yield
        self.each[name].append((time.thread_time_ns() - began) / events / 1000)

    def median(self, name: str) -> float:
        return statistics.median(self.each[name])


def measure(data: Path, part: str) -> list[Table]:
    company = Company.of(data, part)
    tasks: list[Pipeline] = []
    for _ in played(recorded(company.train), company.trained(), company.context, Policy(1.0, NEVER), tasks.append):
        pass
    task, some = tasks[0], list(batches(Log.read(company.test).lines[: BATCHES * BATCH]))
    before, watch = task.snapshot(), Watch()
    for _ in range(1 + ROUNDS):
        task.restore(before)
        for batch in some:
            one_by_one(task, batch, watch)
    return [table(task, watch)]


def one_by_one(task: Pipeline, batch: EventBatch, watch: Watch) -> None:
    """What Pipeline.process does, in the same order, each part for itself; the forest, which `rarities` contains, besides."""
    tracker, state, model, n = task.tracker, task.tracker.state, task.model, len(batch)
    with watch.on("frame", n):
        frame = tracker.framer.frame(batch)
    ids, keys = batch.hashes("event_id"), batch.hashes("actor")
    with watch.on("keys", n):
        ((_, slots),) = state.runs(keys, batch.time)
    with watch.on("repeated records", n):
        fresh = np.flatnonzero(~duplicates.repeated(state, slots, ids))
    with watch.on("fresh rows", n):
        part, slots = (frame if len(fresh) == n else frame.take(fresh)), slots[fresh]
    with watch.on("matrix", n):
        out = FeatureBatch.zeros(task.view.names, len(fresh))
    for family in task.view.signals:
        with watch.on(family.__name__.rsplit(".", 1)[-1], n):
            family.observe(state, slots, part, tracker.baselines, out)
    with watch.on("all rarities", n):
        said = model.rarities(out.values)
    judged_again(model, out, watch, n)
    score = np.zeros(len(fresh), np.float32)
    with watch.on("combination", n):
        combination.advance(state, slots, part.time, batch.offset[fresh], out.values, said, model.wiring, (np.float32(np.inf), 0, 0), score)
    with watch.on("calibration", n):
        model.total(score)


def judged_again(model: Model, out: FeatureBatch, watch: Watch, n: int) -> None:
    values = out.values[:, out.index(model.signals)]
    signal = model.signal_tails.rarities(values)
    with watch.on("forest", n):
        forest = model.forest.score(forest_input(signal, model.signals))
    with watch.on("joins", n):
        model.joined_tails.rarities(join(model.hypotheses, model.signals, signal, values, forest))


def table(task: Pipeline, watch: Watch) -> Table:
    families = [family.__name__.rsplit(".", 1)[-1] for family in task.view.signals]
    forest, signals = watch.median("forest"), sum(map(watch.median, ("matrix", *families)))
    rarities = watch.median("all rarities") - forest
    joins = watch.median("joins")
    together = signals + rarities + watch.median("combination")
    rows: dict[str, tuple[Number, ...]] = {
        name: (round(watch.median(name), 3),) for name in ("frame", "keys", "repeated records", "fresh rows")
    }
    rows |= {f"signals: {name}": (round(watch.median(name), 3),) for name in ("matrix", *families)}
    rows |= {
        "signals": (round(signals, 3),), "rarities of signals": (round(rarities - joins, 3),),
        "hypotheses and their rarities": (round(joins, 3),),
        "combination": (round(watch.median("combination"), 3),), "calibration": (round(watch.median("calibration"), 3),),
        "signals, hypotheses and rarities": (round(together, 3),), "forest": (round(forest, 3),),
        "bytes an employee": (task.tracker.state.bytes_per_key,),
    }  # fmt: skip
    limits = {"signals, hypotheses and rarities": MOST_SIGNALS, "forest": MOST_FOREST, "bytes an employee": MOST_BYTES}
    missed = tuple(f"{name}: {rows[name][0]:g}, {most:g} is allowed" for name, most in limits.items() if float(rows[name][0] or 0) > most)
    note = (
        f"Us of CPU an event on company a, batches of {BATCH:,}, medians of {ROUNDS} rounds over {BATCHES} batches. "
        "Figures depend on the machine."
    )
    return Table("speed of detection", ("us or bytes",), rows, note, missed)
