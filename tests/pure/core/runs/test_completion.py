"""The end of an attempt, and of a run: what is kept, written and said, and what follows."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import pytest

from jobqueued.base.instants import HOUR, MINUTE, SECOND, to_text
from jobqueued.child.contract.documents import Record
from jobqueued.child.contract.reasons import Code, Reason, fields, parse
from jobqueued.model import events
from jobqueued.model.commands import RemoveMarks, Reply, Say, Stop, WriteRecord
from jobqueued.model.job import Job
from jobqueued.model.run import RunId
from jobqueued.model.run_states import RunState
from jobqueued.model.saved import Hold
from tests.support.world import World, ended, job

A = RunId("a", 1)


def live(**fields: Any) -> World:
    """A host with a live run of job `a`."""
    world = World(job("a", **fields), seconds={"a": HOUR})
    world.run("a")
    return world


def end(world: World, state: str, attempts: list[tuple[str, bool]], **fields: Any) -> Record:
    """The last of these attempts (their reasons, and whether it was the failover) has ended."""
    told = [
        {"attempt": n, "state": "failed", "reason": reason, "failover": is_it}
        for n, (reason, is_it) in enumerate(attempts, 1)
    ]
    document = ended(A, state, attempts=told, reason=attempts[-1][0], **fields)
    world.processes.clear()
    world.record_files.pop(A, None)
    world.happen(events.RunEnded(A, len(attempts), document), admit=False)
    return document


def test_between_two_attempts() -> None:
    """The run waits with what it has so far and nothing else; its record says so, and the time is told."""
    world = live(retries=1, retry_delay=MINUTE, timeout=HOUR)
    world.start("a@1")
    before = world.scheduler.runs[A]
    document = end(world, "failed", [("exit code 7", False)])
    run = world.scheduler.runs[A]
    assert MINUTE <= run.not_before - world.now.wall <= MINUTE * 11 // 10
    assert run == replace(
        before, state=RunState.RETRYING, reason="exit code 7", attempt=2, pid=None, since=0, waited=0, claims=(),
        placed=(), ends_by=None, so_far=document, not_before=run.not_before,
    )  # fmt: skip
    again = (run.not_before - world.now.wall) / SECOND
    assert [
        WriteRecord({**document, "state": "retrying"}),
        Say("run_retrying", {"record": document, "again_in": again, "failover": False}),
        RemoveMarks(A, 1),
    ] == world.did


def test_the_last_attempt() -> None:
    """Its row has what its record tells; the record is its supervisor's, and is not written again."""
    world = live()
    document = end(world, "failed", [("exit code 7", False)], pid=4711)
    row, kept = world.rows[A]
    assert (RunState.FAILED, "exit code 7", 4711, None) == (row.state, row.reason, row.pid, row.so_far)
    assert (document, [Say("run_ended", {"record": document}), RemoveMarks(A, 1)]) == (kept, world.did)


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        ("succeeded", "by the failover, after exit code 2"),
        ("failed", "the failover: exit code 3; before it: exit code 2"),
        ("timed_out", "the failover: exit code 3; before it: exit code 2"),
        ("oom_killed", "the failover: exit code 3; before it: exit code 2"),
        ("killed", "exit code 3"),
    ],
)
def test_a_failover(state: str, reason: str) -> None:
    """What it has replaced is told, too, also in the file; not of one that was ended from outside."""
    world = live(retries=1, retry_delay=0, failover="y")
    attempts = [("exit code 1", False), ("exit code 2", False), ("exit code 3", True)]
    for count in (1, 2):
        end(world, "failed", attempts[:count])
        world.pass_time(0)
    document = end(world, state, attempts)
    if state != "killed":
        document = cast("Record", {**document, **fields(parse(reason))})
    assert (state, reason, document) == (world.rows[A][0].state, world.rows[A][0].reason, world.rows[A][1])
    assert (state != "killed") == (WriteRecord(document) in world.did)
    assert world.scheduler["a"].saved.stats.by_failover is (state == "succeeded")


def test_a_failover_that_never_starts() -> None:
    """The run ends as its last attempt did, once, and not as if by the failover."""
    world = live(failover="y")
    world.happen(events.HoldAsked(9, "root", Hold("root")))
    document = end(world, "failed", [("exit code 1", False)])
    world.write("jobs.yaml")
    removed = Reason(Code.JOB_REMOVED_WHILE_WAITING)
    reason = fields(Reason(Code.EXIT_CODE, exit_code=1, no_retry=removed))
    ended = {**document, **reason, "given_up": to_text(world.now.wall)}
    assert [Say("run_ended", {"record": ended}, Job(id="a", command="")), WriteRecord(ended)] == [
        it for it in world.did if isinstance(it, WriteRecord) or (isinstance(it, Say) and it.event == "run_ended")
    ]


def test_a_job_that_is_gone() -> None:
    """A live run of it has no further attempt; what waits is skipped, and told with what the job was."""
    world = World(job("a", retries=3, user="eve"), users={}, seconds={"a": HOUR})
    world.run("a")
    world.run("a", 2)
    world.write("jobs.yaml")
    skipped = world.rows[RunId("a", 2)][1] or {}
    assert ("job_removed", "eve", "true") == (skipped["reason"], skipped["user"], skipped["command"])
    end(world, "failed", [("exit code 1", False)])
    assert "failed" == world.states()["a@1"]


def test_a_skip_has_the_job_it_is_of() -> None:
    """Where a run of a job that is there is given up."""
    world = World(job("a", "0 * * * *", dependencies=("d",), user="eve"), job("d", enabled=False), users={"eve": ""})
    world.pass_time(3600)
    skipped = world.rows[A][1] or {}
    assert ("dependency d: it is disabled", "eve") == (skipped["reason"], skipped["user"])


def test_stops() -> None:
    """Each is answered with what the run is by now; its supervisor is told, and once more if asked again."""
    world = World(job("a", retries=1, retry_delay=HOUR), job("b"), seconds={"a": HOUR})
    world.run("a")
    asked = "the stop of a@1 by root"
    stop, stopping = Stop(A, 1, "stopped by root"), Say("run_stopping", {"run": "a@1", "reason": "stopped by root"})
    world.stop("a@1")
    assert [stopping, stop, Reply(1, {"state": "stopping"}, asked=asked)] == world.did
    world.stop("a@1", 2)
    assert [stop, Reply(2, {"state": "stopping"}, asked=asked)] == world.did
    end(world, "failed", [("exit code 1", False)])
    world.stop("a@1", 3)
    assert [Reply(3, {"reason": "a@1 has ended"}, "Refused")] == world.did
    world.run("a", 4)
    second = RunId("a", 2)
    world.processes.clear()
    document = ended(second, "failed", attempts=[{"attempt": 1, "state": "failed", "reason": "x"}], reason="x")
    world.happen(events.RunEnded(second, 1, document))
    world.stop("a@2", 5)
    assert Reply(5, {"state": "killed"}, asked="the stop of a@2 by root") == world.did[-1]
    reason = fields(Reason(Code.STOPPED, by="root"))
    killed = {**document, "state": "killed", **reason, "given_up": to_text(world.now.wall)}
    assert WriteRecord(killed) in world.did
