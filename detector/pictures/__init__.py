"""Pictures for people, drawn with matplotlib (`pip install 'detector[plot]'`), which is imported here and nowhere else, and late.

The same figures give the same bytes, as long as matplotlib is the same: no date, no random ids. Text stays text. No picture has a meaning
that is in its colours alone.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from detector.errors import ConfigError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FIRST, SECOND, THIRD, ALARM = "#2456b3", "#a56a00", "#5f6b7a", "#b3261e"
FAINT = "#d5dbe5"
KINDS = ("svg", "png", "pdf")
STYLE: dict[Any, Any] = {
    "svg.hashsalt": "detector", "svg.fonttype": "none", "font.family": "sans-serif", "font.size": 9, "axes.titlesize": 10,
    "axes.titleweight": "bold", "axes.titlelocation": "left", "axes.spines.top": False, "axes.spines.right": False,
    "axes.edgecolor": "#4a5568", "axes.labelcolor": "#1a202c", "xtick.color": "#4a5568", "ytick.color": "#4a5568", "axes.grid": True,
    "axes.axisbelow": True, "grid.color": FAINT, "grid.linewidth": 0.8, "legend.frameon": False, "figure.dpi": 100, "savefig.dpi": 130,
    "font.sans-serif": ["DejaVu Sans", "Verdana", "Helvetica", "Arial"],
    "figure.constrained_layout.w_pad": 0.1, "figure.constrained_layout.h_pad": 0.08,
}  # fmt: skip


def available() -> bool:
    """Whether pictures can be drawn here."""
    return find_spec("matplotlib") is not None


def kind_of(name: str) -> str:
    """The kind of picture that a file's name asks for. Raises ConfigError, also where none can be drawn: ask before long work."""
    kind = name.rpartition(".")[2].lower()
    if kind not in KINDS:
        raise ConfigError(f"{name}: a picture is one of {', '.join('.' + each for each in KINDS)}")
    if not available():
        raise ConfigError("pictures need matplotlib\npip install 'detector[plot]'")
    return kind


def drawn(draw: Callable[[Figure], None], size: tuple[float, float], kind: str = "svg") -> bytes:
    """A figure of that size in inches, which `draw` fills, as the bytes of a file."""
    import matplotlib
    from matplotlib.figure import Figure

    out = io.BytesIO()
    with matplotlib.rc_context():
        matplotlib.rcdefaults()  # nobody's own matplotlibrc
        matplotlib.rcParams.update(STYLE)
        figure = Figure(size, layout="constrained")
        draw(figure)
        for axes in figure.axes:
            for line in axes.lines:
                line.set_in_layout(False)  # a mark on the edge is part of the panel
        nothing = {"svg": {"Date": None, "Creator": None}, "png": {"Software": None}, "pdf": {"CreationDate": None, "Creator": None}}
        figure.savefig(out, format=kind, metadata=nothing[kind])
    return out.getvalue()


def plain_log(axes: Axes, axis: str, marks: Sequence[float]) -> None:
    """A logarithmic axis with a few marks, written as plain numbers."""
    getattr(axes, f"set_{axis}scale")("log")
    of = getattr(axes, f"{axis}axis")
    of.set_ticks(list(marks), labels=[f"{mark:g}" for mark in marks])
    of.set_ticks([], minor=True)
