"""TCP links that can be cut, slowed and made to lose connections; who is at their other end is asked of the kernel."""

from __future__ import annotations

import asyncio
import contextlib
import random
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from detector.sandbox.broker import free_port

DOORS = ("CLIENT", "NODE", "CONTROLLER")
"""A node's listeners: for clients, for the other nodes, for controllers."""
CLIENTS = 0
"""Whoever is no node."""
CHUNK = 64 << 10


@dataclass
class Link:
    """Before a door of a node. What it does to bytes can be changed at any time, and then holds for connections that are open, too."""

    node: int
    door: str
    target: int
    cut_from: set[int] = field(default_factory=set)
    """Nodes (or CLIENTS) whose bytes get nowhere, nor do the answers: nothing is closed, nothing arrives."""
    delay: float = 0.0
    """Seconds, each way."""
    resets: float = 0.0
    """Share of chunks at which the connection is lost instead."""


class Links:
    """Runs the links in a thread of its own. `pid`: the process of a node, None where it does not run."""

    def __init__(self, pid: Callable[[int], int | None], seed: int = 1) -> None:
        self.all: list[Link] = []
        self.lost = 0
        """Connections that were lost on purpose."""
        self._pid, self._dice = pid, random.Random(seed)
        self._owners: dict[int, int] = {}
        """By local port, the node that holds it."""
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, name="links", daemon=True).start()

    def open(self, link: Link) -> int:
        """The port to which clients are to go."""
        port = free_port()
        asyncio.run_coroutine_threadsafe(self._serve(link, port), self._loop).result(10)
        self.all.append(link)
        return port

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)

    def isolate(self, node: int, clients: bool, nodes: bool) -> None:
        """Nobody can reach it, and it reaches nobody: of clients, of the other nodes, or of both."""
        for link in self.all:
            if link.node == node:
                link.cut_from = ({CLIENTS} if clients else set()) | ({1, 2, 3} if nodes else set())
            elif nodes:
                link.cut_from = {node}

    def heal(self) -> None:
        for link in self.all:
            link.cut_from, link.delay, link.resets = set(), 0.0, 0.0

    async def _serve(self, link: Link, port: int) -> None:
        await asyncio.start_server(lambda reader, writer: self._connected(link, reader, writer), "127.0.0.1", port)

    async def _connected(self, link: Link, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        port = writer.get_extra_info("peername")[1]
        try:
            target_reader, target_writer = await asyncio.open_connection("127.0.0.1", link.target)
        except OSError:
            writer.transport.abort()
            return
        ends = (writer, target_writer)
        await asyncio.gather(self._pump(link, port, reader, target_writer, ends), self._pump(link, port, target_reader, writer, ends))

    async def _pump(
        self, link: Link, port: int, source: asyncio.StreamReader, target: asyncio.StreamWriter, ends: tuple[asyncio.StreamWriter, ...]
    ) -> None:
        who = CLIENTS if link.door == "CLIENT" else None  # nodes have doors of their own
        with contextlib.suppress(OSError):
            while chunk := await source.read(CHUNK):
                if link.delay:
                    await asyncio.sleep(link.delay)
                while link.cut_from:
                    who = self._who(port) if who is None else who
                    if who not in link.cut_from:
                        break
                    await asyncio.sleep(0.02)
                if link.resets and self._dice.random() < link.resets:
                    self.lost += 1
                    break
                target.write(chunk)
                await target.drain()
        for end in ends:
            end.transport.abort()

    def _who(self, port: int) -> int:
        """The node that holds the socket with this local port, or CLIENTS. Nodes have thousands of files open: to look among them, with
        nothing else done meanwhile, for each connection would by itself cost nodes their sessions.
        """
        if port not in self._owners:
            ports = {f"socket:[{line.split()[9]}]": int(line.split()[1].split(":")[1], 16) for line in connections()}
            held = {node: sockets(pid) & ports.keys() for node in (1, 2, 3) if (pid := self._pid(node))}
            self._owners = {ports[inode]: node for node, inodes in held.items() for inode in inodes}
        return self._owners.get(port, CLIENTS)


def connections() -> Iterator[str]:
    """Established ones, as lines of the kernel's tables."""
    for table in ("tcp", "tcp6"):
        for line in Path("/proc/net", table).read_text().splitlines()[1:]:
            if line.split()[3] == "01":
                yield line


def sockets(pid: int) -> set[str]:
    """Of a process, as the kernel names them."""
    found = set()
    with contextlib.suppress(OSError):
        for handle in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                found.add(str(handle.readlink()))
    return found
