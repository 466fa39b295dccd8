"""The commands that jobs run: they write down for the oracle when they begin, end, and with what."""

from __future__ import annotations

import signal
from random import Random
from typing import TYPE_CHECKING, Any

from tests.simulation.kernel import SECOND, Process

if TYPE_CHECKING:
    from tests.simulation.host import Host


class Script:
    """One process of a job: ``work SECONDS FAILS IGNORES LEAVES``, the last three in per cent of its runs.

    What it does hangs on its run and the seed alone, not on what happens around it.
    """

    def __init__(self, host: Host, process: Process, order: dict[str, Any]) -> None:
        self._host, self._process, self._order = host, process, order
        words = str(order["command"]).split()
        mean, fails, ignores, leaves = (float(word) for word in words[1:5])
        self._random = random = Random(f"{host.seed} {order['record']['run']} {order['attempt']}")
        self._seconds = mean * random.uniform(0.2, 2)
        self._code = random.choice((1, 2, 77)) if random.random() * 100 < fails else 0
        self._ignores = random.random() * 100 < ignores
        self._leaves = random.random() * 100 < leaves

    def begin(self) -> None:
        """It runs."""
        host, process = self._host, self._process
        process.title, process.on_signal = "work", self._signalled
        self._write("begin\n")
        host.oracle.began(process, self._order)
        at = host.kernel.mono + int(self._seconds * SECOND)
        if self._leaves:
            host.kernel.at(at - 1, self._leave)
        host.kernel.at(at, self._end)

    def _write(self, text: str) -> None:
        pipe = self._process.fds[1]
        pipe.put(text.encode())  # type: ignore[attr-defined]
        self._host.kernel.notify(pipe.pipe)  # type: ignore[attr-defined]

    def _leave(self) -> None:
        """Leave a process behind."""
        if self._process.dead:
            return
        host = self._host
        child = host.kernel.spawn("job", self._process, None)
        child.session, child.title, child.attempt = self._process.pid, "left", self._process.attempt
        child.environment = self._process.environment
        host.oracle.left(child, self._process)
        host.kernel.at(host.kernel.mono + 600 * SECOND, lambda: host.kernel.die(child, 0))

    def _end(self) -> None:
        if not self._process.dead:
            self._write("end\n")
            self._host.kernel.die(self._process, self._code << 8)

    def _signalled(self, number: int) -> None:
        if self._ignores and number == signal.SIGTERM:
            return
        host, process = self._host, self._process
        host.kernel.at(host.kernel.mono + SECOND // 100, lambda: host.kernel.die(process, int(number)))
