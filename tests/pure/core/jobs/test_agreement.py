"""Hosts of a fleet with different definitions of a job: the newest counts; whoever has another leaves it to them."""

from __future__ import annotations

from dataclasses import replace
from random import Random
from typing import Any

import pytest

from jobqueued.base.instants import SECOND
from jobqueued.control.views.views import condition, status
from jobqueued.core.hosts.memory import parse_definition
from jobqueued.core.jobs.agreement import spec_of
from jobqueued.model.job import CatchUp, Claim, Job, Scope
from tests.support.fleet import Fleet, Host
from tests.support.world import job

TICK = job("tick", "* * * * *", scope=Scope.FLEET, catch_up=CatchUp.ALL, max_waiting=100)
LATER = job("tick", "*/2 * * * *", scope=Scope.FLEET, catch_up=CatchUp.ALL, max_waiting=100)


def hosts(names: str = "abc", **options: Any) -> tuple[Fleet, list[Host]]:
    """A fleet that has agreed about the job."""
    fleet = Fleet(Random(1))
    found = [fleet.add(name, TICK, **options) for name in names]
    fleet.pass_time(1)
    return fleet, found


def outdated(host: Host) -> list[str]:
    """What it leaves to others."""
    return sorted(host.scheduler._state.fleet.outdated)


def spec_that_counts(fleet: Fleet) -> str:
    """The spec of the definition by which the fleet goes."""
    return parse_definition(fleet.etcd.values("/jq/jobs/")["/jq/jobs/tick"]).spec


def attention(host: Host) -> list[tuple[str, str]]:
    """What it tells a person to look at, and why."""
    found = host.scheduler.attention(host.now)
    return [(f"{one.kind} {one.job}", one.reason or "") for one in found]


def word_of(host: Host) -> str:
    """The status of the job there."""
    definition = host.scheduler.catalog["tick"]
    return status(definition, condition(host.scheduler, definition))


def runs_of(fleet: Fleet, host: Host) -> int:
    """The occurrences that a host has run."""
    return sum(owner == host.store for owner, _ in fleet.started.values())


def test_one_host_is_changed() -> None:
    """It alone runs the job, by the new schedule; the others say why, and go on once they have that, too."""
    fleet, (one, two, three) = hosts()
    one.write("jobs.yaml", LATER)
    fleet.pass_time(1)
    assert ([], ["tick"], ["tick"]) == tuple(map(outdated, (one, two, three)))
    assert "job_outdated" in [it.event for it in two.said]
    since = fleet.now
    fleet.pass_time(10 * 60)
    assert (5, 0, 0) == tuple(runs_of(fleet, host) for host in (one, two, three))
    two.run("tick")
    assert two.why("tick@1")[0].startswith("its fleet uses a newer definition than this host's files have")
    for host in (two, three):
        host.write("jobs.yaml", LATER)
    fleet.pass_time(10 * 60)
    assert ([], [], []) == tuple(map(outdated, (one, two, three)))
    assert [] == fleet.missing(LATER, since, fleet.now - 1)
    told = [[it.event for it in host.said if it.event in ("job_outdated", "job_agreed")] for host in (one, two)]
    assert [[], ["job_outdated", "job_agreed"]] == told
    assert "succeeded" == two.states()["tick@1"]


def test_a_job_that_is_gone_is_no_longer_outdated() -> None:
    """Nothing of that is left on the host that had it."""
    fleet, (one, two) = hosts("ab")
    one.write("jobs.yaml", LATER)
    fleet.pass_time(1)
    assert ["tick"] == outdated(two)
    two.write("jobs.yaml")
    assert [] == outdated(two)


def test_it_begins_anew() -> None:
    """A restart makes an old definition no newer, and a new one no older, though nothing could be published before."""
    fleet, (one, two) = hosts("ab")
    one.write("jobs.yaml", LATER)
    fleet.pass_time(1)
    two.boot()
    fleet.pass_time(1)
    assert ([], ["tick"]) == (outdated(one), outdated(two))
    for host in (one, two):
        host.agent.cut()
    fleet.pass_time(30)
    for host in (one, two):
        host.write("jobs.yaml", TICK)
        host.boot()
    for host in (one, two):
        host.agent.heal()
    fleet.pass_time(1)
    assert ([], []) == (outdated(one), outdated(two))
    assert spec_of(TICK) == spec_that_counts(fleet)


def test_a_host_that_joins() -> None:
    """It changes nothing: where its definition is another, it is the one that is outdated."""
    fleet, _ = hosts("ab")
    three = fleet.add("c", LATER)
    fleet.pass_time(1)
    assert ["tick"] == outdated(three)
    three.write("jobs.yaml", TICK)
    fleet.pass_time(1)
    assert [] == outdated(three)


def test_who_looks_sees_it() -> None:
    """A host tells that the job is outdated there, and why; not of one that is disabled, nor while it can't know."""
    fleet, (one, two, three) = hosts()
    three.write("jobs.yaml", replace(TICK, enabled=False))
    one.write("jobs.yaml", LATER)
    fleet.pass_time(1)
    because = "its fleet uses a newer definition than this host's files have; to run the job here: "
    remedy = "update these files, or change the job in them, because the last change counts"
    assert ([], [("outdated tick", because + remedy)], []) == tuple(map(attention, (one, two, three)))
    assert ["Idle", "Outdated", "Disabled"] == [word_of(host) for host in (one, two, three)]
    two.run("tick")
    assert "Outdated" == word_of(two)
    two.agent.cut()
    fleet.pass_time(30)
    assert ([], "Waiting") == (attention(two), word_of(two))
    two.agent.heal()
    two.write("jobs.yaml", LATER)
    fleet.pass_time(30)
    assert [] == attention(two)


def test_a_host_without_the_label() -> None:
    """What it would not run in any case needs nobody there."""
    fleet = Fleet(Random(1))
    one, two = (
        fleet.add("a", replace(TICK, hosts=("gpu",)), labels=("gpu",)),
        fleet.add("b", replace(TICK, hosts=("gpu",))),
    )
    fleet.pass_time(1)
    one.write("jobs.yaml", replace(LATER, hosts=("gpu",)))
    fleet.pass_time(1)
    assert (["tick"], [], "Idle") == (outdated(two), attention(two), word_of(two))


def test_the_newest_of_two() -> None:
    """Two hosts that are changed at the same time agree on one of the definitions, and one of them is outdated."""
    fleet, (one, two) = hosts("ab")
    one.write("jobs.yaml", LATER)
    two.write("jobs.yaml", replace(LATER, priority=5))
    fleet.pass_time(1)
    assert sorted([[], ["tick"]]) == sorted([outdated(one), outdated(two)])


def test_nobody_has_it_any_more() -> None:
    """A host that joined with another definition can have it count by a change, and no restart does that."""
    fleet, (one,) = hosts("a")
    two = fleet.add("b", LATER)
    fleet.pass_time(1)
    one.is_alive = False
    two.boot()
    fleet.pass_time(10 * 60)
    assert (["tick"], 0) == (outdated(two), runs_of(fleet, two))
    two.write("jobs.yaml", replace(LATER, priority=1))
    fleet.pass_time(10 * 60)
    assert ([], True) == (outdated(two), runs_of(fleet, two) > 0)


def test_by_which_it_runs() -> None:
    """A run that is asked about as its job is published anew is not granted by the old definition."""
    fleet, (one, two) = hosts("ab")
    two.agent.cut()
    fleet.pass_time(59)
    one.write("jobs.yaml", LATER)
    fleet.pass_time(0.9)
    two.agent.heal()
    fleet.pass_time(2)
    assert ["tick"] == outdated(two)
    assert 0 == runs_of(fleet, two)


def test_specs() -> None:
    """A spec is that of what is said, not of where; each thing that is said makes it another."""
    assert spec_of(TICK) == spec_of(replace(TICK, file="/elsewhere", line=9, offset=5, enabled=False))
    others = [
        LATER, replace(TICK, priority=1), replace(TICK, locks=(Claim("tape", exclusive=True),)),
        replace(TICK, locks=(Claim("tape"),)), replace(TICK, metadata={"a": 1}), replace(TICK, command=("true",)),
    ]  # fmt: skip
    assert len({spec_of(each) for each in [TICK, *others]}) == 7


def test_a_spec_lasts() -> None:
    """It is the same in each version, and for each way to write the same: else a fleet that is being updated stands."""
    plain = Job(id="tick", command="true", schedule=("* * * * *",), scope=Scope.FLEET)
    assert "58d8eca2a4cc1bd3" == spec_of(plain)


@pytest.mark.parametrize("delay", [0.5, 5])
@pytest.mark.parametrize("others", [0, 1, 2])
def test_edited_and_edited_back(delay: float, others: int) -> None:
    """A job that is changed and changed back before etcd has answered runs on all hosts, by the last change."""
    fleet, found = hosts()
    found[0].agent.delay = round(delay * SECOND)
    for host in found[: others + 1]:
        host.write("jobs.yaml", LATER)
    fleet.pass_time(0.1)
    for host in found[: others + 1]:
        host.write("jobs.yaml", TICK)
    fleet.pass_time(60)
    assert [[], [], []] == [*map(outdated, found)]
    since = fleet.now
    fleet.pass_time(5 * 60)
    assert [] == fleet.missing(TICK, since, fleet.now - SECOND)


def test_edited_back_by_a_restart() -> None:
    """The same where the scheduler ends in between, before there was an answer."""
    fleet, found = hosts()
    found[0].agent.delay = SECOND // 2
    found[0].write("jobs.yaml", LATER)
    fleet.pass_time(0.1)
    found[0].files["jobs.yaml"] = (TICK,)
    found[0].boot()
    fleet.pass_time(60)
    assert [[], [], []] == [*map(outdated, found)]
    assert spec_of(TICK) == spec_that_counts(fleet)


def test_a_new_job_is_edited_at_once() -> None:
    """A job that the fleet has never had goes by the edit that came before the fleet had it."""
    fleet = Fleet(Random(1))
    one, two = (fleet.add(name) for name in "ab")
    fleet.pass_time(1)
    one.agent.delay = SECOND // 2
    one.write("jobs.yaml", TICK)
    fleet.pass_time(0.1)
    one.write("jobs.yaml", LATER)
    fleet.pass_time(5)
    two.write("jobs.yaml", LATER)
    fleet.pass_time(5)
    assert ([], [], spec_of(LATER)) == (
        outdated(one),
        outdated(two),
        spec_that_counts(fleet),
    )


@pytest.mark.parametrize("pause", [0, 0.001, 1])
def test_what_helps_where_no_host_has_it(pause: float) -> None:
    """A job that is outdated on all hosts runs again where it is changed, and changed back, as is said there."""
    fleet, found = hosts()
    fleet.etcd.put("/jq/jobs/tick", "0123456789abcdef")
    fleet.pass_time(5)
    assert [["tick"]] * 3 == [*map(outdated, found)]
    assert "change the job in them, because the last change counts" in attention(found[2])[0][1]
    found[2].write("jobs.yaml", replace(TICK, priority=1))
    fleet.pass_time(pause)
    found[2].write("jobs.yaml", TICK)
    fleet.pass_time(5)
    assert [[], [], []] == [*map(outdated, found)]


def test_others_change_it_meanwhile() -> None:
    """A change that comes to nothing, as another host's came first, and was taken back, leaves the job to that host."""
    fleet, (one, two) = hosts("ab")
    one.agent.delay = SECOND
    one.write("jobs.yaml", LATER)
    two.write("jobs.yaml", replace(TICK, priority=1))
    fleet.pass_time(0.2)
    one.write("jobs.yaml", TICK)
    fleet.pass_time(10)
    assert (["tick"], []) == (outdated(one), outdated(two))
    two.write("jobs.yaml", LATER)
    fleet.pass_time(10)
    assert (["tick"], []) == (outdated(one), outdated(two)), "what it had published once is not its own any more"


@pytest.mark.parametrize(
    "edits",
    [
        ["b1", "a2", "a0", "b0"],
        ["b1", "a2", "b2", "a0", "b0"],
        ["b1", "a2", "b2", "b0", "a0"],
        ["b1", "a2", "c1", "a0", "c0", "b0"],
    ],
)
def test_others_edit_it_and_edit_it_back(edits: list[str]) -> None:
    """A publication that is still on its way has no effect after other hosts changed the job and changed it back."""
    fleet, found = hosts()
    fleet.hosts["b"].agent.delay = SECOND
    for host, priority in edits:
        fleet.hosts[host].write("jobs.yaml", replace(TICK, priority=int(priority)))
        fleet.pass_time(0.1)
    fleet.pass_time(60)
    assert ([[], [], []], spec_of(TICK)) == ([*map(outdated, found)], spec_that_counts(fleet))
    since = fleet.now
    fleet.pass_time(5 * 60)
    assert [] == fleet.missing(TICK, since, fleet.now - SECOND)
