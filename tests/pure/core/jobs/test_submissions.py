"""Submissions: taken once with an id, run as often as they say, and gone when nothing more is to come."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from jobqueued.base.instants import HOUR
from jobqueued.model import events
from jobqueued.model.commands import Reply
from jobqueued.model.job import Claim
from jobqueued.model.run import RunId
from jobqueued.model.run_states import RunState
from jobqueued.model.saved import Hold, SavedJob
from jobqueued.model.submission import MOST_BYTES, MOST_RUNS, After, Array, Resized
from tests.support.world import World, ended, job, submission


def test_it_runs_and_is_gone() -> None:
    """A command handed in runs at once, leaves its record, and nothing else."""
    world = World()
    assert world.submit(submission()).value == {"job": "alice/1", "is_new": True}
    assert world.states() == {"alice/1@1": "starting"}
    world.pass_time(2)
    assert world.states() == {"alice/1@1": "succeeded"}
    assert "alice/1" not in world.scheduler.catalog
    assert (world.submissions, world.memories, dict(world.scheduler._state.jobs)) == ({}, {}, {})
    assert world.submit(submission()).value["job"] == "alice/2"


def test_nothing_grows() -> None:
    """What many submissions leave in memory is what none leaves."""
    world = World()
    for _ in range(150):
        world.submit(submission())
        world.pass_time(2)
    state = world.scheduler._state
    catalog = state.catalog
    grown = (
        state.jobs, state._terms, state.noted, state.invalid_jobs, catalog._ids, catalog._accounts, catalog._followers,
        state.submitted._saves, state.submitted.count, state.submitted.bytes, state.due_times._next,
    )  # fmt: skip
    assert [len(it) for it in grown] == [0] * len(grown)
    assert len(state.timers) < 1100, "of which they are tidied"


def test_a_number_is_never_given_again() -> None:
    """Neither after a restart, nor where the rows of those before are gone."""
    world = World()
    world.submit(submission())
    world.pass_time(2)
    world.reboot(5)
    assert world.submit(submission()).value["job"] == "alice/2"


@pytest.mark.parametrize("die_after", [-1, 0, 1, 2, None])
def test_killed_between_any_two_steps(die_after: int | None) -> None:
    """It is taken with an id, or not at all; who asks again by the key gets the same id, and it runs once."""
    world = World(seconds={"alice/1": 30})
    world.submit(submission(), key="k", die_after=die_after)
    taken = bool(world.submissions)
    assert taken == (die_after != -1)
    world.boot()
    reply = world.submit(submission(), key="k")
    assert reply.value == {"job": "alice/1", "is_new": not taken}
    world.pass_time(100)
    assert world.states() == {"alice/1@1": "succeeded"}
    assert len(world.launched) == 1


def test_at_a_time() -> None:
    """One for later waits without a run, over a reboot too, and runs once, however late the host is up again."""
    world = World()
    due = world.now.wall + 2 * HOUR
    world.submit(submission(at=due))
    world.pass_time(3600)
    assert world.states() == {}
    world.reboot(86400)
    world.pass_time(2)
    assert world.states() == {"alice/1@1": "succeeded"}
    assert not world.submissions
    world.submit(submission(at=world.now.wall - HOUR))
    world.pass_time(2)
    assert world.states()["alice/2@1"] == "succeeded"


def test_an_array() -> None:
    """So many runs at a time as it says, each once, made as others end; then it is gone."""
    world = World()
    world.submit(submission(array=Array(0, 398, 2), concurrency=7))
    most = 0
    while world.submissions:
        most = max(most, len(world.processes))
        assert len(world.scheduler.runs) <= 107
        world.pass_time(0.5)
    assert most == 7
    assert list(world.states().values()) == ["succeeded"] * 200
    assert Array(0, 398, 2).index_of(200) == 398


def test_an_array_over_restarts() -> None:
    """A crash at any time neither drops nor repeats a run of an array."""
    world = World()
    world.submit(submission(array=Array(1, 150), concurrency=20))
    for _ in range(5):
        world.pass_time(1)
        world.boot()
    world.pass_time(60)
    assert list(world.states().values()) == ["succeeded"] * 150
    assert len(world.launched) == 150
    assert not world.submissions


def test_after_others() -> None:
    """It waits for the success of what it names, a run or a whole submission, and is skipped where that fails."""
    world = World(seconds={"alice/1": 10, "alice/2": 20})
    world.ends["alice/2"] = ["failed 1"]
    world.submit(submission())
    world.submit(submission())
    world.submit(submission(after=[After("alice/1"), After("alice/2@1", "any")]))
    world.submit(submission(after=[After("alice/2")]))
    world.submit(submission(after=[After("alice/4")]))
    assert world.why("alice/3@1") == ["it starts after alice/1, alice/2@1"]
    world.pass_time(15)
    assert world.states()["alice/3@1"] == "due"
    world.boot()
    assert world.why("alice/3@1") == ["it starts after alice/2@1"]
    world.pass_time(10)
    assert [world.states()[f"alice/{n}@1"] for n in (3, 4, 5)] == ["succeeded", "skipped", "skipped"]
    reasons = {str(run.id): run.reason for run, _ in world.rows.values() if run.state == "skipped"}
    assert reasons == {
        "alice/4@1": "after alice/2: 1 run did not succeed",
        "alice/5@1": "after alice/4: 1 run did not succeed",
    }
    assert not world.submissions


def test_what_has_failed_by_now() -> None:
    """To come after what has failed is the same a moment before and after: it is taken, and skipped for that reason."""
    world = World()
    for failed in (("alice/9",), ("alice/9@2",)):
        reply = world.submit(submission(after=[After(failed[0])], array=Array(1, 3)), failed=failed)
        assert reply.error is None
    world.boot()
    skipped = [(str(run.id), run.reason, run.count) for run, _ in world.rows.values() if run.state == "skipped"]
    reasons = {(run.partition("@")[0], reason) for run, reason, _ in skipped}
    assert reasons == {
        ("alice/1", "after alice/9: it has not succeeded"), ("alice/2", "after alice/9@2: it has not succeeded"),
    }  # fmt: skip
    assert 6 == sum(count for *_, count in skipped)
    assert not world.submissions
    assert not world.launched


def test_what_ends_in_the_same_moment() -> None:
    """What ends in the very turn in which another is to come after it decides about that one, too."""
    world = World()
    for state in ("failed", "succeeded"):
        earlier = world.submit(submission()).value["job"]
        ((name, attempt),) = world.processes
        world.processes.clear()
        world.happen(events.RunEnded(name, attempt, ended(name, state)))
        assert world.submit(submission(f"alice/next-{state}", after=[After(earlier)])).error is None
    world.pass_time(5)
    states = world.states()
    assert ["skipped", "succeeded"] == [states[f"alice/next-{state}@1"] for state in ("failed", "succeeded")]


def test_the_end_of_an_array_awaited() -> None:
    """The whole of an array has to succeed, and what is never made of it has a record."""
    world = World(seconds={"alice/1": 5})
    world.submit(submission(array=Array(1, 150), concurrency=20))
    world.submit(submission(after=[After("alice/1")], array=Array(1, 900)))
    world.pass_time(3)
    world.happen(events.WithdrawAsked(7, "alice/1", "alice"))
    assert world.replies[7].value == {"running": 20, "waiting": 130}
    world.pass_time(30)
    assert not world.submissions
    counts = [run.count for run, _ in world.rows.values() if run.id.job == "alice/2" and run.state == "skipped"]
    assert sum(counts) == 900
    assert {run.reason for run, _ in world.rows.values() if run.id.job == "alice/1" and run.state == "skipped"} == {
        "withdrawn by alice"
    }


@pytest.mark.parametrize("die_after", [-1, 0, 1, 2, None])
def test_the_whole_of_an_array_stopped(die_after: int | None) -> None:
    """With --stop one call ends all of it, those that are live and those that are never made, over a crash, too."""
    world = World(seconds={"alice/1": 50})
    world.submit(submission(array=Array(1, 150), concurrency=3))
    world.happen(events.WithdrawAsked(7, "alice/1", "alice", stop=True), die_after=die_after)
    if die_after is not None:
        world.boot()
        world.happen(events.WithdrawAsked(7, "alice/1", "alice", stop=True))
    world.pass_time(5)
    assert not world.submissions
    states = Counter(run.state for run, _ in world.rows.values())
    assert {RunState.KILLED: 3} == {state: number for state, number in states.items() if state != RunState.SKIPPED}
    assert 147 == sum(run.count for run, _ in world.rows.values() if run.state is RunState.SKIPPED)
    if die_after is None:
        assert {"running": 3, "waiting": 147} == world.replies[7].value


@pytest.mark.parametrize("die_after", [-1, 0, 1, 2, None])
def test_more_or_fewer_at_a_time(die_after: int | None) -> None:
    """More start at once, of fewer what is live goes on; a crash forgets it whole, or not at all."""
    world = World(seconds={"alice/1": 50})
    world.submit(submission(array=Array(1, 150), concurrency=3))

    def resize(runs: int, ticket: int, die: int | None = None) -> None:
        world.texts["more"] = replace(world.scheduler.catalog["alice/1"], concurrency=runs)
        world.happen(Resized(ticket, "alice/1", runs, "more", "alice"), die_after=die)

    resize(5, 7, die_after)
    if die_after is not None:
        world.boot()
        assert len(world.scheduler.live) == (3 if die_after == -1 else 5)
        resize(5, 7)
    else:
        assert {"before": 3} == world.replies[7].value
    assert len(world.scheduler.live) == 5
    resize(2, 8)
    assert ({"before": 5}, 5) == (world.replies[8].value, len(world.scheduler.live))
    world.boot()
    world.pass_time(60)
    assert len(world.scheduler.live) == 2
    resize(150, 9)
    world.pass_time(120)
    assert not world.submissions
    assert len([run for run, _ in world.rows.values() if run.state is RunState.SUCCEEDED]) == 150


def test_withdrawn_before_its_time() -> None:
    """One for later that is withdrawn never runs, and says so."""
    world = World()
    world.submit(submission(at=world.now.wall + HOUR))
    world.happen(events.WithdrawAsked(7, "alice/1", "alice"))
    assert not world.submissions
    world.boot()
    world.pass_time(7200)
    assert world.states() == {"alice/1@1": "skipped"}
    world.happen(events.WithdrawAsked(8, "alice/1", "alice"))
    assert (world.replies[8].error, world.replies[8].value) == ("NoSuchJob", {"job": "alice/1"})


def test_withdrawn_while_the_daemon_starts() -> None:
    """Whatever happens between that and its end: its time makes nothing due any more."""
    world = World()
    world.submit(submission(at=world.now.wall + HOUR))
    world.restore()
    kept = tuple((replace(world.texts[it.text], id=it.job), it.text, it.key) for it in world.submissions.values())
    world.happen(events.SubmissionsKept(kept, {}), events.WithdrawAsked(7, "alice/1", "alice"))
    assert ["alice/1"] == list(world.submissions), "files are still read"
    world.pass_time(7200, scheduler=False)
    world.boot()
    assert (world.states(), world.launched) == ({"alice/1@1": "skipped"}, [])


def test_a_user_that_there_is_not() -> None:
    """Where that is known, it is refused at once; where it has yet to be looked up, it waits for the answer."""
    world = World(job("a", user="bob"), users={"bob": "no user 'bob'", "carol": ""})
    told = [world.submit(submission("host/", user=name)).value for name in ("bob", "carol")]
    assert [{"reason": "no user 'bob'"}, {"job": "host/1", "is_new": True}] == told


def test_due_at_this_very_instant() -> None:
    """It starts at once: no clock would start it any more."""
    world = World()
    world.submit(submission(at=world.now.wall))
    assert world.states() == {"alice/1@1": "starting"}


def test_texts_of_too_many_bytes() -> None:
    """What waits of a user has 64 MiB at most; there is room again when some have ended."""
    world = World(seconds={"alice/1": 9, "alice/2": 99})
    text = " " * (MOST_BYTES // 2)
    told = []
    for number in range(5):
        world.happen(events.Submitted(number, submission("bob/" if number == 3 else "alice/"), text, "alice"))
        told.append(world.replies[number].value.get("reason", "taken"))
        world.pass_time(10 if number == 3 else 0)
    full = "submissions of 64 MiB already wait; expected at most 64 MiB; try again when some have ended"
    assert ["taken", "taken", full, "taken", "taken"] == told


def test_what_was_over_before_the_start_is_forgotten() -> None:
    """But for its number, which is not given again."""
    world = World()
    world.memories["alice/7"], world.numbers = SavedJob(job="alice/7"), {"alice": 3}
    world.boot()
    assert {} == world.memories
    assert "alice/8" == world.submit(submission()).value["job"]


def test_history_tells_what_nobody_else_knows() -> None:
    """What is awaited may have ended while the daemon was down; while it lives nobody's word is taken for it."""
    for succeeded in (True, False):
        world = World(job("a"), seconds={"a": 60})
        world.run("a")
        world.submit(submission(after=[After("a@1")]))
        world.happen(events.AwaitedOver("a@1", succeeded))
        assert world.states()["alice/1@1"] == "due"
        run, _ = world.rows[RunId("a", 1)]
        world.processes.clear()
        world.marks.clear()
        world.rows[run.id] = replace(run, state=RunState.SUCCEEDED), ended(run.id)
        world.boot()
        assert world.states()["alice/1@1"] == "due"
        world.happen(events.AwaitedOver("a@1", succeeded))
        row = world.rows[RunId("alice/1", 1)][0]
        told = ("starting", None) if succeeded else ("skipped", "after a@1: not succeeded")
        assert told == (row.state, row.reason)


def test_a_number_that_a_job_of_a_file_has() -> None:
    """The next one is taken."""
    world = World(job("alice/1"), job("alice/2"))
    assert "alice/3" == world.submit(submission()).value["job"]
    assert "alice/2" == World(job("alice/1")).submit(submission()).value["job"]


def test_refused() -> None:
    """What could never run, has a name that is taken, or would be too much, is refused in words and leaves nothing."""
    world = World(job("host/a"), resources={"gpu": 2}, waiting_of_a_user=10)
    refusals = [
        (submission(resources=(Claim("gpu", 3),)), "it needs 3 of gpu, but this host has 2"),
        (submission("host/a"), "a job host/a already exists"),
        (submission(array=Array(1, 11)), "the submission has 11 runs; expected at most 10 per user"),
        (submission("host/", array=Array(1, MOST_RUNS + 1)), f"expected at most {MOST_RUNS}"),
        (submission(after=[After("alice/77")]), "alice/77 has just ended"),
        (submission(after=[After("nobody@1")]), "nobody@1 has just ended"),
    ]
    for it, words in refusals:
        reply = world.submit(it)
        assert reply.error == "Refused"
        assert words in reply.value["reason"]
    world.submit(submission(array=Array(1, 8), concurrency=1))
    reply = world.submit(submission(array=Array(1, 3)))
    assert "8 already wait" in reply.value["reason"]
    assert set(world.submissions) == {"alice/1"}
    assert None is world.submit(submission(array=Array(1, 2))).error


@pytest.mark.parametrize(
    ("of_a_user", "who", "runs", "rule"),
    [
        (10, "alice/", 10, ""),
        (10, "alice/", 11, "at most 10 per user (`users: {waiting: 10}` in jobqueued.yaml)"),
        (MOST_RUNS, "alice/", MOST_RUNS + 1, f"at most {MOST_RUNS}"),
        (MOST_RUNS + 9, "alice/", MOST_RUNS + 1, f"at most {MOST_RUNS}"),
        (None, "alice/", MOST_RUNS, ""),
        (10, "host/", MOST_RUNS, ""),
        (10, "host/", MOST_RUNS + 1, f"at most {MOST_RUNS}"),
    ],
)
def test_how_many_runs(of_a_user: int | None, who: str, runs: int, rule: str) -> None:
    """As many as the rule says are taken, one more is refused with it."""
    world = World(waiting_of_a_user=of_a_user)
    reply = world.submit(submission(who, array=Array(1, runs), concurrency=1))
    assert (f"the submission has {runs} runs; expected {rule}" if rule else None) == reply.value.get("reason")


def test_a_name_of_which_a_run_lives() -> None:
    """A job that is in no file any more keeps its name until its runs have ended."""
    world = World(job("host/x"), seconds={"host/x": 60})
    world.run("host/x")
    world.write("jobs.yaml")
    reason = "runs of another job host/x have not ended; use another name, or none"
    assert reason == world.submit(submission("host/x")).value["reason"]
    world.pass_time(61)
    assert None is world.submit(submission("host/x")).error


def test_how_many_are_made_at_a_time() -> None:
    """A hundred wait, of an array with more at a time so many, 500 a turn; there are never more than it says."""
    for at_a_time, made in ((1, 100), (150, 150), (1000, 500)):
        world = World()
        world.happen(events.HoldAsked(9, "root", Hold("root")))
        it = submission("host/", array=Array(1, 1200), concurrency=at_a_time)
        world.happen(events.Submitted(1, it, "x", "root"), admit=False)
        assert made == len(world.scheduler.runs)
    world = World(max_running=7)
    world.submit(submission("host/", array=Array(1, 130), concurrency=7))
    world.pass_time(60)
    assert (130, {"succeeded"}) == (len(world.rows), set(world.states().values()))


def test_an_array_that_begins_later() -> None:
    """The clock makes its first run, and the others follow, over restarts; nothing is lost before."""
    world = World()
    world.submit(submission(at=world.now.wall + HOUR, array=Array(1, 3)))
    for _ in range(2):
        world.boot()
        assert {"alice/1"} == set(world.submissions)
    world.pass_time(3599)
    assert {} == world.states()
    world.pass_time(10)
    assert dict.fromkeys((f"alice/1@{number}" for number in (1, 2, 3)), "succeeded") == world.states()


def test_one_that_was_run_by_hand_before_its_time() -> None:
    """It is over then, and its clock starts nothing any more."""
    world = World()
    world.submit(submission(at=world.now.wall + HOUR))
    world.run("alice/1", 2)
    world.pass_time(2)
    assert ({}, None) == (world.submissions, world.scheduler.soonest())
    world.pass_time(2 * 3600)
    assert {"alice/1@1": "succeeded"} == world.states()


def test_what_has_ended_before() -> None:
    """Of what was over in an earlier turn history has the word: who asks is told to ask once more."""
    world = World()
    world.submit(submission())
    world.pass_time(5)
    world.happen(events.Woke())
    reply = world.submit(submission(after=[After("alice/1")]))
    assert "alice/1 has just ended; try again" == reply.value["reason"]


@pytest.mark.parametrize(
    ("name", "result", "skipped"),
    [
        ("alice/1@1", "success", "after alice/1@1: timed out"),
        ("alice/1@1", "any", None),
        ("alice/1@2", "success", None),
        ("alice/1", "success", "after alice/1: 1 run did not succeed"),
        ("alice/1", "any", None),
    ],
)
def test_after_one_run_of_several(name: str, result: str, skipped: str | None) -> None:
    """By what it was: its result is told to whom it keeps from running."""
    world = World(seconds={"alice/1": 1}, max_running=1)
    world.submit(submission(array=Array(1, 2), concurrency=1))
    world.submit(submission(after=[After(name, result)]))  # type: ignore[arg-type]
    for number, state in ((1, "timed_out"), (2, "succeeded")):
        run = RunId("alice/1", number)
        del world.processes[run, 1]
        world.record_files.pop(run, None)
        world.happen(events.RunEnded(run, 1, ended(run, state)))
    world.pass_time(5)
    row = world.rows[RunId("alice/2", 1)][0]
    assert (skipped, "skipped" if skipped else "succeeded") == (row.reason, row.state)


def test_who_can_be_withdrawn() -> None:
    """A submission that is not over; it is told how many of its runs go on."""
    world = World(job("a"), seconds={"alice/1": 60})
    world.submit(submission(array=Array(1, 3), concurrency=1))
    for name in ("a", "alice/7"):
        world.happen(events.WithdrawAsked(1, name, "root"))
        assert [Reply(1, {"job": name}, "NoSuchJob")] == world.did
    world.happen(events.WithdrawAsked(2, "alice/1", "root"))
    assert Reply(2, {"running": 1, "waiting": 2}, asked="the withdrawal of alice/1 by root") in world.did
    world.pass_time(61)
    assert ({}, False) == (world.submissions, "alice/1" in world.scheduler._state.jobs)


def test_what_was_over_is_in_nobodys_memory() -> None:
    """After a start, too."""
    world = World()
    world.memories["alice/1"] = SavedJob(job="alice/1", last_number=1)
    world.boot()
    assert "alice/1" not in world.scheduler._state.jobs


def test_a_name_is_taken() -> None:
    """A name that a job has, or a submission that is not over, is refused; a file that comes with it has to wait."""
    world = World()
    assert world.submit(submission("alice/sort")).value["job"] == "alice/sort"
    assert "already" in world.submit(submission("alice/sort")).value["reason"]
    world.write("a.yaml", job("alice/sort", command="false"))
    assert world.scheduler.catalog["alice/sort"].command == "true"
    assert "a submission uses this name" in next(
        said.fields["reason"] for said in world.said if said.event == "job_invalid"
    )
    world.pass_time(2)
    world.write("a.yaml", job("alice/sort", command="false"))
    assert world.scheduler.catalog["alice/sort"].command == "false"


def test_a_flood_of_one_user() -> None:
    """Hundreds of one user are behind the host's next run, and others get their share at once."""
    world = World(job("backup"), max_running=4, seconds={"backup": 1})
    for _ in range(300):
        world.happen(events.Submitted(1, submission(), "x", "alice"), admit=False)
    world.texts["x"] = submission()
    world.happen(events.Woke())
    world.run("backup")
    world.submit(submission("bob/"))
    before = len(world.launched)
    world.pass_time(1.5)
    following = [run for run, _ in world.launched[before:]]
    assert following[0] == "backup@1"
    assert following[1] == "bob/1@1"


def test_who_is_told_of_its_end() -> None:
    """In the turn in which it is over its job is still known, by which its notices are sent; after that it is not."""
    world = World()
    world.submit(submission(tags=("at:a",)))
    ((name, attempt),) = world.processes
    world.processes.clear()
    world.happen(events.RunEnded(name, attempt, ended(name)))
    told = world.scheduler.remembered_job("alice/1")
    assert told is not None
    assert told.tags == ("at:a",)
    world.happen(events.Woke())
    assert world.scheduler.remembered_job("alice/1") is None


def test_history_gone() -> None:
    """A removed job of which no history is left is forgotten, unless somebody counts on it."""
    world = World(job("a"), job("b"), job("c", dependencies=("d",)), job("d"), job("e"))
    for name in ("a", "b", "d"):
        world.run(name)
    world.pass_time(5)
    world.pause("b")
    world.write("jobs.yaml", job("c", dependencies=("d",)))
    assert ["e"] == world.looked_after, "one that never ran is looked after at once"
    for name in ("a", "b", "c", "d", "e"):
        world.happen(events.HistoryGone(name))
    assert sorted(world.memories) == ["b", "c", "d"]
