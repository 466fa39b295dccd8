"""Verdicts for all hosts of a fleet: what none of them runs any more has one record in the whole fleet."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest

from jobqueued.base.instants import HOUR, MINUTE, SECOND
from jobqueued.core.hosts.claimed_by_others import Elsewhere, SkippedSpan, span_of
from jobqueued.model import events
from jobqueued.model.commands import Ask, AskToSkip, GiveBack, WriteRecord
from jobqueued.model.fleet import FLEET, MaySkip, Returned
from jobqueued.model.job import CatchUp, Claim, Job, Scope
from jobqueued.model.run import Run
from jobqueued.model.run_states import RunState
from jobqueued.model.saved import Hold
from jobqueued.timing.schedule import Every
from tests.support.fleet import Fleet, Host
from tests.support.world import MIDNIGHT, job

TICK = job("tick", "*/10 * * * *", scope=Scope.FLEET)
DISK = Claim("disk", exclusive=True)


def hosts(*jobs: Job, names: str = "abc", **options: object) -> tuple[Fleet, list[Host]]:
    """A fleet whose hosts have these jobs, a moment after all were told that it is up."""
    fleet = Fleet(Random(1))
    found = [fleet.add(name, *jobs, **options) for name in names]  # type: ignore[arg-type]
    fleet.pass_time(1)
    return fleet, found


def skipped(*found: Host) -> list[Run]:
    """The skips of hosts."""
    return [run for host in found for run, _ in host.rows.values() if run.state is RunState.SKIPPED]


def told(*found: Host) -> list[tuple[str, str, int]]:
    """The skips of hosts, by their first due time, the reason and how many they are."""
    return [(f"{(run.due - MIDNIGHT) // MINUTE}'", run.reason or "", run.count) for run in skipped(*found)]


def cut(fleet: Fleet, minutes: float) -> None:
    """Let no host reach etcd for a while."""
    for host in fleet.hosts.values():
        host.agent.cut()
    fleet.pass_time(minutes * 60)


@pytest.mark.parametrize("apart", [0, 0.004, 0.02, 20])
def test_a_gap(apart: float) -> None:
    """What all hosts have missed has one record, whether they come back at once or one after another."""
    fleet, found = hosts(TICK)
    cut(fleet, 35)
    for host in found:
        host.agent.heal()
        fleet.pass_time(apart)
    fleet.pass_time(60)
    assert [("tick", f"f{(MIDNIGHT + 30 * MINUTE) // SECOND}")] == list(fleet.started)
    assert [("10'", "missed", 2)] == told(*found)


@pytest.mark.parametrize("why", ["missed", "paused", "start_deadline"])
def test_few_ask(why: str) -> None:
    """Of many hosts few ask: the others leave it to them."""
    deadline = MINUTE if why == "start_deadline" else None
    tick = job("tick", "*/10 * * * *", scope=Scope.FLEET, start_deadline=deadline, exclusive=False, locks=(DISK,))
    own = job("own", locks=(DISK,), on=())
    fleet, found = hosts(tick, own, names="abcdefghijkl", seconds={"own": 10**6})
    if why == "missed":
        cut(fleet, 32)
        for host in found:
            host.agent.heal()
    elif why == "paused":
        found[0].happen(events.PauseAsked(1, "tick", "root", pause=True))
        fleet.pass_time(31 * 60)
    else:
        for host in found:
            host.run("own")
        fleet.pass_time(31 * 60)
    fleet.pass_time(30)
    skips = [key for key, value in fleet.etcd.values("/jq/runs/").items() if "skipped" in value]
    assert {why} == {run.reason for run in skipped(*found)}
    assert skips
    assert max(fleet.wanted[key] for key in skips) <= (5 if why == "missed" else 2), (
        "a host that has just come back knows few others"
    )


@pytest.mark.parametrize(("count", "period"), [(30, 1), (100, 1), (1000, 5)])
def test_one_of_many_that_has_the_job(count: int, period: int) -> None:
    """What it leaves to others, who know nothing of the job, does not keep its clock from what is due by now."""
    often = replace(TICK, triggers=(Every(period * SECOND),))
    fleet = Fleet(Random(1))
    for number in range(count - 1):
        fleet.etcd.put(f"/jq/hosts/other{number}", f"other{number}:1")
    one = fleet.add("one", often)
    fleet.pass_time(30)
    cut(fleet, 2)
    one.agent.heal()
    fleet.pass_time(10)
    assert fleet.now - one.cursor("tick") <= (period + 1) * SECOND


@pytest.mark.parametrize("why", ["edited", "gone down"])
def test_who_is_left_with_it(why: str) -> None:
    """What somebody has not asked for yet is had by others where that one takes the job away, or goes down."""
    for seed in range(10):
        fleet = Fleet(Random(seed))
        for number in range(27):
            fleet.etcd.put(f"/jq/hosts/other{number}", f"other{number}:1")
        found = [fleet.add(name, TICK) for name in "abc"]
        fleet.pass_time(1)
        cut(fleet, 35)
        for host in found:
            host.agent.heal()
        fleet.pass_time(0.3)
        if why == "edited":
            found[0].write("jobs.yaml")
        else:
            found[0].is_alive = False
            found[0].agent.cut()
        fleet.pass_time(90)
        assert [("10'", "missed", 2)] == [it for it in told(*found) if it[1] == "missed"], seed


@pytest.mark.parametrize("back", [0.2, 5, 30, 300])
def test_a_clock_that_is_set_back_while_others_are_first(back: float) -> None:
    """A run that is not late any more is not held for that."""
    tick = job("tick", "*/5 * * * *", scope=Scope.FLEET, start_deadline=5 * SECOND)
    put_off = 0
    for seed in range(12):
        fleet = Fleet(Random(seed))
        one = fleet.add("a", tick)
        for name in "bcd":
            fleet.add(name)
        fleet.pass_time(300 * (seed + 2) - 1)
        one.happen(events.HoldAsked(1, "root", Hold("root")))
        fleet.pass_time(6.02)
        put_off += any(asked.asks_at is not None for asked in one.scheduler._state.fleet.asked.values())
        one.step_clock(-back)
        one.happen(events.HoldAsked(2, "root", None))
        fleet.pass_time(3590)
        assert not one.scheduler.runs, seed
    assert put_off > 3


@pytest.mark.parametrize("days", [-1, 1])
def test_a_clock_that_is_corrected_while_others_are_first(days: int) -> None:
    """What was to be skipped by the wrong time counts no more, and moves no cursor."""
    fleet = Fleet(Random(1))
    for number in range(30):
        fleet.etcd.put(f"/jq/hosts/other{number}", f"other{number}:1")
    one = fleet.add("one", TICK)
    fleet.pass_time(1)
    cut(fleet, 35)
    one.agent.heal()
    while not one.scheduler._state.fleet.verdicts:
        fleet.pass_time(0.02)
    one.step_clock(days * 86400)
    fleet.pass_time(30)
    assert abs(one.now.wall - one.cursor("tick")) <= 10 * MINUTE


def test_a_long_gap_is_one_hosts() -> None:
    """Whoever was left a part of it asks for the next one at once."""
    often = replace(TICK, triggers=(Every(MINUTE),))
    fleet = Fleet(Random(1))
    for number in range(300):
        fleet.etcd.put(f"/jq/hosts/other{number}", f"other{number}:1")
    one = fleet.add("one", often)
    fleet.pass_time(30)
    one.is_alive = False
    one.agent.connection += 1
    fleet.pass_time(7 * 86400)
    one.boot()
    fleet.pass_time(20)
    assert fleet.now - one.cursor("tick") <= MINUTE


def test_hosts_that_see_different_gaps() -> None:
    """A host that comes back later has more to skip: it skips what is left."""
    tick = job("tick", "*/10 * * * *", scope=Scope.FLEET, catch_up=CatchUp.NONE)
    fleet, (one, two, three) = hosts(tick)
    cut(fleet, 15)
    one.agent.heal()
    fleet.pass_time(1)
    assert [("10'", "missed", 1)] == told(one)
    one.agent.cut()
    fleet.pass_time(20 * 60)
    for host in (two, three, one):
        host.agent.heal()
    fleet.pass_time(60)
    assert ({}, 3) == (fleet.started, sum(run.count for run in skipped(one, two, three)))
    assert [] == fleet.doubled(tick, MIDNIGHT, fleet.now)


def test_what_another_has_run_in_between() -> None:
    """Neither what ran on another host nor what that skipped is skipped again by who was away."""
    tick = job("tick", "*/10 * * * *", scope=Scope.FLEET, catch_up=CatchUp.NONE)
    fleet, (one, two) = hosts(tick, names="ab")
    cut(fleet, 15)
    one.agent.heal()
    fleet.pass_time(10 * 60)
    one.agent.cut()
    fleet.pass_time(10 * 60)
    two.agent.heal()
    fleet.pass_time(60)
    assert [("tick", f"f{(MIDNIGHT + 20 * MINUTE) // SECOND}")] == list(fleet.started)
    assert ([("10'", "missed", 1)], [("30'", "missed", 1)]) == (told(one), told(two))


def test_a_pause() -> None:
    """What comes due while all have paused the job is skipped once, and what comes after that runs."""
    fleet, found = hosts(TICK)
    since = fleet.now
    found[0].happen(events.PauseAsked(7, "tick", "root", pause=True, until=MIDNIGHT + 35 * MINUTE))
    fleet.pass_time(45 * 60)
    assert [("tick", f"f{(MIDNIGHT + 40 * MINUTE) // SECOND}")] == list(fleet.started)
    assert (3, []) == (sum(run.count for run in skipped(*found)), fleet.doubled(TICK, since, fleet.now))
    assert {"paused"} == {run.reason for run in skipped(*found)}


def test_a_pause_that_is_found_at_a_start() -> None:
    """A host that starts during a pause, after missed occurrences, asks for their skip with the fleet's definition."""
    fleet, (a, b) = hosts(TICK, names="ab")
    a.leave()
    fleet.pass_time(5 * 60)
    b.happen(events.PauseAsked(1, "tick", "root", pause=True))
    fleet.pass_time(5)
    b.leave()
    fleet.pass_time(30 * 60)
    a.come_back()
    fleet.pass_time(60)
    a.happen(events.PauseAsked(2, "tick", "root", pause=False))
    fleet.pass_time(10 * 60)
    assert ("tick", f"f{(MIDNIGHT + 40 * MINUTE) // SECOND}") in fleet.started
    assert [("10'", "missed", 2)] == told(a, b)


def test_a_pause_that_ends_unseen() -> None:
    """A pause that ends while nobody can ask: what came due in it is skipped once, what came later goes on."""
    fleet, found = hosts(TICK)
    found[0].happen(events.PauseAsked(7, "tick", "root", pause=True, until=MIDNIGHT + 25 * MINUTE))
    fleet.pass_time(1)
    cut(fleet, 35)
    for host in found:
        host.agent.heal()
    fleet.pass_time(60)
    assert [("tick", f"f{(MIDNIGHT + 30 * MINUTE) // SECOND}")] == list(fleet.started)
    assert [("10'", "paused", 2)] == told(*found)


def test_a_start_deadline() -> None:
    """A run that no host could start in time is skipped by one; nothing of it is left on the others."""
    tick = job("tick", "0 * * * *", scope=Scope.FLEET, start_deadline=5 * MINUTE, locks=(DISK,))
    disk = job("disk", locks=(DISK,))
    fleet, found = hosts(tick, disk, seconds={"disk": 2 * 3600})
    for number, host in enumerate(found):
        host.run("disk", number + 1)
    fleet.pass_time(3600 + 5 * 60 + 5)
    assert ({}, [("60'", "start_deadline", 1)]) == (fleet.started, told(*found))
    assert 1 == sum(run.id.job == "tick" for host in found for run, _ in host.rows.values())


def test_an_older_occurrence_that_another_host_gives_back() -> None:
    """Its skip has its own record, because the record of a later skip does not cover its due time."""
    tick = job("tick", "0 * * * *", scope=Scope.FLEET, start_deadline=5 * MINUTE, locks=(DISK,))
    fleet, (one,) = hosts(tick, job("disk", locks=(DISK,)), names="a", seconds={"disk": 3 * 3600})
    one.run("disk", 1)
    fleet.pass_time(3600 + 6 * 60)
    one.happen(Returned("tick", f"f{MIDNIGHT // SECOND}", "b:id"))
    fleet.pass_time(60)
    assert [("60'", "start_deadline", 1), ("0'", "start_deadline", 1)] == told(one)


def test_a_deadline_while_nobody_can_ask() -> None:
    """It is skipped once somebody can ask, and does not start then."""
    tick = job("tick", "0 * * * *", scope=Scope.FLEET, start_deadline=5 * MINUTE, locks=(DISK,))
    disk = job("disk", locks=(DISK,))
    fleet, found = hosts(tick, disk, seconds={"disk": 3600 + 4 * 60})
    for number, host in enumerate(found):
        host.run("disk", number + 1)
    fleet.pass_time(3600 + 60)
    cut(fleet, 20)
    assert ({}, []) == (fleet.started, told(*found))
    for host in found:
        host.agent.heal()
    fleet.pass_time(60)
    assert ({}, [("60'", "start_deadline", 1)]) == (fleet.started, told(*found))


def test_a_deadline_while_it_is_asked_about() -> None:
    """A run that was asked for, and whose answer does not come in time, is skipped; its claims are given back."""
    tape = Claim(f"{FLEET}tape", exclusive=True)
    tick = job("tick", "0 * * * *", scope=Scope.FLEET, start_deadline=2 * SECOND, locks=(tape,))
    fleet, (one,) = hosts(tick, names="a")
    one.agent.delay = 3 * SECOND
    fleet.pass_time(3600 + 60)
    assert ({}, [("60'", "start_deadline", 1)]) == (fleet.started, told(one))
    assert {} == fleet.etcd.values("/jq/locks/")


@pytest.mark.parametrize("act", [AskToSkip, WriteRecord])
@pytest.mark.parametrize("when", ["before its commit", "before", "after"])
def test_a_scheduler_that_dies(when: str, act: type) -> None:
    """Whoever dies as it skips, before or after it has asked, leaves one record in the end, its own or another's."""
    for names in ("a", "ab"):
        fleet, found = hosts(TICK, names=names)
        cut(fleet, 35)
        found[0].die(when, act)
        for host in found:
            host.agent.heal()
        fleet.pass_time(3)
        assert not found[0].is_alive or names == "ab"
        found[0].boot()
        fleet.pass_time(60)
        assert 1 == len(fleet.started), names
        assert [("10'", "missed", 2)] == told(*found), names


def test_an_edit_while_it_is_asked() -> None:
    """A definition that comes in between goes on with what is undecided; one with another rhythm decides it at once."""
    for schedule, expected in (("*/10 * * * *", [("10'", "missed", 2)]), ("5 * * * *", [("10'", "missed", 2)])):
        fleet, (one,) = hosts(TICK, names="a")
        cut(fleet, 35)
        one.agent.heal()
        while "tick" not in one.scheduler._state.fleet.verdicts:
            fleet.pass_time(0.001)
        one.write("jobs.yaml", job("tick", schedule, scope=Scope.FLEET, priority=3))
        fleet.pass_time(60)
        assert expected == told(one)


def test_a_host_that_is_behind() -> None:
    """A host with an older definition leaves it to those that are up to date."""
    fleet, (one, two) = hosts(TICK, names="ab")
    one.write("jobs.yaml", job("tick", "*/10 * * * *", scope=Scope.FLEET, priority=3))
    fleet.pass_time(1)
    cut(fleet, 35)
    two.agent.heal()
    fleet.pass_time(30)
    assert ([], {}) == (told(two), fleet.started)
    one.agent.heal()
    fleet.pass_time(30)
    assert ([("10'", "missed", 2)], []) == (told(one), told(two))


def test_nothing_is_asked_while_it_goes_well() -> None:
    """No verdict is asked for what runs in time."""
    fleet, found = hosts(TICK)
    fleet.pass_time(HOUR // SECOND)
    assert all(isinstance(asked, Ask) for host in found for asked in host.asks)
    assert {} == fleet.etcd.values("/jq/skipped/")


def test_what_a_span_covers() -> None:
    """The end of an occurrence in words says what else was skipped with it; whatever else stands for itself."""
    assert SkippedSpan(3, 9) == span_of("skipped 3", 9)
    assert [SkippedSpan(9, 9)] * 4 == [
        span_of(state, 9) for state in ("skipped", "succeeded", "skipped x", "skipped ³")
    ]


def test_the_first_that_is_free() -> None:
    """What is asked for in one piece has nothing of others, or of this host's own, in between."""
    known, dues = Elsewhere(), [second * SECOND for second in range(10, 90, 10)]
    assert dues == known.first_free("a", dues, set())
    known.note("a", SkippedSpan(10, 10), 0)
    known.note("a", SkippedSpan(45, 45), 0)
    known.note("a", SkippedSpan(60, 70), 0)
    assert dues[1:4] == known.first_free("a", dues, set())
    assert dues[1:2] == known.first_free("a", dues, {30 * SECOND})
    assert dues[4:5] == known.first_free("a", dues[4:], set())
    assert dues[7:] == known.first_free("a", dues[5:], set())
    assert [] == known.first_free("a", dues[5:7], set())
    known.pass_by("a", 69 * SECOND)
    assert (False, True) == (known.has("a", dues[0]), known.has("a", dues[6]))


def test_how_much_is_known() -> None:
    """Of too many the oldest are forgotten."""
    known = Elsewhere()
    for second in range(1, 12_000):
        known.note("a", SkippedSpan(second, second), 0)
        known.note("b", SkippedSpan(2 * second, 2 * second + 1), 0)
    assert (False, True) == (known.has("a", SECOND), known.has("a", 11_999 * SECOND))
    assert (False, True) == (known.has("b", 2 * SECOND), known.has("b", 2 * 11_999 * SECOND))
    few = Elsewhere()
    for second in range(1, 102):
        few.note("a", SkippedSpan(2 * second, 2 * second + 1), 0)
    for second in range(1, 10_002):
        few.note("b", SkippedSpan(second, second), 0)
    assert [False, True] == [few.has("a", 2 * second * SECOND) for second in (50, 51)]
    assert [False, True] == [few.has("b", second * SECOND) for second in (5000, 5001)]


def asks(fleet: Fleet, host: Host) -> None:
    """Wait until a host asks for what it has missed, and was not answered yet."""
    while "tick" not in host.scheduler._state.fleet.verdicts:
        fleet.pass_time(0.001)


def test_a_run_that_waits_where_another_host_skips_it() -> None:
    """It is skipped with the rest by a host that saw it as missed; the one where it waits lets go of it."""
    tick = job("tick", "*/10 * * * *", scope=Scope.FLEET, locks=(DISK,))
    fleet, (one, two) = hosts(tick, job("disk", locks=(DISK,)), names="ab", seconds={"disk": 3600})
    one.run("disk")
    two.agent.cut()
    fleet.pass_time(12 * 60)
    assert ["tick@1"] == [str(run.id) for run in one.scheduler.runs.values() if run.id.job == "tick"]
    one.agent.cut()
    fleet.pass_time(23 * 60)
    two.agent.heal()
    fleet.pass_time(1)
    one.agent.heal()
    fleet.pass_time(60)
    assert ([], [("10'", "missed", 2)]) == (told(one), told(two))
    assert [("tick", f"f{(MIDNIGHT + 30 * MINUTE) // SECOND}")] == [key for key in fleet.started if key[0] == "tick"]
    assert not any(run.id.job == "tick" for run in one.scheduler.runs.values())


def test_a_session_that_ends_meanwhile() -> None:
    """What was asked of a fleet that can't be asked any more is asked anew once it can."""
    fleet, (one,) = hosts(TICK, names="a")
    cut(fleet, 35)
    one.agent.heal()
    asks(fleet, one)
    cut(fleet, 1)
    assert [] == told(one)
    one.agent.heal()
    fleet.pass_time(60)
    assert [("10'", "missed", 2)] == told(one)


def test_another_definition_meanwhile() -> None:
    """What was refused as the fleet has another definition is asked anew once it has this host's again."""
    fleet, (one,) = hosts(TICK, names="a")
    spec = fleet.etcd.values("/jq/jobs/")["/jq/jobs/tick"]
    cut(fleet, 35)
    one.agent.heal()
    asks(fleet, one)
    fleet.etcd.put("/jq/jobs/tick", "other")
    fleet.pass_time(60)
    assert ([], {}) == (told(one), fleet.started)
    fleet.etcd.put("/jq/jobs/tick", spec)
    fleet.pass_time(60)
    assert [("10'", "missed", 2)] == told(one)


@pytest.mark.parametrize("seed", range(12))
def test_a_run_that_is_asked_for_as_another_host_skips_it(seed: int) -> None:
    """Whoever is first, nothing of the run is left in the fleet that nobody has, and no lock is kept."""
    chance, tape = Random(seed), Claim(f"{FLEET}tape", exclusive=True)
    tick = job("tick", "*/10 * * * *", scope=Scope.FLEET, locks=(DISK, tape), catch_up=CatchUp.NONE)
    fleet, (one, two, three) = hosts(tick, job("disk", locks=(DISK,)), seconds={"disk": 35 * 60})
    since = fleet.now
    three.run("disk")
    one.agent.cut()
    two.agent.cut()
    fleet.pass_time(35 * 60 - 0.02)
    for host in (one, two):
        host.agent.heal()
        fleet.pass_time(chance.choice([0.002, 0.005, 0.02]))
    fleet.pass_time(130)
    assert ([], {}) == (fleet.doubled(tick, since, fleet.now), fleet.etcd.values("/jq/locks/"))
    assert {} == {key: value for key, value in fleet.etcd.values("/jq/runs/").items() if " " not in value}


def test_a_question_about_what_a_skip_covers() -> None:
    """The fleet may grant it after all, so it is told that it is over."""
    fleet, (one,) = hosts(TICK, names="a")
    fleet.pass_time(10 * 60 - 5)
    while not one.scheduler._state.fleet.asked:
        fleet.pass_time(0.001)
    (run,) = one.scheduler._state.fleet.asked
    first = one.scheduler.runs[run].key
    one.happen(events.Taken("tick", f"f{int(first[1:]) + 600}", f"skipped {first[1:]}"))
    assert (GiveBack("tick", first, "over") in one.did, {}) == (True, dict(one.scheduler.runs))


def test_an_event_that_is_older_than_a_grant() -> None:
    """A host that gives up a run because of a late event returns what the fleet granted meanwhile, so a run follows."""
    fleet, (one,) = hosts(replace(TICK, locks=(Claim(f"{FLEET}tape", exclusive=True),)), names="a")
    fleet.pass_time(10 * 60 - 5)
    while not one.scheduler._state.fleet.asked:
        fleet.pass_time(0.001)
    (run,) = one.scheduler._state.fleet.asked
    key = one.scheduler.runs[run].key
    one.happen(events.Taken("tick", key, ""))
    assert GiveBack("tick", key, "returned") in one.did
    fleet.pass_time(25 * 60)
    assert 2 <= len([each for each in fleet.started if each[1] > key])
    one.agent.conversation.give_back(fleet.now, "tick", "f1772999990", "returned")
    assert not one.agent.conversation.wants, "the host has no such occurrence, so the agent sends nothing"


def test_a_grant_of_an_earlier_question() -> None:
    """A host that asks for less, as another host has an occurrence, records all that the first question is granted."""
    fleet, (one,) = hosts(TICK, names="a")
    cut(fleet, 35)
    one.agent.heal()
    while not any(isinstance(each, AskToSkip) for each in one.did):
        fleet.pass_time(0.001)
    first, last = MIDNIGHT // SECOND + 600, MIDNIGHT // SECOND + 1200
    one.happen(events.Taken("tick", f"f{first}", ""))
    one.happen(events.Woke())
    assert [last * SECOND] == one.scheduler._state.fleet.verdicts["tick"].dues
    one.happen(Returned("tick", f"f{first}", "b"))
    one.happen(MaySkip("tick", first, last))
    assert [("10'", "missed", 2)] == told(one)
    fleet.pass_time(60)
    assert [("10'", "missed", 2)] == told(one)


@pytest.mark.parametrize(
    "value",
    ["x skipped " + "9" * 5000, "x skipped 9999999999", "a skipped x", "", "x skipped 0", "a skipped 9999999999"],
    ids=list("abcdef"),
)
@pytest.mark.parametrize("place", ["600/1", "900/1", "900/x", "1200/1", "4800/1"])
def test_what_no_host_has_written(place: str, value: str) -> None:
    """Whatever somebody puts there, the clock of the job goes on, and no daemon ends."""
    fleet, (one,) = hosts(TICK, names="a")
    cut(fleet, 35)
    second, number = place.split("/")
    fleet.etcd.put(f"/jq/runs/tick/{MIDNIGHT // SECOND + int(second)}/{number}", value)
    one.agent.heal()
    fleet.pass_time(60 * 60)
    assert {} == one.scheduler._state.fleet.verdicts
    assert f"f{(MIDNIGHT + 90 * MINUTE) // SECOND}" in {key for _, key in fleet.started}


@pytest.mark.parametrize("first", ["", "900"])
def test_a_skip_of_this_host_that_it_does_not_know(first: str) -> None:
    """This host died before it recorded its skip. It records all three occurrences, each once."""
    fleet, (one,) = hosts(TICK, names="a")
    cut(fleet, 45)
    last = MIDNIGHT // SECOND + 1200
    skipped_from = MIDNIGHT // SECOND + int(first) if first else last
    fleet.etcd.put(f"/jq/runs/tick/{last}/1", f"a skipped {skipped_from}")
    one.agent.heal()
    fleet.pass_time(60)
    assert [("10'", "missed", 3)] == told(one)
    assert [("tick", f"f{(MIDNIGHT + 40 * MINUTE) // SECOND}")] == list(fleet.started)


@pytest.mark.parametrize("held_back", ["concurrency", "pause"])
def test_a_deadline_behind_something_else(held_back: str) -> None:
    """A run that waited behind another one, or a pause, as nobody could ask, is skipped once somebody can."""
    tick = job("tick", "0 * * * *", scope=Scope.FLEET, start_deadline=5 * MINUTE)
    fleet, (one,) = hosts(tick, names="a", seconds={"tick": 4 * 3600})
    fleet.pass_time(2 * 3600 + 10)
    if held_back == "pause":
        one.happen(events.PauseAsked(7, "tick", "root", pause=True))
        fleet.pass_time(1)
    cut(fleet, 10)
    one.agent.heal()
    fleet.pass_time(60)
    assert [("120'", "start_deadline", 1)] == told(one)


def test_a_deadline_that_is_asked_about() -> None:
    """A run that was held back until then waits for the answer from then on."""
    tick = job("tick", "0 * * * *", scope=Scope.FLEET, start_deadline=5 * MINUTE)
    fleet, (one,) = hosts(tick, names="a", seconds={"tick": 4 * 3600})
    one.agent.delay = 3 * SECOND
    fleet.pass_time(2 * 3600 + 5 * 60 + 1)
    (run,) = (run for run in one.scheduler.runs.values() if run.state is RunState.WAITING)
    assert MIDNIGHT + 125 * MINUTE == run.since


def test_a_job_that_is_disabled() -> None:
    """Of what others run of it nothing is kept."""
    fleet, (_, two) = hosts(TICK, names="ab")
    two.write("jobs.yaml", job("tick", "*/10 * * * *", scope=Scope.FLEET, enabled=False))
    fleet.pass_time(3600)
    assert 6 == len(fleet.started)
    assert not two.scheduler._state.fleet.elsewhere._taken
