"""The invariants notice what they are there for: a state that is broken on purpose, in each of the ways."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from jobqueued.core.state.invariants import validate
from jobqueued.core.state.job_state import Delay
from jobqueued.core.state.scheduler_state import SchedulerState
from jobqueued.model import events
from jobqueued.model.commands import SaveSubmission
from jobqueued.model.job import Claim
from jobqueued.model.run import LockClientId, RunId
from jobqueued.model.run_states import RunState
from tests.support.world import World, job

LIVE, WAITS, DUE, LATER = RunId("live", 1), RunId("queued", 1), RunId("queued", 2), RunId("retried", 1)
ALICE, CLIENT, WAITER = RunId("alice/own", 1), LockClientId(1), LockClientId(2)
TAPE = Claim("tape", exclusive=True)
CLAIMS = {"resources": (Claim("gpu", 1), Claim("cpu", 1500)), "placement": "spread"}


def host() -> SchedulerState:
    """A host with a run in each place, a live one of a user, and two people's commands: one has its lock."""
    jobs = [job(name, concurrency=1) for name in ("queued", "alice/own")]
    world = World(
        job("live", locks=(TAPE._replace(resource="db"),), **CLAIMS), *jobs,
        job("retried", retries=1, retry_delay=10**12),
        seconds={"live": 9000, "alice/own": 9000}, max_running=2, resources={"gpu": 3, "cpu": 2000}, cpus=(0, 1),
    )  # fmt: skip
    world.ends["retried"] = ["failed 1"]
    for name in ("retried", "live", "alice/own", "queued", "queued"):
        world.run(name)
        world.pass_time(2 if name == "retried" else 0)
    for number in (1, 2):
        world.happen(
            events.LockAsked(number, LockClientId(number), (TAPE, Claim("gpu", number)), "root", at_once=False)
        )
    state = world.scheduler._state
    assert ([LATER], [LIVE]) == (list(state["retried"].delayed), list(state["live"].live))
    assert ([WAITS], [DUE]) == (list(state["queued"].waiting), list(state["queued"].due))
    assert [ALICE] == list(state["alice/own"].live)
    world.scheduler.validate()
    return state


def _of(run: RunId, **fields: object) -> Callable[[SchedulerState], object]:
    return lambda state: state._runs.update({run: replace(state.runs[run], **fields)})  # type: ignore[arg-type]


def _lingers(state: SchedulerState) -> None:
    state.lingering[WAITS] = "something of it lives"


def _has_its_lock_and_waits(state: SchedulerState) -> None:
    state.lock_clients[CLIENT] = state.lock_clients[CLIENT]._replace(ticket=1)


@pytest.mark.parametrize(
    "break_it",
    [
        lambda state: state["queued"].due.append(WAITS),  # in two places
        lambda state: state["queued"].due.append(DUE),
        lambda state: state["queued"].delayed.update({LIVE: Delay(0)}),
        lambda state: state["queued"].due.clear(),  # in none
        lambda state: state["live"].live.clear(),
        lambda state: state["retried"].delayed.clear(),
        lambda state: state._runs.pop(DUE),
        _of(DUE, state=RunState.WAITING),  # in the place of another state
        _of(WAITS, state=RunState.DUE),
        _of(LATER, state=RunState.DUE),
        _of(LIVE, state=RunState.WAITING),
        _lingers,
        lambda state: state["queued"].live.update({state["queued"].due.pop(): None}),
        lambda state: state.remember("queued", last_number=1) and state.take_saves(),
        lambda state: state.remember("queued", last_number=2),  # that nobody saves
        lambda state: state.unfinished.update(["alice"]),
        lambda state: state.admission.waiting.live.update(["alice"]),
        lambda state: state.admission.waiting.remove(WAITS),
        lambda state: state.admission.waiting.remove(WAITER),
        lambda state: state.lock_clients.pop(WAITER),
        lambda state: state.lock_clients.pop(CLIENT),
        _has_its_lock_and_waits,
        lambda state: state.admission.locks.release(ALICE),  # claims
        lambda state: state.admission.locks.grant(RunId("gone", 1), (), found=True),
        _of(LIVE, claims=(TAPE,)),
        _of(ALICE, claims=(TAPE,)),
        lambda state: state.admission.locks._used["tape"].holders.clear(),
        lambda state: vars(state.admission.locks).update(_used={}),
        lambda state: state.noted.add("live"),  # what is known of jobs
        lambda state: state.remember("live", paused=True) and state.take_saves() and state.noted.clear(),
        lambda state: state.invalid_jobs.add("live"),
        lambda state: state.submitted.put(SaveSubmission("alice/1", "", "")),
        lambda state: state.placement.give_back((("gpu", (0,)),), (), 0),  # units
        lambda state: state.placement.give_back((("gpu", (2,)),), (), 0),
        lambda state: state.placement.take((("cpus", (0,)),), (Claim("cpu", 500),), 0),
    ],
)
def test_what_is_broken_is_noticed(break_it: Callable[[SchedulerState], object]) -> None:
    """Each of these is an AssertionError."""
    state = host()
    break_it(state)
    with pytest.raises(AssertionError):
        validate(state)
