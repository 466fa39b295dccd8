"""Incidents of a job of a fleet: whichever hosts its runs fail on, people are told once, and once of the end."""

from __future__ import annotations

from random import Random

import pytest

from jobqueued.base.instants import HOUR
from jobqueued.core.records.recollection import end_of
from jobqueued.model.commands import EndedElsewhere
from jobqueued.model.job import Scope
from jobqueued.model.notify import Notify, NotifyRule
from jobqueued.notices import happenings
from tests.support.fleet import Fleet
from tests.support.told import OPS, Told, record
from tests.support.world import job


class Hosts:
    """Hosts that hear of the ends of each other's runs."""

    def __init__(self, *rules: NotifyRule) -> None:
        self.hosts = [Told(rules or [OPS]) for _ in range(3)]

    def ends(self, host: int, exit_code: int = 0, state: str = "", others: bool = True) -> None:
        """A run ends on a host; half an hour passes.  `others`: they hear of it."""
        self.hosts[host].ends("sync", exit_code, state=state)
        for other in self.hosts:
            if other is not self.hosts[host] and others:
                self.hear(other, end_of(record("sync", 1, exit_code, state)))
            other.wait(HOUR // 2)

    def hear(self, host: Told, state: str) -> None:
        """A host hears of an end."""
        host.commit(host.notices.about([EndedElsewhere("sync", state)], host.wall))

    @property
    def told(self) -> list[list[str]]:
        """What each host has told."""
        return [host.events for host in self.hosts]


def test_one_trouble_of_three_hosts() -> None:
    """The first that fails tells, and tells of the end, wherever that was; over restarts, too."""
    fleet = Hosts()
    for host in (0, 1, 2, 1):
        fleet.ends(host, 1)
        fleet.hosts[host].restart()
    assert [["failure"], [], []] == fleet.told
    fleet.ends(2)
    assert [["failure", "recovery"], [], []] == fleet.told
    assert (
        fleet.hosts[0]
        .summaries[1]
        .startswith("sync has succeeded on another host of its fleet; before that, it failed 4 ")
    )
    assert [{}, {}, {}] == [host.incidents for host in fleet.hosts]
    fleet.ends(1, 1)
    fleet.ends(1)
    assert [["failure", "recovery"], ["failure", "recovery"], []] == fleet.told


def test_another_failure() -> None:
    """It is told anew, by the host that had it, which tells of the end then."""
    fleet = Hosts()
    fleet.ends(0, 1)
    fleet.ends(1, 2)
    fleet.ends(0, 2)
    fleet.ends(2)
    assert [["failure"], ["failure", "recovery"], []] == fleet.told


def test_a_reminder() -> None:
    """Where the host that has told is gone, another reminds, and tells of the end."""
    fleet = Hosts()
    fleet.ends(0, 1)
    fleet.hosts.pop(0)
    for _ in range(13):
        fleet.ends(0, 1)
    fleet.ends(0)
    assert [["reminder", "recovery"], []] == fleet.told


def test_what_nobody_hears() -> None:
    """A host that has heard of nothing tells."""
    fleet = Hosts()
    fleet.ends(0, 1, others=False)
    fleet.ends(1, 1)
    assert [["failure"], ["failure"], []] == fleet.told


def test_who_wants_nothing() -> None:
    """Of what nobody wants to be told nothing is kept; no success of another host is told as one."""
    fleet = Hosts(NotifyRule(Notify(on=("success",), email=("ops@example.org",))))
    fleet.ends(0, 1)
    fleet.ends(0)
    assert [["success"], [], []] == fleet.told
    assert [{}, {}, {}] == [host.incidents for host in fleet.hosts]


@pytest.mark.parametrize("state", ["", "over", "killed", "skipped 7", "failedness", "succeeded 3"])
def test_what_is_no_trouble(state: str) -> None:
    """Whatever else is told of an end opens nothing, and ends nothing."""
    assert happenings.elsewhere("sync", state) is None


def test_what_a_fleet_tells() -> None:
    """The end of a run is heard by all others, with the way it failed; what is told of again changes nothing, also to
    who has begun anew.
    """
    tick = job("tick", "* * * * *", scope=Scope.FLEET, expect=99 * HOUR)
    fleet = Fleet(Random(1))
    found = [fleet.add(name, tick) for name in "abc"]
    for host in found:
        host.ends = {"tick": ["failed 3"]}
    fleet.pass_time(5 * 60 + 30)
    heard = [state for host in found for state in host.heard]
    assert 2 * 5 == len(heard)
    assert {"failed exit code 3"} == set(heard)
    agent = found[0].agent
    agent.cut()
    fleet.pass_time(12)
    agent.heal()
    fleet.pass_time(8)
    found[1].boot()
    fleet.pass_time(2)
    assert heard == [state for host in found for state in host.heard]
