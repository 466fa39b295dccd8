"""The forecast of a start: the queue is played forward, and each run takes its usual time.

This is a simple form of `foresight/`, fast enough for the daemon.  For the same queue and the same times, both forecast
the same starts.
"""

from __future__ import annotations

from bisect import bisect
from collections.abc import Collection
from heapq import heapify, heappop, heappush

from jobqueued.core.records.usual import SOON, likely
from jobqueued.core.runs.host_hold import halt
from jobqueued.core.state.scheduler_state import SchedulerState
from jobqueued.model.job import Now
from jobqueued.model.run import Holder, RunId

MOST = 100
"""Maximum number of runs to play forward; more would keep the daemon busy for an uncertain result."""

IDLE_LOOKS = 10
"""Number of consecutive passes without a start after which the forecast ends."""
FOR_EVER = 1 << 62
"""The `drain` (ns) that all runs get, practically endless: no start is forecast while a holder with an unknown end is
live.
"""


def expected_starts(
    state: SchedulerState, asked: Collection[RunId], ordered: list[Holder], now: Now
) -> dict[RunId, int]:
    """Return run → when (wall, ns) it is likely to start, for the waiting runs in `asked`; runs without a forecast are
    omitted.

    `ordered`: the queue in its current order. Jobs that become due later are ignored. A job that never succeeded is
    assumed to take its `timeout`; without a timeout, the end of its runs is unknown.
    """
    wanted, waiting = _played(state, asked, ordered)
    found = dict[RunId, int]()
    if not wanted or halt(state) or state.pressed(now.mono):
        return found
    live = {holder: _end(state, holder, now) for holder in state.admission.locks}
    is_known = None not in live.values() and all(_took(state, holder) is not None for holder in waiting)
    queue = state.admission.only(waiting, None if is_known else FOR_EVER)
    ends = [(end, holder) for holder, end in live.items() if end is not None]
    heapify(ends)
    mono, idle, is_stuck = now.mono, 0, state.queue_stuck
    while idle <= IDLE_LOOKS:
        idle += 1
        for run in () if is_stuck else queue.choose(mono, MOST):  # another pass would record another refusal
            if isinstance(run, RunId) and run in wanted:
                found[run] = now.wall + mono - now.mono
                if len(found) == len(wanted):
                    return found
            terms, idle = queue.waiting.terms(run), 0
            queue.forget(run)
            queue.hold(run, terms.claims, None if terms.bound is None else mono + terms.bound)
            if (took := _took(state, run)) is not None:
                heappush(ends, (mono + took, run))
        is_stuck, look_at = False, queue.look_at
        if ends and (look_at is None or ends[0][0] <= look_at):
            mono, idle = ends[0][0], 0
            while ends and ends[0][0] == mono:
                queue.release(heappop(ends)[1])
        elif look_at is None or look_at >= now.mono + FOR_EVER:
            return found
        else:
            mono = look_at
    return found


def _played(state: SchedulerState, asked: Collection[RunId], ordered: list[Holder]) -> tuple[set[RunId], list[Holder]]:
    """Return the runs in `asked` that are within the limit MOST, and the part of the queue to play forward for them.

    This part contains the runs before them and the runs that age faster and may overtake them. Up to MOST, it also
    contains runs after them, which may start earlier while nothing is reserved (queue/drains.py).
    """
    places = [place for place, run in enumerate(ordered[:MOST]) if run in asked]
    queue, faster = state.admission.waiting, list[int]()
    if places:
        mine = queue.terms(ordered[places[0]]).escalation
        faster = [place for place, run in enumerate(ordered) if _is_faster(queue.terms(run).escalation, mine)]
    while places and places[-1] + 1 + len(later := faster[bisect(faster, places[-1]) :]) > MOST:
        places.pop()
    if not places:
        return set(), []
    first = [*ordered[: places[-1] + 1], *(ordered[place] for place in later)]
    wanted = {run for place in places if isinstance(run := ordered[place], RunId)}
    return wanted, list(dict.fromkeys([*first, *ordered[:MOST]]))[:MOST]


def _is_faster(one: tuple[int, int], other: tuple[int, int]) -> bool:
    return one[0] * other[1] > other[0] * one[1]


def _end(state: SchedulerState, holder: Holder, now: Now) -> int | None:
    """Return the likely end of a live holder (monotonic, ns), or None if unknown."""
    if not isinstance(holder, RunId):
        return None
    started, bound = state.runs[holder].started, state.admission.ends_at(holder)
    passed = 0 if started is None else max(0, now.wall - started)
    if (took := _took(state, holder, passed)) is None:
        return bound
    end = now.mono - passed + took
    return end if bound is None else min(end, max(bound, now.mono + SOON))


def _took(state: SchedulerState, holder: Holder, passed: int = 0) -> int | None:
    """Return the likely duration (ns) of a holder that has run for `passed` ns, or None if unknown."""
    if not isinstance(holder, RunId):
        return None
    saved, defined = state[holder.job].saved, state.catalog.get(holder.job)
    return likely(saved.took, saved.stats.usual, None if defined is None else defined.timeout, passed)
