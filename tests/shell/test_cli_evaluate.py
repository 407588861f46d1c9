"""`detector evaluate`: the figures of the case worked out by hand, those of another program, and what it says to whom."""

from __future__ import annotations

import importlib.util
import json
import os
from pathlib import Path
from typing import Any

import judged
import pytest

from detector import pictures
from detector.cli import main

ROOT = Path(__file__).parents[2]
DATA = Path(os.environ.get("DATA") or ROOT.parent / "shared" / "data")


@pytest.fixture
def case(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The files of the case, in the present folder."""
    monkeypatch.chdir(tmp_path)
    for name, data in {**judged.files(), "alerts.ndjson": b"\n".join(judged.ALERTS), "scores.csv": judged.SCORES.encode()}.items():
        (tmp_path / name).write_bytes(data)
    (tmp_path / "ctx").mkdir()
    (tmp_path / "ctx" / "directory.csv").write_text("employee,team\nfay,few\ngus,few\neve,evil\ne1,many\n")
    return tmp_path


def said(*more: str, alerts: str = "alerts.ndjson", labels: str = "labels.csv") -> int:
    return main(["evaluate", "--alerts", alerts, "--labels", labels, *more])


def test_programs_get_every_figure(case: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert said("--json", "--scores", "scores.csv", "--context", "ctx", "--budget", "10") == 0
    out = json.loads(capsys.readouterr().out)
    assert [(p["at"], p["threshold"], p["false_alerts"], p["recall"][0]) for p in out["rates"]] == [
        (0.3, None, 0, 0.0), (1.0, 0.95, 2, 0.5), (3.0, 0.905, 6, 0.75), (10.0, 0.5, 7, 1.0),
    ]  # fmt: skip
    assert out["rates"][1]["scenarios"]["theft"] == {"campaigns": 2, "caught": 1, "missed": ["b"], "events_before": 2.0, "hours": 25.0}
    assert out["ranking"]["average_precision"] == pytest.approx(1.5 / 7)
    assert {t["team"]: t["false_alerts"] for t in out["teams"]} == {"evil": 2, "few": 2, "many": 0, None: 6}


def test_people_get_tables_and_are_told_where_the_alerts_end(case: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert said("--scores", "scores.csv", "--context", "ctx") == 0
    out, err = capsys.readouterr()
    assert "4 campaigns; 2,000 employee-days on 4 days; 13 alerts, 7 false ones" in out
    assert "1                0.950000    4       2      2 of 4  0.50    0.00 to 1.00   1.5            13.0" in out
    assert "10*" in out and "replay with a larger --budget" in err


def test_a_picture_is_drawn_and_is_the_same_each_time(case: Path) -> None:
    for name in ("one.svg", "two.svg", "three.png"):
        assert said("--plot", name) == 0
    one, two, three = ((case / name).read_bytes() for name in ("one.svg", "two.svg", "three.png"))
    assert one == two and b"<svg" in one and b"Recall at each price" in one and b"dc:date" not in one
    assert three.startswith(b"\x89PNG")


def test_without_matplotlib_it_says_so_before_it_begins(
    case: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(pictures, "find_spec", lambda name: None)
    assert said("--plot", "one.svg", alerts="none.ndjson") == 3
    assert "pip install 'detector[plot]'" in capsys.readouterr().err


def test_who_was_active_may_be_known_from_scores_or_from_a_number(case: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("active_days.csv", "meta.json"):
        (case / name).unlink()
    assert said() == 3 and "--employee-days" in capsys.readouterr().err
    assert said("--context", "ctx") == 0
    guessed = capsys.readouterr()
    assert "57 employee-days on 20 days" in guessed.out and "guessed: 4 employees of the directory, 20 days" in guessed.err
    assert said("--employee-days", "2000") == 0
    assert "2,000 employee-days on 20 days" in capsys.readouterr().out
    assert said("--scores", "scores.csv") == 0
    assert "1 employee-days on 1 days" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--plot", "one.gif"], "one of .svg"),
        (["--scores", "labels.csv"], "labels.csv:1: "),
        (["--from", "2030-01-01T00:00:00Z"], "holds no event"),
    ],
)
def test_what_cannot_be_done_is_said(words: list[str], says: str, case: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert said(*words) == 3
    assert says in capsys.readouterr().err


def test_verdicts_alone_tell_how_many_alerts_were_right(case: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ids, when = [f"{n:032x}" for n in (1, 2)], 1_790_000_000_000
    (case / "told.ndjson").write_bytes(b"\n".join(judged.alert(0.9, when, "eve", alert_id=n, incident_id=n, rarity=3.1) for n in ids))
    said = [
        {
            "verdict": {"alert_id": n, "verdict": word, "by": "me", "time": when},
            "actor": "eve",
            "time": when,
            "incident_id": n,
            "shares": {},
        }
        for n, word in zip(ids, ("true_positive", "false_positive"), strict=True)
    ]
    (case / "verdicts.ndjson").write_text("\n".join(map(json.dumps, said)))
    command = ["evaluate", "--alerts", "told.ndjson", "--verdicts", "verdicts.ndjson"]
    assert main([*command, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["feedback"]["all"] == {
        "name": "all", "judged": 2, "right": 1, "expected": 0, "precision": [0.5, 0.0, 1.0],
    }  # fmt: skip
    assert main(command) == 0
    assert "Verdicts on 2 incidents: 1 false positive, 1 true positive" in capsys.readouterr().out
    (case / "verdicts.ndjson").write_text("\n".join([json.dumps(said[0]), "{}"]))
    assert main(command) == 3 and "verdict 2: " in capsys.readouterr().err
    assert main(command[:3]) == 3 and "give --labels FILE" in capsys.readouterr().err
    assert main([*command, "--plot", "it.svg"]) == 3


@pytest.mark.slow
@pytest.mark.skipif(not (DATA / "company" / "a").is_dir(), reason="the synthetic companies are not there")
def test_it_agrees_with_the_program_that_came_with_the_companies(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """On a replay of company a: thresholds, false alerts, recall and its intervals, each kind's catches and times, average precision."""
    folder, alerts, scores = DATA / "company" / "a", str(tmp_path / "alerts.ndjson"), str(tmp_path / "scores.csv")
    outside = program(DATA / "company" / "evaluate.py")
    truth = outside.load_truth(str(folder))
    train, test = (str(folder / f"{part}.ndjson.zst") for part in ("train", "test"))
    context = ["--context", str(folder)]
    assert main(["train", "--events", train, *context, "--out", str(tmp_path)]) == 0
    replay = [
        "replay",
        "--events",
        train,
        test,
        *context,
        "--models",
        str(tmp_path),
        "--budget",
        "30",
        "--alerts",
        alerts,
        "--scores",
        scores,
    ]
    assert main([*replay, "--from", str(truth["meta"]["test_start"])]) == 0
    capsys.readouterr()
    assert main(["evaluate", "--alerts", alerts, "--labels", str(folder / "labels" / "labels.csv"), "--scores", scores, "--json"]) == 0
    mine = json.loads(capsys.readouterr().out)
    theirs = outside.main([str(folder), "--alerts", alerts, "--events", scores])
    compare(mine, theirs["alerts"])
    for key, value in (("ap", "average_precision"), ("auroc", "auroc"), ("positives", "positives"), ("unscored_positives", "unscored")):
        assert mine["ranking"][value] == pytest.approx(theirs["events"][key], abs=1e-12)
    assert mine["ranking"]["scenarios"] == pytest.approx({name: kind["ap"] for name, kind in theirs["events"]["scenarios"].items()})


def compare(mine: dict[str, Any], theirs: dict[str, Any]) -> None:
    whole = mine["everything"]
    assert (mine["alerts"], mine["employee_days"], whole["false_alerts"]) == tuple(
        theirs[k] for k in ("alerts", "employee_days", "false_alerts")
    )
    assert whole["recall"] == [theirs["recall_all"], *theirs["recall_all_ci"]]
    assert len(mine["rates"]) == len(theirs["curve"])
    for point, other in zip(mine["rates"], theirs["curve"], strict=True):
        assert (point["at"], point["threshold"], point["false_alerts"]) == tuple(other[k] for k in ("rate", "threshold", "false_alerts"))
        assert point["recall"] == [other["recall"], *other["ci"]]
        assert {name: renamed(kind) for name, kind in point["scenarios"].items()} == other["scenarios"]


def renamed(kind: dict[str, Any]) -> dict[str, Any]:
    names = {"events_before": "events_before_catch_median", "hours": "hours_to_detect_median"}
    return {names.get(name, name): value for name, value in kind.items()}


def program(path: Path) -> Any:
    spec = importlib.util.spec_from_file_location("outside", path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
