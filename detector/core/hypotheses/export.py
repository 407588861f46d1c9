"""Takes much out: records or bytes in exports."""

from __future__ import annotations

from collections.abc import Sequence

from detector.core.hypotheses import Hypothesis, Reading, about, each_once, span, usual

MEGABYTE = 1e6


def says(readings: Sequence[Reading]) -> str:
    return "; ".join(_says(r) for r in each_once(readings) if r.value > 0)


def _says(r: Reading) -> str:
    if not r.name.startswith("bytes_out."):
        return (
            f"exported records: weight {about(r.value)} {span(r)} ({usual(r)}); one without a reason counts 1, with a ticket half or less"
        )
    r = r._replace(value=r.value / MEGABYTE, own_usual=_megabytes(r.own_usual), team_usual=_megabytes(r.team_usual))
    return f"exported data: weight {about(r.value)} MB {span(r)} ({usual(r)}); with a reason half or less of it counts"


def _megabytes(number: float | None) -> float | None:
    return None if number is None else number / MEGABYTE


HYPOTHESIS = Hypothesis("export", ("export.16h.team", "export.16h.own", "bytes_out.16h.own"), "max", says)
