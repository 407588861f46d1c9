"""SVG by hand: a few shapes in named styles, text as text, readable on a light and on a dark ground."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from pathlib import Path

STYLE = """
    .ground { fill: #ffffff }
    .panel { fill: #f4f6fa }
    .band { fill: #f7dcd5 }
    .grid { stroke: #d5dbe5; stroke-width: 1 }
    .axis { stroke: #4a5568; stroke-width: 1.2 }
    .cut { stroke: #b3261e; stroke-width: 1.4; stroke-dasharray: 5 4 }
    .first { stroke: #2456b3; fill: none; stroke-width: 3 }
    .second { stroke: #a56a00; fill: none; stroke-width: 3 }
    .third { stroke: #5f6b7a; fill: none; stroke-width: 3 }
    .thin { stroke-width: 1; stroke-opacity: .55 }
    .mark { fill: #2456b3 }
    .faint { fill: #b9c3d2 }
    .alert { fill: #b3261e }
    text { fill: #1a202c; font-size: 13.5px }
    .small { fill: #4a5568; font-size: 12px }
    .title { font-size: 16px; font-weight: 600 }
    .name { font-weight: 600 }
    .badge { fill: #ffffff; font-weight: 700; font-size: 12.5px }
    .code { font-family: ui-monospace, 'DejaVu Sans Mono', Menlo, Consolas, monospace; font-size: 12.5px }
    .end { text-anchor: end }
    .middle { text-anchor: middle }
    @media (prefers-color-scheme: dark) {
      .ground { fill: #14181f }
      .panel { fill: #1c222c }
      .band { fill: #4a2420 }
      .grid { stroke: #323b4a }
      .axis { stroke: #b7c0ce }
      .cut { stroke: #ff9a8c }
      .first { stroke: #8fb0ea }
      .second { stroke: #e0ac4d }
      .third { stroke: #aab4c3 }
      .mark { fill: #8fb0ea }
      .faint { fill: #4a5568 }
      .alert { fill: #d8574a }
      text { fill: #eef1f5 }
      .small { fill: #b7c0ce }
    }"""


class Drawing:
    """Coordinates in pixels from the upper left corner. `style`: one or more names of STYLE."""

    def __init__(self, width: int, title: str, description: str) -> None:
        self._width, self._title, self._description = width, title, description
        self._parts: list[str] = []

    def rect(self, x: float, y: float, width: float, height: float, style: str, round: float = 0) -> None:
        corner = f' rx="{round:g}"' if round else ""
        self._parts.append(f'<rect class="{style}" x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}"{corner}/>')

    def circle(self, x: float, y: float, radius: float, style: str) -> None:
        self._parts.append(f'<circle class="{style}" cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}"/>')

    def line(self, points: Iterable[tuple[float, float]], style: str) -> None:
        self._parts.append(f'<path class="{style}" fill="none" d="M{" ".join(f"{x:.1f} {y:.1f}" for x, y in points)}"/>')

    def triangle(self, x: float, y: float, size: float, style: str) -> None:
        """Its tip, below, at (x, y)."""
        self._parts.append(
            f'<path class="{style}" d="M{x:.1f} {y:.1f} {x - size:.1f} {y - 1.6 * size:.1f} {x + size:.1f} {y - 1.6 * size:.1f}z"/>'
        )

    def text(self, x: float, y: float, said: str, style: str = "") -> None:
        named = f' class="{style}"' if style else ""
        self._parts.append(f'<text{named} x="{x:.1f}" y="{y:.1f}">{escape(said, quote=False)}</text>')

    def save(self, path: Path, height: float) -> None:
        head = (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {self._width} {height:.0f}" role="img" aria-labelledby="title text" '
            f"font-family=\"system-ui, 'Segoe UI', 'DejaVu Sans', Helvetica, Arial, sans-serif\">\n"
            f'  <title id="title">{escape(self._title)}</title>\n  <desc id="text">{escape(self._description)}</desc>\n'
            f'  <style>{STYLE}\n  </style>\n  <rect class="ground" width="{self._width}" height="{height:.0f}" rx="10"/>\n'
        )
        path.write_text(head + "\n".join(f"  {part}" for part in self._parts) + "\n</svg>\n")
