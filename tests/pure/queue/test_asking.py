"""Jobs that may ask for more than a host has."""

from __future__ import annotations

import pytest

from jobqueued.core.hosts.fleet_state import FleetState
from jobqueued.core.records.host_limits import HostLimits
from jobqueued.core.runs.validity import verdicts
from jobqueued.core.state.other_hosts import OtherHosts
from jobqueued.core.state.scheduler_state import SchedulerState
from jobqueued.model.job import Claim, Job, Scope
from jobqueued.queue.locks import FLEET, may_ask_too_much
from tests.support.world import job

BOUNDED = [
    job("a"), job("a", exclusive=True), job("a", locks=(Claim("l"), Claim("m", exclusive=True))),
]  # fmt: skip
ASKING = [
    job("a", locks=(Claim("l", 2),)), job("a", resources=(Claim("gpu"),)), job("a", scope=Scope.FLEET),
    job("a", locks=(Claim(f"{FLEET}l"),)),
]  # fmt: skip


@pytest.mark.parametrize("asking", [*BOUNDED, *ASKING], ids=repr)
def test_who_may_ask_too_much(asking: Job) -> None:
    """On a host with nothing but itself, those are invalid that may be so anywhere."""
    state = SchedulerState(HostLimits(), FleetState(""), OtherHosts())
    state.catalog.replace_file("", [asking])
    state.complete = True
    assert may_ask_too_much(asking) is any(invalid is not None for _, invalid in verdicts(state, None))
