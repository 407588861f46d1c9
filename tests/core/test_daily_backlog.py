"""What waits to be sent: each block of each day goes out once and in order, whatever fails meanwhile."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given
from mutation import mutate
from test_daily_blocks import LAW, ORIGIN, SEEDS, large, records, written

from detector.core import daily_blocks
from detector.core.daily import Daily
from detector.core.daily_blocks import NOTHING, TOGETHER, Backlog, Place, blocks_of


def goes_out_once(seed: int) -> None:
    """Days end and blocks go out, some of them in vain; now and then the task is another one, which was told all days again."""
    dice = random.Random(seed)
    days = [records(seed + day, day) for day in sorted(dice.sample(range(100), 6))]
    wanted = [value for daily in days for value in written(daily)]
    backlog, ended, out = Backlog(ORIGIN), 0, list[bytes]()
    while len(out) < len(wanted):
        if ended < len(days) and dice.random() < 0.5:
            backlog.ended(days[ended])
            ended += 1
        so_far = sum(blocks_of(daily) for daily in days[:ended])
        assert len(backlog) == so_far - len(out)
        unsent = [daily.day for daily in days[:ended] if (daily.day, blocks_of(daily)) > backlog.sent]
        assert backlog.full == (len(unsent) > 1 and so_far - len(out) > TOGETHER)
        most = dice.randint(-1, 3)
        blocks, place = backlog.next(most)
        assert len(blocks) == min(max(most, 0), so_far - len(out))
        if dice.random() < 0.6:
            out += blocks
            backlog.reached(place)
        elif dice.random() < 0.3:
            backlog = Backlog(ORIGIN, backlog.sent)
            for daily in days[:ended]:
                backlog.ended(daily)
    same = out == wanted
    assert same
    assert len(backlog) == 0 and backlog.next(9) == ([], backlog.sent)


@LAW
@given(SEEDS)
def test_every_block_goes_out_once_whatever_fails(seed: int) -> None:
    goes_out_once(seed)


def skips(seed: int = 7) -> None:
    """Another process has sent meanwhile what waits here."""
    daily, later = large(seed), records(seed, 6)
    backlog = Backlog(ORIGIN)
    for one in (daily, later):
        backlog.ended(one)
    backlog.reached(Place(5, 2))
    third = backlog.next(1) == ([written(daily)[2]], Place(5, 3))
    assert third  # no more is said of it: showing how half a megabyte differs takes minutes
    backlog.reached(Place(6, blocks_of(later)))
    assert len(backlog) == 0
    backlog.ended(later)
    assert len(backlog) == 0


def test_what_another_sent_meanwhile_is_passed_over() -> None:
    skips()


def fills() -> None:
    """One day may wait, however large; not two, unless they go at once."""
    small, wide = records(1, 4, most=5), np.ones((2000, 600))
    huge = Daily(5, np.arange(1, 2001, dtype=np.uint64), np.zeros(2000, np.uint64), {"wide": wide})
    backlog = Backlog(ORIGIN)
    backlog.ended(small)
    backlog.reached(backlog.next(1)[1])
    backlog.ended(small)
    backlog.ended(huge)
    assert len(backlog) > 2 * TOGETHER and not backlog.full
    backlog.ended(records(1, 6, most=5))
    backlog.reached(Place(5, blocks_of(huge) - TOGETHER))
    assert len(backlog) == TOGETHER + 1 and backlog.full
    backlog.reached(backlog.next(1)[1])
    assert len(backlog) == TOGETHER and not backlog.full


def test_one_day_may_wait_however_large() -> None:
    fills()


def test_nothing_is_sent_to_begin_with() -> None:
    assert Backlog(ORIGIN).sent == NOTHING < (0, 0)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("if self.sent < (daily.day, blocks_of(daily)):", "if self.sent <= (daily.day, blocks_of(daily)):"),
        ("if self.sent < (daily.day, blocks_of(daily)):", "if self.sent < (daily.day, 0):"),
        ("max(most, 0)", "max(most, 1)"),
        ("some[-1][1] + 1) if", "some[-1][1]) if"),
        ("else self.sent\n", "else NOTHING\n"),
        ("self.sent = place", "self.sent = NOTHING"),
        ("while self._days and place >=", "while self._days and place >"),
        ("            done = 0", "            done = done"),
        ("self._days[0].day == self.sent.day else 0", "True else 0"),
        ("self._days[0].day == self.sent.day else 0", "False else 0"),
        ("for daily in self._days) - self._done()", "for daily in self._days)"),
        ("len(self._days) > 1 and len(self) > TOGETHER", "len(self) > TOGETHER"),
        ("len(self._days) > 1 and len(self) > TOGETHER", "len(self._days) > 1"),
        ("len(self._days) > 1 and len(self) > TOGETHER", "len(self._days) > 1 and len(self) > 2 * TOGETHER"),
    ],
)  # fmt: skip
def test_a_change_is_noticed(old: str, new: str, monkeypatch: pytest.MonkeyPatch) -> None:
    mutate(monkeypatch, daily_blocks, old, new)
    with pytest.raises((AssertionError, IndexError)):
        skips()
        fills()
        for seed in range(30):
            goes_out_once(seed)
