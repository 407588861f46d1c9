"""What passes between a client and a broker: requests read, answers changed, with kafka-python's own descriptions of the protocol.

A request: size i32 | API i16 | version i16 | correlation id i32 | client id | body. An answer: size i32 | correlation id i32 | body.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from kafka.protocol import admin, consumer, metadata, producer
from kafka.protocol.api_key import ApiKey
from kafka.protocol.data_container import DataContainer

PREFIX = struct.Struct(">ihhi")
SHAPES = {name: shape for module in (admin, consumer, metadata, producer) for name, shape in vars(module).items()}


@dataclass(frozen=True)
class Request:
    """The nth (from 0) of its API that passed through a proxy. APIs have the names that Kafka gives them: `EndTxn`."""

    api: str
    nth: int
    version: int
    correlation: int
    frame: bytes

    @cached_property
    def message(self) -> Any:
        return SHAPES[f"{self.api}Request"].decode(self.frame, version=self.version, header=True, framed=True)


def read(frame: bytes, count: Callable[[str], int]) -> Request:
    """`count` says how many of an API there were before."""
    _, key, version, correlation = PREFIX.unpack_from(frame)
    api = ApiKey(key).name
    return Request(api, count(api), version, correlation, frame)


def spoiled(request: Request, answer: bytes, code: int) -> bytes:
    """The broker's answer with an error wherever one can stand: the broker did it, and says that it did not."""
    said = SHAPES[f"{request.api}Response"].decode(answer, version=request.version, header=True, framed=True)
    for part in parts(said):
        for name in part._struct.fields:
            if name.endswith("error_code"):
                setattr(part, name, code)
    return bytes(said.encode(header=True, framed=True))


def parts(message: Any) -> Iterator[Any]:
    """A message and all structures in it."""
    yield message
    for name in message._struct.fields:
        inner = getattr(message, name)
        for item in inner if isinstance(inner, list) else [inner]:
            if isinstance(item, DataContainer):
                yield from parts(item)


def ownership(answered: Iterable[tuple[Request, bytes]]) -> dict[tuple[str, int], set[tuple[str, int]]]:
    """Member and generation to the (topic, partition) pairs that the group gave it."""
    found = {}
    for request, answer in answered:
        said = SHAPES["SyncGroupResponse"].decode(answer, version=request.version, header=True, framed=True)
        if not said.error_code:
            given = consumer.ConsumerProtocolAssignment.decode(said.assignment) if said.assignment else None
            found[request.message.member_id, request.message.generation_id] = (
                {tuple(place) for place in given.partitions()} if given else set()
            )
    return found


PLACES: Mapping[str, tuple[str, str, str, str, str]] = {
    # where a request lists topics and their partitions, and where its answer does: topics, partitions | topics, partitions, index
    "AddPartitionsToTxn": ("v3_and_below_topics", "partitions", "results_by_topic_v3_and_below", "results_by_partition", "partition_index"),
    "TxnOffsetCommit": ("topics", "partitions", "topics", "partitions", "partition_index"),
    "OffsetCommit": ("topics", "partitions", "topics", "partitions", "partition_index"),
    "Produce": ("topic_data", "partition_data", "responses", "partition_responses", "index"),
}


def refusal(request: Request, code: int) -> bytes:
    """An answer with this error to a request that the broker never gets: one of PLACES, or one whose answer holds nothing but an error."""
    shape, version = SHAPES[f"{request.api}Response"], request.version
    answer = shape(version=version)
    if request.api in PLACES:
        asked, partitions, answered, results, index = PLACES[request.api]
        topic_shape = shape._struct.fields[answered].data_class
        result_shape = topic_shape._struct.fields[results].data_class
        topics = []
        for topic in getattr(request.message, asked):
            numbers = [p if isinstance(p, int) else getattr(p, index) for p in getattr(topic, partitions)]
            topics.append(
                topic_shape(version=version, name=topic.name, **{results: [result_shape(version=version, **{index: n}) for n in numbers]})
            )
        setattr(answer, answered, topics)
    answer.with_header(correlation_id=request.correlation)
    return spoiled(request, answer.encode(header=True, framed=True), code)
