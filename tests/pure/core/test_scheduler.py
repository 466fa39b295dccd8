"""The pure core in a faked world: who runs when, and that nothing is lost or doubled whatever happens."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobqueued.base.instants import HOUR, MINUTE, SECOND, to_datetime, to_text
from jobqueued.core.records.host_limits import HostLimits
from jobqueued.core.runs.retries import NextAttempt, another
from jobqueued.core.scheduler import LAUNCHES_A_TURN, Scheduler
from jobqueued.jobfile.reader import read_jobs
from jobqueued.model import events
from jobqueued.model.accounts import Account
from jobqueued.model.commands import Save
from jobqueued.model.job import CatchUp, Claim, Now, On
from jobqueued.model.run import LockClientId, Run, RunId
from jobqueued.model.run_states import RunState
from jobqueued.model.saved import Hold, JobStats, SavedJob
from jobqueued.runs.launcher_link import unstarted
from jobqueued.runs.run_directory import Name
from jobqueued.timing.schedule import At
from tests.support.world import MIDNIGHT, World, ended, job


def times(world: World) -> list[str]:
    """Who was launched, at which clock time."""
    return [f"{to_text(at)[11:19]} {run}" for run, at in world.launched]


def test_a_job_starts_on_its_second() -> None:
    """A clock job is launched at its due instants and at no other."""
    world = World(job("a", "*/20 * * * *"))
    world.pass_time(3600)
    assert times(world) == ["00:20:00 a@1", "00:40:00 a@2", "01:00:00 a@3"]


def test_priority_decides_who_goes_first() -> None:
    """With one slot, the higher priority goes first, then the order of arrival."""
    jobs = [job("low", "0 1 * * *", priority=-5), job("mid", "0 1 * * *"), job("high", "0 1 * * *", priority=7)]
    world = World(*jobs, max_running=1)
    world.pass_time(2 * 3600)
    assert times(world) == ["01:00:00 high@1", "01:00:01 mid@1", "01:00:02 low@1"]


def test_priority_decides_among_many() -> None:
    """However many are due at once, the highest priority goes first, with one slot or with as many as are due."""
    jobs = [job(f"j{number:03}", "0 1 * * *", priority=number) for number in range(300)]
    locked = [replace(known, locks=(Claim("tape", exclusive=True),)) for known in jobs[:100]]
    for some, options in ((jobs, {"max_running": 1}), (jobs, {}), (locked, {})):
        world = World(*some, **options)
        world.pass_time(4000)
        assert [run for run, _ in world.launched] == [f"{known.id}@1" for known in reversed(some)]


def test_due_time_breaks_ties() -> None:
    """Among equals the one due earlier goes first."""
    world = World(
        job("b", "1 1 * * *"), job("a", "2 1 * * *"), job("hog", "0 1 * * *"), seconds={"hog": 600}, max_running=1
    )
    world.pass_time(2 * 3600)
    assert times(world) == ["01:00:00 hog@1", "01:10:00 b@1", "01:10:01 a@1"]


def test_max_running_holds() -> None:
    """No more runs are live than `max_running` allows, and each start waits for an end."""
    world = World(*(job(f"j{i}", "0 1 * * *") for i in range(5)), max_running=2)
    world.pass_time(3600)
    assert len(world.processes) == 2
    world.pass_time(3600)
    assert [t[:8] for t in times(world)] == ["01:00:00", "01:00:00", "01:00:01", "01:00:01", "01:00:02"]


def test_concurrency_holds_and_the_next_waits() -> None:
    """A job due while it runs is held until the run ends; one more due time is skipped, with a record."""
    world = World(job("a", "*/10 * * * *"), seconds={"a": 25 * 60})
    world.pass_time(3600)
    assert times(world) == ["00:10:00 a@1", "00:35:00 a@2", "01:00:00 a@4"]
    assert world.covered("a") == ["00:10", "00:20", "00:30 queue_full", "00:40", "00:50 queue_full", "01:00"]


def test_concurrency_of_two() -> None:
    """`concurrency: 2` lets two runs of a job live at once, not three."""
    world = World(job("a", "*/10 * * * *", concurrency=2), seconds={"a": 25 * 60})
    world.pass_time(1800)
    assert [to_text(at)[11:16] for _, at in world.launched] == ["00:10", "00:20"]


def test_consecutive_skips_share_one_record() -> None:
    """Skips of one job for one reason in a row are one record with first, last and count."""
    world = World(job("a", "*/5 * * * *"), seconds={"a": 3600})
    world.pass_time(50 * 60)
    assert world.covered("a") == ["00:05", "00:10", "00:15…00:50 queue_full ×8"]
    record = world.rows[RunId("a", 3)][1]
    assert record is not None
    assert (record["first_due"][11:16], record["last_due"][11:16], record["count"]) == ("00:15", "00:50", 8)


def test_a_restart_goes_on_with_the_shared_skip() -> None:
    """The shared skip record is continued, not begun anew, by the next scheduler."""
    world = World(job("a", "*/5 * * * *"), seconds={"a": 3600})
    world.pass_time(20 * 60)
    world.boot()
    world.pass_time(20 * 60)
    assert world.covered("a") == ["00:05", "00:10", "00:15…00:40 queue_full ×6"]


@pytest.mark.parametrize(
    ("policy", "minutes", "covered"),
    [
        (CatchUp.NONE, 58, ["00:10…00:50 missed ×5"]),
        (CatchUp.NONE, 60, ["00:10…00:50 missed ×5", "01:00"]),
        (CatchUp.LATEST, 58, ["00:10…00:40 missed ×4", "00:50"]),
        (CatchUp.LATEST, 60, ["00:10…00:50 missed ×5", "01:00"]),
        (CatchUp.ALL, 58, ["00:10", "00:20", "00:30", "00:40", "00:50"]),
    ],
)
def test_catch_up_after_downtime(policy: CatchUp, minutes: int, covered: list[str]) -> None:
    """What came due while the daemon was down runs, or is recorded as missed, by `catch_up`; `grace` runs anyway."""
    world = World(job("a", "*/10 * * * *", catch_up=policy))
    world.pass_time(minutes * 60, scheduler=False)
    world.boot()
    assert world.covered("a") == covered


def test_catch_up_window() -> None:
    """Nothing older than `catch_up_window` is caught up."""
    world = World(job("a", "0 * * * *", catch_up=CatchUp.ALL, catch_up_window=2 * HOUR))
    world.pass_time(5.5 * 3600, scheduler=False)
    world.boot()
    assert world.covered("a") == ["01:00…03:00 missed ×3", "04:00", "05:00"]


def test_a_year_of_downtime_keeps_turns_short_and_covers_every_instant() -> None:
    """Half a million missed instants are taken in slices; each is counted in the one record."""
    world = World(job("a", "* * * * *"))
    world.pass_time(365 * 86400 + 90, scheduler=False)
    world.boot()
    world.pass_time(0)
    runs = [run for run, _ in world.rows.values()]
    assert sum(run.count for run in runs) == 365 * 1440 + 1
    assert [run.state for run in runs if run.state != "skipped"] == ["starting"]


def test_a_reload_fires_nothing() -> None:
    """Reading an edited file starts no run, whatever its schedule; it counts strictly from now."""
    world = World(job("a", "0 1 * * *"))
    world.pass_time(2 * 3600)
    world.write("jobs.yaml", job("a", "30 1 * * *"))
    world.write("jobs.yaml", job("a", "0 2 * * *"))
    assert times(world) == ["01:00:00 a@1"]
    world.pass_time(86400)
    assert times(world) == ["01:00:00 a@1", "02:00:00 a@2"]


def test_an_edit_while_down_counts_from_now() -> None:
    """A schedule edited while the daemon was down catches nothing up: its cursor was another rhythm's."""
    world = World(job("a", "0 1 * * *"))
    world.pass_time(3 * 3600, scheduler=False)
    world.files["jobs.yaml"] = (job("a", "30 1 * * *"),)
    world.boot()
    assert world.covered("a") == []


def test_an_edited_priority_reorders_the_queue() -> None:
    """Until its launch a run follows the newest definition."""
    jobs = [job("hog", "0 1 * * *", priority=9), job("a", "0 1 * * *", priority=1), job("b", "0 1 * * *")]
    world = World(*jobs, seconds={"hog": 60}, max_running=1)
    world.pass_time(3601)
    world.write("jobs.yaml", jobs[0], jobs[1], job("b", "0 1 * * *", priority=2))
    world.pass_time(3600)
    assert [run for run, _ in world.launched] == ["hog@1", "b@1", "a@1"]


def test_a_removed_job_leaves_no_run_waiting() -> None:
    """Unstarted runs of a removed job are skipped, live ones go on, and its numbers are never used again."""
    world = World(job("a", "*/10 * * * *"), seconds={"a": 3600})
    world.pass_time(20 * 60)
    world.write("jobs.yaml")
    assert world.states() == {"a@1": "starting", "a@2": "skipped"}
    world.pass_time(3600)
    assert world.states()["a@1"] == "succeeded"
    world.write("jobs.yaml", job("a"))
    assert world.run("a").value == {"run": "a@3"}


def test_a_job_removed_while_down_leaves_no_run_waiting() -> None:
    """A run that waits for a job which is in no file any more is skipped at start, not kept for ever."""
    world = World(job("a", "*/10 * * * *"), seconds={"a": 3600})
    world.pass_time(20 * 60)
    world.files["jobs.yaml"] = ()
    world.boot()
    assert world.states() == {"a@1": "running", "a@2": "skipped"}


def test_a_disabled_job_runs_by_hand_only() -> None:
    """`enabled: false` silences the clock; enabling it again counts from then."""
    world = World(job("a", "*/10 * * * *", enabled=False))
    world.pass_time(3600)
    assert world.run("a").value == {"run": "a@1"}
    world.write("jobs.yaml", job("a", "*/10 * * * *"))
    world.pass_time(600)
    assert world.covered("a") == ["01:00", "01:10"]


def test_asking_for_an_unknown_job() -> None:
    """An asker of a job that does not exist is told so."""
    reply = World().run("nix")
    assert (reply.error, reply.value) == ("NoSuchJob", {"job": "nix"})


def test_asking_for_too_many_runs() -> None:
    """Beyond `max_waiting` a request is refused, with a record, not queued for ever."""
    world = World(job("a", max_waiting=2))
    assert [world.run("a", ticket).error for ticket in range(1, 5)] == [None, None, None, "Refused"]
    assert world.states()["a@4"] == "skipped"


def test_never_started_is_sent_again_under_the_same_name() -> None:
    """An attempt that certainly never started is sent again at once, and counts once."""
    world = World(job("a", "0 1 * * *"))
    world.pass_time(3600)
    world.processes.clear()
    world.happen(events.NeverStarted(RunId("a", 1), 1))
    assert times(world) == ["01:00:00 a@1", "01:00:00 a@1"]
    assert world.rows[RunId("a", 1)][0].attempt == 1


def test_who_waits_to_see_whether_the_last_of_its_runs_starts_goes_when_it_does_not() -> None:
    """A run that `max_runs` held back while another was about to start takes its turn when that one fails to."""
    world = World(job("a", max_runs=1, concurrency=2))
    world.run("a", 1)
    world.run("a", 2)
    assert ["max_runs 1 might be used up by runs that are about to start"] == world.why("a@2")
    assert [(MIDNIGHT, "max_runs")] == [*world.rows[RunId("a", 2)][0].waits]
    world.processes.clear()
    world.happen(unstarted(Name(RunId("a", 1), 1), "fork: Cannot allocate memory"))
    assert "a@2" == world.launched[-1][0]


def test_who_holds_a_lock() -> None:
    """All who hold it, for as long as they do."""
    world = World(job("a", locks=(Claim("tape"),)), job("b", locks=(Claim("tape"),)), seconds={"a": 10, "b": 20})
    world.run("a")
    world.run("b", 2)
    assert {RunId("a", 1), RunId("b", 1)} == set(world.scheduler.holders("tape"))
    world.pass_time(15)
    assert [RunId("b", 1)] == world.scheduler.holders("tape")


def test_who_was_in_the_queue_as_the_last_of_its_runs_was_about_to_start() -> None:
    """Each that is taken out of it then says what holds it back, and since when."""
    world = World(job("a", "* * * * *", max_runs=1, catch_up=CatchUp.ALL, max_waiting=9, concurrency=3))
    world.pass_time(1)
    world.pass_time(300, scheduler=False)
    world.boot()
    held_back = [[*world.scheduler.runs[RunId("a", number)].waits] for number in (2, 3)]
    assert 2 * [[(world.now.wall, "max_runs")]] == held_back


def test_trouble_of_the_system_backs_off() -> None:
    """A start that fails by the host's fault is tried again after 1, 2, 4 … s, and blocks nobody else meanwhile."""
    world = World(job("a", "0 1 * * *", priority=1), job("b", "1 1 * * *"), max_running=1)
    world.pass_time(3600)
    for _ in range(7):
        world.processes.clear()
        world.happen(unstarted(Name(RunId("a", 1), 1), "fork: Cannot allocate memory"))
        world.pass_time(0)
        launches = len(world.launched)
        while len(world.launched) == launches or world.launched[-1][0] == "b@1":
            world.pass_time(1)
    assert [t for t in times(world) if "a@1" in t] == [
        f"01:{m:02}:{s:02} a@1" for m, s in [(0, 0), (0, 1), (0, 3), (0, 7), (0, 15), (0, 31), (1, 3), (2, 3)]
    ]
    assert "01:01:00 b@1" in times(world)


def test_a_lost_run_is_not_started_again() -> None:
    """A run whose supervisor died may have run: it ends as lost, with what is known, and frees its claims."""
    world = World(job("a", "0 1 * * *"), job("b", "0 2 * * *"), max_running=1)
    world.pass_time(3600)
    world.processes.clear()
    world.happen(events.RunLost(RunId("a", 1), 1, "its supervisor died", 9))
    world.pass_time(3600)
    record = world.rows[RunId("a", 1)][1]
    assert record is not None
    assert (record["state"], record["reason"], record["signal"]) == ("lost", "its supervisor died", 9)
    assert [run for run, _ in world.launched] == ["a@1", "b@1"]


def test_news_of_an_attempt_that_is_over_changes_nothing() -> None:
    """A second notice of the same end only removes marks."""
    world = World(job("a", "0 1 * * *"))
    world.pass_time(3700)
    before = dict(world.rows)
    world.happen(events.RunEnded(RunId("a", 1), 1, ended(RunId("a", 1), "failed")))
    assert world.rows == before


def test_found_attempts_count_as_used() -> None:
    """An attempt whose commit was lost keeps its number and its due time, so neither is used again."""
    world = World(job("a", "0 * * * *"))
    due = world.scheduler.next_start("a")
    assert due is not None
    world.pass_time(3600, scheduler=False)
    world.restore()
    world.happen(events.JobsRead("jobs.yaml", world.files["jobs.yaml"]), admit=False)
    attempt = RunId("a", 7), 1
    world.processes[attempt], world.begun[attempt], world.holding[attempt] = world.now.wall + 10**9, world.now.wall, ()
    found = events.Found(
        RunId("a", 7), 1, Run(id=RunId("a", 7), key=f"c0.{due // 10**9}", due=due, queued=due, arrival=0)
    )
    started = events.RunStarted(RunId("a", 7), 1, 4711, world.now.wall)
    world.happen(found, started, events.JobsLoaded(complete=True), events.Woke())
    world.pass_time(3600)
    assert world.covered("a") == ["01:00", "02:00"]
    assert [run for run, _ in world.launched] == ["a@8"]


def test_a_job_of_an_unknown_user_has_one_record_of_its_skips() -> None:
    """Each occurrence becomes a run, as the user may be there by now; given up as the one before it leaves nothing."""
    world = World(job("a", "0 * * * *", user="ghost"), users={"ghost": "no user 'ghost' on this host"})
    world.pass_time(5 * 3600 + 60)
    reason = "invalid: no user 'ghost' on this host"
    assert [f"01:00…05:00 {reason} ×5"] == world.covered("a")
    assert (5, 5) == (world.memories["a"].stats.skipped, world.memories["a"].last_number)
    world.boot()
    world.pass_time(2 * 3600)
    assert [f"01:00…07:00 {reason} ×7"] == world.covered("a")
    world.happen(events.RunAsked(1, "a", "root", "key"))
    world.pass_time(3600)
    assert [f"07:01 {reason}", f"08:00 {reason}"] == world.covered("a")[1:]
    world.users = {"ghost": ""}
    world.pass_time(3600)
    assert ["09:00"] == world.covered("a")[3:]


def test_what_waited_ages_on_over_a_start_however_long_it_takes() -> None:
    """What was in the queue has aged for the downtime, the recovery and the look-up of its user; its place is kept."""
    world = World(job("a", "0 1 * * *", user="alice"), job("busy", "59 0 * * *"), max_running=1, users=None)
    world.seconds["busy"] = 10**6
    world.happen(events.AccountKnown(Account("user", "alice"), ""))
    world.pass_time(3600 + 60)
    run = RunId("a", 1)
    assert (RunState.WAITING, MINUTE) == (world.rows[run][0].state, world.rows[run][0].age(world.now.wall))
    world.pass_time(60, scheduler=False)
    world.restore()
    for happened in (
        events.RunStarted(RunId("busy", 1), 1, 4711, world.now.wall),
        events.JobsRead("jobs.yaml", world.files["jobs.yaml"]),
        events.JobsLoaded(complete=True),
        events.AccountKnown(Account("user", "alice"), ""),
    ):
        world.pass_time(10, scheduler=False)
        world.happen(happened)
    assert (RunState.WAITING, 160 * SECOND) == (world.rows[run][0].state, world.rows[run][0].age(world.now.wall))


@pytest.mark.parametrize("comes_back", [True, False])
def test_a_file_that_is_away_at_the_start_may_come_back(comes_back: bool) -> None:
    """What waits for its jobs, or for runs of them, stays until it is known that they are no more."""
    away = job("sent", "59 0 * * *"), job("w", "0 1 * * *")
    there = job("after", "0 1 * * *", file="b.yaml", dependencies=("w",))
    world = World(*away, max_running=1, seconds={"sent": 10**6})
    world.write("b.yaml", there)
    world.pass_time(3600 + 30)
    world.restore()
    world.happen(events.JobsRead("b.yaml", (there,)), events.JobsLoaded(complete=False))
    world.processes.clear()
    world.happen(events.NeverStarted(RunId("sent", 1), 1))
    world.pass_time(4)
    names = [RunId("sent", 1), RunId("w", 1), RunId("after", 1)]
    assert set(names) == set(world.scheduler.runs)
    assert ["dependency w: w@1 is due; it waits at most 23 h 59 min longer"] == world.why("after@1")
    assert "job_invalid" not in [said.event for said in world.said]
    world.seconds["sent"] = 10
    if comes_back:
        world.happen(events.JobsRead("jobs.yaml", away))
    world.happen(events.JobsLoaded(complete=True))
    world.pass_time(60)
    ends = ["succeeded"] * 3 if comes_back else ["job_removed", "job_removed", "dependency w: no such job"]
    rows = [world.rows[name][0] for name in names]
    assert ends == [row.reason or row.state for row in rows]


def test_what_was_held_back_does_not_age_over_a_start() -> None:
    """A run that its job's concurrency kept from the queue has waited for nothing; nor does one that it keeps now."""
    world = World(job("a", "* * * * *", max_waiting=9), seconds={"a": 10**6})
    world.pass_time(120)
    world.pass_time(3600, scheduler=False)
    world.boot()
    assert 0 == world.scheduler.runs[RunId("a", 2)].age(world.now.wall)
    two, one = (job("b", "0 * * * *", max_waiting=9, concurrency=amount) for amount in (2, 1))
    world = World(two, job("busy", "59 0 * * *"), seconds={"busy": 10**6}, max_running=1)
    world.pass_time(2 * 3600 + 60)
    world.files["jobs.yaml"] = (one, *world.files["jobs.yaml"][1:])
    world.boot()
    world.pass_time(60)
    ages = [world.scheduler.runs[RunId("b", number)].age(world.now.wall) for number in (1, 2)]
    assert [62 * MINUTE, MINUTE] == ages


def test_a_small_clock_step_is_a_gap_like_any_other() -> None:
    """An hour forward is caught up; an hour back runs no fixed time twice."""
    world = World(job("a", "0,30 0-23 * * *"))
    world.step_clock(3600 + 60)
    world.happen(events.Woke())
    assert world.covered("a") == ["00:30 missed", "01:00"]
    world.step_clock(-3600)
    world.pass_time(3600)
    assert [run for run, _ in world.launched] == ["a@2"]
    world.pass_time(1800)
    assert world.covered("a")[-1] == "01:30"


FIXED = job("fixed", "10,40 0-23 * * *", catch_up=CatchUp.NONE, outlasts_steps=True)
PLAIN = job("plain", "10,40 0-23 * * *", catch_up=CatchUp.NONE)


@pytest.mark.parametrize(
    ("minutes", "covered"),
    [
        (5, []),
        (15, ["00:10"]),
        (40, ["00:10 missed", "00:40"]),
        (120, ["00:10…01:10 missed ×3", "01:40"]),
        (180, ["00:10…02:10 missed ×5", "02:40"]),
    ],
)
@pytest.mark.parametrize("how", ["step", "two steps", "sleep"])
def test_what_a_step_passes_over(minutes: int, covered: list[str], how: str) -> None:
    """Of a job that outlasts it the latest start is made good, as by Debian's cron; of others none that is older."""
    world = World(FIXED, PLAIN)
    if how == "sleep":
        world.now = Now(world.now.wall + minutes * MINUTE, world.now.mono)
        world.happen(events.Slept(minutes * MINUTE))
    for _ in range(("sleep", "step", "two steps").index(how)):
        world.step_clock(minutes * 60 / (1 + (how == "two steps")))
    world.happen(events.Woke())
    assert covered == world.covered("fixed")
    assert minutes == 40 or "plain" not in {run.partition("@")[0] for run, _ in world.launched}


def test_what_is_no_step() -> None:
    """More than 3 h is a correction of the clock; a sleep of more is a time like one without a daemon."""
    world = World(FIXED)
    world.step_clock(181 * 60)
    world.happen(events.Woke())
    assert ["00:10 clock"] == world.covered("fixed")
    world = World(FIXED)
    world.now = Now(world.now.wall + 181 * MINUTE, world.now.mono)
    world.happen(events.Slept(181 * MINUTE), events.Woke())
    assert ["00:10…02:40 missed ×6"] == world.covered("fixed")


def test_what_a_time_without_a_daemon_passes_over() -> None:
    """It is not made good, as cron does not; nor what was passed over before it."""
    world = World(FIXED)
    world.step_clock(5 * 60)
    world.pass_time(3600, scheduler=False)
    world.boot()
    world.happen(events.Woke())
    assert ["00:10…00:40 missed ×2"] == world.covered("fixed")


def test_a_skip_covers_nothing_beyond_a_correction() -> None:
    """What is skipped after a large step back has a record of its own, with a key of the new era."""
    world = World(job("a", "*/10 * * * *"))
    world.pause("a")
    world.pass_time(35 * 60)
    world.step_clock(-4 * 3600)
    world.pass_time(20 * 60)
    assert world.covered("a") == ["00:10…00:30 paused ×3", "20:40…20:50 paused ×2"]
    assert ["c0", "c1"] == [run.key.partition(".")[0] for run, _ in world.rows.values()]


def test_a_large_step_forward_is_a_correction() -> None:
    """Over 3 h forward nothing is caught up; one record says why."""
    world = World(job("a", "0 * * * *"))
    world.step_clock(5 * 3600)
    world.pass_time(3600)
    assert world.covered("a") == ["01:00 clock", "06:00"]


def test_a_large_step_backward_begins_a_new_era() -> None:
    """Over 3 h backward the same wall times come again, as other occurrences."""
    world = World(job("a", "0 * * * *"))
    world.pass_time(5 * 3600)
    world.step_clock(-4 * 3600)
    world.pass_time(3600)
    assert world.rows[RunId("a", 6)][0].key == f"c1.{world.now.wall // 10**9}"


def test_a_burst_is_launched_in_slices_of_a_turn() -> None:
    """A turn launches at most 64, and the next turn follows at once."""
    world = World(*(job(f"j{i}") for i in range(200)))
    world.happen(*(events.RunAsked(i, f"j{i}", "root", f"x{i:016x}") for i in range(200)))
    assert len(world.launched) == LAUNCHES_A_TURN
    assert world.scheduler.next_wakeup(world.now) == world.now.wall
    world.pass_time(0)
    assert len(world.launched) == 200


def test_who_would_not_wait_may_be_behind_a_burst() -> None:
    """A command that wants its lock at once is refused only when all whose turn is before its own have started."""
    world = World(*[job(f"j{n:03}", priority=9) for n in range(100)])
    asks = [events.RunAsked(n, f"j{n:03}", "root", f"x{n:016x}") for n in range(100)]
    world.happen(*asks, events.LockAsked(100, LockClientId(1), (Claim("tape"),), "alice", at_once=True))
    assert (LAUNCHES_A_TURN, False) == (len(world.launched), 100 in world.replies)
    assert world.now.wall == world.scheduler.next_wakeup(world.now)
    world.happen(events.Woke())
    assert (100, None) == (len(world.launched), world.replies[100].error)


def test_the_fuse() -> None:
    """More than 100 new occurrences in a minute are skipped, with one word of it, until a minute with fewer is over."""
    jobs, _ = read_jobs(b"jobs: {a: {command: x, max_waiting: 500, schedule: '* * * * *', seconds: '*'}}", "jobs.yaml")
    world = World(*jobs, seconds={"a": 0.01})
    world.pass_time(60)
    for _ in range(20):  # a clock that runs nine times too fast
        world.step_clock(8)
        world.pass_time(1)
    before = len(world.launched)
    assert (1, True) == (len([say for say in world.said if say.event == "fuse"]), before < 60 + 20 * 9)
    assert any("fuse ×" in line for line in world.covered("a"))
    world.pass_time(180)
    assert (80, 1) == (len(world.launched) - before, len([say for say in world.said if say.event == "fuse"]))


@pytest.mark.parametrize(("minutes", "runs"), [(1.5, 0), (2.5, 1)])
def test_a_fuse_is_whole_again_after_a_minute_with_fewer(minutes: float, runs: int) -> None:
    """What comes in the minute after the one that has blown it is skipped, too; what comes later runs."""
    jobs, _ = read_jobs(b"jobs: {a: {command: x, max_waiting: 500, schedule: '* * * * *', seconds: '*'}}", "jobs.yaml")
    world = World(*jobs, seconds={"a": 0.01})
    world.pass_time(50)
    for _ in range(9):
        world.step_clock(8)
        world.pass_time(1)
    count, since = world.scheduler["a"].recent
    assert 100 < count
    at = world.now.wall + since + round(minutes * MINUTE) - world.now.mono
    world.write("jobs.yaml", replace(job("a", at=at), triggers=(At(to_datetime(at)),)))
    before = len(world.launched)
    world.pass_time(180)
    assert runs == len(world.launched) - before


@pytest.mark.parametrize(
    ("when", "step", "down"),
    [("schedule: '* * * * *', catch_up: all, grace: 1d", 60, 10800), ("schedule: '* * * * *', seconds: '*'", 1, 50)],
)
def test_what_was_due_during_a_downtime_blows_no_fuse(when: str, step: int, down: int) -> None:
    """It is due when the daemon comes up, but not newly."""
    jobs, _ = read_jobs(f"jobs: {{a: {{command: x, max_waiting: 500, {when}}}}}".encode(), "jobs.yaml")
    world = World(*jobs, seconds={"a": 0.01})
    world.pass_time(60)
    world.pass_time(down, scheduler=False)
    world.boot()
    world.pass_time(600)
    assert "skipped" not in world.states().values()
    assert len(world.launched) == (60 + down + 600) // step


def test_an_outcome_is_kept_for_the_run_that_goes_by_it() -> None:
    """However many occurrences of a dependency follow until its dependent's turn comes."""
    world = World(
        job("dep", "*/5 * * * *"), job("rep", "0 1,2 * * *", dependencies=("dep",)), seconds={"rep": 150 * 60}
    )
    world.pass_time(115 * 60)
    world.ends["dep"] = ["failed 1"]
    world.pass_time(6 * 60)
    world.ends["dep"] = ["succeeded"]
    world.pass_time(200 * 60)
    assert ["rep@1"] == [run for run, _ in world.launched if run.startswith("rep")]
    skipped = world.rows[RunId("rep", 2)][0]
    assert ("skipped", "dependency dep: dep@24 failed") == (skipped.state, skipped.reason)
    assert len(world.memories["dep"].outcomes) <= 2, "what nobody goes by is not kept"


def test_an_idle_scheduler_sleeps_until_the_next_due_time() -> None:
    """Without anything due there is no wake-up before the next due time, and none at all without clocks."""
    world = World(job("a", "0 3 * * *"), job("b"))
    assert world.scheduler.next_wakeup(world.now) == world.now.wall + 3 * HOUR
    world = World(job("b"))
    assert world.scheduler.next_wakeup(world.now) is None


def test_a_blocked_queue_does_not_spin() -> None:
    """While runs wait for a slot, nothing wakes the scheduler but the next due time."""
    jobs = [job(name, "0 1 * * *", timeout=30 * HOUR, late=None) for name in "ab"]
    world = World(*jobs, seconds={"a": 9e9, "b": 9e9}, max_running=1)
    world.pass_time(3600)
    assert world.scheduler.next_wakeup(world.now) == world.now.wall + 24 * HOUR


def test_explain_names_who_is_in_the_way() -> None:
    """A waiting run names what it lacks and who has it; a due one, what its job's concurrency is used up by."""
    world = World(job("a"), job("b"), job("c", priority=3), seconds={"a": 99, "b": 99, "c": 99}, max_running=1)
    for name in "aabc":
        world.run(name)

    def reasons(name: str, number: int) -> list[str]:
        return list(world.scheduler.explain(RunId(name, number), world.now)["reasons"])

    assert reasons("a", 2) == ["concurrency 1 is used up by a@1"]
    assert reasons("c", 1) == ["max_running 1 is used up by a@1"]
    assert reasons("b", 1) == ["max_running 1 is used up by a@1", "it waits behind c@1"]
    growth = "3 now: 3, plus 1 point for each minute of waiting; the highest goes first"
    assert growth == world.scheduler.explain(RunId("c", 1), world.now)["growth"]


def test_explain_leaves_out_who_is_in_nobodys_way() -> None:
    """Of the runs that go first only those are told that want what this one can't have beside them."""
    wants = {"tape": (Claim("tape", exclusive=True),), "gpu": (Claim("gpu", exclusive=True),)}
    jobs = [
        job("holds", locks=(*wants["tape"], *wants["gpu"])), job("gpu", priority=9, locks=wants["gpu"]),
        job("tape-first", priority=8, locks=wants["tape"]), job("tape", locks=wants["tape"]),
    ]  # fmt: skip
    world = World(*jobs, seconds={"holds": 99})
    for name in ("holds", "gpu", "tape-first", "tape"):
        world.run(name)
    assert ["lock tape is held by holds@1", "it waits behind tape-first@1"] == world.why("tape@1")
    assert ["tape-first@1"] == world.scheduler.explain(RunId("tape", 1), world.now)["ahead"]
    assert ["lock gpu is held by holds@1"] == world.why("gpu@1")


def test_a_lock_that_nobody_has_is_told_why() -> None:
    """Who waits for a lock that could be granted is told what it is kept for, or what else is lacking."""
    tape, gpu = Claim("tape", exclusive=True), Claim("gpu", exclusive=True)
    jobs = [job("holds", locks=(gpu,)), job("both", priority=9, locks=(tape, gpu)), job("tape", locks=(tape,))]
    world = World(*jobs, seconds={"holds": 99})
    for name in ("holds", "both", "tape"):
        world.run(name)
    told = {(str(each.holder), each.claim.resource): each.reason for each in world.scheduler.lock_claims()}
    assert {
        ("holds@1", "gpu"): None, ("both@1", "tape"): "free; it lacks gpu", ("both@1", "gpu"): None,
        ("tape@1", "tape"): "reserved for both@1",
    } == told  # fmt: skip


def test_a_record_tells_what_a_run_has_waited_for() -> None:
    """What it lacked, and for whom what it could have had was kept."""
    jobs = job("long"), job("alone", exclusive=True, priority=1), job("small")
    world = World(*jobs, seconds={"long": 50, "alone": 60, "small": 60})
    for name in ("long", "alone", "small"):
        world.run(name)
    waited, priorities = [], []
    while world.marks.specs:
        waited += [(str(run), sent.record["waited_for"]) for (run, _), sent in world.marks.specs.items()]
        priorities += [sent.record["effective_priority"] for sent in world.marks.specs.values()]
        world.pass_time(60)
    assert [0, 1.833, 1.833] == priorities
    assert [("long@1", []), ("alone@1", ["host"]), ("small@1", ["what is kept for alone@1", "host"])] == waited


def test_a_pause_that_outgrows_all() -> None:
    """A retry delay that is doubled for ever, without a limit, is as long as state.db can hold: some 146 years."""
    endless = job("a", retries=9999, retry_delay=HOUR, retry_backoff=2.0)
    run = Run(id=RunId("a", 1), key="", due=0, queued=0, arrival=0, attempt=9999)
    assert NextAttempt(2**62, failover=False) == another(endless, run, ended(run.id, "failed", exit_code=1))


def test_a_record_that_has_a_state_only() -> None:
    """It ends a run: who has no processes knows no more."""
    world = World(job("a", "0 1 * * *"))
    world.pass_time(3600)
    run = world.scheduler.runs[RunId("a", 1)]
    world.scheduler.handle(events.RunEnded(run.id, 1, {"state": "failed"}), world.now)  # type: ignore[typeddict-item]
    assert RunId("a", 1) not in world.scheduler.runs
    world.scheduler.validate()


def test_an_impossible_event_changes_nothing() -> None:
    """A record with a state that no run can end in raises, and leaves the run as it was."""
    world = World(job("a", "0 1 * * *"))
    world.pass_time(3600)
    run = world.scheduler.runs[RunId("a", 1)]
    with pytest.raises(ValueError, match="no end"):
        world.scheduler.handle(events.RunEnded(run.id, 1, ended(run.id, "skipped")), world.now)
    assert world.scheduler.runs[RunId("a", 1)] == run
    world.scheduler.validate()


class _Story:
    """What Hypothesis may do to a world."""

    acts = st.one_of(
        st.tuples(st.just("pass"), st.floats(0, 7200)),
        st.tuples(st.just("down"), st.floats(0, 7200)),
        st.tuples(st.just("die"), st.integers(-1, 3)),
        st.tuples(st.just("lose"), st.integers(0, 5)),
        st.tuples(st.just("stop"), st.integers(0, 40)),
    )


@settings(max_examples=60, deadline=None)
@given(st.lists(_Story.acts, max_size=25), st.sampled_from(CatchUp), st.integers(1, 3))
def test_every_occurrence_is_covered_exactly_once(acts: list[tuple[str, float]], policy: CatchUp, slots: int) -> None:
    """Downtime, crashes between any two commands, lost launches, stops: each due instant has one record or live run."""
    jobs = [job("a", "*/7 * * * *", catch_up=policy), job("b", "*/11 * * * *", concurrency=2, grace=5 * MINUTE)]
    world = World(*jobs, seconds={"a": 500, "b": 900}, max_running=slots)
    for act, amount in acts:
        match act:
            case "pass":
                world.pass_time(amount)
            case "down":
                world.pass_time(amount, scheduler=False)
                world.boot()
            case "die":
                wake = world.scheduler.next_wakeup(world.now)
                world._advance(max(world.now.wall, wake or 0))
                world.happen(events.Woke(), die_after=int(amount))
                world.boot()
            case "lose" if world.processes:
                name = sorted(world.processes)[int(amount) % len(world.processes)]
                del world.processes[name]
                world.happen(events.RunLost(*name, "its supervisor died"))
            case "stop" if world.scheduler.runs:
                run = sorted(world.scheduler.runs)[int(amount) % len(world.scheduler.runs)]
                world.happen(events.StopAsked(1, run, "root"), die_after=int(amount) // 10 - 1 if amount > 30 else None)
                world.boot() if amount > 30 else None
    world.pass_time(3600)
    for name, minutes in (("a", 7), ("b", 11)):
        runs = [run for run, _ in world.rows.values() if run.id.job == name]
        keys = [run.key for run in runs]
        assert len(keys) == len(set(keys))
        assert sum(run.count for run in runs) == len(_instants(world.now.wall, minutes))
    assert len(world.launched) == len(set(world.launched))


def _instants(until: int, minutes: int) -> list[int]:
    seconds = range(MIDNIGHT // 10**9, until // 10**9 + 1)
    return [s for s in seconds[1:] if s % 60 == 0 and s // 60 % 60 % minutes == 0]


def test_a_full_turn_that_was_not_cut_short_is_not_repeated() -> None:
    """Where all who could start have, nobody looks again until something happens."""
    few = [job(f"j{number:02}") for number in range(LAUNCHES_A_TURN - 1)]
    world = World(*few, job("alone", exclusive=True, priority=-1))
    world.happen(*(events.RunAsked(n, it.id, "root", f"x{n}") for n, it in enumerate([*few, job("alone")])))
    assert (LAUNCHES_A_TURN - 1, "waiting") == (len(world.launched), world.states()["alone@1"])
    assert world.now.wall < (world.scheduler.next_wakeup(world.now) or 10**20)


def test_an_outcome_of_a_skip_that_grows() -> None:
    """It is that of its newest due time."""
    world = World(job("a", "*/10 * * * *"))
    world.pause("a")
    world.pass_time(1801)
    assert [(1, MIDNIGHT + 30 * MINUTE)] == [(known.run, known.due) for known in world.memories["a"].outcomes]


def test_the_newest_run_of_a_dependency_decides() -> None:
    """Its success lets go on what waits, though one that came due before it still runs."""
    world = World(
        job("a", "*/30 * * * *", concurrency=2), job("b", "0 1 * * *", dependencies=("a",)), seconds={"a": 7200}
    )  # fmt: skip
    world.pass_time(1850)
    world.seconds["a"] = 1
    world.pass_time(1800)
    assert ("starting", "succeeded", "succeeded") == tuple(world.states()[run] for run in ("a@1", "a@2", "b@1"))


def test_a_failure_that_makes_due() -> None:
    """A job without a clock of its own, with `on_dependency_failure: run`, runs after a failure, too."""
    jobs = [job(name, dependencies=("a",), on_dependency_failure=what) for name, what in (("b", "run"), ("c", "skip"))]
    world = World(job("a"), *jobs)
    world.ends["a"] = ["failed 1"]
    world.run("a")
    world.pass_time(5)
    assert {"a@1": "failed", "b@1": "succeeded"} == world.states()


def test_who_came_before_a_restart_goes_first() -> None:
    """Of runs alike in all else, by arrival."""
    world = World(job("hog"), job("a"), job("z"), max_running=1, seconds={"hog": 60})
    world.run("hog")
    world.run("z")
    world.boot()
    world.run("a")
    world.pass_time(300)
    assert ["hog@1", "z@1", "a@1"] == [run for run, _ in world.launched]


def test_a_hold_that_is_over_before_its_time() -> None:
    """Nothing happens at its end then; a later hold is not ended by it."""
    world = World(job("a"))
    for hold in (Hold("root", world.now.wall + HOUR), None, Hold("root", world.now.wall + 3 * HOUR)):
        world.happen(events.HoldAsked(1, "root", hold))
    world.pass_time(7200)
    assert hold == world.scheduler.hold
    world.happen(events.HoldAsked(1, "root", None))
    world.pass_time(7200)
    assert ["held", "released", "held", "released"] == [it.event for it in world.said if it.event != "jobs_read"]


def test_a_pause_until_between_due_time_and_start() -> None:
    """The pause skips an occurrence that `spread` starts before its end, and none that starts at its end or later."""
    for minutes, covered in ((5, ["01:00"]), (10, ["01:00"]), (15, ["01:00 paused"])):
        world = World(job("a", "0 1 * * *", offset=10 * MINUTE))
        world.pause("a", until=MIDNIGHT + HOUR + minutes * MINUTE)
        (following,) = world.scheduler["a"].saved.starts(world.scheduler.catalog["a"], 1)
        world.pass_time(7200)
        assert covered == world.covered("a")
        assert (following < MIDNIGHT + 2 * HOUR) == (covered == ["01:00"]), "the next start is told as it is"


def test_an_occurrence_at_the_end_of_a_pause() -> None:
    """It runs, even if the daemon was down at that instant."""
    for is_down in (False, True):
        world = World(job("a", "0 * * * *", catch_up=CatchUp.ALL))
        world.pause("a", until=MIDNIGHT + 2 * HOUR)
        if is_down:
            world.reboot(9000)
        world.pass_time(9000)
        assert ["01:00 paused", "02:00"] == world.covered("a")[:2], is_down


def test_an_event_of_which_some_hear() -> None:
    """Who has emitted it is told the runs, and who would have heard it but is disabled."""
    jobs = [job(name, on=(On("event", "go"),), enabled=name != "b") for name in "abc"]
    world = World(*jobs)
    world.happen(events.Emitted(1, "go", "root", "e1"))
    assert {"runs": ["a@1", "c@1"], "disabled": ["b"], "nearest": None} == world.replies[1].value


def test_a_holder_that_is_beyond_its_time_ends_soon() -> None:
    """Who waits for a run that has outlived its `timeout` and `kill_grace` is expected a second from now."""
    world = World(job("a", timeout=MINUTE), job("b"), seconds={"a": 7200}, max_running=1)
    for name in "ab":
        world.run(name)
    world.pass_time(600)
    assert to_text(world.now.wall + SECOND) == world.scheduler.explain(RunId("b", 1), world.now)["expected"]


def test_limits_that_were_lowered() -> None:
    """Who waits is expected when enough of those that live beyond them have ended."""
    world = World(*map(job, "abc"), seconds={"a": 600, "b": 600}, max_running=2)
    for name in "abc":
        world.memories[name] = SavedJob(job=name, stats=JobStats(usual=600 * SECOND))
    world.boot()
    for name in "abc":
        world.run(name)
    for name in "ab":
        world.start(f"{name}@1")
    world.limits = HostLimits(max_running=1)
    world.boot()
    assert to_text(MIDNIGHT + 600 * SECOND) == world.scheduler.explain(RunId("c", 1), world.now)["expected"]


def test_pressure_is_the_first_reason() -> None:
    """Before what else a run lacks."""
    world = World(job("a"), job("b"), seconds={"a": 600}, max_running=1, calm=1)
    for name in "ab":
        world.run(name)
        world.happen(events.UnderPressure("io", world.now.mono + HOUR))
    told = "the host is under pressure (io): only runs of priority 1 or more start now"
    assert [told] == world.why("b@1")[:1]
    assert 2 <= len(world.why("b@1"))


def test_what_waits_for_a_job_of_a_file_that_never_comes() -> None:
    """It waits as long as the file may come, and is given up when it is sure that there is none."""
    world = World(job("a"), job("b", "*/10 * * * *", dependencies=("a",)))
    world.pass_time(601)
    world.restore()
    world.happen(events.JobsRead("jobs.yaml", world.files["jobs.yaml"][1:]), events.JobsLoaded(complete=False))
    assert {"b@1": "due"} == world.states()
    world.happen(events.JobsLoaded(complete=True))
    assert ["00:10 dependency a: no such job"] == world.covered("b")


def test_when_who_lives_has_ended_is_known_over_a_restart() -> None:
    """By the `timeout` that it was started with."""
    world = World(job("a", timeout=HOUR), job("b"), seconds={"a": 7200}, max_running=1)
    for name in "ab":
        world.run(name)
    told = []
    for _ in range(2):
        (missing,) = world.scheduler.explain(RunId("b", 1), world.now)["missing"]
        told += [holder["ends_by"] for holder in missing["holders"]]
        world.write("jobs.yaml", job("a", timeout=9 * HOUR), job("b"))
        world.boot()
    assert [to_text(MIDNIGHT + HOUR + 12 * SECOND)] * 2 == told


def test_a_turn_that_takes_a_part_of_what_was_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The newest of all due times is caught up, not the newest of a turn; also where it is due just now."""
    monkeypatch.setattr("jobqueued.core.due.redefinition.DUES_A_TURN", 1)
    world = World(job("a", "0 * * * *"))
    world.pass_time(2 * 3600, scheduler=False)
    world.boot()
    world.pass_time(1)
    assert ["01:00 missed", "02:00"] == world.covered("a")


def test_what_a_restart_saves() -> None:
    """Nothing of what it has read and left as it was."""
    world = World(job("a", "0 1 * * *"), job("b"), seconds={"b": 99})
    world.run("b")
    world.pass_time(7200)
    scheduler = Scheduler(world.limits)
    hold = Hold("root")
    scheduler.restore(world.memories.values(), [run for run, _ in world.rows.values()], world.now, hold)
    assert [] == [it for it in scheduler.handle(events.Woke(), world.now) if isinstance(it, Save)]
    assert hold == scheduler.hold


def test_an_end_in_the_last_step_of_a_turn_is_followed_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """What an end makes due is committed with it, however much there was to do in the turn."""
    monkeypatch.setattr("jobqueued.core.scheduler.STEPS_A_TURN", 1)
    world = World(job("a", retries=1, retry_delay=HOUR), job("b", on=(On("job", "a", "any"),)), resources={"gpu": 1})
    world.ends["a"] = ["failed 1"]
    world.run("a")
    world.pass_time(5)
    assert {"a@1": "retrying"} == world.states()
    asks = replace(world.files["jobs.yaml"][0], resources=(Claim("gpu", 2),))
    world.files["jobs.yaml"] = asks, world.files["jobs.yaml"][1]
    world.happen(events.JobsRead("jobs.yaml", world.files["jobs.yaml"]))
    while world.states()["a@1"] == "retrying":
        world.happen(events.Woke())
    assert {"a@1": "failed", "b@1": "due"} == world.states()


def test_a_pause_gives_up_what_was_kept() -> None:
    """Who waits behind a run that something is kept for starts in the very turn in which the job of that is paused."""
    world = World(job("long"), job("alone", exclusive=True), job("small"), seconds={"long": 9000})
    for name in ("long", "alone", "small"):
        world.run(name)
    assert world.states() == {"long@1": "starting", "alone@1": "waiting", "small@1": "waiting"}
    world.pause("alone")
    assert world.states() == {"long@1": "starting", "alone@1": "due", "small@1": "starting"}
