"""What the hypotheses about rights and walls say is what was shown, in the evidence's own unit, and no more."""

from __future__ import annotations

import pytest

from detector.core.hypotheses import Reading, find
from detector.core.signals import explanation, rights


@pytest.mark.parametrize(
    ("hypothesis", "reading", "parts"),
    [
        ("wall", Reading("wall.16h.team", 12.3, 0.4, 1.2), ("weight 12 in the last day or so", "(usually 0.4, the team 1.2)")),
        ("wall", Reading("wall.6d.own", 3.0, 0.0, 0.0), ("weight 3 in the last week or so", "(usually under 0.1, the team under 0.1)")),
        ("revoked", Reading("revoked.16h.own", 2.94, 0.1, 0.0), ("weight 2.9 in the last day or so", "(usually 0.1, the team under 0.1)")),
        ("revoked", Reading("revoked.6d.team", 8.8, 0.1, 0.0), ("weight 8.8 in the last week or so",)),
        (
            "privilege",
            Reading("privilege.16h.own", 2.88, 0.0, 0.3),
            ("weight 2.9 in the last day or so", "(usually under 0.1, the team 0.3)"),
        ),
        ("privilege", Reading("grant_use", 2.6, None, None), ("in the three days before", "strength 2.6")),
        ("watch", Reading("watch.1.5h.team", 7.2, 0.0, 0.3), ("weight 7.2 in the last few hours", "(usually under 0.1, the team 0.3)")),
        ("watch", Reading("watch_self", 2.0, None, None), ("about themselves, or without a ticket about a colleague",)),
    ],
)
def test_a_sentence_holds_the_numbers_shown(hypothesis: str, reading: Reading, parts: tuple[str, ...]) -> None:
    h = find(hypothesis)
    assert reading.name in h.signals
    text = h.says([reading])
    assert all(part in text for part in parts), text
    assert ("usually" in text) == (reading.own_usual is not None), "a weight is told with what is usual"


def test_privilege_tells_of_the_change_and_of_its_use_the_stronger_first() -> None:
    change, use = Reading("privilege.16h.own", 5.1, 0.0, 0.0), Reading("grant_use", 1.4, None, None)
    says = find("privilege").says
    both = says([use, change])
    assert both.startswith("used what they had given themselves") and "changed their own rights" in both
    assert says([change, use]).startswith("changed their own rights")
    assert says([change, use._replace(value=0.0)]) == says([change])


def test_the_units_that_sentences_name_are_those_of_the_evidence() -> None:
    unexplained = 1 - rights.FREE_W
    assert rights.REVOKED * unexplained == pytest.approx(1, abs=0.05), "a use that nothing explains counts about 1"
    change = rights.CHANGE * (rights.CHANGE_FLOOR + rights.GRANT_W * (explanation.SELF - rights.FREE_W))
    assert change == pytest.approx(1, abs=0.1), "a change of one's own rights that nothing explains counts about 1"
    assert rights.WATCH_SELF == 1.5 and rights.ALWAYS + rights.BY_W == 1
    assert rights.GRANT_MINUTES == 3 * 24 * 60


def test_they_are_off_where_no_file_says_what_is_closed_or_taken_away() -> None:
    assert {name: find(name).needs for name in ("wall", "revoked", "privilege", "watch")} == {
        "wall": ("residency.toml",), "revoked": ("revocations.csv", "directory_changes.csv"), "privilege": (), "watch": (),
    }  # fmt: skip
