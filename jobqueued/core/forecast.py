"""When a waiting run is likely to start: the queue is played forward, each run taking as long as is usual."""

from __future__ import annotations

from heapq import heapify, heappop, heappush

from jobqueued.core.scheduler_state import SchedulerState
from jobqueued.model import SECOND, Now, RunId
from jobqueued.queue.locks import Locks

MOST = 100
"""Behind more runs nobody can say, and to find out would keep the daemon busy."""


def expected_start(book: SchedulerState, asked: RunId, now: Now) -> int | None:
    """The wall instant (ns) at which a waiting run is likely to start; None: nobody can say.

    What comes due later is not foreseen; a job that has never succeeded takes its `timeout`, or nobody knows.
    """
    locks, mono = book.admission.locks, now.mono
    waiting = _before(book, asked, now)
    live = [holder for holder in locks if isinstance(holder, RunId)]
    if len(waiting) > MOST or book.hold is not None or book.pressed(mono):
        return None
    ends = [(end, holder) for holder in live if (end := _end(book, holder, now)) is not None]
    heapify(ends)
    then = Locks(locks.capacities)
    for holder in live:
        then.grant(holder, locks.held(holder), found=True)
    while True:
        started = _admit(book, waiting, then, mono)
        if asked in started:
            return now.wall + mono - now.mono
        for run in started:
            waiting.remove(run)
            if (took := _usual(book, run.job)) is not None:
                heappush(ends, (mono + took, run))
        if not ends:
            return None
        mono, ended = heappop(ends)
        then.release(ended)


def _before(book: SchedulerState, asked: RunId, now: Now) -> list[RunId]:
    """A run, those that go before it now, and those that age faster and so may do later."""
    queue = book.admission.waiting
    ordered = list(queue.ordered(now.mono))
    place, mine = ordered.index(asked), queue.terms(asked).escalation
    faster = (run for run in ordered[place + 1 :] if _is_faster(queue.terms(run).escalation, mine))
    return [*ordered[: place + 1], *faster]


def _is_faster(one: tuple[int, int], other: tuple[int, int]) -> bool:
    return one[0] * other[1] > other[0] * one[1]


def _admit(book: SchedulerState, waiting: list[RunId], then: Locks, mono: int) -> list[RunId]:
    """Who starts at that moment: in their order, past the first that can't only what does not touch its needs."""
    queue = book.admission.waiting
    reserved, started = Locks(then.capacities), []
    for run in sorted(waiting, key=lambda run: queue.place(run, mono)):
        claims = queue.terms(run).claims
        if then.missing(claims, reserved) is None:
            then.grant(run, claims)
            started.append(run)
        elif then.missing(claims) is not None and reserved.missing(claims) is None:
            reserved.grant(run, claims, found=True)
    return started


def _usual(book: SchedulerState, job: str) -> int | None:
    """How long a run of a job takes (ns)."""
    usual, defined = book[job].memory.stats.usual, book.catalog.get(job)
    if usual is not None:
        return max(usual, 1)
    return None if defined is None else defined.timeout


def _end(book: SchedulerState, run: RunId, now: Now) -> int | None:
    """When (monotonic, ns) a live run is likely to end; one that is late already, soon."""
    if run not in book.runs:
        return None
    took, started = _usual(book, run.job), book.runs[run].started
    bound = book.admission.ends_at(run)
    if took is None:
        return bound
    begun = now.mono if started is None else now.mono - max(0, now.wall - started)
    likely = max(begun + took, now.mono + SECOND)
    return likely if bound is None else min(likely, max(bound, now.mono + SECOND))
