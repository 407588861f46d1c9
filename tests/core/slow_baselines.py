"""Baselines once more, slow and obvious, from their formulas: one name and one team at a time."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence

import numpy as np
from day_rows import HOURS, Row

Moments = tuple[float, float]


def slow_baselines(rows: Sequence[Row]) -> dict[str, np.ndarray]:
    """`rows` in order of the day."""
    teams = [0, *sorted({row.team for row in rows} - {0})]
    newest = list({row.key: row for row in sorted(rows, key=lambda r: r.day)}.values())
    voters = sorted(newest, key=rows.index)
    out = {"teams": teams, "hour_team": [hours(voters, team) for team in teams]}
    for name, most in (("pair", 2048), ("step", 4096)):
        words = vocabulary(voters, name, most)
        usual = shares(voters, name, words, None, None)
        out |= {f"{name}s": words, f"{name}_company": usual}
        out[f"{name}_team"] = [shares(voters, name, words, team, usual) if team else usual for team in teams]
    levels = [level(rows, team) for team in teams]
    out |= {"mean": [m for m, _ in levels], "spread": [s for _, s in levels], "repeat": [repeat(rows, team) for team in teams]}
    out["busy"] = [busy(rows if team == 0 else [row for row in rows if row.team == team], len(rows[0].level)) for team in teams]
    kinds = purposes(rows)
    out |= {"purposes": kinds, "purpose": [[purpose(rows, team, kind) for kind in kinds] for team in teams]}
    used = sorted({(row.team, row.revoked) for row in rows if row.team and row.revoked})
    out |= {"revoked_team": [t for t, _ in used], "revoked_resource": [r for _, r in used], "revoked_use": [use(rows, *at) for at in used]}
    return {name: np.array(values) for name, values in out.items()}


def vocabulary(voters: Sequence[Row], name: str, most: int) -> list[int]:
    """The names with most of the votes."""
    votes: Counter[int] = Counter()
    for voter in voters:
        for word, share in getattr(voter, name).items():
            votes[word] += share  # type: ignore[assignment]
    return sorted(sorted(votes, key=lambda word: (-votes[word], word))[:most])


def shares(voters: Sequence[Row], name: str, words: list[int], team: int | None, usual: list[float] | None) -> list[float]:
    """Each member has one vote; a team has one more, the company's, and the company .02 for each name. The last is all other names."""
    known, mine = set(words), [getattr(voter, name) for voter in voters if team is None or voter.team == team]
    cast: dict[int | None, float] = defaultdict(float)
    for profile in mine:
        for word, share in profile.items():
            cast[word if word in known else None] += share
    votes = [cast[word] for word in (*words, None)]
    if usual is None:
        return [(v + 0.02) / (sum(votes) + 0.02 * len(votes)) for v in votes]
    return [(v + u) / (sum(votes) + 1) for v, u in zip(votes, usual, strict=True)]


def hours(voters: Sequence[Row], team: int) -> list[float]:
    """Of a team with two votes of the company's; the company's a tenth even."""
    cast = [voter.hours for voter in voters if sum(voter.hours)]
    company = [0.9 * sum(h) / sum(map(sum, cast)) + 0.1 / HOURS for h in zip(*cast, strict=True)] if cast else [1 / HOURS] * HOURS
    mine = [voter.hours for voter in voters if sum(voter.hours) and voter.team == team]
    votes = [sum(h) for h in zip(*mine, strict=True)] if mine else [0.0] * HOURS
    return [(v + 2 * c) / (sum(votes) + 2) for v, c in zip(votes, company, strict=True)] if team else company


def level(rows: Sequence[Row], team: int) -> tuple[list[float], list[float]]:
    """Each level of a day is held at four standard deviations above the mean; ten more days of a team are like the company's."""
    means, spreads = [], []
    for k in range(len(rows[0].level)):
        y = np.array([row.level[k] for row in rows])
        y = np.minimum(y, y.mean() + 4 * max(y.std(), 0.3))
        mine, more = (y[[row.team == team for row in rows]], 10) if team else (y, 0)
        n = len(mine) + more
        mean, square = (mine.sum() + more * y.mean()) / n, ((mine**2).sum() + more * (y**2).mean()) / n
        means.append(float(mean))
        spreads.append(max(float(square - mean**2), 0) ** 0.5 + 0.02)
    return means, spreads


def busy(mine: Sequence[Row], levels: int) -> list[float]:
    """The last two days with at least half as many as on a usual day, against those before: by how much they are more than two standard
    deviations above, as medians tell. There must be three before."""
    per_day = Counter(row.day for row in mine)
    usual = [day for day in sorted(per_day) if per_day[day] >= float(np.median(list(per_day.values()))) / 2]
    if len(usual) < 5:
        return [0.0] * levels
    out = []
    for k in range(levels):
        each = [ordinary([r.level[k] for r in mine if r.day == day]) for day in usual]
        before, now = each[:-2], each[-2:]
        middle = float(np.median(before))
        deviation = 1.4826 * float(np.median([abs(x - middle) for x in before]))
        out.append(min(max(float(np.mean(now)) - middle - 2 * deviation, 0), 1.5))
    return out


def ordinary(values: list[float]) -> float:
    """Their mean without the highest fifth."""
    return float(np.mean(sorted(values)[: len(values) - len(values) // 5]))


def moments(sums: Sequence[tuple[float, float, float]], more: float, usual: Moments) -> Moments:
    """Mean and variance from (count, sum, sum of squares) of some, with `more` like the usual mean and variance."""
    n, total, squares = (sum(s[i] for s in sums) for i in range(3))
    mean = (total + more * usual[0]) / (n + more)
    return mean, max((squares + more * (usual[1] + usual[0] ** 2)) / (n + more) - mean**2, 0)


def repeat(rows: Sequence[Row], team: int) -> Moments:
    everybody = moments([row.repeat for row in rows], 1, (0, 1))
    return moments([row.repeat for row in rows if team in (0, row.team)], 10, everybody)


def purposes(rows: Sequence[Row]) -> list[int]:
    used = Counter(kind for row in rows for kind, _, _ in row.purposes)
    return sorted(sorted(used, key=lambda kind: (-used[kind], kind))[:64])


def purpose(rows: Sequence[Row], team: int, kind: int) -> list[float]:
    def sums(of: Callable[[Row], bool], at: int) -> list[tuple[float, float, float]]:
        return [(1, ticket[at], ticket[at] ** 2) for row in rows if of(row) for ticket in row.purposes if ticket[0] == kind]

    out: list[float] = []
    for at in (1, 2):
        everybody = moments(sums(lambda _: True, at), 1, (0, 1))
        out += moments(sums(lambda row: team in (0, row.team), at), 10, everybody)
    return out


def use(rows: Sequence[Row], team: int, resource: int) -> float:
    """Member-days of the team's use; half as much every four days before the last day."""
    last = max(row.day for row in rows)
    return float(sum(0.5 ** ((last - row.day) / 4) for row in rows if (row.team, row.revoked) == (team, resource)))
