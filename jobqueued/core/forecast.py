"""The forecast of a start: the queue is played forward, each run taking as long as is usual."""

from __future__ import annotations

from heapq import heappop, heappush

from jobqueued.core import usual
from jobqueued.core.host_hold import halt
from jobqueued.core.scheduler_state import SchedulerState
from jobqueued.model import SECOND, Holder, Now, RunId
from jobqueued.queue.admission import Admission
from jobqueued.queue.locks import Locks

MOST = 100
"""Behind more runs nobody can say, and to find out would keep the daemon busy."""

IDLE_LOOKS = 10
"""After so many passes in a row that the queue asked for, and that let nobody start, nobody can say either."""
FOR_EVER = 1 << 62
"""The `drain` of all runs: what would start beside a holder of which nobody knows when it ends, is not foreseen."""


def expected_start(state: SchedulerState, asked: RunId, ordered: list[Holder], now: Now) -> int | None:
    """The wall instant (ns) at which a waiting run is likely to start; None: nobody can say.

    `ordered`: the queue in its order by now.  What comes due later is not foreseen; a job that has never succeeded
    takes its `timeout`, or nobody knows.
    """
    waiting = _before(state, asked, ordered)
    if len(waiting) > MOST or halt(state) or state.pressed(now.mono):
        return None
    queue, ends = _copied(state, waiting, now)
    mono, idle = now.mono, 0
    while idle <= IDLE_LOOKS:
        idle += 1
        for run in queue.turn(mono, MOST):
            if run == asked:
                return now.wall + mono - now.mono
            _start(state, queue, run, mono, ends)
            idle = 0
        look_at = queue.look_at
        if ends and (look_at is None or ends[0][0] <= look_at):
            mono, ended = heappop(ends)
            queue.release(ended)
            idle = 0
        elif look_at is None or look_at >= now.mono + FOR_EVER:
            return None
        else:
            mono = look_at
    return None


_Ends = list[tuple[int, Holder]]


def _copied(state: SchedulerState, waiting: list[Holder], now: Now) -> tuple[Admission, _Ends]:
    """The queue as it is now, with these that wait only, and when (monotonic, ns) who holds claims is likely to end."""
    admission = state.admission
    queue, ends = Admission(Locks(admission.locks.capacities), admission.most_of_a_user), list[tuple[int, Holder]]()
    for holder in admission.locks:
        queue.hold(holder, admission.locks.held(holder), admission.ends_at(holder))
        if isinstance(holder, RunId) and (end := _end(state, holder, now)) is not None:
            heappush(ends, (end, holder))
    queue.waiting = admission.waiting.only(waiting, FOR_EVER)
    return queue, ends


def _before(state: SchedulerState, asked: RunId, ordered: list[Holder]) -> list[Holder]:
    """A run, those that go before it now, and those that age faster and so may do later."""
    queue = state.admission.waiting
    place, mine = ordered.index(asked), queue.terms(asked).escalation
    faster = (run for run in ordered[place:] if _is_faster(queue.terms(run).escalation, mine))
    return [*ordered[: place + 1], *faster]


def _is_faster(one: tuple[int, int], other: tuple[int, int]) -> bool:
    return one[0] * other[1] > other[0] * one[1]


def _start(state: SchedulerState, queue: Admission, run: Holder, mono: int, ends: _Ends) -> None:
    terms = queue.waiting.terms(run)
    queue.forget(run)
    queue.hold(run, terms.claims, None if terms.bound is None else mono + terms.bound)
    if isinstance(run, RunId) and (took := _usual(state, run.job)) is not None:
        heappush(ends, (mono + took, run))


def _usual(state: SchedulerState, job: str) -> int | None:
    """The usual duration of a job's run (ns); None: nobody knows."""
    saved, defined = state[job].saved, state.catalog.get(job)
    took = usual.likely(saved.took, saved.stats.usual)
    if took is not None:
        return took
    return None if defined is None else defined.timeout


def _end(state: SchedulerState, run: RunId, now: Now) -> int | None:
    """The likely end of a live run (monotonic, ns); of one that is late already: soon."""
    took, started = _usual(state, run.job), state.runs[run].started
    bound = state.admission.ends_at(run)
    if took is None:
        return bound
    begun = now.mono if started is None else now.mono - max(0, now.wall - started)
    likely = max(begun + took, now.mono + SECOND)
    return likely if bound is None else min(likely, max(bound, now.mono + SECOND))
