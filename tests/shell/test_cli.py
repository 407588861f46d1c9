"""The command line's contracts: exit codes, results on stdout and all else on stderr, messages that say what to do."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from detector.cli import main, parser
from detector.cli.progress import Progress
from detector.config import defaults_text

PROGRAM = (sys.executable, "-m", "detector.cli")


class Done(NamedTuple):
    returncode: int
    stdout: str
    stderr: str


Run = Callable[..., Done]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """The program within this process, in an empty folder."""

    def run(*words: str, **environ: str) -> Done:
        with monkeypatch.context() as patch:
            patch.chdir(tmp_path)
            for name in [name for name in os.environ if name.startswith("DETECTOR__")]:
                patch.delenv(name)
            for name, value in environ.items():
                patch.setenv(name, value)
            capsys.readouterr()
            return Done(main(words), *capsys.readouterr())

    return run


NOWHERE = {"DETECTOR__KAFKA__BOOTSTRAP_SERVERS": "127.0.0.1:1"}
CODES = {
    "help": (["--help"], {}, 0, ""),
    "version": (["--version"], {}, 0, ""),
    "no command": ([], {}, 2, "usage:"),
    "an unknown command": (["sevre"], {}, 2, "invalid choice"),
    "an unknown flag": (["doctor", "--loud"], {}, 2, "unrecognized arguments"),
    "a setting that is none": (["config", "check", "--set", "port"], {}, 2, "is not SECTION.KEY=VALUE"),
    "a time that is none": (["sandbox", "company", "--end", "noon"], {}, 2, "is not a time"),
    "sound settings": (["config", "check"], {}, 0, "context.folder is empty"),
    "a wrong key": (["config", "check", "--set", "metrics.prot=1"], {}, 3, "did you mean 'port'?"),
    "a wrong variable": (["config", "show"], {"DETECTOR__METRICS__PORT": "x"}, 3, "DETECTOR__METRICS__PORT: metrics.port: expected int"),
    "an absent file": (["config", "show", "--config", "none.toml"], {}, 3, "`detector config init none.toml`"),
    "an absent context": (["config", "check", "--set", "context.folder=none"], {}, 3, "there is no such folder"),
    "an unknown hypothesis": (["config", "check", "--set", "detection.hypotheses=harvset"], {}, 3, "there is no 'harvset'"),
    "no registry": (["models", "list"], {}, 4, "detector train --out models"),
    "no champion": (["models", "check", "champion"], {}, 4, "has no champion"),
    "no broker": (["topics", "check"], NOWHERE, 6, "127.0.0.1:1"),
    "a place that cannot be written": (["config", "init", "/proc/none/detector.toml"], {}, 3, "/proc/none"),
    "an unknown incident": (["sandbox", "company", "--incident", "heist"], {}, 3, "there are story"),
    "a log that is none": (["sandbox", "bpic", "none.csv", "out.ndjson"], {}, 3, "give the CSV"),
}


@pytest.mark.parametrize(("words", "environ", "code", "says"), CODES.values(), ids=CODES.keys())
def test_the_exit_code_says_who_must_act(words: list[str], environ: dict[str, str], code: int, says: str, run: Run) -> None:
    done = run(*words, **environ)
    assert done.returncode == code, done.stderr
    assert says in done.stderr and "Traceback" not in done.stderr
    assert (done.stdout == "") == (code != 0)


@pytest.mark.parametrize("name", ["version", "no command", "a wrong key", "no registry"])
def test_a_process_ends_with_that_code(name: str, tmp_path: Path) -> None:
    words, _, code, says = CODES[name]
    done = subprocess.run([*PROGRAM, *words], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == code and says in done.stderr


def test_an_error_says_what_and_below_it_what_to_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "list", "--models", str(tmp_path / "none")]) == 4
    first, *rest = capsys.readouterr().err.splitlines()
    assert first.startswith("detector: ") and rest and all(line.startswith("  ") for line in rest)


def test_a_bug_is_70_with_a_traceback(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("detector.config.shown", lambda loaded: 1 / 0)
    assert main(["config", "show"]) == 70
    assert "ZeroDivisionError" in capsys.readouterr().err


def test_a_reader_that_has_seen_enough_is_no_error(tmp_path: Path) -> None:
    pipe = f"{' '.join(PROGRAM)} config schema | true; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", pipe], cwd=tmp_path, capture_output=True)
    assert (done.returncode, done.stderr) == (0, b"")


def test_help_is_quick_because_nothing_heavy_is_imported(tmp_path: Path) -> None:
    heavy = "{'numba', 'sklearn', 'kafka', 'numpy'}"
    code = f"import sys; from detector.cli import parser; parser(); print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout == "[]\n", done.stdout + done.stderr


def test_every_command_is_in_the_help_and_has_one() -> None:
    commands = parser()._subparsers._group_actions[0].choices  # type: ignore[union-attr]
    assert {"config", "models", "topics", "doctor", "sandbox", "serve", "train", "replay"} <= set(commands)  # type: ignore[arg-type]
    for name in commands:  # type: ignore[union-attr]
        assert main([name, "--help"]) == 0


def test_config_init_writes_a_file_that_check_accepts_and_does_not_write_over_one(run: Run, tmp_path: Path) -> None:
    assert run("config", "init").returncode == 0
    assert (tmp_path / "config" / "detector.toml").read_text() == defaults_text()
    assert run("config", "check").returncode == 0
    again = run("config", "init")
    assert again.returncode == 3 and "--force" in again.stderr
    assert run("config", "init", "--force").returncode == 0
    assert run("config", "init", "-").stdout == defaults_text()


def test_config_check_tells_all_that_is_wrong_with_what_the_settings_point_to(run: Run, tmp_path: Path) -> None:
    (tmp_path / "context").mkdir()
    (tmp_path / "context" / "directory.csv").write_text("name\n")
    done = run(
        "config", "check", "--set", "context.folder=context", "--set", "kafka.security_protocol=SSL", "--set", "kafka.ssl_cafile=none.pem"
    )  # fmt: skip
    assert done.returncode == 3 and "directory.csv:1:employee" in done.stderr and "ssl_cafile" in done.stderr


def test_config_show_names_origins_for_people_and_programs(run: Run) -> None:
    done = run("config", "show", "--json", "--set", "metrics.port=7", DETECTOR__LOGS__LEVEL="debug")
    shown = {entry["key"]: (entry["value"], entry["origin"]) for entry in json.loads(done.stdout)}
    assert shown["metrics.port"] == (7, "command line") and shown["logs.level"] == ("debug", "DETECTOR__LOGS__LEVEL")
    assert shown["group.id"] == ("detector", "default")
    assert "DETECTOR__LOGS__LEVEL" in run("config", "show", DETECTOR__LOGS__LEVEL="debug").stdout


def test_the_company_is_written_as_files(run: Run, tmp_path: Path) -> None:
    words = ("sandbox", "company", "--employees", "60", "--days", "2", "--end", "2026-03-04T00:00:00Z", "--context", "ctx")
    assert run(*words, "--history", "h.ndjson").returncode == 0
    assert run(*words, "--history", "again.ndjson").returncode == 0
    assert (tmp_path / "h.ndjson").read_bytes() == (tmp_path / "again.ndjson").read_bytes() != b""
    assert run("config", "check", "--set", "context.folder=ctx").returncode == 0


def test_completion_knows_commands_verbs_and_flags(run: Run) -> None:
    typed = 'COMP_WORDS=(detector models show --m); COMP_CWORD=3; _detector; echo "${COMPREPLY[@]}"'
    script = run("completion", "bash").stdout
    assert subprocess.run(["bash", "-c", script + typed], capture_output=True, text=True).stdout == "--models\n"


def progress_on(stream: object, begun: float, monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter((0.0, begun, begun + 1, begun + 1.01))
    monkeypatch.setattr("detector.cli.progress.time.monotonic", lambda: next(now))
    with Progress("reading", "B", stream) as bar:  # type: ignore[arg-type]
        bar.update(2_000_000, 4_000_000)
        bar.update(3_000_000, 4_000_000)
        bar.update(4_000_000, 4_000_000)


@pytest.mark.parametrize(("begun", "terminal", "lines"), [(1.0, True, 1), (4.0, True, 2), (4.0, False, 0)])
def test_progress_is_for_terminals_after_two_seconds(begun: float, terminal: bool, lines: int, monkeypatch: pytest.MonkeyPatch) -> None:
    reads, writes = pty.openpty() if terminal else os.pipe()
    with os.fdopen(writes, "w") as stream:
        progress_on(stream, begun, monkeypatch)
        shown = ""
        while lines and not shown.endswith("\r\x1b[K"):  # a terminal may hand out what it got in parts
            shown += os.read(reads, 4096).decode()
    os.close(reads)
    assert shown.count("reading:") == lines
    if lines == 2:
        assert "reading:  50%, 500.0 kB/s, 4 s left" in shown and shown.endswith("\r\x1b[K")


def test_a_process_log_becomes_events_and_a_directory(run: Run, tmp_path: Path) -> None:
    header = "case_id,activity,timestamp,lifecycle,resource,product\n"
    rows = "7,A,2011-10-01T00:38:44.546+02:00,COMPLETE,112,\n8,B,2011-10-01T00:39:00.000+02:00,START,10124,\n"
    (tmp_path / "log.csv").write_text(header + rows)
    done = run("sandbox", "bpic", "log.csv", "out/events.ndjson", "--context", "ctx")
    assert done.returncode == 0 and "2 events" in done.stdout
    events = [json.loads(line) for line in (tmp_path / "out" / "events.ndjson").read_text().splitlines()]
    assert [(event["actor"], event["action"], event["subject"]) for event in events] == [("112", "write", "7"), ("10124", "read", "8")]
    assert "112,automatic,service" in (tmp_path / "ctx" / "directory.csv").read_text()
