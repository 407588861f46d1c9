"""Event rows -> the bytes of native access events, one JSON object a line."""

from __future__ import annotations

import json

import numpy as np

from detector.sandbox.company.calendar import DAY, NAMES
from detector.sandbox.company.customers import Customers
from detector.sandbox.company.events import STEPS, TASK_NAMES, Rows
from detector.sandbox.company.roles import RFC3339, TASKS, TEAMLESS, TEAMS
from detector.sandbox.company.staff import Staff

_OUTCOME = ("", ',"outcome":"denied"', ',"outcome":"error"')
_PREFIX = tuple(TASKS[name].prefix for name in TASK_NAMES)
_STEP = tuple(
    f',"action":"{step.action}","resource":"{step.resource}"'
    + (f',"fields":{json.dumps(step.fields, separators=(",", ":"))}' if step.fields else "")
    for step in STEPS
)
_TEAMLESS = np.array([step.resource in TEAMLESS for step in STEPS])
_AS_TEXT = np.array([step.resource in RFC3339 for step in STEPS])
_LOGIN = np.array([step.action == "login" for step in STEPS])


class Lines:
    def __init__(self, staff: Staff, customers: Customers) -> None:
        self._staff = staff
        self._keys = [name.encode() for name in staff.names]
        self._subjects = [
            f',"subject":"{name}","subject_region":"{NAMES[region]}"'
            for name, region in zip(customers.names, customers.region.tolist(), strict=True)
        ] + [f',"subject":"{name}"' for name in (*staff.names, "")]
        self._subjects[-1] = ""

    def values(self, made: Rows) -> list[bytes]:
        """A line without its end for each row, in the same order."""
        actors = self._actors(made)
        sources = self._sources(made)
        text = made["time"].astype(object)
        shown = _AS_TEXT[made["step"]]
        text[shown] = [f'"{time}Z"' for time in np.datetime_as_string(made["time"][shown].astype("M8[ms]"))]
        columns = (made[name].tolist() for name in ("id", "step", "subject", "records", "bytes", "outcome", "ticket", "task", "until"))
        return [
            (
                f'{{"event_id":"{event_id:016x}","time":{time}{actor}{_STEP[step]}{self._subjects[subject]}'
                f"{_amount(records, size)}{_OUTCOME[outcome]}"
                + (f',"purpose":"{_PREFIX[task]}-{ticket}"' if ticket >= 0 else "")
                + (f',"valid_until":{until}' if until >= 0 else "")
                + f"{source}}}"
            ).encode()
            for time, actor, source, event_id, step, subject, records, size, outcome, ticket, task, until in zip(
                text, actors, sources, *columns, strict=True
            )
        ]

    def keys(self, made: Rows) -> list[bytes]:
        return [self._keys[who] for who in made["actor"].tolist()]

    def _actors(self, made: Rows) -> list[str]:
        """Who, with team, role and region as of the day where the source knows them."""
        known: dict[tuple[int, int, bool], str] = {}
        texts = []
        for key in zip(made["actor"].tolist(), (made["time"] // DAY).tolist(), _TEAMLESS[made["step"]].tolist(), strict=True):
            text = known.get(key)
            if text is None:
                who, day, teamless = key
                text = f',"actor":"{self._staff.names[who]}"'
                if not teamless:
                    team = TEAMS[self._staff.teams(day)[who]]
                    text += f',"actor_team":"{team.name}","actor_role":"{team.role}","actor_region":"{team.region}"'
                known[key] = text
            texts.append(text)
        return texts

    def _sources(self, made: Rows) -> list[str]:
        """Address, country, device and session; coordinates too where somebody logs in."""
        known: dict[tuple[int, int], tuple[str, str]] = {}
        texts = []
        for who, session, login in zip(made["actor"].tolist(), made["session"].tolist(), _LOGIN[made["step"]].tolist(), strict=True):
            if session < 0:
                texts.append("")
                continue
            pair = known.get((who, session))
            if pair is None:
                pair = known[who, session] = self._staff.source(who, session)
            texts.append(pair[login])
        return texts


def _amount(records: int, size: int) -> str:
    """Left out where they are what a reader assumes anyway."""
    return ("" if records == 1 else f',"records":{records}') + ("" if size == 0 else f',"bytes":{size}')
