"""Uses what was taken away: by a revocation from the team, or by leaving the team whose it is."""

from __future__ import annotations

from collections.abc import Sequence

from detector.core.hypotheses import Hypothesis, Reading, about, lately, span, usual


def says(readings: Sequence[Reading]) -> str:
    r = lately(readings)
    return (
        f"used or tried to use what had been taken away from their team, or what a team they have left works with and theirs hardly does: "
        f"weight {about(r.value)} {span(r)} ({usual(r)}); a use that nothing explains counts about 1, a denied one a third of it, less "
        f"where colleagues use it too"
    )


HYPOTHESIS = Hypothesis("revoked", ("revoked.16h.own", "revoked.6d.team"), "sum", says, needs=("revocations.csv", "directory_changes.csv"))
