"""Evaluation gives, of a case that was worked out by hand, exactly what was worked out."""

from __future__ import annotations

import json

import judged
import numpy as np
import pytest
from judged import ALERTS, SCORES, at, files

from detector.core.evaluation import Evaluation, Interval, Scenario, bootstrap, evaluate
from detector.core.evaluation.alerts import read_alerts
from detector.core.evaluation.labels import Labels, parse
from detector.core.evaluation.ranking import rank, read_scores
from detector.errors import ConfigError


def labels() -> Labels:
    return parse(files())


def found(**more: object) -> Evaluation:
    return evaluate(read_alerts(ALERTS, labels().since), labels(), budget=10.0, **more)  # type: ignore[arg-type]


def test_recall_at_each_rate_is_that_of_the_lowest_score_with_no_more_false_alerts() -> None:
    """2,000 employee-days: 0.6, 2, 6 and 20 false alerts are allowed. The highest score is a false alert; the seventh has 0.90."""
    points = [(p.at, p.threshold, p.false_alerts, p.recall.value, p.ended) for p in found().rates]
    assert points == [(0.3, None, 0, 0, False), (1, 0.95, 2, 0.5, False), (3, 0.905, 6, 0.75, False), (10, 0.5, 7, 1, True)]


def test_intervals_are_quantiles_of_what_other_campaigns_would_have_given() -> None:
    """Of four campaigns a share of 1/2 gives 0 with chance 1/16 and 3/4 gives at most 1/4 with chance 13/256: both over 2.5 %."""
    assert [p.recall[1:] for p in found().rates] == [(0, 0), (0, 1), (0.25, 1), (1, 1)]
    assert bootstrap([], np.random.default_rng(0)) == Interval(0, 0, 0)


def test_the_same_seed_gives_the_same_intervals() -> None:
    flags, ends = [True, False, True, True, False, False, True, True, False, True, True], set()
    for seed in (1, 1, 2, 3, 4, 5, 6, 7, 8):
        ends.add(bootstrap(flags, np.random.default_rng(seed))[1:])
    assert bootstrap(flags, np.random.default_rng(1)) == bootstrap(flags, np.random.default_rng(1))
    assert all(0.27 < low < 0.46 and 0.81 < high < 1 for low, high in ends)


def test_time_to_detect_counts_from_the_first_event_to_the_first_alert_that_counts() -> None:
    one, all_of_them = found().rates[1], found().everything
    assert one.all == Scenario(4, 2, ("b", "d"), 1.5, 13.0)
    assert one.scenarios == {"theft": Scenario(2, 1, ("b",), 2.0, 25.0), "snoop": Scenario(2, 1, ("d",), 1.0, 1.0)}
    assert all_of_them.all == Scenario(4, 4, (), 1.5, 2.0)
    assert [(f.campaign, f.price, f.hours) for f in found().found] == [("a", 0.5, 25.0), ("b", 2.5, 3.0), ("c", 1.0, 1.0), ("d", 3.5, 1.0)]


def test_alerts_a_day_are_true_and_false_ones_over_the_days_on_which_anybody_was_active() -> None:
    """Four days: 4, 12 and 40 employee-days may be alerted; the sixth has 0.94."""
    points = [(p.at, p.threshold, p.alerts, p.false_alerts, p.all.caught, p.ended) for p in found().a_day]
    assert points == [(1, 0.95, 4, 2, 2, False), (3, 0.5, 11, 7, 4, True), (10, 0.5, 11, 7, 4, True)]


def test_what_a_budget_promised_is_held_against_employee_days_without_a_campaign() -> None:
    """1,000 of the 1,001 are; the alert of 0.91 is on a day on which its employee was up to something."""
    assert found().free_days == 1000
    said = [(p.budget, p.false_alerts, p.per_1000, round(p.given, 3)) for p in found().promised]
    assert said == [(0.3, 0, 0, 0), (1, 1, 1, 1), (3, 2, 2, 0.667), (10, 4, 4, 0.4)]


def test_rates_that_the_alerts_do_not_reach_down_to_are_not_held_against_a_promise() -> None:
    few = read_alerts(ALERTS[:7], labels().since)
    assert [p.budget for p in evaluate(few, labels(), budget=1.0).promised] == [0.3, 1]
    assert [p.budget for p in evaluate(few, labels(), budget=2.0).promised] == [0.3, 1, 2]


def test_false_alerts_are_told_by_team() -> None:
    def team(actor: str, day: int) -> str | None:
        return {"e": "many", "g": None}.get(actor[0], "few")

    said = {t.team: (t.employee_days, t.false_alerts, t.per_1000) for t in found(team=team).teams}
    assert said == {"many": (1000, 2, 2.0), "few": (1, 7, 7000.0), None: (0, 1, None)}


def test_average_precision_counts_events_that_were_not_scored_as_not_found() -> None:
    """e1 first; e4 among the first three, tied with another: (1 / 1 + 2 / 4) / 7."""
    ranking = rank(read_scores(SCORES.splitlines(), labels().since), labels())
    assert (ranking.events, ranking.positives, ranking.unscored) == (5, 7, 5)
    assert ranking.average_precision == pytest.approx((1 / 1 + 2 / 4) / 7) and ranking.chance == 7 / 10
    assert ranking.auroc == pytest.approx((3 + 1.5) / 6)
    assert ranking.scenarios == {"theft": pytest.approx((1 / 1 + 2 / 4) / 5), "snoop": 0.0}


def test_labels_alone_will_do() -> None:
    """Then whom a campaign was after is whomever its events were about, and nobody knows the employee-days."""
    alone = parse({"labels.csv": files()["labels.csv"]})
    assert [c.name for c in alone.campaigns] == ["a", "b", "c", "d"] and not alone.employee_days
    assert [c.subjects for c in alone.campaigns] == [{"file"}, set(), {"by-the-way"}, set()]


def test_what_was_before_the_time_that_is_judged_is_left_out() -> None:
    late = parse(files(), since=at(5, 11))
    assert [(c.name, len(c.events)) for c in late.campaigns] == [("b", 1), ("c", 1), ("d", 1)]
    assert parse(files(), since=at(2, 0)).employee_days == 501
    assert len(read_alerts(ALERTS, at(5, 11))) == 4


def test_events_of_another_part_and_planted_contamination_are_left_out() -> None:
    rows = [("e1", "a", "ann", at(1, 9), "test"), ("e2", "b", "bob", at(1, 9), "train"), ("e3", "c", "cid", "2024-10-06T09:00:00Z", "")]
    known = {"campaigns.csv": judged.csv("campaign,contamination", [("c", 0), ("a", 1)])}
    assert [c.name for c in parse({"labels.csv": judged.csv("event_id,campaign,actor,time,part", rows)}).campaigns] == ["a", "c"]
    some = parse({"labels.csv": judged.csv("event_id,campaign,actor,time,part", rows), **known}).campaigns
    assert [(c.name, c.events[0][0]) for c in some] == [("c", 1_728_205_200_000)]


WRONG = {
    "no campaign": ({"labels.csv": b"event_id,campaign,actor,time\n"}, "holds no event of a campaign"),
    "no column": ({"labels.csv": b"event_id,actor,time\n"}, "labels.csv:1:campaign: the header has no such column"),
    "no time": ({"labels.csv": b"event_id,campaign,actor,time\ne,c,a,noon\n"}, "labels.csv:2:time: 'noon' is no time"),
    "no day": ({**files(), "active_days.csv": b"actor,utc_day\na,2026-01-01\n"}, "active_days.csv:2:utc_day: '2026-01-01' is no day"),
    "no number": ({**files(), "meta.json": b'{"test_start":"now"}'}, "meta.json:1:1: "),
}


@pytest.mark.parametrize(("some", "says"), WRONG.values(), ids=WRONG.keys())
def test_labels_that_cannot_be_read_are_refused_with_line_and_column(some: dict[str, bytes], says: str) -> None:
    with pytest.raises(ConfigError) as refused:
        parse(some)
    assert says in str(refused.value)


@pytest.mark.parametrize("line", [b"{", b"[]", b'{"kind":"employee","time":1}', b'{"time":"now","score":1}', b'{"time":1,"score":1e999}'])
def test_a_line_that_is_no_alert_is_named(line: bytes) -> None:
    with pytest.raises(ConfigError, match="line 2 is no alert"):
        read_alerts([ALERTS[2], line])


@pytest.mark.parametrize("text", ["event_id\n", "event_id,score\ne1\n", "event_id,score\ne1,high\n", "event_id,score,time\ne1,1,now\n"])
def test_scores_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"scores:\d: "):
        read_scores(text.splitlines())


def test_no_alert_and_no_score_is_a_result_too() -> None:
    nothing = evaluate([], labels())
    assert [p.recall.value for p in nothing.rates] == [0] * 4 and nothing.promised == () and nothing.days == 4
    assert rank(read_scores(["event_id,score"]), labels()).average_precision == 0
    assert json.dumps([p.threshold for p in nothing.a_day]) == "[null, null, null]"
