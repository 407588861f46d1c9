"""Strings stop here: dictionary-encoded columns, a keyed 64-bit hash that is the same in every process, and Kafka's partition of a key."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numba as nb
import numpy as np
from numpy.typing import NDArray

T = TypeVar("T", bound=np.generic)

HASH_KEY = bytes(range(16))
"""The key used where the operator gives none: it makes hashes stable, not secret."""


@dataclass(frozen=True)
class Coded:
    """A string column of length n: `values[codes[i]]` is the i-th string, code -1 where there is none.

    Values are distinct, in order of first use.
    """

    codes: NDArray[np.int32]
    values: tuple[str, ...]

    def spread(self, by_value: NDArray[T], absent: T) -> NDArray[T]:
        """A value for each distinct string -> a value for each row."""
        return np.append(by_value, absent)[self.codes]


def encode(column: Sequence[str | None]) -> Coded:
    """A column of strings, None where there is none -> its dictionary-encoded form."""
    places: defaultdict[str | None, int] = defaultdict(int)
    places.default_factory = places.__len__  # in C: one look-up a row, whether it is the value's first or not
    places[None] = 0
    codes = np.fromiter(map(places.__getitem__, column), np.int32, len(column)) - np.int32(1)
    return Coded(codes, tuple(places)[1:])  # type: ignore[arg-type]


def hash_strings(values: Sequence[str], key: bytes = HASH_KEY) -> NDArray[np.uint64]:
    """SipHash-2-4 of each string's UTF-8 bytes under a 16-byte key, uint64 (n,). Never 0, which means absent elsewhere (0 becomes 1)."""
    return _siphash(*_joined(values), *_halves(key))


def hash_spans(data: bytes, span: NDArray[np.int64], key: bytes = HASH_KEY) -> NDArray[np.uint64]:
    """The same of UTF-8 strings that lie in `data`: (n, m, 2) positions -> (n, m) hashes, 0 where stop < start."""
    return _siphash_spans(np.frombuffer(data, np.uint8), span, *_halves(key))


def _halves(key: bytes) -> tuple[np.uint64, np.uint64]:
    if len(key) != 16:
        raise ValueError(f"a hash key has 16 bytes, not {len(key)}")
    k0, k1 = np.frombuffer(key, "<u8").astype(np.uint64)
    return k0, k1


def kafka_partitions(values: Sequence[str], partitions: int) -> NDArray[np.int32]:
    """The partition that Kafka's default partitioner chooses for each string as a record's key, int32 (n,) in 0..partitions-1."""
    if partitions < 1:
        raise ValueError(f"a topic has at least one partition, not {partitions}")
    return ((_murmur2(*_joined(values)) & np.uint32(0x7FFFFFFF)) % np.uint32(partitions)).astype(np.int32)


def _joined(values: Sequence[str]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """All strings' UTF-8 bytes in one buffer, uint8 (m,), and where each begins and the last ends, int64 (n + 1,)."""
    encoded = [value.encode() for value in values]
    ends = np.zeros(len(encoded) + 1, np.int64)
    np.cumsum(np.fromiter(map(len, encoded), np.int64, len(encoded)), out=ends[1:])
    return np.frombuffer(b"".join(encoded), np.uint8), ends


@nb.njit(inline="always")
def _rotated(x: np.uint64, bits: int) -> np.uint64:
    return (x << np.uint64(bits)) | (x >> np.uint64(64 - bits))


@nb.njit(inline="always")
def _sip_round(v0: np.uint64, v1: np.uint64, v2: np.uint64, v3: np.uint64) -> tuple[np.uint64, np.uint64, np.uint64, np.uint64]:
    v0 += v1
    v2 += v3
    v1 = _rotated(v1, 13) ^ v0
    v3 = _rotated(v3, 16) ^ v2
    v0 = _rotated(v0, 32) + v3
    v2 += v1
    v3 = _rotated(v3, 21) ^ v0
    v1 = _rotated(v1, 17) ^ v2
    return v0, v1, _rotated(v2, 32), v3


@nb.njit(cache=True)
def _sip(data: NDArray[np.uint8], begin: int, length: int, k0: np.uint64, k1: np.uint64) -> np.uint64:
    """Aumasson and Bernstein, SipHash: a fast short-input PRF (2012), with 2 and 4 rounds; 0 becomes 1."""
    v0, v1 = k0 ^ np.uint64(0x736F6D6570736575), k1 ^ np.uint64(0x646F72616E646F6D)
    v2, v3 = k0 ^ np.uint64(0x6C7967656E657261), k1 ^ np.uint64(0x7465646279746573)
    for at in range(0, length + 1, 8):  # words of 8 bytes; the last one, perhaps empty, ends with the length
        word = np.uint64(0) if at + 8 <= length else np.uint64(length & 255) << np.uint64(56)
        for i in range(min(8, length - at)):
            word |= np.uint64(data[begin + at + i]) << np.uint64(8 * i)
        v3 ^= word
        for _ in range(2):
            v0, v1, v2, v3 = _sip_round(v0, v1, v2, v3)
        v0 ^= word
    v2 ^= np.uint64(0xFF)
    for _ in range(4):
        v0, v1, v2, v3 = _sip_round(v0, v1, v2, v3)
    return max(v0 ^ v1 ^ v2 ^ v3, np.uint64(1))


@nb.njit(cache=True)
def _siphash(data: NDArray[np.uint8], ends: NDArray[np.int64], k0: np.uint64, k1: np.uint64) -> NDArray[np.uint64]:
    out = np.empty(len(ends) - 1, np.uint64)
    for row in range(len(out)):
        out[row] = _sip(data, ends[row], ends[row + 1] - ends[row], k0, k1)
    return out


@nb.njit(cache=True)
def _siphash_spans(data: NDArray[np.uint8], span: NDArray[np.int64], k0: np.uint64, k1: np.uint64) -> NDArray[np.uint64]:
    out = np.zeros(span.shape[:2], np.uint64)
    for row in range(span.shape[0]):
        for column in range(span.shape[1]):
            start, stop = span[row, column]
            if stop >= start:
                out[row, column] = _sip(data, start, stop - start, k0, k1)
    return out


@nb.njit(cache=True)
def _murmur2(data: NDArray[np.uint8], ends: NDArray[np.int64]) -> NDArray[np.uint32]:
    """MurmurHash2 by Austin Appleby, with the seed that Kafka's clients use."""
    m, r = np.uint32(0x5BD1E995), np.uint32(24)
    out = np.empty(len(ends) - 1, np.uint32)
    for row in range(len(out)):
        begin, length = ends[row], ends[row + 1] - ends[row]
        whole = length // 4 * 4
        h = np.uint32(0x9747B28C) ^ np.uint32(length)
        for at in range(begin, begin + whole, 4):
            k = np.uint32(0)
            for i in range(4):
                k |= np.uint32(data[at + i]) << np.uint32(8 * i)
            k = np.uint32(k * m)
            k = np.uint32((k ^ (k >> r)) * m)
            h = np.uint32(h * m) ^ k
        if whole < length:
            for i in range(length - whole):
                h ^= np.uint32(data[begin + whole + i]) << np.uint32(8 * i)
            h = np.uint32(h * m)
        h = np.uint32((h ^ (h >> np.uint32(13))) * m)
        out[row] = h ^ (h >> np.uint32(15))
    return out
