"""The network between a host and the members of etcd: proxies that hold back, lose, cut short or repeat what passes.

What has passed is told call by call.
"""

from __future__ import annotations

import asyncio
import random
import re
import threading
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from email.utils import formatdate, parsedate_to_datetime
from typing import Any, NamedTuple, TypeVar
from urllib.parse import urlsplit

from tests.fleet.history import Exchange
from tests.fleet.tap import Tap

_T = TypeVar("_T")
_LATER = 1.5
"""Seconds after which a request comes for the second time."""


class Trouble(NamedTuple):
    """A state of the network; chances are those of one read.

    silent: nothing passes, and all of it later; refused: every connection ends; delay (s); lost: an answer, with its
    connection; short: half of an answer, then the end; hung: an answer never comes; twice: a request comes again;
    wrong: it was carried out, and a refusal comes.  ahead: seconds that the clock of the host seems ahead of etcd's.
    """

    silent: bool = False
    refused: bool = False
    delay: float = 0
    lost: float = 0
    short: float = 0
    hung: float = 0
    twice: float = 0
    wrong: float = 0
    ahead: float = 0


CALM = Trouble()
_REFUSALS = (
    ("503 Service Unavailable", '{"code":14,"message":"etcdserver: request timed out"}'),
    ("504 Gateway Timeout", '{"code":4,"message":"context deadline exceeded"}'),
    ("401 Unauthorized", '{"code":16,"message":"etcdserver: invalid auth token"}'),
    ("404 Not Found", "404 page not found"),
)
_LENGTH, _DATE = re.compile(rb"\r\nContent-Length: *(\d+)", re.I), re.compile(rb"(?<=\r\nDate: )[^\r]+")


class Way:
    """The way of a host to each of the members, carried by a thread; `members`: where that takes calls for them.

    `enter` is what the thread does first; `tell` is given what has passed.
    """

    def __init__(
        self, host: str, members: Sequence[str], chance: random.Random, tell: Callable[[Exchange], None],
        enter: Callable[[], None] | None = None,
    ) -> None:  # fmt: skip
        self._host, self._chance, self._tell = host, chance, tell
        self._trouble = CALM
        self._writers = set[asyncio.StreamWriter]()
        self._tasks = set[asyncio.Task[None]]()
        self._servers = list[asyncio.Server]()
        self._loop = asyncio.new_event_loop()
        self._open = asyncio.Event()
        self._open.set()
        threading.Thread(target=self._run, args=(enter,), daemon=True).start()
        self.members = [self._do(self._listen(member)) for member in members]

    def be(self, trouble: Trouble) -> None:
        """Let the network be so from now on."""
        self._do(self._become(trouble))

    def close(self) -> None:
        """End all of it."""
        self._do(self._ended())
        self._loop.call_soon_threadsafe(self._loop.stop)

    def _run(self, enter: Callable[[], None] | None) -> None:
        if enter is not None:
            enter()
        self._loop.run_forever()

    def _do(self, work: Coroutine[Any, Any, _T]) -> _T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

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

    async def _listen(self, member: str) -> str:
        server = await asyncio.start_server(lambda reader, writer: self._carry(member, reader, writer), "127.0.0.1", 0)
        self._servers.append(server)
        return f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"

    async def _carry(self, member: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry a connection until one of both ends it."""
        ends, tap = [writer], Tap(self._host, self._tell)
        with suppress(OSError, ConnectionError):
            await self._open.wait()
            if not self._trouble.refused:
                answers, requests = await _connected(member)
                ends.append(requests)
                self._writers.update(ends)
                ways = [self._requests(member, reader, requests, tap), self._answers(answers, writer, tap)]
                await asyncio.wait(map(self._started, ways), return_when=asyncio.FIRST_COMPLETED)
        tap.close()
        for end in ends:
            self._writers.discard(end)
            end.transport.abort()

    def _started(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = self._loop.create_task(_quietly(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _requests(
        self, member: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, tap: Tap
    ) -> None:  # fmt: skip
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            length = _LENGTH.search(head)
            body = await reader.readexactly(int(length[1]) if length else 0)
            await self._open.wait()
            if self._chance.random() < self._trouble.twice:
                self._started(self._again(member, head, body))
            tap.asked(head, body)
            writer.write(head + body)
            await writer.drain()

    async def _again(self, member: str, head: bytes, body: bytes) -> None:
        """Repeat a request, for an answer that nobody gets."""
        await asyncio.sleep(_LATER)
        tap = Tap(self._host, self._tell)
        reader, writer = await _connected(member)
        try:
            tap.asked(head, body)
            writer.write(head + body)
            tap.answered(await asyncio.wait_for(reader.read(1 << 16), _LATER))
        finally:
            tap.close()
            writer.transport.abort()

    async def _answers(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, tap: Tap) -> None:
        while data := await reader.read(1 << 20):
            tap.answered(data)
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
            writer.write(self._refusal() if chance() < trouble.wrong else _dated(data, -trouble.ahead))
            await writer.drain()

    def _refusal(self) -> bytes:
        status, words = self._chance.choice(_REFUSALS)
        return f"HTTP/1.1 {status}\r\nContent-Length: {len(words)}\r\n\r\n{words}".encode()


async def _connected(member: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    where = urlsplit(member)
    return await asyncio.open_connection(where.hostname, where.port)


def _dated(data: bytes, seconds: float) -> bytes:
    """An answer, or a part of it, whose date is another by so many seconds."""
    date = _DATE.search(data) if seconds else None
    if date is None:
        return data
    told = parsedate_to_datetime(date[0].decode()).timestamp() + seconds
    return data.replace(date[0], formatdate(told, usegmt=True).encode(), 1)


async def _quietly(work: Coroutine[Any, Any, None]) -> None:
    """Take an end of a connection as one."""
    with suppress(OSError, ConnectionError, EOFError, TimeoutError):
        await work
