"""Recall and false alarms on two synthetic companies, by the evaluation program that came with them.

Labels are read here and nowhere else, after the product has said all it says.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from product import played, recorded, trained
from subsets import Seen, day_maxima, records, subsets
from tables import Number, Table, mean, rounded

from detector.core.calibration import threshold
from detector.core.frame import DAY
from detector.core.pipeline import Policy
from detector.files import read_context

PARTS = ("a", "b")
BUDGET, BUDGETS, LEVELS = 30.0, (1.0, 3.0, 10.0), (2.0, 2.5, 3.0)
"""The replay alerts at a larger budget than any that is judged, so that the curve does not end before the last."""
SEEDS = range(3)
"""Of the forest's random choices. Among twenty campaigns, one more or less is a matter of luck."""
MOST = 3.0
"""How many times what it promises a hypothesis may give."""


class Truth(NamedTuple):
    """What the labels say, for the evaluation alone."""

    program: Any
    """The data's evaluate.py."""
    said: dict[str, Any]
    involved: frozenset[tuple[str, int]]
    """(actor, day) of campaigns' actors while the campaign ran and the day after."""

    @property
    def free(self) -> set[tuple[str, int]]:
        """Active employee-days without a campaign."""
        days: set[tuple[str, int]] = self.said["days"]
        return days - self.involved


def here(data: Path, part: str) -> bool:
    return (data / "company" / part / "test.ndjson.zst").exists()


def measure(data: Path, part: str) -> list[Table]:
    folder = data / "company" / part
    truth = truth_of(data / "company" / "evaluate.py", folder)
    since = truth.said["meta"]["test_start"]
    runs = [replayed(folder, since, seed) for seed in SEEDS]
    alerts = [truth.program.load_alerts(lines, since) for _, lines in runs]
    seen, _ = runs[0]
    return [recall(part, truth, alerts), kinds(part, truth, alerts[0]), promise(part, truth, seen), by_hypothesis(part, truth, seen)]


def joined(tables: list[Table]) -> list[Table]:
    """Those of both companies, and their mean."""
    names = dict.fromkeys(table.title.rsplit(",", 1)[0] for table in tables)
    out: list[Table] = []
    for name in names:
        some = [table for table in tables if table.title.rsplit(",", 1)[0] == name]
        out += [*some, mean(f"{name}, mean of the companies", some)] if len(some) > 1 else some
    return out


def truth_of(program: Path, folder: Path) -> Truth:
    spec = importlib.util.spec_from_file_location("evaluate", program)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    said: dict[str, Any] = module.load_truth(str(folder))
    camps = said["campaigns"]
    involved = {(a, d) for c in camps for a in c["actors"] for d in range(c["first"] // DAY, (c["last"] + DAY) // DAY + 1)}
    return Truth(module, said, frozenset(involved))


def replayed(folder: Path, since: int, seed: int = 0) -> tuple[Seen, list[str]]:
    """Everything the pipeline said of the events from `since` on, and the alerts at the largest budget."""
    model = trained(folder / "train.ndjson.zst", folder, seed=seed)
    log = recorded(folder / "train.ndjson.zst", folder / "test.ndjson.zst")
    seen, alerts = Seen(model.hypotheses, since), []
    for part in played(log, model, read_context(folder), Policy(BUDGET, since)):
        seen.take(part)
        alerts += [value.decode() for _, value in part.outcome.alerts]
    return seen, alerts


def recalls(truth: Truth, alerts: list[dict[str, Any]], strict: bool = False, budgets: Sequence[float] = BUDGETS) -> tuple[float, ...]:
    """Share of campaigns with an alert, at each budget's number of false alerts."""
    program, camps = truth.program, truth.said["campaigns"]
    hits = program.match_all(alerts, camps, strict)
    employee_days = truth.said["meta"]["active_employee_days"]
    cuts = [program.threshold(alerts, hits, budget * employee_days / 1000)[0] for budget in budgets]
    return rounded([sum(t is not None for t in program.caught(alerts, hits, camps, cut)) / len(camps) for cut in cuts])


def recall(part: str, truth: Truth, runs: list[list[dict[str, Any]]]) -> Table:
    normal, strict = (np.array([recalls(truth, alerts, kind) for alerts in runs]) for kind in (False, True))
    rows = {
        "normal": rounded(normal.mean(axis=0)), "strict": rounded(strict.mean(axis=0)),
        "lowest": rounded(normal.min(axis=0)), "highest": rounded(normal.max(axis=0)),
    }  # fmt: skip
    note = (
        f"Share of the campaigns that alerts of one replay (budget {BUDGET:g}) tell of, at so many false alerts per 1,000 employee-days: "
        f"mean of models of {len(SEEDS)} seeds, and the lowest and highest of them. "
        "Strict: an alert that names an innocent employee does not count, though its subject be the campaign's."
    )
    return Table(f"recall, company {part}", tuple(f"at {budget:g}" for budget in BUDGETS), rows, note)


def kinds(part: str, truth: Truth, alerts: list[dict[str, Any]]) -> Table:
    report = truth.program.evaluate_alerts(truth.said, alerts)
    curve = [point["scenarios"] for point in report["curve"] if point["rate"] in BUDGETS]
    rows = {kind: (curve[0][kind]["campaigns"], *(point[kind]["caught"] for point in curve)) for kind in sorted(curve[0])}
    note = "How many campaigns of each kind there are, and how many were caught."
    return Table(f"campaigns by kind, company {part}", ("campaigns", *(f"at {budget:g}" for budget in BUDGETS)), rows, note)


def promise(part: str, truth: Truth, seen: Seen) -> Table:
    """Employee-days that reached the budget's rarity, which an operator with that budget would have been alerted of."""
    alerts = seen.alerts(records(seen.actor, seen.time // DAY, seen.rarity), seen.rarity)
    hits = truth.program.match_all(alerts, truth.said["campaigns"])
    false = [(truth.program.false_key(a), a["score"]) for a, h in zip(alerts, hits, strict=True) if not h]
    n = len(truth.free)
    counts = [len({key for key, rarity in false if rarity >= threshold(b) and key not in truth.involved}) for b in BUDGETS]
    rows = {
        "false alerts": tuple(counts),
        "per 1,000 employee-days": rounded([1000 * count / n for count in counts], 2),
        "given over promised": rounded([1000 * count / n / budget for count, budget in zip(counts, BUDGETS, strict=True)], 2),
    }
    note = f"What a budget promises and what it gives, on {n:,} employee-days without a campaign. 1 is as promised."
    return Table(f"false alarms, company {part}", tuple(f"budget {budget:g}" for budget in BUDGETS), rows, note)


def by_hypothesis(part: str, truth: Truth, seen: Seen) -> Table:
    """Each alone and left out; and how often it is as rare as it says, on employee-days without a campaign."""
    scores, rows, missed = subsets(seen), dict[str, tuple[Number, ...]](), []
    rows["all"] = (*_recall_of(truth, seen, scores["all"]), None, None, None, *_given(truth, seen, seen.rarity))
    for d, name in enumerate(seen.names):
        given = _given(truth, seen, seen.hypothesis[:, d])
        left_out = _recall_of(truth, seen, scores[f"without {name}"])
        rows[name] = (*_recall_of(truth, seen, scores[f"only {name}"]), *left_out, *given)
        missed += [f"{name} gives {g:g} times what it promises at {level:g}" for g, level in zip(given, LEVELS, strict=True) if g > MOST]
    columns = (*(f"alone at {b:g}" for b in BUDGETS), *(f"without at {b:g}" for b in BUDGETS), *(f"given R {level:g}" for level in LEVELS))
    note = (
        "Recall of each hypothesis alone, and of the others without it, by the scores of events rather than alerts; `all` is the whole. "
        f"`given R`: how many times as often as it says a rarity occurs on employee-days without a campaign; at most {MOST:g} is allowed."
    )
    return Table(f"hypotheses, company {part}", columns, rows, note, tuple(missed))


def _recall_of(truth: Truth, seen: Seen, score: NDArray[np.float32]) -> tuple[float, ...]:
    return recalls(truth, seen.alerts(records(seen.actor, seen.time // DAY, score, share=0.1), score))


def _given(truth: Truth, seen: Seen, rarity: NDArray[np.float32]) -> tuple[float, ...]:
    free = truth.free
    actor, day, most = day_maxima(seen.actor, seen.time // DAY, rarity)
    counted = [m for a, d, m in zip(actor.tolist(), day.tolist(), most.tolist(), strict=True) if (seen.actors[a], d) in free]
    return rounded([sum(m >= level for m in counted) / len(free) * 10**level for level in LEVELS], 2)
