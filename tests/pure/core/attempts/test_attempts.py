"""Attempts, by the news of supervisors and the launcher: late ones, ones that contradict, ends that people ask for."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from jobqueued.base.instants import HOUR, MINUTE, SECOND
from jobqueued.model import events
from jobqueued.model.commands import NoteWhole, RemoveMarks, Say, Stop
from jobqueued.model.job import Claim, On, Overlap
from jobqueued.model.run import Run, RunId
from jobqueued.model.run_states import RunState, Unstarted
from jobqueued.model.saved import Hold
from jobqueued.model.users import Owner
from jobqueued.queue.locks import HOST, SLOT
from tests.support.world import MIDNIGHT, World, ended, job, submission

A, B = RunId("a", 1), RunId("a", 2)


def live(**fields: Any) -> World:
    """A host with a live run of job `a`."""
    world = World(job("a", **fields), seconds={"a": HOUR})
    world.run("a")
    return world


def said(world: World) -> list[str]:
    """What was said, but for the file."""
    return [each.event for each in world.said if each.event != "jobs_read"]


def test_late_news_change_nothing() -> None:
    """Whatever is told of an attempt that is over, or was never there: its marks are removed, and nothing else is."""
    world = live(retries=1, retry_delay=MINUTE)
    world.ends["a"] = ["failed 1", "succeeded"]
    world.processes[A, 1] = world.now.wall
    world.pass_time(1)
    before, lines = world.scheduler.runs[A], len(world.said)
    gone = RunId("a", 7)
    for run, attempt in ((A, 1), (A, 2), (gone, 1)):
        world.happen(
            events.RunStarted(run, attempt, 4711, world.now.wall), events.RunStopping(run, attempt, "x"),
            events.RunLingers(run, attempt, "x"), events.RunLost(run, attempt, "x"), events.NeverStarted(run, attempt),
            events.RunEnded(run, attempt, ended(run)),
        )  # fmt: skip
    assert (before, lines, {A}) == (world.scheduler.runs[A], len(world.said), set(world.scheduler.runs))
    assert "" == world.scheduler.lingers(A)


def test_a_start_that_was_told_is_not_taken_back() -> None:
    """Who never started has no process: of one that had, nobody knows what it has done, and it is not sent again."""
    world = live()
    world.start("a@1")
    world.processes.clear()
    world.happen(events.NeverStarted(A, 1))
    run, record = world.rows[A]
    assert ("lost", "its start was reported, but its run directory does not record it") == (run.state, run.reason)
    assert (["a@1"], "lost") == ([name for name, _ in world.launched], (record or {})["state"])


def test_what_could_not_start_of_a_job_that_is_gone() -> None:
    """It is given up, with that reason, and does not wait for a launcher that is in trouble."""
    world = live()
    world.write("jobs.yaml")
    assert {"a@1": "starting"} == world.states()
    world.processes.clear()
    world.happen(events.NeverStarted(A, 1, "no memory", Unstarted.TROUBLE))
    assert ({"a@1": "skipped"}, "job_removed") == (world.states(), world.rows[A][0].reason)


def test_what_was_to_stop_and_never_started() -> None:
    """It is over, as who stopped it has said."""
    world = live()
    world.stop("a@1")
    world.processes.clear()
    world.happen(events.NeverStarted(A, 1))
    assert ({"a@1": "skipped"}, "stopped by root") == (world.states(), world.rows[A][0].reason)


def test_trouble_is_said_each_time_and_a_busy_file_once() -> None:
    """With the pause, which doubles up to a minute where the host is in trouble, and is a second for a lock file."""
    world = live()
    pauses = []
    for _ in range(8):
        world.processes.clear()
        world.happen(events.NeverStarted(A, 1, "no memory", Unstarted.TROUBLE))
        pauses.append((world.scheduler.next_wakeup(world.now) or 0) - world.now.wall)
        world.pass_time(pauses[-1] / SECOND)
    assert [1, 2, 4, 8, 16, 32, 60, 60] == [pause // SECOND for pause in pauses]
    told = [each.fields["again_in"] for each in world.said if each.event == "run_returned"]
    assert [1, 2, 4, 8, 16, 32, 60, 60] == told
    busy = live()
    for _ in range(3):
        busy.processes.clear()
        busy.happen(events.NeverStarted(A, 1, "path busy: /x", Unstarted.PATH_BUSY))
        assert busy.now.wall + SECOND == busy.scheduler.next_wakeup(busy.now)
        busy.pass_time(1)
    assert 1 == said(busy).count("run_returned")


def test_what_was_lost_has_what_its_hooks_have_told() -> None:
    """The record of a lost run keeps its telemetry."""
    world = live()
    world.processes.clear()
    world.happen(events.RunLost(A, 1, "its supervisor died", telemetry={"rows": 7}))
    assert ("lost", {"rows": 7}) == (world.rows[A][0].state, (world.rows[A][1] or {})["telemetry"])
    assert {"rows": 7} == world.record_files[A]["telemetry"]


def test_a_run_that_lingers_keeps_its_claims_and_is_said_once() -> None:
    """Until nothing of it lives; what is known of that is told to who would stop it."""
    world = World(job("a", exclusive=True), job("b"), seconds={"a": HOUR})
    world.run("a")
    world.run("b", 2)
    for reason in ("its supervisor is gone, and 2 processes live", "its supervisor is gone, and 1 process lives"):
        world.happen(events.RunLingers(A, 1, reason))
    assert {"a@1": "stopping", "b@1": "waiting"} == world.states()
    assert (1, f"a@1: {reason}") == (said(world).count("run_lingers"), world.stop("a@1").value["reason"])
    assert (reason, reason) == (world.scheduler.lingers(A), world.scheduler.runs[A].reason)
    world.processes.clear()
    world.happen(events.RunLost(A, 1, "its supervisor died"))
    assert ({"a@1": "lost", "b@1": "starting"}, "") == (world.states(), world.scheduler.lingers(A))


def test_what_was_not_heard_of_when_all_r_s_were_removed_is_in_doubt() -> None:
    """That is saved before the directory is noted as whole; of what has told of its start, or waits, there is none."""
    world = World(job("a"), job("b", concurrency=1), seconds={"a": HOUR, "b": HOUR})
    for name in "abb":
        world.run(name)
    world.start("b@1")
    world.happen(events.RunsEmptied())
    assert {"a@1": True, "b@1": False, "b@2": False} == {str(run): row.doubted for run, (row, _) in world.rows.items()}
    assert [NoteWhole()] == [command for command in world.did if isinstance(command, NoteWhole)]
    world.processes.clear()
    world.happen(events.NeverStarted(A, 1))
    assert (RunState.STARTING, False) == (world.rows[A][0].state, world.rows[A][0].doubted)
    world.happen(events.RunsEmptied())
    assert world.rows[A][0].doubted
    world.start("a@1")
    assert not world.rows[A][0].doubted


@pytest.mark.parametrize(
    ("over", "state"),
    [
        (events.RunEnded(A, 1, ended(A, "failed")), "failed"),
        (events.RunLost(A, 1, "x"), "lost"),
        (events.NeverStarted(A, 1), "starting"),
    ],
)
def test_a_person_ends_what_lingers(over: events.AttemptOver, state: str) -> None:
    """By what is left of it: its end, its loss, or that it never started, when it is sent again."""
    world = live()
    world.happen(events.LostAsked(1, over))
    assert ("Refused", "a@1 is not lost") == (world.replies[1].error, world.replies[1].value["reason"])
    world.happen(events.RunLingers(A, 1, "its supervisor is gone"))
    world.processes.clear()
    world.happen(events.LostAsked(2, over))
    told = "waiting" if state == "starting" else "lost"
    assert ({"a@1": state}, {"state": told}) == (world.states(), world.replies[2].value)


def test_the_last_of_its_runs_waits_to_see_whether_the_one_before_starts() -> None:
    """Two that came together, where one may start yet: the second goes when the first did not, else never."""
    for starts in (True, False):
        world = World(job("a", max_runs=1, concurrency=2), seconds={"a": HOUR})
        world.happen(*(events.RunAsked(number, "a", "root", f"x{number:016x}") for number in (1, 2)))
        assert {"a@1": "starting", "a@2": "due"} == world.states()
        if starts:
            world.start("a@1")
        else:
            world.stop("a@1", 3)
            world.processes.clear()
            world.happen(events.NeverStarted(A, 1))
        second = {"a@2": "skipped"} if starts else {"a@2": "starting"}
        assert second.items() <= world.states().items()


def test_how_late_a_start_was() -> None:
    """From its due time, with `spread`, to its process; of a further attempt it is said which one it is."""
    world = World(job("a", "0 1 * * *", offset=MINUTE, retries=1, retry_delay=SECOND), seconds={"a": 60})
    world.ends["a"] = ["failed 1"]
    world.pass_time(3600 + 60)
    world.happen(events.RunStarted(A, 1, 4711, world.now.wall + 5))
    world.happen(events.RunStarted(A, 1, 4711, world.now.wall + 5))
    world.pass_time(62)
    world.happen(events.RunStarted(A, 2, 4711, world.now.wall + 9))
    early = World(job("a", "0 1 * * *"), seconds={"a": 60})
    early.pass_time(3600)
    early.happen(events.RunStarted(A, 1, 4711, early.now.wall - HOUR))
    assert [Say("run_started", {"run": "a@1", "pid": 4711, "late": 0})] == early.did
    told = [each.fields for each in world.said if each.event == "run_started"]
    first = {"run": "a@1", "pid": 4711, "late": 5}
    assert [first, {"run": "a@1", "pid": 4711, "attempt": 2, "failover": False}] == told


def test_who_is_to_stop_is_told_so_when_it_has_started() -> None:
    """Its supervisor may not have been there before."""
    world = live()
    world.stop("a@1")
    world.start("a@1")
    assert ["a@1", "a@1"] == world.stopped
    assert Stop(A, 1, "stopped by root") == world.did[-1]
    world.happen(events.RunStopping(A, 1, "something else"))
    assert ([], "stopped by root") == (world.did, world.scheduler.runs[A].reason)


def test_a_file_that_was_taken_up_is_not_taken_up_again() -> None:
    """A run for a file that R alone knows: what the path had then makes nothing due, what comes later does."""
    world = World(job("a", on=(On("path", "/in"),)))
    sent = Run(
        id=A, key="p1", due=world.now.wall, queued=world.now.wall + 5, arrival=0, trigger="path /in",
    )  # fmt: skip
    world.happen(events.Found(A, 1, sent), events.RunEnded(A, 1, ended(A)))
    for seconds, runs in ((5, 1), (6, 2)):
        world.happen(events.PathAppeared("/in", MIDNIGHT + seconds, f"p{seconds}", "/in/x"))
        assert runs == len(world.states())


def test_an_occurrence_that_is_found_in_life_is_covered() -> None:
    """Its R was not readable before: the clock does not make it due again, and its number is used."""
    world = World(job("a", "0 * * * *"))
    due = MIDNIGHT + HOUR
    sent = Run(id=RunId("a", 3), key=f"c0.{due // SECOND}", due=due, queued=due, arrival=0)
    world.pass_time(3599.5)
    world.happen(events.Found(sent.id, 1, sent))
    assert 1 == world.scheduler.runs[sent.id].arrival
    world.happen(events.RunEnded(sent.id, 1, ended(sent.id)))
    world.boot()
    world.pass_time(1.5 * 3600)
    assert ["a@4"] == [run for run, _ in world.launched]
    assert {"a@3": "succeeded", "a@4": "succeeded"} == world.states()


def test_an_older_attempt_that_is_found_is_old_news() -> None:
    """Only one beyond what its row tells is taken up; of a live row the next."""
    world = live(retries=3, retry_delay=0)
    world.ends["a"] = ["failed 1", "failed 1", "succeeded"]
    for _ in range(2):
        world.processes[next(iter(world.processes))] = world.now.wall
        world.pass_time(0)
    world.start("a@1", 3)
    run = world.scheduler.runs[A]
    assert (3, 4711) == (run.attempt, run.pid)
    for attempt in (0, 1, 2, 3):
        world.happen(events.Found(A, attempt, replace(run, attempt=attempt)))
        assert run == world.scheduler.runs[A]
    waits = World(job("a"), job("hog"), max_running=1, seconds={"hog": HOUR})
    waits.run("hog")
    waits.run("a", 2)
    waits.happen(events.Found(A, 0, waits.scheduler.runs[A]))
    assert "waiting" == waits.states()["a@1"]


def test_what_is_found_has_what_it_was_sent_with() -> None:
    """Claims, units, its time and what came before are those of its R; its place in the order is its row's."""
    world = World(job("a"), job("hog"), max_running=1, seconds={"hog": HOUR}, resources={"gpu": 2}, cpus=(0,))
    world.run("hog")
    world.run("a", 2)
    row = world.scheduler.runs[A]
    before = ended(A, "failed", attempts=[{"attempt": 1, "state": "failed", "started": None, "output": {"bytes": 3}}])
    sent = replace(
        row, claims=(Claim("gpu", 1),), placed=(("gpu", (1,)), ("cpus", (0,))), ends_by=world.now.wall + HOUR,
        so_far=before, failover=True, owner=Owner(1000, "alice"), arrival=99, pid=7, started=8, reason="x", queued=1,
    )  # fmt: skip
    world.processes.clear()
    world.happen(events.Found(A, 2, sent))
    assert world.scheduler.runs[A] == replace(
        row, state=RunState.STARTING, attempt=2, claims=sent.claims, placed=sent.placed, ends_by=sent.ends_by,
        so_far=before, failover=True, owner=sent.owner, reason=None, drains_since=0,
    )  # fmt: skip
    world.write("more.yaml", job("alice/x", owner=sent.owner))
    other = RunId("alice/x", 1)
    world.run("alice/x", 3)
    row = world.scheduler.runs[other]
    assert sent.owner == row.owner
    world.happen(events.Found(other, 1, None))
    claims = (Claim(HOST), Claim(SLOT, 1))
    assert world.scheduler.runs[other] == replace(
        row, state=RunState.STARTING, attempt=1, claims=claims, drains_since=0
    )


def test_marks_go_with_the_end() -> None:
    """It is told whether somebody has just written the record; what never started is sent again at once."""
    world = live()
    world.processes.clear()
    for run, known in ((A, False), (A, True), (B, True)):
        for event in (events.RunEnded(run, 1, ended(run)), events.RunLost(run, 1, "x")):
            if known:
                world.happen(event)
                assert [RemoveMarks(run, 1, known=True)] == world.did
        if not known:
            world.happen(events.RunEnded(run, 1, ended(run)))
            assert RemoveMarks(run, 1, known=False) in world.did
    world = live()
    world.processes.clear()
    world.happen(events.RunLost(A, 1, "x"))
    assert RemoveMarks(A, 1, known=False) == world.did[-1]
    world = live()
    world.processes.clear()
    world.happen(events.NeverStarted(A, 1), admit=False)
    assert [RemoveMarks(A, 1, again=True)] == world.did


def test_what_never_started_waits_with_nothing() -> None:
    """No claims, no units, no process; its reason is the launcher's, or what it was before."""
    world = live(resources=(Claim("gpu", 1),), timeout=HOUR)
    world = World(*world.files["jobs.yaml"], resources={"gpu": 1}, seconds={"a": HOUR})
    world.run("a")
    run = world.scheduler.runs[A]
    assert (("gpu", (0,)),) == run.placed
    assert run.ends_by == world.now.wall + HOUR + 10 * SECOND + 2 * SECOND, "kill_grace, and the drain of its output"
    world.processes.clear()
    back = replace(
        run, state=RunState.WAITING, claims=(), placed=(), ends_by=None, failures=1, reason="no memory",
        not_before=world.now.wall + SECOND, waits=((world.now.wall, "start"),),
    )  # fmt: skip
    world.happen(events.NeverStarted(A, 1, "no memory", Unstarted.TROUBLE))
    assert back == world.scheduler.runs[A]


def test_a_busy_file_and_then_trouble() -> None:
    """A busy file counts as one failure, however often; a restart of the launcher is no fault, and not said."""
    world = live()
    causes = [Unstarted.NO_FAULT, *[Unstarted.PATH_BUSY] * 3, Unstarted.TROUBLE]
    for cause in causes:
        world.processes.clear()
        world.happen(events.NeverStarted(A, 1, "x", cause))
        world.pass_time(2)
    told = [each.fields for each in world.said if each.event == "run_returned"]
    assert [{"run": "a@1", "reason": "x", "again_in": pause} for pause in (1, 2)] == told


def test_a_further_attempt_that_was_to_stop_and_never_started() -> None:
    """It ends as who stopped it has said, and not as the attempt before it did."""
    world = live(retries=1, retry_delay=0)
    world.ends["a"] = ["failed 1"]
    world.processes[A, 1] = world.now.wall
    world.pass_time(0)
    world.stop("a@1", 2)
    world.processes.clear()
    world.happen(events.NeverStarted(A, 2))
    assert ("killed", "stopped by root") == (world.rows[A][0].state, world.rows[A][0].reason)


def test_a_deadline_after_a_restart() -> None:
    """What the last scheduler sent, and never started, has its start deadline still."""
    world = live(start_deadline=MINUTE)
    world.happen(events.HoldAsked(9, "root", Hold("root")))
    world.processes.clear()
    world.restore()
    world.happen(events.JobsRead("jobs.yaml", world.files["jobs.yaml"]), events.NeverStarted(A, 1), admit=False)
    world.happen(events.JobsLoaded(complete=True), events.Woke())
    assert {"a@1": "waiting"} == world.states()
    world.pass_time(60)
    assert ({"a@1": "skipped"}, "start_deadline") == (world.states(), world.rows[A][0].reason)


def test_the_priority_with_which_it_has_started() -> None:
    """It is in the record, to a thousandth."""
    world = World(job("a"), job("hog"), max_running=1, seconds={"hog": 20, "a": HOUR})
    world.run("hog")
    world.run("a", 2)
    world.pass_time(20)
    assert 0.333 == world.marks.specs[A, 1].record["effective_priority"]
    assert ["max_running"] == world.marks.specs[A, 1].record["waited_for"]


def test_a_retry_of_what_can_never_run() -> None:
    """A job that asks for more than there is by now has no further attempt, and the record says why."""
    world = World(job("a", retries=3, retry_delay=MINUTE), resources={"gpu": 1}, seconds={"a": 60})
    world.ends["a"] = ["failed 1"]
    world.run("a")
    world.write("jobs.yaml", replace(world.files["jobs.yaml"][0], resources=(Claim("gpu", 2),)))
    world.pass_time(300)
    run = world.rows[A][0]
    why = "exit code 1; no retry: invalid: it needs 2 of gpu, but this host has 1"
    assert (1, "failed", True) == (len(world.launched), run.state, (run.reason or "").startswith(why))


def test_what_is_replaced_makes_room() -> None:
    """With `overlap: replace` a run that waits never keeps the next one away."""
    world = World(job("a", overlap=Overlap.REPLACE, max_waiting=1), seconds={"a": HOUR})
    for ticket in (1, 2, 3):
        assert world.run("a", ticket).error is None
    assert {"a@1": "stopping", "a@2": "skipped", "a@3": "due"} == world.states()
    assert "replaced by a@3" == world.rows[B][0].reason


def test_a_submission_that_waits_names_the_accounts_it_needs() -> None:
    """They are looked up when it comes and after each restart."""
    world = World(users={"alice": ""})
    world.submit(submission(user="alice", at=world.now.wall + HOUR))
    world.boot()
    assert ["alice", "alice"] == world.looked_up
