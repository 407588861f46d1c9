"""What the documentation says is there is there, and what is there is documented."""

from __future__ import annotations

import argparse
import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from detector.cli import parser
from detector.core import hypotheses
from detector.core.alerts import Alert
from detector.core.context import OFF_WITHOUT
from detector.core.dead_letters import REASONS
from detector.errors import DetectorError
from detector.kafka.topics import DESIGN
from detector.metrics.page import lines
from detector.metrics.table import TABLE, Kind
from detector.sandbox import jars
from detector.sandbox.java import OLDEST

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md"), ROOT / "models/README.md", ROOT / "config/context/README.md"])


def page(name: str) -> str:
    return (DOCS / name).read_text("utf-8")


def outside_code(text: str) -> str:
    return re.sub(r"^```.*?^```", "", text, flags=re.M | re.S)


def links(text: str) -> list[str]:
    return re.findall(r"\]\(([^)\s]+)\)", outside_code(text)) + re.findall(r'(?:src|srcset|href)="([^"]+)"', text)


def anchors(file: Path) -> set[str]:
    """As GitHub makes them of headings."""
    headings = re.findall(r"^#+ (.*)$", outside_code(file.read_text("utf-8")), re.M)
    return {re.sub(r"[^\w\- ]", "", re.sub(r"`", "", heading).strip().lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("file", PAGES, ids=lambda file: str(file.relative_to(ROOT)))
def test_every_relative_link_and_picture_leads_somewhere(file: Path) -> None:
    broken = []
    for link in links(file.read_text("utf-8")):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (file.parent / path).resolve() if path else file
        if not target.exists() or (anchor and target.suffix == ".md" and anchor not in anchors(target)):
            broken.append(link)
    assert not broken


def test_every_page_can_be_reached_from_the_readme() -> None:
    seen: set[Path] = set()
    left = [ROOT / "README.md"]
    while left:
        file = left.pop()
        if file in seen or file.suffix != ".md":
            continue
        seen.add(file)
        left += [
            (file.parent / link.partition("#")[0]).resolve() for link in links(file.read_text("utf-8")) if not re.match(r"[a-z]+:|#", link)
        ]
    assert not {str(file.relative_to(ROOT)) for file in DOCS.rglob("*.md")} - {str(file.relative_to(ROOT)) for file in seen}


@pytest.mark.parametrize(("title", "kind"), [("Counters", "counter"), ("Histograms", "histogram"), ("Gauges", "gauge")])
def test_the_page_of_metrics_shows_the_table_of_the_code(title: str, kind: Kind) -> None:
    section = page("reference/metrics.md").partition(f"\n## {title}\n")[2].partition("\n## ")[0]
    assert [line for line in section.splitlines() if line.startswith("|")] == lines(kind)


@pytest.mark.parametrize("file", PAGES, ids=lambda file: str(file.relative_to(ROOT)))
def test_a_metric_that_a_page_speaks_of_is_there(file: Path) -> None:
    parts = [metric.exposed + part for metric in TABLE if metric.kind == "histogram" for part in ("_bucket", "_sum", "_count")]
    spoken = set(re.findall(r"\bdetector_[a-z_]+\b(?!:)", file.read_text("utf-8")))  # a recorded one has a colon
    assert spoken - {metric.exposed for metric in TABLE} - set(parts) <= {"detector_alerts"}  # a resource in an example


def commands(parsers: argparse.ArgumentParser, path: str) -> Iterator[tuple[str, set[str]]]:
    """(command, its flags); a family of verbs has none of its own."""
    families = [action for action in parsers._actions if isinstance(action, argparse._SubParsersAction)]
    for family in families:
        for name, below in family.choices.items():
            yield from commands(below, f"{path} {name}")
    if not families:
        yield path, {flag for action in parsers._actions for flag in action.option_strings if flag.startswith("--")} - {"--help"}


def test_every_reason_for_a_dead_letter_is_documented() -> None:
    assert "reference/dead-letters.md" in {str(file.relative_to(DOCS)) for file in PAGES if file.is_relative_to(DOCS)}
    said = page("reference/dead-letters.md") + page("reference/events.md")
    assert [reason for reason in REASONS if f"`{reason}`" not in said] == []


def test_every_hypothesis_is_explained_and_no_other() -> None:
    assert set(re.findall(r"^\| `(\w+)` \|", page("explanation/detection.md"), re.M)) == set(hypotheses.names())


def test_every_member_of_an_alert_is_documented_and_no_other() -> None:
    assert set(re.findall(r"^\| `(\w+)` \|", page("reference/alerts.md"), re.M)) == set(Alert.__struct_fields__)


def test_every_file_of_the_context_is_documented_and_no_other() -> None:
    assert set(re.findall(r"^\| `([\w.]+)` \|", page("reference/context.md"), re.M)) == set(OFF_WITHOUT)


def test_every_exit_code_of_an_error_is_documented() -> None:
    said = set(map(int, re.findall(r"^\| (\d+) \|", page("reference/exit-codes.md"), re.M)))
    kinds = [DetectorError, *DetectorError.__subclasses__()]
    assert {kind.exit_code for kind in kinds} | {0, 1, 2, 75, 130} == said


def test_the_topics_in_use_are_documented_with_their_settings() -> None:
    said = page("how-to/run-in-production.md")
    for role in DESIGN:
        missing = [f"`{name}={value}`" for name, value in DESIGN[role].items() if f"`{name}={value}`" not in said]
        assert not missing, role


def test_every_module_has_its_place_on_the_page_of_the_architecture() -> None:
    said = page("explanation/architecture.md")
    modules = {path.name if path.is_file() else f"{path.name}/" for path in (ROOT / "detector").iterdir() if not path.name.startswith("__")}
    modules -= {"py.typed"}
    assert [name for name in sorted(modules) if f"`detector/{name}`" not in said and f"`{name}`" not in said] == []
    assert [name for name in re.findall(r"`detector/([\w/.]+)`", said) if not (ROOT / "detector" / name).exists()] == []


def test_what_is_supported_is_what_the_packages_and_the_sandbox_say() -> None:
    said, project = page("reference/support.md"), tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert f"Apache Kafka {jars.VERSION}, KRaft" in said
    versions = [kind.removeprefix("Programming Language :: Python :: ") for kind in project["classifiers"] if ":: 3." in kind]
    assert f"| Python | {', '.join(versions)} |" in said
    (client,) = (found for found in map(re.compile(r"kafka-python>=([\d.]+),<([\d.]+)").fullmatch, project["dependencies"]) if found)
    assert f"| kafka-python | from {client[1]}, before {client[2]} |" in said
    assert f"Java | {OLDEST} and newer" in said


def test_what_the_readme_tells_to_make_can_be_made() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.M))
    told = set(re.findall(r"\bmake ([a-z-]+)", (ROOT / "README.md").read_text("utf-8")))
    assert {"run", "test"} <= told <= targets


def test_commands_shown_in_pages_are_commands() -> None:
    known = {path for path, _ in commands(parser(), "detector")} | {"detector --version"}
    shown = [
        (str(file.relative_to(ROOT)), line.strip())
        for file in PAGES
        for block in re.findall(r"^```(?:sh|console)\n(.*?)^```", file.read_text("utf-8"), re.M | re.S)
        for line in block.splitlines()
        if re.match(r"\s*(\$ )?(\.venv/bin/)?detector ", line)
    ]
    wrong = [(file, line) for file, line in shown if not any(re.search(rf"{path}( |$)", line) for path in known)]
    assert shown
    assert not wrong


@pytest.mark.parametrize("file", PAGES, ids=lambda file: str(file.relative_to(ROOT)))
def test_what_is_shown_as_json_is_json(file: Path) -> None:
    for block in re.findall(r"^```json\n(.*?)^```", file.read_text("utf-8"), re.M | re.S):
        json.loads(block)
