"""definitions and dues: what files and people say of jobs; once, at boot, spread, paused, invalid."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from jobqueued.base.instants import HOUR, MINUTE, SECOND, to_datetime
from jobqueued.model import events
from jobqueued.model.accounts import Account, accounts
from jobqueued.model.commands import Reply, Say
from jobqueued.model.job import CatchUp, Job, Overlap
from jobqueued.model.run import RunId
from jobqueued.model.run_states import Unstarted
from jobqueued.runs.launcher_link import unstarted
from jobqueued.runs.run_directory import Name
from jobqueued.timing.schedule import At, Schedule
from tests.support.weight import weight
from tests.support.world import MIDNIGHT, World, job, submission


def at(moment: int, schedule: str | None = None) -> Job:
    """A job due once, and by its schedule."""
    scheduled = job("once", schedule, at=moment)
    return replace(scheduled, triggers=(*scheduled.triggers, At(to_datetime(moment))))


def test_what_nobody_has_heard_of() -> None:
    """Whoever asks for jobs and runs that there are not leaves nothing behind in memory."""
    world = World(job("a", "0 3 * * *"))
    scheduler, before = world.scheduler, 0
    for number in range(20):
        name = f"nobody-{number}"
        run = RunId(name, 1)
        for asked in (
            events.ForgetAsked(1, name, "root"), events.PauseAsked(1, name, "root", pause=True),
            events.SkipAsked(1, name, "root"), events.StopAsked(1, run, "root"), events.WithdrawAsked(1, name, "root"),
            events.LostAsked(1, events.NeverStarted(run, 1, "", Unstarted.NO_FAULT)),
        ):  # fmt: skip
            world.happen(asked)
            assert world.replies[1].error in ("NoSuchJob", "Refused", "NoSuchRun")
        assert (0, "", False) == (len(scheduler[name].pending), scheduler.lingers(run), scheduler.needs("late", name))
        assert [] == scheduler.explain_pending(name, 10, world.now)
        before = before or weight(scheduler)
    assert before == weight(scheduler)


# ── once ──


def test_at_runs_once() -> None:
    """A job with `at` runs at its instant, and never again, whatever is restarted or read anew."""
    world = World(at(MIDNIGHT + HOUR))
    world.pass_time(7200)
    world.boot()
    world.write("jobs.yaml", at(MIDNIGHT + HOUR))
    world.pass_time(7200)
    assert ([("once@1", MIDNIGHT + HOUR)], {"once@1": "succeeded"}) == (world.launched, world.states())


def test_at_in_the_past_is_skipped_once() -> None:
    """An instant that is past when the file is first read does not run; the record says so, once."""
    world = World(at(MIDNIGHT - 1))
    world.pass_time(60)
    world.boot()
    assert (["23:59 past"], []) == (world.covered("once"), world.launched)


def test_at_that_came_while_the_daemon_was_down_is_caught_up() -> None:
    """An instant that was still to come when the file was read is an occurrence like any other."""
    world = World(at(MIDNIGHT + HOUR))
    world.pass_time(7200, scheduler=False)
    world.boot()
    assert ["01:00"] == world.covered("once")


def test_editing_the_rest_makes_no_new_past() -> None:
    """An `at` that ran is not skipped when the schedule beside it is edited."""
    world = World(at(MIDNIGHT + HOUR, "0 12 * * *"))
    world.pass_time(7200)
    world.write("jobs.yaml", at(MIDNIGHT + HOUR, "0 13 * * *"))
    assert ["01:00"] == world.covered("once")


# ── at boot ──


def test_a_boot_makes_due_once() -> None:
    """The first start after a boot runs the job, later starts and reloads in this boot don't, another boot does."""
    world = World(job("a", at_boot=True), job("off", at_boot=True, enabled=False))
    assert (["a@1"], {"boot1"}) == ([run for run, _ in world.launched], world.boots)
    world.pass_time(60)
    world.boot()
    world.write("more.yaml", job("late", at_boot=True, file="more.yaml"))
    world.pass_time(60)
    assert ["a@1"] == [run for run, _ in world.launched]
    world.boot_id = "boot2"
    world.boot()
    assert ["a@1", "a@2", "late@1"] == [run for run, _ in world.launched]
    assert {"bboot1", "bboot2"} == {run.key for run, _ in world.rows.values() if run.id.job == "a"}
    assert {"boot"} == {run.trigger for run, _ in world.rows.values()}


def test_a_boot_and_its_runs_are_known_together() -> None:
    """A daemon that dies before its first commit has noticed no boot; after it, the run is not made again."""
    world = World()
    world.files["jobs.yaml"] = (job("a", at_boot=True),)
    world.boot_id = "boot2"
    world.scheduler.handle(events.JobsLoaded(complete=True, boot="boot2"), world.now)
    world.boot()
    world.boot()
    assert ["a@1"] == [run for run, _ in world.launched]


# ── spread ──


def test_spread_shifts_the_start_not_the_occurrence() -> None:
    """The clock starts a job its offset after it is due; the due time stays, and downtime loses nothing."""
    world = World(job("a", "0 * * * *", spread=600 * SECOND, offset=7 * MINUTE, grace=0))
    assert MIDNIGHT + HOUR + 7 * MINUTE == world.scheduler.next_start("a")
    world.pass_time(3600 + 6 * 60, scheduler=False)
    world.boot()
    world.pass_time(3 * 60)
    assert ([("a@1", MIDNIGHT + HOUR + 7 * MINUTE)], ["01:00"]) == (world.launched, world.covered("a"))


def test_spread_is_judged_by_its_own_lateness() -> None:
    """What is missed or caught up counts from the start that was planned."""
    world = World(job("a", "0 * * * *", offset=30 * MINUTE, spread=HOUR, catch_up="none", grace=MINUTE))
    world.pass_time(3600 + 32 * 60, scheduler=False)
    world.boot()
    assert ["01:00 missed"] == world.covered("a")


def test_a_large_step_skips_the_due_time_not_the_start() -> None:
    """A correction of the clock skips the occurrence under its nominal due time."""
    world = World(job("a", "0 1 * * *", offset=30 * MINUTE, spread=HOUR))
    world.step_clock(4 * 3600)
    assert ["01:00 clock"] == world.covered("a")


# ── pause ──


def test_what_comes_due_while_paused_is_skipped() -> None:
    """A paused job's occurrences are skipped under one record, over a restart too; resume fires nothing."""
    world = World(job("a", "0 * * * *"))
    world.pause("a")
    world.pass_time(2 * 3600)
    world.pass_time(2 * 3600, scheduler=False)
    world.boot()
    world.pause("a", pause=False)
    assert (["01:00…04:00 paused ×4"], []) == (world.covered("a"), world.launched)
    world.pass_time(3600)
    assert ["01:00…04:00 paused ×4", "05:00"] == world.covered("a")


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ({"max_waiting": 1}, ("a@3", "a@3", "queue_full", 27, 27)),
        ({"overlap": Overlap.SKIP}, ("a@4", "a@4", "overlap", 26, 26)),
        ({"start_deadline": MINUTE}, ("a@3", "a@28", "start_deadline", 26, 1)),
    ],
    ids=str,
)
def test_skips_after_a_long_downtime_are_one_line(how: dict[str, Any], expected: tuple[Any, ...]) -> None:
    """Those of one job for one reason, whether they share a record or not, with the first and the last due time."""
    world = World(job("a", "*/5 * * * *", catch_up=CatchUp.ALL, **how), seconds={"a": 1000})
    world.pass_time(700)
    world.said.clear()
    world.reboot(8000)
    world.pass_time(1)
    (line,) = [say.fields for say in world.said if say.event == "run_skipped"]
    assert expected == tuple(line[name] for name in ("first_run", "run", "reason", "times", "count"))
    assert (expected[3] - 1) * 5 * MINUTE == line["due"] - line["first"]


def test_a_paused_job_is_not_run_by_hand() -> None:
    """Somebody who asks is told, and the skip has a record."""
    world = World(job("a"))
    world.pause("a")
    reply = world.run("a")
    assert ("Refused", "a@1 was skipped: paused") == (reply.error, reply.value["reason"])


def test_pause_holds_what_waits_and_leaves_what_is_live() -> None:
    """Live runs go on; waiting ones stay, in their order, also over a restart, until they are resumed."""
    world = World(job("a", max_waiting=5), job("b"), max_running=1, seconds={"a": 10, "b": 5})
    for ticket, name in enumerate(["a", "a", "a", "b"]):
        world.run(name, ticket)
    world.pause("a")
    assert ["job a is paused; to resume: jobqueuectl resume a"] == world.why(RunId("a", 2))
    world.pass_time(60)
    world.boot()
    world.pass_time(60)
    assert ["a@1", "b@1"] == [run for run, _ in world.launched]
    assert {"a@2": "due", "a@3": "due"}.items() <= world.states().items()
    world.pause("a", pause=False)
    world.pass_time(60)
    assert ["a@1", "b@1", "a@2", "a@3"] == [run for run, _ in world.launched]


def test_a_start_that_failed_stays_held_while_paused() -> None:
    """A run that comes back from the launcher to a paused job is held too."""
    world = World(job("a"))
    world.run("a")
    world.pause("a")
    [name] = world.processes
    world.processes.clear()
    world.happen(unstarted(Name(*name), "fork: no"))
    world.pass_time(3600)
    assert ({"a@1": "due"}, 1) == (world.states(), len(world.launched))
    world.pause("a", pause=False)
    world.pass_time(60)
    assert {"a@1": "succeeded"} == world.states()


@pytest.mark.parametrize("pause", [True, False])
def test_pausing_twice_changes_nothing(pause: bool) -> None:
    """Whoever asks for what is so already gets the same answer, and nothing is said."""
    world = World(job("a"))
    world.pause("a", pause=True)
    world.pause("a", pause=pause)
    said = len(world.said)
    again = world.pause("a", pause=pause, ticket=2)
    resumed = {"was_paused": False, "enabled": True, "invalid": None, "file": "jobs.yaml"}
    assert ({} if pause else resumed, None) == (again.value, again.error)
    unknown = world.pause("b", ticket=3)
    assert ("NoSuchJob", {"job": "b"}, said) == (unknown.error, unknown.value, len(world.said))


def test_a_pause_ends_by_itself() -> None:
    """What waits for it starts at that instant, also of a job without a clock."""
    world = World(job("hog"), job("a"), seconds={"hog": 60}, max_running=1)
    world.run("hog")
    world.run("a")
    world.pause("a", until=world.now.wall + HOUR)
    world.pass_time(2 * 3600)
    assert [("hog@1", MIDNIGHT), ("a@1", MIDNIGHT + HOUR)] == world.launched


def test_a_removed_job_stays_paused() -> None:
    """The pause of an id outlives its removal."""
    world = World(job("a", "0 * * * *"))
    world.pause("a")
    world.write("jobs.yaml")
    world.write("jobs.yaml", job("a", "0 * * * *"))
    world.pass_time(3600)
    assert (["01:00 paused"], []) == (world.covered("a"), world.launched)


# ── invalid ──


def test_a_job_of_an_unknown_user_is_invalid_alone() -> None:
    """The job does not run, which its record says; its neighbours in the file do."""
    world = World(job("a", "0 * * * *", user="alice"), job("b", "0 * * * *"))
    assert ["alice"] == world.looked_up
    world.happen(events.AccountKnown(Account("user", "alice"), "no user"))
    assert ["job_invalid"] == [say.event for say in world.said if say.event.startswith("job_")]
    assert "no user" == world.scheduler.invalid(world.scheduler.catalog["a"])
    world.pass_time(3660)
    assert (["alice", "alice"], {"a@1": "due", "b@1": "succeeded"}) == (world.looked_up, world.states())
    world.happen(events.AccountKnown(Account("user", "alice"), "no user"))
    assert (["01:00 invalid: no user"], 1) == (world.covered("a"), len(world.launched))


def test_an_invalid_job_is_judged_anew_when_it_is_due() -> None:
    """A user that came to be after the load costs no occurrence."""
    world = World(job("a", "0 * * * *", user="alice"))
    world.happen(events.AccountKnown(Account("user", "alice"), "no user"))
    world.pass_time(3600)
    [run] = world.scheduler.runs
    assert ["job a was invalid (no user); user alice is being looked up"] == world.why(run)
    world.happen(events.AccountKnown(Account("user", "alice"), ""))
    world.pass_time(60)
    assert {"a@1": "succeeded"} == world.states()
    assert ["job_invalid", "job_valid"] == [say.event for say in world.said if say.event.startswith("job_")]


def test_an_answer_that_is_no_news_costs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each file has its users looked up: of a thousand tables of root's not each answer is about all jobs."""
    world, root = World(job("a", "0 * * * *"), job("b", "0 * * * *")), Account("user", "alice")
    world.happen(events.AccountKnown(root, ""))

    def all_of_them(*_: object) -> None:
        raise AssertionError("all jobs are looked at")

    with monkeypatch.context() as patch:
        patch.setattr(type(world.scheduler.catalog), "of_account", all_of_them)
        world.happen(events.AccountKnown(root, ""))
    world.happen(events.AccountKnown(root, "no user"))


def test_a_run_of_an_invalid_job_is_refused() -> None:
    """Whoever asks for it is told why it does not run; as its user may be there by now, that is looked up anew."""
    world = World(job("a", user="alice"))
    alice = Account("user", "alice")
    world.happen(events.AccountKnown(alice, "no user"))
    reply = world.run("a", 1)
    assert ("Refused", True) == (reply.error, reply.value["reason"].startswith("a@1 was skipped: invalid: no user; "))
    assert ["alice", "alice"] == world.looked_up
    world.happen(events.AccountKnown(alice, ""))
    assert {"run": "a@2"} == world.run("a", 2).value


def test_what_waits_for_an_invalid_job_never_runs() -> None:
    """When the user goes, runs that have not started are skipped with the reason, live ones go on."""
    world = World(job("a", user="alice", max_waiting=5), max_running=1, seconds={"a": 10})
    world.happen(events.AccountKnown(Account("user", "alice"), ""))
    for ticket in range(3):
        world.run("a", ticket)
    world.happen(events.Reloaded(), events.AccountKnown(Account("user", "alice"), "no user"))
    world.pass_time(60)
    assert {"a@1": "succeeded", "a@2": "skipped", "a@3": "skipped"} == world.states()


def test_each_load_and_reload_asks_again() -> None:
    """Every file that is read, and a reload, ask for each user once."""
    world = World(job("a", user="alice"), job("b", user="alice"), job("c", user="bob"))
    assert ["alice", "bob"] == world.looked_up
    world.happen(events.Reloaded())
    world.write("jobs.yaml", job("a", user="alice"))
    assert ["alice", "bob", "alice", "bob", "alice"] == world.looked_up
    world.happen(events.AccountKnown(Account("user", "nobody-asks"), "no user"))
    assert [] == [say for say in world.said if say.event == "job_invalid"]


def test_a_group_is_looked_up_as_a_user_is() -> None:
    """A job of which one group is missing is invalid, however its user and the other groups are, until it is there."""
    world = World(job("a", "0 * * * *", user="alice", group="staff", groups=("tape", "adm")))
    assert ["alice", "staff", "tape", "adm"] == world.looked_up
    tape = Account("group", "tape")
    for account in accounts(world.scheduler.catalog["a"]):
        world.happen(events.AccountKnown(account, "no group 'tape'" if account == tape else ""))
    assert "no group 'tape'" == world.scheduler.invalid(world.scheduler.catalog["a"])
    world.pass_time(3600)
    [run] = world.scheduler.runs
    assert ["job a was invalid (no group 'tape'); group tape is being looked up"] == world.why(run)
    world.happen(events.AccountKnown(tape, "no group 'tape'"))
    assert ["01:00 invalid: no group 'tape'"] == world.covered("a")
    world.pass_time(3600)
    world.happen(events.AccountKnown(tape, ""))
    world.pass_time(60)
    assert {"a@2": "succeeded"} == {run: state for run, state in world.states().items() if run != "a@1"}
    assert ["job_invalid", "job_valid"] == [say.event for say in world.said if say.event.startswith("job_")]


def test_a_job_is_valid_once_nothing_is_wrong_with_it() -> None:
    """With its user missing and what it depends on, it is said to be valid when both are there, and not before."""
    world = World(job("a", user="alice", dependencies=("b",)))
    alice = Account("user", "alice")
    world.happen(events.AccountKnown(alice, "no user"), events.AccountKnown(alice, ""))
    assert "job_valid" not in [say.event for say in world.said]
    world.happen(events.AccountKnown(alice, "no user"))
    world.write("b.yaml", job("b", file="b.yaml"))
    assert "job_valid" not in [say.event for say in world.said]
    assert "no user" == world.scheduler.invalid(world.scheduler.catalog["a"])
    world.happen(events.AccountKnown(alice, ""))
    assert "job_valid" == [say.event for say in world.said][-1]


def test_schedules_of_a_job_that_are_due_together_are_one_occurrence() -> None:
    """Two expressions that match the same instant make one run."""
    both = job("a", "0 1 * * *")
    world = World(replace(both, triggers=(*both.triggers, Schedule("0 * * * *", "UTC", "a"))))
    world.pass_time(2 * 3600)
    assert ["01:00", "02:00"] == world.covered("a")


def test_runs_wait_until_their_user_is_known() -> None:
    """After a start nothing runs as a user that nobody has looked up yet; so no run fails for want of a user."""
    world = World(job("a", "0 * * * *", user="alice"))
    world.pass_time(3660)
    [run] = world.scheduler.runs
    assert ["user alice is being looked up"] == world.why(run)
    world.happen(events.AccountKnown(Account("user", "alice"), ""))
    world.pass_time(60)
    assert {"a@1": "succeeded"} == world.states()
    assert [] == [say for say in world.said if say.event in ("job_invalid", "job_valid")]


# ── the clock comes first ──


def late(world: World, seconds: float) -> None:
    """Time passes and the scheduler has not looked yet."""
    world.pass_time(seconds, scheduler=False)


def test_what_was_due_before_an_edit_is_the_old_jobs() -> None:
    """An edit that is read in the turn in which an occurrence is due does not swallow it."""
    world = World(job("a", "0 * * * *"))
    late(world, 3601)
    world.write("jobs.yaml", job("a", "30 * * * *"))
    world.pass_time(1900)
    assert ["01:00", "01:30"] == world.covered("a")


def test_what_was_due_before_a_removal_has_a_record() -> None:
    """The same for a removal, which then skips the run."""
    world = World(job("a", "0 * * * *"))
    late(world, 3601)
    world.write("jobs.yaml")
    assert ["01:00 job_removed"] == world.covered("a")


def test_what_came_due_while_paused_is_not_started_by_resume() -> None:
    """What is due in the turn of the resume was due while paused."""
    world = World(job("a", "0 * * * *"))
    world.pause("a")
    late(world, 3601)
    world.pause("a", pause=False)
    world.pass_time(60)
    assert ["01:00 paused"] == world.covered("a")


@pytest.mark.parametrize(("jobs", "reason"), [((job("a", "30 * * * *"),), "edited"), ((), "job_removed")])
def test_what_spread_has_put_off_has_a_record(jobs: tuple[Job, ...], reason: str) -> None:
    """An occurrence between its due time and its start, when its job is edited or removed, is a skip."""
    world = World(job("a", "0 * * * *", offset=10 * MINUTE, spread=HOUR))
    world.pass_time(3660)
    world.write("jobs.yaml", *jobs)
    assert [f"01:00 {reason}"] == world.covered("a")


@pytest.mark.parametrize("away", [(), "disabled"])
def test_at_has_one_record(away: tuple[Job, ...] | str) -> None:
    """An `at` that ran is not skipped as past when the job was removed or disabled and comes back."""
    world = World(at(MIDNIGHT + HOUR))
    world.pass_time(7200)
    world.write("jobs.yaml", *([replace(at(MIDNIGHT + HOUR), enabled=False)] if away else []))
    world.pass_time(60)
    world.write("jobs.yaml", at(MIDNIGHT + HOUR))
    assert ["01:00"] == world.covered("once")


def test_edits_leave_nothing_behind() -> None:
    """However often a job is edited, the clock keeps one entry."""
    world = World(job("a", "0 0 1 1 *"))
    for priority in range(1000):
        world.write("jobs.yaml", job("a", "0 0 1 1 *", priority=priority))
    assert len(world.scheduler._state.due_times._heap) < 100


def test_a_job_that_moves_to_another_file() -> None:
    """What its clock has made due before is the old one's, and is not lost."""
    world = World(job("a", "0 * * * *", offset=MINUTE))
    late(world, 3661)
    world.happen(events.JobsRead("more.yaml", (job("a", "0 * * * *", file="more.yaml", offset=MINUTE, priority=1),)))
    assert (["01:00"], 1) == (world.covered("a"), world.scheduler.catalog["a"].priority)
    late(world, 3550)
    world.happen(events.JobsRead("yet.yaml", (job("a", "30 * * * *", file="yet.yaml"),)))
    assert ["01:00", "02:00 edited"] == world.covered("a")


def test_a_name_that_a_submission_has() -> None:
    """The file's job is invalid, which is said with its place, and the submission goes on."""
    world = World(seconds={"host/x": HOUR})
    world.submit(submission("host/x"))
    world.write("jobs.yaml", job("host/x", line=7), job("b", line=9))
    reason = "a submission uses this name; save the file again after the submission ends"
    told = {"job": "host/x", "reason": reason, "file": "jobs.yaml", "line": 7}
    assert [Say("job_invalid", told), Say("jobs_read", {"file": "jobs.yaml", "added": 1})] == world.did
    assert ["host/x", "b"] == [known.id for known in world.scheduler.catalog]


def test_it_stays_known_which_jobs_there_are() -> None:
    """A later listing that misses a file takes back nothing of what an earlier one has told."""
    world = World()
    world.happen(events.JobsLoaded(complete=False))
    assert world.scheduler.is_nowhere("a")


@pytest.mark.parametrize("complete", [True, False])
def test_whose_history_is_gone(complete: bool) -> None:
    """Nothing is kept of a job that nobody has, counts on, or has a run of, once it is known which jobs there are."""
    world = World(job("expected", expect=HOUR), job("live"), job("gone"), job("kept"), seconds={"live": 9e9})
    for ticket, name in enumerate(("expected", "live", "gone", "kept")):
        world.run(name, ticket)
    world.pass_time(5)
    world.write("jobs.yaml", job("kept"))
    if not complete:
        world.restore()
    found = world.scheduler._state.found
    found |= {"gone": {}, "kept": {}}
    for name in ("expected", "live", "gone", "kept", "unknown"):
        world.happen(events.HistoryGone(name))
    assert {"expected", "live", "kept", *["gone"] * (not complete)} == set(world.memories)
    known = world.scheduler._state.jobs
    assert ("gone" in known, "unknown" in known) == (not complete, False)
    assert ("gone" in found, "kept" in found) == (not complete, True)


def test_no_news_of_an_account() -> None:
    """It counts for what is due and waits for that account, and for nobody else."""
    alice = Account("user", "alice")
    world = World(job("a", "0 * * * *", user="alice"), job("b", "0 * * * *", user="bob"), job("c"), seconds={"c": 9e9})
    world.run("c")
    for user in ("alice", "bob"):
        world.happen(events.AccountKnown(Account("user", user), f"no {user}"))
    world.pass_time(3600)
    assert {"c@1": "starting", "a@1": "due", "b@1": "due"} == world.states()
    world.happen(events.AccountKnown(alice, "no alice"))
    assert {"c@1": "starting", "a@1": "skipped", "b@1": "due"} == world.states()
    world.happen(events.AccountKnown(Account("user", "bob"), ""))
    assert [Say("job_valid", {"job": "b"})] == world.did[:1]
    world.scheduler.handle(events.AccountKnown(Account("user", "bob"), ""), world.now)
    assert not world.scheduler._state.agenda, "b has no run that is due"


def test_no_news_of_an_account_while_files_are_read() -> None:
    """A run of a job that no file has yet waits for that."""
    alice = Account("user", "alice")
    world = World(job("a", user="alice"))
    world.run("a")
    world.restore()
    world.happen(events.AccountKnown(alice, "no user"), events.AccountKnown(alice, "no user"))
    assert {"a@1": "due"} == {str(run.id): str(run.state) for run in world.scheduler.runs.values()}
    world.happen(events.JobsRead("jobs.yaml", world.files["jobs.yaml"]), events.JobsLoaded(complete=True))
    assert {"a@1": "due"} == world.states()


def test_what_a_pause_tells() -> None:
    """Whoever pauses is answered, whoever resumes is told what else keeps the job from running."""
    world = World(job("a", dependencies=("nobody",), enabled=False))
    asks = [
        (True, None, [Say("job_paused", {"job": "a", "asked_by": "root", "until": None})]),
        (True, None, []),
        (True, 9 * HOUR, [Say("job_paused", {"job": "a", "asked_by": "root", "until": 9 * HOUR})]),
        (False, None, [Say("job_resumed", {"job": "a", "asked_by": "root"})]),
        (False, None, []),
    ]
    was_paused = False
    for pause, until, said in asks:
        world.pause("a", pause=pause, until=until)
        unknown = "it depends on job nobody, which does not exist"
        standing = {"was_paused": was_paused, "enabled": False, "invalid": unknown, "file": "jobs.yaml"}
        asked = f"the {'pause' if pause else 'resumption'} of a by root"
        assert [*said, Reply(1, {} if pause else standing, asked=asked)] == world.did
        was_paused = pause
    world.write("jobs.yaml", job("a"))
    world.pause("a", pause=False)
    assert {"was_paused": False, "enabled": True, "invalid": None, "file": "jobs.yaml"} == world.replies[1].value


def test_what_waits_keeps_its_order_in_a_pause() -> None:
    """The oldest is the first afterwards."""
    world = World(job("a", concurrency=2), job("hog"), max_running=1, seconds={"hog": HOUR})
    for ticket, name in enumerate(("hog", "a", "a", "a")):
        world.run(name, ticket)
    assert ["a@1", "a@2"] == list(map(str, world.scheduler["a"].waiting))
    world.pause("a")
    assert ["a@1", "a@2", "a@3"] == list(map(str, world.scheduler["a"].due))


def test_who_depends_on_what_is_paused() -> None:
    """It is looked at at once."""
    world = World(job("d", "0 * * * *"), job("a", "0 * * * *", dependencies=("d",)), seconds={"d": 9e9}, max_running=1)
    world.write("more.yaml", job("hog", priority=9))
    world.seconds["hog"] = 9e9
    world.run("hog")
    world.pass_time(3600)
    assert {"d@1": "waiting", "a@1": "due"}.items() <= world.states().items()
    world.pause("d")
    assert ("skipped", "dependency d: it is paused") == (world.states()["a@1"], world.rows[RunId("a", 1)][0].reason)


def test_a_skip_of_what_is_due_by_now() -> None:
    """What has come due already runs; the one after it is skipped, and forgotten once it has been."""
    world = World(job("a", "0 * * * *"))
    late(world, 3600)
    world.happen(events.SkipAsked(1, "a", "root"))
    assert "02:00" == world.replies[1].value["due"][11:16]
    world.pass_time(2 * 3600 + 1)
    assert ["01:00", "02:00 skip_next", "03:00"] == world.covered("a")
    assert () == world.memories["a"].skips


def test_who_asked_for_a_skip_is_in_its_record() -> None:
    """Each asker has a record of his own, also after a restart and after one of the skips was undone."""
    world = World(job("a", "0 * * * *"))
    for ticket, user in enumerate(("root", "root", "uid 7", "uid 8")):
        world.happen(events.SkipAsked(ticket, "a", user))
    world.happen(events.SkipAsked(9, "a", "root", undo=True))
    world.boot()
    world.pass_time(4 * 3600 + 1)
    skips = [world.rows[RunId("a", number)] for number in (1, 2)]
    found = [(run.asked_by, run.count, run.trigger, record and record["asked_by"]) for run, record in skips]
    assert [("root", 2, "schedule", "root"), ("uid 7", 1, "schedule", "uid 7")] == found
    assert (None, "a@3") == (world.rows[RunId("a", 3)][0].asked_by, str(max(world.rows)))


def test_a_skip_of_the_only_start() -> None:
    """Asked again there is no further one."""
    world = World(at(MIDNIGHT + HOUR))
    world.happen(events.SkipAsked(1, "once", "root"))
    assert (
        Reply(
            1, {"due": "2026-03-02T01:00:00.000000Z", "next": None, "timezone": "UTC"}, asked="the skip of once by root"
        )
        == world.did[-1]
    )
    world.happen(events.SkipAsked(2, "once", "root"))
    assert [Reply(2, {"reason": "once has no scheduled start"}, "Refused")] == world.did
    world.happen(events.SkipAsked(3, "once", "eve", undo=True))
    undone = {"job": "once", "asked_by": "eve", "due": MIDNIGHT + HOUR}
    assert [Say("skips_not", undone), "the undone skip of once by eve"] == [world.did[0], world.replies[3].asked]


def test_an_edit_of_what_is_completed() -> None:
    """It has no rhythm, nor after the edit; a clock that was ahead is said with the job."""
    world = World(job("a", "0 * * * *", max_runs=1))
    world.pass_time(3700)
    assert "" == world.memories["a"].rhythm
    world.write("jobs.yaml", job("a", "30 * * * *", max_runs=1))
    assert ("", None) == (world.memories["a"].rhythm, world.scheduler.next_start("a"))
    world.memories["a"] = replace(world.memories["a"], cursor=world.now.wall + 9 * HOUR)
    world.boot()
    assert Say("clock_was_ahead", {"job": "a", "seconds": 9 * 3600.0}) in world.said


def test_an_edit_of_what_waits() -> None:
    """It keeps its place and what it has waited for; a run by hand is not held back by dependencies, nor a retry."""
    retry, by_hand = job("r", "0 0 * * *", retries=1, retry_delay=0), job("a", "0 12 * * *", concurrency=2)
    world = World(
        by_hand, job("hog", priority=9), retry, max_running=1, seconds={"hog": 60, "r": 1, "a": HOUR // SECOND}
    )
    world.ends["r"] = ["failed 1"]
    world.pass_time(24 * 3600 + 0.5)
    world.run("hog")
    world.pass_time(1)
    world.run("a", 2)
    world.run("a", 3)
    runs = [RunId(name, number) for name, number in (("r", 1), ("a", 2), ("a", 3))]
    assert ["waiting"] * 3 == [world.scheduler.runs[run].state for run in runs]
    before = [world.scheduler.runs[run] for run in runs]
    world.pass_time(10)
    world.write("jobs.yaml", *(replace(it, dependencies=("hog",)) for it in (by_hand, retry)), job("hog", priority=9))
    assert before == [world.scheduler.runs[run] for run in runs]
    world.pass_time(60)
    assert ["max_running"] == world.marks.specs[runs[1], 1].record["waited_for"]


def test_what_was_put_off_of_a_job_that_goes() -> None:
    """All of it has a record, and its clock stands behind the last."""
    world = World(job("a", "* * * * *", offset=150 * SECOND, spread=HOUR))
    world.pass_time(5 * 60)
    covered = len(world.covered("a"))
    world.write("jobs.yaml")
    assert ["00:03…00:05 job_removed ×3"] == world.covered("a")[covered:]
    assert MIDNIGHT + 5 * MINUTE == world.memories["a"].cursor
