"""Values as Grafana writes them: by their unit, with few digits."""

from __future__ import annotations

import math
from collections.abc import Mapping

SUFFIX: Mapping[str, str] = {"eps": " evt/s", "cps": " c/s"}
TIMES = ((86_400.0, "d"), (3600.0, "h"), (60.0, "min"), (1.0, "s"), (1e-3, "ms"), (1e-6, "µs"))


def written(value: float, unit: str) -> str:
    """`1.5 min`, `12 %`, `3.4 MiB`, `1.2 K evt/s`."""
    if not math.isfinite(value):
        return "none"
    if unit == "s":
        size, name = next(((size, name) for size, name in TIMES if abs(value) >= size), (1.0, "s"))
        return f"{digits(value / size)} {name}"
    if unit == "percentunit":
        return f"{digits(100 * value)} %"
    if unit == "bytes":
        return scaled(value, 1024.0, (" B", " KiB", " MiB", " GiB"))
    if unit in ("short", *SUFFIX):
        return scaled(value, 1000.0, ("", " K", " M", " G")) + SUFFIX.get(unit, "")
    return digits(value)


def scaled(value: float, step: float, names: tuple[str, ...]) -> str:
    power = min(int(math.log(abs(value), step)), len(names) - 1) if abs(value) >= 1 else 0
    return digits(value / step**power) + names[power]


def digits(value: float) -> str:
    """Three of them; whole numbers without a point, and nothing of what is next to nothing."""
    return f"{value:.0f}" if abs(value) >= 100 or abs(value - round(value)) < 1e-5 else f"{value:.3g}"
