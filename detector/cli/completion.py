"""`detector completion`: a script that completes commands, verbs and flags in bash and zsh, made from the parsers themselves."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from detector.cli.output import say
from detector.cli.settings import Commands, command

SCRIPT = """\
_detector() {{
  local path="" word
  for word in "${{COMP_WORDS[@]:1:COMP_CWORD-1}}"; do
    case " {paths} " in *" ${{path}}/${{word}} "*) path="${{path}}/${{word}}";; esac
  done
  case "${{path}}" in
{cases}
  esac
}}
complete -o default -F _detector detector"""


def add(commands: Commands) -> None:
    made = command(
        commands, "completion", "print a script that completes commands and flags", '  eval "$(detector completion bash)"', configured=False
    )
    made.add_argument("shell", choices=("bash", "zsh"))


def run(args: argparse.Namespace) -> int:
    from detector.cli import parser

    words = dict(_words(parser(), ""))
    cases = "\n".join(f'  "{path}") COMPREPLY=($(compgen -W "{some}" -- "${{COMP_WORDS[COMP_CWORD]}}"));;' for path, some in words.items())
    script = SCRIPT.format(paths=" ".join(filter(None, words)), cases=cases)
    say(("autoload -U bashcompinit && bashcompinit\n" if args.shell == "zsh" else "") + script)
    return 0


def _words(parser: argparse.ArgumentParser, path: str) -> Iterator[tuple[str, str]]:
    """(/command/verb, what may follow it)."""
    words = [flag for action in parser._actions for flag in action.option_strings if flag.startswith("--")]
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            words += action.choices
            for name, below in action.choices.items():
                yield from _words(below, f"{path}/{name}")
    yield path, " ".join(words)
