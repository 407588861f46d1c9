"""Snapshots that are not as they were written: each is refused by a sentence that names the part and what to do, and takes no memory."""

from __future__ import annotations

import hashlib
import random
import tracemalloc
from collections.abc import Callable, Sequence
from typing import Any

import lz4.block
import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from mutation import mutate
from snapshot_bytes import (
    LAW,
    ORIGIN,
    SEEDS,
    SMALL,
    body,
    keeps_every_bit,
    little_endian_everywhere,
    lying,
    names_places,
    sealed,
    survives,
    three,
    written,
)

from detector.core import snapshots
from detector.core.daily_blocks import Origin
from detector.core.snapshots import DIGEST, LIMIT, RAW, Assembly
from detector.errors import StateError


def refused(why: str, manifest: bytes, chunks: Sequence[tuple[int, bytes]] = (), origin: Origin = ORIGIN) -> None:
    with pytest.raises(StateError) as caught:
        found = Assembly(manifest, origin)
        for i, value in chunks:
            found.add(i, value)
        found.arrays()
    said = str(caught.value)
    assert said.startswith("snapshot of {} on {}-{}".format(*origin)) and why in said
    assert said.endswith(": rebuild the task from its input"), "it says what to do"


def damaged(dice: random.Random, value: bytes) -> bytes:
    at = dice.randrange(len(value))
    return value[:at] + bytes([value[at] ^ dice.randrange(1, 256)]) + value[at + 1 :]


@LAW
@given(SEEDS)
def test_one_damaged_byte_anywhere_is_noticed_and_its_chunk_named(seed: int) -> None:
    dice, (manifest, chunks) = random.Random(seed), three()
    refused("manifest", damaged(dice, manifest))
    i = dice.randrange(3)
    spoilt = [*chunks[:i], damaged(dice, chunks[i]), *chunks[i + 1 :]]
    refused(f"generation 7: chunk {i} of 3 was damaged", manifest, list(enumerate(spoilt)))


def check_the_order() -> None:
    manifest, (a, b, c) = three()
    other = written({"key": np.ones(50_000, np.uint64)})[1][0]
    for why, chunks in [
        ("chunk 0 of 3 and what comes after it are missing", []),
        ("chunk 2 of 3 and what comes after it are missing", [(0, a), (1, b)]),
        ("chunk 2 of 3 comes where chunk 1 should", [(0, a), (2, c)]),
        ("chunk 0 of 3 comes where chunk 1 should", [(0, a), (0, a)]),
        ("chunk -1 of 3 comes where chunk 0 should", [(-1, c)]),
        ("chunk 3 of 3 is one too many", [(0, a), (1, b), (2, c), (3, c)]),
        ("chunk 1 of 3 was damaged or is of another snapshot", [(0, a), (1, c)]),
        ("chunk 0 of 3 was damaged or is of another snapshot", [(0, other)]),
        ("chunk 1 of 3 was damaged or is of another snapshot", [(0, a), (1, b"")]),
    ]:
        refused(why, manifest, chunks)


def test_chunks_that_are_missing_swapped_repeated_or_foreign_are_named() -> None:
    check_the_order()


def test_a_chunk_that_was_refused_may_be_followed_by_the_right_one() -> None:
    manifest, chunks = three()
    found = Assembly(manifest, ORIGIN)
    with pytest.raises(StateError):
        found.add(0, chunks[1])
    for i, value in enumerate(chunks):
        found.add(i, value)
    assert len(found.arrays()["key"]) == found.rows


def check_the_origin() -> None:
    manifest, _ = three()
    for other in (ORIGIN._replace(view="subject"), ORIGIN._replace(topic="another"), ORIGIN._replace(partition=4)):
        refused("the manifest is of employee on access-events-3", manifest, origin=other)


def test_a_snapshot_of_another_task_is_refused() -> None:
    check_the_origin()


COLUMNS = [["key", "<u8", []], ["x", "<f8", [5]]]
ROWS = 2 * (RAW // 48) + 100
LIES: list[tuple[str, Callable[[], bytes]]] = [
    ("truncated", lambda: b""),
    ("Expected `object`", lambda: b'{"json": 1}'),
    ("trailing", lambda: three()[0] + b"\x00"),
    ("at most 524288", lambda: three()[0] + b"\x00" * LIMIT),
    ("format 2, this version reads 1", lambda: sealed(b"whatever it will be", format=2, more=1)),
    ("damaged", lambda: sealed(body(), sha256=b"")),
    ("trailing", lambda: sealed(body() + b"\x00")),
    ("Expected `object`", lambda: sealed(b"\x01")),
    ("unknown field", lambda: lying(more=1)),
    ("Expected `int`", lambda: lying(rows=1.5)),
    ("names an array twice", lambda: lying(columns=[*COLUMNS, COLUMNS[1]])),
    ("names an array twice", lambda: lying(small=[["x", "<f8", [0], b""]])),
    ("column x has the type <U9", lambda: lying(columns=[["x", "<U9", []]])),
    ("column x has the type |O", lambda: lying(columns=[["x", "|O", []]])),
    ("rows of the shape (0,)", lambda: lying(columns=[["x", "<f8", [0]]])),
    ("rows of the shape (-5, -1)", lambda: lying(columns=[["x", "<f8", [-5, -1]]])),
    ("rows of the shape (1, 1, 1, 1, 1)", lambda: lying(columns=[["x", "<f8", [1] * 5]])),
    ("partition -1", lambda: lying(partition=-1)),
    ("generation -1", lambda: lying(generation=-1)),
    ("offset -1", lambda: lying(offset=-1)),
    ("since -2", lambda: lying(since=-2)),
    ("-1 rows", lambda: lying(rows=-1)),
    ("at most 8589934592 bytes", lambda: lying(rows=2**62)),
    ("at most 8589934592 bytes", lambda: lying(columns=[["x", "<f8", [2**40, 2**40]]])),
    ("0 a chunk", lambda: lying(each=0)),
    ("-9 a chunk", lambda: lying(each=-9)),
    ("do not make 3 chunks", lambda: lying(each=RAW // 48 + 1)),
    ("do not make 3 chunks", lambda: lying(rows=3 * (RAW // 48) + 1)),
    ("do not make 3 chunks", lambda: lying(rows=2 * (RAW // 48))),
    ("do not make 3 chunks", lambda: lying(columns=[], rows=3, each=1)),
    ("do not make 2.0625 chunks", lambda: lying(digests=b"\x00" * (2 * DIGEST + 1))),
    ("column chain has 8 bytes for the shape (2,) of <i8", lambda: lying(small=[["chain", "<i8", [2], b"\x00" * 8]])),
    ("column chain has 0 bytes", lambda: lying(small=[["chain", "<i8", [0, 2**62, 2**62], b""]])),
    ("column chain has the type |O", lambda: lying(small=[["chain", "|O", [1], b"\x00" * 8]])),
]  # fmt: skip


@pytest.mark.parametrize(("why", "manifest"), LIES, ids=[str(i) for i in range(len(LIES))])
def test_a_manifest_that_lies_is_refused(why: str, manifest: Callable[[], bytes]) -> None:
    refused(why, manifest())


def expands(value: bytes) -> bytes:
    """The manifest of `three`, with which this value is the first chunk."""
    digests: bytes = msgspec.msgpack.decode(body())["digests"]
    return lying(digests=hashlib.sha256(value).digest()[:DIGEST] + digests[DIGEST:])


def check_the_sizes() -> None:
    whole = RAW // 48 * 48
    for raw in (b"", b"\x00" * (whole - 1), b"\x00" * (whole + 1)):
        value = lz4.block.compress(raw, store_size=False)
        refused("chunk 0 of 3", expands(value), [(0, value)])
    for value in (b"", b"\xff" * 999):
        refused("chunk 0 of 3", expands(value), [(0, value)])


def test_a_chunk_that_expands_to_another_size_is_refused() -> None:
    check_the_sizes()


def test_what_is_refused_takes_no_memory() -> None:
    bomb = lz4.block.compress(b"\x00" * (256 << 20), store_size=False)
    claims, small = [manifest() for _, manifest in LIES], expands(bomb)
    found = Assembly(small, ORIGIN)
    tracemalloc.start()
    with pytest.raises(StateError, match="chunk 0 of 3 does not expand to"):
        found.add(0, bomb)
    for claim in claims:
        with pytest.raises(StateError):
            Assembly(claim, ORIGIN)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 * LIMIT


def test_a_machine_without_room_for_the_state_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> Any:
        raise MemoryError

    manifest, _ = three()
    monkeypatch.setattr(np, "zeros", full)
    with pytest.raises(StateError, match=r"no memory for .* rows: give the process more"):
        Assembly(manifest, ORIGIN)


@settings(LAW, max_examples=200)
@given(SEEDS)
def test_a_manifest_of_any_bytes_is_refused_or_is_one(seed: int) -> None:
    dice, value = random.Random(seed), bytearray(body())
    for _ in range(dice.randint(1, 3)):
        at = dice.randrange(len(value))
        value[at : at + dice.choice([0, 1, 1, 1, 5])] = dice.randbytes(dice.choice([0, 1, 1, 1, 9]))
    try:
        found = Assembly(sealed(bytes(value)), ORIGIN)
        for i, chunk in enumerate(three()[1]):
            found.add(i, chunk)
        arrays = found.arrays()
    except StateError:
        return
    assert {len(a) for name, a in arrays.items() if name not in SMALL} <= {found.rows}


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("RAW = LIMIT - LIMIT // 255 - 16", "RAW = LIMIT"),
        ('b"S/%d/%d" % (generation % 2, chunk)', 'b"S/%d/%d" % (generation, chunk)'),
        ('b"M/%d" % (generation % 2)', 'b"M/%d" % (generation)'),
        (".fullmatch(key)", ".match(key)"),
        ("(int(whole), -1) if", "(int(whole), 0) if"),
        ("self._each = RAW // row", "self._each = RAW // row + 1"),
        ("return math.ceil(self.rows / self._each)", "return self.rows // self._each"),
        ("rows = slice(i * self._each, (i + 1) * self._each)", "rows = slice(i * self._each, (i + 1) * self._each - 1)"),
        ('np.ascontiguousarray(a[rows], a.dtype.newbyteorder("<"))', "np.ascontiguousarray(a[rows])"),
        ("(self.generation, self.offset, self.since,", "(self.generation, self.since, self.offset,"),
        ("Origin(said.view, said.topic, said.partition)) != origin", "Origin(*origin[:2], said.partition)) != origin"),
        ("Origin(said.view, said.topic, said.partition)) != origin", "Origin(said.view, *origin[1:])) != origin"),
        ("if i != self._added or i >= self.chunks:", "if i >= self.chunks:"),
        ("if i != self._added or i >= self.chunks:", "if i != self._added:"),
        ("if _digest(value) != self._digests[i]:", "if False:"),
        ("except (lz4.block.LZ4BlockError, ValueError) as error:", "except ValueError as error:"),
        ("if len(raw) != size:", "if False:"),
        ("first = i * self._each", "first = 0"),
        ("            at += rows * row", "            at += row"),
        ("self._added += 1", "self._added = i"),
        ("if self._added < self.chunks:\n", "if not self._added:\n"),
    ],
)  # fmt: skip
def test_a_change_is_noticed(old: str, new: str, monkeypatch: pytest.MonkeyPatch) -> None:
    three.cache_clear()
    mutate(monkeypatch, snapshots, old, new)
    try:
        with pytest.raises((AssertionError, StateError, IndexError, ValueError, TypeError, lz4.block.LZ4BlockError, pytest.fail.Exception)):
            names_places()
            keeps_every_bit()
            little_endian_everywhere()
            check_the_order()
            check_the_origin()
            check_the_sizes()
            for seed in range(12):
                survives(seed)
    finally:
        three.cache_clear()
