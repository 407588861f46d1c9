"""The reference says what the code says. `make reference` writes it anew."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_type_hints

import code_tables
import pytest
from command_pages import commands, rewritten, spelled
from made_pages import REFERENCE, contents

from detector.cli import parser
from detector.cli.settings import command
from detector.config.settings import Config
from detector.core.dead_letters import REASONS
from detector.core.signals import accumulators
from detector.core.views import EMPLOYEE

MADE = contents()


@pytest.mark.parametrize("page", MADE, ids=lambda page: page.name)
def test_what_is_made_from_the_code_is_as_the_code_is(page: Path) -> None:
    assert page.read_text("utf-8") == MADE[page], "run `make reference`"


def test_every_table_that_the_code_can_make_is_on_a_page() -> None:
    text = "".join(page.read_text("utf-8") for page in MADE)
    assert [name for name in code_tables.MADE if f"<!-- {name} -->" not in text] == []
    assert {"cli.md", "configuration.md", "metrics.md"} <= {page.name for page in MADE}


def test_every_section_of_the_settings_is_on_their_page_and_no_other() -> None:
    page = (REFERENCE / "configuration.md").read_text("utf-8")
    assert re.findall(r"^## (\w+)$", page, re.M) == list(get_type_hints(Config))
    assert all(row in page for section in get_type_hints(Config) for row in code_tables.settings(section).splitlines())


def test_a_flag_that_is_new_gone_or_spelled_otherwise_changes_the_page() -> None:
    page = (REFERENCE / "cli.md").read_text("utf-8")
    whole = parser()
    serve = dict(commands(whole))["detector serve"]
    serve.add_argument("--brandnew", metavar="N", help="does something (kafka.new)")
    assert "| `--brandnew N` | does something (`kafka.new`) |" in rewritten(page, whole)
    assert "--brandnew" not in rewritten(rewritten(page, whole), parser())
    assert "| `--folder DIR` |" in rewritten(page.replace("`--folder DIR`", "`--folder FILE`"), parser())


def test_a_command_that_is_new_stands_beside_its_relatives() -> None:
    page, whole = (REFERENCE / "cli.md").read_text("utf-8"), parser()
    families = [action for action in whole._actions if hasattr(action, "choices") and action.choices and "serve" in action.choices]
    made = command(families[0].choices["topics"]._subparsers._group_actions[0], "forget", "forget a topic")
    made.add_argument("name", metavar="TOPIC")
    text = rewritten(page, whole)
    assert "### `detector topics forget`\n\n```\ndetector topics forget TOPIC\n```\n\nForget a topic." in text
    assert text.index("topics create`") < text.index("topics forget`") < text.index("## Models")
    assert spelled(made, made._actions[1]) == "--config FILE"


def test_every_reason_for_a_dead_letter_has_its_row_in_the_order_in_which_they_are_looked_for() -> None:
    table = (REFERENCE / "events.md").read_text("utf-8").partition("## Reason codes")[2].partition("\n## ")[0]
    said = re.findall(r"^\| `([a-z0-9-]+)` \|", table, re.M)
    assert set(said) == set(REASONS)
    assert len(said) == len(set(said))


def test_every_evidence_is_explained() -> None:
    table = (REFERENCE / "signals.md").read_text("utf-8").partition("## Evidence")[2].partition("\n## ")[0]
    said = {name for cell in re.findall(r"^\| ([^|]+) \|", table, re.M) for name in cell.strip().split(", ")}
    assert set(accumulators.NEEDS) - said == set()
    given = {name for family in EMPLOYEE.signals if family is not accumulators for name in family.GIVES}
    assert given - said == {"w", "own_share", "pair_llr", "step_llr", "hour_llr", "new_device"}, "these are explained where they are used"


@pytest.mark.parametrize("page", ["reference/performance.md", "how-to/size-it.md"])
def test_the_memory_of_an_employee_is_as_it_is(page: str) -> None:
    assert f"{code_tables.bytes_an_employee():,} bytes" in (REFERENCE.parent / page).read_text("utf-8")
