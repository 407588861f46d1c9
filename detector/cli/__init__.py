"""The command line: `detector COMMAND`. A file of this package with `add(commands)` is a command, which `run(args) -> int` runs
(or, for one with verbs, what each verb's parser names as `run`); what it imports at the top must be light.

Results go to stdout, everything else to stderr. Exit codes: 0 ok, 1 the answer is no, 2 usage, 3 configuration or context, 4 model,
5 state, 6 broker, 70 a bug in this program, 75 try again, 130 interrupted.
"""

from __future__ import annotations

import argparse
import importlib
import os
import pkgutil
import sys
from collections.abc import Sequence

from detector import __version__
from detector.errors import DetectorError

EPILOG = """\
exit codes: 0 ok, 1 the answer is no, 2 usage, 3 configuration or context, 4 model, 5 state, 6 broker, 70 a bug, 75 try again,
            130 interrupted

examples:
  detector sandbox up --detach       a Kafka of your own
  detector topics create             the topics, with the right settings
  detector train --events history.ndjson.zst --context context --out models
  detector serve                     the service
  detector doctor                    what is wrong, and what to do
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command and gives its exit code; never raises."""
    try:
        args = parser().parse_args(argv)
        code: int = args.run(args)
        sys.stdout.flush()
        return code
    except SystemExit as end:  # argparse: 0 after --help, 2 on a usage error
        return end.code if isinstance(end.code, int) else 2
    except DetectorError as error:
        return _tell(str(error) or type(error).__name__, error.exit_code)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # whoever read our output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        if isinstance(error, OSError) and error.filename is not None:
            return _tell(f"{error.filename}: {error.strerror}\ngive a place that this user may read and write", 3)
        import traceback

        traceback.print_exc()
        return _tell("this is a bug in the detector\nplease report it with the lines above", 70)


def _tell(message: str, code: int) -> int:
    """`detector: what is wrong`, and indented below it what to do."""
    first, *rest = message.splitlines()
    sys.stderr.write("\n".join([f"detector: {first}", *(f"  {line}" for line in rest)]) + "\n")
    return code


def parser() -> argparse.ArgumentParser:
    whole = argparse.ArgumentParser(
        prog="detector", description="Finds insiders who misuse the access they legitimately have.", epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    whole.add_argument("--version", action="version", version=f"detector {__version__}")
    commands = whole.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name in sorted(module.name for module in pkgutil.iter_modules(__path__)):
        module = importlib.import_module(f"{__name__}.{name}")
        if hasattr(module, "add"):
            known = set(commands.choices)
            module.add(commands)
            if hasattr(module, "run"):
                for added in set(commands.choices) - known:
                    commands.choices[added].set_defaults(run=module.run)
    return whole
