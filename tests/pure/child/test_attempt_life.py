"""The life of an attempt: the table has all that can happen, and nothing else happens."""

from __future__ import annotations

import itertools
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobqueued.child.attempt.attempt import Attempt
from jobqueued.child.attempt.attempt_life import (
    COMMAND_LIVES,
    NOTHING_TO_END,
    TABLE,
    IllegalAttemptStep,
    State,
    after,
)
from jobqueued.child.attempt.attempt_life import (
    AttemptStep as Step,
)
from jobqueued.child.contract.documents import ENDS as STATES_OF_ENDS
from jobqueued.core.records.lifecycle import ENDS

FINAL = {State.DECLINED, State.LOST, State.OVER}


@pytest.mark.parametrize(("state", "step"), list(itertools.product(State, Step)))
def test_every_pair(state: State, step: Step) -> None:
    """A pair is in the table and leads there, or raises with both names."""
    if (state, step) in TABLE:
        assert TABLE[state, step] is after(state, step)
    else:
        with pytest.raises(IllegalAttemptStep, match=f"^an attempt that is {state} can't {step}$"):
            after(state, step)


@given(st.lists(st.sampled_from(Step), max_size=30))
def test_any_history(steps: list[Step]) -> None:
    """However steps come: nothing follows an end, and no end is marked while a command lives or something is ended."""
    state = State.CLAIMING
    for step in steps:
        try:
            ahead = after(state, step)
        except IllegalAttemptStep:
            continue
        assert state not in FINAL or ahead is state
        if step is Step.MARK:
            assert state in NOTHING_TO_END
        if step is Step.STOP:
            assert state in COMMAND_LIVES
        if ahead is State.OVER:
            assert step in (Step.MARK, Step.EMPTY)
        state = ahead


def test_every_state_is_reached() -> None:
    """From `claiming` every state can be reached, and from each that is not an end a step leads on."""
    reached = {State.CLAIMING}
    while (more := {end for (state, _), end in TABLE.items() if state in reached} | reached) != reached:
        reached = more
    assert set(State) == reached
    assert set(State) - FINAL == {state for (state, _), end in TABLE.items() if end is not state}


WAYS = {
    "most attempts": ([Step.CLAIM, Step.START, Step.END, Step.EMPTY, Step.MARK], State.OVER),
    "another has claimed it": ([Step.DECLINE], State.DECLINED),
    "it can't be started": ([Step.CLAIM, Step.FAIL, Step.EMPTY, Step.MARK], State.OVER),
    "it is stopped, twice, and leaves something": (
        [Step.CLAIM, Step.START, Step.STOP, Step.STOP, Step.END, Step.EMPTY, Step.MARK], State.OVER,
    ),
    "its command leaves processes, which are ended": (
        [Step.CLAIM, Step.START, Step.END, Step.CLEAR, Step.EMPTY, Step.MARK], State.OVER,
    ),
    "its command leaves processes, which live on": (
        [Step.CLAIM, Step.START, Step.END, Step.LEAVE, Step.MARK, Step.EMPTY], State.OVER,
    ),
    "what was left ends before its end is marked": (
        [Step.CLAIM, Step.START, Step.END, Step.LEAVE, Step.EMPTY, Step.EMPTY, Step.MARK], State.OVER,
    ),
    "its R is gone": ([Step.CLAIM, Step.START, Step.END, Step.LEAVE, Step.CLEAR, Step.EMPTY, Step.LOSE], State.LOST),
}  # fmt: skip


@pytest.mark.parametrize("way", WAYS)
def test_ways_through_life(way: str) -> None:
    """The ways that attempts go lead to their ends."""
    steps, end = WAYS[way]
    state = State.CLAIMING
    for step in steps:
        state = after(state, step)
    assert end is state


def test_scheduler_and_supervisor_know_the_same_ends() -> None:
    """Whatever state a record may have that is taken in, the life of a run has a step for it."""
    assert set(ENDS) == STATES_OF_ENDS


def test_what_was_left_ends_once() -> None:
    """That nothing of it lives any more may be seen twice in one turn of its loop."""
    assert State.OVER is after(after(State.LEFT, Step.EMPTY), Step.EMPTY)


def test_no_command_dies_of_an_impossible_step() -> None:
    """The record says it, as of a bug, and the attempt is where it was."""
    told: list[Exception] = []
    attempt = SimpleNamespace(_state=State.RUNNING, _contain=told.append)
    assert not Attempt._step(attempt, Step.MARK)  # type: ignore[arg-type]
    assert (State.RUNNING, ["an attempt that is running can't mark"]) == (attempt._state, list(map(str, told)))
