"""A man in the middle, between clients and one broker, who speaks Kafka's protocol: a test says of each request what becomes of it.

    def fate(request):
        if request.api == "EndTxn" and request.nth == 5:
            return Cut(after=True)

    with in_front_of(broker, fate) as proxy, broker: ...     # three brokers: one each

A fate depends on nothing but the request's API and how many of that API there were before, so a seed says all (`at_random`). What passed is
kept: `requests("TxnOffsetCommit")`; and what was struck by a fate: `struck`.
"""

from __future__ import annotations

import asyncio
import random
import socket
import struct
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Coroutine, Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Self

from wire import Request, read, refusal, spoiled

from detector.sandbox.broker import Broker, free_port

QUIET = 0.3
"""Seconds after a cut in which new connections wait: else the client asks again at once, and all it lost was a moment."""
BULKY = {"Fetch", "Produce", "Metadata", "ListOffsets", "ApiVersions"}
"""Counted, but not kept."""


@dataclass(frozen=True)
class Cut:
    """The connection ends before the broker gets the request, or after it has done it; orderly, or with RST."""

    after: bool = False
    reset: bool = False


@dataclass(frozen=True)
class Swallow:
    """Nobody gets it, and nothing passes on this connection any more, which stays open."""


@dataclass(frozen=True)
class Delay:
    """This request and those behind it on its connection wait."""

    seconds: float


@dataclass(frozen=True)
class Hold:
    """It is on its way for so long that its client, whose connection ends, has gone on without it when the broker gets it (KAFKA-17754)."""

    seconds: float


@dataclass(frozen=True)
class Error:
    """The answer is this error of the protocol; the broker has done what was asked, or was not asked."""

    code: int
    done: bool = False


Fate = Cut | Swallow | Delay | Hold | Error | None
Choice = Callable[[Request], Fate]


def at_random(seed: int, share: float, *fates: Fate, apis: Iterable[str] = ()) -> Choice:
    """Strikes this share of the requests (of these APIs; of all), always the same ones."""
    chosen = frozenset(apis)

    def choose(request: Request) -> Fate:
        dice = random.Random(f"{seed} {request.api} {request.nth}")
        struck = dice.random() < share and (not chosen or request.api in chosen)
        return dice.choice(fates) if struck else None

    return choose


class Proxy:
    """Passes on what comes to `port`, while its block lasts."""

    def __init__(self, port: int, target: int, fate: Choice = lambda _: None, quiet: float = QUIET) -> None:
        self.port, self.bootstrap = port, f"127.0.0.1:{port}"
        self._target, self._quiet, self._quiet_until = target, quiet, 0.0
        self.reset(fate)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name=f"proxy-{port}", daemon=True)
        self._up, self._down = threading.Event(), asyncio.Event()

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._up.wait(10), f"no proxy on port {self.port}"
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._down.set)
        self._thread.join(10)
        assert not self.mistakes, self.mistakes[0]

    def reset(self, fate: Choice = lambda _: None) -> None:
        """As if it were new; requests are counted from 0."""
        self.fate = fate
        self.counts: Counter[str] = Counter()
        self.struck: list[tuple[Request, Fate]] = []
        self.released: list[Request] = []
        """Held ones that the broker has answered at last."""
        self.answered: list[tuple[Request, bytes]] = []
        """The broker's answers to requests that ask who owns what (SyncGroup)."""
        self.mistakes: list[Exception] = []
        """Of the test, or of this proxy."""
        self.latency = 0.0
        """Seconds that everything takes, either way."""
        self.rate = float("inf")
        """Bytes a second on each connection, either way."""
        self.frozen = False
        """Nothing passes; connections stay open, new ones too."""
        self.closed = False
        """Connections end, and new ones do too."""
        self._kept: list[Request] = []

    def requests(self, *apis: str) -> list[Any]:
        """The messages of these APIs that passed so far (or were to), in order; attributes as Kafka names them."""
        return [request.message for request in list(self._kept) if request.api in apis]

    def hits(self, api: str = "") -> int:
        """How many requests (of this API) were struck."""
        return sum(request.api == api or not api for request, _ in list(self.struck))

    def _run(self) -> None:
        self._loop.run_until_complete(self._serve())

    async def _serve(self) -> None:
        server = await asyncio.start_server(self._connected, "127.0.0.1", self.port)
        self._up.set()
        await self._down.wait()
        server.close()
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()
            await asyncio.wait([task], timeout=1)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while time.monotonic() < self._quiet_until and not self.closed:
            await asyncio.sleep(0.01)
        link = _Link(self, reader, writer)
        with suppress(OSError, asyncio.CancelledError):
            await link.run(self._target)
        link.end()

    def decide(self, frame: bytes) -> tuple[Request, Fate]:
        request = read(frame, self._count)
        fate = self.fate(request)
        if request.api not in BULKY:
            self._kept.append(request)
        if fate is not None:
            self.struck.append((request, fate))
        if isinstance(fate, Cut | Hold):
            self._quiet_until = time.monotonic() + self._quiet
        return request, fate

    def _count(self, api: str) -> int:
        self.counts[api] += 1
        return self.counts[api] - 1


class _Link:
    """One connection, and its other half to the broker."""

    def __init__(self, proxy: Proxy, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.proxy, self.reader, self.writer = proxy, reader, writer
        self.broker: asyncio.StreamWriter | None = None
        self.waiting: deque[tuple[Request, Fate]] = deque()
        """Requests whose answers are to come, in order."""

    async def run(self, target: int) -> None:
        back, self.broker = await asyncio.open_connection("127.0.0.1", target)
        ways: list[Coroutine[Any, Any, None]] = [self._requests(self.broker), self._answers(back), self._watch()]
        over, left = await asyncio.wait([asyncio.ensure_future(way) for way in ways], return_when=asyncio.FIRST_COMPLETED)
        for way in left:
            way.cancel()
        self.proxy.mistakes += [error for way in over if isinstance(error := way.exception(), Exception) and not isinstance(error, OSError)]

    def end(self) -> None:
        for side in (self.writer, self.broker):
            if side is not None:
                side.close()

    async def _watch(self) -> None:
        while not self.proxy.closed:
            await asyncio.sleep(0.02)

    async def _requests(self, broker: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                frame = await self._passing(self.reader)
                request, fate = self.proxy.decide(frame)
                match fate:
                    case Cut(after=False):
                        return self._cut(fate)
                    case Swallow():
                        await asyncio.sleep(3600)
                    case Delay(seconds):
                        await asyncio.sleep(seconds)
                    case Hold(seconds):
                        return await self._hold(request, seconds, broker)
                    case Error(done=False):
                        self.waiting.append((request, fate))
                        self._refuse()
                        continue
                self.waiting.append((request, fate))
                broker.write(frame)
                await broker.drain()

    async def _answers(self, back: asyncio.StreamReader) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                answer = await self._passing(back)
                request, fate = self.waiting.popleft()
                if request.api == "SyncGroup":
                    self.proxy.answered.append((request, answer))
                if isinstance(fate, Cut):
                    return self._cut(fate)
                if isinstance(fate, Hold):
                    return self.proxy.released.append(request)
                self.writer.write(spoiled(request, answer, fate.code) if isinstance(fate, Error) else answer)
                self._refuse()
                await self.writer.drain()

    def _refuse(self) -> None:
        """Answers stand in the order of their requests: this one's turn has come when none before it is waited for."""
        while self.waiting and isinstance(fate := self.waiting[0][1], Error) and not fate.done:
            self.writer.write(refusal(self.waiting.popleft()[0], fate.code))

    async def _passing(self, side: asyncio.StreamReader) -> bytes:
        """The next request or answer, with its length in front."""
        size = await side.readexactly(4)
        frame = size + await side.readexactly(*struct.unpack(">i", size))
        await asyncio.sleep(self.proxy.latency + len(frame) / self.proxy.rate)
        while self.proxy.frozen:
            await asyncio.sleep(0.01)
        return frame

    def _cut(self, fate: Cut) -> None:
        if fate.reset:
            self.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.writer.transport.abort()

    async def _hold(self, request: Request, seconds: float, broker: asyncio.StreamWriter) -> None:
        """The broker's half outlives the client's."""
        self.writer.close()
        await asyncio.sleep(seconds)
        self.waiting.clear()
        self.waiting.append((request, Hold(seconds)))
        broker.write(request.frame)
        await asyncio.sleep(10)  # for the answer


def in_front_of(broker: Broker, fate: Choice = lambda _: None, quiet: float = QUIET) -> Proxy:
    """Before the broker's start: a listener more, which names the proxy's port to clients. Clients of `broker.bootstrap` pass by it."""
    named = free_port()
    real = broker.listen("MIDDLE", "PLAINTEXT", advertised=f"127.0.0.1:{named}")
    return Proxy(named, int(real.rsplit(":", 1)[1]), fate, quiet)
