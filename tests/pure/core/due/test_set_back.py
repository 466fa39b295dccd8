"""A clock that is set back by up to 3 h: elapsed time goes on at once, and no fixed time comes twice."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from jobqueued.base.instants import HOUR, MINUTE, SECOND
from jobqueued.core.due.set_back import set_back
from jobqueued.crontabs.jobs import CronHost, TablePlace, read_jobs_in_steps
from jobqueued.jobfile.reader import read_jobs
from jobqueued.jobfile.tree.yamltext import at_once
from jobqueued.model import events
from jobqueued.model.commands import Launch
from jobqueued.model.job import CatchUp, Job, Now, Scope
from jobqueued.model.saved import SavedJob
from tests.support.debian_cron import DebianCron
from tests.support.world import MIDNIGHT, World, job


def jobs(text: str) -> tuple[Job, ...]:
    """Read the jobs of a file."""
    found, problems = read_jobs(f"jobs: {{{text}}}".encode(), "jobs.yaml")
    assert not problems, problems
    return found


def lines(*expressions: str) -> tuple[Job, ...]:
    """Read a table of cron, of one command for each expression."""
    text = "".join(f"{expression} root {number}\n" for number, expression in enumerate(expressions))
    found, problems = at_once(read_jobs_in_steps(text.encode(), "f", TablePlace("cron.d/x"), CronHost("UTC")))
    assert not problems, problems
    return found


def keys(world: World, name: str = "a") -> list[str]:
    """The occurrences of a job, in the order of its numbers."""
    return [run.key for run in sorted((run for run, _ in world.rows.values() if run.id.job == name), key=_number)]


def _number(run: Any) -> int:
    return int(run.id.number)


BACK = -118 * 60
GOES_ON = [
    ("a: {command: x, schedule: '*/10 * * * *'}", 11), ("a: {command: x, schedule: '7 * * * *'}", 2),
    ("a: {command: x, every: 10m}", 11), ("a: {command: x, schedule: '30 3-5 * * *', dst: both}", 2),
    ("a: {command: x, schedule: '* * * * *', seconds: '0', catch_up: none, overlap: skip}", 117),
    ("a: {command: x, schedule: '0,20,40 0-23 * * *'}", 0), ("a: {command: x, schedule: '*/10 * * * *', dst: once}", 0),
    ("a: {command: x, schedule: '*/10 * * * *', dst: skip}", 0),
    ("a: {command: x, at: '2026-03-02T04:30:00Z'}", 0),
    ("a: {command: x, schedule: ['*/10 * * * *', '5 0-23 * * *']}", 11),
]  # fmt: skip


@pytest.mark.parametrize(("text", "starts"), GOES_ON)
@pytest.mark.parametrize("is_down", [False, True], ids=["live", "down"])
def test_what_goes_on(text: str, starts: int, is_down: bool) -> None:
    """Elapsed time goes on at once, whether the daemon saw the step or was down; a fixed time comes once."""
    world = World(*jobs(text))
    world.pass_time(5 * 3600)
    before = len(world.launched)
    world.step_clock(BACK, scheduler=not is_down)
    if is_down:
        world.boot()
    world.pass_time(-BACK - 60)
    assert starts == len(world.launched) - before
    assert len(keys(world)) == len({*keys(world)})
    world.pass_time(60)
    before = len(world.launched)
    world.pass_time(3600)
    assert ("at:" in text) != (len(world.launched) > before)


@pytest.mark.parametrize(("expression", "starts"), [("*/10 * * * *", 11), ("0,20,40 0-23 * * *", 0), ("@hourly", 1)])
def test_a_table_of_cron(expression: str, starts: int) -> None:
    """Its lines go on as jobs of files do."""
    world = World(*lines(expression), users={})
    world.pass_time(5 * 3600)
    before = len(world.launched)
    world.step_clock(BACK)
    world.pass_time(-BACK - 60)
    assert starts == len(world.launched) - before


def test_a_fixed_time_of_a_job_that_goes_on() -> None:
    """It comes once, over another step, a restart, and an edit of what else the job is due at."""
    world = World(*jobs("a: {command: x, schedule: ['*/30 * * * *', '45 0-23 * * *']}"))
    world.pass_time(3600)
    world.step_clock(-3600)
    world.pass_time(1800 + 60)
    world.step_clock(-1200)
    world.boot()
    assert ["00:30", "00:45", "01:00", "00:30"] == world.covered("a")
    world.write("jobs.yaml", *jobs("a: {command: x, schedule: ['*/20 * * * *', '45,59 0-23 * * *']}"))
    world.pass_time(3600)
    assert ["00:20", "00:40", "01:00"] == world.covered("a")[4:]
    assert 0 == world.scheduler["a"].saved.settled


@pytest.mark.parametrize("is_down", [False, True])
@pytest.mark.parametrize("back", [-2, -61 * 60, BACK, -4 * 3600])
@pytest.mark.parametrize("dependent", ["0 3 * * *", "*/10 * * * *", "0,10,20,30,40,50 0-23 * * *"])
@pytest.mark.parametrize("dependency", ["*/10 * * * *", "0 * * * *", "0,10,20,30,40,50 0-23 * * *"])
def test_a_run_that_waits_for_its_dependency(dependency: str, dependent: str, back: int, is_down: bool) -> None:
    """It starts after the run that it waits for, though the clock shows due times of its dependency again."""
    world = World(
        *jobs(
            f"p: {{command: x, schedule: '{dependency}'}},"
            f" c: {{command: x, schedule: '{dependent}', dependencies: [p]}}"
        ),
        seconds={"p": 60},
    )  # fmt: skip
    world.pass_time(3 * 3600 + 5)
    waits = max(run for run in world.scheduler.runs if run.job == "c")
    world.step_clock(back, scheduler=not is_down)
    if is_down:
        world.boot()
    world.pass_time(50)
    assert world.states()[str(waits)] == "due"
    world.pass_time(10)
    assert world.states()[str(waits)] == "succeeded"


def test_a_dependency_that_was_about_to_start() -> None:
    """A run waits for a fixed time whose start was put off by `spread`, as it comes once however the clock is set."""
    nightly, later = jobs(
        "p: {command: x, schedule: '0 2,3 * * *'}, c: {command: x, schedule: '0 3 * * *', dependencies: [p]}"
    )
    world = World(replace(nightly, offset=10 * MINUTE), later)
    world.pass_time(3 * 3600 + 5)
    world.step_clock(-20 * 60)
    world.pass_time(29 * 60)
    assert {"p@1": "succeeded", "c@1": "due"} == world.states()
    world.pass_time(120)
    assert {"p@1": "succeeded", "p@2": "succeeded", "c@1": "succeeded"} == world.states()


@pytest.mark.parametrize("catch_up", list(CatchUp))
def test_set_back_in_a_degraded_time(catch_up: CatchUp) -> None:
    """After a death nothing is due by the clock from before that the clock has shown only since it was set back."""
    world = World(job("a", "2-59/5 * * * *", catch_up=catch_up))
    world.pass_time(41 * 60)
    world.full.add("state")
    world.pass_time(13 * 60)
    world.step_clock(-600)
    world.pass_time(14 * 60)
    world.full.clear()
    world.boot()
    world.pass_time(600)
    due = {f"c{era}.{(MIDNIGHT // SECOND) + minute * 60}" for era, first, last in ((0, 2, 52), (1, 47, 67))
           for minute in range(first, last + 1, 5)}  # fmt: skip
    assert due == {*keys(world)}
    assert len(due) == len(keys(world))


@pytest.mark.parametrize("every", [1, 7, 60, 600])
@pytest.mark.parametrize("back", [0.6, 1, 1.1, 7, 7.1, 60, 60.1])
def test_a_small_step_repeats_nothing(every: int, back: float) -> None:
    """A minute at most, and not more than the time between two starts, is waited for."""
    due = -(-MIDNIGHT // SECOND // every) * every
    defined = jobs(f"a: {{command: x, every: {every}s, max_waiting: 9}}")
    world = World(*defined, seconds={"a": 0.1}, start=due * SECOND - SECOND // 2)
    world.pass_time(1)
    before = len(world.launched)
    world.step_clock(-back)
    world.pass_time(back + every + 1)
    comes_again = [key for key in keys(world)[before:] if key == f"c1.{due}"]
    assert (back > min(every, 60)) == bool(comes_again)
    assert len(world.launched) > before


@pytest.mark.parametrize("offset", [0, 7])
@pytest.mark.parametrize(("sleeps", "caught_up"), [(False, 3), (True, 6)])
def test_a_mistake_that_is_put_right(offset: int, sleeps: bool, caught_up: int) -> None:
    """What the clock is set over, and has run before, is not caught up; what is later is, and what comes in a sleep."""
    world = World(job("a", "*/10 * * * *", catch_up=CatchUp.ALL, offset=offset * MINUTE))
    world.pass_time(2 * 3600 + 5 * 60)
    world.step_clock(-3600)
    world.pass_time(25 * 60)
    before = keys(world)
    assert 3 == len([key for key in before if key.startswith("c1.")])
    if sleeps:
        world.now = Now(world.now.wall + HOUR, world.now.mono)
        world.happen(events.Slept(HOUR))
    else:
        world.step_clock(3600)
    world.happen(events.Woke())
    assert caught_up == len(keys(world)) - len(before)
    before = keys(world)
    world.step_clock(-3600)  # and what it was set over comes after all
    world.pass_time(1800)
    assert ["c2"] * 3 == [key[:2] for key in keys(world)[len(before) :]]


def test_what_a_fleet_has() -> None:
    """Each time that its clocks show is one occurrence: the host waits until its own is there again."""
    world = World(job("a", "*/10 * * * *", scope=Scope.FLEET))
    saved = SavedJob(job="a", cursor=MIDNIGHT + HOUR)
    found = set_back(saved, world.scheduler.catalog["a"], MIDNIGHT, HOUR + MINUTE)
    assert (saved.cursor, 0, saved.cursor) == (found.cursor, found.era, found.settled)


TIMES = job("a", "*/10 * * * *")
TABLE: dict[str, tuple[Job, int, int, int, tuple[int, int, int]]] = {
    # job, cursor, settled, by how much it was set back (0: unknown); cursor, era and settled then, from 2:00 on
    "nothing is ahead": (TIMES, -10, 0, 30, (-10, 0, 0)),
    "a minute": (TIMES, 1, 0, 1, (1, 0, 0)),
    "two": (TIMES, 1, 0, 2, (1, 0, 1)),
    "unknown": (TIMES, 10, 0, 0, (0, 1, 10)),
    "unknown, and nothing comes again": (TIMES, 9, 0, 0, (9, 0, 9)),
    "as long as a step": (TIMES, 180, 0, 180, (0, 1, 180)),
    "longer": (TIMES, -10, 0, 181, (0, 1, 0)),
    "by two steps": (TIMES, 181, 0, 10, (0, 1, 0)),
    "settled too far ahead": (TIMES, 0, 181, 10, (0, 1, 0)),
    "settled before": (TIMES, 0, 50, 10, (0, 0, 50)),
    "a minute after a longer step": (job("a", "* * * * *"), 1, 50, 1, (1, 0, 50)),
    "less than a minute after a longer step, unknown": (job("a", "* * * * *"), 1, 50, 0, (1, 0, 50)),
    "again": (TIMES, 20, 50, 30, (0, 1, 50)),
    "spread": (job("a", "*/10 * * * *", offset=15 * MINUTE), -10, 0, 20, (-15, 1, -10)),
    "spread after an edit": (job("a", "*/10 * * * *", offset=15 * MINUTE), -3, 0, 10, (-3, 0, 0)),
    "spread, unknown": (job("a", "*/10 * * * *", offset=15 * MINUTE), -10, 0, 0, (-10, 0, 0)),
}  # fmt: skip


@pytest.mark.parametrize("case", TABLE)
def test_where_a_clock_stands(case: str) -> None:
    """To the minute."""
    defined, cursor, settled, back, expected = TABLE[case]
    two = MIDNIGHT + 2 * HOUR
    at = lambda minutes: two + minutes * MINUTE  # noqa: E731
    saved = SavedJob(job="a", cursor=at(cursor), settled=settled and at(settled), previous=7)
    found = set_back(saved, defined, two, back * MINUTE)
    minutes = [(found.cursor - two) // MINUTE, found.era, found.settled and (found.settled - two) // MINUTE]
    assert expected == tuple(minutes)
    assert (0 if found.era else 7) == found.previous


# beside cron

EXPRESSIONS = (
    "*/7 * * * *",
    "5 * * * *",
    "5 1-23 * * *",
    "0,30 0-23/2 * * *",
    "*/20 1,2,3 * * *",
    "@daily",
    "20 2 * * *",
)
STEPS = st.lists(st.tuples(st.integers(1, 200), st.integers(1, 170)), min_size=1, max_size=4)


@settings(max_examples=25, derandomize=True, deadline=None)
@given(STEPS)
@example([(1, 108), (1, 1)])
def test_as_by_debians_cron(steps: list[tuple[int, int]]) -> None:
    """Whenever the clock is set back, by whole minutes and up to 3 h, each start is in the minute of cron's."""
    world = World(*lines(*EXPRESSIONS), start=MIDNIGHT + 20 * SECOND, users={})
    cron, theirs, reached = DebianCron(EXPRESSIONS, MIDNIGHT // MINUTE), list[tuple[int, str]](), MIDNIGHT // MINUTE
    for passed, back in [*steps, (200, 0)]:
        begin = world.now.wall // MINUTE + 1
        world.pass_time(60 * passed)
        for minute in range(begin, begin + passed):
            theirs += [(minute, expression) for expression in cron.wakes(minute)]
        reached = max(reached, world.now.wall // MINUTE)
        if (most := min(back, 170 - (reached - world.now.wall // MINUTE))) > 0:
            world.step_clock(-60 * most)
    told = {job.id: job.schedule[0] for job in world.scheduler.catalog}
    ours = [(at // MINUTE, told[run.rpartition("@")[0]]) for run, at in world.launched]
    assert sorted(theirs) == sorted(ours)


# in general


class Elapsed(World):
    """A world that notes of each start how much time has passed."""

    def __init__(self, *jobs: Job) -> None:
        self.starts: list[tuple[str, int]] = []
        super().__init__(*jobs)

    def _launch(self, command: Launch) -> None:
        super()._launch(command)
        self.starts.append((command.run.key.partition(".")[2], self.now.mono))


RHYTHMS = {
    "every: 7m": 420, "every: 1h": 3600, "every: 20s": 20, "schedule: '*/7 * * * *'": 480,
    "schedule: '3 * * * *'": 3600,
}  # fmt: skip
"""Triggers by elapsed time, and the seconds at most from one due time to the next."""
STEP = st.one_of(st.integers(-10_000, -1), st.integers(-90, -1), st.integers(1, 600), st.integers(600, 10_000))


@settings(max_examples=40, derandomize=True, deadline=None)
@given(st.sampled_from(sorted(RHYTHMS)), st.lists(st.tuples(st.booleans(), st.integers(1, 2000), STEP), max_size=6))
def test_elapsed_time_goes_on(rhythm: str, happened: list[tuple[bool, int, int]]) -> None:
    """However the clock is set, while the daemon lives or is down, no start is farther from the one before than the
    rhythm has it, but for a minute, and no occurrence has two records; where the clock was never set forward, the same
    time does not start twice within a minute, or sooner than the rhythm has it.
    """
    world, period = Elapsed(*jobs(f"a: {{command: x, {rhythm}, catch_up: all, max_waiting: 9999}}")), RHYTHMS[rhythm]
    times, backs = [world.now.mono], list[tuple[int, int]]()
    for is_live, passed, step in happened:
        world.pass_time(passed)
        world.step_clock(step, scheduler=is_live)
        backs.append((world.now.mono, min(max(0, -step), period)))
        world.happen(events.Woke()) if is_live else world.boot()
    world.pass_time(2 * 3600)
    told = keys(world)
    assert len(told) == len({*told})
    times += [*(at for _, at in world.starts), world.now.mono]
    for before, after in pairwise(times):
        later = sum(back for at, back in backs if before <= at <= after)  # as the next due time is, by the clock
        assert after - before <= (period + 61 + later) * SECOND
    if all(step < 0 for _, _, step in happened):
        last = dict[str, int]()
        for second, at in world.starts:
            assert at - last.get(second, -HOUR) >= min(period - 60 * (period == 480), 60) * SECOND - SECOND
            last[second] = at
