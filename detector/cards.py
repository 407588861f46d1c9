"""The card of a model, for people: what it is, what it was trained on, what it promises, and what it is not for.

After M. Mitchell et al., Model cards for model reporting (FAT* 2019). The same model and manifest give the same text; pictures are drawn
where matplotlib is there, and else the card says that there are none. It has no time of its own: the registry's history has.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib import import_module
from typing import Any

from detector.core import hypotheses as catalogue
from detector.core.calibration import least_value, threshold
from detector.core.drift import names as drift_columns
from detector.core.hypotheses import Hypothesis
from detector.core.model import Model

CARD = "card.md"
BUDGETS = (0.3, 1.0, 3.0, 10.0)
TIMES = ("first", "last", "held_from")
KNOWN = {
    "events": "events", "repeated": "of them repetitions, counted once", "employees": "employees", "first": "first event",
    "last": "last event", "held_from": "held out to calibrate, from", "seed": "seed",
}  # fmt: skip


def card_of(model: Model, manifest: Mapping[str, Any]) -> tuple[str, dict[str, bytes]]:
    """Markdown, and the pictures it shows (file name -> SVG). `manifest`: as it is given to the registry."""
    pictures = drawn(model)
    sections = [
        "# Model card",
        f"A model of the detector of insiders who misuse their access. The name of this folder is its version.{parent(manifest)}",
        *([] if pictures else ["There are no pictures in it: matplotlib was not there when it was made (`pip install 'detector[plot]'`)."]),
        "## What it was trained on",
        trained_on(manifest.get("training", {})),
        made_with(manifest),
        *refreshed(manifest.get("refresh", {})),
        *reweighted(manifest.get("training", {}).get("weights", [])),
        "## What it promises",
        promised(model),
        *([f"![How rare each score is, and the thresholds of some budgets]({SCORE})"] if pictures else []),
        "## What it looks for",
        looked_for(model),
        *off(model),
        *([f"![How often each hypothesis has anything to go by]({HYPOTHESES})"] if pictures else []),
        "## What it is for, and what not",
        FOR,
    ]
    return "\n\n".join(sections) + "\n", pictures


SCORE, HYPOTHESES = "score.svg", "hypotheses.svg"
FOR = """\
* It orders employee-days for people who then look at the events themselves. An alert is a reason to look, no finding; nothing is to be
  decided about anybody by it alone.
* It was made without labels. How much it finds is known only where campaigns are known: `detector evaluate`.
* It holds what the company and its teams usually do, by hashes of teams' and resources' names; it names no employee. What is usual for one
  employee is state of the service, and not in here.
* What it promises holds for days like those it was calibrated on. The service tells how far they have moved away (`detector_drift`), and
  `detector models compare` whom another model would alert."""


def drawn(model: Model) -> dict[str, bytes]:
    from detector import pictures

    if not pictures.available():
        return {}
    from detector.pictures.model import hypotheses, score

    return {SCORE: score(model, BUDGETS), HYPOTHESES: hypotheses(model, evident(model))}


def parent(manifest: Mapping[str, Any]) -> str:
    known = manifest.get("parent")
    return f" It was made from `{known}`: the same signals and forest, with what is usual learned anew." if known else ""


def trained_on(training: Mapping[str, Any]) -> str:
    """What this version knows of by its name in order, then whatever else there is."""
    known = [(words, said(name, training[name])) for name, words in KNOWN.items() if name in training]
    others = [name for name in sorted(training.keys() - KNOWN.keys()) if isinstance(training[name], int | float | str)]
    return table(("", ""), [*known, *((f"`{name}`", said(name, training[name])) for name in others)])


def refreshed(refresh: Mapping[str, Any]) -> list[str]:
    """What was learned anew, and which teams moved farther than one refresh lets them."""
    if not refresh:
        return []
    first, last = (f"{datetime.fromtimestamp(86_400 * refresh[name], UTC):%Y-%m-%d}" for name in ("first_day", "last_day"))
    text = (
        f"{refresh['records']:,} daily records of {refresh['employees']:,} employees on {refresh['days']} days, {first} to {last}; "
        f"{refresh['excluded']:,} were left out.\n"
        f"Of {refresh['teams']} teams these would have moved farther than a refresh may move them, and were held back:"
    )
    held = [f"* {team['team']}: {team['times']:g} times as far, most in {team['in']}" for team in refresh["held_back"]]
    return ["## What was learned anew", "\n".join([text, "", *(held or ["* none"])])]


def reweighted(sentences: Sequence[Any]) -> list[str]:
    """How verdicts changed what each hypothesis counts."""
    return ["Weights were changed by verdicts:\n\n" + "\n".join(f"* {each}" for each in sentences)] if sentences else []


def made_with(manifest: Mapping[str, Any]) -> str:
    libraries = ", ".join(f"{name} {version}" for name, version in sorted(manifest.get("libraries", {}).items()))
    return f"Made by detector {manifest.get('detector', '?')} with {libraries or 'libraries that are not named'}."


def said(name: str, value: Any) -> str:
    if name in TIMES and isinstance(value, int):
        return f"{datetime.fromtimestamp(value / 1000, UTC):%Y-%m-%d %H:%M} UTC"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) and name != "seed" else str(value)


def promised(model: Model) -> str:
    """The score from which on an employee-day is alerted, at some budgets."""
    rows = []
    for budget in BUDGETS:
        least = float(least_value(model.total_tails, threshold(budget)))
        rows.append((f"{budget:g}", f"{threshold(budget):.2f}", "never reached" if least == float("inf") else f"{least:.2f}"))
    soft = float(model.total_tails.soft[0])
    known = (
        f"The days it was calibrated on can tell a rarity up to {soft:.1f}, that is one employee-day in {10**soft:,.0f}.\n"
        "Beyond, it is held back: rather too few alerts than too many."
    )
    return table(("false alerts per 1,000 employee-days", "rarity", "from score S"), rows) + "\n\n" + known


def looked_for(model: Model) -> str:
    share = evident(model)
    rows = [
        (f"`{h.name}`", described(h), f"{h.weight * factor:g}", f"{share[h.name]:.1%}", at(model, d, 2.0), at(model, d, 3.0))
        for d, (h, factor) in enumerate(zip(model.hypotheses, model.weights.tolist(), strict=True))
    ]
    return table(("hypothesis", "what an investigator would suspect", "weight", "days with any", "1 day in 100", "1 in 1,000"), rows) + (
        f"\n\nDays with any: share of the {days(model):,} employee-days held out to calibrate on which it had anything to go by.\n"
        "The last two: its value that so few days reach.\n\n"
        f"The forest of `general` has {len(model.forest.threshold)} trees; {len(model.baselines.teams) - 1} teams are known."
    )


def at(model: Model, hypothesis: int, rarity: float) -> str:
    """The joined value that is so rare."""
    tails = model.joined_tails
    one = type(tails)(*(part[hypothesis : hypothesis + 1] for part in (tails.value, tails.rarity, tails.scale, tails.soft)))
    value = float(least_value(one, rarity))
    return "-" if value == float("inf") else f"{value:.3g}"


def described(hypothesis: Hypothesis) -> str:
    """The first sentence of its file."""
    text = import_module(f"detector.core.hypotheses.{hypothesis.name}").__doc__ or ""
    return " ".join(text.split("\n\n")[0].split()).split(". ")[0].rstrip(".")


def evident(model: Model) -> dict[str, float]:
    """Share of the training's employee-days on which each hypothesis had a value over 0."""
    columns, counts = drift_columns(model.hypotheses), model.reference.count.sum(axis=0)
    return {h.name: 1 - float(counts[d, 0]) / max(int(counts[d].sum()), 1) for h in model.hypotheses for d in (columns.index(h.name),)}


def days(model: Model) -> int:
    return int(model.reference.count[:, -1].sum())


def off(model: Model) -> list[str]:
    """The hypotheses that it does not have, and what they would need."""
    on = {h.name for h in model.hypotheses}
    absent = [f"* `{name}`{needed(catalogue.find(name))}" for name in catalogue.names() if name not in on]
    return ["Off:\n\n" + "\n".join(absent)] if absent else []


def needed(hypothesis: Hypothesis) -> str:
    reasons = ("a log that gives reasons (purposes, assignments)",) if hypothesis.needs_reasons else ()
    what = " and ".join(part for part in (" or ".join(hypothesis.needs), *reasons) if part)
    return f", which needs {what}" if what else ""


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(header) + " |", "|---" * len(header) + "|"]
    return "\n".join([*lines, *("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows)])
