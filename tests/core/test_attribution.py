"""What an alert's reasons say: the hypotheses by their share, what their signals showed, and what is usual, from the state."""

from __future__ import annotations

import math

import numpy as np
import pytest
import world
from mutation import mutate

from detector.core import attribution
from detector.core.pipeline import Pipeline
from detector.core.signals import accumulators

SCALES = {"export": 50.0, "bytes_out": 1e5}


def task() -> Pipeline:
    made = world.pipeline()
    made.process(world.history())
    return made


def level_to_sum(evidence: str, level: float) -> float:
    return math.expm1(max(level, 0)) * SCALES.get(evidence, 1.0)


def expected(done: Pipeline, slot: int, team: int) -> list[tuple[str, float, list[tuple[str, float, float | None, float | None]]]]:
    """(hypothesis, share, its signals: name, value, own usual, team's) of each with a tenth of S^1.5 or more, the largest first."""
    c, model = done.tracker.state.columns, done.model
    parts = [h.weight * float(r) ** 1.5 for h, r in zip(model.hypotheses, c["hour_rarity"][slot], strict=True)]
    out = []
    for d in sorted(range(len(parts)), key=lambda d: -parts[d]):
        if parts[d] < 0.1 * sum(parts) or sum(parts) == 0:
            continue
        held = zip(c["hour_signal"][slot, d].tolist(), c["hour_reading"][slot, d].tolist(), strict=True)
        signals = [usual(done, slot, team, model.names[j], value) for j, value in held if j >= 0]
        out.append((model.hypotheses[d].name, parts[d] / sum(parts), signals))
    return out


def usual(done: Pipeline, slot: int, team: int, name: str, value: float) -> tuple[str, float, float | None, float | None]:
    """In the evidence's own unit; the employee's with three days' worth of the team's."""
    if name.count(".") < 2:
        return name, value, None, None
    c, of = done.tracker.state.columns, name.rsplit(".", 1)[0]
    evidence, k = name.split(".")[0], accumulators.NAMES.index(of)
    days, of_team = float(c["own_days"][slot]), float(done.model.baselines.mean[team, k])
    own = (days * float(c["own_mean"][slot, k]) + 3 * of_team) / (days + 3)
    return name, level_to_sum(evidence, value), level_to_sum(evidence, own), level_to_sum(evidence, of_team)


def check() -> None:
    done, seen = task(), set()
    for slot in range(len(done.tracker.state)):
        for team in (0, 3):
            found, wanted = attribution.reasons(done.model, done.tracker.state, slot, team), expected(done, slot, team)
            assert [r.hypothesis for r in found] == [name for name, _, _ in wanted]
            for reason, (_, share, signals) in zip(found, wanted, strict=True):
                assert reason.share == pytest.approx(share, abs=6e-4) and reason.text
                assert [s.name for s in reason.signals] == [name for name, *_ in signals]
                for shown, (_, *numbers) in zip(reason.signals, signals, strict=True):
                    for one, other in zip((shown.value, shown.own_usual, shown.team_usual), numbers, strict=True):
                        assert (one is None) == (other is None)
                        assert one is None or one == pytest.approx(other, rel=1e-3, abs=1e-4)
                    seen.add(shown.own_usual is None)
    assert seen == {True, False}


def test_reasons_are_those_of_the_slow_version() -> None:
    check()


def test_the_team_in_an_alert_is_the_employees_row() -> None:
    """What is told of the team differs from what another team's employees would be told."""
    batch = world.live()
    done = world.pipeline()
    frame = done.tracker.framer.frame(batch)
    told = {alert.evidence[-1].offset: alert for alert, _ in done.process(batch).alerts}
    rows = {int(offset): i for i, offset in enumerate(batch.offset)}
    means = done.model.baselines.mean
    compared = 0
    for offset, alert in told.items():
        for signal in (s for r in alert.reasons for s in r.signals if s.team_usual is not None):
            k = accumulators.NAMES.index(signal.name.rsplit(".", 1)[0])
            level = float(means[frame.team[rows[offset]], k])
            assert signal.team_usual == pytest.approx(level_to_sum(signal.name.split(".")[0], level), rel=1e-3, abs=1e-4)
            compared += level != means[0, k]
    assert compared > 5


@pytest.mark.parametrize(
    ("module", "old", "new"),
    [
        (attribution, "LEAST_SHARE = 0.1", "LEAST_SHARE = 0.2"),
        (attribution, 'np.argsort(-part, kind="stable")', "np.arange(len(part))"),
        (attribution, "accumulators.level_to_sum(of, value)", "value"),
        (attribution, "slot, team, model.baselines, of)", "slot, 0, model.baselines, of)"),
        (attribution, "slot, team, model.baselines, of)", "0, team, model.baselines, of)"),
        (attribution, "return Reading(name, value, None, None)", "return Reading(name, value, 0.0, None)"),
        (attribution, "for j, value in held if j >= 0]", "for j, value in held]"),
        (attribution, "round(float(part[d]), 3)", "round(float(part[order[0]]), 3)"),
        (accumulators, "baselines.mean[team, k], baselines.spread[team, k])", "baselines.mean[0, k], baselines.spread[team, k])"),
        (accumulators, "level_to_sum(name, float(own)), level_to_sum", "level_to_sum(name, float(c['own_mean'][slot, k])), level_to_sum"),
        (accumulators, "level_to_sum(name, float(baselines.mean[team, k]))", "level_to_sum(name, float(baselines.mean[0, k]))"),
        (accumulators, "* _SCALE[NAMES.index(name)])", "* _SCALE[0])"),
        (accumulators, "math.expm1(max(level, 0.0))", "math.exp(max(level, 0.0))"),
    ],
)
def test_a_change_is_noticed(module: object, old: str, new: str, monkeypatch: pytest.MonkeyPatch) -> None:
    mutate(monkeypatch, module, old, new)  # type: ignore[arg-type]
    with pytest.raises((AssertionError, KeyError)):
        check()


def test_the_values_shown_are_finite_and_few_digits_long() -> None:
    done = task()
    for slot in range(len(done.tracker.state)):
        for reason in attribution.reasons(done.model, done.tracker.state, slot, 0):
            assert all(np.isfinite(x) and len(f"{x:.10g}".replace(".", "").strip("0")) <= 4
                       for s in reason.signals for x in (s.value, s.own_usual, s.team_usual) if x is not None)  # fmt: skip
