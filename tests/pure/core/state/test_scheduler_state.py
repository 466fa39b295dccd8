"""The moves of the scheduler's state, one by one, and when the scheduler looks at its queue again."""

from __future__ import annotations

from dataclasses import replace

import pytest

from jobqueued.base.instants import HOUR, MINUTE, SECOND
from jobqueued.core.due.clock import _blows_fuse
from jobqueued.core.scheduler import LAUNCHES_A_TURN, STEPS_A_TURN, Scheduler, _order_matters
from jobqueued.core.state.job_state import Delay, JobState
from jobqueued.core.state.turn import Turn
from jobqueued.model import events
from jobqueued.model.accounts import Account
from jobqueued.model.job import Claim, Escalation
from jobqueued.model.run import LockClientId, Run, RunId
from jobqueued.model.run_states import RunState
from jobqueued.model.saved import Hold, SavedJob
from jobqueued.model.users import Owner
from jobqueued.queue.locks import HOST, SLOT
from jobqueued.queue.waiting import Terms
from tests.support.world import World, job

A, B = RunId("a", 1), RunId("b", 1)
ALICE = Owner(1, "alice")
TAPE = Claim("tape", exclusive=True)


def test_the_terms_of_a_job() -> None:
    """Its claims, how it ages, and how long it takes at most: with what ends it, and two seconds for its output."""
    state = World(max_running=2, escalation=Escalation(7, HOUR)).scheduler._state
    claims = (Claim(HOST), Claim(SLOT, 1), TAPE)
    assert Terms(claims, Escalation(7, HOUR), None, MINUTE) == state.terms(job("a", locks=(TAPE,), drain=MINUTE))
    it = job("alice/b", timeout=HOUR, kill_grace=3 * SECOND, escalation=Escalation(2, MINUTE), drain=HOUR)
    bound = HOUR + 5 * SECOND
    assert Terms((Claim(HOST), Claim(SLOT, 1)), Escalation(2, MINUTE), bound, HOUR, "alice") == state.terms(it)
    assert (Claim(HOST),) == World().scheduler._state.terms(job("a")).claims


def test_a_user_without_ageing() -> None:
    """A job that does not grow does not, whatever the host's do."""
    state = World(escalation=Escalation(7, HOUR)).scheduler._state
    assert Escalation(0) == state.terms(job("a", escalation=Escalation(0))).escalation


def test_what_presses() -> None:
    """Until its very instant."""
    state = World().scheduler._state
    state.pressure |= {"io": 5, "cpu": 6}
    assert [["io", "cpu"], ["cpu"], []] == [state.pressed(mono) for mono in (4, 5, 6)]


@pytest.mark.parametrize(
    ("state", "not_before", "place"),
    [
        (RunState.DUE, 0, "due"), (RunState.DUE, HOUR, "due"), (RunState.WAITING, 0, "due"),
        (RunState.WAITING, -HOUR, "due"), (RunState.WAITING, 1, "delayed"), (RunState.RETRYING, 0, "delayed"),
        (RunState.RETRYING, HOUR, "delayed"), (RunState.STARTING, HOUR, "live"), (RunState.RUNNING, 0, "live"),
    ],
)  # fmt: skip
def test_what_is_taken_over(state: RunState, not_before: int, place: str) -> None:
    """What is to wait yet waits, what is live is live, all else is due."""
    scheduler, now = Scheduler(), World().now
    run = Run(id=A, key="x", due=1, queued=1, arrival=7, state=state, not_before=now.wall + not_before)
    scheduler.restore([SavedJob(job="a", last_number=1)], [run], now)
    it = scheduler["a"]
    assert {place} == {name for name in ("due", "waiting", "delayed", "live") if getattr(it, name)}
    assert (8, ()) == (scheduler._state.arrival(), tuple(scheduler._state.take_saves()))
    if place == "delayed":
        assert now.mono + max(0, not_before) == it.delayed[A].until


def test_what_an_older_version_started() -> None:
    """A live run of which no claims are known has those that any run has."""
    for most, claims in ((None, (Claim(HOST),)), (2, (Claim(HOST), Claim(SLOT, 1)))):
        world = World(max_running=most)
        run = Run(id=A, key="x", due=1, queued=1, arrival=7, state=RunState.RUNNING)
        world.scheduler.restore([SavedJob(job="a", last_number=1)], [run], world.now)
        assert claims == world.scheduler.runs[A].claims == world.scheduler._state.admission.locks.held(A)


def test_what_goes_back_is_first() -> None:
    """A run that is put back goes before those that are due."""
    world = World(job("a"))
    world.run("a")
    state = world.scheduler._state
    world.processes.clear()
    world.happen(events.HoldAsked(9, "root", Hold("root")), events.NeverStarted(A, 1))
    world.run("a", 2)
    state.put_back(state.runs[A], world.now)
    assert [A, RunId("a", 2)] == state["a"].due


def test_what_counts_of_a_job() -> None:
    """All that are in the queue, wait for another attempt or live count against its `concurrency`."""
    names = [RunId("a", number) for number in range(7)]
    it = JobState(
        SavedJob(job="a"), names[:1], dict.fromkeys(names[1:3]), {names[3]: Delay(1)}, dict.fromkeys(names[4:])
    )
    assert (6, 3, names[:4], names) == (it.under_way, it.unstarted, it.pending, it.unfinished)
    assert (None, False, False) == (it.skip, it.can_never_run, it.fuse_blown)


def test_the_fuse_of_a_host_that_has_just_booted() -> None:
    """A hundred in its first minute are not too many."""
    world = World(job("a"))
    for fresh, blown in ((100, False), (1, True)):
        turn = Turn(world.scheduler._state, world.now._replace(mono=5 * SECOND))
        assert blown is _blows_fuse(turn, job("a"), fresh)


def test_when_the_order_matters() -> None:
    """Where something is scarce: slots, what a run claims, or the share of a user."""

    def waits(*jobs: str, **options: int) -> bool:
        world = World(job("a"), job("b", locks=(TAPE,)), job("alice/c", owner=ALICE), **options)
        world.happen(events.HoldAsked(9, "root", Hold("root")))
        for name in jobs:
            world.run(name)
        return _order_matters(world.scheduler._state)

    assert [False, False, True, True, True, True] == [
        waits(), waits("a"), waits("a", "b"), waits("a", "alice/c"), waits(max_running=2), waits("a", max_running=2),
    ]  # fmt: skip
    assert (64, 500) == (LAUNCHES_A_TURN, STEPS_A_TURN)


def passes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The instants at which the queue is looked at from now on."""
    seen: list[int] = []
    look = Scheduler._pass

    def counted(scheduler: Scheduler, turn: Turn) -> None:
        seen.append(turn.now.wall)
        look(scheduler, turn)

    monkeypatch.setattr(Scheduler, "_pass", counted)
    return seen


def test_when_the_queue_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not while nothing can have changed; when its own instant has come, or somebody comes or goes."""
    world = World(
        job("endless"), job("alone", exclusive=True, drain=MINUTE, priority=9), job("low"),
        seconds={"endless": 9e9, "low": 9e9},
    )  # fmt: skip
    world.run("endless")
    world.run("alone", 2)
    world.run("low", 3)
    seen, begin = passes(monkeypatch), world.now.wall
    for _ in range(3):
        world.happen(events.Woke())
    world.pass_time(59)
    world.happen(events.Woke())
    assert [] == seen
    world.pass_time(1)
    assert [begin + MINUTE] == seen
    assert "starting" == world.states()["low@1"]


@pytest.mark.parametrize("number", [63, 64, 65])
def test_a_burst(number: int) -> None:
    """Sixty-four start in a turn; only where more may be left it is looked at once more."""
    world = World(
        *(job(f"a{number}") for number in range(number)), seconds={f"a{number}": 9e9 for number in range(number)}
    )
    asked = [events.RunAsked(ticket, f"a{ticket}", "root", f"x{ticket}") for ticket in range(number)]
    world.happen(*asked)
    assert min(number, 64) == len(world.processes)
    assert (number < 64) == world.scheduler._state.queue_stuck
    assert (world.now.wall if number > 64 else None) == world.scheduler.next_wakeup(world.now)


def test_a_turn_without_starts() -> None:
    """What follows from events is worked off, and who waits is looked at in the next turn."""
    world = World(job("a"), job("b", dependencies=("a",)), seconds={"b": 9e9})
    world.run("a")
    run = next(iter(world.processes))
    end = world.processes.pop(run)
    world.marks.ended[run] = world._left(run)
    world.happen(events.RunEnded(*run, world.marks.ended[run]), admit=False)
    assert ({B}, "waiting") == (set(world.scheduler.runs), world.states()["b@1"])
    assert (world.now.wall, end - SECOND) == (world.scheduler.next_wakeup(world.now), world.now.wall)
    world.happen()
    assert None is world.scheduler.next_wakeup(world.now)


def test_before_all_files_are_read() -> None:
    """Nothing is worked off, so nothing wakes it up."""
    world = World(job("a"), job("b"))
    world.run("a")
    world.restore()
    world.happen(events.JobsRead("jobs.yaml", world.files["jobs.yaml"]), admit=False)
    assert (True, None) == (bool(world.scheduler._state.agenda), world.scheduler.next_wakeup(world.now))


def test_a_command_for_which_others_are_held_back() -> None:
    """It is no run: that it holds others back is not kept for a restart."""
    world = World(job("a", locks=(Claim("tape"),)), seconds={"a": 9e9})
    world.run("a")
    world.happen(events.LockAsked(2, LockClientId(1), (TAPE,), "alice"))
    assert [LockClientId(1)] == list(world.scheduler._state.admission.drains.runs)
    world.happen(events.HoldAsked(3, "root", Hold("root")))
    world.happen(events.LockAsked(4, LockClientId(2), (Claim("db"),), "alice", at_once=True))
    assert "the host is on hold by root: nothing new starts" == world.replies[4].value["reason"]


def test_whose_a_job_is_and_who_is_told() -> None:
    """By its file, or what was kept of it; of a user by what the host says."""
    world = World(job("alice/a", owner=ALICE, expect=HOUR), job("b"))
    owner = Account("owner", "alice", 1)
    told = [world.scheduler.may_have_jobs(ALICE)]
    for trouble in ("", "no such user"):
        world.happen(events.AccountKnown(owner, trouble))
        told.append(world.scheduler.may_have_jobs(ALICE))
    assert [False, True, False] == told
    assert (ALICE, None, None) == tuple(map(world.scheduler.owner_of, ("alice/a", "b", "nobody")))
    world.pass_time(3601)
    assert world.scheduler.needs("overdue", "alice/a")
    assert world.scheduler.catalog["alice/a"] is world.scheduler.remembered_job("alice/a")
    world.write("jobs.yaml")
    assert (ALICE, None) == (world.scheduler.owner_of("alice/a"), world.scheduler.remembered_job("b"))


def test_the_scheduler_says_what_is_broken() -> None:
    """Its own validity is its state's."""
    world = World(job("a"))
    world.scheduler.validate()
    world.scheduler._state.noted.add("a")
    with pytest.raises(AssertionError):
        world.scheduler.validate()


def test_what_is_completed_has_no_clock() -> None:
    """Where its `max_runs` have started its clock has no next start, whatever is wound."""
    world = World(job("a", "0 * * * *", max_runs=1))
    state, it = world.scheduler._state, job("a", "0 * * * *", max_runs=1)
    state.set_clock(it)
    assert None is not state.due_times.next("a")
    state.remember("a", stats=replace(state["a"].saved.stats, started=1))
    state.set_clock(it)
    assert None is state.due_times.next("a")
