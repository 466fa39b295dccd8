"""How long a host was away from its fleet: what waits there does not run if others may have run it since."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from random import Random

import pytest

from jobqueued.base.instants import DAY, HOUR, MINUTE, SECOND
from jobqueued.core.fleet.fleet import _FORGOTTEN
from jobqueued.model import events
from jobqueued.model.fleet import FleetMark, FleetReachability
from jobqueued.model.job import CatchUp, Claim, Job, Scope
from tests.support.fleet import Fleet, Host
from tests.support.world import MIDNIGHT, job

H = 3600
DISK = Claim("disk", exclusive=True)
TICK = job(
    "tick", "*/10 * * * *", scope=Scope.FLEET, catch_up=CatchUp.ALL, max_waiting=1000, catch_up_window=3 * HOUR,
    locks=(DISK,),
)  # fmt: skip
OWN = job("own", locks=(DISK,))


def hosts(tick: Job = TICK) -> tuple[Fleet, Host, Host]:
    """Two hosts, on both of which a run of the job waits for a lock of the host, for an hour."""
    fleet = Fleet(Random(1))
    one, two = (fleet.add(name, tick, OWN, seconds={"own": H, "tick": 1}) for name in "ab")
    fleet.pass_time(90)
    one.run("own")
    two.run("own")
    fleet.pass_time(15 * 60)
    assert [2, 2] == [len(host.scheduler.runs) for host in (one, two)]
    return fleet, one, two


def given_up(host: Host) -> int:
    """How many runs were given up that may be forgotten."""
    return sum(each.event == "run_skipped" and each.fields["reason"] == _FORGOTTEN for each in host.said)


def test_the_schedule_is_edited_meanwhile() -> None:
    """That moves the job's clock, and is no sign that the host was in the fleet."""
    fleet, one, two = hosts()
    one.agent.cut()
    fleet.pass_time(9 * H)
    rarer = job("tick", "*/15 * * * *")
    new = replace(TICK, triggers=rarer.triggers, schedule=rarer.schedule)
    one.write("jobs.yaml", new, OWN)
    two.write("jobs.yaml", new, OWN)
    one.agent.heal()
    fleet.pass_time(10 * 60)
    assert 1 == given_up(one)


def stand_still(
    host: Host,
    hours: float,
    event: Callable[[int], events.Event],
    *,
    is_told_first: bool,
    mark: FleetMark | None = None,
) -> None:
    """Stand still, as a virtual machine that is paused, or asleep; then hear that the session is over, maybe after a
    mark.
    """
    step = round(hours * HOUR)
    host.agent.cut()
    host.is_alive = False
    host.processes = {name: end + step for name, end in host.processes.items()}
    host.fleet.pass_time(hours * H)
    host.is_alive = True
    host.now = host.now._replace(wall=host.now.wall - step, mono=host.now.mono - step)
    if is_told_first:
        host.happen(FleetReachability("the session is over"))
    host.now = host.now._replace(wall=host.now.wall + step)
    host.happen(event(step))
    if mark is not None:
        host.happen(mark)
    if not is_told_first:
        host.happen(FleetReachability("the session is over"))


@pytest.mark.parametrize("event", [events.ClockStepped, events.Slept])
@pytest.mark.parametrize("is_told_first", [True, False])
@pytest.mark.parametrize("hours", [2.5, 9])
def test_a_host_that_stood_still(event: Callable[[int], events.Event], hours: float, *, is_told_first: bool) -> None:
    """It was away for as long as its clock shows by then, whether it hears that before or after its clock is right."""
    fleet, one, _ = hosts()
    stand_still(one, hours, event, is_told_first=is_told_first)
    fleet.pass_time(2.9 * H)
    one.agent.heal()
    fleet.pass_time(2 * H)
    assert 1 == given_up(one)
    since = fleet.now - HOUR
    assert not fleet.missing(TICK, since, fleet.now - MINUTE)


def test_a_host_that_stood_still_and_begins_anew() -> None:
    """Its agent may look at the mark before it knows that the session is over: that is no sign that it was there."""
    fleet, one, _ = hosts()
    known = one.mark
    stand_still(one, 9, events.ClockStepped, is_told_first=False, mark=known)
    assert one.mark.at < fleet.now - 8 * HOUR
    one.leave()
    fleet.pass_time(60)
    one.come_back()
    fleet.pass_time(2 * H)
    assert 1 == given_up(one)


def test_a_clock_that_is_set_back_meanwhile() -> None:
    """What is known of when the host was there is so by the new time."""
    fleet, one, _ = hosts(replace(TICK, catch_up=CatchUp.NONE))
    one.agent.cut()
    fleet.pass_time(5.5 * H)
    for host in fleet.hosts.values():
        host.step_clock(-2.9 * H)
    one.agent.heal()
    fleet.pass_time(10 * 60)
    assert 1 == given_up(one)


@pytest.mark.parametrize("at", [DAY, -MIDNIGHT])
def test_a_mark_of_another_time(at: int) -> None:
    """A mark that was saved in the future, or nobody knows when, tells nothing of when the host was there."""
    fleet, one, _ = hosts()
    one.leave()
    one.mark = one.mark._replace(at=max(0, one.mark.at + at))
    one.agent.there = 0
    fleet.pass_time(9 * H)
    one.come_back()
    fleet.pass_time(10 * 60)
    assert 1 == given_up(one)


@pytest.mark.parametrize("way", ["down", "cut off"])
def test_a_mark_that_is_saved_before_all_was_told(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """That its agent has reached etcd is no sign that the host was there: it may hear of no others."""
    fleet, one, _ = hosts()
    if way == "down":
        one.leave()
    else:
        one.agent.cut()
    fleet.pass_time(9 * H)
    number = one.mark.number
    if way == "down":
        monkeypatch.setattr(one.agent.conversation, "complete", lambda _: False)
        one.come_back()
    else:
        monkeypatch.setattr(one.agent.conversation, "complete", lambda _: False)
        one.agent.heal()
    fleet.pass_time(0.1)
    assert (True, True) == (one.mark.number > number, bool(one.scheduler.fleet.down))
    one.leave()
    fleet.pass_time(70)
    one.come_back()
    fleet.pass_time(10 * 60)
    assert 1 == given_up(one)


def test_a_host_that_goes_down_soon_after_it_came_back() -> None:
    """It has saved at once that it was there: what has come due since waits on."""
    fleet, one, two = hosts()
    one.agent.cut()
    fleet.pass_time(9 * H)
    two.leave()
    one.agent.heal()
    fleet.pass_time(2)
    assert one.mark.at > fleet.now - 2 * SECOND
