"""The next starts of all jobs: the soonest, and those that follow it; no stale entries are many."""

from __future__ import annotations

from heapq import heappush

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobqueued.model import Job
from jobqueued.timing import due_times
from jobqueued.timing.due_times import DueTimes
from jobqueued.timing.schedule import Schedule
from tests.support.world import MIDNIGHT, job

STEPS = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 59), st.booleans()), max_size=40)


@given(STEPS, st.integers(0, 50))
def test_in_order(steps: list[tuple[int, int, bool]], limit: int) -> None:
    """Whatever was set, edited and cleared: the starts come in their order, each once, after so many looks at most."""
    due = DueTimes()
    for number, minute, goes in steps:
        if goes:
            due.clear(f"j{number}")
        else:
            due.set(job(f"j{number}", f"{minute} * * * *"), MIDNIGHT)
    every = [(at, name) for number in range(10) if (at := due.next(name := f"j{number}")) is not None]
    found = list(due.in_order(limit))
    assert sorted(every)[: len(found)] == found
    assert len(found) <= limit
    assert sorted(every) == list(due.in_order(1000))


def test_jobs_that_go_leave_no_heap_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hundred thousand that are gone at once are not dropped in the turn that asks for the next start."""
    times, pops = DueTimes(), []
    jobs = [Job(id=f"j{n}", command="x", triggers=(Schedule("@daily", "UTC", f"j{n}"),)) for n in range(1000)]
    for one in jobs:
        times.set(one, 0)
    for one in jobs[:-1]:
        times.clear(one.id)
    monkeypatch.setattr(due_times, "heappop", lambda heap: pops.append(heap.pop(0)) or heappush(heap, heap.pop()))
    assert times.soonest() == times.next("j999")
    assert len(pops) <= 66
