"""A retry that a person asks for, in the faked world: which runs have one, what is committed, and what is told."""

from __future__ import annotations

import pytest

from jobqueued.base.instants import HOUR
from jobqueued.model import events
from jobqueued.model.commands import Say
from jobqueued.model.run import RunId
from jobqueued.model.run_states import RunState, Unstarted
from tests.support.world import World, job

RUN = RunId("job", 1)


def retrying(**fields: object) -> World:
    """A world with a run whose first attempt has failed, and whose next may succeed, in an hour."""
    world = World(job(retries=1, retry_delay=HOUR, retry_max_delay=HOUR, **fields))
    world.ends["job"] = ["failed 1", "succeeded"]
    world.run("job")
    world.pass_time(5)
    assert RunState.RETRYING is world.scheduler.runs[RUN].state
    return world


def test_at_once() -> None:
    """The attempt starts in this turn, and is the next of the same run."""
    world = retrying()
    reply = world.retry("job@1")
    assert (None, {"state": "waiting"}) == (reply.error, reply.value)
    assert "the retry of job@1 by root" == reply.asked
    assert ["job@1", "job@1"] == [name for name, _ in world.launched]
    world.pass_time(5)
    assert {"job@1": "succeeded"} == world.states()


def test_who_asked() -> None:
    """A line, and the attempt that the next one follows, say who; what the job does by itself says nothing."""
    world = retrying()
    world.retry("job@1")
    (line,) = [each for each in world.said if isinstance(each, Say) and each.event == "retry_asked"]
    assert ("job@1", 2, "root") == tuple(line.fields[name] for name in ("run", "attempt", "asked_by"))
    assert 3590 < line.fields["early"] < 3600
    so_far = world.scheduler.runs[RUN].so_far
    assert so_far is not None
    assert ["root"] == [each["retried_by"] for each in so_far["attempts"]]
    patient = retrying()
    patient.pass_time(3700)
    assert {"job@1": "succeeded"} == patient.states()


@pytest.mark.parametrize("die_after", [-1, 0, 1, 2])
def test_a_scheduler_that_dies_over_it(die_after: int) -> None:
    """Committed, the retry outlives the scheduler; not committed, the delay goes on.  No attempt is doubled."""
    world = retrying()
    world.happen(events.RetryAsked(1, RUN, "root"), die_after=die_after)
    world.boot()
    world.pass_time(10)
    assert {"job@1": "retrying" if die_after == -1 else "succeeded"} == world.states()
    world.pass_time(3700)
    assert ({"job@1": "succeeded"}, 2) == (world.states(), len(world.launched))


def test_paused() -> None:
    """What holds back the job holds back the attempt, also after a restart, and not for the rest of its delay."""
    world = retrying()
    world.happen(events.PauseAsked(1, "job", "root", pause=True))
    assert {"state": "due"} == world.retry("job@1").value
    world.boot()
    world.happen(events.PauseAsked(2, "job", "root", pause=False))
    world.pass_time(5)
    assert {"job@1": "succeeded"} == world.states()


def test_one_that_could_not_be_started() -> None:
    """A try that waits as the host was in trouble has no attempt to be followed, and is made at once."""
    world = World(job(), seconds={"job": 100})
    world.run("job")
    world.processes.clear()
    world.happen(events.NeverStarted(RUN, 1, "no memory", Unstarted.TROUBLE))
    assert 1 == len(world.launched)
    assert {"state": "waiting"} == world.retry("job@1").value
    assert 2 == len(world.launched)


def test_refused() -> None:
    """A run that is live, in the queue or over has no delay; one of a job in no file has nothing to start."""
    world = World(job(), seconds={"job": 100})
    world.run("job")
    world.run("job")
    world.start("job@1")
    assert "job@1 is running; a retry follows only if this attempt fails" == world.retry("job@1").value["reason"]
    assert (
        "job@2 is waiting for its turn, not for a delay; to see why: jobqueuectl why job@2"
        == (world.retry("job@2").value["reason"])
    )
    assert "job@9 has ended; to run its job again: jobqueuectl rerun job@9" == world.retry("job@9").value["reason"]
    assert "Refused" == world.retry("job@9").error


def test_fewer_retries() -> None:
    """A run whose job has no further attempt by now ends as it was left, and the answer says how."""
    world = retrying()
    world.write("job", job())
    assert {"state": "failed"} == world.retry("job@1").value
    assert {"job@1": "failed"} == world.states()
