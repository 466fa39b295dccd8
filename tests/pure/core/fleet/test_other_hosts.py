"""The policy about other hosts: the core asks it, and a reader without a fleet never meets one."""

import re
from pathlib import Path

import pytest

from jobqueued.core.fleet.fleet_policy import FleetPolicy
from jobqueued.core.hosts.fleet_state import FleetState
from jobqueued.core.records.host_limits import HostLimits
from jobqueued.core.scheduler import Scheduler
from jobqueued.core.state.other_hosts import OtherHosts
from tests.support.world import job

CORE = Path(__file__).parents[4] / "jobqueued/core"
BY_THE_JOB_OR_KEY = {"shares", "has_begun"}
"""The questions whose answer is the same with and without a fleet."""


def questions(policy: type) -> set[str]:
    """The methods that a class defines itself, but for those of its own use."""
    return {name for name in vars(policy) if not name.startswith("_")}


def test_the_fleet_answers_every_question_itself() -> None:
    """No answer of a host that is alone is inherited by accident, and there are no others."""
    assert questions(OtherHosts) - BY_THE_JOB_OR_KEY == questions(FleetPolicy)


@pytest.mark.parametrize("name", sorted(questions(OtherHosts)))
def test_every_question_is_asked(name: str) -> None:
    """The scheduler's state and its deciders ask each of them."""
    assert any(re.search(rf"\.others\.{name}\(", path.read_text()) for path in CORE.rglob("*.py"))


def test_the_policy_goes_by_the_settings() -> None:
    """A host in no fleet has the null policy; the fleet's policy knows the state that the rest of the core changes."""
    alone, member = Scheduler(HostLimits())._state, Scheduler(HostLimits(fleet="web", labels=("gpu",)))._state
    assert type(alone.others) is OtherHosts
    assert not alone.fleet.name
    assert isinstance(member.others, FleetPolicy)
    assert member.others._fleet is member.fleet
    assert (member.fleet.name, member.fleet.labels) == ("web", ("gpu",))


def test_labels_without_a_fleet() -> None:
    """A host in no fleet has no labels, so it leaves jobs that want some to others, as does one that lacks them."""
    plain, wanting = job("a"), job("a", hosts=("gpu",))
    for policy in (OtherHosts(), FleetPolicy(FleetState("web")), FleetPolicy(FleetState("web", ("gpu",)))):
        has_gpu = isinstance(policy, FleetPolicy) and bool(policy._fleet.labels)
        assert [False, not has_gpu] == [policy.keep_all(plain, 0), policy.keep_all(wanting, 0)]


def test_few_lines_mention_the_fleet() -> None:
    """The clock, the attempts, eligibility and the state leave it to the policy, but for a word in records, the type of
    a grant, and the state's place for what the policy knows.
    """
    of_a_fleet = re.compile(r"fleet|elsewhere|shared_pause|verdicts|outdated|hosts_before|\blabels?\b", re.I)
    files = ("due/clock", "attempts/attempts", "runs/eligibility", "state/scheduler_state")
    texts = [(CORE / f"{name}.py").read_text() for name in files]
    assert sum(bool(of_a_fleet.search(line)) for text in texts for line in text.splitlines()) <= 10
