"""Daily records as bytes: what is read is what was written, and what is not so is refused."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import msgspec
import numpy as np
import pytest
import world
from hypothesis import given, settings
from hypothesis import strategies as st
from mutation import mutate

from detector.core import daily_blocks
from detector.core.daily import Daily
from detector.core.daily_blocks import LIMIT, TYPES, Block, Origin, blocks_of, collect, decode, encode
from detector.errors import StateError

ORIGIN = Origin("employee", "access-events", 3)
LAW = settings(derandomize=True, deadline=None, max_examples=40, database=None)
SEEDS = st.integers(0, 2**32 - 1)


def records(seed: int, day: int = 20_000, most: int = 700) -> Daily:
    """Of a day of a few or of many people, with a column of every type."""
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, most))
    columns = {f"c{t[1:]}": rng.integers(0, 100, (n, 9) if i % 2 else n).astype(t) for i, t in enumerate(sorted(TYPES))}
    columns["wide"] = rng.normal(size=(n, int(rng.integers(1, 400)))).astype(np.float32)
    return Daily(day, rng.integers(1, 2**63, n).astype(np.uint64), rng.integers(0, 9, n).astype(np.uint64), columns)


def exactly(daily: Daily) -> tuple[Any, ...]:
    arrays = {"key": daily.key, "team": daily.team, **daily.columns}
    return daily.day, {name: (a.dtype.str, a.shape, a.tobytes()) for name, a in arrays.items()}, list(daily.columns)


def written(daily: Daily, origin: Origin = ORIGIN) -> list[bytes]:
    return [encode(origin, daily, chunk) for chunk in range(blocks_of(daily))]


def survives(seed: int) -> None:
    daily = records(seed)
    blocks = written(daily)
    assert max(map(len, blocks)) <= LIMIT
    assert sum(map(len, blocks)) >= (len(blocks) - 1) * LIMIT * 0.9, "blocks are as large as they may be"
    read = [decode(value) for value in blocks]
    assert [(b.origin, b.chunk, b.chunks) for b in read] == [(ORIGIN, i, len(blocks)) for i in range(len(blocks))]
    (joined,), missing = collect(random.Random(seed).sample(blocks, len(blocks)), ORIGIN.view, ORIGIN.topic)
    assert not missing and exactly(joined) == exactly(daily)


@LAW
@given(SEEDS)
def test_what_is_read_is_what_was_written(seed: int) -> None:
    survives(seed)


def test_days_of_one_block_and_of_many_occur() -> None:
    counts = {blocks_of(records(seed)) for seed in range(40)}
    assert min(counts) == 1 and max(counts) > 2


def test_numbers_are_little_endian_wherever_they_were_written() -> None:
    little = records(1)
    big = Daily(little.day, *(a.astype(a.dtype.newbyteorder(">")) for a in (little.key, little.team)),
                {name: a.astype(a.dtype.newbyteorder(">")) for name, a in little.columns.items()})  # fmt: skip
    assert written(big) == written(little)


def test_the_records_of_a_task_survive_and_are_those_of_the_moment_at_which_the_day_ended() -> None:
    task = world.pipeline()
    for batch in world.batches():
        for daily in task.process(batch).daily:
            (read,), _ = collect(written(daily), ORIGIN.view, ORIGIN.topic)
            assert exactly(read) == exactly(daily)
            arrays = [daily.key, daily.team, *daily.columns.values()]
            assert not any(np.shares_memory(a, kept) for a in arrays for kept in task.tracker.state.columns.values())


def spoilt(**said: Any) -> bytes:
    """A block that says something else than it should."""
    block = msgspec.msgpack.decode(encode(ORIGIN, records(2, most=5), 0))
    return msgspec.msgpack.encode(block | said)


def column(at: int, **said: Any) -> bytes:
    """A block of which one column, (name, type, shape, bytes), says something else."""
    columns = msgspec.msgpack.decode(encode(ORIGIN, records(2, most=5), 0))["columns"]
    names = ("name", "type", "shape", "data")
    columns[at] = list((dict(zip(names, columns[at], strict=True)) | said).values())
    return spoilt(columns=columns)


ROWS = len(records(2, most=5))


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (b"", "truncated"),
        (b"\xc1" * 40, "malformed"),
        (b'{"json": 1}', "Expected `object`"),
        (spoilt() + b"\x00", "trailing"),
        (spoilt()[:-1], "truncated"),
        (b"\x00" * (LIMIT + 1), "at most"),
        (spoilt(format=2), "format 2"),
        (spoilt(view=b"\xff"), "Expected `str`"),
        (spoilt(more=1), "unknown field"),
        (spoilt(partition=-1), "partition -1"),
        (spoilt(day=-1), "day -1"),
        (spoilt(day=1.5), "Expected `int`"),
        (spoilt(chunk=1), "block 1 of 1"),
        (spoilt(chunk=-1), "block -1 of 1"),
        (spoilt(chunks=0), "block 0 of 0"),
        (spoilt(rows=0, columns=[]), "0 rows"),
        (spoilt(rows=ROWS + 1), "column key has the shape"),
        (spoilt(columns=[]), "has the columns"),
        (column(0, name="other"), "has the columns other, team"),
        (column(3, name="cf4"), "has the columns"),
        (column(4, name="team"), "has the columns"),
        (column(0, type="<i8"), "key and team must be hashes"),
        (column(1, type="<f8", data=np.zeros(ROWS).tobytes()), "key and team must be hashes"),
        (column(0, data=bytes(8 * ROWS)), "nobody's key is 0"),
        (column(0, shape=[ROWS, 1]), "key and team must be hashes"),
        (column(1, shape=[ROWS, 1]), "key and team must be hashes"),
        (column(4, type=">f4"), "has the type >f4"),
        (column(4, type="|O8"), "has the type |O8"),
        (column(4, type="<M8[s]"), "has the type"),
        (column(4, shape=[]), "has the shape ()"),
        (column(4, shape=[ROWS, 1, 1]), "has the shape"),
        (column(4, shape=[ROWS, 0], data=b""), "has the shape"),
        (column(4, shape=[-ROWS, -1]), "has the shape"),
        (column(4, shape=[ROWS, 2**62]), "bytes for the shape"),
        (column(4, data=b"1"), "has 1 bytes for the shape"),
        (column(-1, type="<f4", shape=[ROWS], data=np.full(ROWS, np.nan, "<f4").tobytes()), "no number"),
        (column(-1, type="<f8", shape=[ROWS], data=np.full(ROWS, np.inf, "<f8").tobytes()), "no number"),
    ],
)  # fmt: skip
def test_what_is_not_as_it_is_written_is_refused(value: bytes, why: str) -> None:
    with pytest.raises(StateError, match=r"^daily block: ") as caught:
        decode(value)
    assert why in str(caught.value)


@LAW
@given(SEEDS)
def test_damaged_bytes_are_refused_or_are_a_block_all_the_same(seed: int) -> None:
    dice, value = random.Random(seed), bytearray(encode(ORIGIN, records(seed, most=4), 0))
    for _ in range(dice.randint(1, 4)):
        at = dice.randrange(min(len(value), dice.choice([80, 10**6])))
        value[at : at + dice.choice([0, 1, 1, 1, 5])] = dice.randbytes(dice.choice([0, 1, 1, 1, 9]))
    try:
        block = decode(bytes(value))
    except StateError:
        return
    assert all(len(a) == len(block.records) for a in block.records.columns.values())


# --- Days are put together


def shuffled(seed: int, *values: bytes) -> list[bytes]:
    return random.Random(seed).sample(values, len(values))


def puts_together(seed: int) -> None:
    """Two partitions, two days; repeated, in any order, among what is not asked for."""
    days = {(day, p): records(seed + 10 * day + p, day) for day in (1, 2) for p in (0, 1)}
    blocks = [value for (_, p), daily in days.items() for value in written(daily, ORIGIN._replace(partition=p))]
    others = [encode(other, records(seed), 0) for other in (ORIGIN._replace(view="subject"), ORIGIN._replace(topic="another"))]
    found, missing = collect(shuffled(seed, *blocks, *blocks[:5], *others), ORIGIN.view, ORIGIN.topic)
    assert not missing
    assert [exactly(daily) for daily in found] == [exactly(days[at]) for at in sorted(days)]


@LAW
@given(SEEDS)
def test_days_are_put_together_from_blocks_in_any_order(seed: int) -> None:
    puts_together(seed)


def large(seed: int, day: int = 5) -> Daily:
    return next(daily for s in range(seed, seed + 1000) if blocks_of(daily := records(s, day)) == 3)


def leaves_out(seed: int = 7) -> None:
    daily = large(seed)
    first, _, third = written(daily)
    whole = records(1, 6, most=5)
    found, missing = collect([third, first, *written(whole)], ORIGIN.view, ORIGIN.topic)
    assert [exactly(one) for one in found] == [exactly(whole)]
    assert missing == ["day 5 of partition 3: 2 of 3 blocks are there"]


def test_a_day_of_which_blocks_are_missing_is_left_out_and_named() -> None:
    leaves_out()


def replaces(seed: int = 7) -> None:
    """The same people, told anew: first some of it, then all."""
    old = large(seed)
    new = Daily(old.day, old.key, old.team, {name: a + a.dtype.type(1) for name, a in old.columns.items()})
    (found,), _ = collect([*written(old), *written(new)], ORIGIN.view, ORIGIN.topic)
    assert exactly(found) == exactly(new)
    other = Daily(old.day, old.key, old.team, {**old.columns, "more": old.key})
    assert collect([*written(old), written(other)[0]], ORIGIN.view, ORIGIN.topic)[0] == []
    (found,), _ = collect([written(old)[0], *written(other)], ORIGIN.view, ORIGIN.topic)
    assert exactly(found) == exactly(other)
    short = Daily(old.day, old.key[:2], old.team[:2], {name: a[:2] for name, a in old.columns.items()})
    (found,), _ = collect([*written(old), *written(short)], ORIGIN.view, ORIGIN.topic)
    assert exactly(found) == exactly(short)


def test_a_day_that_is_sent_anew_replaces_what_was_sent_before() -> None:
    replaces()


def test_a_block_is_said_as_it_is() -> None:
    block = decode(encode(ORIGIN, records(2, most=5), 0))
    assert isinstance(block, Block) and replace(block, chunks=2).layout != block.layout


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("head = 256 +", "head = -1024 +"),
        ("(LIMIT - head)", "(LIMIT // 2 - head)"),
        ("rows = slice(chunk * each,", "rows = slice(chunk * each + (chunk > 0),"),
        ("min((chunk + 1) * each, len(daily))", "min((chunk + 1) * each + 1, len(daily))"),
        ("rows.stop - rows.start", "rows.stop - rows.start + 1"),
        ("for name, a in _columns(daily))\n    return msg", "for name, a in reversed(_columns(daily)))\n    return msg"),
        ('np.ascontiguousarray(array, array.dtype.newbyteorder("<"))', "array"),
        ("little.shape, little.tobytes()", "little.shape, little.T.tobytes()"),
        ("*origin, daily.day, chunk, blocks_of(daily)", "*origin, daily.day, 0, blocks_of(daily)"),
        ("if block.origin[:2] == (view, topic):", "if block.origin[:1] == (view,):"),
        ("if block.origin[:2] == (view, topic):", "if block.origin[1:2] == (topic,):"),
        ("(block.records.day, block.origin.partition)", "(block.origin.partition, block.records.day)"),
        ("held.clear()", "pass"),
        ("if held and next(iter(held.values())).layout != block.layout:", "if held and block.chunk == 0:"),
        ("held[block.chunk] = block", "held.setdefault(block.chunk, block)"),
        ("for chunk in sorted(held)]", "for chunk in held]"),
        ("if len(blocks) < blocks[0].chunks:", "if False:"),
        ("return self.chunks, [", "return ["),
    ],
)  # fmt: skip
def test_a_change_is_noticed(old: str, new: str, monkeypatch: pytest.MonkeyPatch) -> None:
    mutate(monkeypatch, daily_blocks, old, new)
    with pytest.raises((AssertionError, StateError, IndexError, KeyError, ValueError, TypeError)):
        for seed in range(30):
            survives(seed)
            puts_together(seed)
        leaves_out()
        replaces()
        test_numbers_are_little_endian_wherever_they_were_written()
