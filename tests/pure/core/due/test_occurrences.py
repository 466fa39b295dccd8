"""What makes a job due: the fuse, steps of the clock, events, files, ends of others, and what is against it."""

from __future__ import annotations

from typing import Any

import pytest

from jobqueued.base.instants import HOUR, MINUTE, SECOND
from jobqueued.core.due import clock
from jobqueued.core.state.turn import Turn
from jobqueued.model import events
from jobqueued.model.commands import Reply, Say
from jobqueued.model.job import CatchUp, On, Overlap
from jobqueued.model.run import Run, RunId
from jobqueued.model.saved import Hold
from jobqueued.model.submission import Array
from tests.support.world import MIDNIGHT, World, ended, job, submission

PATH = On("path", "/in")


@pytest.mark.parametrize(
    "told",
    [
        [(0, 100, False, False), (59, 0, False, False), (59, 1, True, True), (59.9, 1, True, False)],
        [(0, 101, True, True), (60, 1, True, False), (61, 99, True, False), (120, 1, False, False)],
        [(0, 101, True, True), (60, 101, True, False), (120, 1, True, False), (179, 1, True, False)],
        [(0, 101, True, True), (119.9, 1, True, False)],
        [(0, 101, True, True), (120, 1, False, False), (121, 99, False, False), (122, 1, True, True)],
        [(0, 50, False, False), (60, 100, False, False), (119.9, 1, True, True)],
    ],
)
def test_the_fuse(told: list[tuple[float, int, bool, bool]]) -> None:
    """More than a hundred a minute blow it, which is said once; a minute with fewer mends it."""
    world = World(job("a"))
    for second, fresh, blown, said in told:
        turn = Turn(world.scheduler._state, world.now._replace(mono=world.now.mono + round(second * SECOND)))
        assert (second, blown) == (second, clock._blows_fuse(turn, job("a"), fresh))
        assert [Say("fuse", {"job": "a"})] * said == turn.finish()
    assert (100, 10 * SECOND) == (clock.FUSE, clock.NEW)


@pytest.mark.parametrize(("late", "covered"), [(10 * SECOND, "00:01 fuse"), (10 * SECOND + 1, "00:01")])
def test_what_is_old_blows_no_fuse(late: int, covered: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is due for longer than ten seconds is caught up."""
    monkeypatch.setattr(clock, "FUSE", 0)
    world = World(job("a", "1 * * * *"))
    world._advance(MIDNIGHT + MINUTE + late)
    world.happen(events.Woke())
    assert [covered] == world.covered("a")


def test_many_at_once() -> None:
    """Those of the highest priority start in the first turn, and wait for no others; 64 come due in a turn at most."""
    jobs = [job(f"a{number}", "1 * * * *", priority=number // 100) for number in range(200)]
    world, found = World(*jobs), list[int]()
    world._advance(MIDNIGHT + MINUTE)
    while len(world.scheduler.runs) < 200:
        world.scheduler.handle(events.Woke(), world.now)
        found.append(len(world.scheduler.runs) - sum(found))
        assert len(found) > 1 or {"a100", "a101"} == {run.job for run in world.scheduler.runs}
    assert [2, 8, 32, 64, 64, 30] == found


def test_after_a_gap() -> None:
    """What came due at several instants goes by its order, though what came first needs nothing that is scarce."""
    low = [job(f"low{number}", f"{number + 1} 0 * * *", priority=-5) for number in range(4)]
    world = World(*low, job("high", "5 0 * * *", priority=9, exclusive=True))
    world.pass_time(600, scheduler=False)
    world.boot()
    assert ["high@1"] == [run for run, _ in world.launched]


def test_how_many_wait() -> None:
    """A hundred of what others than the clock have made due; of the clock's one, or with `catch_up: all` a hundred."""
    world = World(job("a"), job("b", "* * * * *"), job("c", "* * * * *", catch_up=CatchUp.ALL))
    world.happen(events.HoldAsked(0, "root", Hold("root")))
    for ticket in range(101):
        world.run("a", ticket + 1)
    assert (None, "a@101 was skipped: queue_full") == (world.replies[100].error, world.replies[101].value["reason"])
    world.pass_time(101 * 60)
    assert ["00:01", "00:02…01:41 queue_full ×100"] == world.covered("b")
    assert (101, "01:41 queue_full") == (len(world.covered("c")), world.covered("c")[-1])


def test_many_due_times_in_one_turn() -> None:
    """What is due after an occurrence that was refused is refused with it; one that somebody skips has its own record,
    and those after it run.
    """
    world = World(job("a", "* * * * *", catch_up=CatchUp.ALL, max_waiting=1))
    world.happen(events.HoldAsked(0, "root", Hold("root")))
    for ticket in range(2):
        world.happen(events.SkipAsked(ticket, "a", "root"))
    world.pass_time(600, scheduler=False)
    world.happen(events.Woke())
    assert ["00:01…00:02 skip_next ×2", "00:03", "00:04…00:10 queue_full ×7"] == world.covered("a")
    world.pass_time(600, scheduler=False)
    world.happen(events.Woke())
    assert ["00:01…00:02 skip_next ×2", "00:03", "00:04…00:20 queue_full ×17"] == world.covered("a")
    assert 19 == world.memories["a"].stats.skipped


def test_what_is_due_this_instant_is_due_before_what_people_ask() -> None:
    """A pause comes after it."""
    world = World(job("a", "0 * * * *"))
    world.pass_time(3600, scheduler=False)
    world.pause("a")
    assert {"a@1": "due"} == world.states()


@pytest.mark.parametrize(("offset", "covered"), [(30, ["01:00"]), (31, ["01:00"]), (29, ["01:00 paused"])])
def test_what_is_due_in_a_pause_and_starts_after_it(offset: int, covered: list[str]) -> None:
    """A job with an offset runs if its start, not its due time, is at the end of the pause or later."""
    world = World(job("a", "0 1 * * *", offset=offset * MINUTE, spread=HOUR))
    world.pause("a", until=MIDNIGHT + 90 * MINUTE)
    world.pass_time(100 * 60, scheduler=False)
    world.happen(events.Woke())
    assert covered == world.covered("a")


@pytest.mark.parametrize(
    ("step", "era", "covered"),
    [(3 * HOUR, 0, 0), (3 * HOUR + 1, 0, 1), (-3 * HOUR, 0, 0), (-3 * HOUR - 1, 1, 0), (4 * HOUR, 0, 1)],
)
def test_a_step_of_the_clock(step: int, era: int, covered: int) -> None:
    """A correction begins again from now: what was next, and is over by now, is a skip, to the instant."""
    world = World(job("a", "0 4 * * *", on=(PATH,)))
    state = world.scheduler._state
    state.remember("a", previous=7, appeared=MIDNIGHT + 5 * HOUR)
    world._advance(MIDNIGHT + 4 * HOUR - (step if step > 0 else 2 * HOUR))
    world.now = world.now._replace(wall=world.now.wall + step)
    world.happen(events.ClockStepped(step))
    saved = state["a"].saved
    is_correction = abs(step) > 3 * HOUR
    assert Say("clock_stepped", {"seconds": step / SECOND}) == world.did[0]
    assert (era, min(world.now.wall, MIDNIGHT + 5 * HOUR)) == (saved.era, saved.appeared)
    assert covered == len(world.covered("a"))
    if is_correction:
        assert (world.now.wall, 0) == (saved.cursor, saved.previous)
        assert ["04:00 clock"] * covered == world.covered("a")


def test_an_event() -> None:
    """The answer names the runs it has made due, who is disabled, and where nobody waits a similar name."""
    on = (On("event", "deployed"),)
    world = World(job("a", on=on), job("b", on=on, enabled=False), job("alice/c", on=(On("event", "alice/deployed"),)))
    by = {"version": 7}
    world.happen(events.Emitted(1, "deployed", "root", "x1", by))  # type: ignore[arg-type]
    value: dict[str, Any] = {"runs": ["a@1"], "disabled": ["b"], "nearest": None}
    told = Say("emitted", {"name": "deployed", "asked_by": "root", "runs": ["a@1"]})
    asked = "event deployed, emitted by root"
    assert [told, Reply(1, value, asked=asked)] == [it for it in world.did if isinstance(it, Reply) or it == told]
    assert {"event": "deployed", "version": 7} == world.rows[RunId("a", 1)][0].triggered_by
    nearest = {"deployd": "deployed", "alice/deployd": "alice/deployed", "bob/deployed": None, "xyz": None}
    for number, (name, near) in enumerate(nearest.items(), 2):
        world.happen(events.Emitted(number, name, "root", f"x{number}"))
        assert {"runs": [], "disabled": [], "nearest": near} == world.replies[number].value


@pytest.mark.parametrize(("count", "near"), [(1, "name0"), (200, "name0"), (201, None)])
def test_a_similar_event_among_many(count: int, near: str | None) -> None:
    """Among more than 200 nobody looks for one."""
    world = World(*(job(f"a{number}", on=(On("event", f"name{number}"),)) for number in range(count)))
    world.happen(events.Emitted(1, "nam0", "root", "x1"))
    assert near == world.replies[1].value["nearest"]


def test_a_file() -> None:
    """Each job that waits for it is due once, whoever before it is disabled; not again for what is older than that."""
    world = World(job("a", on=(PATH,), enabled=False), job("b", on=(PATH,)), job("c", on=(PATH,)))
    world.pass_time(60)
    for number, seconds in enumerate((59, 60, 70, 70, 71)):
        world.happen(events.PathAppeared("/in", MIDNIGHT + seconds * SECOND, f"p{number}", "/in"))
        world.pass_time(1 if number < 2 else 0)
        world.processes.clear()
        for run in list(world.scheduler.runs):
            world.happen(events.RunEnded(run, 1, ended(run)))
    assert [0, 3, 3] == [world.scheduler[name].saved.last_number for name in "abc"]
    assert MIDNIGHT + 71 * SECOND == world.scheduler["b"].saved.appeared


def test_who_hears_of_an_end() -> None:
    """By the id or a pattern, with the result that it waits for; not a disabled one, nor itself by a pattern."""
    world = World(
        job("a", on=(On("jobs", "*", "any"),)),
        job("ok", on=(On("job", "a", "success"),)), job("any", on=(On("job", "a", "any"),)),
        job("other", on=(On("job", "b", "any"), On("event", "x"))),
        job("two", on=(On("job", "b", "any"), On("job", "a", "failure"))),
        job("off", on=(On("job", "a", "any"),), enabled=False), job("b"),
        job("pattern", on=(On("jobs", "?", "success"),)),
        job("after", dependencies=("a",)), job("idle", dependencies=("a",), enabled=False),
        job("both", dependencies=("a",), on_dependency_failure="run"),
        seconds={"a": 1},
    )  # fmt: skip
    world.happen(events.HoldAsked(0, "root", Hold("root")))
    state = world.scheduler._state
    for code, heard in ((0, {"ok", "any", "pattern", "after", "both"}), (3, {"any", "two", "both"})):
        before = set(state.runs)
        run = RunId("a", 90 + code)
        record: Any = {
            **ended(run, "failed" if code else "succeeded", exit_code=code),
            "trace_id": "1" * 32,
            "span_id": "2" * 16,
        }
        sent = Run(id=run, key=f"x{code}", due=1, queued=1, arrival=1, trigger="manual")
        world.happen(events.Found(run, 1, sent), events.RunEnded(run, 1, record))
        assert heard == {it.job for it in set(state.runs) - before}
    told = state.runs[next(it for it in state.runs if it.job == "two")].triggered_by
    traceparent = f"00-{'1' * 32}-{'2' * 16}-01"
    assert {"run": "a@93", "state": "failed", "exit_code": 3, "signal": None, "traceparent": traceparent} == told


def test_who_waits_for_itself() -> None:
    """Its end makes due what can't run, and the record says why."""
    world = World(job("a", on=(On("job", "a", "any"),)))
    run = RunId("a", 5)
    sent = Run(id=run, key="x", due=1, queued=1, arrival=1, trigger="manual")
    world.happen(events.Found(run, 1, sent), events.RunEnded(run, 1, ended(run)))
    assert "invalid: it depends on itself: a → a" == world.rows[RunId("a", 6)][0].reason


def test_who_is_satisfied() -> None:
    """A run of a job without a clock uses up what has satisfied it, whatever has made it due."""
    world = World(job("a", dependencies=("b", "c")), job("b"), job("c"))
    for ticket, name in enumerate("ba"):
        world.run(name, ticket)
        world.pass_time(2)
    assert () == world.memories["a"].satisfied
    world.run("c", 3)
    world.pass_time(2)
    assert (("c",), 1) == (world.memories["a"].satisfied, world.memories["a"].last_number)


@pytest.mark.parametrize(
    ("fields", "runs", "reason"),
    [
        ({"max_runs": 1}, 2, "max_runs"),
        ({"overlap": Overlap.SKIP}, 2, "overlap"),
        ({"overlap": Overlap.SKIP, "concurrency": 2}, 3, "overlap"),
        ({"max_waiting": 0}, 1, "queue_full"),
        ({"max_waiting": 1}, 3, "queue_full"),
    ],
)
def test_what_is_against_it(fields: dict[str, Any], runs: int, reason: str) -> None:
    """The run of this number is skipped, those before are not."""
    world = World(job("a", **fields), seconds={"a": HOUR})
    for number in range(1, runs + 1):
        world.run("a", number)
        if number == 1:
            world.start("a@1") if reason == "max_runs" else None
    states = world.states()
    assert "skipped" not in list(states.values())[:-1]
    assert ("skipped", reason) == (states[f"a@{runs}"], world.rows[RunId("a", runs)][0].reason)


def test_overlap_counts_what_is_due_and_what_is_under_way() -> None:
    """A run that waits for a pause to end, and one that is live, are two."""
    world = World(job("a", "0 * * * *", overlap=Overlap.SKIP, concurrency=2, dependencies=("d",)), job("d"),
                  seconds={"a": 9e9})  # fmt: skip
    world.run("a")
    world.pass_time(3600)
    assert {"a@1": "starting", "a@2": "due"} == world.states()
    world.run("a", 2)
    assert "a@3 was skipped: overlap" == world.replies[2].value["reason"]


def test_only_the_clocks_runs_wait_for_dependencies() -> None:
    """One by hand is not held."""
    world = World(job("a", "0 * * * *", dependencies=("d",)), job("d"), seconds={"a": 60})
    world.run("a")
    assert 0 == world.scheduler.runs[RunId("a", 1)].held
    world.pass_time(3600)
    assert MIDNIGHT + HOUR == world.scheduler.runs[RunId("a", 2)].held


def test_what_is_replaced() -> None:
    """As many as are too many, those that have not started first; each has a record of its own."""
    world = World(
        job("a", overlap=Overlap.REPLACE, concurrency=3), job("hog"), max_running=3, seconds={"a": 9e9, "hog": 9e9}
    )
    world.run("hog")
    for ticket in range(1, 4):
        world.run("a", ticket)
    assert {"a@1": "starting", "a@2": "starting", "a@3": "waiting"}.items() <= world.states().items()
    world.run("a", 4)
    assert {"a@1": "starting", "a@2": "starting", "a@3": "skipped", "a@4": "waiting"}.items() <= world.states().items()
    world.run("a", 5)
    assert {"a@3": "skipped", "a@4": "skipped", "a@5": "waiting"}.items() <= world.states().items()
    assert "replaced by a@5" == world.rows[RunId("a", 4)][0].reason


def test_the_keys_of_a_submission() -> None:
    """Its runs are numbered from one."""
    world = World(seconds={"alice/1": HOUR})
    world.submit(submission(array=Array(1, 3)))
    assert ["s1", "s2", "s3"] == [run.key for run in world.scheduler.runs.values()]
