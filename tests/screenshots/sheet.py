"""A page of plain Markdown as a picture: headings, paragraphs, tables, bullets, and pictures that are SVG themselves."""

from __future__ import annotations

import base64
import re
import textwrap
from html import escape
from pathlib import Path

WIDTH, EDGE, LINE = 940, 28, 19
LETTERS, CELL = 122, 54
"""Of a line of text, and of one in a table at most."""
LARGER = 1.15
"""So much are pictures drawn larger than they are."""
STYLE = """
    .ground { fill: #ffffff; stroke: #d5dbe5 }
    text { font-family: system-ui, 'Segoe UI', 'DejaVu Sans', Helvetica, Arial, sans-serif; font-size: 13px; fill: #1a202c }
    .h1 { font-size: 21px; font-weight: 600 }
    .h2 { font-size: 16px; font-weight: 600 }
    .head { font-weight: 600; fill: #4a5568 }
    .code { font-family: ui-monospace, 'DejaVu Sans Mono', Menlo, Consolas, monospace; font-size: 12px }
    path { stroke: #d5dbe5; stroke-width: 1 }"""


class Sheet:
    def __init__(self, folder: Path) -> None:
        self._folder, self._parts, self._y = folder, list[str](), float(EDGE)

    def draw(self, title: str, text: str, path: Path) -> None:
        for block in re.split(r"\n\s*\n", text.strip()):
            self._block(block.splitlines())
        height, parts = round(self._y + EDGE / 2), "\n".join(self._parts)
        path.write_text(
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" aria-labelledby="title">\n'
            f'  <title id="title">{escape(title)}</title>\n  <style>{STYLE}\n  </style>\n'
            f'  <rect class="ground" x=".5" y=".5" width="{WIDTH - 1}" height="{height - 1}" rx="8"/>\n{parts}\n</svg>\n'
        )

    def _block(self, lines: list[str]) -> None:
        first = lines[0]
        if found := re.fullmatch(r"(#+) (.*)", first):
            self._y += 8
            self._text(EDGE, found[2], f"h{len(found[1])}")
            self._y += 8
        elif first.startswith("|"):
            self._table([[cell.strip() for cell in line.strip("|").split("|")] for line in lines])
        elif found := re.fullmatch(r"!\[.*\]\((.*)\)", first):
            self._picture(self._folder / found[1])
        else:
            for part in re.split(r"\n(?=\* )", "\n".join(lines)):
                bullet = part.startswith("* ")
                words = part.removeprefix("* ").replace("\n", " ")
                for n, line in enumerate(textwrap.wrap(words, LETTERS - 3 * bullet)):
                    self._text(EDGE + 16 * bullet, ("• " if bullet and not n else "") + line)
            self._y += 10

    def _text(self, x: float, said: str, style: str = "") -> None:
        self._y += LINE
        self._write(x, said, style)

    def _write(self, x: float, said: str, style: str = "") -> None:
        coded = re.sub(r"`([^`]*)`", r'<tspan class="code">\1</tspan>', escape(said, quote=False))
        named = f' class="{style}"' if style else ""
        self._parts.append(f'  <text{named} x="{x:g}" y="{self._y:g}">{coded}</text>')

    def _table(self, rows: list[list[str]]) -> None:
        head, body = rows[0], rows[2:]
        sizes = [min(max(len(row[n].replace("`", "")) for row in [head, *body]), CELL) * 6.9 + 22 for n in range(len(head))]
        for number, row in enumerate([head, *body] if any(head) else body):
            parts = [textwrap.wrap(cell, CELL) or [""] for cell in row]
            top = self._y
            for line in range(max(map(len, parts))):
                self._y = top + LINE * (line + 1)
                for n, cell in enumerate(parts):
                    if line < len(cell):
                        self._write(EDGE + sum(sizes[:n]), cell[line], "head" if any(head) and not number else "")
            self._y += 5
            self._parts.append(f'  <path d="M{EDGE} {self._y + 1:g}h{min(sum(sizes), WIDTH - 2 * EDGE):g}"/>')
        self._y += 12

    def _picture(self, file: Path) -> None:
        drawn = file.read_bytes()
        size = re.search(rb'viewBox="0 0 ([\d.]+) ([\d.]+)"', drawn)
        assert size, f"{file} does not say how large it is"
        wide, high = (LARGER * float(part) for part in size.groups())
        held = base64.b64encode(drawn).decode()
        box = f'x="{EDGE}" y="{self._y:g}" width="{wide:g}" height="{high:g}"'
        self._parts.append(f'  <image {box} href="data:image/svg+xml;base64,{held}"/>')
        self._y += high + 12
