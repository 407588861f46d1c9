"""What the product logs: constant messages, members of the list, and all of it in the reference."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from detector import changes, logs

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "reference" / "logs.md").read_text()
CALLS = ("debug", "info", "warning", "error", "exception")
CONSTANTS = {name: value for name, value in vars(changes).items() if name.isupper() and isinstance(value, str)}


def logged() -> Iterator[tuple[str, ast.Call]]:
    """Every call of `log.info(...)` and the like in the product, with where it is."""
    for path in sorted((ROOT / "detector").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and node.func.attr in CALLS
                and ast.unparse(node.func.value) == "log"
            ):
                yield f"{path.relative_to(ROOT)}:{node.lineno}", node


def message(call: ast.Call) -> str | None:
    first = call.args[0]
    if isinstance(first, ast.Name):
        return CONSTANTS.get(first.id)
    return first.value if isinstance(first, ast.Constant) else None


def test_messages_are_constant_and_members_are_of_the_list() -> None:
    calls = list(logged())
    assert len(calls) > 20
    for place, call in calls:
        assert message(call), f"{place}: what varies goes into `extra`"
        for keyword in call.keywords:
            assert keyword.arg == "extra", place
            for part in ast.walk(keyword.value):
                if isinstance(part, ast.Dict):
                    names = {key.value for key in part.keys if isinstance(key, ast.Constant)}
                    assert names <= logs.FIELDS.keys() | {"audit"}, f"{place}: {names - logs.FIELDS.keys()} are not in FIELDS"


def test_what_an_auditor_is_told_is_what_is_documented() -> None:
    told_of = {message(call) for _, call in logged() if "'audit'" in ast.unparse(call)}
    audit = PAGE[PAGE.index("## The audit stream") :]
    assert {*re.findall(r"^\| `([^`]*)` \|", audit, re.MULTILINE)} == told_of


def test_the_reference_page_has_every_key() -> None:
    for key, meaning in [*logs.ALWAYS.items(), *logs.FIELDS.values()]:
        assert f"| `{key}` | {meaning} |" in PAGE
