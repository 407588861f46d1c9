"""docs/reference/alarms.md, whose tables are made from the rules and from the run of the situations.

DETECTOR_ALARMS=write writes them anew.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence

from server import ROOT, rules

PAGE = ROOT / "docs/reference/alarms.md"


def shown(name: str, table: str) -> str:
    """What the page has between the marks of this name; before that, writes the table there if it is asked to."""
    begin, end = f"<!-- {name} -->\n", f"<!-- end of {name} -->\n"
    text = PAGE.read_text("utf-8")
    if os.environ.get("DETECTOR_ALARMS") == "write":
        text = text.partition(begin)[0] + begin + table + end + text.partition(end)[2]
        PAGE.write_text(text, "utf-8")
    return text.partition(begin)[2].partition(end)[0]


def alarms() -> str:
    rows = [["alarm", "urgency", "after", "while"]]
    for rule in rules("alert"):
        runbook = rule["annotations"]["runbook_url"].rstrip("/").rsplit("/", 1)[1]
        link = f"[`{rule['alert']}`](../how-to/runbooks/{runbook}.md)"
        rows.append([link, rule["labels"]["severity"], rule.get("for", "at once"), code(rule["expr"])])
    return markdown(rows)


def recorded() -> str:
    return markdown([["name", "is"], *([f"`{rule['record']}`", code(rule["expr"])] for rule in rules("record"))])


def matrix(fired: Iterable[tuple[str, str]], jobs: Mapping[str, str]) -> str:
    """Situations by alarms that fired anywhere; the others are counted together. `jobs`: situation -> job."""
    fired = set(fired)
    names = [rule["alert"] for rule in rules("alert")]
    columns = [name for name in names if any(alarm == name for _, alarm in fired)]
    rows = [["situation", *(f"`{name}`" for name in columns), f"the other {len(names) - len(columns)}"]]
    for situation, job in jobs.items():
        rows.append([situation, *("**fires**" if (job, name) in fired else "-" for name in columns), "-"])
    return markdown(rows)


def code(expr: str) -> str:
    plain = re.sub(r"\s+", " ", re.sub(r"#.*", "", expr)).strip()
    return "`" + plain.replace("( ", "(").replace(" )", ")") + "`"


def markdown(rows: Sequence[Sequence[str]]) -> str:
    head, *body = ["| " + " | ".join(row) + " |\n" for row in rows]
    return head + "|" + "---|" * len(rows[0]) + "\n" + "".join(body)
