"""What bounded memory costs: the product's tables against larger ones, on the same companies.

Sizes are constants of compiled kernels and of state columns. So a large variant is the product's own source, copied, with other numbers
in it, run as another process with a cache of its own.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import companies
import numpy as np
from tables import Table, rounded

import detector

PARTS = ("a and b",)
MOST_LOSS = 0.02
BETWEEN = tuple(10 ** (step / 12) for step in range(13))
"""From 1 to 10: the mean over them is steadier than recall at one of them, where a campaign more or less is chance."""
TIMES = {"two-fold": 2, "eight-fold": 8}
"""Powers of 2, as some sizes must be. What two-fold tables seem to gain or to lose is about what chance does."""
SIZES = {
    "signals/explanation.py": ("RING", "WORDS"),
    "signals/relations.py": ("PLACES", "LATEST"),
    "signals/profiles.py": ("PAIRS", "STEPS"),
    "signals/purposes.py": ("PLACES",),
    "signals/places.py": ("COUNTRIES", "DEVICES"),
    "signals/rights.py": ("GRANTS",),
    "duplicates.py": ("RING",),
    "baselines.py": ("MAX_PAIRS", "MAX_STEPS", "MAX_PURPOSES"),
}
"""File of the core -> its sizes."""


def here(data: Path, part: str) -> bool:
    return companies.here(data, "a") and companies.here(data, "b")


def joined(tables: list[Table]) -> list[Table]:
    return tables


def measure(data: Path, part: str) -> list[Table]:
    found = {"the product's": {name: caught(data, name) for name in ("a", "b")}}
    found |= {size: larger(data, times) for size, times in TIMES.items()}
    rows = {f"{name}, {size}": tuple(of[name]) for name in ("a", "b") for size, of in found.items()}
    both = {size: np.sum([of["a"], of["b"]], axis=0) for size, of in found.items()}
    rows |= {f"both, {size}": tuple(rounded(of, 2)) for size, of in both.items()}
    campaigns, *product = both["the product's"]
    lost = {size: rounded((both[size][1:] - product) / campaigns) for size in TIMES}
    rows |= {f"recall lost to {size}": (campaigns, *some) for size, some in lost.items()}
    loss = lost["eight-fold"][1]
    missed = (f"bounded tables lose {loss:g} of recall at 3; {MOST_LOSS:g} is allowed",) if loss > MOST_LOSS else ()
    note = (
        "Campaigns caught, in the mean of three seeds, with the tables of an employee, and the vocabularies, as large as they are and "
        "larger: assignments, people seen, relations, profiles, tickets, places, own grants, repeated records. What two-fold tables seem "
        "to gain or to lose is about what chance does."
    )
    columns = ("campaigns", *(f"at {b:g}" for b in companies.BUDGETS), "mean of 1 to 10")
    return [Table("bounded tables", columns, rows, note, missed)]


def caught(data: Path, part: str) -> list[float]:
    """Campaigns, and how many are caught at each budget and in the mean of budgets from 1 to 10, in the mean of several seeds."""
    folder = data / "company" / part
    truth = companies.truth_of(data / "company" / "evaluate.py", folder)
    since = truth.said["meta"]["test_start"]
    n = len(truth.said["campaigns"])
    found = []
    for seed in companies.SEEDS:
        _, lines = companies.replayed(folder, since, seed)
        alerts = truth.program.load_alerts(lines, since)
        mean = sum(companies.recalls(truth, alerts, budgets=BETWEEN)) / len(BETWEEN)
        found.append([*companies.recalls(truth, alerts), mean])
    return [n, *rounded(n * np.mean(found, axis=0), 2)]


def larger(data: Path, times: int) -> dict[str, list[float]]:
    """The same by a copy of the product with larger tables. Raises RuntimeError with what it said where it fails."""
    with tempfile.TemporaryDirectory() as place:
        copy = Path(place) / "detector"
        shutil.copytree(Path(detector.__file__).parent, copy, ignore=shutil.ignore_patterns("__pycache__"))
        for file, names in SIZES.items():
            enlarge(copy / "core" / file, names, times)
        env = {**os.environ, "PYTHONPATH": place, "NUMBA_CACHE_DIR": str(Path(place) / "cache")}
        run = subprocess.run([sys.executable, __file__, str(data), place], env=env, capture_output=True, text=True, check=False)
    if run.returncode:
        raise RuntimeError(f"the copy with larger tables failed:\n{run.stderr}")
    found: dict[str, list[float]] = json.loads(run.stdout)
    return found


def enlarge(file: Path, names: Sequence[str], times: int) -> None:
    """Raises ValueError where a size is not said as it was expected to be."""
    text = file.read_text()
    for name in names:
        text, found = re.subn(rf"^((?:[A-Z_]+, )*){name}((?:, [A-Z_]+)*) = (.*)$", lambda said: _said(said, name, times), text, flags=re.M)  # noqa: B023
        if found != 1:
            raise ValueError(f"{file.name}: {name} is assigned {found} times")
    file.write_text(text)


def _said(line: re.Match[str], name: str, times: int) -> str:
    """An assignment, perhaps of several constants at once, with a larger number for one of them."""
    names, values = [*re.findall(r"[A-Z_]+", line[1]), name, *re.findall(r"[A-Z_]+", line[2])], line[3].split("  #")[0].split(", ")
    place = names.index(name)
    values[place] = str(times * int(values[place]))
    return f"{', '.join(names)} = {', '.join(values)}"


if __name__ == "__main__":
    if not detector.__file__.startswith(sys.argv[2]):
        sys.exit(f"{detector.__file__} is not the copy")
    print(json.dumps({part: caught(Path(sys.argv[1]), part) for part in ("a", "b")}))
