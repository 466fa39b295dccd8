"""The next starts of all jobs: the soonest, and those that follow it; no stale entries are many."""

from __future__ import annotations

from functools import partial
from heapq import heappush

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from jobqueued.base.instants import DAY, MINUTE
from jobqueued.model.job import Job
from jobqueued.timing import due_times
from jobqueued.timing.due_times import DueTimes
from jobqueued.timing.schedule import Schedule
from tests.support.world import MIDNIGHT, job

STEPS = st.lists(
    st.tuples(st.integers(0, 9), st.integers(0, 59), st.sampled_from(["comes", "rests", "goes"])), max_size=40
)


@example([(0, 5, "comes"), (0, 5, "rests")], 5)
@given(STEPS, st.integers(0, 50))
def test_in_order(steps: list[tuple[int, int, str]], limit: int) -> None:
    """Whatever was set, edited and cleared: the starts come in their order, each once, after so many looks at most;
    those of jobs that rest are told when asked for, and don't come.
    """
    due, known = DueTimes(), dict[str, tuple[str, int]]()
    for number, minute, act in steps:
        name = f"j{number}"
        known[name] = act, MIDNIGHT + (minute or 60) * MINUTE
        if act == "goes":
            due.clear(name)
        else:
            due.set(job(name, f"{minute} * * * *"), MIDNIGHT, rests=act == "rests")
    assert [due.next(name) for name in known] == [None if act == "goes" else at for act, at in known.values()]
    every = [(at, name) for name, (act, at) in known.items() if act == "comes"]
    found = list(due.in_order(limit))
    assert sorted(every)[: len(found)] == found
    assert len(found) <= limit
    assert sorted(every) == list(due.in_order(1000))
    assert (min(every, default=None), [name for _, name in sorted(every)]) == (due.first(), taken(due))


def taken(due: DueTimes) -> list[str]:
    """All whose start has come; one that is not set anew may be told again."""
    return list(dict.fromkeys(name for some in iter(partial(due.take, 1 << 62), []) for name in some))


def test_few_at_first() -> None:
    """Of many that come at once the first two are alone, each time; none is left, or comes twice."""
    times, jobs = DueTimes(), [job(f"j{number:03}", "@daily") for number in range(150)]
    for _ in range(2):
        for each in jobs:
            times.set(each, MIDNIGHT)
        found = list(iter(partial(times.take, MIDNIGHT + DAY), []))
        assert [2, 8, 32, 64, 44] == list(map(len, found))
        assert [each.id for each in jobs] == [name for some in found for name in some]


def test_full_takes() -> None:
    """Whatever came before, of those of one instant the first two are alone."""
    times, at = DueTimes(), MIDNIGHT
    for _ in range(6):
        at += MINUTE
        for number in range(10):
            times.set(job(f"j{number}", "* * * * *"), at - 1)
        assert [2, 8] == list(map(len, iter(partial(times.take, at), [])))


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
