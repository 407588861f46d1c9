"""Training: events a second of one process and of two, side by side; memory; and a nightly refresh of many. Run by `make bench`.

The history is made from the sandbox company, once, and kept in var/bench. Each training runs in a process of its own, from files to a
model, with its start; `--events 10_000_000` is the size for which memory is promised (a history of 3 GB, some ten minutes).
"""

from __future__ import annotations

import argparse
import hashlib
import json
import multiprocessing
import resource
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from detector import renewal, training
from detector.core import hypotheses
from detector.core.daily import Daily
from detector.core.daily_blocks import Origin, blocks_of, collect, encode
from detector.core.frame import DAY
from detector.core.model import Model
from detector.core.signals import accumulators
from detector.core.views import EMPLOYEE
from detector.files import read_blocks, read_context, read_events, write_blocks
from detector.processes import Processes
from detector.sandbox.company import Company
from detector.shards import Here, Task

FOLDER = Path("var/bench")
DAYS, A_DAY, END = 28, 30.5, 1_790_000_000_000
LEAST_RATE, LEAST_GAIN, MOST_MEMORY, MOST_SECONDS = 150_000, 1.7, 4 << 30, 120.0


def history(events: int) -> tuple[Path, Path]:
    employees = max(round(events / DAYS / A_DAY), 60)
    path, context = FOLDER / f"history-{employees}.ndjson", FOLDER / f"context-{employees}"
    if not context.exists():
        FOLDER.mkdir(parents=True, exist_ok=True)
        company = Company(employees, 3, end=END)
        company.write_history(path, DAYS)
        company.write_context(context)
    return path, context


def train(path: Path, context: Path, jobs: int) -> tuple[int, float, int, str, Model]:
    """Events, seconds, bytes of memory of all processes at most, and the model."""
    task = Task(EMPLOYEE, tuple(hypotheses.names()), read_context(context))
    crew = Processes(task, jobs) if jobs > 1 else Here(task)
    began = time.monotonic()
    model, report = training.train_records(read_events([path]), task, crew, jobs)
    took = time.monotonic() - began
    crew.close()
    own, others = (resource.getrusage(who).ru_maxrss << 10 for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    said = b"".join(name.encode() + array.tobytes() for name, array in sorted(model.to_arrays()[0].items()))
    return report.events, took, own + jobs * others * (jobs > 1), hashlib.sha256(said).hexdigest(), model


def alone(path: Path, context: Path, jobs: int, answer: Any) -> None:
    answer.send(train(path, context, jobs))


def measured(path: Path, context: Path, jobs: int) -> tuple[int, float, int, str, Model]:
    """The same in a process of its own, so that memory is its own."""
    spawn = multiprocessing.get_context("spawn")
    ours, theirs = spawn.Pipe()
    process = spawn.Process(target=alone, args=(path, context, jobs, theirs))
    process.start()
    found: tuple[int, float, int, str, Model] = ours.recv()
    process.join()
    return found


def records(employees: int, width: int) -> Iterator[bytes]:
    """28 days of daily records of so many, all active every day, in teams of twenty, from four partitions."""
    rng, n = np.random.default_rng(1), employees // 4
    for partition in range(4):
        key = np.sort(rng.integers(1, 2**63, n).astype(np.uint64))
        team = rng.integers(1, max(employees // 20, 2), n).astype(np.uint64)
        pair, step = (rng.integers(1, most, (n, places)).astype(np.uint32) for most, places in ((20_000, 64), (60_000, 70)))
        shares = {f"{name}_share": _shares(rng, n, places) for name, places in (("pair", 64), ("step", 70), ("hour", 48))}
        for day in range(20_000, 20_000 + DAYS):
            kind = np.zeros((n, 10), np.uint64)
            kind[:, :2] = rng.integers(1, 30, (n, 2))
            drawn = {
                name: rng.exponential(0.5, (n, *size)).astype(np.float32)
                for name, size in (
                    ("joined", (width,)), ("score", ()), ("repeat", (3,)), ("level", (accumulators.K,)), ("purpose_reach", (10,)),
                    ("purpose_age", (10,)),
                )
            }  # fmt: skip
            known = {"pair": pair, "step": step, "purpose_kind": kind, "revoked_resource": np.zeros(n, np.uint64)}
            daily = Daily(day, key, team, {**drawn, **known, **shares})
            yield from (encode(Origin(EMPLOYEE.name, "access-events", partition), daily, chunk) for chunk in range(blocks_of(daily)))


def _shares(rng: np.random.Generator, n: int, places: int) -> np.ndarray:
    drawn = rng.random((n, places)).astype(np.float32)
    return drawn / drawn.sum(axis=1, keepdims=True)


def refresh(model: Model, employees: int) -> tuple[float, int]:
    """Seconds, from a file of records to the arrays of a model, and bytes of memory at most."""
    path = FOLDER / f"daily-{employees}-{len(model.hypotheses)}"
    if not path.exists():
        write_blocks(path, records(employees, len(model.hypotheses)))
    began = time.monotonic()
    days, _ = collect(read_blocks(path), EMPLOYEE.name, "access-events")
    made = renewal.renew(model, {"version": "0" * 12, "training": {"last": (20_000 + DAYS - 2) * DAY}}, days)
    renewal.artefact(made, {})
    return time.monotonic() - began, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=2_500_000)
    parser.add_argument("--employees", type=int, default=20_000, help="of the nightly refresh; 100_000 is what is promised for")
    parser.add_argument("--rounds", type=int, default=2)
    args = parser.parse_args()
    path, context = history(args.events)
    best: dict[int, float] = {}
    most, digests = 0, set()
    for _ in range(args.rounds):
        for jobs in (1, 2):
            events, took, memory, digest, model = measured(path, context, jobs)
            best[jobs] = max(best.get(jobs, 0), events / took)
            most, digests = max(most, memory), digests | {digest}
            print(f"{jobs} jobs: {events:,} events in {took:.1f} s, {events / took:,.0f} a second; {memory >> 20:,} MiB", flush=True)
    gain = best[2] / best[1]
    print(f"two are {gain:.2f} times as fast as one; at most {most >> 20:,} MiB; {len(digests)} different results")
    took, memory = refresh(model, args.employees)
    print(f"a refresh of {args.employees:,} employees, {DAYS} days: {took:.1f} s, {memory >> 20:,} MiB")
    met = {
        "events_a_second": best[1] >= LEAST_RATE, "gain_of_two": gain >= LEAST_GAIN, "memory": most <= MOST_MEMORY,
        "same_bytes": len(digests) == 1, "refresh": took <= MOST_SECONDS,
    }  # fmt: skip
    print(json.dumps(met))
    return 0 if all(met.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
