"""Timers and deadlines: each thing is looked at once its time has come, and what is over costs nothing."""

from __future__ import annotations

import pytest

from jobqueued.base.instants import SECOND
from jobqueued.core.state.agenda import Agenda
from jobqueued.core.state.lateness_deadlines import Deadlines, LatenessDeadlines
from jobqueued.core.state.timers import HostTimer, Timers
from jobqueued.model.job import Now
from jobqueued.model.run import Run, RunId
from tests.support.records import a_record

NOW = Now(1000 * SECOND, 10 * SECOND)
A, B, C = RunId("a", 1), RunId("b", 1), RunId("c", 1)


def later(seconds: float) -> Now:
    """The instant so much later."""
    return Now(NOW.wall + round(seconds * SECOND), NOW.mono + round(seconds * SECOND))


def test_timers_fire_in_order_each_thing_once() -> None:
    """By the time of each clock, of equals those set first; what is due at the very instant is due."""
    timers = Timers()
    timers.at(NOW.wall + 2 * SECOND, B)
    timers.at(NOW.wall + 1 * SECOND, "job")
    timers.at(NOW.wall + 1 * SECOND, A)
    timers.at(NOW.wall + 1 * SECOND, A)
    timers.after(NOW.mono + 1 * SECOND, A)
    timers.after(NOW.mono + 1 * SECOND, HostTimer.PRESSURE)
    assert (6, []) == (len(timers), timers.due(later(1 - 1e-9), 9))
    assert ["job", A, HostTimer.PRESSURE] == timers.due(later(1), 9)
    assert ([B], [], 0) == (timers.due(later(2), 9), timers.due(later(9), 9), len(timers))


def test_at_most_so_many_timers_fire_in_a_turn() -> None:
    """The rest is there in the next one."""
    timers = Timers()
    for number in range(4):
        timers.at(NOW.wall, RunId("a", number))
        timers.after(NOW.mono, RunId("b", number))
    fired = [timers.due(NOW, 3) for _ in range(4)]
    assert [3, 3, 2, 0] == list(map(len, fired))
    assert 8 == len({run for some in fired for run in some})


def test_the_soonest_timer_is_an_instant_of_the_wall_clock() -> None:
    """Whichever clock it goes by; one whose time is over is due now."""
    timers = Timers()
    assert timers.soonest(NOW) is None
    timers.after(NOW.mono + 5 * SECOND, A)
    assert NOW.wall + 5 * SECOND == timers.soonest(NOW)
    timers.at(NOW.wall + 7 * SECOND, A)
    assert (NOW.wall + 5 * SECOND, later(6).wall) == (timers.soonest(NOW), timers.soonest(later(6)))
    timers.at(NOW.wall + 3 * SECOND, A)
    assert NOW.wall + 3 * SECOND == timers.soonest(NOW)


def test_timers_of_what_is_over_are_forgotten() -> None:
    """However many runs come and go, there are few timers of those that are over, and all others still fire."""
    timers = Timers()
    timers.at(NOW.wall + 9, "job")
    timers.after(NOW.mono + 9, HostTimer.PRESSURE)
    timers.after(NOW.mono + 8, A)
    for number in range(20_000):
        timers.at(NOW.wall + (number * 7919) % 1000, RunId("b", number))
        timers.forget({A, RunId("b", 5)})
    assert len(timers) < 2000
    fired = timers.due(later(1), 20_000)
    assert {"job", A, HostTimer.PRESSURE, RunId("b", 5)} <= set(fired)
    wall = [(run.number * 7919) % 1000 for run in fired if isinstance(run, RunId) and run.job == "b"]
    assert sorted(wall) == wall


def test_what_is_left_of_many_timers_still_goes_in_order() -> None:
    """Whichever of them are over."""
    timers = Timers()
    for number in range(3000):
        timers.at(NOW.wall + (number * 7919) % 3001, RunId("a", number))
    alive = {RunId("a", number) for number in range(0, 3000, 7)}
    timers.forget(alive)
    fired = [run.number for run in timers.due(later(1), 3000) if isinstance(run, RunId)]
    assert sorted((run.number for run in alive), key=lambda number: (number * 7919) % 3001) == fired


def test_many_timers_that_are_needed_are_not_looked_through_each_time() -> None:
    """Where the runs of thousands of timers live, they are gone through again when there are twice as many."""
    looks = 0

    class Alive:
        def __contains__(self, run: object) -> bool:
            nonlocal looks
            looks += 1
            return True

    timers = Timers()
    for number in range(5000):
        timers.at(NOW.wall, RunId("a", number))
        timers.forget(Alive())
    assert (5000, True) == (len(timers), 0 < looks < 10_000)


def test_a_deadline_is_the_newest() -> None:
    """One that was put off, or taken away, fires not at its old instant; one that is set again as it is fires once."""
    deadlines = Deadlines[RunId]()
    assert (None, [], 0) == (deadlines.soonest(), deadlines.take(99, 9), len(deadlines))
    for run, instant in ((A, 5), (B, 6), (C, 7), (A, 5), (B, 9), (B, 8)):
        deadlines.set(run, instant)
    deadlines.clear(C)
    deadlines.clear(C)
    assert ([A, B], 5) == (list(deadlines), deadlines.soonest())
    assert [] == deadlines.take(4, 9)
    assert [A] == deadlines.take(7, 9)
    assert (8, [B], None, 0) == (deadlines.soonest(), deadlines.take(8, 9), deadlines.soonest(), len(deadlines))
    deadlines.set(A, 5)  # it has none any more, so that this is a new one
    assert 5 == deadlines.soonest()


def test_at_most_so_many_deadlines_in_a_turn() -> None:
    """The rest is there in the next one."""
    deadlines = Deadlines[RunId]()
    for number in range(5):
        deadlines.set(RunId("a", number), number)
    assert [[0, 1], [2, 3], [4]] == [[run.number for run in deadlines.take(9, 2)] for _ in range(3)]


def test_deadlines_that_move_cost_no_memory() -> None:
    """However often the deadlines of a few are put off, what is kept of them stays small."""
    deadlines = Deadlines[RunId]()
    for instant in range(10_000):
        deadlines.set((A, B)[instant % 2], instant)
    assert len(deadlines._heap) < 100
    assert ([A, B], None) == (deadlines.take(99_999, 9), deadlines.soonest())
    many = Deadlines[RunId]()
    for number in range(300):
        many.set(RunId("a", number), 300 - number)
        many.set(RunId("a", number), 600 - number)
    assert [RunId("a", 299), RunId("a", 298)] == many.take(302, 9)


def test_many_deadlines_are_tidied_seldom(monkeypatch: pytest.MonkeyPatch) -> None:
    """When there are twice as many as are needed, and not each time."""
    tidied: list[int] = []
    monkeypatch.setattr("jobqueued.core.state.lateness_deadlines.heapify", lambda heap: tidied.append(len(heap)))
    deadlines = Deadlines[RunId]()
    for instant in range(3000):
        deadlines.set(RunId("a", instant % 500), instant)
    assert (True, {500}) == (2 <= len(tidied) <= 8, set(tidied))


def test_patience_of_both_clocks() -> None:
    """The soonest of runs (by the monotonic clock) and of jobs (by the wall clock) is an instant of the wall clock."""
    lateness = LatenessDeadlines()
    assert lateness.soonest(NOW) is None
    lateness.wait(A, NOW.mono + 5, 60)
    assert NOW.wall + 5 == lateness.soonest(NOW)
    lateness.jobs.set("job", NOW.wall + 4)
    assert (NOW.wall + 4, later(1).wall - SECOND + 4) == (lateness.soonest(NOW), lateness.soonest(later(1)))
    lateness.jobs.clear("job")
    assert later(1).wall == lateness.soonest(later(1))
    assert ([], [(A, 60)], []) == tuple(lateness.over(NOW.mono + plus, 9) for plus in (4, 5, 6))


def test_what_has_ended_is_in_nobodys_patience() -> None:
    """Nothing is kept of it."""
    lateness = LatenessDeadlines()
    lateness.wait(A, 5, 60)
    lateness.held.add(A)
    lateness.set_back.add(A)
    lateness.end(A)
    lateness.end(B)
    assert ([], set(), set(), {}) == (list(lateness.runs), lateness.held, lateness.set_back, lateness._within)


def test_an_agenda_hands_over_each_thing_once() -> None:
    """Ends in their order, jobs in that in which they were first named; it is empty then."""
    agenda = Agenda()
    assert (None, []) == (agenda.take_unjudged(), list(agenda.take_unjudged() or ()))
    assert not agenda
    runs = [Run(id=RunId("a", number), key="", due=0, queued=0, arrival=number) for number in (1, 2)]
    for run in runs:
        agenda.follow(run, a_record(run.id.number))
        agenda.note_over(run)
    for name in ("b", "a", "b"):
        agenda.look_at(name)
    assert runs == [ended[0] for _ in runs if (ended := agenda.take_ended())]
    assert agenda
    assert runs == [agenda.take_over() for _ in runs]
    assert agenda
    assert ["b", "a", None] == [agenda.take_stirred() for _ in "abc"]
    assert (None, None) == (agenda.take_over(), agenda.take_ended())
    assert not agenda


def test_an_agenda_is_not_empty() -> None:
    """While ends, or runs that are over, or jobs are left."""
    run = Run(id=A, key="", due=0, queued=0, arrival=1)
    for note in (lambda it: it.follow(run, a_record(1)), lambda it: it.note_over(run), lambda it: it.look_at("a")):
        agenda = Agenda()
        note(agenda)
        assert agenda


def test_what_is_to_be_judged() -> None:
    """The jobs that were named since the last time; once all were, a few more are no fewer."""
    agenda = Agenda()
    agenda.take_unjudged()
    agenda.judge(["a", "b"])
    agenda.judge(["b", "c"])
    assert ["a", "b", "c"] == list(agenda.take_unjudged() or ())
    agenda.judge(None)
    agenda.judge(["a"])
    assert agenda.take_unjudged() is None
