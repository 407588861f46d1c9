"""How well the detector detects: `make quality`. Sections can be run alone: `--only companies`, `identity_switch`, `forests`.

The data lie beside the repository (../shared/data, or where the variable DATA says); where they are not, nothing is measured. The recorded
run, docs/reference/quality.json, is shown beside; `--record` makes this run the recorded one and writes the page.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
import time
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from importlib import import_module
from pathlib import Path

import tables
from tables import Table

from detector import __version__

ROOT = Path(__file__).parents[2]
JSON, PAGE = (ROOT / "docs" / "reference" / f"quality.{kind}" for kind in ("json", "md"))
SECTIONS = ("companies", "identity_switch", "forests", "bounds", "contamination", "rollout", "busy_week", "cold", "speed")
INTRO = """
# How well it detects

Made by `make quality RECORD=1`; `make quality` measures again and shows these figures beside. The data are not part of the repository: two
synthetic companies with campaigns of insiders, whose labels nothing but the evaluation reads; public logs of real work; labelled tables
for the forest. With about twenty campaigns a company, recall is uncertain by some 20 points: compare runs, and look at both companies.
"""


def main() -> int:
    parser = argparse.ArgumentParser(prog="tests/quality", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--only", choices=SECTIONS, action="append", help="a section; may be given several times")
    parser.add_argument("--jobs", type=int, default=2, metavar="N", help="processes (default 2)")
    parser.add_argument("--record", action="store_true", help="make this the recorded run")
    args = parser.parse_args()
    data = Path(os.environ.get("DATA") or ROOT.parent / "shared" / "data")
    found = {section: parts_here(section, data) for section in args.only or SECTIONS}
    if not any(found.values()):
        print(f"{data}: holds none of the data, so nothing was measured; DATA=FOLDER names where they lie")
        return 0
    before = tables.read(JSON)
    now = measured(found, data, args.jobs)
    print("\n\n".join(tables.shown(table, before.get(title)) for title, table in now.items()))
    if args.record:
        kept = {**before, **now}
        tables.write(kept, JSON, __version__)
        PAGE.write_text(tables.as_page(kept, INTRO))
    return 0


def parts_here(section: str, data: Path) -> list[str]:
    """The parts of a section whose data there are."""
    module = import_module(section)
    parts = [part for part in module.PARTS if module.here(data, part)]
    for part in module.PARTS:
        if part not in parts:
            note(f"{section} {part}: its data are not in {data}: left out")
    return parts


def measured(found: dict[str, list[str]], data: Path, jobs: int) -> dict[str, Table]:
    """All tables by title; parts run beside each other, each in a process of its own."""
    began = time.monotonic()
    done: dict[tuple[str, str], list[Table]] = {}
    with ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn"), max_tasks_per_child=1) as pool:
        waiting: dict[Future[list[Table]], tuple[str, str]] = {
            pool.submit(import_module(section).measure, data, part): (section, part) for section, parts in found.items() for part in parts
        }
        for future in as_completed(waiting):
            done[waiting[future]] = future.result()
            note(f"{' '.join(waiting[future])}: measured, {len(done)} of {len(waiting)}, {time.monotonic() - began:.0f} s")
    out: list[Table] = []
    for section, parts in found.items():
        some = [table for part in parts for table in done[section, part]]
        out += import_module(section).joined(some) if some else []
    return {table.title: table for table in out}


def note(text: str) -> None:
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main())
