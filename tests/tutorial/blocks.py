"""The shell blocks of a page, and what the page says that they print."""

from __future__ import annotations

import re
from typing import NamedTuple

BLOCK = re.compile(r"^```(\w*)\n(.*?)^```\n", re.M | re.S)
VERSION = re.compile(r"\b[0-9a-f]{12}\b")


class Block(NamedTuple):
    command: str
    output: tuple[str, ...]
    """Lines that it prints, among others; `...` stands for anything."""


def blocks(page: str) -> list[Block]:
    """Every `sh` block in order, with the block without a language that follows it before the next one."""
    found: list[Block] = []
    for language, text in BLOCK.findall(page):
        if language == "sh":
            found.append(Block(text, ()))
        elif not language and found:
            found[-1] = Block(found[-1].command, tuple(line for line in text.splitlines() if line != "..."))
    return found


def missing(said: str, block: Block) -> list[str]:
    """Lines of the page that the output does not have, in whatever order. Models' versions are not compared: libraries change them."""
    lines = [VERSION.sub("VERSION", line.rstrip()) for line in said.splitlines()]
    return [line for line in block.output if not any(_pattern(line).fullmatch(other) for other in lines)]


def _pattern(line: str) -> re.Pattern[str]:
    return re.compile(".*".join(map(re.escape, VERSION.sub("VERSION", line.rstrip()).split("..."))))
