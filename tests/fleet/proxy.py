"""The network between a host and the members of etcd: proxies that hold back, lose, cut short or repeat what passes."""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import Coroutine, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

_LATER = 1.5
"""Seconds after which a request comes for the second time."""


class Trouble(NamedTuple):
    """A state of the network; chances are those of one read.

    silent: nothing passes, and all of it later; refused: every connection ends; delay (s); lost: an answer, with its
    connection; short: half of an answer, then the end; hung: an answer never comes; twice: a request comes again;
    wrong: it was carried out, and a refusal comes.
    """

    silent: bool = False
    refused: bool = False
    delay: float = 0
    lost: float = 0
    short: float = 0
    hung: float = 0
    twice: float = 0
    wrong: float = 0


CALM = Trouble()
_REFUSALS = (
    ("503 Service Unavailable", '{"code":14,"message":"etcdserver: request timed out"}'),
    ("504 Gateway Timeout", '{"code":4,"message":"context deadline exceeded"}'),
    ("401 Unauthorized", '{"code":16,"message":"etcdserver: invalid auth token"}'),
    ("404 Not Found", "404 page not found"),
)


class Network:
    """The ways of all hosts, carried by a thread; each has a port for each member (`http://127.0.0.1:PORT`)."""

    def __init__(self, members: Sequence[str], hosts: int, seed: int) -> None:
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, daemon=True).start()
        ports = [int(member.rpartition(":")[2]) for member in members]
        self.ways = [Way(self._loop, ports, random.Random(f"{seed}/network/{number}")) for number in range(hosts)]

    def close(self) -> None:
        """End all connections."""
        for way in self.ways:
            way.close()
        self._loop.call_soon_threadsafe(self._loop.stop)


class Way:
    """The way of a host to each of the members."""

    def __init__(self, loop: asyncio.AbstractEventLoop, ports: Sequence[int], chance: random.Random) -> None:
        self._loop, self._chance = loop, chance
        self._trouble = CALM
        self._writers = set[asyncio.StreamWriter]()
        self._tasks = set[asyncio.Task[None]]()
        self._servers = list[asyncio.Server]()
        self._open = asyncio.Event()
        self._open.set()
        self.members = [asyncio.run_coroutine_threadsafe(self._listen(port), loop).result() for port in ports]

    def be(self, trouble: Trouble) -> None:
        """Let the network be so from now on."""
        asyncio.run_coroutine_threadsafe(self._become(trouble), self._loop).result()

    def close(self) -> None:
        """End all of it."""
        asyncio.run_coroutine_threadsafe(self._ended(), self._loop).result()

    async def _ended(self) -> None:
        for server in self._servers:
            server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _become(self, trouble: Trouble) -> None:
        self._trouble = trouble
        if trouble.silent:
            self._open.clear()
        else:
            self._open.set()
        for writer in self._writers if trouble.refused else ():
            writer.transport.abort()

    async def _listen(self, port: int) -> str:
        server = await asyncio.start_server(lambda reader, writer: self._carry(port, reader, writer), "127.0.0.1", 0)
        self._servers.append(server)
        return f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"

    async def _carry(self, port: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry a connection until one of both ends it."""
        ends = [writer]
        with suppress(OSError, ConnectionError):
            await self._open.wait()
            if not self._trouble.refused:
                answers, requests = await asyncio.open_connection("127.0.0.1", port)
                ends.append(requests)
                self._writers.update(ends)
                ways = [self._requests(port, reader, requests), self._answers(answers, writer)]
                await asyncio.wait(map(self._started, ways), return_when=asyncio.FIRST_COMPLETED)
        for end in ends:
            self._writers.discard(end)
            end.transport.abort()

    def _started(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = self._loop.create_task(_quietly(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _requests(self, port: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(1 << 20):
            await self._open.wait()
            if self._chance.random() < self._trouble.twice:
                self._started(self._again(port, data))
            writer.write(data)
            await writer.drain()

    async def _again(self, port: int, data: bytes) -> None:
        """Repeat a request, for an answer that nobody gets."""
        await asyncio.sleep(_LATER)
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(data)
        await reader.read(1 << 16)
        writer.close()

    async def _answers(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(1 << 20):
            await self._open.wait()
            trouble, chance = self._trouble, self._chance.random
            await asyncio.sleep(trouble.delay)
            if chance() < trouble.lost:
                return
            if chance() < trouble.short:
                writer.write(data[: len(data) // 2])
                await writer.drain()
                return
            if chance() < trouble.hung:
                continue
            writer.write(self._refusal() if chance() < trouble.wrong else data)
            await writer.drain()

    def _refusal(self) -> bytes:
        status, words = self._chance.choice(_REFUSALS)
        return f"HTTP/1.1 {status}\r\nContent-Length: {len(words)}\r\n\r\n{words}".encode()


async def _quietly(work: Coroutine[Any, Any, None]) -> None:
    """Take an end of a connection as one."""
    with suppress(OSError, ConnectionError):
        await work
