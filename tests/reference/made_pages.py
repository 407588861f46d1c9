"""Every page of the reference that is made, or in part, from the code; and what it has to hold."""

from __future__ import annotations

from pathlib import Path

import code_tables
import command_pages

from detector.cli import parser

REFERENCE = Path(__file__).parents[2] / "docs/reference"


def contents() -> dict[Path, str]:
    """Page -> its text as the code has it now."""
    pages = {path: path.read_text("utf-8") for path in sorted(REFERENCE.glob("*.md"))}
    made = {path: text for path, page in pages.items() if (text := code_tables.rewritten(page)) is not None}
    command_line, settings = REFERENCE / "cli.md", REFERENCE / "configuration.md"
    made[command_line] = command_pages.rewritten(command_line.read_text("utf-8"), parser())
    metrics = REFERENCE / "metrics.md"
    made[metrics] = code_tables.rewritten_metrics(metrics.read_text("utf-8"))
    made[settings] = code_tables.rewritten_settings(settings.read_text("utf-8"))
    return made
