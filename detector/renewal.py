"""Renewal, the cheap nightly training: daily records and the model that stands -> the model of the next day, and what is said of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detector.core.daily import Daily
from detector.core.exclusions import NOBODY, Exclusions
from detector.core.frame import DAY
from detector.core.model import FORMAT, Model
from detector.core.refresh import LEAST_DAYS, refreshed
from detector.core.restraint import Moves
from detector.core.window import Window
from detector.errors import ModelError
from detector.training import made_with


@dataclass(frozen=True, slots=True)
class Renewed:
    model: Model
    parent: Mapping[str, Any]
    """The manifest of the model before."""
    days: tuple[int, int, int]
    """Days with records; the first and the last of them, since 1970."""
    records: int
    employees: int
    excluded: int
    """Records that were left out as told."""
    unfit: int
    """Days whose records are of a model with other hypotheses."""
    nights: int
    """Since the model before: so many times as far may teams move."""
    moves: Moves


def renew(model: Model, parent: Mapping[str, Any], days: Sequence[Daily], excluded: Exclusions = NOBODY) -> Renewed:
    """`days`: records of all partitions, blocks in any order. Raises ModelError where they are too few to say what is usual."""
    fit = [d for d in days if d.column("joined").shape[1] == len(model.hypotheses)]
    clean = [_without(d, excluded) for d in fit]
    window = Window.of(clean)
    unfit = {d.day for d in days} - {d.day for d in fit}
    if len(window) < LEAST_DAYS:
        others = f"; {len(unfit)} more are of a model with other hypotheses" if unfit else ""
        raise ModelError(
            f"daily records: there are {len(window)} days of the last four weeks, {LEAST_DAYS} are needed{others}\n"
            "let the service go on writing them, or train from events"
        )
    nights = max(window.last - _last_day(parent), 1)
    made, moves = refreshed(model, window, nights)
    records, left = sum(map(len, window.days)), sum(map(len, fit)) - sum(map(len, clean))
    assert window.voters is not None
    span = (len(window), window.days[0].day, window.last)
    return Renewed(made, parent, span, records, len(window.voters), left, len(unfit), nights, moves)


def artefact(made: Renewed, names: Mapping[int, str]) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """Arrays and manifest for a registry; `names`: hash of a team -> its name. The same records and parent give the same bytes."""
    arrays, said = made.model.to_arrays()
    number, first, last = made.days
    refresh = {
        "days": number, "first_day": first, "last_day": last, "records": made.records, "employees": made.employees,
        "excluded": made.excluded, "nights": made.nights, "teams": len(made.moves.teams), "held_back": held_back(made.moves, names),
    }  # fmt: skip
    views = {**made.parent.get("views", {}), made.model.view: said}
    manifest = {
        "format": FORMAT, "views": views, "training": dict(made.parent.get("training", {})), "parent": made.parent["version"],
        "refresh": refresh, **made_with(),
    }  # fmt: skip
    return arrays, manifest


def held_back(moves: Moves, names: Mapping[int, str]) -> list[dict[str, Any]]:
    """The teams that would have moved farther than they may, farthest first: which, how many times as far, and in what most."""
    rows = np.searchsorted(moves.teams, moves.held)
    parts = list(moves.parts)
    out = []
    for row in rows.tolist():
        far = [float(moves.parts[part][row]) for part in parts]
        team = int(moves.teams[row])
        out.append({"team": names.get(team, f"{team:016x}"), "times": round(max(far), 2), "in": parts[int(np.argmax(far))]})
    return out


def _without(daily: Daily, excluded: Exclusions) -> Daily:
    covered = excluded.covers(daily.key, np.full(len(daily), daily.day * DAY), lasting=DAY)
    return daily.take(np.flatnonzero(~covered)) if covered.any() else daily


def _last_day(parent: Mapping[str, Any]) -> int:
    """The last day that the model before has learned from."""
    return int(parent.get("refresh", {}).get("last_day", parent.get("training", {}).get("last", 0) // DAY))
