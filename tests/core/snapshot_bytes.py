"""States and snapshots of them for tests, and what must hold of each; a check raises AssertionError where it does not."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cache
from typing import Any

import laws
import msgspec
import numpy as np
from hypothesis import settings
from hypothesis import strategies as st

from detector.core.daily_blocks import TYPES, Origin
from detector.core.snapshots import LIMIT, RAW, Assembly, Snapshot, chunk_key, manifest_key, parse_key

ORIGIN = Origin("employee", "access-events", 3)
SMALL = ("chain", "notables")
LAW = settings(derandomize=True, deadline=None, max_examples=30, database=None)
SEEDS = st.integers(0, 2**32 - 1)
Arrays = dict[str, Any]


def numbers(rng: np.random.Generator, dtype: str, shape: tuple[int, ...]) -> Any:
    """Any bits whatever, hence any NaN, either zero, and denormals; they cannot be compressed."""
    return np.frombuffer(rng.bytes(int(np.prod(shape)) * np.dtype(dtype).itemsize), dtype).reshape(shape)


def a_state(seed: int) -> Arrays:
    """Some columns of any types and widths; no rows, one, or about as many as fill chunks."""
    rng = np.random.default_rng(seed)
    widths: list[tuple[int, ...]] = [(), (1,), (3,), (2, 5), (int(rng.integers(1, 4000)),)]
    layouts = [(t, widths[rng.integers(len(widths))]) for t in rng.permutation(sorted(TYPES))[: rng.integers(1, 9)]]
    each = RAW // sum(int(np.prod(width)) * np.dtype(t).itemsize for t, width in layouts)
    rows = int(rng.choice([0, 1, each - 1, each, each + 1, 2 * each, 2 * each + 1]))
    return {f"c{i}": numbers(rng, t, (rows, *width)) for i, (t, width) in enumerate(layouts)} | {
        "chain": np.arange(34), "notables": numbers(rng, "<f8", (int(rng.integers(4)),)),
    }  # fmt: skip


def written(arrays: Arrays, generation: int = 7, origin: Origin = ORIGIN) -> tuple[bytes, list[bytes]]:
    """A snapshot's manifest and chunks."""
    out = Snapshot(origin, generation, 5_000, 40, arrays, SMALL)
    chunks = [out.chunk(i) for i in range(out.chunks)]
    return out.manifest(), chunks


def read(manifest: bytes, chunks: Sequence[bytes]) -> Arrays:
    found = Assembly(manifest, ORIGIN)
    assert (found.generation, found.offset, found.since, found.chunks) == (7, 5_000, 40, len(chunks))
    for i, value in enumerate(chunks):
        found.add(i, value)
    return found.arrays()


def survives(seed: int) -> None:
    arrays = a_state(seed)
    manifest, chunks = written(arrays)
    assert max(map(len, [manifest, *chunks])) <= LIMIT
    assert laws.frozen(read(manifest, chunks)) == laws.frozen(arrays)


def keeps_every_bit() -> None:
    odd = [np.nan, -np.nan, 0.0, -0.0, np.inf, -np.inf, 5e-324, -5e-324, np.finfo(float).tiny / 3, 1e38]
    payload = np.array([0x7FF0000000000001, 0xFFF8DEADBEEF0001], np.uint64).view(np.float64)
    arrays = {"f8": np.array([*odd, *payload]), "f4": np.array([*odd, 1e-45, -1e-40], np.float32), "chain": np.array(odd)}
    assert laws.frozen(read(*written(arrays))) == laws.frozen(arrays)


def little_endian_everywhere() -> None:
    little = {"key": np.arange(9, dtype="<u8"), "x": np.arange(18, dtype="<f4").reshape(9, 2), "chain": np.arange(34)}
    big = {name: a.astype(a.dtype.newbyteorder(">")) for name, a in little.items()}
    across = {name: np.asfortranarray(a) for name, a in little.items()}
    assert written(big) == written(little) == written(across)


def names_places() -> None:
    assert [chunk_key(g, 17) for g in (4, 5, 6)] == [b"S/0/17", b"S/1/17", b"S/0/17"]
    assert [manifest_key(g) for g in (4, 5, 6)] == [b"M/0", b"M/1", b"M/0"]
    assert [parse_key(key) for key in (b"S/0/0", b"S/1/17", b"M/0", b"M/1")] == [(0, 0), (1, 17), (0, -1), (1, -1)]
    other = (
        b"",
        b"P",
        b"S",
        b"S/0",
        b"S/2/0",
        b"S/0/",
        b"S/0/-1",
        b"S/0/01",
        b"S/0/1\n",
        b"S/0/1/2",
        b"xS/0/1",
        b"M/2",
        b"M/0/1",
        b"S/0/" + b"9" * 99,
    )
    assert {parse_key(key) for key in other} == {None}


@cache
def three() -> tuple[bytes, list[bytes]]:
    """A snapshot of three chunks, the last one not full."""
    rng = np.random.default_rng(4)
    rows = 2 * (RAW // 48) + 100
    return written({"key": rng.integers(1, 9, rows).astype("u8"), "x": rng.integers(0, 9, (rows, 5)).astype("f8"), "chain": np.arange(34)})


def sealed(body: bytes, **said: Any) -> bytes:
    return msgspec.msgpack.encode({"format": 1, "sha256": hashlib.sha256(body).digest(), "body": body} | said)


def lying(**said: Any) -> bytes:
    """A manifest that says something else than it should, and says so with a right hash."""
    body = msgspec.msgpack.decode(msgspec.msgpack.decode(three()[0])["body"])
    return sealed(msgspec.msgpack.encode(body | said))


def body() -> bytes:
    return bytes(msgspec.msgpack.decode(three()[0])["body"])
