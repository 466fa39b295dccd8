"""A host that skips a claimed occurrence for a reason of its own returns the occurrence to the other hosts."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import pytest

from jobqueued.base.instants import HOUR, SECOND
from jobqueued.base.replace import changed
from jobqueued.core.fleet import to_return
from jobqueued.model import events
from jobqueued.model.accounts import Account
from jobqueued.model.job import Scope
from jobqueued.model.run import RunId
from jobqueued.model.saved import SavedJob
from jobqueued.model.users import Owner
from tests.support.fleet import Fleet, Host, Rules
from tests.support.world import MIDNIGHT, job

ALICE = Account("user", "alice")
TICK = job("tick", "0 1 * * *", scope=Scope.FLEET, hosts=("gpu",), user="alice")
KEY = f"f{(MIDNIGHT + HOUR) // SECOND}"


def claimed(names: str = "abc", rules: Rules | None = None) -> tuple[Fleet, Host]:
    """A fleet, and the host that claimed an occurrence; the network is cut before the host gets the grant."""
    fleet = Fleet(Random(1))
    for name in names:
        fleet.add(name, TICK, labels=("gpu",), seconds={"tick": 30}, rules=rules)
    fleet.pass_time(1)
    for host in fleet.hosts.values():
        host.happen(events.AccountKnown(ALICE, ""))
    fleet.pass_time(HOUR / SECOND - 2)
    while ("run", "tick", KEY) not in fleet.etcd.keys:
        fleet.pass_time(0.001)
    host = fleet.hosts[fleet.etcd.keys["run", "tick", KEY].store]
    host.agent.cut()
    assert not host.launched
    return fleet, host


def _without_file(host: Host) -> None:
    host.leave()
    del host.files["jobs.yaml"]


SKIPS: dict[str, tuple[str, Callable[[Host], object]]] = {
    "a removed job": ("job_removed", lambda host: host.write("jobs.yaml")),
    "a job that was removed while the host was down": ("job_removed", _without_file),
    "a missing user": (
        "invalid: no user",
        lambda host: host.happen(events.AccountKnown(ALICE, "no user")),
    ),
}


@pytest.mark.parametrize("then", ["connected", "cut off", "killed"])
@pytest.mark.parametrize("cause", SKIPS)
def test_another_host_runs_it(cause: str, then: str) -> None:
    """The host that skips it records the skip once; exactly one other host runs the occurrence."""
    reason, act = SKIPS[cause]
    fleet, one = claimed()
    if then == "connected":
        one.agent.heal()
    act(one)
    if then == "killed" and one.is_alive:
        one.leave()
    fleet.pass_time(5)
    one.agent.heal() if one.is_alive else one.come_back()
    fleet.pass_time(60)
    others = [host for host in fleet.hosts.values() if host is not one]
    assert ["succeeded"] == [state for host in others for state in host.states().values()]
    assert [("tick", KEY)] == list(fleet.started)
    assert [f"01:00 {reason}"] == one.covered("tick")


def test_a_missing_label() -> None:
    """Another host runs the occurrence, also if this host skips it before the agent reports that the host has it."""
    fleet, one = claimed(rules=Rules(sweep=False))
    one.leave()
    one.limits = one.limits._replace(labels=())
    one.come_back()
    one.happen(events.AccountKnown(ALICE, ""))
    fleet.pass_time(60)
    assert ["01:00 this host no longer has the label gpu"] == one.covered("tick")
    assert [("tick", KEY)] == list(fleet.started)


def test_what_ended_is_not_returned() -> None:
    """If the job comes back and the host runs the returned occurrence itself, it does not return it again."""
    fleet, one = claimed("a")
    one.write("jobs.yaml")
    one.write("jobs.yaml", TICK)
    one.agent.heal()
    fleet.pass_time(10)
    assert 1 == len(one.launched)
    assert () == one.scheduler._state["tick"].saved.to_return
    one.agent.cut()
    fleet.pass_time(60)
    one.agent.heal()
    fleet.pass_time(60)
    assert 1 == len(one.launched)
    assert fleet.etcd.keys["run", "tick", KEY].state in ("over", "succeeded")


def test_a_limit() -> None:
    """A job's saved keys do not grow without limit; the oldest are dropped."""
    _, one = claimed("a")
    state = one.scheduler._state
    run = state.runs[RunId("tick", 1)]
    for second in range(1, 1003):
        to_return.remember(state, changed(run, key=f"f{second}"))
        to_return.remember(state, changed(run, key=f"f{second}"))
    assert tuple(f"f{second}" for second in range(3, 1003)) == state["tick"].saved.to_return


def test_a_new_owner() -> None:
    """The keys belong to the host and the job ID, so they remain if the job gets another owner."""
    saved = SavedJob(job="tick", owner=Owner(1, "a"), to_return=(KEY,))
    assert (KEY,) == saved.of(Owner(2, "b")).to_return
