"""`detector doctor`: everything that can be wrong around the service, each with what to do."""

from __future__ import annotations

import argparse
from typing import Any

from detector.cli.output import as_json, say
from detector.cli.settings import Commands, command, read, setting

EXAMPLES = """\
  detector doctor
  detector doctor --config /etc/detector/detector.toml
  detector doctor --bootstrap-servers kafka-1:9093 --set kafka.security_protocol=SSL
  detector doctor --json | jq -r '.[] | select(.state == "failed") | .id'"""


def add(commands: Commands) -> None:
    made = command(commands, "doctor", "what is wrong around the service, and what to do about it", EXAMPLES)
    setting(made, "--bootstrap-servers", "kafka.bootstrap_servers", "HOST:PORT,...", "the brokers")
    made.add_argument("--json", action="store_true", help="for programs")


def run(args: argparse.Namespace) -> int:
    """0 if all is well, else the exit code of the first thing that is not."""
    from detector.cli.checkup import examine

    results: list[dict[str, Any]] = []
    for check, state, notes, code in examine(read(args).config):
        results.append({"id": check.id, "check": check.title, "state": state, "exit_code": code, "notes": notes})
        if not args.json:
            between = " " if state == "skipped" else "\n         "
            say(between.join((f"{state:<7}  {check.title}", *notes)))
    if args.json:
        as_json(results)
    return next((result["exit_code"] for result in results if result["exit_code"]), 0)
