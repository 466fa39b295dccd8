"""Late runs: told once, at the bound that their job's history or its file sets, whatever happens meanwhile."""

from __future__ import annotations

from typing import Any

import pytest

from jobqueued.base.instants import HOUR, MINUTE, SECOND
from jobqueued.core.records.usual import noted
from jobqueued.core.state.lateness_deadlines import Deadlines
from jobqueued.model import events
from jobqueued.model.commands import Say
from jobqueued.model.job import Job
from jobqueued.model.notify import Late
from jobqueued.model.run import RunId
from jobqueued.model.saved import Hold, SavedJob
from tests.support.world import MIDNIGHT, World, job

A = RunId("a", 1)
HOURS = " ".join(["3600000"] * 20)
"""Twenty runs of an hour: at 0.95 another is late after one, by default after three."""
DAILY = "1 0 * * *"


def world_with(defined: Job, *others: Job, took: str = HOURS, seconds: float = 9e9, **options: Any) -> World:
    """A host with a job that has a history, and no run of it yet."""
    world = World(defined, *others, seconds={"a": seconds, "hog": 9e9}, **options)
    world.memories["a"] = SavedJob(job="a", took=took, cursor=MIDNIGHT, rhythm=defined.rhythm)
    world.boot()
    return world


def begin(world: World, run: str = "a@1", attempt: int = 1) -> World:
    """A run is asked for, and the news of its start arrives."""
    if attempt == 1 and run not in world.states():
        world.run("a", ticket=100 + len(world.rows))
    world.start(run, attempt)
    return world


def told(world: World) -> list[tuple[str, str]]:
    """What was said of late runs."""
    return [(each.event, each.fields["run"]) for each in world.said if each.event in ("run_late", "late_over")]


def minutes(world: World) -> int:
    """The time since midnight."""
    return (world.now.wall - MIDNIGHT) // MINUTE


def until_late(world: World, limit: int = 600) -> int:
    """The minute after midnight in which it is said first that a run is late; -1: never."""
    while not any(event == "run_late" for event, _ in told(world)):
        if minutes(world) > limit:
            return -1
        world.pass_time(60)
    return minutes(world)


@pytest.mark.parametrize(
    ("late", "minute"),
    [
        ({}, 180), ({"late": Late(level=0.95)}, 60), ({"late": Late(level=0.99)}, 180), ({"late": None}, -1),
        ({"late": Late(after=30 * MINUTE)}, 30), ({"late": Late(30 * MINUTE, 0.95)}, 30),
        ({"late": Late(2 * HOUR, 0.95)}, 60), ({"late": Late(after=4 * HOUR)}, 240),
    ],
)  # fmt: skip
def test_the_bound(late: dict[str, Any], minute: int) -> None:
    """By the history at a level, three times the mean by default, so long after it was due, or never."""
    assert minute == until_late(begin(world_with(job("a", **late))))


@pytest.mark.parametrize(("known", "minute"), [(0, -1), (1, 10), (19, 10), (20, 3)])
def test_short_runs(known: int, minute: int) -> None:
    """A run of a minute is late after three, but after ten while few are known, and never if it is the first."""
    world = world_with(job("a", late=Late(level=0.99)), took=" ".join(["60000"] * known))
    assert minute == until_late(begin(world), limit=60)
    told_by = {1: ["(based on its last run)"], 19: ["(based on its last 19 runs)"]}
    assert known not in told_by or told_by[known][0] in reasons(world)[0]


def test_once_whatever_dies() -> None:
    """It is told once, by a scheduler that dies before its commit not at all, and over after all restarts."""
    world = begin(world_with(job("a"), seconds=4 * 3600))
    world.pass_time(2.9 * 3600)
    world._advance(MIDNIGHT + 3 * HOUR)
    world.happen(events.Woke(), die_after=-1)
    world.boot()
    assert [("run_late", "a@1")] == told(world)
    for _ in range(3):
        world.boot()
        begin(world)
        world.pass_time(600)
    assert [("run_late", "a@1")] == told(world)
    assert (1,) == world.memories["a"].late
    world.pass_time(3600)
    assert [("run_late", "a@1"), ("late_over", "a@1")] == told(world)
    assert () == world.memories["a"].late


def test_it_ends_while_the_daemon_is_down() -> None:
    """Its end is told by the next start."""
    world = begin(world_with(job("a"), seconds=4 * 3600))
    world.pass_time(3.5 * 3600)
    world.pass_time(3600, scheduler=False)
    world.boot()
    assert [("run_late", "a@1"), ("late_over", "a@1")] == told(world)


def test_a_row_that_is_ahead_of_its_run() -> None:
    """What is known to be late of runs that have ended is forgotten at a start."""
    world = world_with(job("a"))
    world.memories["a"] = SavedJob(job="a", late=(7,))
    world.boot()
    world.pass_time(60)
    assert () == world.scheduler["a"].saved.late
    assert not world.scheduler.needs("late", "a")


def test_two_at_a_time() -> None:
    """Each is told of; it is over with the last of them."""
    world = world_with(job("a", concurrency=2), seconds=4 * 3600)
    begin(world)
    world.pass_time(600)
    begin(world, "a@2")
    world.pass_time(5 * 3600)
    assert [("run_late", "a@1"), ("run_late", "a@2"), ("late_over", "a@2")] == told(world)


def test_a_start_that_is_late() -> None:
    """A run that waits longer than is usual is late; when it has started, it is not told of again."""
    world = world_with(job("a"), job("hog"), max_running=1, seconds=9 * 3600)
    world.memories["a"] = SavedJob(job="a", took=HOURS, delays=" ".join(["600000"] * 20))
    world.seconds["hog"] = 2 * 3600
    world.boot()
    world.run("hog")
    world.run("a", 2)
    assert 30 == until_late(world)
    assert ["it has waited 30 min; usually it starts within 30 min (based on its last 20 runs)"] == reasons(world)
    world.pass_time(2 * 3600)
    begin(world)
    waited = "it waited 2 h 30 min before it started; usually it starts within 30 min (based on its last 20 runs)"
    assert waited == late(world)
    world.pass_time(5 * 3600)
    assert [("run_late", "a@1")] == told(world)
    assert "it has run for 5 h; usually it ends within 3 h (based on its last 20 runs)" == late(world)


def reasons(world: World) -> list[str]:
    """In what runs were late when it was said."""
    return [each.fields["reason"] for each in world.said if each.event == "run_late"]


def late(world: World) -> str:
    """In what a@1 is late by now, as people are told."""
    return str(world.scheduler.explain(A, world.now)["late"])


@pytest.mark.parametrize("by", ["pause", "hold", "unsaved"])
def test_who_is_held_back_is_not_late(by: str) -> None:
    """A run that a person, or a state that can't be saved, keeps from starting has its time anew afterwards; that wait
    tells nobody what is usual.
    """
    world = world_with(job("a"), job("hog"), max_running=1)
    world.memories["a"] = SavedJob(job="a", delays=" ".join(["600000"] * 20))
    world.boot()
    world.run("hog")
    world.run("a", 2)
    world.pass_time(1200)
    begun = {
        "pause": events.PauseAsked(3, "a", "root", pause=True),
        "hold": events.HoldAsked(3, "root", Hold("root")),
        "unsaved": events.StateUnsaved("no room"),
    }[by]
    over = {
        "pause": events.PauseAsked(4, "a", "root", pause=False),
        "hold": events.HoldAsked(4, "root", None),
        "unsaved": events.StateUnsaved(""),
    }[by]
    world.happen(begun)
    world.pass_time(4 * 3600)
    assert [] == told(world)
    world.happen(over)
    assert minutes(world) + 30 == until_late(world)
    world.stop("hog@1", 5)
    world.pass_time(2)
    world.processes[A, 1] = world.now.wall
    world.pass_time(1)
    assert 20 == len(world.memories["a"].delays.split())


def test_a_wait_after_a_pause_is_usual_again() -> None:
    """What is made after a pause or a restart tells how long it waits."""
    world = world_with(job("a"), seconds=60)
    world.pause("a")
    world.pass_time(60)
    world.pause("a", pause=False, ticket=2)
    world.run("a", 3)
    world.pass_time(120)
    assert ("0", f"{HOURS} 60000") == (world.memories["a"].delays, world.memories["a"].took)


def test_what_tells_what_is_usual() -> None:
    """Runs that have succeeded tell how long one takes, with all their attempts; no failure does, and no failover."""
    world = world_with(job("a", retries=1, retry_delay=MINUTE, failover="y"), took="", seconds=10)
    for ends in (["succeeded"], ["failed 1", "succeeded"], ["failed 1", "failed 1", "succeeded"], ["failed 1"]):
        world.ends["a"] = ends
        world.run("a", 10 + len(world.rows))
        world.pass_time(600)
    alone, retried = world.memories["a"].took.split()
    assert ("10000", True) == (alone, 80_000 <= int(retried) < 90_000)  # a delay varies by some percent
    assert "0 0 0 0" == world.memories["a"].delays
    assert 10 * SECOND == world.scheduler["a"].usual
    assert ["succeeded", "succeeded", "succeeded", "failed"] == list(world.states().values())


def test_retries_belong_to_the_run() -> None:
    """A run is late by the time since its first attempt, while it waits for another, too."""
    world = world_with(job("a", retries=9, retry_delay=HOUR), seconds=60)
    world.ends["a"] = ["failed 1"]
    begin(world)
    assert 180 == until_late(world)
    ends = "ago; usually it ends within 3 h (based on its last 20 runs)"
    assert [f"it retries, and its first attempt started 3 h {ends}"] == reasons(world)
    world.seconds["a"] = 9e9
    world.pass_time(4 * 3600)
    assert "starting" == world.states()["a@1"]
    assert f"it retries, and its first attempt started 7 h {ends}" == late(world)


def test_an_edit() -> None:
    """A file that sets another bound counts at once, for runs that are live, too; but nothing is told twice."""
    world = begin(world_with(job("a")))
    world.pass_time(3000)
    world.write("jobs.yaml", job("a", late=None))
    assert 0 == len(world.scheduler._state.lateness.runs)
    world.pass_time(3 * 3600)
    assert [] == told(world)
    world.write("jobs.yaml", job("a"))
    world.pass_time(1)
    assert [("run_late", "a@1")] == told(world)
    world.write("jobs.yaml", job("a", late=Late(after=MINUTE)))
    world.pass_time(3600)
    world.write("jobs.yaml")
    world.pass_time(3600)
    assert [("run_late", "a@1")] == told(world)


def test_a_removed_job_is_not_late() -> None:
    """Nobody knows any more what its runs may take."""
    world = begin(world_with(job("a")))
    world.write("jobs.yaml")
    world.pass_time(9 * 3600)
    assert [] == told(world)


@pytest.mark.parametrize("step", [-2, 2, 200, -200])
def test_a_clock_that_is_set(step: int) -> None:
    """What is set makes nobody late, and nobody less so; such a run does not tell how long one takes."""
    world = begin(world_with(job("a"), seconds=4 * 3600))
    world.pass_time(3600)
    world.step_clock(step * 3600)
    world.pass_time(2 * 3600 - 2)
    assert [] == told(world)
    world.pass_time(3)
    assert [("run_late", "a@1")] == told(world)
    world.pass_time(3600)
    assert HOURS == world.memories["a"].took


def test_a_history_that_grows_meanwhile() -> None:
    """What is learned while it waits counts: it is late by what is usual then."""
    world = world_with(job("a", concurrency=2), took="3600000")
    begin(world)
    world.pass_time(3600)
    state = world.scheduler._state
    state.remember("a", took=noted(state["a"].saved.took, 9 * HOUR))
    world.memories["a"] = state["a"].saved
    assert 15 * 60 == until_late(world, limit=1200)


def test_a_first_start() -> None:
    """Who waits for dependencies is not late before it is known how long those take."""
    first = job("a", DAILY, dependencies=("hog",))
    world = World(first, job("hog", DAILY, priority=9), job("b", DAILY), seconds={"hog": 9e9}, max_running=1)
    world.pass_time(120)
    world.start("hog@1")
    world.pass_time(70 * 60)
    assert [("run_late", "b@1")] == told(world)
    assert ["it has waited 1 h; it should start within 1 h"] == reasons(world)


def test_nobody_wakes_for_a_run_that_has_ended() -> None:
    """Runs that end in time leave no timer, and each has one while it is live."""
    jobs = [job(f"a{number}") for number in range(40)]
    world = World(*jobs, seconds={one.id: 100 for one in jobs})
    for each in jobs:
        world.memories[each.id] = SavedJob(job=each.id, took=HOURS)
    world.boot()
    lateness = world.scheduler._state.lateness
    for ticket, each in enumerate(jobs):
        world.run(each.id, ticket + 1)
        world.start(f"{each.id}@1")
    assert 40 == len(lateness.runs)
    assert world.now.wall + 3 * HOUR == world.scheduler.next_wakeup(world.now)
    world.pass_time(101)
    assert (0, None) == (len(lateness.runs), world.scheduler.next_wakeup(world.now))
    assert len(lateness._within) == 0


def test_deadlines() -> None:
    """Each has one instant, the last that it was given; a part is taken at a time; what is stale is thrown away."""
    deadlines = Deadlines[str]()
    for number in range(10_000):
        deadlines.set(f"a{number % 100}", number)
    deadlines.set("a7", 5)
    deadlines.clear("a8")
    assert (5, 99) == (deadlines.soonest(), len(deadlines))
    assert len(deadlines._heap) < 300
    assert ["a7", "a0", "a1"] == deadlines.take(9_999, 3)
    assert ["a2"] == deadlines.take(9_902, 3)
    assert (9_903, 95) == (deadlines.soonest(), len(deadlines))


def test_what_it_is_late_in() -> None:
    """The words say how long it has waited or run, and what the bound is."""
    world = begin(world_with(job("a", late=Late(after=2 * HOUR))))
    world.pass_time(2 * 3600)
    assert ["it was due 2 h ago and has not ended; it should end within 2 h"] == reasons(world)
    assert (True, False) == (world.scheduler.needs("late", "a"), world.scheduler.needs("late", "b"))


def test_a_skip_ends_it() -> None:
    """A late run that is stopped before its start is over, too."""
    world = world_with(job("a"), job("hog"), max_running=1)
    world.memories["a"] = SavedJob(job="a", delays="600000")
    world.boot()
    world.run("hog")
    world.run("a", 2)
    world.pass_time(3600)
    world.stop("a@1", 3)
    assert [("run_late", "a@1"), ("late_over", "a@1")] == told(world)


def test_what_is_said() -> None:
    """Of which job and run, how late it is, and how it has ended; without a limit any more for how long it has run."""
    world = begin(world_with(job("a", late=Late(after=MINUTE)), seconds=7200))
    world.ends["a"] = ["failed 3"]
    world.pass_time(60)
    reason = "it was due 1 min ago and has not ended; it should end within 1 min"
    assert [Say("run_late", {"job": "a", "run": "a@1", "reason": reason})] == world.did
    world.write("jobs.yaml", job("a", late=None))
    world.pass_time(3600)
    assert "it has run for 1 h 1 min" == late(world)
    world.write("jobs.yaml")
    assert "it has run for 1 h 1 min" == late(world)
    world.pass_time(3600)
    over = {"job": "a", "run": "a@1", "state": "failed", "reason": "exit code 3"}
    assert Say("late_over", over) in world.did


@pytest.mark.parametrize("first", ["paused", "grown"])
def test_several_at_an_instant(first: str) -> None:
    """One that is held back, or by now has more time, does not keep the next from being told of."""
    jobs = [job("a", late=Late(after=HOUR) if first == "paused" else Late(level=0.95)), job("b", late=Late(after=HOUR))]
    world = World(*jobs, job("hog"), max_running=1, seconds={"hog": 9e9})
    world.memories["a"] = SavedJob(job="a", delays=HOURS)
    world.boot()
    for ticket, name in enumerate(("hog", "a", "b"), 1):
        world.run(name, ticket)
    if first == "paused":
        world.pause("a", ticket=4)
    else:
        state = world.scheduler._state
        state.remember("a", delays=" ".join(["7200000"] * 20))
        world.memories["a"] = state["a"].saved
    world.pass_time(3600)
    assert [("run_late", "b@1")] == told(world)


def _held_world() -> World:
    """A host on hold; one run is live, one retries, one waits to start."""
    after = Late(after=HOUR)
    world = World(job("live", late=after), job("retries", late=after, retries=9, retry_delay=2 * HOUR),
                  job("waits", late=after), max_running=1, seconds={"live": 9e9})  # fmt: skip
    world.ends["retries"] = ["failed 1"]
    world.run("retries")
    world.start("retries@1")
    world.pass_time(10)
    world.run("live", 2)
    world.run("waits", 3)
    world.happen(events.HoldAsked(4, "root", Hold("root")))
    return world


def test_what_goes_on_after_a_hold() -> None:
    """A run that has started, or is about to, is late as before; one that has not has its time anew."""
    world = _held_world()
    world.pass_time(1800)
    world.happen(events.HoldAsked(5, "root", None))
    for seconds, names in ((1790, ["retries@1"]), (10, ["retries@1", "live@1"]), (1789, ["retries@1", "live@1"])):
        world.pass_time(seconds)
        assert names == [run for _, run in told(world)]
    world.pass_time(11)
    assert "waits@1" == told(world)[-1][1]


def test_who_is_late_during_a_hold() -> None:
    """Whoever has started before, or is about to start; not who waits to start."""
    world = _held_world()
    world.pass_time(9000)
    assert ["retries@1", "live@1"] == [run for _, run in told(world)]


@pytest.mark.parametrize(
    ("what", "delays"),
    [("nothing", "60000"), ("a restart", "60000"), ("a restart before", ""), ("the clock", ""), ("a pause", "60000")],
)
def test_what_tells_how_long_one_waits(what: str, delays: str) -> None:
    """A run that was live at a restart has waited for its turn only; not one that waited when the clock was set."""
    world = World(job("a", retries=1, retry_delay=MINUTE), job("hog"), max_running=1, seconds={"hog": 60, "a": 100})
    world.ends["a"] = ["failed 1", "succeeded"]
    world.run("hog")
    world.run("a", 2)
    if what == "the clock":
        world.step_clock(5)
    if what == "a restart before":
        world.boot()
    world.pass_time(61)
    world.start("a@1")
    if what == "a restart":
        world.boot()
    world.pass_time(110)
    assert "retrying" == world.states()["a@1"]
    for pause in (True, False) if what == "a pause" else ():
        world.pause("a", pause=pause, ticket=3)
    world.pass_time(400)
    assert delays == " ".join(str(int(it) // 60000 * 60000) for it in world.memories["a"].delays.split())
