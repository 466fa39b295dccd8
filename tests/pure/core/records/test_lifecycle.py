"""The life of a run: the table has all that can happen, and nothing else happens."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobqueued.core.records.lifecycle import ENDS, TABLE, IllegalRunStep, RunStep, after
from jobqueued.model.run_states import LIVE, PENDING, RunState
from tests.support import REPO

FINAL = frozenset(RunState) - LIVE - PENDING


@pytest.mark.parametrize(("state", "step"), list(itertools.product(RunState, RunStep)))
def test_every_pair(state: RunState, step: RunStep) -> None:
    """A pair is in the table and leads there, or raises with both names."""
    if (state, step) in TABLE:
        assert TABLE[state, step] is after(state, step)
    else:
        with pytest.raises(IllegalRunStep, match=f"^a run that is {state} can't {step}$"):
            after(state, step)


@given(st.lists(st.sampled_from(RunStep), max_size=30))
def test_any_history(steps: list[RunStep]) -> None:
    """However steps come: nothing follows an end, no start without an admission, no skip of what was sent."""
    state, told = RunState.DUE, [RunState.DUE]
    for step in steps:
        try:
            state = after(state, step)
        except IllegalRunStep:
            continue
        assert told[-1] not in FINAL
        assert not (state is RunState.RUNNING and told[-1] not in LIVE)
        assert not (state is RunState.SKIPPED and told[-1] not in PENDING)
        told.append(state)


def test_the_figure_of_the_queue() -> None:
    """Each arrow of docs/queue.md is in the table, and whatever may follow what is live is one of its ends."""
    first, *_, retry = (REPO / "docs" / "queue.md").read_text().partition("\n    due ")[2].split("\n")[:3]
    *ways, ends = (part.split(" | ") for part in f"due {first}".split(" ──▶ "))
    steps = itertools.pairwise([state for (state,) in ways] + ["succeeded"])
    again = retry.rpartition(": ")[2].removesuffix(" …").split(" ──▶ ")
    assert {*steps, tuple(again), ("running", again[0])} <= {
        (before, end) for (before, step), end in TABLE.items() if step is not RunStep.FIND
    }
    assert {*ends} == {end for (before, _), end in TABLE.items() if before is RunState.RUNNING and end in FINAL}


def test_every_state_is_reached() -> None:
    """From `due` every state can be reached, and from every state an end."""
    reached = {RunState.DUE}
    while (more := {end for (state, _), end in TABLE.items() if state in reached} | reached) != reached:
        reached = more
    assert set(RunState) == reached
    assert {state for state, _ in TABLE} == LIVE | PENDING


def test_the_way_of_most_runs() -> None:
    """Due, waiting, starting, running, succeeded."""
    state, told = RunState.DUE, []
    for step in (RunStep.QUEUE, RunStep.ADMIT, RunStep.START, RunStep.SUCCEED):
        state = after(state, step)
        told.append(state)
    assert [RunState.WAITING, RunState.STARTING, RunState.RUNNING, RunState.SUCCEEDED] == told


def test_never_started_waits_again() -> None:
    """Only what is certainly not running goes back to the queue; also if somebody asked it to stop meanwhile."""
    assert {RunState.STARTING: RunState.WAITING, RunState.STOPPING: RunState.WAITING} == {
        state: end for (state, step), end in TABLE.items() if step is RunStep.RETURN
    }


def test_ends_lead_to_the_states_of_their_names() -> None:
    """A record's `state` leads a starting and a running run to the state of that name; skips aside, these are all."""
    for state in LIVE:
        assert {name: RunState(name) for name in ENDS} == {name: after(state, step) for name, step in ENDS.items()}
    assert {*ENDS, "skipped"} == set(FINAL)
