"""A day of normal work: who works, on what tasks, for whom, step by step."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from detector.sandbox.company.calendar import HOUR, NAMES, date_of, utc
from detector.sandbox.company.chance import generator, keyed
from detector.sandbox.company.customers import Customers
from detector.sandbox.company.events import FIRST_STEP, STEPS, TASK_NAMES, Rows, finish, measure, rows
from detector.sandbox.company.roles import CUSTOMER, NOBODY, OWN, ROLES, STAFF, TASKS, TEAMS
from detector.sandbox.company.staff import Staff

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

_WEEKDAY = (1.12, 1.05, 1.0, 1.0, 0.9, 0.7, 0.7)
_CURVE_AT = (0.0, 0.06, 0.42, 0.5, 0.56, 0.93, 1.0)
_CURVE_HOUR = (0.0, 0.6, 3.4, 4.2, 5.0, 8.0, 9.0)
"""How far through the day's work, at how many hours after its start: slow at both ends, a pause at noon."""
_LATE, _FOLLOW_UP, _POOL = 0.02, 0.2, 6
_DENIED, _ERROR, _REPEATED = 0.002, 0.004, 0.003
_EVERY = {"svc-etl": ("etl", 20), "svc-backup": ("backup", 60), "svc-mail": ("mailing", 30)}
"""Service accounts: task, minutes."""

_ABOUT = np.array([task.about for task in TASKS.values()])
_MISSING = np.array([task.missing if task.prefix else 1.0 for task in TASKS.values()])
_WIDTH = max(len(task.steps) for task in TASKS.values())
_STEP_OF = np.array([[FIRST_STEP[name] + k if k < len(TASKS[name].steps) else -1 for k in range(_WIDTH)] for name in TASK_NAMES])
_CHANCE, _GAP = np.array([step.chance for step in STEPS]), np.array([step.gap for step in STEPS])
_STEP_ABOUT = np.array([("nobody", "subject", "other").index(step.about) for step in STEPS])
_TASKS_A_DAY = np.array([role.tasks for role in ROLES.values()])
_MIXTURE = np.cumsum([[role.mixture.get(name, 0.0) for name in TASK_NAMES] for role in ROLES.values()], axis=1)
_TEAM_MIX = np.array([team.mix for team in TEAMS])
_RESOURCES = np.array([step.resource for step in STEPS])


def work_day(staff: Staff, customers: Customers, seed: int, day: int) -> Rows:
    """Everything that is done on that local day (in each region), in order of arrival; 0.3 % of it arrives twice."""
    rng = generator(seed, "day", day)
    who = staff.working(day)
    tasks = _tasks(staff, customers, day, who, rng)
    accesses = _revoke(staff, day, _steps(staff, customers, tasks, day, rng), rng)
    parts = [accesses, _assignments(tasks, rng), _logins(accesses, rng), _services(staff, day)]
    made = np.concatenate(parts)
    measure(made, rng)
    may_fail = (made["session"] >= 0) & (made["step"] != FIRST_STEP["login"]) & (made["outcome"] == 0)
    failed = may_fail & (rng.random(len(made)) < _DENIED + _ERROR)
    made["outcome"][failed] = np.where(rng.random(failed.sum()) * (_DENIED + _ERROR) < _DENIED, 1, 2)
    made["records"][made["outcome"] > 0] = made["bytes"][made["outcome"] > 0] = 0
    made = finish(made, day * 2, rng)
    again = made[rng.random(len(made)) < _REPEATED]
    again["arrival"] += 1000 + (rng.random(len(again)) * 15_000).astype(np.int64)
    made = np.concatenate([made, again])
    return made[np.argsort(made["arrival"], kind="stable")]


def _tasks(staff: Staff, customers: Customers, day: int, who: Ints, rng: np.random.Generator) -> Rows:
    """A row a task: `step` is its first, `time` its start, `session` that of its time of day."""
    role = staff.roles(day)[who]
    count = np.maximum(1, rng.poisson(_TASKS_A_DAY[role] * staff.factor[who] * _WEEKDAY[date_of(day).weekday()]))
    actor, total = np.repeat(who, count), int(count.sum())
    turn = np.arange(total) - np.repeat(np.cumsum(count) - count, count)
    through = (turn + rng.random(total)) / np.repeat(count, count)
    late = (rng.random(total) < _LATE) & (through > 0.8)
    hour = np.repeat(staff.shift_start(day, who), count) + np.interp(through, _CURVE_AT, _CURVE_HOUR) + late * (3 + rng.random(total))
    midnight = np.array([utc(name, day, 0) for name in NAMES])[staff.region[actor]]
    kind = (_MIXTURE[np.repeat(role, count)] <= rng.random(total)[:, None] * (1 - 1e-9)).sum(axis=1)
    second = (through > 0.5) & (keyed(staff.seed, "second session", actor, day) < 0.6)
    time = midnight + (hour * HOUR).astype(np.int64)
    turn = np.argsort(np.argsort(time))
    ticket = np.where(rng.random(total) >= _MISSING[kind], (day - 18_000) * 10_000 + turn, -1)
    subject = _subjects(staff, customers, day, actor, _ABOUT[kind], rng)
    return rows(total, time=time, actor=actor, task=kind, subject=subject, ticket=ticket,
                session=day * 8 + np.where(late, 2, second))  # fmt: skip


def _subjects(staff: Staff, customers: Customers, day: int, actor: Ints, about: Ints, rng: np.random.Generator) -> Ints:
    total = len(actor)
    followed = rng.random(total) < _FOLLOW_UP
    pool = rng.integers(0, _POOL, total)
    region, luck = (
        np.where(followed, keyed(staff.seed, trait, actor, day // 7, pool), rng.random(total)) for trait in ("case region", "case")
    )
    customer = customers.draw(_TEAM_MIX[staff.teams(day)[actor]], region, luck)
    colleague = customers.count + rng.integers(0, staff.count, total)
    own = np.append(customers.own, [-1] * (len(staff.names) - staff.count))[actor]
    return np.select([about == CUSTOMER, about == STAFF, about == OWN], [customer, colleague, own], default=-1)


def _steps(staff: Staff, customers: Customers, tasks: Rows, day: int, rng: np.random.Generator) -> Rows:
    step = _STEP_OF[tasks["task"]]
    done = (step >= 0) & (rng.random(step.shape) < _CHANCE[step])
    gap = (0.15 + rng.exponential(0.85, step.shape)) * _GAP[step] * done
    task, column = np.nonzero(done)
    made = tasks[task]
    made["step"] = step[task, column]
    made["time"] += (np.cumsum(gap, axis=1)[task, column] * 1000).astype(np.int64)
    about = _STEP_ABOUT[made["step"]]
    other = _subjects(staff, customers, day, made["actor"], np.full(len(made), CUSTOMER), rng)
    made["subject"] = np.select([about == 0, about == 2], [-1, other], default=made["subject"])
    return made


def _revoke(staff: Staff, day: int, made: Rows, rng: np.random.Generator) -> Rows:
    """What a team has lost it no longer does, but for a few tries out of habit, which are denied."""
    team = staff.teams(day)[made["actor"]]
    lost = np.zeros(len(made), np.bool_)
    for since, which, resource in staff.revocations:
        if since <= day:
            lost |= (team == which) & (_RESOURCES[made["step"]] == resource)
    made["outcome"][lost] = 1
    return made[~lost | (rng.random(len(made)) < 0.05)]


def _assignments(tasks: Rows, rng: np.random.Generator) -> Rows:
    """The ticketing system's events: most tickets about somebody are assigned ahead of the work, some are taken back after it."""
    held = tasks[(tasks["ticket"] >= 0) & (_ABOUT[tasks["task"]] != NOBODY) & (rng.random(len(tasks)) < 0.92)]
    given, taken = held.copy(), held[rng.random(len(held)) < 0.4].copy()
    given["step"], taken["step"] = FIRST_STEP["assignment"], FIRST_STEP["assignment"] + 1
    given["until"] = (given["time"] // 60_000 + rng.integers(1, 6, len(given)) * 1440) * 60_000
    given["time"] -= (60_000 + np.minimum(rng.exponential(25 * 60_000, len(given)), 5 * HOUR)).astype(np.int64)
    taken["time"] += 15 * 60_000 + rng.exponential(40 * 60_000, len(taken)).astype(np.int64)
    made = np.concatenate([given, taken])
    made["session"] = -1
    return made


def _logins(accesses: Rows, rng: np.random.Generator) -> Rows:
    """One login a session, shortly before its first access; now and then after a mistyped password."""
    order = np.argsort(accesses["time"], kind="stable")
    _, first = np.unique(accesses["actor"][order].astype(np.int64) << 32 | accesses["session"][order], return_index=True)
    opened = accesses[order[first]]
    wrong = rng.random(len(opened)) < 0.04
    time = opened["time"] - 5000 - rng.integers(0, 60_000, len(opened))
    made = rows(len(opened), actor=opened["actor"], session=opened["session"], time=time, step=FIRST_STEP["login"])
    mistyped = made[wrong]
    mistyped["time"] -= 9000
    mistyped["outcome"] = 1
    return np.concatenate([made, mistyped])


def _services(staff: Staff, day: int) -> Rows:
    parts = []
    for who, name in enumerate(staff.names[staff.count :], staff.count):
        task, minutes = _EVERY[name]
        times = day * 24 * HOUR + np.arange(0, 24 * 60, minutes) * 60_000 + who * 1700
        parts.append(rows(len(times), time=times, actor=who, step=FIRST_STEP[task], session=0))
    return np.concatenate(parts)
