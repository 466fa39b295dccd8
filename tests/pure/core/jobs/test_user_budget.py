"""One budget a user, whatever way the work came: file, submission, crontab."""

from __future__ import annotations

import json

import pytest

from jobqueued.model import events
from jobqueued.model.accounts import Account, accounts
from jobqueued.model.job import Job
from jobqueued.model.run import RunId
from jobqueued.model.run_states import LIVE, RunState
from jobqueued.model.users import Owner, UserLimits
from jobqueued.queue.admission import USER
from jobqueued.runs.account_questions import AccountQuestions
from tests.support.world import World, job

ALICE = Owner(1000, "alice")
LONG = {"crontabs/alice:x": 3600.0, "crontabs/alice:y": 3600.0, "host": 3600.0}


def line(name: str, *schedules: str, table: str = "crontabs/alice") -> Job:
    """A line of a crontab, as crontabs/jobs.py reads it."""
    user = table.partition("/")[2] or "alice"
    return job(f"{table}:{name}", *schedules, user=user, concurrency=1000, file=table)


def a_world(*jobs: Job, most: int = 2) -> World:
    """A host whose users may have so many live runs each; each run takes an hour."""
    return World(*jobs, most_of_a_user=most, users={}, seconds=dict.fromkeys((it.id for it in jobs), 3600))


def live(world: World) -> list[str]:
    """The jobs with live runs."""
    return sorted(run.id.job for run in world.scheduler.live)


def test_lines_of_a_crontab_wait() -> None:
    """A crontab of many lines has no more live runs than any user; the others wait, and start as these end."""
    lines = [line(f"{number}", "0 1 * * *") for number in range(5)]
    world = a_world(*lines)
    world.pass_time(3601)
    assert [it.id for it in lines[:2]] == live(world)
    waits = RunId(lines[2].id, 1)
    assert USER == world.scheduler.lacks(waits)
    assert (
        "2 runs of alice are live, which is the limit for each user"
        in world.scheduler.explain(waits, world.now)["reasons"]
    )
    world.pass_time(3600)
    assert [it.id for it in lines[2:4]] == live(world)


def test_all_ways_are_one_budget() -> None:
    """What lives of a user's crontab leaves as much less for that user's files, and the other way round."""
    world = a_world(line("x", "0 1 * * *"), job("alice/a", owner=ALICE), job("alice/b", owner=ALICE))
    world.pass_time(3601)
    world.run("alice/a")
    world.run("alice/b")
    assert ["alice/a", "crontabs/alice:x"] == live(world)
    world.pass_time(3600)
    assert ["alice/b"] == live(world)


def test_left_processes_count_as_live() -> None:
    """An ended attempt whose processes are alive takes a place of its user, each attempt one, until they end."""
    world = a_world(job("alice/a", owner=ALICE), job("alice/b", owner=ALICE), line("x"), job("bob/a"))
    left = [events.LeftBehind(RunId("alice/a", 7), attempt) for attempt in (1, 2)]
    world.happen(left[0], *left)
    for name in ("alice/b", "bob/a"):
        world.run(name)
    assert ["bob/a"] == live(world)
    assert {RunId("alice/a", 7)} == world.scheduler.left
    assert ["2 runs of alice are live, which is the limit for each user; ended runs count until the processes that "
            "they left end: alice/a@7, alice/a@7"] == world.why("alice/b@1")  # fmt: skip
    world.happen(left[1]._replace(over=True, output=5), left[1]._replace(over=True))
    assert ["alice/b", "bob/a"] == live(world)
    assert ["alice/a"] == world.looked_after
    world.happen(left[0]._replace(over=True))
    assert set() == world.scheduler.left


@pytest.mark.parametrize("table", ["crontab", "cron.d/x", "anacrontab", "crontabs/root"])
def test_tables_of_root_have_no_bound(table: str) -> None:
    """A line of a table of the system is the host's work, whatever user it names; so is one of root's own crontab."""
    lines = [line(f"{number}", "0 1 * * *", table=table) for number in range(5)]
    world = a_world(*lines)
    world.pass_time(3601)
    assert [it.id for it in lines] == live(world)


def test_another_user_is_not_kept_waiting() -> None:
    """Each user has a budget, and what waits for one keeps nobody else waiting."""
    world = a_world(*(line(f"{number}", "0 1 * * *") for number in range(5)),
                    line("x", "0 1 * * *", table="crontabs/bob"))  # fmt: skip
    world.pass_time(3601)
    assert ["crontabs/alice:0", "crontabs/alice:1", "crontabs/bob:x"] == live(world)


def test_the_host_goes_first() -> None:
    """Where slots are scarce, a run of the host starts before those of a user's crontab that were due earlier."""
    lines = [line("x", "0 1 * * *"), line("y", "0 1 * * *")]
    world = World(*lines, job("host", "1 1 * * *"), max_running=1, users={}, seconds=LONG)
    world.pass_time(3700)
    assert [lines[0].id] == live(world)
    world.pass_time(3600)
    assert ["host"] == live(world)


def test_a_line_has_one_run_that_waits() -> None:
    """Lines that pile up do so by one each: what is due while one waits is skipped, as the queue is full."""
    world = a_world(line("x", "* * * * *"), most=1)
    world.pass_time(301)
    states = [run.state for run in world.scheduler.runs.values()]
    assert (1, 1) == (sum(state in LIVE for state in states), states.count(RunState.WAITING))
    skipped = [record for _, record in world.rows.values() if record and record["state"] == "skipped"]
    assert {"queue_full"} == {record["reason"] for record in skipped}


def test_after_a_restart_they_count() -> None:
    """Live runs of a crontab that a new daemon finds count as before."""
    world = a_world(*(line(f"{number}", "0 1 * * *") for number in range(3)))
    world.pass_time(3601)
    world.boot()
    assert ["crontabs/alice:0", "crontabs/alice:1"] == live(world)
    assert RunState.WAITING == world.scheduler.runs[RunId("crontabs/alice:2", 1)].state


def test_the_user_of_a_crontab_is_asked_about_by_the_rules() -> None:
    """Whether that user may have jobs; for lines of root's tables, only whether the user exists."""
    crontab = Account("crontab", "alice")
    assert (crontab,) == accounts(line("x"))
    assert (Account("user", "alice"),) == accounts(line("x", table="cron.d/alice"))
    assert (Account("user", "root"),) == accounts(line("x", table="crontabs/root"))
    questions = AccountQuestions()
    questions.users = UserLimits(allow=("alice",), deny=("@guests",))
    *_, asked = questions.ask(crontab).decode().split(" ", 3)
    assert ["alice", ["alice"], ["@guests"]] == json.loads(asked)


def test_a_user_who_may_have_no_jobs() -> None:
    """No line runs, and its skips have the reason; the next start after that user may have jobs is a run."""
    it, denial = line("x", "* * * * *"), "user 'alice' may not have jobs here"
    users = {"alice": denial}
    world = World(it, users=users)
    world.pass_time(200)
    assert ([], denial) == (live(world), world.scheduler.invalid(it))
    assert {f"invalid: {denial}"} == {record["reason"] for _, record in world.rows.values() if record}
    users.clear()
    world.pass_time(120)
    assert world.scheduler[it.id].saved.stats.started
