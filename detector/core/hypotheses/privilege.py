"""Helps themselves to rights: changes their own, uses the new ones at once, and tidies up behind themselves."""

from __future__ import annotations

from collections.abc import Sequence

from detector.core.hypotheses import Hypothesis, Reading, about, span, usual


def says(readings: Sequence[Reading]) -> str:
    return "; ".join(_says(r) for r in readings if r.value > 0)


def _says(r: Reading) -> str:
    if r.name == "grant_use":
        return (
            f"used what they had given themselves the right to in the three days before, or took that right back: strength "
            f"{about(r.value)}, from 1 on where nothing explains either"
        )
    return (
        f"changed their own rights or tried to, or used what such a change gave them: weight {about(r.value)} {span(r)} ({usual(r)}); "
        f"a change that nothing explains counts about 1"
    )


HYPOTHESIS = Hypothesis("privilege", ("privilege.16h.own", "grant_use"), "sum", says)
