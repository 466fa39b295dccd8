"""The life of a run: one table, (state, step) → state.  Any other step is the caller's bug and changes nothing."""

from __future__ import annotations

from enum import StrEnum

from jobqueued.model.run_states import LIVE, PENDING, RunState


class Step(StrEnum):
    """The steps of a run."""

    QUEUE = "queue"
    KEEP_BACK = "keep_back"
    ADMIT = "admit"
    FIND = "find"
    START = "start"
    STOP = "stop"
    RETURN = "return"
    RETRY = "retry"
    SKIP = "skip"
    SUCCEED = "succeed"
    FAIL = "fail"
    TIME_OUT = "time_out"
    KILL = "kill"
    OOM_KILL = "oom_kill"
    LOSE = "lose"


class IllegalStep(Exception):
    """A step that the table does not allow."""


_S = RunState

TABLE: dict[tuple[RunState, Step], RunState] = {
    (_S.DUE, Step.QUEUE): _S.WAITING,  # one of its job's `concurrency` is free, its dependencies have succeeded
    (_S.DUE, Step.SKIP): _S.SKIPPED,
    (_S.WAITING, Step.KEEP_BACK): _S.DUE,  # its job was paused
    (_S.RETRYING, Step.QUEUE): _S.WAITING,  # the delay is over
    (_S.RETRYING, Step.KEEP_BACK): _S.DUE,
    (_S.WAITING, Step.SKIP): _S.SKIPPED,
    (_S.WAITING, Step.ADMIT): _S.STARTING,  # all claims granted, committed before it is sent
    # an R shows an attempt that no commit has
    **{(state, Step.FIND): _S.STARTING for state in _S if state in LIVE | PENDING},
    (_S.STARTING, Step.RETURN): _S.WAITING,  # certainly never started, by no fault of the job
    (_S.STOPPING, Step.RETURN): _S.WAITING,
    (_S.STARTING, Step.START): _S.RUNNING,
    (_S.RUNNING, Step.START): _S.RUNNING,  # found again by a new scheduler
    (_S.STOPPING, Step.START): _S.STOPPING,  # asked to stop before its start was reported
    (_S.STARTING, Step.STOP): _S.STOPPING,
    (_S.RUNNING, Step.STOP): _S.STOPPING,
    (_S.STOPPING, Step.STOP): _S.STOPPING,
    # the attempt failed, and another follows
    **{(state, Step.RETRY): _S.RETRYING for state in (_S.STARTING, _S.RUNNING, _S.STOPPING)},
    (_S.WAITING, Step.RETRY): _S.RETRYING,  # that attempt was on a host that was lost
    **{
        (state, step): end
        for state in _S
        if state in LIVE  # an end may arrive without a report of the start
        for step, end in (
            (Step.SUCCEED, _S.SUCCEEDED),
            (Step.FAIL, _S.FAILED),
            (Step.TIME_OUT, _S.TIMED_OUT),
            (Step.KILL, _S.KILLED),
            (Step.OOM_KILL, _S.OOM_KILLED),
            (Step.LOSE, _S.LOST),
        )
    },
    **{
        (state, step): end
        for state in _S
        if state in PENDING  # given up after an attempt that failed
        for step, end in (
            (Step.FAIL, _S.FAILED),
            (Step.TIME_OUT, _S.TIMED_OUT),
            (Step.KILL, _S.KILLED),
            (Step.OOM_KILL, _S.OOM_KILLED),
            (Step.LOSE, _S.LOST),
        )
    },
}

ENDS: dict[str, Step] = {
    "succeeded": Step.SUCCEED,
    "failed": Step.FAIL,
    "timed_out": Step.TIME_OUT,
    "killed": Step.KILL,
    "oom_killed": Step.OOM_KILL,
    "lost": Step.LOSE,
}
"""State of a record → the step that leads to it."""


def after(state: RunState, step: Step) -> RunState:
    """Return the state that `step` leads to.

    Raises IllegalStep if the table does not allow the step.
    """
    try:
        return TABLE[state, step]
    except KeyError:
        raise IllegalStep(f"a run that is {state} can't {step}") from None
