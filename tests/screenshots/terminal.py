"""What a terminal shows, as a picture: text in lines, with the few colours that the commands use."""

from __future__ import annotations

import re
import textwrap
from html import escape
from pathlib import Path

COLOURS = {"31": "red", "1;31": "red", "33": "yellow", "36": "cyan", "0": ""}
WIDTH, LINE, LETTER, EDGE = 118, 18, 7.85, 18
STYLE = """
    .ground { fill: #14181f }
    .bar { fill: #232a35 }
    text { font-family: ui-monospace, 'DejaVu Sans Mono', Menlo, Consolas, monospace; font-size: 13px; fill: #d7dde6; white-space: pre }
    .typed { fill: #ffffff; font-weight: 600 }
    .red { fill: #ff7b72; font-weight: 600 }
    .yellow { fill: #e3b341; font-weight: 600 }
    .cyan { fill: #56d4dd; font-weight: 600 }
    .title { fill: #9aa5b5; font-size: 12px }"""


def screen(title: str, typed: str, shown: str, path: Path) -> None:
    """An SVG of a terminal in which `typed` was typed and `shown` came back, with its ANSI colours."""
    lines = [
        f'<tspan class="typed">$ {escape(typed, quote=False)}</tspan>',
        *(part for line in shown.splitlines() for part in wrapped(line)),
    ]
    height = 34 + EDGE + LINE * len(lines)
    text = "\n".join(f'  <text x="{EDGE}" y="{34 + EDGE + LINE * n}" xml:space="preserve">{line}</text>' for n, line in enumerate(lines))
    width = round(2 * EDGE + LETTER * WIDTH)
    path.write_text(
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" aria-labelledby="title">\n'
        f'  <title id="title">{escape(title)}</title>\n  <style>{STYLE}\n  </style>\n'
        f'  <rect class="ground" width="{width}" height="{height}" rx="8"/>\n'
        f'  <path class="bar" d="M0 8a8 8 0 0 1 8-8h{width - 16}a8 8 0 0 1 8 8v20H0z"/>\n'
        f'  <text class="title" x="{width / 2:g}" y="19" text-anchor="middle">{escape(title)}</text>\n{text}\n</svg>\n'
    )


def wrapped(line: str) -> list[str]:
    """Lines as wide as the terminal, in SVG; what goes on is set in as far as the line's words are."""
    plain = re.sub(r"\x1b\[[\d;]*m", "", line)
    if len(plain) <= WIDTH:
        return [coloured(line)]
    indent = re.match(r" *(\d+%  )?", plain)[0]  # type: ignore[index]
    return [escape(part, quote=False) for part in textwrap.wrap(plain, WIDTH, subsequent_indent=" " * len(indent), drop_whitespace=True)]


def coloured(line: str) -> str:
    out, name = [], ""
    for part in re.split(r"(\x1b\[[\d;]*m)", line):
        if found := re.fullmatch(r"\x1b\[([\d;]*)m", part):
            name = COLOURS[found[1]]
        elif part:
            said = escape(part, quote=False)
            out.append(f'<tspan class="{name}">{said}</tspan>' if name else said)
    return "".join(out)
