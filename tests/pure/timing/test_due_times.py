"""due_times: stale entries of the heap are dropped before they are many."""

from __future__ import annotations

from heapq import heappush

import pytest

from jobqueued.model import Job
from jobqueued.timing import due_times
from jobqueued.timing.due_times import DueTimes
from jobqueued.timing.schedule import Schedule


def test_jobs_that_go_leave_no_heap_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hundred thousand that are gone at once are not dropped in the turn that asks for the next start."""
    times, pops = DueTimes(), []
    jobs = [Job(id=f"j{n}", command="x", triggers=(Schedule("@daily", "UTC", f"j{n}"),)) for n in range(1000)]
    for job in jobs:
        times.set(job, 0)
    for job in jobs[:-1]:
        times.clear(job.id)
    monkeypatch.setattr(due_times, "heappop", lambda heap: pops.append(heap.pop(0)) or heappush(heap, heap.pop()))
    assert times.soonest() == times.next("j999")
    assert len(pops) <= 66
