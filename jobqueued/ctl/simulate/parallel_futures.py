"""Simulate futures in parallel, with one process per CPU."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, cast

from jobqueued.base.instants import DAY
from jobqueued.ctl.base.client import CallRefused
from jobqueued.foresight.durations import Chance
from jobqueued.foresight.futures import HostSnapshot, play
from jobqueued.foresight.tally import Tally

if TYPE_CHECKING:
    from multiprocessing.connection import Connection
    from multiprocessing.context import ForkProcess

_WORTH_IT = 100 * DAY
"""If the simulated time (ns, sum of all jobs) is shorter, a single process is as fast."""


def play_in_parallel(
    host: HostSnapshot,
    until: int,
    chances: Sequence[Chance],
    progress: Callable[[float], None] = lambda _: None,
    *,
    keeps_starts: bool = False,
    first: Tally | None = None,
) -> list[Tally]:
    """Simulate futures like `foresight.futures.play`, but faster. Raises CallRefused.

    `first` may remain empty, so use the returned tallies.
    """
    workers = min(len(chances), len(os.sched_getaffinity(0)))
    if workers < 2 or len(host.jobs) * (until - host.begin) < _WORTH_IT:
        return play(host, until, chances, progress, keeps_starts=keeps_starts, first=first)
    from multiprocessing import get_context

    def work(number: int, out: Connection) -> None:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        tally = None if number else first
        out.send(play(host, until, chances[number::workers], out.send, keeps_starts=keeps_starts, first=tally))

    fork = get_context("fork")
    processes: list[ForkProcess] = []
    pipes: dict[Connection, int] = {}
    try:
        for number in range(workers):
            pipe, out = fork.Pipe(duplex=False)
            processes.append(fork.Process(target=work, args=(number, out)))
            processes[-1].start()
            out.close()
            pipes[pipe] = number
        found = _gathered(pipes, progress)
    finally:
        for process in processes:
            process.terminate()
            process.join()
    return [found[place % workers][place // workers] for place in range(len(chances))]


def _gathered(pipes: dict[Connection, int], progress: Callable[[float], None]) -> dict[int, list[Tally]]:
    """Collect each process's tallies. Raises CallRefused if a process died."""
    from multiprocessing.connection import wait

    done, found = [0.0] * len(pipes), dict[int, list[Tally]]()
    while len(found) < len(pipes):
        for pipe in cast("list[Connection]", wait([pipe for pipe, number in pipes.items() if number not in found])):
            try:
                told = pipe.recv()
            except EOFError:
                raise CallRefused(
                    "a process that simulated some of the draws was killed; to use less memory: --draws 1"
                ) from None
            if isinstance(told, float):
                done[pipes[pipe]] = told
                progress(sum(done) / len(pipes))
            else:
                found[pipes[pipe]] = told
    return found
