"""Dictionary-encoded columns, SipHash and Kafka's murmur2 against their authors' vectors and slow versions."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from kafka.partitioner.default import murmur2

from detector.core.events import hash_members
from detector.core.strings import HASH_KEY, encode, hash_strings, kafka_partitions

TEXT = st.text(st.characters(exclude_categories=["Cs"]))  # a lone surrogate is no text; the decoder refuses it

# From the SipHash authors' reference implementation (vectors_sip64): key 00..0f, message 00, 01, ... of length 0 to 15.
SIPHASH_VECTORS = bytes.fromhex("""
    310e0edd47db6f72 fd67dc93c539f874 5a4fa9d909806c0d 2d7efbd796666785 b7877127e09427cf 8da699cd64557618 cee3fe586e46c9cb 37d1018bf50002ab
    6224939a79f5f593 b0e4a90bdf82009e f3b9dd94c5bb5d7a a7ad6b22462fb3f4 fbe50e86bc8f1e75 903d84c02756ea14 eef27a8e90ca23f7 e545be4961ca29a1
""")


def siphash(data: bytes, key: bytes) -> int:
    """Straight from the paper, with Python's big integers."""
    mask = 2**64 - 1
    k0, k1 = int.from_bytes(key[:8], "little"), int.from_bytes(key[8:], "little")
    v = [k0 ^ 0x736F6D6570736575, k1 ^ 0x646F72616E646F6D, k0 ^ 0x6C7967656E657261, k1 ^ 0x7465646279746573]

    def rotated(x: int, bits: int) -> int:
        return (x << bits | x >> (64 - bits)) & mask

    def rounds(count: int) -> None:
        for _ in range(count):
            for a, b, c, d, r, s in ((0, 1, 2, 3, 13, 16), (2, 1, 0, 3, 17, 21)):
                v[a], v[c] = (v[a] + v[b]) & mask, (v[c] + v[d]) & mask
                v[b], v[d] = rotated(v[b], r) ^ v[a], rotated(v[d], s) ^ v[c]
                v[a] = rotated(v[a], 32)

    padded = data + bytes(7 - len(data) % 8) + bytes([len(data) % 256])
    for at in range(0, len(padded), 8):
        word = int.from_bytes(padded[at : at + 8], "little")
        v[3] ^= word
        rounds(2)
        v[0] ^= word
    v[2] ^= 0xFF
    rounds(4)
    return v[0] ^ v[1] ^ v[2] ^ v[3]


def test_siphash_gives_the_authors_vectors() -> None:
    messages = [bytes(range(length)).decode() for length in range(16)]
    assert hash_strings(messages).astype("<u8").tobytes() == SIPHASH_VECTORS


@given(st.lists(TEXT), st.binary(min_size=16, max_size=16))
def test_siphash_equals_the_slow_version_under_any_key(values: list[str], key: bytes) -> None:
    assert hash_strings(values, key).tolist() == [max(1, siphash(v.encode(), key)) for v in values]


def test_a_hash_needs_a_key_of_16_bytes() -> None:
    with pytest.raises(ValueError, match="16 bytes"):
        hash_strings(["a"], b"short")


# From Kafka's own UtilsTest.testMurmur2.
@pytest.mark.parametrize(
    ("text", "signed"),
    [("21", -973932308), ("foobar", -790332482), ("a-little-bit-long-string", -985981536), ("a-little-bit-longer-string", -1486304829),
     ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971), ("abc", 479470107)],
)  # fmt: skip
def test_partitions_follow_kafkas_own_vectors(text: str, signed: int) -> None:
    for partitions in (1, 3, 16, 2**31 - 1):
        assert kafka_partitions([text], partitions).tolist() == [(signed & 0x7FFFFFFF) % partitions]


@given(st.lists(TEXT), st.integers(1, 1000))
def test_partitions_equal_those_of_the_kafka_client(values: list[str], partitions: int) -> None:
    found = kafka_partitions(values, partitions)
    assert found.dtype == np.int32
    assert found.tolist() == [(murmur2(v.encode()) & 0x7FFFFFFF) % partitions for v in values]


def test_a_topic_without_partitions_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one"):
        kafka_partitions(["a"], 0)


@given(st.lists(st.none() | st.sampled_from(["a", "b", ""]) | TEXT))
def test_an_encoded_column_gives_back_the_strings_in_order_of_first_use(column: list[str | None]) -> None:
    coded = encode(column)
    assert coded.codes.dtype == np.int32
    assert [None if code < 0 else coded.values[code] for code in coded.codes] == column
    assert list(coded.values) == list(dict.fromkeys(v for v in column if v is not None))


@given(st.lists(st.none() | TEXT))
def test_a_row_without_a_string_has_hash_0_and_no_other_row_has(column: list[str | None]) -> None:
    hashes = hash_members([SimpleNamespace(member=value) for value in column], "member")
    assert hashes.dtype == np.uint64
    assert [h == 0 for h in hashes] == [v is None for v in column]
    assert hashes.tolist() == [0 if v is None else max(1, siphash(v.encode(), HASH_KEY)) for v in column]
