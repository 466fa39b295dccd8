"""What people may ask the scheduler, and what they are told who ask for what there is not (docs/library.md)."""

from __future__ import annotations

import pytest

from jobqueued.base.instants import HOUR, MINUTE, SECOND, to_text
from jobqueued.core.scheduler import Scheduler
from jobqueued.core.trace import Recorder, TurnOver
from jobqueued.model import events
from jobqueued.model.job import Claim, Now
from jobqueued.model.run import LockClientId, RunId
from jobqueued.model.saved import Hold
from jobqueued.model.users import Owner
from tests.support.world import MIDNIGHT, World, job, submission

ALICE, BOB = Owner(1000, "alice"), Owner(1001, "bob")


def refusal(world: World, event: events.Event, ticket: int = 1) -> tuple[str | None, object]:
    """The error that who asked so is told, and the reason or the job."""
    world.happen(event)
    answer = world.replies[ticket]
    return answer.error, answer.value.get("reason", answer.value.get("job"))


def test_an_empty_host() -> None:
    """Nothing is there, and nothing is to come."""
    scheduler, now = Scheduler(), Now(MIDNIGHT, 1)
    told = scheduler.soonest(), scheduler.head_priority(now), scheduler.hold, scheduler.next_wakeup(now)
    assert (None, None, None, None) == told
    several = scheduler.soonest_starts(9), scheduler.submitted, scheduler.live, scheduler.runs
    assert ([], [], [], []) == tuple(map(list, several))
    assert (0, "", False) == (scheduler.queue_length, scheduler.unsaved, scheduler.is_nowhere("a"))
    assert (None, None, None) == (
        scheduler.owner_of("a"),
        scheduler.remembered_job("a"),
        scheduler.submission_of("alice", "k"),
    )


def test_the_queue() -> None:
    """Its length, with the commands of people, the effective priority of its first, and what is taken."""
    jobs = job("hog", resources=(Claim("gpu", 2),)), job("a", resources=(Claim("gpu", 1),), priority=3)
    world = World(*jobs, resources={"gpu": 3}, seconds={"hog": HOUR})
    world.run("hog")
    scheduler = world.scheduler
    assert (2, 0, None) == (scheduler.claimed("gpu"), scheduler.queue_length, scheduler.head_priority(world.now))
    world.happen(events.LockAsked(5, LockClientId(5), (Claim("gpu", 2),), "alice"))
    world.happen(events.HoldAsked(2, "root", Hold("root")))
    world.run("a", 3)
    assert (2, 3.0) == (world.scheduler.queue_length, world.scheduler.head_priority(world.now))
    world.pass_time(120)
    assert 5.0 == world.scheduler.head_priority(world.now)
    assert [RunId("hog", 1)] == [run.id for run in world.scheduler.live]


def test_what_the_clock_starts_next() -> None:
    """Of all jobs, in the order of their starts, with `spread`."""
    world = World(job("a", "0 3 * * *"), job("b", "0 2 * * *", offset=90 * MINUTE), job("c", "0 1 * * *"), job("d"))
    starts = [(MIDNIGHT + HOUR, "c"), (MIDNIGHT + 3 * HOUR, "a"), (MIDNIGHT + 3 * HOUR + 30 * MINUTE, "b")]
    assert (starts[0], starts) == (world.scheduler.soonest(), list(world.scheduler.soonest_starts(9)))
    assert [start for start, _ in starts] == [world.scheduler.next_start(name) for name in "cab"]
    assert world.scheduler.next_start("d") is None


def test_whose_a_job_is() -> None:
    """By its file; of one that is in no file any more by what is kept of it."""
    mine = job("alice/a", owner=ALICE)
    world = World(mine, job("b"))
    world.run("alice/a")
    assert (ALICE, None, None) == tuple(map(world.scheduler.owner_of, ("alice/a", "b", "alice/gone")))
    world.write("jobs.yaml")
    assert ALICE == world.scheduler.owner_of("alice/a")


def test_whose_runs_a_user_may_know() -> None:
    """Another user's run is told as such, and a run that is over is not told either; the host's and their own are."""
    world = World(job("alice/a", owner=ALICE), job("b"), seconds={"alice/a": HOUR, "b": HOUR})
    for name in ("alice/a", "b"):
        world.run(name)
    names = [RunId("alice/a", 1), RunId("b", 1), RunId("alice/a", 9), LockClientId(4)]
    hidden = "a run of another user"
    told = {asker: [world.scheduler.name_for(name, asker) for name in names] for asker in (None, ALICE, BOB)}
    assert {
        None: ["alice/a@1", "b@1", "alice/a@9", ":with-lock@4"],
        ALICE: ["alice/a@1", "b@1", hidden, ":with-lock@4"],
        BOB: [hidden, "b@1", hidden, ":with-lock@4"],
    } == told


def test_submissions() -> None:
    """Those that are not over, by their keys; a job of a file is none."""
    world = World(job("a"), seconds={"alice/1": 60, "alice/2": 60})
    for key in ("k", ""):
        world.submit(submission(), key=key)
    scheduler = world.scheduler
    assert ["alice/1", "alice/2"] == list(scheduler.submitted)
    assert ("alice/1", None, None) == tuple(
        scheduler.submission_of(share, key) for share, key in (("alice", "k"), ("bob", "k"), ("alice", ""))
    )
    assert (True, False) == (scheduler.is_submitted("alice/2"), scheduler.is_submitted("a"))
    assert (False, False, True) == tuple(map(scheduler.is_nowhere, ("alice/1", "a", "alice/3")))
    world.pass_time(61)
    assert ([], None) == (list(scheduler.submitted), scheduler.submission_of("alice", "k"))
    assert scheduler.is_nowhere("alice/1")


def test_a_job_that_is_nowhere() -> None:
    """One that is in no file is still there while a run of it lives."""
    world = World(job("a"), seconds={"a": 3600})
    world.run("a")
    world.write("jobs.yaml")
    assert (False, True) == (world.scheduler.is_nowhere("a"), world.scheduler.is_nowhere("b"))
    world.pass_time(7200)
    assert world.scheduler.is_nowhere("a")


def test_all_that_an_earlier_scheduler_would_have_kept() -> None:
    """A state.db that is written anew has the runs, what is saved of jobs, the hold, and the submissions."""
    world = World(job("a"), job("b", "0 1 * * *"), seconds={"a": HOUR})
    world.run("a")
    world.submit(submission(at=world.now.wall + HOUR))
    hold = Hold("root")
    world.happen(events.HoldAsked(2, "root", hold))
    before = dict(world.rows), dict(world.memories), dict(world.submissions)
    world.rows, world.memories, world.submissions, world.hold = {}, {}, {}, None
    world._commit(list(world.scheduler.everything()))
    assert before == (world.rows, world.memories, world.submissions)
    assert (hold, hold) == (world.hold, world.scheduler.hold)


def test_why_the_first_runs_of_a_job_wait() -> None:
    """The oldest of them, so many as are asked for, however they wait; a live one is not among them."""
    world = World(job("a", concurrency=2), job("hog"), seconds={"hog": HOUR, "a": HOUR}, max_running=2)
    for name in ("hog", "a", "a", "a"):
        world.run(name)
    told = world.scheduler.explain_pending("a", 9, world.now)
    assert [("a@2", "waiting"), ("a@3", "due")] == [(it["run"], it["state"]) for it in told]
    assert told[:1] == world.scheduler.explain_pending("a", 1, world.now)
    assert told[0] == world.scheduler.explain(RunId("a", 2), world.now)
    assert "max_running 2 is used up by hog@1, a@1" in told[0]["reasons"]


def test_why_in_a_few_words() -> None:
    """Five holders are named; a state that can't be saved is told before a hold; before all files are read: nothing."""
    tape = Claim("tape")
    shares = [job(f"s{number}", locks=(tape,)) for number in range(7)]
    alone = job("z", locks=(tape._replace(exclusive=True),))
    world = World(*shares, alone, seconds={f"s{number}": HOUR for number in range(7)})
    for name in [*(f"s{number}" for number in range(7)), "z"]:
        world.run(name)
    assert "lock tape is held by s0@1, s1@1, s2@1, s3@1, s4@1 and 2 more" == world.why("z@1")[0]
    world.happen(events.HoldAsked(2, "root", Hold("root")), events.StateUnsaved("disk full"))
    assert "disk full" == world.why("z@1")[0]
    world.restore()
    world.happen(events.JobsRead("jobs.yaml", world.files["jobs.yaml"]))
    assert ("due", []) == (str(world.scheduler.runs[RunId("z", 1)].state), world.why("z@1"))


def test_where_a_file_was_read() -> None:
    """People are told the place, if it is not in the first directory, and how many jobs have come, changed or gone."""
    world = World(job("a"))
    world.happen(events.JobsRead("jobs.yaml", (job("a", priority=1), job("b")), "/usr/lib/jobqueue.d/jobs.yaml"))
    world.happen(events.FileGone("jobs.yaml"))
    assert [
        {"file": "jobs.yaml", "added": 1, "at_start": True},
        {"file": "/usr/lib/jobqueue.d/jobs.yaml", "added": 1, "edited": 1},
        {"file": "jobs.yaml", "removed": 2},
    ] == [each.fields for each in world.said if each.event == "jobs_read"]


def test_a_user_who_has_too_many_live_runs_is_told_so() -> None:
    """The limit, and not who else has which."""
    world = World(
        *(job(f"alice/{name}", owner=ALICE) for name in "ab"), seconds={"alice/a": HOUR}, most_of_a_user=1
    )  # fmt: skip
    for name in ("alice/a", "alice/b"):
        world.run(name)
    assert ["1 run of alice are live, which is the limit for each user"] == world.why("alice/b@1")


def test_skip_next() -> None:
    """The next start by the clock is skipped, asked again one more; undone the last of them is not; each is told."""
    world = World(job("a", "0 * * * *", offset=MINUTE, timezone="Europe/Berlin"), job("b"))
    told = []
    for undo in (False, False, True, True):
        world.happen(events.SkipAsked(1, "a", "root", undo))
        value = world.replies[1].value
        told.append((value["due"][11:16], value["next"][11:16], value["timezone"]))
    at = "Europe/Berlin"
    assert [("01:01", "02:01", at), ("02:01", "03:01", at), ("02:01", "02:01", at), ("01:01", "01:01", at)] == told
    asked = ("a", True), ("b", False), ("c", False)
    refused = [refusal(world, events.SkipAsked(1, name, "root", undo)) for name, undo in asked]
    no_skip, no_clock = "no skip of a to undo", "b has no scheduled start"
    assert [("Refused", no_skip), ("Refused", no_clock), ("NoSuchJob", "c")] == refused
    said = [(each.event, to_text(each.fields["due"])[11:16]) for each in world.said if each.event.startswith("skips")]
    assert [("skips_next", "01:01"), ("skips_next", "02:01"), ("skips_not", "02:01"), ("skips_not", "01:01")] == said


def test_a_skip_of_a_job_that_is_over() -> None:
    """One whose last run has started has no next start."""
    world = World(job("a", "0 * * * *", max_runs=1))
    world.pass_time(3601)
    world.pass_time(60)
    assert ("Refused", "a has no scheduled start") == refusal(world, events.SkipAsked(1, "a", "root"))


def test_while_a_start_could_not_be_saved() -> None:
    """Who asks for a run, an event or a submission is told so, and gets no number that may be forgotten."""
    world = World(job("a"), job("b"))
    world.happen(events.StateUnsaved("disk full"))
    asked = [
        events.RunAsked(1, "a", "root", "x1"), events.Emitted(1, "go", "root", "e1"),
        events.Submitted(1, submission(), "text", "alice"),
    ]  # fmt: skip
    assert [("Refused", "disk full")] * 3 == [refusal(world, event) for event in asked]
    assert ({}, "disk full") == (world.states(), world.scheduler.unsaved)
    world.happen(events.StateUnsaved(""))
    assert (None, "") == (world.run("a").error, world.scheduler.unsaved)


def test_a_clock_that_was_far_ahead_when_a_job_was_last_seen() -> None:
    """Its cursor lies beyond all that may have been a step: that is said, and it starts again from now."""
    world = World(job("a", "0 * * * *"))
    world.pass_time(10 * 3600)
    world.now = Now(world.now.wall - 9 * HOUR, world.now.mono)
    world.boot()
    ahead = [each.fields["seconds"] for each in world.said if each.event == "clock_was_ahead"]
    assert [9 * 3600.0] == ahead
    assert MIDNIGHT + 2 * HOUR == world.scheduler.next_start("a")


def test_a_bug_at_the_end_of_a_turn_is_in_the_ring() -> None:
    """As one in an event is."""

    class Failing(Scheduler):
        def admit(self, now: Now) -> list[object]:  # type: ignore[override]
            raise KeyError(now.wall)

    recorder = Recorder(Failing())
    with pytest.raises(KeyError):
        recorder.over(Now(7, SECOND))
    assert [(TurnOver(True), "KeyError: 7")] == [(entry.told, entry.bug) for entry in recorder.ring]
