"""Why a run was skipped because its job was removed: the text is the same, and the code tells four causes apart."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from jobqueued.base.instants import HOUR, MINUTE
from jobqueued.child.contract.reasons import Code, Reason
from jobqueued.core.runs.skips import skip
from jobqueued.core.state.turn import Turn
from jobqueued.model import events
from jobqueued.model.commands import Say
from jobqueued.model.job import Occurrence
from jobqueued.model.run import RunId
from jobqueued.model.run_states import Unstarted
from jobqueued.model.saved import Hold
from tests.support.world import World, job


def waiting() -> World:
    """A run waits in the queue when its job is removed."""
    world = World(job("a"))
    world.happen(events.HoldAsked(9, "root", Hold("root")))
    world.run("a")
    world.write("jobs.yaml")
    return world


def spread() -> World:
    """An occurrence is due, and `spread` has put off its start, when its job is removed."""
    world = World(job("a", "0 * * * *", offset=10 * MINUTE, spread=HOUR))
    world.pass_time(3660)
    world.write("jobs.yaml")
    return world


def down() -> World:
    """A run waits, and when the daemon starts again no file has its job."""
    world = World(job("a"))
    world.happen(events.HoldAsked(9, "root", Hold("root")))
    world.run("a")
    world.restore()
    world.happen(events.JobsLoaded(complete=True), events.Woke())
    return world


def starting() -> World:
    """An attempt is being launched when its job is removed, and does not start."""
    world = World(job("a"), seconds={"a": HOUR})
    world.run("a")
    world.write("jobs.yaml")
    world.processes.clear()
    world.happen(events.NeverStarted(RunId("a", 1), 1, "no memory", Unstarted.TROUBLE))
    return world


@pytest.mark.parametrize("removed", [waiting, spread, down, starting])
def test_each_cause_has_a_code(removed: Callable[[], World]) -> None:
    """Its record says which of the four it was, in words that have not changed."""
    run, document = removed().rows[RunId("a", 1)]
    code = f"job_removed_while_{removed.__name__}"
    assert document is not None
    assert ("skipped", "job_removed", code) == (run.state, document["reason"], document["reason_code"])


def test_two_causes_share_no_record() -> None:
    """A record has one code, so the next skip with the same text and another code begins a new one."""
    world = World(job("a"))
    turn, it, runs = Turn(world.scheduler._state, world.now), world.scheduler.catalog["a"], []
    for due, code in enumerate(
        (Code.JOB_REMOVED_WHILE_SPREAD, Code.JOB_REMOVED_WHILE_SPREAD, Code.JOB_REMOVED_WHILE_WAITING), 1
    ):
        runs.append(skip(turn, it, [Occurrence("a", f"c0.{due}", due)], Reason(code)).id.number)
    assert [1, 1, 2] == runs
    lines = [(say.fields["reason"].code, say.fields["times"]) for say in turn.finish() if isinstance(say, Say)]
    assert [(Code.JOB_REMOVED_WHILE_SPREAD, 2), (Code.JOB_REMOVED_WHILE_WAITING, 1)] == lines
