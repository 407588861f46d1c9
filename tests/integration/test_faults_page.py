"""The page of faults names tests that exist."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "reference" / "faults.md"


def test_every_test_that_the_page_of_faults_names_exists():
    there = {path.name: path.read_text() for path in (ROOT / "tests").rglob("test_*.py")}
    page = PAGE.read_text()
    files = set(re.findall(r"\b(test_\w+\.py)", page))
    assert files <= there.keys()
    named = set(re.findall(r"\b(test_\w+)\b(?!\.py|\*)", page))
    assert len(named) > 20
    assert not {name for name in named if not any(f"def {name}(" in text for text in there.values())}


def test_every_row_of_bad_input_is_on_the_page():
    rows = set(re.findall(r"^\| (E\d+) \|", PAGE.read_text(), re.M))
    assert rows == {f"E{number}" for number in range(1, 17)}
