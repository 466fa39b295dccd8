"""Verdicts, and whose turn it is to ask for them: which part of the time that takes, and what is asked in the end."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest

from jobqueued.base.instants import MINUTE, SECOND
from jobqueued.child.fleet.etcd.host_order import HostOrder
from jobqueued.core.hosts.fleet_state import FleetState, SkipWish
from jobqueued.model.commands import AskToSkip
from jobqueued.model.fleet import FLEET
from jobqueued.model.job import Claim, Job, Scope
from jobqueued.timing.schedule import Every
from tests.support.fleet import Fleet, Host
from tests.support.world import job

TICK = job("tick", "*/10 * * * *", scope=Scope.FLEET)
OTHERS = 300


class Scene:
    """One host that has a job, beside hosts that have none, after a gap."""

    def __init__(self, tick: Job, others: int = OTHERS, seed: int = 1) -> None:
        self.fleet = Fleet(Random(seed))
        self.names = [f"other{number}" for number in range(others)]
        for name in self.names:
            self.fleet.etcd.put(f"/jq/hosts/{name}", f"{name}:1")
        self.host: Host = self.fleet.add("one", tick)
        self.fleet.pass_time(1)

    @property
    def state(self) -> FleetState:
        """What the host knows of its fleet."""
        return self.host.scheduler._state.fleet

    def miss(self, minutes: float) -> SkipWish:
        """Let it reach nobody for so long, until it has something to skip."""
        self.host.agent.cut()
        self.fleet.pass_time(minutes * 60)
        self.host.agent.heal()
        while not self.state.verdicts:
            self.fleet.pass_time(0.002)
        return self.state.verdicts["tick"]

    @property
    def skips(self) -> dict[str, str]:
        """What etcd has of skips, by the second of the last, from which one on."""
        values = self.fleet.etcd.values("/jq/runs/tick/")
        return {key.split("/")[4]: value.rpartition(" ")[2] for key, value in values.items() if "skipped" in value}


@pytest.mark.parametrize(("period", "within"), [(1, SECOND // 2), (3, SECOND * 3 // 4), (8, 2 * SECOND), (60, None)])
@pytest.mark.parametrize("seed", range(3))
def test_the_time_that_all_have(period: int, within: int | None, seed: int) -> None:
    """All hosts have had their turns after a quarter of the time between two starts, or half a second."""
    scene = Scene(replace(TICK, triggers=(Every(period * SECOND),)), seed=seed)
    scene.fleet.pass_time(seed * 17)
    verdict = scene.miss(3)
    wait = HostOrder([*scene.names, "one"]).wait("one", f"tick f{verdict.dues[-1] // SECOND}", within)
    assert wait
    assert verdict.asks_at is not None
    assert abs(verdict.asks_at - wait - scene.host.now.mono) < SECOND // 50


def test_who_is_alone_asks_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the same turn, whoever is told of it then; and for all of the gap."""
    scene, asked = Scene(TICK, others=0), list[AskToSkip]()
    act = scene.host._act

    def note(command: object) -> None:
        if isinstance(command, AskToSkip):
            asked.append(command)
            assert scene.state.verdicts["tick"].asks_at is None
        act(command)  # type: ignore[arg-type]

    monkeypatch.setattr(scene.host, "_act", note)
    scene.host.agent.cut()
    scene.fleet.pass_time(45 * 60)
    scene.host.agent.heal()
    scene.fleet.pass_time(1)
    (ask,) = asked
    assert 20 * 60 == ask.last - ask.first
    assert {str(ask.last): str(ask.first)} == scene.skips


def test_the_next_part_is_asked_for_at_once() -> None:
    """By whoever was left the one before it; until nothing is to be skipped any more."""
    scene = Scene(replace(TICK, triggers=(Every(MINUTE),)))
    scene.miss(40 * 60 / 60)
    first = scene.fleet.now
    scene.host.is_alive = False
    scene.host.agent.connection += 1
    scene.fleet.pass_time(2 * 86400)
    scene.host.boot()
    while not scene.state.leading:
        scene.fleet.pass_time(0.01)
        assert scene.fleet.now < first + 3 * 86400 * SECOND
    scene.fleet.pass_time(0.2)
    assert not scene.state.verdicts
    assert not scene.state.leading


def test_what_changes_before_it_is_asked_for() -> None:
    """The others hear what this host has decided about it: all that it was to ask for, and nothing else."""
    scene = Scene(TICK)
    verdict = scene.miss(45)
    assert (3, True) == (len(verdict.dues), verdict.asks_at is not None)
    scene.host.write("jobs.yaml")
    scene.fleet.pass_time(1)
    first, *_, last = (due // SECOND for due in verdict.dues)
    assert {str(last): str(first)} == scene.skips


@pytest.mark.parametrize("why", ["down", "outdated"])
def test_a_late_run_that_nobody_can_be_asked_about(why: str) -> None:
    """It waits for that, and is not asked about meanwhile."""
    lock = Claim(f"{FLEET}disk", exclusive=True)
    scene = Scene(replace(TICK, start_deadline=5 * SECOND, locks=(lock,)), others=0)
    scene.fleet.etcd.put("/jq/locks/disk", "else:1 other f1")
    scene.fleet.pass_time(602)
    assert 1 == len(scene.host.scheduler.runs)
    if why == "down":
        scene.host.agent.cut()
        scene.fleet.pass_time(11)
    else:
        scene.fleet.etcd.put("/jq/jobs/tick", "newer")
        scene.fleet.pass_time(11)
    assert (why == "down", {}, {}) == (bool(scene.state.down), scene.state.asked, scene.skips)
    assert 1 == len(scene.host.scheduler.runs)
