"""The life of an attempt as a table: (state, step) → state.

A step that is not in the table is a bug, and has no effect. An attempt is claimed (CLAIMING), started (STARTING) and
watched (RUNNING, or STOPPING after a stop signal) until its command ends (ENDED). Processes that the command left
behind are then ended (CLEARING) or, with `leave_children`, left alone (LEAVING). When no process lives (EMPTY), or the
remaining processes may continue, the supervisor drains the output, writes the record and marks the end (OVER). If
processes were left alone, the supervisor stays until they end (LEFT).
"""

from __future__ import annotations

from enum import StrEnum


class State(StrEnum):
    """An attempt's stages in its supervisor."""

    CLAIMING = "claiming"
    DECLINED = "declined"
    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"
    ENDED = "ended"
    CLEARING = "clearing"
    LEAVING = "leaving"
    EMPTY = "empty"
    LOST = "lost"
    LEFT = "left"
    OVER = "over"


class AttemptStep(StrEnum):
    """The events in an attempt's life."""

    DECLINE = "decline"
    CLAIM = "claim"
    START = "start"
    FAIL = "fail"
    STOP = "stop"
    END = "end"
    CLEAR = "clear"
    LEAVE = "leave"
    EMPTY = "empty"
    LOSE = "lose"
    MARK = "mark"


class IllegalAttemptStep(Exception):
    """A step that is not in the table."""


_S = State

TABLE: dict[tuple[State, AttemptStep], State] = {
    (_S.CLAIMING, AttemptStep.DECLINE): _S.DECLINED,  # R is claimed or deleted, or a lock file is busy
    (_S.CLAIMING, AttemptStep.CLAIM): _S.STARTING,  # R/spawning is ours, so the job may have run from now on
    (_S.STARTING, AttemptStep.START): _S.RUNNING,
    (_S.STARTING, AttemptStep.FAIL): _S.CLEARING,  # the profile may have started processes
    (_S.RUNNING, AttemptStep.STOP): _S.STOPPING,
    (_S.STOPPING, AttemptStep.STOP): _S.STOPPING,  # the first cause counts
    (_S.RUNNING, AttemptStep.END): _S.ENDED,
    (_S.STOPPING, AttemptStep.END): _S.CLEARING,  # all processes got the stop signal
    (_S.ENDED, AttemptStep.CLEAR): _S.CLEARING,
    (_S.ENDED, AttemptStep.LEAVE): _S.LEAVING,
    (_S.LEAVING, AttemptStep.CLEAR): _S.CLEARING,  # without R the remaining processes would be invisible
    # no process of the attempt lives
    **{(state, AttemptStep.EMPTY): _S.EMPTY for state in (_S.ENDED, _S.CLEARING, _S.LEAVING, _S.EMPTY)},
    (_S.EMPTY, AttemptStep.LOSE): _S.LOST,  # R was deleted
    (_S.EMPTY, AttemptStep.MARK): _S.OVER,
    (_S.LEAVING, AttemptStep.MARK): _S.LEFT,
    (_S.LEFT, AttemptStep.EMPTY): _S.OVER,
    (_S.OVER, AttemptStep.EMPTY): _S.OVER,  # children were checked twice in one turn
}

COMMAND_LIVES = frozenset({State.RUNNING, State.STOPPING})
NOTHING_TO_END = frozenset({State.EMPTY, State.LEAVING})
"""States in which the record can be written as soon as all output is read."""


def after(state: State, step: AttemptStep) -> State:
    """Return the state after `step`. Raises IllegalAttemptStep if the table does not include the step."""
    try:
        return TABLE[state, step]
    except KeyError:
        raise IllegalAttemptStep(f"an attempt that is {state} can't {step}") from None
