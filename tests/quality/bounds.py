"""What bounded memory costs: the product's tables against ten-fold ones, on the same companies.

Sizes are constants of compiled kernels and of state columns. So the large variant is the product's own source, copied, with other numbers
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
from pathlib import Path

import companies
import numpy as np
from tables import Table, rounded

import detector

PARTS = ("a and b",)
MOST_LOSS = 0.02
BETWEEN = tuple(10 ** (step / 12) for step in range(13))
"""From 1 to 10: the mean over them is steadier than recall at one of them, where a campaign more or less is chance."""
SIZES: dict[str, dict[str, int]] = {
    "signals/explanation.py": {"RING": 320, "WORDS": 512},  # bits must be a power of 2
    "signals/relations.py": {"PLACES": 400},
    "signals/profiles.py": {"PAIRS": 640, "STEPS": 700},
    "signals/purposes.py": {"PLACES": 100},
    "signals/places.py": {"COUNTRIES": 80, "DEVICES": 80},
    "signals/rights.py": {"GRANTS": 40},
    "duplicates.py": {"RING": 640},
    "baselines.py": {"MAX_PAIRS": 20480, "MAX_STEPS": 40960, "MAX_PURPOSES": 640},
}


def here(data: Path, part: str) -> bool:
    return companies.here(data, "a") and companies.here(data, "b")


def joined(tables: list[Table]) -> list[Table]:
    return tables


def measure(data: Path, part: str) -> list[Table]:
    now = {name: caught(data, name) for name in ("a", "b")}
    large = ten_fold(data)
    rows: dict[str, tuple[float, ...]] = {}
    for name in ("a", "b"):
        rows |= {f"{name}, the product's": tuple(now[name]), f"{name}, ten-fold": tuple(large[name])}
    small, most = (tuple(map(sum, zip(found["a"], found["b"], strict=True))) for found in (now, large))
    loss = tuple(round((m - s) / small[0], 3) for s, m in zip(small[1:], most[1:], strict=True))
    rows |= {"both, the product's": small, "both, ten-fold": most, "loss of recall": (small[0], *loss)}
    missed = (f"bounded tables lose {loss[1]:g} of recall at 3; {MOST_LOSS:g} is allowed",) if loss[1] > MOST_LOSS else ()
    note = (
        "Campaigns caught with the tables of an employee, and the vocabularies, as large as they are and ten times as large: assignments, "
        "people seen, relations, profiles, tickets, places, own grants, repeated records."
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


def ten_fold(data: Path) -> dict[str, list[float]]:
    """The same by a copy of the product with larger tables. Raises RuntimeError with what it said where it fails."""
    with tempfile.TemporaryDirectory() as place:
        copy = Path(place) / "detector"
        shutil.copytree(Path(detector.__file__).parent, copy, ignore=shutil.ignore_patterns("__pycache__"))
        for file, sizes in SIZES.items():
            enlarge(copy / "core" / file, sizes)
        env = {**os.environ, "PYTHONPATH": place, "NUMBA_CACHE_DIR": str(Path(place) / "cache")}
        run = subprocess.run([sys.executable, __file__, str(data), place], env=env, capture_output=True, text=True, check=False)
    if run.returncode:
        raise RuntimeError(f"the copy with larger tables failed:\n{run.stderr}")
    found: dict[str, list[float]] = json.loads(run.stdout)
    return found


def enlarge(file: Path, sizes: dict[str, int]) -> None:
    """Raises ValueError where a size is not said as it was expected to be."""
    text = file.read_text()
    for name, size in sizes.items():
        text, times = re.subn(rf"^((?:[A-Z_]+, )*){name}((?:, [A-Z_]+)*) = (.*)$", lambda said: _said(said, name, size), text, flags=re.M)  # noqa: B023
        if times != 1:
            raise ValueError(f"{file.name}: {name} is assigned {times} times")
    file.write_text(text)


def _said(line: re.Match[str], name: str, size: int) -> str:
    """An assignment, perhaps of several constants at once, with another number for one of them."""
    names, values = [*re.findall(r"[A-Z_]+", line[1]), name, *re.findall(r"[A-Z_]+", line[2])], line[3].split("  #")[0].split(", ")
    values[names.index(name)] = str(size)
    return f"{', '.join(names)} = {', '.join(values)}"


if __name__ == "__main__":
    if not detector.__file__.startswith(sys.argv[2]):
        sys.exit(f"{detector.__file__} is not the copy")
    print(json.dumps({part: caught(Path(sys.argv[1]), part) for part in ("a", "b")}))
